package fastsyn_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// Bad input is refused with an error that names the thing and the fix, and
// nothing stays open behind it.
func TestOpenErrors(t *testing.T) {
	addrs := []string{"192.0.2.1/24"}
	for name, tc := range map[string]struct {
		cfg  fastsyn.Config
		want string
	}{
		"no port":          {fastsyn.Config{Addrs: addrs}, "give a port string"},
		"unknown driver":   {fastsyn.Config{Port: "lop:", Addrs: addrs}, "loop"},
		"no address":       {fastsyn.Config{Port: "loop:errors"}, "no address"},
		"no prefix length": {fastsyn.Config{Port: "loop:errors", Addrs: []string{"192.0.2.1"}}, "192.0.2.1/24"},
		"not an address":   {fastsyn.Config{Port: "loop:errors", Addrs: []string{"here/24"}}, "ADDRESS/LENGTH"},
		"far gateway":      {fastsyn.Config{Port: "loop:errors", Addrs: addrs, Gateways: []string{"198.51.100.1"}}, "none of the local prefixes"},
		"bad gateway":      {fastsyn.Config{Port: "loop:errors", Addrs: addrs, Gateways: []string{"gw"}}, "want an IP address"},
		"bad pool":         {fastsyn.Config{Port: "loop:errors", Addrs: addrs, Pools: []string{"x"}}, "pool"},
		"engine":           {fastsyn.Config{Port: "loop:errors", Addrs: addrs, Engine: handshake.Config{MaxFlows: -1}}, "MaxFlows"},
		"epoch":            {fastsyn.Config{Port: "loop:errors", Addrs: addrs, CookieEpoch: time.Nanosecond}, "epoch"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fastsyn.Open(tc.cfg)
			require.ErrorContains(t, err, tc.want)
		})
	}
	// The port of each failed Open was closed again, so the name is free.
	a, err := fastsyn.Open(fastsyn.Config{Port: "loop:errors", Addrs: addrs})
	require.NoError(t, err)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close(), "closing twice is closing once")
}

// Listeners of the configuration are checked like those of Handle.
func TestListenersErrors(t *testing.T) {
	cfg := fastsyn.Config{Port: "loop:listeners", Addrs: []string{"192.0.2.1/24"}, Listeners: []fastsyn.Listener{{Addr: ":80"}, {Addr: ":80"}}}
	_, err := fastsyn.Open(cfg)
	require.ErrorIs(t, err, handshake.ErrListenerExists)
	cfg.Listeners = []fastsyn.Listener{{Addr: "198.51.100.1:80"}}
	_, err = fastsyn.Open(cfg)
	require.ErrorContains(t, err, "not an address of this endpoint")
	cfg.Listeners = []fastsyn.Listener{{Addr: ":80"}}
	ep, err := fastsyn.Open(cfg)
	require.NoError(t, err, "a failed Open leaves the name free")
	require.ErrorIs(t, ep.Handle(":80", fastsyn.Callbacks{}), handshake.ErrListenerExists)
	require.NoError(t, ep.Close())
}

func TestHandleErrors(t *testing.T) {
	ep, err := fastsyn.Open(fastsyn.Config{Port: "loop:handle", Addrs: []string{"192.0.2.1/24"}})
	require.NoError(t, err)
	defer ep.Close()
	for addr, want := range map[string]string{
		"80": "listen address", ":0": "1 to 65535", ":http": "1 to 65535", "192.0.2.1:0": "port 0",
		"192.0.2.9:80": "not an address of this endpoint", "[fd00::1]:80": "not an address of this endpoint",
	} {
		require.ErrorContains(t, ep.Handle(addr, fastsyn.Callbacks{}), want, addr)
	}
	require.NoError(t, ep.Handle(":80", fastsyn.Callbacks{}))
	require.NoError(t, ep.Handle("192.0.2.1:80", fastsyn.Callbacks{}), "an exact address beside any")
	require.ErrorIs(t, ep.Handle(":80", fastsyn.Callbacks{}), handshake.ErrListenerExists)
}

// Nobody has to say that a device that is polled wants to be polled.
func TestPollingFollowsThePort(t *testing.T) {
	for polled, want := range map[bool]worker.Polling{true: worker.Busy, false: worker.Adaptive} {
		port := dptest.NewPort(t, dptest.PortConfig{Polled: polled})
		ep, err := fastsyn.Open(fastsyn.Config{Device: port, Addrs: []string{"192.0.2.1/24"}, DAD: -1})
		require.NoError(t, err)
		require.Equal(t, want, ep.Workers()[0].Polling())
		require.NoError(t, ep.Close())
	}
}

func TestWait(t *testing.T) {
	port := dptest.NewPort(t, dptest.PortConfig{Queues: 2})
	ep, err := fastsyn.Open(fastsyn.Config{Device: port, Addrs: []string{"192.0.2.1/24"}, DAD: -1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, ep.Wait(ctx))
	gone := errors.New("cable pulled")
	port.Fail(1, gone)
	require.ErrorIs(t, ep.Wait(context.Background()), gone)
	require.Len(t, ep.Stats(), 2)
	for _, s := range ep.Stats() {
		require.Empty(t, s.Check())
	}
	require.NoError(t, ep.Close())
	require.True(t, port.Closed())
	var _ dataplane.Info = ep.Info()
}

func TestLSN_023_Unhandle(t *testing.T) {
	port := dptest.NewPort(t, dptest.PortConfig{Queues: 2})
	ep, err := fastsyn.Open(fastsyn.Config{
		Device: port, Addrs: []string{"192.0.2.1/24"},
		Listeners: []fastsyn.Listener{{Addr: ":80"}, {Addr: "192.0.2.1:81"}},
	})
	require.NoError(t, err)
	require.ErrorContains(t, ep.Unhandle("80"), "listen address")
	require.ErrorContains(t, ep.Unhandle("192.0.2.9:80"), "not an address of this endpoint")
	require.ErrorIs(t, ep.Unhandle(":81"), handshake.ErrNoListener, "it is an exact one")
	for range 3 {
		require.NoError(t, ep.Unhandle(":80"))
		require.ErrorIs(t, ep.Unhandle(":80"), handshake.ErrNoListener)
		require.NoError(t, ep.Handle(":80", fastsyn.Callbacks{}), "on every worker it is free again")
		require.NoError(t, ep.Unhandle("192.0.2.1:81"))
		require.NoError(t, ep.Handle("192.0.2.1:81", fastsyn.Callbacks{}))
	}
	require.NoError(t, ep.Close())
	require.ErrorIs(t, ep.Unhandle(":80"), worker.ErrStopped)
}
