package handshake

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

// residentSet is the memory of this process in bytes.
func residentSet(tb testing.TB) int {
	tb.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	require.NoError(tb, err)
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	require.NoError(tb, err)
	return pages * os.Getpagesize()
}

// pageFaults counts those of this thread that needed no disk.
func pageFaults(tb testing.TB) int {
	var u unix.Rusage
	require.NoError(tb, unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return int(u.Minflt)
}

// resident is how much of the tables of e is in memory.
func resident(tb testing.TB, e *Engine) (records, buckets, addrs int) {
	records, err := hugepages.Resident(e.recs)
	require.NoError(tb, err)
	buckets, err = hugepages.Resident(e.tab.buckets)
	require.NoError(tb, err)
	addrs, err = hugepages.Resident(e.addr6)
	require.NoError(tb, err)
	return records, buckets, addrs
}

// A million flows take 72 bytes each, IPv6 flows 104, and not before Populate
// or use; from then on no burst, however many flows it makes, waits for memory.
func TestFLD_001_Memory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million flows")
	}
	const flows = 1 << 20
	runtime.LockOSThread() // the faults are counted by thread
	defer runtime.UnlockOSThread()
	for _, v6 := range []bool{false, true} {
		c := newCycler(t, Config{MaxFlows: flows, MaxHalfOpen: flows, Cookies: CookiesNever})
		c.v6 = v6
		size := len(c.e.recs)*64 + len(c.e.tab.buckets)*64
		require.LessOrEqual(t, size, flows*64*115/100, "records and table, to 15 %")
		require.LessOrEqual(t, size+len(c.e.addr6)*32, flows*128)
		records, buckets, addrs := resident(t, c.e)
		require.Less(t, records+buckets+addrs, 2*hugepages.PageBytes, "before Populate")

		require.NoError(t, c.e.Populate(v6))
		records, buckets, _ = resident(t, c.e)
		page := os.Getpagesize()
		require.GreaterOrEqual(t, records, len(c.e.recs)*64-2*page, "after Populate")
		require.GreaterOrEqual(t, buckets, len(c.e.tab.buckets)*64-2*page)
		c.syn() // the code and the scratch memory of a burst
		c.reply(wire.FlagACK)

		faults := 0
		for c.e.flows < flows {
			for i := range c.segs {
				c.synFor(&c.segs[i])
			}
			before := pageFaults(t)
			c.handle()
			c.turn(wire.FlagACK)
			c.handle()
			faults += pageFaults(t) - before
		}
		// The runtime may bring in a page of its own; the tables have 18432 of 4 KiB.
		require.Less(t, faults, 20, "page faults within 2 x %d bursts", flows/MaxBurst)
		_, _, addrs = resident(t, c.e)
		if v6 {
			require.GreaterOrEqual(t, addrs, len(c.e.addr6)*32-2*page)
		} else {
			require.Less(t, addrs, hugepages.PageBytes, "IPv4 flows touch no IPv6 address")
		}
		require.Empty(t, c.counters().Check())
		require.EqualValues(t, flows, c.counters().EstablishedNow)
	}
}

// worst keeps the longest bursts.
type worst struct {
	max   time.Duration
	over  int // longer than 100 µs
	total time.Duration
	ran   int // those in which the thread itself ran for longer than that
}

// threadTime is the time this thread has run (clock_gettime(2)).
func threadTime(tb testing.TB) time.Duration {
	var t unix.Timespec
	require.NoError(tb, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}

func (w *worst) add(d time.Duration) {
	w.max = max(w.max, d)
	w.total += d
	if d > 100*time.Microsecond {
		w.over++
	}
}

// BenchmarkFill fills a table to the last record and looks at every burst on the
// way: 20 million flows with -scale, half-open or established, and the memory
// they take. "idle" is what this machine does to a loop of the same length that
// only reads the clock: such bursts are its doing and not the engine's.
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
			runtime.LockOSThread() // the faults are counted by thread
			defer runtime.UnlockOSThread()
			for b.Loop() {
				memory := -residentSet(b)
				t0 := time.Now()
				c := newCycler(b, Config{MaxFlows: flows, MaxHalfOpen: flows, Cookies: CookiesNever, noHugePages: tc.small})
				c.v6 = tc.v6
				if !tc.lazy {
					require.NoError(b, c.e.Populate(tc.v6))
				}
				start := time.Since(t0)
				var filling, idle worst
				faults := -pageFaults(b)
				burst := func() {
					ran := -threadTime(b)
					t0 := time.Now()
					c.handle()
					filling.add(time.Since(t0))
					if ran += threadTime(b); ran > 100*time.Microsecond {
						filling.ran++
					}
				}
				for range flows / MaxBurst {
					for i := range c.segs {
						c.synFor(&c.segs[i])
					}
					burst()
					if !tc.halfOpens {
						c.turn(wire.FlagACK)
						burst()
					}
				}
				faults += pageFaults(b)
				memory += residentSet(b)
				ctr := c.counters()
				require.Empty(b, ctr.Check())
				require.EqualValues(b, flows/MaxBurst*MaxBurst, ctr.HalfOpen+ctr.EstablishedNow)
				if _, _, addrs := resident(b, c.e); !tc.v6 {
					require.Less(b, addrs, hugepages.PageBytes, "IPv6 addresses without IPv6 flows")
				}
				require.NoError(b, c.e.Free())
				for at := time.Now(); idle.total < filling.total; {
					now := time.Now()
					idle.add(now.Sub(at))
					at = now
				}
				b.ReportMetric(start.Seconds()*1e3, "ms-start")
				b.ReportMetric(float64(filling.total.Nanoseconds())/float64(flows), "ns/flow")
				b.ReportMetric(float64(faults), "faults")
				b.ReportMetric(float64(filling.max.Microseconds()), "worst-µs")
				b.ReportMetric(float64(filling.over), "over-100µs")
				b.ReportMetric(float64(filling.ran), "ran-over-100µs")
				b.ReportMetric(float64(idle.max.Microseconds()), "idle-worst-µs")
				b.ReportMetric(float64(idle.over), "idle-over-100µs")
				b.ReportMetric(float64(memory)/float64(flows), "B/flow")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
