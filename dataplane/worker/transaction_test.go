package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// asker keeps n flows open, each of which asks once and is answered once: the shape of
// HTTP/1.0, in which the server closes.
type asker struct {
	app      uint16
	ready    bool
	n, busy  int
	port     uint16
	got      int // bytes of answers
	done     int
	bad      int // flows that ended in another way
	ids      [handshake.MaxBurst]handshake.FlowID
	tuples   [handshake.MaxBurst]wire.Tuple
	question []byte
}

func (a *asker) Poll(w *Worker, _ int64) int64 {
	t := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80}
	if !a.ready {
		a.app, _ = w.AddApp(Callbacks{
			Established: func(f *Flow) { f.Write(a.question) },
			Data:        func(_ *Flow, p []byte) { a.got += len(p) },
			Closed: func(_ *Flow, why handshake.CloseReason) {
				a.busy--
				a.done++
				if why != handshake.ReasonDone {
					a.bad++
				}
			},
		})
		a.ready = true
	}
	if known, _, _ := w.Resolve(t.Remote); !known {
		return 0
	}
	for a.busy < a.n && w.ConnectRoom() > 0 {
		k := 0
		for ; k < min(handshake.MaxBurst, a.n-a.busy); k++ {
			a.port = max(a.port+1, 1024)
			a.tuples[k] = t
			a.tuples[k].LocalPort = a.port
		}
		n, err := w.ConnectMany(a.tuples[:k], a.app, a.ids[:])
		for _, id := range a.ids[:n] {
			if id.Valid() {
				a.busy++
			}
		}
		if err != nil {
			return 0
		}
	}
	return 0
}

func newTransactions(t testing.TB, flows, size int) (*pair, *asker) {
	a := &asker{n: flows, question: []byte("GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")}
	p := newPair(t, handshake.Config{MaxFlows: 65536, TimeWait: -1}, a)
	answer := make([]byte, size)
	app, err := p.server.AddApp(Callbacks{Data: func(f *Flow, q []byte) {
		f.WriteStatic(answer)
		f.Close()
	}})
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
	for range 2000 {
		p.step()
	}
	return p, a
}

func TestTransactionsAllocateNothing(t *testing.T) {
	p, a := newTransactions(t, 64, 1024)
	done := a.done
	require.Positive(t, done)
	allocs := testing.AllocsPerRun(200, p.step)
	if !raceBuild {
		require.Zero(t, allocs)
	}
	require.Greater(t, a.done, done)
	require.Zero(t, a.bad)
	require.Zero(t, a.got%1024)
	checkPair(t, p)
	s := p.server.snapshot().Streams
	require.Zero(t, s.Resent)
	// SYN, SYN-ACK, ACK with the question, answer with FIN, FIN, ACK: nothing is said twice.
	require.InDelta(t, 2, float64(s.SegmentsOut)/float64(s.Ended), 0.05)
}

// BenchmarkTransaction is what both sides cost together, wire included.
func BenchmarkTransaction(b *testing.B) {
	for _, flows := range []int{64, 4096} {
		b.Run(map[int]string{64: "flows=64", 4096: "flows=4096"}[flows], func(b *testing.B) {
			p, a := newTransactions(b, flows, 1024)
			start := a.done
			for b.Loop() {
				p.step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(a.done-start), "ns/transaction")
			require.Zero(b, a.bad)
		})
	}
}
