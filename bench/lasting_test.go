package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/handshake"
)

var smallTable = handshake.Config{MaxFlows: 100, MaxHalfOpen: 100, Cookies: handshake.CookiesNever}

func TestRefused(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("v6=%v/workers=%d", v6, workers), func(t *testing.T) {
				const n = 5000
				r := measure(t, Config{Scenario: ScenarioRefused, Count: n, IPv6: v6, Workers: workers})
				require.Equal(t, Handshakes{Attempted: n, Refused: n}, r.Handshakes)
				require.Equal(t, int64(n), r.Latency.Count)
				require.Positive(t, r.Rate.RefusedPerS)
				require.Empty(t, r.Close)
				require.NotContains(t, r.Limiter, "refused")
			})
		}
	}
	r := measure(t, Config{Scenario: ScenarioRefused, Count: 100, Rate: 5000})
	require.Equal(t, int64(100), r.Response.Count)
}

// Somebody listens, or nobody is there: that is a failure here.
func TestNotRefused(t *testing.T) {
	listening := fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Bare: true}}}}
	peer(t, t.Name(), listening)
	c := toPeer(t.Name())
	c.Scenario, c.Count = ScenarioRefused, 300
	r := measure(t, c)
	require.Equal(t, Handshakes{Attempted: 300, Established: 300}, r.Handshakes)
	require.Equal(t, Flows{Aborted: 300}, r.Flows)
	require.Zero(t, r.Latency.Count)
	require.Contains(t, r.Limiter, "not refused: 300 of 300 attempts were established")

	peer(t, t.Name()+"/deaf", fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c = toPeer(t.Name() + "/deaf")
	c.Scenario, c.Count, c.InitialRTO, c.SYNRetries = ScenarioRefused, 100, 2*time.Millisecond, 1
	r = measure(t, c)
	require.Equal(t, Handshakes{Attempted: 100, TimedOut: 100}, r.Handshakes)
	require.Contains(t, r.Limiter, "100 timed out")
}

// Each attempt has all its copies, none early, and times out when the schedule says.
func TestRTX_002_TimeoutScenario(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("v6=%v/workers=%d", v6, workers), func(t *testing.T) {
				r := measure(t, Config{Scenario: ScenarioTimeout, Count: 500, IPv6: v6, Workers: workers, InitialRTO: 3 * time.Millisecond, SYNRetries: 3})
				require.Equal(t, Handshakes{Attempted: 500, TimedOut: 500}, r.Handshakes)
				to := r.Timeout
				require.EqualValues(t, 500, to.OnSchedule)
				require.Zero(t, to.OffSchedule+to.Answered+to.Pending)
				require.EqualValues(t, 500*4, to.Swallowed)
				require.EqualValues(t, 500*4, r.Drops["black_hole"])
				require.Len(t, to.Repeats, 4)
				for k, due := range []int64{3e6, 9e6, 21e6, 45e6} {
					x := to.Repeats[k]
					require.Equal(t, due, x.Due)
					require.EqualValues(t, 500, x.At.Count)
					require.Zero(t, x.Early)
					require.GreaterOrEqual(t, x.At.Min+x.At.Min/500, due, "the histogram has three digits")
				}
				require.Contains(t, r.Limiter, "the schedule: each of 500 attempts has 4 SYNs and lasts 45ms")
			})
		}
	}
}

func TestTimeoutOfASchedule(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioTimeout, Count: 50, Retry: "5ms,1ms"})
	require.EqualValues(t, 50, r.Timeout.OnSchedule)
	require.Equal(t, []int64{5e6, 6e6}, []int64{r.Timeout.Repeats[0].Due, r.Timeout.Repeats[1].Due})
	r = measure(t, Config{Scenario: ScenarioTimeout, Count: 50, InitialRTO: time.Millisecond, SYNRetries: -1})
	require.EqualValues(t, 50, r.Timeout.OnSchedule)
	require.Len(t, r.Timeout.Repeats, 1)
}

// Whatever answers makes it fail.
func TestTimeoutAnswered(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{})
	c := toPeer(t.Name())
	c.Scenario, c.Count = ScenarioTimeout, 300
	r := measure(t, c)
	require.Equal(t, Handshakes{Attempted: 300, Refused: 300}, r.Handshakes)
	require.EqualValues(t, 300, r.Timeout.Answered)
	require.Contains(t, r.Limiter, "no black hole: 300 of 300 attempts were answered: 0 established, 300 refused")

	peer(t, t.Name()+"/open", fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Bare: true}}}})
	c = toPeer(t.Name() + "/open")
	c.Scenario, c.Count = ScenarioTimeout, 300
	r = measure(t, c)
	require.Equal(t, Handshakes{Attempted: 300, Established: 300}, r.Handshakes)
	require.EqualValues(t, 300, r.Timeout.Answered)

	peer(t, t.Name()+"/late", fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c = toPeer(t.Name() + "/late")
	c.Scenario, c.Count, c.Drain = ScenarioTimeout, 10, -1
	r = measure(t, c)
	require.EqualValues(t, 10, r.Timeout.Pending)
	require.Contains(t, r.Limiter, "10 of 10 attempts were pending; the schedule lasts 2m7s")
}

// A backlog of 16 drops most of a burst of 64, each for a timeout: that is what limits.
func TestBacklogLimits(t *testing.T) {
	for _, c := range []Config{
		{MaxHalfOpen: 16}, {ListenerHalfOpen: 16}, {MaxFlows: 16},
	} {
		c.Count, c.Cookies, c.Concurrency, c.Drain = 2000, "never", 64, time.Minute
		c.Retry = strings.Repeat("2ms,", 30) + "2ms"
		r := measure(t, c)
		require.Equal(t, Handshakes{Attempted: 2000, Established: 2000}, r.Handshakes)
		require.GreaterOrEqual(t, r.Drops["syn_table_full"], uint64(48))
		require.Contains(t, r.Limiter, "the backlog: ")
	}
	// Cookies need no place in it.
	r := measure(t, Config{MaxHalfOpen: 16, Count: 2000})
	require.Zero(t, r.Drops["syn_table_full"])
	require.Positive(t, r.Server.Engine.CookiesOK)
}

func TestLastingSettings(t *testing.T) {
	for _, tc := range []struct {
		flag string
		c    Config
	}{
		{"hold", Config{Hold: time.Second}},
		{"hold", Config{Scenario: ScenarioConcurrency, Hold: 25 * time.Hour}},
		{"no-probe", Config{Scenario: ScenarioChurn, NoProbe: true}},
		{"lifetime", Config{Lifetime: time.Second}},
		{"lifetime", Config{Scenario: ScenarioChurn, Lifetime: time.Microsecond}},
		{"lifetime-dist", Config{LifetimeDist: LifetimeConstant}},
		{"lifetime-dist", Config{Scenario: ScenarioChurn, LifetimeDist: "weekly"}},
		{"close", Config{Close: CloseHold}},
		{"close", Config{Scenario: ScenarioConcurrency, Close: CloseHold}},
		{"close", Config{Scenario: ScenarioHTTP, Close: CloseHold}},
		{"close", Config{Scenario: ScenarioRefused, Close: CloseRST}},
		{"close", Config{Scenario: ScenarioTimeout, Close: CloseFIN}},
		{"close", Config{Scenario: ScenarioEcho, Close: CloseRST}},
		{"count", Config{Close: CloseHold, Count: 1 << 30}},
		{"fastopen", Config{Scenario: ScenarioConcurrency, FastOpen: true}},
		{"max-flows", Config{MaxFlows: -1}},
		{"max-flows", Config{Scenario: ScenarioRefused, MaxFlows: 1}},
		{"max-half-open", Config{MaxFlows: 10, MaxHalfOpen: 11}},
		{"max-half-open", Config{Port: "loop:x", Connect: "198.18.0.1:80", Addrs: []string{"198.18.1.1/16"}, MaxHalfOpen: 5}},
		{"listener-half-open", Config{Scenario: ScenarioEcho, ListenerHalfOpen: 5}},
	} {
		var fe *FlagError
		require.ErrorAs(t, tc.c.Validate(), &fe, tc.flag)
		require.Equal(t, tc.flag, fe.Flag, fe.Error())
		require.NotEmpty(t, fe.Fix)
	}
	for _, c := range []Config{
		{Close: CloseHold, Count: 10},
		{Scenario: ScenarioConcurrency, Hold: -1, NoProbe: true, Close: CloseFIN},
		{Scenario: ScenarioChurn, Lifetime: time.Minute, LifetimeDist: LifetimeConstant},
		{Scenario: ScenarioRefused},
		{Scenario: ScenarioTimeout},
		{MaxFlows: 10, MaxHalfOpen: 10, ListenerHalfOpen: 3},
	} {
		require.NoError(t, c.Validate())
	}
	c, err := Config{Scenario: ScenarioTimeout}.normalize()
	require.NoError(t, err)
	require.Equal(t, 128*time.Second, c.Drain)
	require.EqualValues(t, DefaultTimeouts, c.Count)
}
