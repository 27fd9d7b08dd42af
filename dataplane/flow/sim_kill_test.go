package flow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/handshake"
)

// simBulk is a world of flows that are all in the middle of a transfer both ways for long.
func simBulk(flows int) simConfig {
	c := simConfig{flows: flows, every: 100 * time.Microsecond, limit: time.Hour}
	for i := range c.path {
		c.path[i] = simPath{delay: 5 * time.Millisecond, loss: 0.01, tick: 200 * time.Microsecond}
		c.side[i] = simSide{
			engine: handshake.Config{MaxFlows: flows + 10, RcvWindow: 64 << 10, TimeWait: time.Second, SYNRetries: 2, SYNACKRetries: 2},
			table:  Config{Memory: 32 << 20, SendBuffer: 16 << 10},
			app:    simApp{text: 100_000, chunk: 4000, pauses: 0.5, pause: 300 * time.Millisecond, slow: 0.5, hold: 300 * time.Millisecond, static: 0.2},
		}
	}
	return c
}

// A thousand flows in the middle of a transfer end at once, in each way that they can: nothing is left of
// them. What is left, over looks for.
func TestStreamsKilled(t *testing.T) {
	t.Parallel()
	flows := 1000
	if testing.Short() {
		flows = 100
	}
	now := func(w *simWorld) uint64 { return w.nodes[0].t.ctr.Now }
	for _, k := range []struct {
		name string
		set  func(c *simConfig)
		kill func(w *simWorld)
		why  handshake.CloseReason // at node 0
	}{
		{"DAT-007 the peer falls silent", func(c *simConfig) { c.mute, c.side[0].table.Retries, c.side[1].table.Retries = time.Second, 5, 5 }, nil, handshake.ReasonTimedOut},
		{"KAL-005 the peer falls silent, and users have no patience", func(c *simConfig) {
			c.mute = time.Second
			for i := range c.side {
				c.side[i].table.UserTimeout, c.side[i].table.KeepAlive = 3*time.Second, true
				c.side[i].table.KeepAliveIdle, c.side[i].table.KeepAliveInterval = 10*time.Second, time.Second
			}
		}, nil, handshake.ReasonTimedOut},
		{"RST-001 the peer resets", nil, func(w *simWorld) { w.abortAll(1) }, handshake.ReasonReset},
		{"RST-012 this side aborts", nil, func(w *simWorld) { w.abortAll(0) }, handshake.ReasonNone},
		{"RST-014 this side releases", nil, func(w *simWorld) {
			for _, f := range w.flows {
				if e := f.ends[0]; !e.over() && !e.closing {
					e.shut = true
					e.close()
				}
			}
		}, handshake.ReasonAborted},
	} {
		t.Run(k.name, func(t *testing.T) {
			c := simBulk(flows)
			c.name, c.seed = k.name, 5
			if k.set != nil {
				k.set(&c)
			}
			w := newSim(t, c)
			defer w.free()
			most := uint64(0)
			w.each = func() {
				most = max(most, now(w))
				if k.kill != nil && w.now-simStart >= 1e9 {
					require.Greater(t, now(w), uint64(flows/2), "too early or too late")
					require.NotZero(t, w.nodes[0].t.pool.InUse())
					k.kill(w)
					k.kill = nil
				}
			}
			w.run()
			ended := 0
			for _, f := range w.flows {
				if e := f.ends[0]; e.aborted || e.why == k.why {
					ended++
				}
			}
			require.Greater(t, most, uint64(flows/2))
			require.Greater(t, ended, flows/10)
			t.Logf("%d flows at once, %d ended so; all over after %v", most, ended, time.Duration(w.now-simStart))
		})
	}
}

// abortAll aborts what node i has.
func (w *simWorld) abortAll(i int) {
	for _, f := range w.flows {
		f.ends[i].act(simAbort, 0)
	}
}

// A table that is freed with flows in the middle of everything gives back its memory, and so does its engine.
func TestStreamsFreedInUse(t *testing.T) {
	c := simBulk(100)
	w := newSim(t, c)
	stop := false
	w.each = func() { stop = w.now-simStart > 200e6 }
	w.until = &stop
	w.run()
	require.NotZero(t, w.nodes[0].t.ctr.Now)
	w.free()
}

// Ten thousand flows trickle, with pauses: what they cost is bounded by what is under way, and each of them
// has one timer at most.
func TestStreamsTrickle(t *testing.T) {
	t.Parallel()
	flows := 10_000
	if testing.Short() {
		flows = 1000
	}
	c := simConfig{name: "trickle", seed: 3, flows: flows, every: time.Second / time.Duration(flows), limit: time.Hour}
	for i := range c.path {
		c.path[i] = simPath{delay: 20 * time.Millisecond, jitter: 10 * time.Millisecond, loss: 0.01, tick: time.Millisecond}
		c.side[i] = simSide{
			engine: handshake.Config{MaxFlows: flows + 10, TimeWait: time.Second},
			table:  Config{Memory: 16 << 20, SendBuffer: 16 << 10},
			app:    simApp{text: 200, chunk: 40, pauses: 1, pause: 3 * time.Second, slow: 0.2, hold: time.Second},
		}
	}
	w := newSim(t, c)
	defer w.free()
	var most, senders, blocks uint64
	w.each = func() {
		for _, d := range w.nodes {
			if w.steps%16 == 0 {
				n := d.t.Counters()
				most, senders, blocks = max(most, n.Now), max(senders, n.Sending), max(blocks, n.BlocksInUse)
				require.LessOrEqual(t, uint64(d.t.wheel.count), n.Now)
				// A flow has a block while it sends, or holds text behind a hole.
				require.LessOrEqual(t, n.BlocksInUse, 2*(n.Sending+n.Holding)+uint64(d.t.reas.Spans()))
			}
		}
	}
	w.run()
	t.Logf("%d flows at once, %d of them sending, %d blocks", most, senders, blocks)
	require.Greater(t, most, uint64(flows/2))
	require.Less(t, senders, most/4, "flows rest between their texts")
}
