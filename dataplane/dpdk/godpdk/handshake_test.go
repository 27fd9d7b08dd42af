//go:build dpdk

package godpdk_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/yerden/go-dpdk/ethdev"
	"github.com/yerden/go-dpdk/mbuf"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/rss"
)

const patience = time.Minute // of what comes in milliseconds

const (
	serverAddr = 0xc0000201 // 192.0.2.1
	clientAddr = 0xc0000202
	flows      = 300
)

// dialer is a Source that opens n flows, from ports whose answers come to its queue.
type dialer struct {
	cb    fastsyn.Callbacks
	ports rss.Walk
	n     int
	app   uint16
	known bool
}

func newDialer(t *testing.T, info dataplane.Info, queue, n int, cb fastsyn.Callbacks) *dialer {
	key, reta := rss.SymmetricKey, rss.RETA(info.RETA)
	var err error
	if info.Queues > 1 {
		key, err = rss.NewKey(info.RSSKey)
	} else {
		reta, err = rss.NewRETA(2, 1)
	}
	require.NoError(t, err)
	p, err := rss.NewPicker(rss.New(key), reta, 40000, 60000)
	require.NoError(t, err)
	return &dialer{cb: cb, n: n, ports: p.Start4(serverAddr, clientAddr, 7).Walk(queue, 0)}
}

func (d *dialer) Poll(w *fastsyn.Worker, now int64) (next int64) {
	if !d.known {
		known, _, err := w.Resolve(wire.Addr4(serverAddr))
		if !known || err != nil {
			return now + int64(time.Millisecond)
		}
		d.app, err = w.AddApp(d.cb)
		d.known = err == nil
	}
	for d.n > 0 && w.ConnectRoom() > 0 {
		port, ok := d.ports.Next()
		if !ok {
			break
		}
		to := wire.Tuple{Remote: wire.Addr4(serverAddr), RemotePort: 7, Local: wire.Addr4(clientAddr), LocalPort: port}
		if _, err := w.Connect(&to, d.app); err != nil {
			return now + int64(time.Millisecond)
		}
		d.n--
	}
	return now + int64(time.Millisecond)
}

// exchange opens flows between two ports and has each send a text and get it back.
func exchange(t *testing.T, server, client godpdk.Adoption) {
	t.Helper()
	sp, err := server.Open()
	require.NoError(t, err)
	s, err := fastsyn.Open(fastsyn.Config{
		Device: sp, Addrs: []string{"192.0.2.1/24"},
		Listeners: []fastsyn.Listener{{Addr: ":7", Callbacks: fastsyn.Callbacks{
			Bare: true,
			Data: func(f *fastsyn.Flow, p []byte) { f.Reply(p, true) },
		}}},
	})
	require.NoError(t, err)
	defer s.Close()

	var done, wrong atomic.Int32
	cb := fastsyn.Callbacks{
		Bare:        true,
		Established: func(f *fastsyn.Flow) { f.Reply(fmt.Append(nil, "hello from ", f.Tuple().LocalPort), false) },
		Data: func(f *fastsyn.Flow, p []byte) {
			if string(p) != fmt.Sprint("hello from ", f.Tuple().LocalPort) {
				wrong.Add(1)
			}
		},
		Closed: func(_ *fastsyn.Flow, why fastsyn.CloseReason) {
			if why != handshake.ReasonDone {
				wrong.Add(1)
			}
			done.Add(1)
		},
	}
	cp, err := client.Open()
	require.NoError(t, err)
	c, err := fastsyn.Open(fastsyn.Config{
		Device: cp, Addrs: []string{"192.0.2.2/24"},
		Source: func(i int) fastsyn.Source { return newDialer(t, cp.Info(), i, flows/client.Queues, cb) },
	})
	require.NoError(t, err)
	defer c.Close()

	require.Eventually(t, func() bool { return done.Load() == flows }, patience, time.Millisecond)
	require.Zero(t, wrong.Load())
	for _, ep := range []*fastsyn.Endpoint{s, c} {
		ep.Stop()
		var accepted, connected uint64
		for _, st := range ep.Stats() {
			require.Empty(t, st.Check())
			require.NotZero(t, st.Engine.Accepted+st.Engine.Connected, "worker %d", st.Worker)
			accepted += st.Engine.Accepted
			connected += st.Engine.Connected
		}
		require.EqualValues(t, flows, accepted+connected)
	}
	require.NoError(t, c.Close())
	require.NoError(t, s.Close())
}

// Two ports that go-dpdk has set up, joined by memif: fastsyn accepts on one
// and opens flows on the other, every flow with its text echoed.
func TestHandshakesBetweenAdoptedPorts(t *testing.T) {
	for _, c := range []struct {
		link   string
		queues int
	}{{"one", 1}, {"two", 2}} {
		t.Run(fmt.Sprint("queues=", c.queues), func(t *testing.T) {
			pools := newPools(t, 2*c.queues)
			server, client := godpdk.Adoption{Queues: c.queues, Pools: pools[:c.queues]}, godpdk.Adoption{Queues: c.queues, Pools: pools[c.queues:]}
			server.Port, client.Port = named(t, "net_memif_"+c.link+"_server"), named(t, "net_memif_"+c.link+"_client")
			for _, a := range []godpdk.Adoption{server, client} { // memif wants the server started first
				configure(t, a.Port, a.Pools...)
				require.NoError(t, a.Port.Start())
			}
			defer hangUp(t, server.Port, client.Port)
			up := func() bool { return isUp(t, server.Port) && isUp(t, client.Port) }
			require.Eventually(t, up, patience, time.Millisecond)
			maps, err := os.ReadFile("/proc/self/maps")
			require.NoError(t, err)
			require.Contains(t, string(maps), "memif_region") // as hangUp expects

			for range 2 { // and again, on the same ports
				exchange(t, server, client)
				require.True(t, up(), "the ports still run")
				drain(server)
				drain(client)
				for _, pool := range pools {
					require.Zero(t, pool.InUseCount())
				}
			}

			// The program has its ports back.
			m := mbuf.PktMbufAlloc(pools[0])
			require.NotNil(t, m)
			require.NoError(t, m.PktMbufAppend(text("our own again")))
			require.EqualValues(t, 1, client.Port.TxBurst(0, []*mbuf.Mbuf{m}))
			in := make([]*mbuf.Mbuf, 8)
			require.Eventually(t, func() bool { return server.Port.RxBurst(0, in) == 1 }, patience, time.Millisecond)
			require.Equal(t, text("our own again"), in[0].Data())
			in[0].PktMbufFree()
		})
	}
}

// drain throws away what the other end has still sent after fastsyn let go.
func drain(a godpdk.Adoption) {
	in := make([]*mbuf.Mbuf, 32)
	for q := range uint16(a.Queues) {
		for n := a.Port.RxBurst(q, in); n > 0; n = a.Port.RxBurst(q, in) {
			mbuf.PktMbufFreeBulk(in[:n])
		}
	}
}

// hangUp stops both ends. When its client goes, DPDK's interrupt thread takes the
// server down, and memif frees twice what it frees there while it is being stopped. So
// that has to be over: it unmaps what the ends share, and is done a moment later.
func hangUp(t *testing.T, server, client ethdev.Port) {
	client.Stop()
	require.Eventually(t, func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		return err == nil && !strings.Contains(string(maps), "memif_region")
	}, patience, time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	server.Stop()
}

func isUp(t *testing.T, pid ethdev.Port) bool {
	link, err := pid.EthLinkGetNowait()
	require.NoError(t, err)
	return link.Status()
}
