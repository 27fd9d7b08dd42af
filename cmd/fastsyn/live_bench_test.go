package main

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// hammer opens flows and resets them, as many at once as a burst holds.
type hammer struct {
	app         uint16
	set         bool
	tuples      [64]wire.Tuple
	ids         [64]handshake.FlowID
	port        uint16
	inflight    int
	established int
}

func (h *hammer) Poll(w *fastsyn.Worker, now int64) int64 {
	if known, _, _ := w.Resolve(wire.Addr4(0x0a000001)); !known {
		return now + 1e6
	}
	if !h.set {
		h.set = true
		h.app, _ = w.AddApp(fastsyn.Callbacks{Bare: true, AutoClose: true, Established: func(f *fastsyn.Flow) {
			h.established++
			h.inflight--
			f.Abort()
		}})
	}
	if h.inflight > 0 {
		return now
	}
	for i := range h.tuples {
		h.port++
		h.tuples[i] = wire.Tuple{Remote: wire.Addr4(0x0a000001), RemotePort: 80, Local: wire.Addr4(0x0a000002), LocalPort: 10_000 + h.port%50_000}
	}
	n, _ := w.ConnectMany(h.tuples[:], h.app, h.ids[:])
	h.inflight += n
	return now
}

// BenchmarkServeHandshake is what a handshake costs the server's core while it
// keeps the time of each and while it does not: what --metrics and a view cost serve.
func BenchmarkServeHandshake(b *testing.B) {
	for _, timed := range []bool{false, true} {
		b.Run(fmt.Sprintf("timed=%v", timed), func(b *testing.B) {
			ours, theirs, err := loop.Pair(loop.Config{})
			require.NoError(b, err)
			secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
			require.NoError(b, err)
			now := int64(1_700_000_000_000_000_000)
			mk := func(port dataplane.Port, addr string, src fastsyn.Source) *fastsyn.Worker {
				n, err := worker.NewNet([6]byte(port.Info().MAC), []netip.Prefix{netip.MustParsePrefix(addr)}, nil, nil)
				require.NoError(b, err)
				ring, err := cookie.NewRing(secret, time.Unix(0, now), cookie.RingConfig{})
				require.NoError(b, err)
				hasher, err := secret.Hasher()
				require.NoError(b, err)
				w, err := worker.New(worker.Config{
					Port: port, Net: n, Engine: handshake.Config{MaxFlows: 4096, TimeWait: -1}, Hasher: hasher, Ring: ring,
					Clock: func() int64 { return now }, CPU: -1, Source: src,
				})
				require.NoError(b, err)
				return w
			}
			h := &hammer{}
			server, client := mk(ours, "10.0.0.1/24", nil), mk(theirs, "10.0.0.2/24", h)
			o, state := &serveFlags{app: "accept"}, &serveState{}
			if timed {
				state.rtt = newPerWorker[measure.Quick](1)
			}
			app, err := o.openApp(1, nil)
			require.NoError(b, err)
			id, err := server.AddApp(o.callbacks(app, nil, state))
			require.NoError(b, err)
			require.NoError(b, server.Listen(wire.Addr{}, 80, id))
			served := time.Duration(0)
			for b.Loop() {
				now += 5000
				client.Step()
				now += 5000
				begin := time.Now()
				server.Step()
				served += time.Since(begin)
			}
			require.Positive(b, h.established)
			if timed {
				require.Positive(b, state.rtt[0].Distribution("").Hist.TotalCount())
			}
			b.ReportMetric(float64(served.Nanoseconds())/float64(h.established), "server-ns/handshake")
			s := server.Snapshot()
			require.Empty(b, s.Check())
			require.NoError(b, server.Free())
			require.NoError(b, client.Free())
			require.NoError(b, ours.Close())
			require.NoError(b, theirs.Close())
		})
	}
}
