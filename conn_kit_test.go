package fastsyn_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
)

var wires atomic.Uint32

// world is a server and a client at the two ends of a wire in memory.
type world struct {
	t              *testing.T
	server, client *fastsyn.Endpoint
}

// newWorld opens both; spec is the rest of the port string and change, if any, the
// last word on their configurations.
func newWorld(t *testing.T, spec string, change func(server, client *fastsyn.Config)) *world {
	t.Helper()
	port := fmt.Sprintf("loop:conn%d%s", wires.Add(1), spec)
	server := fastsyn.Config{Port: port, Addrs: []string{"192.0.2.1/24", "2001:db8::1/64"}}
	client := fastsyn.Config{Port: port, Addrs: []string{"192.0.2.2/24", "2001:db8::2/64"}}
	if change != nil {
		change(&server, &client)
	}
	w := &world{t: t}
	var err error
	w.server, err = fastsyn.Open(server)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.server.Close()) })
	w.client, err = fastsyn.Open(client)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.client.Close()) })
	return w
}

// listen is the server's Listen of a port of its choice.
func (w *world) listen() net.Listener {
	w.t.Helper()
	ln, err := w.server.Listen("tcp", "192.0.2.1:0")
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func (w *world) dial(ln net.Listener) *fastsyn.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := w.client.DialContext(ctx, "tcp", ln.Addr().String())
	require.NoError(w.t, err)
	return c.(*fastsyn.Conn)
}

// pair is a connection: the end that was accepted, and the one that dialled.
func (w *world) pair(ln net.Listener) (accepted, dialled *fastsyn.Conn) {
	w.t.Helper()
	dialled = w.dial(ln)
	c, err := ln.Accept()
	require.NoError(w.t, err)
	return c.(*fastsyn.Conn), dialled
}

// flows is how many flows both endpoints have, but for those in TIME-WAIT.
func (w *world) flows() (n int) {
	for _, ep := range []*fastsyn.Endpoint{w.server, w.client} {
		for _, s := range ep.Stats() {
			n += int(s.Engine.EstablishedNow + s.Engine.HalfOpen + s.Engine.Opening)
		}
	}
	return n
}

// quiet waits until no flow is left, and then checks all sums.
func (w *world) quiet() {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.flows() == 0 }, 20*time.Second, time.Millisecond)
	for _, ep := range []*fastsyn.Endpoint{w.server, w.client} {
		for _, s := range ep.Stats() {
			require.Empty(w.t, s.Check())
			require.Zero(w.t, s.CallbackPanics)
			require.Zero(w.t, s.Streams.Now)
			require.Zero(w.t, s.Streams.BlocksInUse, "text that nobody will send or read")
			require.Zero(w.t, s.Streams.Sending)
		}
	}
}
