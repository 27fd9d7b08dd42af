package bench

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench/http1"
	_ "github.com/fastsyn/fastsyn/dataplane/loop"
)

func TestConfigDefaults(t *testing.T) {
	c, err := Config{}.normalize()
	require.NoError(t, err)
	require.Equal(t, ScenarioHandshake, c.Scenario)
	require.Equal(t, "loop:", c.Port)
	require.Equal(t, "pressure", c.Cookies)
	require.Equal(t, 10*time.Second, c.Duration)
	require.Equal(t, 3*time.Second, c.Drain)

	c, err = Config{Scenario: ScenarioSYNFlood}.normalize()
	require.NoError(t, err)
	require.Equal(t, "always", c.Cookies)

	c, err = Config{Count: 5}.normalize()
	require.NoError(t, err)
	require.Zero(t, c.Duration)
	require.Equal(t, 128*time.Second, c.Drain, "six retries last 127 s")
	c, err = Config{Count: 5, SYNRetries: -1, InitialRTO: 20 * time.Millisecond}.normalize()
	require.NoError(t, err)
	require.Equal(t, time.Second+20*time.Millisecond, c.Drain)
	for retry, last := range map[string]time.Duration{"linux": 127, "linux-linear": 131, "bsd": 75, "textbook": 75, "1s,2s": 3} {
		c, err = Config{Count: 5, Retry: retry}.normalize()
		require.NoError(t, err)
		require.Equal(t, (last+1)*time.Second, c.Drain, retry)
	}
	c, err = Config{Count: 5, Retry: "textbook", SYNRetries: 1}.normalize()
	require.NoError(t, err)
	require.Equal(t, 16*time.Second, c.Drain)
	c, err = Config{Scenario: ScenarioHTTP}.normalize()
	require.NoError(t, err)
	require.Equal(t, []any{CloseFIN, 1024, 1, "/", false}, []any{c.Close, c.bodyLen(), c.HTTPRequests, c.HTTPPath, c.keepAlive()})
	c, err = Config{Scenario: ScenarioHTTP, Port: "afpacket:veth0", Connect: "10.0.0.9:80", Addrs: []string{"10.0.0.3/24"}}.normalize()
	require.NoError(t, err)
	require.Equal(t, http1.AnyLength, c.bodyLen())
	c, err = Config{Drain: -1}.normalize()
	require.NoError(t, err)
	require.Zero(t, c.Drain)
}

func TestConfigRefuses(t *testing.T) {
	peer := Config{Port: "afpacket:veth0", Connect: "10.0.0.9:80", Addrs: []string{"10.0.0.3/24"}}
	with := func(f func(*Config)) Config { c := peer; f(&c); return c }
	for _, tc := range []struct {
		name, flag, text string
		c                Config
	}{
		{"scenario", "scenario", `did you mean "syn-flood"?`, Config{Scenario: "synflood"}},
		{"close", "close", "rst, fin", Config{Close: "bye"}},
		{"cookies", "cookies", `did you mean "always"?`, Config{Cookies: "alway"}},
		{"pin", "pin", "auto, off", Config{Pin: "3"}},
		{"polling", "polling", `did you mean "busy"?`, Config{Polling: "bussy"}},
		{"workers", "workers", "1 to 64", Config{Workers: 65}},
		{"rate", "rate", "0 for as fast as possible", Config{Rate: -1}},
		{"nan", "rate", "opens per second", Config{Rate: math.NaN()}},
		{"concurrency", "concurrency", "flows in flight", Config{Concurrency: -1}},
		{"duration", "duration", "--count", Config{Duration: -time.Second}},
		{"retries", "syn-retries", "at most 30", Config{SYNRetries: 31}},
		{"retry", "retry", "linux, linux-linear, bsd, textbook", Config{Retry: "windows"}},
		{"retries of a schedule", "syn-retries", "has 3 repetitions", Config{Retry: "textbook", SYNRetries: 4}},
		{"rto of a schedule", "initial-rto", "waits of its own", Config{Retry: "textbook", InitialRTO: 2 * time.Second}},
		{"ecn", "ecn", "passive, off, on", Config{ECN: "yes"}},
		{"rto", "initial-rto", "1ms to 2m", Config{InitialRTO: time.Microsecond}},
		{"http by reset", "close", "closed by FIN", Config{Scenario: ScenarioHTTP, Close: CloseRST}},
		{"http body", "http-body", "1 GiB", Config{Scenario: ScenarioHTTP, HTTPBody: 2 << 30}},
		{"http requests", "http-requests", "1 to 1048576", Config{Scenario: ScenarioHTTP, HTTPRequests: -1}},
		{"http pipeline", "http-pipeline", "give more --http-requests", Config{Scenario: ScenarioHTTP, HTTPRequests: 4, HTTPPipeline: 5}},
		{"pipeline of a handshake", "http-pipeline", "--scenario http", Config{HTTPPipeline: 2}},
		{"http path", "http-path", "/index.html", Config{Scenario: ScenarioHTTP, HTTPPath: "a b"}},
		{"body of a handshake", "http-body", "--scenario http", Config{HTTPBody: 1}},
		{"requests of a flood", "http-requests", "--scenario http", Config{Scenario: ScenarioSYNFlood, HTTPRequests: 2}},
		{"path of an echo", "http-path", "--scenario http", Config{Scenario: ScenarioEcho, HTTPPath: "/"}},
		{"http with fast open", "fastopen", "last ACK", Config{Scenario: ScenarioHTTP, FastOpen: true}},
		{"time wait of resets", "time-wait", "--close fin", Config{TimeWait: time.Second}},
		{"time wait", "time-wait", "1h", Config{TimeWait: -1}},
		{"flood of a handshake", "flood-rate", "--scenario mixed", Config{FloodRate: 1}},
		{"limit of a flood", "source-limit", "--scenario mixed", Config{Scenario: ScenarioSYNFlood, SourceLimit: "1"}},
		{"mixed clients", "clients", `did you mean "handshake"?`, Config{Scenario: ScenarioMixed, Clients: "handshakes"}},
		{"mixed flood rate", "flood-rate", "1e9", Config{Scenario: ScenarioMixed, FloodRate: -1}},
		{"mixed limit", "syn-limit", "1000/200", Config{Scenario: ScenarioMixed, SYNLimit: "10/0"}},
		{"mixed cookies of no limit", "source-over", "no --source-limit", Config{Scenario: ScenarioMixed, SourceOver: "cookie"}},
		{"mixed cookies never", "source-over", "pressure or always", Config{Scenario: ScenarioMixed, SourceOver: "cookie", SourceLimit: "5", Cookies: "never"}},
		{"mixed text", "fastopen", "send no text", Config{Scenario: ScenarioMixed, FastOpen: true}},
		{"mixed requests of handshakes", "http-requests", "--scenario http", Config{Scenario: ScenarioMixed, HTTPRequests: 2}},
		{"mixed pipeline", "http-pipeline", "--http-requests", Config{Scenario: ScenarioMixed, Clients: ClientsHTTP, HTTPPipeline: 2}},
		{"mixed without a pool", "pool", "198.19.0.0/16", with(func(c *Config) { c.Scenario = ScenarioMixed })},
		{"mixed from its own pool", "addr", "outside of --pool", with(func(c *Config) { c.Scenario, c.Pools = ScenarioMixed, []string{"10.0.0.0/29"} })},
		{"mixed server of others", "evict-oldest", "fastsyn serve has it", with(func(c *Config) {
			c.Scenario, c.Pools, c.EvictOldest = ScenarioMixed, []string{"198.19.0.0/16"}, true
		})},
		{"mixed abroad", "connect", "--i-own-this-network", with(func(c *Config) {
			c.Scenario, c.Pools, c.Connect = ScenarioMixed, []string{"198.19.0.0/16"}, "8.8.8.8:53"
		})},
		{"visits by reset", "close", "closed by FIN", Config{Scenario: ScenarioFastOpen, Close: CloseRST}},
		{"visits at a rate", "rate", "rounds", Config{Scenario: ScenarioFastOpen, Rate: 5}},
		{"visits of a load", "load", "rounds", Config{Scenario: ScenarioFastOpen, Load: "hold:1s"}},
		{"visits and cookies", "cookies", "takes no text", Config{Scenario: ScenarioFastOpen, Cookies: "always"}},
		{"visits with text", "fastopen", "what it is about", Config{Scenario: ScenarioFastOpen, FastOpen: true}},
		{"cookie server without", "cookies", "follow by themselves", Config{Scenario: ScenarioCookies, Cookies: "never"}},
		{"profile", "profile", `did you mean "windows"?`, Config{Profile: "window"}},
		{"profile of an echo", "profile", "no SYNs", Config{Scenario: ScenarioEcho, Profile: "linux"}},
		{"ttl of an echo", "ttl", "no SYNs", Config{Scenario: ScenarioEcho, TTL: 3}},
		{"options of a named profile", "syn-options", "--profile custom", Config{Profile: "linux", SYNOptions: "mss"}},
		{"df of a named profile", "no-df", "has its own", Config{Profile: "macos", NoDF: true}},
		{"profile and a switch", "no-sack", "--syn-options LIST", Config{Profile: "windows", NoSACK: true}},
		{"unknown option", "syn-options", `did you mean "sackok"?`, Config{SYNOptions: "mss,sackkok"}},
		{"option without a number", "syn-options", "want a number", Config{SYNOptions: "mss="}},
		{"option with one", "syn-options", "takes no number", Config{SYNOptions: "nop=1"}},
		{"mss too small", "syn-options", "48 to 65495", Config{SYNOptions: "mss=4"}},
		{"scale too large", "syn-options", "0 to 14", Config{SYNOptions: "mss,ws=15"}},
		{"option twice", "syn-options", "kind 4 comes twice", Config{SYNOptions: "sok,mss,sackok"}},
		{"padding of no end", "syn-options", "takes no number", Config{SYNOptions: "mss+3"}},
		{"too many options", "syn-options", "41 bytes of options", Config{SYNOptions: "mss,eol+39"}},
		{"window of a SYN", "syn-window", "is not scaled", Config{SYNWindow: 70000}},
		{"ttl", "ttl", "1 to 255", Config{TTL: 256}},
		{"driver", "port", `did you mean "loop"?`, Config{Port: "lop:"}},
		{"spec", "port", "colon", Config{Port: "loop"}},
		{"no peer", "port", "--connect", Config{Port: "afpacket:veth0"}},
		{"addr without peer", "addr", "--connect", Config{Addrs: []string{"10.0.0.3/24"}}},
		{"pool without peer", "connect", "--pool", Config{Pools: []string{"10.0.0.0/24"}}},
		{"connect", "connect", "IP:PORT", with(func(c *Config) { c.Connect = "10.0.0.9" })},
		{"port 0", "connect", "1 to 65535", with(func(c *Config) { c.Connect = "10.0.0.9:0" })},
		{"multicast", "connect", "unicast", with(func(c *Config) { c.Connect = "224.0.0.1:80" })},
		{"no addr", "addr", "--addr 10.0.0.3/24", with(func(c *Config) { c.Addrs = nil })},
		{"no length", "addr", "ADDRESS/LENGTH", with(func(c *Config) { c.Addrs = []string{"10.0.0.3"} })},
		{"family", "addr", "family", with(func(c *Config) { c.Connect = "[2001:db8::9]:80" })},
		{"gateway", "gateway", "IP address", with(func(c *Config) { c.Gateways = []string{"gw"} })},
		{"flood abroad", "connect", "--i-own-this-network", with(func(c *Config) { c.Scenario, c.Connect = ScenarioSYNFlood, "8.8.8.8:53" })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.c.Validate()
			var fe *FlagError
			require.ErrorAs(t, err, &fe)
			require.Equal(t, tc.flag, fe.Flag)
			require.ErrorContains(t, err, tc.text)
			require.NotEmpty(t, fe.Fix)
		})
	}
	require.NoError(t, peer.Validate())
	for _, to := range []string{"10.0.0.9:80", "192.168.1.1:80", "127.0.0.1:80", "198.18.0.1:80", "203.0.113.5:80"} {
		require.NoError(t, with(func(c *Config) { c.Scenario, c.Connect = ScenarioSYNFlood, to }).Validate(), to)
	}
	require.NoError(t, with(func(c *Config) { c.Scenario, c.Connect, c.OwnNetwork = ScenarioSYNFlood, "8.8.8.8:53", true }).Validate())
}

func TestNearest(t *testing.T) {
	known := []string{"duration", "concurrency", "count", "connect"}
	for word, want := range map[string]string{"duraton": "duration", "cuont": "count", "concurency": "concurrency", "zzzzzz": "", "dur": "duration", "": ""} {
		require.Equal(t, want, Nearest(word, known), word)
	}
}
