package handshake

import (
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var (
	simHandshakes = flag.Int("sim.handshakes", 0, "simulate at least so many handshakes (make sim)")
	simWatch      = flag.String("sim.watch", "", "tell all about the flows of this end, as in 10.0.0.1:10008")
	simSeed       = flag.Uint64("sim.seed", 1, "first seed of the simulation")
)

// simScenarios are the worlds. Each is small: many seeds find more than long runs.
func simScenarios() []simConfig {
	lossy := simConfig{loss: 0.1, dup: 0.05, late: 0.01, maxDelay: 30}
	awful := simConfig{loss: 0.3, dup: 0.3, late: 0.1, maxDelay: 80, poke: 0.2}
	var list []simConfig
	add := func(name string, c simConfig, set func(*simConfig)) {
		c.name = name
		c.attempts, c.perMS, c.maxDelay = 1500, 10, max(c.maxDelay, 1)
		c.engine.MaxFlows = 4000
		set(&c)
		list = append(list, c)
	}
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		name := "cookies=" + policy.String()
		marks := func(c *simConfig) {
			c.engine.Cookies = policy
			c.engine.MaxHalfOpen, c.engine.HighMark, c.engine.LowMark, c.engine.MinStay = 2000, 60, 10, 50*time.Millisecond
		}
		add(name+"/clean", simConfig{}, func(c *simConfig) { marks(c); c.orderly, c.both = true, 0.3 })
		add(name+"/lossy", lossy, func(c *simConfig) { marks(c); c.both, c.blind = 0.3, 2 })
		add(name+"/awful", awful, func(c *simConfig) { marks(c); c.both, c.simultaneous, c.engine.TimeWait = 0.3, 0.1, -1 })
		add(name+"/damage", lossy, func(c *simConfig) { marks(c); c.corrupt, c.rewrite, c.icmp = 0.1, 0.02, 0.5 })
		add(name+"/reuse", lossy, func(c *simConfig) { marks(c); c.reuse, c.both, c.engine.TimeWait = 0.7, 0.5, 200*time.Millisecond })
	}
	under := func(c *simConfig) {
		c.engine.MaxHalfOpen, c.engine.HighMark, c.engine.LowMark, c.engine.MinStay = 200, 100, 20, 20*time.Millisecond
		c.flood, c.blind, c.phases = 40, 2, true
	}
	add("flood/clean", simConfig{}, func(c *simConfig) { under(c); c.orderly = true })
	add("flood/lossy", lossy, under)
	add("flood/without-cookies", lossy, func(c *simConfig) {
		under(c)
		c.engine.Cookies, c.engine.SYNACKRetries = CookiesNever, -1
	})
	add("flood/evict", lossy, func(c *simConfig) {
		under(c)
		c.engine.Cookies, c.engine.Flood.EvictOldest = CookiesNever, true
	})
	add("flood/limits", lossy, func(c *simConfig) {
		under(c)
		c.engine.Flood = FloodConfig{
			SYN: Limit{PerSecond: 20_000}, Source: Limit{PerSecond: 2000}, SourceCookies: true,
			CookieAccepts: Limit{PerSecond: 2000}, Resets: Limit{PerSecond: 500}, SilentBadCookies: true, EvictOldest: true,
		}
		c.engine.MaxFlows = 1000
	})
	add("deferred", lossy, func(c *simConfig) {
		c.gate, c.both, c.blind = Gate{HalfOpen: 100, Defer: 3 * time.Second}, 0.3, 1
	})
	add("flood/rotation", lossy, func(c *simConfig) { under(c); c.rotate, c.attempts, c.perMS = true, 3000, 1 })
	add("fleet", lossy, func(c *simConfig) { c.fleet, c.engine.Cookies, c.rotate = true, CookiesAlways, true })
	add("simultaneous", simConfig{}, func(c *simConfig) { c.simultaneous, c.maxDelay = 0.9, 2 })
	add("simultaneous/lossy", lossy, func(c *simConfig) { c.simultaneous, c.blind, c.reuse = 0.7, 1, 0.2 })
	add("small", lossy, func(c *simConfig) {
		c.engine.MaxFlows, c.engine.MaxHalfOpen, c.reuse, c.both, c.flood = 60, 30, 0.3, 0.4, 1
		c.perMS = 0.5
	})
	add("smallest", awful, func(c *simConfig) {
		c.engine.MaxFlows, c.both, c.attempts, c.perMS, c.poke = 2, 0.5, 500, 0.02, 0.001
	})
	add("far", simConfig{loss: 0.05, dup: 0.05, late: 0.05, maxDelay: 900}, func(c *simConfig) {
		c.both, c.simultaneous, c.reuse, c.perMS = 0.3, 0.2, 0.2, 2
	})
	add("small/never", lossy, func(c *simConfig) {
		c.engine.MaxFlows, c.engine.MaxHalfOpen, c.engine.Cookies, c.both = 200, 20, CookiesNever, 0.4
		c.perMS = 1
	})
	add("crash", lossy, func(c *simConfig) { c.crash, c.both, c.reuse, c.simultaneous, c.perMS = 200, 0.4, 0.3, 0.1, 2 })
	add("crash/cookies", awful, func(c *simConfig) { c.crash, c.reuse, c.engine.Cookies, c.perMS = 200, 0.3, CookiesAlways, 2 })
	add("middlebox", lossy, func(c *simConfig) { c.strip, c.both = true, 0.3 })
	add("middlebox/clean", simConfig{}, func(c *simConfig) { c.strip, c.both, c.orderly = true, 0.3, true })
	add("icmp", lossy, func(c *simConfig) { c.icmp, c.blind, c.simultaneous = 1, 5, 0.2 })
	add("wrap", lossy, func(c *simConfig) { c.wrapISS, c.attempts, c.perMS, c.reuse = true, 1000, 1, 0.2 })
	add("unlisten", lossy, func(c *simConfig) { c.unlisten, c.both = true, 0.3 })
	early := func(c *simConfig) {
		c.fastOpen, c.places, c.engine.FastOpenCache = 0.8, 40, 64
		c.engine.Cookies, c.both = CookiesNever, 0.3
	}
	add("fastopen/clean", simConfig{}, func(c *simConfig) { early(c); c.orderly, c.places = true, 1000 })
	add("fastopen/lossy", lossy, func(c *simConfig) { early(c); c.blind, c.icmp = 2, 0.2 })
	add("fastopen/awful", awful, func(c *simConfig) { early(c); c.engine.TimeWait, c.simultaneous = -1, 0.2 })
	add("fastopen/few", lossy, func(c *simConfig) {
		early(c)
		c.places, c.engine.MaxFlows, c.perMS, c.reuse, c.blind = 2, 60, 1, 0.3, 2
	})
	add("fastopen/crossing", simConfig{dup: 0.1, late: 0.02, maxDelay: 5}, func(c *simConfig) { early(c); c.simultaneous, c.reuse = 0.8, 0.2 })
	add("fastopen/crash", lossy, func(c *simConfig) { early(c); c.crash, c.reuse, c.simultaneous, c.perMS = 200, 0.4, 0.1, 2 })
	add("fastopen/rotation", lossy, func(c *simConfig) { early(c); c.rotate, c.reuse, c.perMS, c.attempts = true, 0.2, 0.3, 3000 })
	add("fastopen/middlebox", lossy, func(c *simConfig) {
		early(c)
		c.strip, c.rewrite, c.corrupt, c.engine.FastOpenBlackHole = true, 0.02, 0.05, 100*time.Millisecond
	})
	add("fastopen/cookies", lossy, func(c *simConfig) {
		under(c)
		early(c)
		c.engine.Cookies, c.engine.Flood.EvictOldest, c.unlisten = CookiesPressure, true, true
	})
	add("fastopen/gates", lossy, func(c *simConfig) {
		early(c)
		c.gate, c.take = Gate{HalfOpen: 100, Backlog: 30, Defer: 2 * time.Second}, 0.1
	})
	add("fastopen/path-mtu", simConfig{}, func(c *simConfig) { early(c); c.pathMTU, c.orderly = 700, true })
	add("path-mtu", lossy, func(c *simConfig) { c.pathMTU, c.both, c.icmp, c.blind, c.simultaneous = 600, 0.3, 0.3, 3, 0.1 })
	add("path-mtu/clean", simConfig{}, func(c *simConfig) { c.pathMTU, c.both, c.orderly = 900, 0.3, true })
	add("icmp/fail-fast", lossy, func(c *simConfig) { c.icmp, c.blind, c.simultaneous, c.engine.FailFast = 1, 5, 0.2, true })
	for _, ecn := range [][2]ECNMode{{ECNOn, ECNPassive}, {ECNOn, ECNOff}, {ECNOn, ECNOn}} {
		add("ecn/on-"+ecn[1].String(), simConfig{}, func(c *simConfig) {
			c.ecn, c.both, c.orderly, c.congested, c.engine.Cookies = ecn, 0.3, true, 0.3, CookiesNever
		})
	}
	add("ecn/bleached", lossy, func(c *simConfig) {
		c.ecn, c.both, c.bleach, c.congested, c.simultaneous = [2]ECNMode{ECNOn, ECNOn}, 0.3, true, 0.2, 0.2
	})
	add("ecn/cookies", lossy, func(c *simConfig) {
		c.ecn, c.congested, c.engine.Cookies, c.icmp = [2]ECNMode{ECNOn, ECNPassive}, 0.2, CookiesAlways, 0.2
	})
	queue := func(c *simConfig) {
		c.gate, c.take, c.both, c.blind = Gate{HalfOpen: 100, Backlog: 20}, 0.05, 0.3, 1
		c.engine.TimeWait = 300 * time.Millisecond
	}
	add("backlog", lossy, queue)
	add("backlog/abort", lossy, func(c *simConfig) { queue(c); c.gate.AbortOnOverflow = true })
	add("backlog/cookies", lossy, func(c *simConfig) { queue(c); c.engine.Cookies = CookiesAlways })
	add("backlog/deferred", lossy, func(c *simConfig) { queue(c); c.gate.Defer, c.reuse = 3*time.Second, 0.2 })
	for p := RetryLinuxLinear; p < numRetryPresets; p++ {
		add("retry/"+p.String(), awful, func(c *simConfig) { c.engine.Retry, c.void, c.both, c.poke = p.Retry(), 0.2, 0.2, 0 })
	}
	add("everything", awful, func(c *simConfig) {
		under(c)
		c.corrupt, c.rewrite, c.icmp, c.strip = 0.05, 0.02, 0.3, true
		c.both, c.simultaneous, c.reuse, c.crash, c.rotate, c.perMS = 0.3, 0.1, 0.3, 1000, true, 1
		c.engine.MaxFlows, c.engine.TimeWait, c.unlisten = 1000, 2*time.Second, true
		c.fastOpen, c.places, c.engine.FastOpenCache, c.engine.FastOpenBlackHole = 0.4, 10, 16, time.Second
		c.ecn, c.bleach, c.congested, c.pathMTU = [2]ECNMode{ECNOn, ECNOn}, true, 0.1, 1000
		c.gate, c.take = Gate{HalfOpen: 100, Backlog: 100, Defer: time.Second}, 0.1
	})
	return list
}

// runSim runs one world to its end and checks what must be true then.
func runSim(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := newSim(tb, c)
	w.run()
	for _, d := range w.nodes {
		d.wit.empty()
		ctr := d.e.Counters()
		d.dead.Add(&ctr)
		w.ctr.Total.Add(&d.dead)
		w.mix(uint64(d.now))
		w.mix(ctr.Segments)
	}
	w.ctr.Virtual = time.Duration(w.now - simStart)
	t := &w.ctr.Total
	if c.clean() {
		require.Equal(tb, w.ctr.Begun, t.Connected, "on a good wire every attempt succeeds")
		require.Equal(tb, t.Connected, t.Accepted)
		if c.flood == 0 {
			require.Zero(tb, t.ResetsSent)
		}
		for k, s := range w.streams {
			require.True(tb, !s.shown || s.delivered == s.sent, "%v: %d of %d bytes", k, s.delivered, s.sent)
		}
	}
	f := &t.FastOpen
	if c.clean() && c.fastOpen > 0 {
		require.Zero(tb, w.ctr.Again+f.Failed+f.Unanswered)
		require.NotZero(tb, f.Taken)
		require.GreaterOrEqual(tb, f.Accepted, f.Taken, "each text that was taken came early")
	}
	if c.clean() && c.pathMTU > 0 {
		require.NotZero(tb, t.PathMTUs)
	}
	if c.congested > 0 && c.clean() && c.ecn[1] != ECNOff {
		require.NotZero(tb, w.ctr.Reduced, "marks are answered")
	}
	if c.engine.Cookies == CookiesNever && !c.fleet && c.fastOpen == 0 {
		require.Zero(tb, t.Cookies+t.CookiesOK+w.ctr.Again)
	}
	if c.engine.Cookies == CookiesAlways && c.simultaneous == 0 && c.reuse == 0 {
		require.Zero(tb, t.HalfOpenTimedOut)
	}
	return w
}

// watched reports whether -sim.watch names t.
func (w *simWorld) watched(t wire.Tuple) bool {
	if *simWatch == "" {
		return false
	}
	return netip.AddrPortFrom(t.Local.Netip(), t.LocalPort).String() == *simWatch ||
		netip.AddrPortFrom(t.Remote.Netip(), t.RemotePort).String() == *simWatch
}

func (d *simNode) tell(format string, args ...any) {
	d.w.tb.Logf("%v node %d: %s", time.Duration(d.now-simStart), d.id, fmt.Sprintf(format, args...))
}

// TestSim runs every scenario with one seed; make sim runs as many as it takes.
func TestSim(t *testing.T) {
	list := simScenarios()
	quota := uint64(*simHandshakes / len(list))
	var mu sync.Mutex
	var all simCounts
	t.Cleanup(func() { t.Log("all: " + all.String()) })
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var sum simCounts
			for c.seed = *simSeed; ; c.seed++ {
				w := runSim(t, c)
				sum.add(&w.ctr)
				if sum.Begun > quota {
					break
				}
			}
			t.Logf("seeds %d to %d: %s", *simSeed, c.seed, sum.String())
			mu.Lock()
			defer mu.Unlock()
			all.add(&sum)
		})
	}
}

func TestSimIsDeterministic(t *testing.T) {
	for _, c := range simScenarios() {
		c.attempts /= 10
		c.seed = 7
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a, b := runSim(t, c), runSim(t, c)
			require.Equal(t, a.digest, b.digest)
			require.Equal(t, a.ctr, b.ctr)
			c.seed++
			require.NotEqual(t, a.digest, runSim(t, c).digest)
		})
	}
}

func (s *simCounts) add(o *simCounts) {
	for _, p := range [...]struct{ to, from *uint64 }{
		{&s.Attempts, &o.Attempts},
		{&s.Begun, &o.Begun},
		{&s.NoRoom, &o.NoRoom},
		{&s.InUse, &o.InUse},
		{&s.Frames, &o.Frames},
		{&s.Lost, &o.Lost},
		{&s.Copies, &o.Copies},
		{&s.Damaged, &o.Damaged},
		{&s.Caught, &o.Caught},
		{&s.Misread, &o.Misread},
		{&s.Rewritten, &o.Rewritten},
		{&s.Stripped, &o.Stripped},
		{&s.Forged, &o.Forged},
		{&s.Missed, &o.Missed},
		{&s.ICMP, &o.ICMP},
		{&s.Nowhere, &o.Nowhere},
		{&s.Again, &o.Again},
		{&s.Crashes, &o.Crashes},
		{&s.Given, &o.Given},
		{&s.Bytes, &o.Bytes},
		{&s.Wrapped, &o.Wrapped},
		{&s.TooBig, &o.TooBig},
		{&s.Marked, &o.Marked},
		{&s.Bleached, &o.Bleached},
		{&s.ECN, &o.ECN},
		{&s.Reduced, &o.Reduced},
		{&s.Void, &o.Void},
	} {
		*p.to += *p.from
	}
	s.Depth = max(s.Depth, o.Depth)
	s.Virtual += o.Virtual
	s.Total.Add(&o.Total)
}

func (s *simCounts) String() string {
	t, f := &s.Total, &s.Total.FastOpen
	return fmt.Sprintf("%d attempts (%d begun, %d no room, %d in use), %d connected, %d refused, %d timed out, %d unreachable, %d aborted; "+
		"%d accepted (%d again), %d simultaneous, %d replaced; cookies %d ok %d bad %d, mode entered %d; "+
		"done %d reset %d broken %d aborted %d (%d given up), time-wait %d (%d recycled); "+
		"%d frames, %d lost, %d copied, %d damaged, %d rewritten (%d caught, %d misread), %d stripped, %d ICMP, %d forged (%d missed), %d nowhere; "+
		"fast open %d asked %d sent %d taken %d declined %d unanswered, %d accepted %d confirmed %d failed %d full, %d black holes; "+
		"path MTU %d too big %d believed; ECN %d flows %d marked %d reduced %d bleached; %d SYNs to nobody; "+
		"%d resets, depth %d, %d bytes, %d crashes, %d wraps, %v",
		s.Attempts, s.Begun, s.NoRoom, s.InUse, t.Connected, t.Refused, t.TimedOut, t.Unreachable, t.AttemptAborted,
		t.Accepted, s.Again, t.SimultaneousOpens, t.HalfOpenReplaced, t.Cookies, t.CookiesOK, t.CookiesBad, t.CookieModeEntered,
		t.Done, t.Reset, t.Broken, t.Aborted, s.Given, t.TimeWaits, t.TimeWaitRecycled,
		s.Frames, s.Lost, s.Copies, s.Damaged, s.Rewritten, s.Caught, s.Misread, s.Stripped, s.ICMP, s.Forged, s.Missed, s.Nowhere,
		f.Asked, f.Sent, f.Taken, f.Declined, f.Unanswered, f.Accepted, f.Confirmed, f.Failed, f.Full, f.BlackHoles,
		s.TooBig, t.PathMTUs, s.ECN, s.Marked, s.Reduced, s.Bleached, s.Void,
		t.ResetsSent, s.Depth, s.Bytes, s.Crashes, s.Wrapped, s.Virtual.Round(time.Second))
}
