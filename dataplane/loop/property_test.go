package loop

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

// scaled makes long runs shorter in race builds, which are an order of magnitude slower.
func scaled(n int) int {
	if raceBuild {
		return n / 8
	}
	return n
}

// kept are frames that a caller holds.
type kept struct {
	data   [][]byte
	handle []uint64
}

// step does one random thing with a queue, as a careless but correct caller would.
func (k *kept) step(rng *rand.Rand, q dataplane.Queue, b *dataplane.Batch) {
	switch rng.IntN(4) {
	case 0:
		for i := range q.Blank(b, rng.IntN(80)) {
			if rng.IntN(10) == 0 {
				continue // sent empty, or not at all
			}
			b.Data[i] = syn(rng.IntN(1<<16), b.Data[i])
			b.Verdict[i] = dataplane.Verdict(rng.IntN(3))
		}
	case 1:
		n := min(len(k.data), rng.IntN(dataplane.BatchSize))
		b.N = copy(b.Data, k.data[:n])
		copy(b.Handle, k.handle[:n])
		k.data, k.handle = k.data[n:], k.handle[n:]
		for i := range n {
			b.Verdict[i] = dataplane.Verdict(rng.IntN(3))
		}
	default:
		for i := range q.Rx(b) {
			b.Verdict[i] = dataplane.Verdict(rng.IntN(3))
		}
	}
	for i := range b.N {
		if b.Verdict[i] == dataplane.Keep {
			k.data, k.handle = append(k.data, b.Data[i]), append(k.handle, b.Handle[i])
		}
	}
	q.Settle(b)
}

// drain settles what is kept.
func (k *kept) drain(q dataplane.Queue, b *dataplane.Batch) {
	for len(k.data) > 0 {
		b.N = copy(b.Data, k.data)
		copy(b.Handle, k.handle)
		clear(b.Verdict)
		k.data, k.handle = k.data[b.N:], k.handle[b.N:]
		q.Settle(b)
	}
}

// checkClosed drops what is on the wire and checks that every frame is home
// and that the counters of both sides agree.
func checkClosed(t *testing.T, a, b *port) {
	t.Helper()
	batch := dataplane.NewBatch()
	dropAll(a, batch)
	dropAll(b, batch)
	c, err := Audit(a)
	require.NoError(t, err)
	require.Equal(t, c.Total, c.Home, "every frame is home")
	var sa, sb dataplane.Stats
	for i := range a.queues {
		sa.Add(a.Stats(i))
		sb.Add(b.Stats(i))
		require.Equal(t, a.queues[i].st, a.Stats(i), "published")
	}
	require.Equal(t, sa.TxFrames-sa.TxErrors, sb.RxFrames)
	require.Equal(t, sb.TxFrames-sb.TxErrors, sa.RxFrames)
	require.Zero(t, sa.RxMissed+sb.RxMissed)
}

func TestRandomOperationsLeakNothing(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			queues := 1 + rng.IntN(3)
			pa, pb := pair(t, Config{Queues: queues, Frames: 128 << rng.IntN(2), Ring: 2 << rng.IntN(8)})
			batch, held := dataplane.NewBatch(), make([]kept, 2*queues)
			for range scaled(2000) {
				i := rng.IntN(2 * queues)
				held[i].step(rng, append(pa.queues, pb.queues...)[i], batch)
			}
			for i, q := range append(pa.queues, pb.queues...) {
				held[i].drain(q, batch)
			}
			checkClosed(t, pa, pb)
		})
	}
}

// TestConcurrentOperationsLeakNothing runs one goroutine per queue and a reader of counters.
func TestConcurrentOperationsLeakNothing(t *testing.T) {
	for _, queues := range []int{1, 3} {
		t.Run(fmt.Sprintf("queues=%d", queues), func(t *testing.T) {
			pa, pb := pair(t, Config{Queues: queues, Frames: 256, Ring: 64})
			var wg sync.WaitGroup
			for i, q := range append(pa.queues, pb.queues...) {
				wg.Go(func() {
					rng, batch, held := rand.New(rand.NewPCG(uint64(i), 1)), dataplane.NewBatch(), kept{}
					for n := range scaled(3000) {
						held.step(rng, q, batch)
						if n%100 == 0 {
							_ = pa.Stats(i % queues)
							_ = pb.Info()
						}
					}
					held.drain(q, batch)
				})
			}
			wg.Wait()
			checkClosed(t, pa, pb)
		})
	}
}

// TestNoLostWakeUp bounces one frame between two sleepers. Nobody polls, so a
// wake-up that got lost would hang the test for the hour given to Wait.
func TestNoLostWakeUp(t *testing.T) {
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprintf("queues=%d", queues), func(t *testing.T) {
			bounces := scaled(20000)
			pa, pb := pair(t, Config{Queues: queues, Frames: 128, Ring: 64})
			var wg sync.WaitGroup
			bounce := func(q dataplane.Queue) {
				batch := dataplane.NewBatch()
				for n := 0; n < bounces; {
					if q.Rx(batch) == 0 {
						q.Wait(time.Hour)
						continue
					}
					n += batch.N
					replyAll(batch)
					q.Settle(batch)
				}
			}
			// A frame whose tuple belongs to the last queue, both ways (the hash is symmetric).
			port := 0
			for queues > 1 {
				if to, _, _ := pa.w.steer.Frame(syn(port, nil)); int(to) == queues-1 {
					break
				}
				port++
			}
			send(t, pa.Queue(queues-1), 1, func(_ int, d []byte) []byte { return syn(port, d) })
			for _, p := range []dataplane.Port{pa, pb} {
				wg.Go(func() { bounce(p.Queue(queues - 1)) })
			}
			wg.Wait()
			checkClosed(t, pa, pb)
		})
	}
}

// TestNoLostWakeUpFanIn lets several senders wake one sleeper.
func TestNoLostWakeUpFanIn(t *testing.T) {
	const queues = 4
	each := scaled(3000)
	pa, pb := pair(t, Config{Queues: queues, Frames: 128, Ring: 64})
	var wg sync.WaitGroup
	var want [queues]int
	for _, q := range pa.queues {
		wg.Go(func() {
			batch := dataplane.NewBatch()
			for n := 0; n < each; {
				if q.Blank(batch, 1) == 0 {
					q.Wait(time.Microsecond)
					continue
				}
				batch.Data[0] = tcp4(batch.Data[0], 1)
				batch.Verdict[0] = dataplane.Reply
				n += q.Settle(batch)
			}
		})
	}
	to, _, _ := pa.w.steer.Frame(tcp4(nil, 1))
	want[to] = queues * each
	wg.Go(func() {
		batch := dataplane.NewBatch()
		for n := 0; n < want[to]; {
			if pb.queues[to].Rx(batch) == 0 {
				pb.queues[to].Wait(time.Hour)
			}
			n += batch.N
			pb.queues[to].Settle(batch)
		}
	})
	wg.Wait()
	checkClosed(t, pa, pb)
}

func TestWaitReturns(t *testing.T) {
	pa, pb := pair(t, Config{})
	a, b, batch := pa.Queue(0), pb.Queue(0), dataplane.NewBatch()
	a.Wait(0)
	a.Wait(-1)
	a.Wait(time.Microsecond)
	a.Wait(time.Microsecond) // the timer is used again
	send(t, a, 1, syn)
	b.Wait(time.Hour) // a frame is there
	b.Rx(batch)
	b.Settle(batch)

	// Closing the other side wakes a sleeper, so that it sees Err.
	done := make(chan error)
	go func() {
		for b.Err() == nil {
			b.Wait(time.Hour)
		}
		done <- b.Err()
	}()
	require.NoError(t, pa.Close())
	require.ErrorIs(t, <-done, ErrPeerClosed)
}
