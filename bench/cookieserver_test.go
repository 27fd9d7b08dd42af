package bench

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every flow is proved by a cookie, no record is kept of a SYN, and both ends say which options survive.
func TestCookieServer(t *testing.T) {
	const n = 3000
	all := func(o OptionCount) OptionCount {
		return OptionCount{Flows: n, WScale: n, SACK: n, Timestamps: n, MSS: o.MSS}
	}
	for _, c := range []struct {
		name   string
		config Config
		change func(o *OptionCount) // of what all options would be, at both ends
		bits   int
		server map[string]uint64 // MSS there
	}{
		{"all options", Config{}, func(*OptionCount) {}, 28, map[string]uint64{"1460": n}},
		{"IPv6, two workers", Config{IPv6: true, Workers: 2}, func(*OptionCount) {}, 28, map[string]uint64{"1440": n}},
		{"no timestamps", Config{NoTimestamps: true}, func(o *OptionCount) { o.Timestamps = 0 }, 24, map[string]uint64{"1460": n}},
		{"windows", Config{Profile: "windows"}, func(o *OptionCount) { o.Timestamps = 0 }, 24, map[string]uint64{"1460": n}},
		{"minimal", Config{Profile: "minimal"}, func(o *OptionCount) { o.Timestamps, o.SACK, o.WScale = 0, 0, 0 }, 24, map[string]uint64{"536": n}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.config.Scenario, c.config.Count = ScenarioCookies, n
			r := measure(t, c.config)
			cs := &r.CookieServer
			want := all(cs.Client)
			c.change(&want)
			require.Equal(t, want, cs.Client)
			want.ByCookie, want.MSS = n, c.server
			require.Equal(t, want, cs.Server)
			require.Equal(t, []uint64{n, n, 0}, []uint64{cs.CookiesSent, cs.Proved, cs.Bad})
			require.Equal(t, c.bits, cs.ForgeryBits)
			require.NotZero(t, cs.Cookie.ServerNS)
			require.NotZero(t, cs.Stateful.ServerNS)
			require.InDelta(t, cs.Cookie.ServerNS/cs.Stateful.ServerNS, cs.CostRatio, 1e-9)
			require.Equal(t, ScenarioCookies, r.Config["scenario"])
			var b bytes.Buffer
			require.NoError(t, r.WriteText(&b))
			require.Regexp(t, `(?m)^cost +\d+ ns of the server per handshake with cookies, \d+ ns without`, b.String())
		})
	}
}

// A cookie knows a handful of sizes: of an odd MSS what is left is the next smaller one, which the report shows.
func TestCookieServerLosesMSS(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioCookies, Count: 500, SYNOptions: "mss=1459,sackok,ts,wscale=7"})
	require.Len(t, r.CookieServer.Server.MSS, 1)
	require.NotContains(t, r.CookieServer.Server.MSS, "1459")
	require.Equal(t, uint64(500), r.CookieServer.Server.WScale)
}
