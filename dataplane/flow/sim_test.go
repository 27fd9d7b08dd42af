package flow

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/handshake"
)

var (
	simSeeds = flag.Int("stream.seeds", 0, "simulate so many worlds (make sim)")
	simWatch = flag.Int("stream.watch", -1, "tell all about the flow of this number")
	simSeed  = flag.Uint64("stream.seed", 1, "seed of the first world")
)

// pick is one of list.
func pick[T any](rng *rand.Rand, list ...T) T { return list[rng.IntN(len(list))] }

// simAny is the world of a seed: each of its parameters is drawn.
func simAny(seed uint64) simConfig {
	rng := rand.New(rand.NewPCG(seed, 7))
	chance := func(p float64) bool { return rng.Float64() < p }
	c := simConfig{
		name: "any", seed: seed, flows: pick(rng, 1, 2, 8, 30), every: pick(rng, 0, time.Millisecond, 50*time.Millisecond),
		both: pick(rng, 0, 0.5), wrap: pick(rng, 0, 0, 1.0), v6: pick(rng, 0, 0.5), limit: 24 * time.Hour,
	}
	worst := 0.0
	for i := range c.path {
		p := &c.path[i]
		*p = simPath{
			delay:  pick(rng, 50*time.Microsecond, time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond),
			rate:   pick(rng, 0, 0, 100, 1000, 10000),
			loss:   pick(rng, 0, 0, 0, 0.01, 0.01, 0.05, 0.2),
			dup:    pick(rng, 0, 0, 0.01, 0.1),
			late:   pick(rng, 0, 0, 0, 0.01),
			mark:   pick(rng, 0, 0, 0.01, 0.1, 0.5),
			tick:   pick(rng, 0, 50*time.Microsecond, time.Millisecond, 5*time.Millisecond),
			mtu:    pick(rng, 0, 0, 0, 0, 1500, 1400, 576),
			icmp:   true,
			jitter: 0,
		}
		p.queue = pick(rng, 3000, 20000, 200000)
		if chance(0.4) {
			p.jitter = p.delay * time.Duration(pick(rng, 1, 2, 10)) / 10
		}
		if chance(0.1) {
			p.burst = 0.005
		}
		if chance(0.1) {
			p.ackLoss = 0.5
		}
		if chance(0.3) {
			p.icmp = false
		}
		if p.mtu == 576 { // no path of IPv6
			c.v6 = 0
		}
		worst = max(worst, p.loss)
	}
	for i := range c.side {
		s := &c.side[i]
		s.engine = handshake.Config{
			MaxFlows: 64, MTU: pick(rng, 1500, 1500, 1500, 9000, 1280, 576), ECN: pick(rng, handshake.ECNOn, handshake.ECNOff, handshake.ECNPassive),
			RcvWindow:    pick(rng, 1460, 3000, 10000, 65535, 65535, 256<<10, 256<<10, 4<<20),
			NoTimestamps: chance(0.3), NoSACK: chance(0.3), NoWScale: chance(0.3),
			TimeWait: pick(rng, 200*time.Millisecond, 2*time.Second, time.Minute), SYNRetries: 20, SYNACKRetries: 20,
			Cookies: pick(rng, handshake.CookiesNever, handshake.CookiesNever, handshake.CookiesAlways),
		}
		if chance(0.2) {
			s.engine.MSS = pick(rng, 48, 100, 536, 1000)
		}
		s.table = Config{
			Memory: pick(rng, 64, 64, 256, 4096) * BlockSize, SendBuffer: pick(rng, 2048, 10000, 64<<10, 256<<10, 1<<20), Statics: pick(rng, 1, 8, 1000),
			AckDelay: pick(rng, -1, 0, 10*time.Millisecond, 200*time.Millisecond, 499*time.Millisecond), Nagle: chance(0.3), Retries: 100,
			Held: HoldLimits{Spans: pick(rng, 0, 1, 10), Blocks: pick(rng, 0, 1, 10)},
		}
		if chance(0.2) {
			s.table.KeepAlive, s.table.KeepAliveIdle, s.table.KeepAliveInterval = true, 5*time.Second, time.Second
		}
		s.runs = pick(rng, 0, 1, 20, 1000)
		s.app = simApp{
			text: pick(rng, 100, 5000, 100_000, 300_000), chunk: pick(rng, 1, 100, 2000, 60000), static: pick(rng, 0, 0, 0.1, 1.0),
			pauses: pick(rng, 0, 0, 0.01, 0.5), pause: pick(rng, time.Millisecond, 300*time.Millisecond, 5*time.Second),
			slow: pick(rng, 0, 0, 0.5, 1), hold: pick(rng, time.Millisecond, 100*time.Millisecond, 10*time.Second),
			abort: pick(rng, 0, 0, 0.2, 1), release: pick(rng, 0, 0, 0.3), follow: pick(rng, 0, 0.5, 1), early: pick(rng, 0, 0, 0, 0.3),
			autoClose: pick(rng, 0, 0, 0.3), lifetime: pick(rng, 10*time.Millisecond, time.Second, 10*time.Second),
		}
		if s.app.chunk == 1 {
			s.app.text = min(s.app.text, 5000)
		}
		if s.table.Statics <= 8 {
			s.app.chunk = max(s.app.chunk, s.app.text/8)
		}
		if s.app.pauses > 0.1 {
			s.app.text = min(s.app.text, 200*s.app.chunk)
		}
	}
	if worst > 0.05 || c.path[0].rate == 100 || c.path[1].rate == 100 {
		for i := range c.side {
			c.side[i].app.text = min(c.side[i].app.text, 30000)
		}
	}
	return c
}

func (c *simCounts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d worlds, %d flows: ends done %d, reset %d, aborted %d, broken %d, not opened %d; %d crossed 2^32\n", c.Worlds, c.Flows, c.Done, c.Reset, c.Aborted, c.Broken, c.Failed, c.Wrapped)
	fmt.Fprintf(&b, "%d segments, lost %d, by queues %d, doubled %d, late %d, too big %d (told %d), marked %d; %d MB of text\n",
		c.Segments, c.Lost, c.Queue, c.Copies, c.Late, c.TooBig, c.ICMP, c.Marked, c.Bytes>>20)
	fmt.Fprintf(&b, "%+v", c.Table)
	return b.String()
}

// simRun runs one world.
func simRun(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := newSim(tb, c)
	defer w.free()
	w.run()
	return w
}

// TestStreamSim runs worlds of all kinds; see docs/testing.md.
func TestStreamSim(t *testing.T) {
	n := 60
	if testing.Short() {
		n = 15
	}
	if *simSeeds != 0 {
		n = *simSeeds
	}
	var total simCounts
	for i := range n {
		w := simRun(t, simAny(*simSeed+uint64(i)))
		total.add(&w.ctr)
	}
	t.Log(total.String())
}

// The same seed gives the same segments at the same times.
func TestStreamSimIsDeterministic(t *testing.T) {
	for seed := range uint64(5) {
		a, b := simRun(t, simAny(1000+seed)), simRun(t, simAny(1000+seed))
		require.Equal(t, a.digest, b.digest)
		require.Equal(t, a.ctr, b.ctr)
	}
}
