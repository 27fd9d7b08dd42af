package fastsyn_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/nettest"

	"github.com/fastsyn/fastsyn"
)

func TestNettestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		w := newWorld(t, "", nil)
		ln := w.listen()
		c1, c2 = w.pair(ln)
		return c1, c2, func() {
			_ = c1.Close()
			_ = c2.Close()
			require.NoError(t, ln.Close())
			w.quiet()
			require.NoError(t, w.client.Close())
			require.NoError(t, w.server.Close())
		}, nil
	})
}

// requireOp demands an error as package net would have it: what was done, between
// which addresses, and what errors.Is can be asked.
func requireOp(t *testing.T, err error, op string, c *fastsyn.Conn, is error) {
	t.Helper()
	var oe *net.OpError
	require.ErrorAs(t, err, &oe)
	require.Equal(t, op, oe.Op)
	require.Equal(t, "tcp", oe.Net)
	require.ErrorIs(t, err, is)
	if op != "set" {
		require.Equal(t, c.LocalAddr(), oe.Source)
		require.Equal(t, c.RemoteAddr(), oe.Addr)
	}
	require.Equal(t, errors.Is(is, os.ErrDeadlineExceeded) || errors.Is(is, syscall.ETIMEDOUT), oe.Timeout())
}

func TestConnAddrsAndInfo(t *testing.T) {
	w := newWorld(t, "", nil)
	for _, addr := range []string{"192.0.2.1:0", "[2001:db8::1]:0"} {
		ln, err := w.server.Listen("tcp", addr)
		require.NoError(t, err)
		a, d := w.pair(ln)
		require.Equal(t, ln.Addr(), a.LocalAddr())
		require.Equal(t, ln.Addr(), d.RemoteAddr())
		require.Equal(t, d.LocalAddr(), a.RemoteAddr())
		port := d.LocalAddr().(*net.TCPAddr).Port
		require.GreaterOrEqual(t, port, 32768)
		require.LessOrEqual(t, port, 60999)
		require.True(t, d.Info().Active)
		require.False(t, a.Info().Active)
		require.Equal(t, d.Info().ISS, a.Info().IRS)
		require.Equal(t, d.Info().IRS, a.Info().ISS)
		_, raw := any(d).(syscall.Conn)
		require.False(t, raw, "there is no file descriptor")
		require.NoError(t, a.Close())
		require.NoError(t, d.Close())
	}
	w.quiet()
}

// Text of all sizes arrives in order and once, both ways at the same time.
func TestConnBothWays(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	sums := make([][sha256.Size]byte, 4)
	var all sync.WaitGroup
	for i, c := range []*fastsyn.Conn{a, d} {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			sum := sha256.New()
			for left := 4 << 20; left > 0; {
				p := make([]byte, min(left, 1+rng.IntN(200_000)>>rng.IntN(17)))
				for k := range p {
					p[k] = byte(rng.Uint32())
				}
				n, err := c.Write(p)
				if n != len(p) || err != nil {
					t.Errorf("wrote %d of %d: %v", n, len(p), err)
					return
				}
				sum.Write(p)
				left -= n
			}
			sum.Sum(sums[i][:0])
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			sum := sha256.New()
			n, err := io.CopyBuffer(sum, struct{ io.Reader }{c}, make([]byte, 1+i*50_000))
			if n != 4<<20 || err != nil {
				t.Errorf("read %d: %v", n, err)
			}
			sum.Sum(sums[2+i][:0])
		})
	}
	all.Wait()
	require.Equal(t, sums[0], sums[3])
	require.Equal(t, sums[1], sums[2])
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// DAT-012: after our FIN the peer still talks, as an echo of all that was said.
func TestDAT_012_HalfCloseEcho(t *testing.T) {
	w := newWorld(t, "", nil)
	ln := w.listen()
	for range 20 {
		a, d := w.pair(ln)
		var all sync.WaitGroup
		all.Go(func() {
			n, err := io.Copy(a, a)
			if n != 300_000 || err != nil {
				t.Errorf("echo of %d: %v", n, err)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		})
		want := bytes.Repeat([]byte("0123456789"), 30_000)
		all.Go(func() {
			if _, err := d.Write(want); err != nil {
				t.Error(err)
			}
			if err := d.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(d)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		all.Wait()
		_, err = d.Write([]byte("x"))
		requireOp(t, err, "write", d, syscall.EPIPE)
		require.NoError(t, d.Close())
	}
	w.quiet()
}

func TestConnUseAfterClose(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	require.NoError(t, d.Close())
	for op, call := range map[string]func() error{
		"read":  func() error { _, err := d.Read(make([]byte, 1)); return err },
		"write": func() error { _, err := d.Write([]byte("x")); return err },
		"close": d.Close,
	} {
		requireOp(t, call(), op, d, net.ErrClosed)
	}
	requireOp(t, d.CloseWrite(), "close", d, net.ErrClosed)
	requireOp(t, d.CloseRead(), "close", d, net.ErrClosed)
	for _, call := range []func() error{
		func() error { return d.SetDeadline(time.Time{}) }, func() error { return d.SetReadDeadline(time.Time{}) },
		func() error { return d.SetWriteDeadline(time.Time{}) }, func() error { return d.SetNoDelay(true) },
		func() error { return d.SetKeepAlive(true) }, func() error { return d.SetLinger(0) },
		func() error { return d.SetWriteBuffer(1) },
	} {
		requireOp(t, call(), "set", d, net.ErrClosed)
	}
	_, err := a.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err, "not wrapped")
	require.NoError(t, a.Close())
	w.quiet()
}

// RST-013: text that nobody read makes Close a reset, and so does SetLinger(0). The peer
// reads what came before it.
func TestRST_013_CloseThatResets(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, a, d *fastsyn.Conn){
		"RST-013 unread text": func(t *testing.T, a, d *fastsyn.Conn) {
			_, err := d.Write([]byte("unread"))
			require.NoError(t, err)
			_, err = a.Read(make([]byte, 1)) // and five bytes are left
			require.NoError(t, err)
		},
		"SetLinger(0)": func(t *testing.T, a, _ *fastsyn.Conn) { require.NoError(t, a.SetLinger(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "", nil)
			a, d := w.pair(w.listen())
			_, err := a.Write([]byte("before"))
			require.NoError(t, err)
			prepare(t, a, d)
			one := make([]byte, 1)
			_, err = io.ReadFull(d, one)
			require.NoError(t, err)
			require.NoError(t, a.Close())
			got, err := io.ReadAll(d)
			require.Equal(t, "efore", string(got))
			requireOp(t, err, "read", d, syscall.ECONNRESET)
			require.ErrorContains(t, err, "read: connection reset by peer")
			_, err = d.Write([]byte("x"))
			requireOp(t, err, "write", d, syscall.ECONNRESET)
			requireOp(t, d.CloseWrite(), "close", d, syscall.ENOTCONN)
			require.NoError(t, d.Close())
			w.quiet()
		})
	}
}

// Text that arrives after Close, too, is text that nobody reads.
func TestRST_014_TextAfterClose(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	require.NoError(t, a.Close())
	_, err := d.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.Eventually(t, func() bool {
		_, err = d.Write([]byte("anybody?"))
		return err != nil
	}, 10*time.Second, time.Millisecond)
	requireOp(t, err, "write", d, syscall.EPIPE) // as Linux, when the FIN came first
	_, err = d.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, d.Close())
	w.quiet()
}

// What was written before Close arrives though nobody waits for it, and though it is
// more than the peer's window.
func TestConnCloseSendsInTheBackground(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	const size = 2 << 20
	require.NoError(t, a.SetWriteBuffer(size))
	want := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, size/7)
	n, err := a.Write(want)
	require.NoError(t, err)
	require.Equal(t, len(want), n)
	require.NoError(t, a.Close())
	got, err := io.ReadAll(d)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.NoError(t, d.Close())
	w.quiet()
}

// CloseRead leaves what has come already, and throws away what comes later.
func TestConnCloseRead(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	_, err := d.Write([]byte("one"))
	require.NoError(t, err)
	one := make([]byte, 1)
	_, err = a.Read(one)
	require.NoError(t, err)
	require.NoError(t, a.CloseRead())
	got, err := io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, "ne", string(got))
	_, err = d.Write(make([]byte, 1<<20)) // more than a window
	require.NoError(t, err)
	require.NoError(t, d.CloseWrite())
	_, err = a.Write([]byte("two"))
	require.NoError(t, err)
	require.NoError(t, a.CloseWrite())
	got, err = io.ReadAll(d)
	require.NoError(t, err)
	require.Equal(t, "two", string(got))
	require.NoError(t, d.Close())
	require.Eventually(t, func() bool { return w.flows() == 0 }, 10*time.Second, time.Millisecond, "both FINs, and no reset")
	require.NoError(t, a.Close())
	w.quiet()
}

// Each call that waits is woken by each thing that ends the wait.
func TestConnWakeUps(t *testing.T) {
	now := time.Unix(1, 0)
	for name, tc := range map[string]struct {
		wake   func(a, d *fastsyn.Conn) error
		rd, wr error // what the calls end with, nil if they need not
	}{
		"deadline":       {wake: func(a, _ *fastsyn.Conn) error { return a.SetDeadline(now) }, rd: os.ErrDeadlineExceeded, wr: os.ErrDeadlineExceeded},
		"read deadline":  {wake: func(a, _ *fastsyn.Conn) error { return a.SetReadDeadline(now) }, rd: os.ErrDeadlineExceeded},
		"write deadline": {wake: func(a, _ *fastsyn.Conn) error { return a.SetWriteDeadline(now) }, wr: os.ErrDeadlineExceeded},
		"soon":           {wake: func(a, _ *fastsyn.Conn) error { return a.SetDeadline(time.Now().Add(time.Millisecond)) }, rd: os.ErrDeadlineExceeded, wr: os.ErrDeadlineExceeded},
		"Close":          {wake: func(a, _ *fastsyn.Conn) error { return a.Close() }, rd: net.ErrClosed, wr: net.ErrClosed},
		"CloseRead":      {wake: func(a, _ *fastsyn.Conn) error { return a.CloseRead() }, rd: io.EOF},
		"CloseWrite":     {wake: func(a, _ *fastsyn.Conn) error { return a.CloseWrite() }, wr: syscall.EPIPE},
		"peer's reset":   {wake: func(_, d *fastsyn.Conn) error { _ = d.SetLinger(0); return d.Close() }, rd: syscall.ECONNRESET, wr: syscall.ECONNRESET},
		"peer's FIN":     {wake: func(_, d *fastsyn.Conn) error { return d.CloseWrite() }, rd: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "", nil)
			a, d := w.pair(w.listen())
			check := func(op string, err, want error) {
				if errors.Is(want, io.EOF) {
					require.Equal(t, io.EOF, err)
				} else {
					requireOp(t, err, op, a, want)
				}
			}
			read, wrote := make(chan error, 1), make(chan error, 1)
			if tc.rd != nil {
				go func() { _, err := a.Read(make([]byte, 1)); read <- err }()
			}
			if tc.wr != nil {
				go func() { _, err := a.Write(make([]byte, 8<<20)); wrote <- err }()
			}
			time.Sleep(10 * time.Millisecond) // usually they wait by then; either way it must end well
			require.NoError(t, tc.wake(a, d))
			if tc.rd != nil {
				check("read", <-read, tc.rd)
			}
			if tc.wr != nil {
				check("write", <-wrote, tc.wr)
			}
			_ = d.SetLinger(0)
			_ = d.Close()
			_ = a.Close()
			w.quiet()
		})
	}
}

// A deadline that has passed can be moved, and all is as before.
func TestConnDeadlineMoved(t *testing.T) {
	w := newWorld(t, "", nil)
	a, d := w.pair(w.listen())
	for _, past := range []time.Time{time.Unix(1, 0), time.Now(), time.Now().Add(2 * time.Millisecond)} {
		require.NoError(t, a.SetDeadline(past))
		_, err := a.Read(make([]byte, 1))
		requireOp(t, err, "read", a, os.ErrDeadlineExceeded)
		require.Eventually(t, func() bool { _, err = a.Write([]byte("x")); return err != nil }, time.Second, time.Millisecond)
		requireOp(t, err, "write", a, os.ErrDeadlineExceeded)
		require.NoError(t, a.SetDeadline(time.Time{}))
		_, err = d.Write([]byte("x"))
		require.NoError(t, err)
		_, err = a.Read(make([]byte, 1))
		require.NoError(t, err)
	}
	// A Write that runs out of time says how much it took.
	require.NoError(t, a.SetWriteDeadline(time.Now().Add(20*time.Millisecond)))
	total := 0
	for {
		n, err := a.Write(make([]byte, 8<<20))
		total += n
		if err != nil {
			requireOp(t, err, "write", a, os.ErrDeadlineExceeded)
			break
		}
	}
	require.Positive(t, total)
	require.NoError(t, a.SetWriteDeadline(time.Time{}))
	require.NoError(t, a.CloseWrite())
	n, err := io.Copy(io.Discard, d)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(total))
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// Closing at any moment of a transfer, from several goroutines, ends everything.
func TestConnCloseRaces(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	ln := w.listen()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		a, d := w.pair(ln)
		var all sync.WaitGroup
		for _, c := range []*fastsyn.Conn{a, d} {
			all.Go(func() { _, _ = io.Copy(io.Discard, c) })
			all.Go(func() {
				for {
					if _, err := c.Write(make([]byte, 10_000)); err != nil {
						return
					}
				}
			})
			pause := time.Duration(rng.IntN(2000)) * time.Microsecond
			linger := rng.IntN(2) - 1
			all.Go(func() {
				time.Sleep(pause)
				_ = c.SetLinger(linger)
				_ = c.Close()
			})
			all.Go(func() {
				time.Sleep(pause)
				_ = c.CloseWrite()
				_ = c.Close()
			})
		}
		all.Wait()
	}
	w.quiet()
}

// A wire that loses, doubles, swaps and damages frames loses none of the text, and all
// connections end as they should.
func TestConnOverABadWire(t *testing.T) {
	w := newWorld(t, "", func(server, client *fastsyn.Config) {
		for i, c := range []*fastsyn.Config{server, client} {
			c.Port = fmt.Sprintf("impair(loss=3%%,dup=2%%,reorder=3%%,corrupt=1%%,seed=%d):%s", i+1, c.Port)
			c.DAD = -1
			c.Engine.InitialRTO, c.Engine.TimeWait = 50*time.Millisecond, time.Second
		}
	})
	ln := w.listen()
	var all sync.WaitGroup
	for i := range 8 {
		a, d := w.pair(ln)
		want := make([]byte, 200_000)
		rng := rand.New(rand.NewPCG(uint64(i), 9))
		for k := range want {
			want[k] = byte(rng.Uint32())
		}
		all.Go(func() {
			_, err := io.Copy(a, a)
			if err == nil {
				err = a.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := d.Write(want); err != nil {
				t.Error(err)
			}
			if err := d.CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			got, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(want, got) {
				t.Errorf("%d of %d bytes, or others: %v", len(got), len(want), err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.quiet()
}
