package handshake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// schedule runs the engine's timers for 200 s in 10 ms steps and returns when
// segments came out, in ms, and when the record was gone.
func (k *kit) schedule(want string) (out []int, end int) {
	k.tb.Helper()
	for ms := 10; ms <= 400_000; ms += 10 {
		k.advance(10 * time.Millisecond)
		for _, s := range k.drain() {
			require.Equal(k.tb, want, k.show(&s))
			out = append(out, ms)
		}
		if k.state() == "CLOSED" {
			return out, ms
		}
	}
	return out, -1
}

func requireNear(t *testing.T, want, got []int) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.GreaterOrEqual(t, got[i], want[i]*1000)
		require.LessOrEqual(t, got[i], want[i]*1000+20*(i+1)) // a step and a tick for each
	}
}

func TestRTX_001_SynAckSchedule(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play("S mss=1440 ws=1 sack | SA seq=0 ack=1")
		out, end := k.schedule(k.show(&k.last[0]))
		requireNear(t, []int{1, 3, 7, 15, 31, 63}, append(out, end))
		require.EqualValues(t, 1, k.e.Counters().HalfOpenTimedOut)
		require.EqualValues(t, 5, k.e.Counters().SynAckRetrans)
		require.Empty(t, k.takeEvents())
	})
}

func TestRTX_002_SynSchedule(t *testing.T) {
	eachFamily(t, Config{}, func(t *testing.T, k *kit) {
		k.play(connecting)
		out, end := k.schedule(k.show(&k.last[0]))
		requireNear(t, []int{1, 3, 7, 15, 31, 63, 127}, append(out, end))
		require.EqualValues(t, 1, k.e.Counters().TimedOut)
		require.Equal(t, "closed: timed out", k.takeEvents())
	})
}

// RTX-003: kit.heard compares every TSval with the clock.
func TestRTX_003_FreshTimestamps(t *testing.T) {
	k := newKit(t, Config{})
	k.play("connect | S ts\n+1001ms | S ts\n+2001ms | S ts")
	require.EqualValues(t, 3002, k.tsLast-k.tsFirst)
	k = newKit(t, Config{})
	k.play(halfOpenTS + "+1001ms | SA ts ecr=1000\n+2001ms | SA ts ecr=1000")
	require.EqualValues(t, 3002, k.tsLast-k.tsFirst)
}

func TestRTX_006_Karn(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + "+1001ms | S\nSA seq=0 ack=1 | A | ESTABLISHED | established")
	require.Zero(t, k.info.RTT)
	require.True(t, k.info.Retrans)
	k = newKit(t, Config{})
	k.play(halfOpen + "+1001ms | SA\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.Zero(t, k.info.RTT)
	require.True(t, k.info.Retrans)
}

func TestRTX_007_Sample(t *testing.T) {
	k := newKit(t, Config{})
	k.play(connecting + "+123ms |\nSA seq=0 ack=1 | A | ESTABLISHED | established")
	require.Equal(t, 123*time.Millisecond, k.info.RTT)
	k = newKit(t, Config{})
	k.play(halfOpen + "+77ms |\nA seq=1 ack=1 | - | ESTABLISHED | established")
	require.Equal(t, 77*time.Millisecond, k.info.RTT)
}

// More retries than there are classes: the delay stays at MaxRTO.
func TestManyRetries(t *testing.T) {
	k := newKit(t, Config{SYNRetries: 30, SYNACKRetries: 30, DataRetries: 30, InitialRTO: time.Millisecond, MaxRTO: 100 * time.Millisecond})
	k.play(connecting)
	out, end := k.schedule(k.show(&k.last[0]))
	require.Len(t, out, 30)
	require.Less(t, end, 3500)
	k.takeEvents()
	k.tup.LocalPort = 80
	k.play(halfOpen)
	for range 28 {
		k.advance(102 * time.Millisecond)
		k.drain()
		// A repeated SYN and a FIN start the timer anew at the same back-off.
		k.play("S mss=1460 & S mss=1460 | " + k.again() + " | SYN-RECEIVED")
	}
	k.play("A seq=1 ack=1 | - | ESTABLISHED | established\nclose | FA | FIN-WAIT-1")
	for range 28 {
		k.advance(102 * time.Millisecond)
		k.drain()
	}
	k.play("FA seq=1 ack=1 | A | CLOSING | peer closed\nA seq=2 ack=2 | - | TIME-WAIT | closed: done")
}

// again is the answer to the next two repeated SYNs.
func (k *kit) again() string {
	if k.e.now64-k.e.recs[k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup)].last < answerSpacing {
		return "- & -"
	}
	return "SA & -"
}

func TestNextTimer(t *testing.T) {
	k := newKit(t, Config{})
	_, any := k.e.NextTimer()
	require.False(t, any)
	k.play(connecting + "+400ms |")
	left, any := k.e.NextTimer()
	require.True(t, any)
	require.EqualValues(t, 601, left)
	k.e.SetClock(k.now+5e9, k.ring.Load())
	left, _ = k.e.NextTimer()
	require.Zero(t, left)
}

// The FIFOs against a naive twin, across the wrap of the clock.
func TestTimersAgainstTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	cfg, err := Config{MaxRTO: 4 * time.Second, TimeWait: 3 * time.Second, FinWait2: time.Second}.withDefaults()
	require.NoError(t, err)
	for range 20 {
		var tm timers
		tm.init(&cfg)
		recs := make([]record, 200)
		twin := map[uint32]uint32{} // deadline
		now := uint32(1<<32 - 20_000)
		for range 5000 {
			idx := 1 + rng.Uint32N(uint32(len(recs)-1))
			switch rng.IntN(8) {
			case 0, 1, 2:
				class := rng.IntN(tm.classes)
				tm.arm(recs, idx, class, now)
				twin[idx] = now + tm.delay[class] + 1
				require.Equal(t, now, tm.armedAt(&recs[idx]))
			case 3:
				tm.disarm(recs, idx)
				delete(twin, idx)
			default:
				now += rng.Uint32N(30)
				var due []uint32
				for class := range tm.classes {
					for {
						idx := tm.due(recs, class, now)
						if idx == 0 {
							break
						}
						due = append(due, idx)
						tm.disarm(recs, idx)
					}
				}
				var want []uint32
				for idx, at := range twin {
					if int32(now-at) >= 0 {
						want = append(want, idx)
						delete(twin, idx)
					}
				}
				slices.Sort(due)
				slices.Sort(want)
				require.Equal(t, want, due)
			}
			require.Equal(t, len(twin), tm.armed)
			left, any := tm.next(recs, now)
			best, found := uint32(0), false
			for _, at := range twin {
				if d := max(int32(at-now), 0); !found || uint32(d) < best {
					best, found = uint32(d), true
				}
			}
			require.Equal(t, found, any)
			require.Equal(t, best, left)
		}
	}
}

// A million half-opens, a thousand due in each millisecond, and a worker that looks at
// the timers four times in each, for 512 at most: none fires early, or later than a tick and 10 ms.
func TestRTX_010_OnTimeUnderAMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million flows")
	}
	const flows = 1 << 20
	c := newCycler(t, Config{MaxFlows: flows, MaxHalfOpen: flows, Cookies: CookiesNever, SYNACKRetries: 1})
	c.now = c.now / 1e6 * 1e6
	begin, bursts := c.now, 0
	armed := make([]int, 0, flows/MaxBurst) // ms of each burst
	for ; bursts < flows/MaxBurst; bursts++ {
		c.syn() // c.handle moves the clock by a microsecond
		armed = append(armed, int((c.now-begin)/1e6))
		c.now += 1e6/16 - 1000
	}
	require.EqualValues(t, flows, c.e.halfOpen)
	latest, fired := 0, 0
	for step := 4000; step < 9000 && fired < flows; step++ {
		c.now = begin + int64(step)*1e6/4
		at := int((c.now - begin) / 1e6)
		n := c.e.Advance(c.now, 512)
		out := c.e.Output()
		require.Len(t, out, n)
		for i := range out {
			s := &out[i].Seg
			flow := int(s.Remote.V4()-0x0a000000)<<14 + int(s.RemotePort) - 10000 // as in cycler.tuple
			late := at - armed[(flow-1)/MaxBurst] - 1000
			if late < 0 || late > 11 {
				t.Fatalf("flow %d: its SYN-ACK is repeated %d ms after it is due", flow, late)
			}
			latest = max(latest, late)
		}
		fired += len(out)
		c.e.Sent(len(out))
		c.e.EndBurst()
	}
	require.Equal(t, flows, fired)
	require.Less(t, latest, 11)
	_, any := c.e.NextTimer()
	require.True(t, any, "now they wait for their last timeout")
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{
		{MaxFlows: -1},
		{MaxFlows: 1<<30 + 1},
		{MaxFlows: 4, MaxHalfOpen: 5},
		{HighMark: 1 << 20},
		{LowMark: 5, HighMark: 4},
		{MTU: 575},
		{MTU: 65536},
		{MSS: 47},
		{MSS: -1},
		{RcvWindow: 1459},
		{RcvWindow: 65535<<14 + 1},
		{SYNRetries: 31},
		{InitialRTO: time.Microsecond},
		{MaxRTO: time.Millisecond},
		{MaxRTO: 2 * time.Hour},
		{TimeWait: 2 * time.Hour},
		{FinWait2: -1},
	} {
		_, err := New(c, testHasher(t, 1))
		require.Error(t, err, fmt.Sprintf("%+v", c))
		require.Contains(t, err.Error(), "handshake: ")
	}
	_, err := New(Config{}, nil)
	require.Error(t, err)
	for _, p := range []CookiePolicy{CookiesPressure, CookiesNever, CookiesAlways} {
		q, err := ParseCookiePolicy(p.String())
		require.NoError(t, err)
		require.Equal(t, p, q)
	}
	_, err = ParseCookiePolicy("x")
	require.Error(t, err)
}
