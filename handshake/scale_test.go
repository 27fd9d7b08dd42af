package handshake

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

// counts are how many flows a benchmark runs with; ten million with -scale.
func counts() []int {
	if *scale {
		return []int{1 << 10, 1 << 20, 10_000_000}
	}
	return []int{1 << 10, 1 << 20}
}

// BenchmarkLookup is bursts of segments for established flows drawn at random, here resets
// outside the window, which change nothing.
func BenchmarkLookup(b *testing.B) {
	for _, fam := range []string{"v4", "v6"} {
		for _, flows := range counts() {
			b.Run(fmt.Sprintf("%s/flows=%d", fam, flows), func(b *testing.B) {
				c := newCycler(b, Config{MaxFlows: flows + MaxBurst, Cookies: CookiesNever, MaxHalfOpen: flows})
				c.v6 = fam == "v6"
				require.NoError(b, c.e.Populate(c.v6))
				for range (flows + MaxBurst - 1) / MaxBurst {
					c.syn()
					c.reply(wire.FlagACK)
				}
				rng := rand.New(rand.NewPCG(1, 1))
				b.ReportAllocs()
				for b.Loop() {
					for i := range c.segs {
						c.port = rng.Uint32N(uint32(flows))
						c.tuple(&c.segs[i])
						r := wire.Seq(c.port*7919) + 1
						c.segs[i].Seq, c.segs[i].Flags, c.segs[i].Len, c.segs[i].Opt.Has = r-1, wire.FlagRST, 0, 0 // before the window
					}
					c.handle()
				}
				require.Equal(b, uint64(flows+MaxBurst-1)/MaxBurst*MaxBurst, c.e.Counters().EstablishedNow)
				report(b, 1)
			})
		}
	}
}

// BenchmarkTimers arms, cancels and expires timers while as many others run, in
// bursts whose records are touched together first as find does. The costs differ by
// cache misses alone.
func BenchmarkTimers(b *testing.B) {
	cfg, err := Config{}.withDefaults()
	require.NoError(b, err)
	for _, armed := range counts() {
		arena, err := hugepages.Alloc((armed+MaxBurst+1)*64, hugepages.Options{})
		require.NoError(b, err)
		recs, err := hugepages.Slice[record](arena, armed+MaxBurst+1)
		require.NoError(b, err)
		require.NoError(b, hugepages.Populate(recs))
		for _, order := range []string{"in-order", "random"} {
			var tm timers
			tm.init(&cfg)
			clear(recs)
			pick := make([]uint32, len(recs)-1)
			for i := range pick {
				pick[i] = uint32(i + 1)
			}
			if order == "random" {
				rand.New(rand.NewPCG(3, 4)).Shuffle(len(pick), func(i, j int) { pick[i], pick[j] = pick[j], pick[i] })
			}
			for i := range armed {
				tm.arm(recs, uint32(i+1), 0, 0)
			}
			for i := armed + 1; i < len(recs); i++ {
				tm.arm(recs, uint32(i), classTimeWait, 0)
			}
			at, now, sink := 0, uint32(0), uint64(0)
			burst := func() []uint32 {
				if at+MaxBurst > len(pick) {
					at = 0
				}
				p := pick[at : at+MaxBurst]
				at += MaxBurst
				for _, idx := range p {
					sink += uint64(recs[idx].remote4)
				}
				for _, idx := range p {
					sink += uint64(recs[recs[idx].prev].next) + uint64(recs[recs[idx].next].prev)
				}
				return p
			}
			b.Run(fmt.Sprintf("cancel+arm/%s/armed=%d", order, armed), func(b *testing.B) {
				n := 0
				for b.Loop() {
					for _, idx := range burst() {
						tm.arm(recs, idx, 0, 0) // a cancel and an arm
					}
					n += MaxBurst
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/timer")
				b.ReportMetric(0, "ns/op")
			})
			// By now the FIFO is in the order that the cancels left.
			b.Run(fmt.Sprintf("expire+arm/%s/armed=%d", order, armed), func(b *testing.B) {
				n := 0
				for b.Loop() {
					for range MaxBurst {
						idx := tm.fifo[0].head
						now = max(now, recs[idx].deadline)
						if tm.due(recs, 0, now) != idx {
							b.Fatal("not due")
						}
						tm.arm(recs, idx, 0, now)
					}
					n += MaxBurst
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/timer")
				b.ReportMetric(0, "ns/op")
			})
			require.Equal(b, len(recs)-1, tm.armed)
		}
		require.NoError(b, arena.Free())
	}
}

// BenchmarkExpiry fires timers of half-opens, the last or the first of each: with a
// SYN-ACK again, or with the end of the flow.
func BenchmarkExpiry(b *testing.B) {
	for _, retries := range []int{5, -1} {
		for _, flows := range counts() {
			b.Run(fmt.Sprintf("retransmit=%t/flows=%d", retries > 0, flows), func(b *testing.B) {
				n := (flows + MaxBurst - 1) / MaxBurst * MaxBurst
				c := newCycler(b, Config{MaxFlows: n, MaxHalfOpen: n, Cookies: CookiesNever, SYNACKRetries: retries})
				require.NoError(b, c.e.Populate(false))
				fired, on := 0, time.Duration(0)
				for b.Loop() {
					for c.e.halfOpen < n {
						c.syn()
					}
					c.now += 1100 * 1e6
					t0 := time.Now()
					for left := n; left > 0; {
						k := c.e.Advance(c.now, MaxBurst)
						c.e.Sent(len(c.e.Output()))
						c.e.EndBurst()
						if k == 0 {
							b.Fatal("nothing is due")
						}
						left -= k
						fired += k
					}
					on += time.Since(t0)
					if retries > 0 { // let them go
						for range 10 {
							c.now += 64 * 1e9
							for c.e.Advance(c.now, MaxBurst) > 0 {
								c.e.Sent(len(c.e.Output()))
								c.e.EndBurst()
							}
						}
					}
					require.Zero(b, c.e.halfOpen)
				}
				require.Empty(b, c.counters().Check())
				b.ReportMetric(float64(on.Nanoseconds())/float64(fired), "ns/timer")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
