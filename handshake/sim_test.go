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
	add("everything", awful, func(c *simConfig) {
		under(c)
		c.corrupt, c.rewrite, c.icmp, c.strip = 0.05, 0.02, 0.3, true
		c.both, c.simultaneous, c.reuse, c.crash, c.rotate, c.perMS = 0.3, 0.1, 0.3, 1000, true, 1
		c.engine.MaxFlows, c.engine.TimeWait, c.unlisten = 1000, 2*time.Second, true
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
	if c.engine.Cookies == CookiesNever && !c.fleet {
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
		c.attempts /= 5
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
	} {
		*p.to += *p.from
	}
	s.Depth = max(s.Depth, o.Depth)
	s.Virtual += o.Virtual
	s.Total.Add(&o.Total)
}

func (s *simCounts) String() string {
	t := &s.Total
	return fmt.Sprintf("%d attempts (%d begun, %d no room, %d in use), %d connected, %d refused, %d timed out, %d unreachable, %d aborted; "+
		"%d accepted (%d again), %d simultaneous, %d replaced; cookies %d ok %d bad %d, mode entered %d; "+
		"done %d reset %d broken %d aborted %d (%d given up), time-wait %d (%d recycled); "+
		"%d frames, %d lost, %d copied, %d damaged, %d rewritten (%d caught, %d misread), %d stripped, %d ICMP, %d forged (%d missed), %d nowhere; "+
		"%d resets, depth %d, %d bytes, %d crashes, %d wraps, %v",
		s.Attempts, s.Begun, s.NoRoom, s.InUse, t.Connected, t.Refused, t.TimedOut, t.Unreachable, t.AttemptAborted,
		t.Accepted, s.Again, t.SimultaneousOpens, t.HalfOpenReplaced, t.Cookies, t.CookiesOK, t.CookiesBad, t.CookieModeEntered,
		t.Done, t.Reset, t.Broken, t.Aborted, s.Given, t.TimeWaits, t.TimeWaitRecycled,
		s.Frames, s.Lost, s.Copies, s.Damaged, s.Rewritten, s.Caught, s.Misread, s.Stripped, s.ICMP, s.Forged, s.Missed, s.Nowhere,
		t.ResetsSent, s.Depth, s.Bytes, s.Crashes, s.Wrapped, s.Virtual.Round(time.Second))
}
