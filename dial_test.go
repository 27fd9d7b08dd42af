package fastsyn_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// silent is a host that answers for its address and to no segment.
type silent struct{}

func (silent) Receive(int64, []*wire.Segment)     {}
func (silent) Want(int64) (n int, next int64)     { return 0, 1 << 62 }
func (silent) Send(now int64, b *dataplane.Batch) {}
func withSilentServer(server, client *fastsyn.Config) {
	server.Raw = func(int) fastsyn.Raw { return silent{} }
	client.Engine.InitialRTO = 10 * time.Millisecond
	client.Engine.SYNRetries = 2
}

func requireDial(t *testing.T, err error, addr string, is error) {
	t.Helper()
	var oe *net.OpError
	require.ErrorAs(t, err, &oe)
	require.Equal(t, "dial", oe.Op)
	require.Equal(t, "tcp", oe.Net)
	require.ErrorIs(t, err, is)
	if addr != "" {
		require.Equal(t, addr, oe.Addr.String())
	}
}

func TestDialRefused(t *testing.T) {
	w := newWorld(t, "", nil)
	for _, addr := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
		_, err := w.client.Dial("tcp", addr)
		requireDial(t, err, addr, syscall.ECONNREFUSED)
		require.ErrorContains(t, err, "dial tcp "+addr+": connect: connection refused")
	}
	w.quiet()
}

func TestDialTimedOut(t *testing.T) {
	w := newWorld(t, "", withSilentServer)
	_, err := w.client.Dial("tcp", "192.0.2.1:80")
	requireDial(t, err, "192.0.2.1:80", syscall.ETIMEDOUT)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
	w.quiet()
}

// Nobody answers for the next hop: that is known after three questions, long before
// the SYN would have timed out.
func TestDialNobodyThere(t *testing.T) {
	w := newWorld(t, "", nil)
	_, err := w.client.Dial("tcp", "192.0.2.77:80")
	requireDial(t, err, "192.0.2.77:80", syscall.EHOSTUNREACH)
	w.quiet()
	require.EqualValues(t, 1, w.client.Stats()[0].Engine.AttemptAborted)
}

func TestDialErrors(t *testing.T) {
	w := newWorld(t, "", func(_, client *fastsyn.Config) { client.Addrs = client.Addrs[:1] })
	for _, tc := range []struct {
		network, addr string
		is            error
		text          string
	}{
		{"tcp", "198.51.100.1:80", syscall.ENETUNREACH, "dial tcp 198.51.100.1:80: connect: network is unreachable"},
		{"tcp", "192.0.2.2:80", syscall.ENETUNREACH, "ACT-015: our own address"},
		{"tcp", "224.0.0.1:80", syscall.ENETUNREACH, ""},
		{"tcp", "[2001:db8::1]:80", nil, "no address of its family"},
		{"tcp4", "[2001:db8::1]:80", nil, "no suitable address"},
		{"tcp", ":80", nil, "missing host"},
		{"tcp", "192.0.2.1", nil, "missing port"},
		{"tcp", "192.0.2.1:99999", nil, "99999"},
		{"unix", "192.0.2.1:80", net.UnknownNetworkError("unix"), ""},
	} {
		_, err := w.client.Dial(tc.network, tc.addr)
		var oe *net.OpError
		require.ErrorAs(t, err, &oe, tc.addr)
		require.Equal(t, "dial", oe.Op)
		if tc.is != nil {
			require.ErrorIs(t, err, tc.is, tc.addr)
		} else {
			require.ErrorContains(t, err, tc.text)
		}
	}
	w.quiet()
}

// A context ends an attempt with the error that package net would return, and no flow,
// no SYN that is repeated, stays behind.
func TestACT_012_ContextEndsDial(t *testing.T) {
	w := newWorld(t, "", func(server, client *fastsyn.Config) {
		withSilentServer(server, client)
		client.Engine.SYNRetries, client.Engine.InitialRTO = 6, time.Second
	})
	const addr = "192.0.2.1:80"
	syns := func() uint64 { return w.client.Stats()[0].Engine.Attempted }
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for syns() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	_, err := w.client.DialContext(ctx, "tcp", addr)
	requireDial(t, err, addr, context.Canceled)
	require.ErrorContains(t, err, "operation was canceled")
	w.quiet()

	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, err = w.client.DialContext(ctx, "tcp", addr)
	requireDial(t, err, addr, context.DeadlineExceeded)
	require.ErrorContains(t, err, "i/o timeout")
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
	require.False(t, errors.Is(err, context.Canceled))
	w.quiet()

	before := syns()
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	_, err = w.client.DialContext(ctx, "tcp", addr)
	requireDial(t, err, addr, context.Canceled)
	require.Equal(t, before, syns(), "not begun")
}

// Attempts that are given up at any moment of the handshake leave nothing behind.
func TestDialCancelRaces(t *testing.T) {
	w := newWorld(t, "?queues=2", nil)
	ln := w.listen()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	var all sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*5*time.Microsecond)
		all.Go(func() {
			defer cancel()
			c, err := w.client.DialContext(ctx, "tcp", ln.Addr().String())
			switch {
			case err == nil:
				_ = c.Close()
			case !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			}
		})
	}
	all.Wait()
	w.quiet()
}

// Dials are spread over the workers, and each gets its replies.
func TestTWT_009_DialOnEveryWorker(t *testing.T) {
	w := newWorld(t, "?queues=4", nil)
	ln := w.listen()
	var open []*fastsyn.Conn
	ports := map[int]bool{}
	for range 40 {
		a, d := w.pair(ln)
		open = append(open, a, d)
		ports[d.LocalAddr().(*net.TCPAddr).Port] = true
	}
	require.Len(t, ports, 40)
	for _, s := range w.client.Stats() {
		require.EqualValues(t, 10, s.Engine.Connected)
		require.EqualValues(t, 10, s.Engine.EstablishedNow)
	}
	for _, c := range open {
		require.NoError(t, c.Close())
	}
	w.quiet()
}

// TWT-010: when all ports to a destination are in use, that is an error of its own, at
// once; to others there are as many again.
func TestTWT_010_NoPortLeft(t *testing.T) {
	w := newWorld(t, "", func(server, client *fastsyn.Config) {
		withSilentServer(server, client)
		client.Engine.InitialRTO = time.Minute
	})
	const first, last = 32768, 60999
	worker := w.client.Workers()[0]
	var app uint16
	require.NoError(t, worker.Do(func() { app, _ = worker.AddApp(fastsyn.Callbacks{}) }))
	var flows []fastsyn.FlowID
	for port := first; port <= last; {
		require.NoError(t, worker.Do(func() {
			for ; port <= last && worker.ConnectRoom() > 0; port++ {
				id, err := worker.Connect(&wire.Tuple{
					Remote: wire.Addr4(0xc0000201), RemotePort: 80, Local: wire.Addr4(0xc0000202), LocalPort: uint16(port),
				}, app)
				require.NoError(t, err)
				flows = append(flows, id)
			}
		}))
	}
	_, err := w.client.Dial("tcp", "192.0.2.1:80")
	requireDial(t, err, "192.0.2.1:80", syscall.EADDRNOTAVAIL)
	// One port is free: that one is found.
	free := flows[12345]
	require.NoError(t, worker.Do(func() { worker.Abort(free) }))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { _, err := w.client.DialContext(ctx, "tcp", "192.0.2.1:80"); done <- err }()
	attempted := func() uint64 { return w.client.Stats()[0].Engine.Attempted }
	require.Eventually(t, func() bool { return attempted() == last-first+2 }, 10*time.Second, time.Millisecond)
	state := handshake.Closed
	require.NoError(t, worker.Do(func() {
		state = worker.StateOf(&wire.Tuple{
			Remote: wire.Addr4(0xc0000201), RemotePort: 80, Local: wire.Addr4(0xc0000202), LocalPort: first + 12345,
		})
	}))
	require.Equal(t, handshake.SynSent, state)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	ctx, cancel = context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = w.client.DialContext(ctx, "tcp", "192.0.2.1:81")
	requireDial(t, err, "192.0.2.1:81", context.DeadlineExceeded)
}
