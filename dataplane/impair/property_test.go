package impair

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
)

func TestRandomOperationsLeakNothing(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			p := func() float64 { return rng.Float64() * float64(rng.IntN(2)) }
			c := Config{Loss: p() / 2, Dup: p(), Reorder: p(), Corrupt: p(), Seed: seed, Dir: Dir(rng.IntN(3)), Store: 1 + rng.IntN(100)}
			if rng.IntN(2) == 1 {
				c.Delay = time.Millisecond
				c.Jitter = c.Delay / 2
			}
			r := newRig(t, c, loop.Config{Frames: 256, Ring: 8 << rng.IntN(5)})
			asked := uint64(0)
			for range 3000 {
				q := []dataplane.Queue{r.q, r.far}[rng.IntN(2)]
				if rng.IntN(3) == 0 {
					for i := range q.Blank(r.b, rng.IntN(30)) {
						r.b.Data[i] = append(r.b.Data[i], frame(i)...)
						r.b.Verdict[i] = dataplane.Reply
					}
				} else {
					for i := range q.Rx(r.b) {
						r.b.Verdict[i] = dataplane.Verdict(rng.IntN(2))
					}
				}
				for i := range r.b.N {
					if q == r.q && r.b.Verdict[i] == dataplane.Reply {
						asked++
					}
				}
				q.Settle(r.b)
				r.clock.t = r.clock.t.Add(time.Duration(rng.IntN(300)) * time.Microsecond)
			}
			st, below, n := r.p.Stats(0), r.p.Unwrap().Stats(0), r.p.Impaired(0)
			require.Equal(t, asked, st.TxFrames+st.TxFull)
			closes(t, n.Tx)
			closes(t, n.Rx)
			if c.acts() && c.Dir != DirRx {
				require.Equal(t, asked, n.Tx.Seen)
				require.Equal(t, n.Tx.Passed, below.TxFrames)
				require.Equal(t, n.Tx.Refused, st.TxFull)
			}
			if c.acts() && c.Dir != DirTx {
				require.Equal(t, n.Rx.Passed, st.RxFrames)
			} else {
				require.Equal(t, below.RxFrames, st.RxFrames)
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	r := newRig(t, Config{Loss: 0.1, Dup: 0.3, Reorder: 0.1, Delay: time.Millisecond, Jitter: time.Millisecond / 2, Dir: DirBoth}, loop.Config{})
	turn := func() {
		for i := range r.q.Blank(r.b, 32) {
			r.b.Data[i] = r.b.Data[i][:60]
			r.b.Verdict[i] = dataplane.Reply
		}
		r.q.Settle(r.b)
		r.clock.t = r.clock.t.Add(time.Millisecond)
		for i := range r.far.Rx(r.b) {
			r.b.Verdict[i] = dataplane.Reply
		}
		r.far.Settle(r.b)
		r.q.Rx(r.b)
		r.q.Settle(r.b)
	}
	turn()
	require.Zero(t, testing.AllocsPerRun(200, turn))
}

func BenchmarkImpair(b *testing.B) {
	for _, bench := range []struct {
		name string
		c    Config
	}{
		{"none", Config{}},
		{"loss=1%", Config{Loss: 0.01}},
		{"delay=1ms", Config{Delay: time.Millisecond, Store: 4096}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			x, y, err := loop.Pair(loop.Config{})
			require.NoError(b, err)
			clk := newClock()
			bench.c.Now = clk.now
			p, err := New(x, bench.c)
			require.NoError(b, err)
			q, far, batch := p.Queue(0), y.Queue(0), dataplane.NewBatch()
			for b.Loop() {
				clk.t = clk.t.Add(time.Millisecond)
				for i := range q.Blank(batch, dataplane.BatchSize) {
					batch.Data[i] = batch.Data[i][:60]
					batch.Verdict[i] = dataplane.Reply
				}
				q.Settle(batch)
				far.Rx(batch)
				far.Settle(batch)
				q.Rx(batch)
				q.Settle(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*dataplane.BatchSize), "ns/pkt")
		})
	}
}
