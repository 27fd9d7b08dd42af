package handshake

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
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

// residentSet is the memory of this process in bytes.
func residentSet(tb testing.TB) int {
	tb.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Skip("memory is measured by /proc/self/statm: ", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	require.NoError(tb, err)
	return pages * os.Getpagesize()
}

// worst keeps the longest bursts.
type worst struct {
	max   time.Duration
	over  int // longer than 100 µs
	total time.Duration
}

func (w *worst) add(d time.Duration) {
	w.max = max(w.max, d)
	w.total += d
	if d > 100*time.Microsecond {
		w.over++
	}
}

// BenchmarkFill fills a table to the last record and looks at every burst on the
// way: 20 million flows with -scale, half-open or established, and
// the memory they take. "prior" is the same number of bursts in a table that is
// full already, which allocates nothing: what the machine itself does to the worst burst.
func BenchmarkFill(b *testing.B) {
	flows := 1 << 18
	if *scale {
		flows = 20_000_000
	}
	for _, tc := range []struct {
		name                       string
		v6, lazy, small, halfOpens bool
	}{
		{name: "v4/established"},
		{name: "v4/half-open", halfOpens: true},
		{name: "v4/half-open/base-pages", halfOpens: true, small: true},
		{name: "v4/half-open/first-touch", halfOpens: true, lazy: true},
		{name: "v4/half-open/first-touch/base-pages", halfOpens: true, lazy: true, small: true},
		{name: "v6/established", v6: true},
		{name: "v6/half-open", halfOpens: true, v6: true},
	} {
		b.Run(tc.name, func(b *testing.B) {
			for b.Loop() {
				before := residentSet(b)
				t0 := time.Now()
				c := newCycler(b, Config{MaxFlows: flows, MaxHalfOpen: flows, Cookies: CookiesNever, noHugePages: tc.small})
				c.v6 = tc.v6
				if !tc.lazy {
					require.NoError(b, c.e.Populate(tc.v6))
				}
				start := time.Since(t0)
				var filling, prior worst
				burst := func(w *worst) {
					t0 := time.Now()
					c.handle()
					w.add(time.Since(t0))
				}
				for range flows / MaxBurst {
					for i := range c.segs {
						c.synFor(&c.segs[i])
					}
					burst(&filling)
					if !tc.halfOpens {
						c.turn(wire.FlagACK)
						burst(&filling)
					}
				}
				memory := residentSet(b) - before
				ctr := c.counters()
				require.Empty(b, ctr.Check())
				require.EqualValues(b, flows/MaxBurst*MaxBurst, ctr.HalfOpen+ctr.EstablishedNow)
				if !tc.v6 {
					n, err := hugepages.Resident(c.e.addr6)
					require.NoError(b, err)
					require.Less(b, n, hugepages.PageBytes, "IPv6 addresses without IPv6 flows")
				}
				for range flows / MaxBurst {
					for i := range c.segs {
						c.synFor(&c.segs[i])
					}
					burst(&prior)
				}
				b.ReportMetric(start.Seconds()*1e3, "ms-start")
				b.ReportMetric(float64(filling.total.Nanoseconds())/float64(flows), "ns/flow")
				b.ReportMetric(float64(filling.max.Microseconds()), "worst-µs")
				b.ReportMetric(float64(filling.over), "bursts>100µs")
				b.ReportMetric(float64(prior.max.Microseconds()), "prior-worst-µs")
				b.ReportMetric(float64(prior.over), "prior>100µs")
				b.ReportMetric(float64(memory)/float64(flows), "B/flow")
				b.ReportMetric(0, "ns/op")
				require.NoError(b, c.e.Free())
			}
		})
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
