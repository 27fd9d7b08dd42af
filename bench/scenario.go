package bench

import (
	"bytes"
	"context"
	"slices"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
)

// The scenarios.
const (
	ScenarioHandshake   = "handshake"
	ScenarioHTTP        = "http"
	ScenarioSYNFlood    = "syn-flood"
	ScenarioMixed       = "mixed"
	ScenarioConcurrency = "concurrency"
	ScenarioChurn       = "churn"
	ScenarioRefused     = "refused"
	ScenarioTimeout     = "timeout"
	ScenarioFastOpen    = "fastopen"
	ScenarioCookies     = "cookie-server"
	ScenarioEcho        = "echo"
)

// scenario is what differs between the scenarios. Nothing else asks for their names.
type scenario struct {
	name string
	help string // a line or a few of --help, without the name
	// closes are the ways to close that there are; nil: there is nothing to close.
	closes []string
	// close and cookies are the defaults of those settings; window is that of the concurrency, per worker.
	close, cookies string
	window         int
	raw            bool // below TCP: no addresses, no engine
	spoofs         bool // sends from addresses that are not ours
	holds          bool // concurrency is how many flows are kept established
	// refusesText is why --fastopen makes no sense here, empty if it does.
	refusesText string

	// settings checks and completes what only this scenario has. May be nil.
	settings func(c *Config) error
	// serve makes the callbacks and settings of our own server. nil: it accepts and closes when the client does.
	serve func(r *run, c *fastsyn.Config) fastsyn.Callbacks
	// bareServer sets our own server up where it does not listen.
	bareServer func(r *run, c *fastsyn.Config)
	// open starts the client's end; openClient unless it is below TCP.
	open func(r *run, ctx context.Context, port dataplane.Port, info dataplane.Info) error
	// make adds a generator per worker to r.gens, and what c needs to run them.
	make func(r *run, c *fastsyn.Config, info dataplane.Info) error
	// generator is that of one worker, of makeClients, with a table for so many flows.
	generator func(r *run, i int, t *tuples, flows int) (opener, error)

	// run, if not nil, makes a run with our own server of several, each of them beside.
	run func(ctx context.Context, asked, cfg Config, progress func(Progress)) (*Report, error)

	report  func(r *run, rep *Report)
	text    func(rep *Report, b *bytes.Buffer) // the lines between the time and the latency
	setup   func(rep *Report) string           // what the set-up line says besides; may be nil
	limiter func(rep *Report) string
	noun    string // what the rate counts
	done    string // what a Progress counts; empty: handshakes
	// good is how many of the attempts succeeded, for a search. nil: there is no rate to search for.
	good func(rep *Report) uint64
}

// scenarios has all of them, in the order of the help text.
var scenarios []*scenario

func init() {
	scenarios = []*scenario{
		{
			name: ScenarioHandshake, help: "open a connection, close it at once, by RST or FIN, or not until\nthe run ends",
			closes: []string{CloseRST, CloseFIN, CloseHold}, close: CloseRST, cookies: "pressure", window: DefaultConcurrency, noun: "opens",
			good: func(rep *Report) uint64 { return rep.Handshakes.Established },
			open: (*run).openClient, make: (*run).makeClients, generator: makeClient,
			report: (*run).reportHandshakes, text: (*Report).textHeld, setup: (*Report).setupHeld, limiter: heldLimiter,
		},
		{
			name: ScenarioHTTP, help: `open a connection, send a GET with the last ACK of the handshake, verify
the response; both sides close by FIN. Our own server by default, any
other with --connect.`,
			closes: []string{CloseRST, CloseFIN}, close: CloseFIN, cookies: "pressure", window: DefaultConcurrency, noun: "transactions", done: "transactions",
			good:        func(rep *Report) uint64 { return rep.HTTP.Complete },
			refusesText: "requests go with the handshake's last ACK",
			settings:    (*Config).httpSettings, serve: (*run).serveHTTP,
			open: (*run).openClient, make: (*run).makeClients, generator: makeHTTP,
			report: (*run).reportHTTP, text: (*Report).textHTTP, setup: (*Report).setupHTTP, limiter: clientLimiter,
		},
		{
			name: ScenarioSYNFlood, help: "SYNs from invented sources; answers are verified, not completed",
			closes: []string{CloseRST, CloseFIN}, close: CloseRST, cookies: "always", window: DefaultWindow, spoofs: true, noun: "SYNs", done: "answers",
			good:        func(rep *Report) uint64 { return rep.SYNFlood.Answered },
			refusesText: "a syn-flood opens no connections",
			open:        (*run).openClient, make: (*run).makeFloods,
			report: (*run).reportFlood, text: (*Report).textFlood, limiter: floodLimiter,
		},
		{
			name: ScenarioMixed, help: `legitimate clients (--clients handshake or http, at --rate), and from the middle of
the run on a flood of invented sources beside them (--flood-rate): how much
of what they had before do they keep?`,
			closes: []string{CloseRST, CloseFIN}, cookies: "pressure", window: DefaultMixedConcurrency, spoofs: true, noun: "opens",
			refusesText: "the clients of a mixed run send no text with their SYNs",
			settings:    (*Config).mixedSettings, serve: (*run).serveMixed,
			open: (*run).openClient, make: (*run).makeMixed, generator: makeLegitimate,
			report: (*run).reportMixed, text: (*Report).textMixed, setup: (*Report).setupMixed, limiter: mixedLimiter,
		},
		{
			name: ScenarioConcurrency, help: `open --concurrency connections, keep all for --hold, ask each peer whether
it still has them (a probe as of keep-alive), close them. Done: opened.`,
			closes: []string{CloseRST, CloseFIN}, close: CloseRST, cookies: "pressure", window: DefaultHeld, holds: true, noun: "opens",
			refusesText: "held connections are silent",
			settings:    (*Config).concurrencySettings,
			open:        (*run).openClient, make: (*run).makeClients, generator: makeHolder,
			report: (*run).reportHeld, text: (*Report).textHeld, setup: (*Report).setupHeld, limiter: heldLimiter,
		},
		{
			name: ScenarioChurn, help: `keep --concurrency connections established, each for a --lifetime, and open
another for each that ends. Done: opened.`,
			closes: []string{CloseRST, CloseFIN}, close: CloseRST, cookies: "pressure", window: DefaultPopulation, holds: true, noun: "opens",
			refusesText: "connections that come and go are silent",
			settings:    (*Config).churnSettings,
			open:        (*run).openClient, make: (*run).makeClients, generator: makeChurner,
			report: (*run).reportChurn, text: (*Report).textChurn, setup: (*Report).setupChurn, limiter: churnLimiter,
		},
		{
			name: ScenarioRefused, help: `open where nothing listens. Done: refused by RST; anything else failed.
Latency is from the SYN to the RST.`,
			window: DefaultConcurrency, noun: "refusals", done: "refusals", bareServer: noListener,
			refusesText: "nothing listens that could take text",
			good:        func(rep *Report) uint64 { return rep.Handshakes.Refused },
			open:        (*run).openClient, make: (*run).makeClients, generator: makeRefuser,
			report: (*run).reportRefused, text: (*Report).textRefused, limiter: refusedLimiter,
		},
		{
			name: ScenarioTimeout, help: `open into a black hole. Done: timed out when the schedule of repeated
SYNs says, 127 s by default (--retry, --syn-retries, --initial-rto);
any answer failed. --count 256 by default.`,
			window: DefaultTimeouts, noun: "attempts", done: "timeouts", bareServer: blackHole,
			refusesText: "nothing answers that could take text",
			settings:    (*Config).timeoutSettings,
			open:        (*run).openClient, make: (*run).makeClients, generator: makePatient,
			report: (*run).reportTimeout, text: (*Report).textTimeout, limiter: timeoutLimiter,
		},
		{
			name: ScenarioFastOpen, help: `visits in rounds: a first one that asks for a Fast Open cookie, a repeat one
with text on the SYN, an ordinary one; how soon does the answer begin? Our
own server or, with --connect, any that answers what comes (echo, HTTP).`,
			closes: []string{CloseFIN}, close: CloseFIN, cookies: "pressure", window: DefaultVisits, noun: "visits", done: "visits",
			refusesText: "text on SYNs is what it is about",
			settings:    (*Config).visitSettings, serve: (*run).serveVisits,
			open: (*run).openClient, make: (*run).makeVisitors,
			report: (*run).reportVisits, text: (*Report).textVisits, setup: (*Report).setupHandshakes, limiter: visitLimiter,
		},
		{
			name: ScenarioCookies, help: `handshakes with a server that keeps nothing of a SYN (SYN cookies always):
which options survive, and what it costs beside one that does, which the
second half of the time is for.`,
			closes: []string{CloseRST, CloseFIN}, close: CloseRST, cookies: "always", window: DefaultConcurrency, noun: "opens",
			refusesText: "who keeps nothing of a SYN takes no text from it",
			settings:    (*Config).cookieSettings, serve: (*run).serveCookies, run: runCookies,
			open: (*run).openClient, make: (*run).makeCookieClients, generator: makeClient,
			report: (*run).reportCookies, text: (*Report).textCookies, setup: (*Report).setupHandshakes, limiter: cookieLimiter,
		},
		{
			name: ScenarioEcho, help: `frames of minimum size to a reflector (fastsyn reflect), every byte
verified when they return: the limit of driver and device. Its
Ethernet address is given by --peer-mac; it needs no IP addresses.`,
			window: DefaultWindow, raw: true, noun: "frames", done: "frames",
			good:   func(rep *Report) uint64 { return rep.Echo.Returned },
			open:   (*run).openEcho,
			report: (*run).reportEcho, text: (*Report).textEcho, limiter: echoLimiter,
		},
	}
}

// ScenarioHelp is a name of a scenario and what it does, in lines.
type ScenarioHelp struct{ Name, Help string }

// Scenarios lists the scenarios there are.
func Scenarios() []ScenarioHelp {
	var out []ScenarioHelp
	for _, s := range scenarios {
		out = append(out, ScenarioHelp{s.name, s.help})
	}
	return out
}

func scenarioNames() []string {
	var out []string
	for _, s := range scenarios {
		out = append(out, s.name)
	}
	return out
}

// scenarioOf returns the scenario of that name, nil if there is none.
func scenarioOf(name string) *scenario {
	if i := slices.IndexFunc(scenarios, func(s *scenario) bool { return s.name == name }); i >= 0 {
		return scenarios[i]
	}
	return nil
}

// kind is the scenario of a configuration that normalize has seen.
func (c *Config) kind() *scenario { return scenarioOf(c.Scenario) }
