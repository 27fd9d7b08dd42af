package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/handshake"
)

// besieged is a mixed run over memory: half of its opens before the flood, half of them under it.
func besieged(t *testing.T, c Config) *Report {
	t.Helper()
	c.Scenario, c.Concurrency, c.Drain = ScenarioMixed, cmp.Or(c.Concurrency, 1<<13), time.Minute
	if c.Count == 0 {
		c.Count = 2000
	}
	if c.Rate == 0 {
		c.Rate = 4000
	}
	if c.FloodRate == 0 {
		c.FloodRate = 40_000
		if raceBuild { // which is ten times slower, and would be overrun
			c.FloodRate = 4000
		}
	}
	r := measure(t, c)
	m := &r.Mixed
	require.Equal(t, c.Count, m.Calm.Attempted+m.Flooded.Attempted)
	require.InDelta(t, c.Count/2, m.Calm.Attempted, openBurst, "by count, not by time")
	require.Equal(t, m.Calm.Attempted, m.Calm.Done)
	require.NotZero(t, r.SYNFlood.Sent)
	require.Zero(t, m.Strangers)
	require.Zero(t, m.Flooded.Pending)
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b))
	require.Regexp(t, `(?m)^kept +good clients kept `+shareText(m.Kept), b.String())
	return r
}

// With cookies every good client is served, whatever the flood; what they agreed on is told by both ends.
func TestMixedServed(t *testing.T) {
	for _, c := range []Config{
		{Cookies: "always"},
		{Cookies: "always", IPv6: true, Workers: 2},
		{Cookies: "always", NoTimestamps: true, Close: CloseFIN},
		{Cookies: "pressure", MaxHalfOpen: 64, Workers: 2},
		{Cookies: "pressure", MaxHalfOpen: 64, SourceLimit: "10/10", SourceOver: "cookie"},
		{Cookies: "pressure", Clients: ClientsHTTP, HTTPRequests: 3, HTTPPipeline: 2, Profile: "windows"},
	} {
		t.Run(fmt.Sprintf("%+v", c.Settings()), func(t *testing.T) {
			c.InitialRTO, c.SYNRetries = 20*time.Millisecond, 20 // a wire that overflows while its reader sleeps loses no client for good
			r := besieged(t, c)
			m := &r.Mixed
			require.Equal(t, m.Flooded.Attempted, m.Flooded.Done, "%+v %+v %v", r.Handshakes, r.HTTP, r.Drops)
			require.InDelta(t, 1, m.Kept, 1e-9)
			require.Equal(t, uint64(2000), m.Accepted.Flows)
			require.Equal(t, m.Flooded.Done, m.Flooded.Options.Flows)
			options := m.Flooded.Options
			require.Equal(t, map[string]uint64{"1460": options.Flows}, map[bool]map[string]uint64{false: options.MSS, true: {"1460": options.MSS["1440"]}}[c.IPv6])
			for n, has := range map[*uint64]bool{&options.WScale: true, &options.SACK: true, &options.Timestamps: !c.NoTimestamps && c.Profile == ""} {
				require.Equal(t, map[bool]uint64{true: options.Flows}[has], *n)
			}
			if c.Cookies == "always" {
				require.Equal(t, m.Accepted.Flows, m.Accepted.ByCookie)
				require.Equal(t, m.Accepted.Flows, m.Accepted.WScale, "they ride in the stamps, or in the number")
			}
			if c.Clients == ClientsHTTP {
				require.Equal(t, uint64(2000), r.HTTP.Complete)
				require.Equal(t, uint64(6000), r.HTTP.Responses)
			}
			require.Contains(t, r.Limiter, "good clients kept 100.0 %")
		})
	}
}

// Without a defence, or one that does not help, the table of half-opens is the flood's: few of the good clients get in,
// and the report names the reason.
func TestMixedCrossover(t *testing.T) {
	for _, c := range []struct {
		config Config
		why    string
	}{
		{Config{Cookies: "never", MaxHalfOpen: 64}, "syn_table_full"},
		{Config{Cookies: "never", MaxHalfOpen: 64, Workers: 2, Close: CloseFIN}, "syn_table_full"},
		{Config{Cookies: "always", SYNLimit: "10/10"}, "syn_limit"},
		{Config{Cookies: "never", MaxHalfOpen: 64, Clients: ClientsHTTP}, "syn_table_full"},
	} {
		t.Run(fmt.Sprintf("%+v", c.config.Settings()), func(t *testing.T) {
			c.config.SYNRetries, c.config.InitialRTO = 1, 20*time.Millisecond
			c.config.FloodRate = 40_000
			c.config.Concurrency = 48 // fewer than there are half-opens, so that the calm half loses nobody, whatever the machine does
			if c.why == "syn_limit" { // the calm half needs it too
				c.config.SYNLimit = "5000/1200"
			}
			r := besieged(t, c.config)
			m := &r.Mixed
			require.Less(t, m.Flooded.Done, m.Flooded.Attempted*9/10)
			require.Less(t, m.Kept, 0.9)
			require.Equal(t, m.Flooded.Attempted-m.Flooded.Done, m.Flooded.Failed)
			require.Equal(t, m.Flooded.Failed, r.Handshakes.TimedOut)
			require.NotZero(t, r.Server.Drops[c.why])
			require.Contains(t, r.Limiter, "the server's defence: good clients kept ")
			require.Contains(t, r.Limiter, c.why)
			require.Zero(t, r.Server.Engine.Outcome[handshake.DropNoMemory])
		})
	}
}

// The halves are of the time where that bounds the run, and a run that ends before has no second one.
func TestMixedHalves(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioMixed, Duration: 400 * time.Millisecond, Rate: 2000, FloodRate: 5000, Cookies: "always", InitialRTO: 20 * time.Millisecond})
	m := &r.Mixed
	require.GreaterOrEqual(t, m.Calm.LengthS, 0.2)
	require.Equal(t, m.Calm.Attempted+m.Flooded.Attempted, r.Handshakes.Attempted)
	require.Equal(t, DefaultMixedConcurrency, r.Concurrency)
	require.InDelta(t, float64(m.Calm.Done)/m.Calm.LengthS, m.Calm.DonePerS, 1e-6)
}
