package fastsyn_test

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/handshake"
)

func TestListenErrors(t *testing.T) {
	w := newWorld(t, "", nil)
	ln, err := w.server.Listen("tcp", "192.0.2.1:80")
	require.NoError(t, err)
	require.NoError(t, w.server.Handle(":81", fastsyn.Callbacks{}))
	for _, tc := range []struct {
		network, addr string
		is            error
		text          string
	}{
		{"tcp", "192.0.2.1:80", syscall.EADDRINUSE, "listen tcp 192.0.2.1:80: bind: address already in use"},
		{"tcp4", "192.0.2.1:80", syscall.EADDRINUSE, ""},
		{"tcp", ":81", syscall.EADDRINUSE, ""},
		{"tcp", "192.0.2.9:80", syscall.EADDRNOTAVAIL, "cannot assign requested address"},
		{"tcp6", "192.0.2.1:82", nil, "no address of tcp6"},
		{"tcp4", "[2001:db8::1]:82", nil, "no address of tcp4"},
		{"tcp", "example.com:82", nil, "want an IP address of this endpoint"},
		{"tcp", "82", nil, "missing port"},
		{"tcp", ":99999", nil, "99999"},
		{"udp", ":82", net.UnknownNetworkError("udp"), "unknown network"},
	} {
		_, err := w.server.Listen(tc.network, tc.addr)
		var oe *net.OpError
		require.ErrorAs(t, err, &oe, tc.addr)
		require.Equal(t, "listen", oe.Op)
		require.ErrorContains(t, err, tc.text)
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.addr)
		}
	}
	require.NoError(t, ln.Close())
	require.ErrorIs(t, ln.Close(), net.ErrClosed)
	_, err = ln.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	again, err := w.server.Listen("tcp", "192.0.2.1:80")
	require.NoError(t, err, "on every worker it is free again")
	require.NoError(t, again.Close())
}

// Which connections get to which listener, by family and address.
func TestListenFamilies(t *testing.T) {
	w := newWorld(t, "", nil)
	for _, tc := range []struct {
		network, addr, at string
		want4, want6      bool
	}{
		{"tcp", ":80", "[::]:80", true, true},
		{"tcp", "[::]:80", "[::]:80", true, true},
		{"tcp", "0.0.0.0:80", "0.0.0.0:80", true, false},
		{"tcp4", ":80", "0.0.0.0:80", true, false},
		{"tcp6", ":80", "[::]:80", false, true},
		{"tcp", "192.0.2.1:http", "192.0.2.1:80", true, false},
		{"tcp6", "[2001:db8::1]:80", "[2001:db8::1]:80", false, true},
	} {
		ln, err := w.server.Listen(tc.network, tc.addr)
		require.NoError(t, err)
		require.Equal(t, tc.at, ln.Addr().String())
		for addr, want := range map[string]bool{"192.0.2.1:80": tc.want4, "[2001:db8::1]:80": tc.want6} {
			c, err := w.client.Dial("tcp", addr)
			if !want {
				require.ErrorIs(t, err, syscall.ECONNREFUSED, "%s %s", tc.network, tc.addr)
				continue
			}
			require.NoError(t, err)
			a, err := ln.Accept()
			require.NoError(t, err)
			require.Equal(t, addr, a.LocalAddr().String())
			require.NoError(t, a.Close())
			require.NoError(t, c.Close())
		}
		require.NoError(t, ln.Close())
	}
	w.quiet()
}

// Port 0 is a port that nobody listens on.
func TestListenChoosesPorts(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	seen := map[string]bool{}
	for range 50 {
		ln, err := w.server.Listen("tcp4", ":0")
		require.NoError(t, err)
		require.False(t, seen[ln.Addr().String()])
		seen[ln.Addr().String()] = true
	}
}

func TestListenerDeadline(t *testing.T) {
	w := newWorld(t, "", nil)
	ln := w.listen()
	timed := ln.(interface{ SetDeadline(time.Time) error })
	for _, at := range []time.Time{time.Unix(1, 0), time.Now().Add(5 * time.Millisecond)} {
		require.NoError(t, timed.SetDeadline(at))
		_, err := ln.Accept()
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		require.True(t, ne.Timeout())
	}
	require.NoError(t, timed.SetDeadline(time.Time{}))
	a, d := w.pair(ln)
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	require.NoError(t, ln.Close())
	require.ErrorIs(t, timed.SetDeadline(time.Time{}), net.ErrClosed)
	w.quiet()
}

// LSN-023: what is established and not accepted yet is reset, Accepts that wait end, and
// who is accepted lives on.
func TestLSN_023_CloseOfAListener(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	ln := w.listen()
	a, d := w.pair(ln)
	waiting := w.listen()
	ended := make(chan error)
	for range 3 {
		go func() { _, err := waiting.Accept(); ended <- err }()
	}
	var left []*fastsyn.Conn
	for range 10 {
		left = append(left, w.dial(ln))
	}
	require.Eventually(t, func() bool { return w.flows() == 22 }, 10*time.Second, time.Millisecond)
	require.NoError(t, ln.Close())
	for _, c := range left {
		_, err := c.Read(make([]byte, 1))
		requireOp(t, err, "read", c, syscall.ECONNRESET)
		require.NoError(t, c.Close())
	}
	require.NoError(t, waiting.Close())
	for range 3 {
		require.ErrorIs(t, <-ended, net.ErrClosed)
	}
	_, err := w.client.Dial("tcp", ln.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	_, err = d.Write([]byte("still here"))
	require.NoError(t, err)
	require.NoError(t, d.Close())
	got, err := io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, "still here", string(got))
	require.NoError(t, a.Close())
	w.quiet()
}

// FLD-004: a full accept queue drops SYNs, so that dialling takes until somebody accepts.
func TestFLD_004_BacklogOfAListener(t *testing.T) {
	const backlog = 3
	w := newWorld(t, "", func(server, client *fastsyn.Config) {
		server.Backlog = backlog
		client.Engine.InitialRTO = 20 * time.Millisecond
	})
	ln := w.listen()
	var first []*fastsyn.Conn
	for range backlog {
		first = append(first, w.dial(ln))
	}
	full := func() uint64 { return w.server.Stats()[0].Engine.Outcome[handshake.DropQueueFull] }
	require.Eventually(t, func() bool { return w.server.Stats()[0].Engine.Queued == backlog }, 10*time.Second, time.Millisecond)
	late := make(chan *fastsyn.Conn)
	go func() { late <- w.dial(ln) }()
	require.Eventually(t, func() bool { return full() >= 2 }, 10*time.Second, time.Millisecond)
	select {
	case <-late:
		t.Error("connected past a full queue")
	default:
	}
	for _, d := range first {
		a, err := ln.Accept()
		require.NoError(t, err)
		require.Equal(t, d.LocalAddr(), a.RemoteAddr(), "first come, first served")
		require.NoError(t, a.Close())
		require.NoError(t, d.Close())
	}
	d := <-late
	a, err := ln.Accept()
	require.NoError(t, err)
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
	require.Zero(t, w.server.Stats()[0].Engine.Queued)
}

// Peers that come and go do not fill the queue.
func TestListenerQueueForgetsTheGone(t *testing.T) {
	w := newWorld(t, "", func(server, _ *fastsyn.Config) { server.Backlog = 2 })
	ln := w.listen()
	for range 20 {
		d := w.dial(ln)
		require.NoError(t, d.SetLinger(0))
		require.NoError(t, d.Close())
		require.Eventually(t, func() bool { return w.flows() == 0 }, 10*time.Second, time.Millisecond)
	}
	a, d := w.pair(ln)
	require.Equal(t, d.LocalAddr(), a.RemoteAddr())
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// A peer that has sent text and its FIN before anybody accepts is accepted all the same.
func TestListenerTextBeforeAccept(t *testing.T) {
	w := newWorld(t, "", nil)
	ln := w.listen()
	d := w.dial(ln)
	_, err := d.Write([]byte("early"))
	require.NoError(t, err)
	require.NoError(t, d.CloseWrite())
	require.Eventually(t, func() bool { return w.server.Stats()[0].Streams.BytesIn == 5 }, 10*time.Second, time.Millisecond)
	a, err := ln.Accept()
	require.NoError(t, err)
	got, err := io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, "early", string(got))
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// Listening and not, again and again, costs nothing that stays.
func TestListenManyTimes(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	for range 70_000 / 100 {
		ln, err := w.server.Listen("tcp", ":80")
		require.NoError(t, err)
		require.NoError(t, ln.Close())
	}
	ln, err := w.server.Listen("tcp", "192.0.2.1:80")
	require.NoError(t, err)
	a, d := w.pair(ln)
	require.NoError(t, a.Close())
	require.NoError(t, d.Close())
	w.quiet()
}

// The end of an endpoint is the end of all that its connections and listeners wait for.
func TestEndpointCloseWakesAll(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	ln := w.listen()
	ended := make(chan error)
	calls := 0
	call := func(fn func() error) {
		calls++
		go func() { ended <- fn() }()
	}
	var open []*fastsyn.Conn
	for range 4 {
		a, d := w.pair(ln)
		open = append(open, a)
		call(func() error { _, err := a.Read(make([]byte, 1)); return err })
		call(func() error { _, err := a.Write(make([]byte, 8<<20)); return err })
		_ = d
	}
	call(func() error { _, err := ln.Accept(); return err })
	var closing sync.WaitGroup
	closing.Go(func() { require.NoError(t, w.server.Close()) })
	for range calls {
		require.ErrorIs(t, <-ended, net.ErrClosed)
	}
	closing.Wait()
	for _, c := range open {
		_, err := c.Write([]byte("x"))
		requireOp(t, err, "write", c, net.ErrClosed)
		require.NoError(t, c.Close())
	}
	_, err := w.server.Listen("tcp", ":80")
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = w.server.Dial("tcp", "192.0.2.2:80")
	require.ErrorIs(t, err, net.ErrClosed)
}
