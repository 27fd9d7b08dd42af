package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every scenario keeps the schedule: what it wanted was sent or is in unsent, whatever the
// machine does; on one that has time nothing is unsent.
func TestLoadOfEachScenario(t *testing.T) {
	for _, name := range scenarioNames() {
		if scenarioOf(name).good == nil { // which has a course of its own
			continue
		}
		for _, workers := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				const text = "ramp:0..8k/100ms,hold:50ms,0/20ms,step:1k+1k/10ms*3"
				c := Config{Scenario: name, Load: text, Workers: workers, Concurrency: 1 << 12}
				switch name {
				case ScenarioConcurrency:
					c.Hold = -1
				case ScenarioTimeout:
					c.InitialRTO, c.SYNRetries = 5*time.Millisecond, 2
				}
				r := measure(t, c)
				require.Equal(t, uint64(400+400+60), r.Intended)
				require.Equal(t, text, r.Load)
				require.GreaterOrEqual(t, r.DurationS, 0.2)
				if r.Intended == sentOf(r) { // the target is that of the time it took: a paused machine takes longer
					require.InDelta(t, 860/r.DurationS, r.TargetRate, 0.01)
				}
				var b bytes.Buffer
				require.NoError(t, r.WriteText(&b))
				require.Contains(t, b.String(), text+" (")
			})
		}
	}
}

// sentOf is what was attempted, in any scenario.
func sentOf(r *Report) uint64 { return r.Handshakes.Attempted + r.SYNFlood.Sent + r.Echo.Sent }

// A count ends a load early, and does not make the rest of it unsent.
func TestLoadByCount(t *testing.T) {
	r := measure(t, Config{Load: "step:1k+1k/10ms*20", Count: 50, Workers: 2})
	require.Equal(t, uint64(50), r.Handshakes.Attempted)
	require.Equal(t, uint64(50), r.Intended)
	require.Zero(t, r.Handshakes.Unsent)
}

// When all places are in flight an open loop does not slow down: opens come late, and those that the end
// of the sending time finds missing are counted. The answers take eight times as long as that, so nothing gives a place back.
func TestLoadAtTheConcurrencyBound(t *testing.T) {
	r := measure(t, Config{Port: "impair(delay=400ms,seed=1):loop:", Load: "5k/100ms", Concurrency: 64, Workers: 2, Drain: time.Minute, InitialRTO: time.Minute})
	require.Equal(t, uint64(500), r.Intended)
	require.LessOrEqual(t, r.Handshakes.Attempted, uint64(64))
	require.Equal(t, 500-r.Handshakes.Attempted, r.Handshakes.Unsent)
}

// With a peer that answers late, the time from the intended time has the wait for a place in it,
// and that from the SYN has not: 8 places are free again after 20 ms or more, so open k begins k/8
// times 20 ms after the first, and was wanted after k/2 ms.
func TestLoadResponseHasTheWait(t *testing.T) {
	r := measure(t, Config{Port: "impair(delay=10ms,seed=1):loop:", Load: "2k", Count: 200, Concurrency: 8, Workers: 1, InitialRTO: time.Minute})
	require.Equal(t, uint64(200), r.Handshakes.Established)
	require.GreaterOrEqual(t, r.Latency.Min, int64(19e6))
	require.GreaterOrEqual(t, r.Response.P50, int64(12*20e6-50e6)+r.Latency.Min)
	require.GreaterOrEqual(t, r.Response.P90, int64(22*20e6-90e6)+r.Latency.Min)
}
