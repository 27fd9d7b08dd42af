package fastsyn_test

import (
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
)

// ends are two ends of a connection, ours over a wire in memory or the kernel's over
// its loopback, to compare.
func ends(b *testing.B, kernel bool) (listen net.Listener, dial func() net.Conn) {
	b.Helper()
	if kernel {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		b.Cleanup(func() { _ = ln.Close() })
		return ln, func() net.Conn {
			c, err := net.Dial("tcp", ln.Addr().String())
			require.NoError(b, err)
			return c
		}
	}
	port := fmt.Sprintf("loop:bench%d", wires.Add(1))
	server, err := fastsyn.Open(fastsyn.Config{Port: port, Addrs: []string{"192.0.2.1/24"}})
	require.NoError(b, err)
	b.Cleanup(func() { _ = server.Close() })
	client, err := fastsyn.Open(fastsyn.Config{Port: port, Addrs: []string{"192.0.2.2/24"}})
	require.NoError(b, err)
	b.Cleanup(func() { _ = client.Close() })
	ln, err := server.Listen("tcp", ":80")
	require.NoError(b, err)
	b.Cleanup(func() { _ = ln.Close() })
	return ln, func() net.Conn {
		c, err := client.Dial("tcp", "192.0.2.1:80")
		require.NoError(b, err)
		return c
	}
}

func benchmarkEnds(b *testing.B, run func(b *testing.B, ln net.Listener, dial func() net.Conn)) {
	for _, kernel := range []bool{false, true} {
		b.Run(map[bool]string{false: "fastsyn", true: "kernel"}[kernel], func(b *testing.B) {
			ln, dial := ends(b, kernel)
			run(b, ln, dial)
		})
	}
}

// One connection, as much as it takes.
func BenchmarkConnBulk(b *testing.B) {
	benchmarkEnds(b, func(b *testing.B, ln net.Listener, dial func() net.Conn) {
		d := dial()
		a, err := ln.Accept()
		require.NoError(b, err)
		done := make(chan error, 1)
		go func() {
			_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{a}, make([]byte, 64<<10))
			done <- err
		}()
		p := make([]byte, 64<<10)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.Write(p)
			require.NoError(b, err)
		}
		require.NoError(b, d.Close())
		require.NoError(b, <-done)
		require.NoError(b, a.Close())
	})
}

// One byte there and back.
func BenchmarkConnPingPong(b *testing.B) {
	benchmarkEnds(b, func(b *testing.B, ln net.Listener, dial func() net.Conn) {
		d := dial()
		a, err := ln.Accept()
		require.NoError(b, err)
		done := make(chan error, 1)
		go func() {
			p := make([]byte, 1)
			for {
				_, err := a.Read(p)
				if err == nil {
					_, err = a.Write(p)
				}
				if err != nil {
					done <- err
					return
				}
			}
		}()
		p := make([]byte, 1)
		b.ReportAllocs()
		for b.Loop() {
			_, err := d.Write(p)
			require.NoError(b, err)
			_, err = d.Read(p)
			require.NoError(b, err)
		}
		require.NoError(b, d.Close())
		require.Equal(b, io.EOF, <-done)
		require.NoError(b, a.Close())
	})
}

// Open, one byte each way, close: one at a time.
func BenchmarkConnOpenClose(b *testing.B) {
	benchmarkEnds(b, func(b *testing.B, ln net.Listener, dial func() net.Conn) {
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				p := make([]byte, 1)
				_, _ = c.Read(p)
				_, _ = c.Write(p)
				_ = c.Close()
			}
		}()
		b.ReportAllocs()
		for b.Loop() {
			d := dial()
			p := make([]byte, 1)
			_, err := d.Write(p)
			require.NoError(b, err)
			_, err = io.ReadFull(d, p)
			require.NoError(b, err)
			require.NoError(b, d.Close())
		}
	})
}
