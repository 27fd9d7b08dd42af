package bench

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/handshake"
)

// All flows live their time, and the books of the population close.
func TestChurn(t *testing.T) {
	for _, close := range []string{CloseRST, CloseFIN} {
		for _, dist := range []string{LifetimeConstant, LifetimeExponential} {
			for _, workers := range []int{1, 2} {
				t.Run(fmt.Sprintf("close=%s/%s/workers=%d", close, dist, workers), func(t *testing.T) {
					const n = 3000
					r := measure(t, Config{
						Scenario: ScenarioChurn, Count: n, Concurrency: 200, Lifetime: 5 * time.Millisecond, LifetimeDist: dist, Close: close, Workers: workers, IPv6: workers == 2,
					})
					require.Equal(t, Handshakes{Attempted: n, Established: n}, r.Handshakes)
					require.EqualValues(t, n, r.Churn.Lived)
					require.Zero(t, r.Churn.Cut+r.Churn.Living)
					require.Empty(t, r.Churn.Lost)
					if close == CloseRST {
						require.Equal(t, Flows{Aborted: n}, r.Flows)
					} else {
						require.Equal(t, Flows{Done: n}, r.Flows)
					}
				})
			}
		}
	}
}

// A run that ends by time cuts what lives.
func TestChurnCut(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioChurn, Duration: 50 * time.Millisecond, Concurrency: 300, Lifetime: time.Hour})
	c := r.Churn
	require.EqualValues(t, 300, r.Handshakes.Established-c.Lived, "no place is empty")
	require.EqualValues(t, 300, c.Cut)
	require.Equal(t, Flows{Aborted: r.Handshakes.Established}, r.Flows)
	if c.SteadyS > 0 { // the machine had time to fill it
		require.InDelta(t, 300, c.Population, 1)
	}
}

func TestChurnLost(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: unfaithful()}}})
	c := toPeer(t.Name())
	c.Scenario, c.Count, c.Concurrency, c.Lifetime, c.LifetimeDist = ScenarioChurn, 400, 100, 300*time.Millisecond, LifetimeConstant
	r := measure(t, c)
	require.EqualValues(t, 400, r.Handshakes.Established)
	lost := r.Churn.Lost["reset"] + r.Churn.Lost["closed"]
	require.EqualValues(t, 400, lost+r.Churn.Lived)
	require.LessOrEqual(t, lost, uint64(200))
	require.Positive(t, lost)
}

func TestChurnWithASchedule(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioChurn, Count: 200, Rate: 10_000, Concurrency: 1000, Lifetime: 2 * time.Millisecond})
	require.EqualValues(t, 200, r.Churn.Lived)
	require.EqualValues(t, 200, r.Response.Count)
}

// The wheel against a list: each flow ends in the tick of its time, once, whatever is
// added and removed meanwhile, and however long nobody looked.
func TestLives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const flows = 500
	l := newLives(flows, 40e6) // tick 10 µs, a lap is 80 ms
	due := map[uint32]int64{}
	now := int64(1e18)
	l.next = now / l.tick
	ended := 0
	for range 20_000 {
		switch rnd.IntN(4) {
		case 0, 1:
			if i := 1 + rnd.Uint32N(flows); due[i] == 0 {
				at := now + int64(rnd.ExpFloat64()*40e6)
				l.add(i, handshake.FlowID{}, now, at)
				due[i] = at
			}
		case 2:
			if i := 1 + rnd.Uint32N(flows); due[i] != 0 && rnd.IntN(3) == 0 {
				l.remove(i)
				delete(due, i)
			}
		default:
			now += int64(rnd.ExpFloat64() * 1e6)
			if rnd.IntN(500) == 0 {
				now += 500e6 // several laps
			}
			budget := 1 + rnd.IntN(20)
			before := ended
			more := l.ended(now, budget, func(i uint32) {
				require.NotZero(t, due[i])
				require.LessOrEqual(t, due[i], now)
				delete(due, i)
				l.remove(i)
				ended++
			})
			require.LessOrEqual(t, ended-before, budget)
			if !more {
				for i, at := range due {
					require.Greater(t, at+2*l.tick, now, "flow %d is overdue", i)
				}
			}
		}
		require.Equal(t, len(due), l.n)
	}
	require.Greater(t, ended, 3000)
}
