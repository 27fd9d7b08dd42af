package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/rss"
)

// The ways to close a flow once it is established.
const (
	CloseRST = "rst"
	CloseFIN = "fin"
	// CloseHold keeps flows until the run ends, and then resets them.
	CloseHold = "hold"
)

// Defaults of Config.
const (
	DefaultPort        = "loop:"
	DefaultDuration    = 10 * time.Second
	DefaultConcurrency = 256 // per worker, handshake and http
	DefaultWindow      = 512 // per worker, syn-flood and echo
	DefaultDrain       = 3 * time.Second
	DefaultHTTPBody    = 1024 // bytes, of our own server
	DefaultHeld        = 10_000
	DefaultPopulation  = 1000 // churn
	DefaultTimeouts    = 256  // attempts
	DefaultHold        = 10 * time.Second
	DefaultLifetime    = time.Second

	maxWorkers     = 64
	maxConcurrency = 1 << 22
	maxRate        = 1e9
	maxHTTPBody    = 1 << 30
	maxRequests    = 1 << 20
	serverPort     = 80
)

// Config describes a run. The zero value is the handshake scenario over an
// in-memory wire for ten seconds. The tag of a field is its flag of the command, and its
// key in scenario files and in the config of a report.
type Config struct {
	// Scenario is that of a scenario, see Scenarios. Default "handshake". --scenario
	Scenario string `flag:"scenario"`
	// Port is a port string. Default "loop:". Of a wire within the process
	// (dataplane.IsWire) both ends are ours, unless Connect says otherwise. --port
	Port string `flag:"port"`
	// Connect is the peer as IP:PORT. Empty: a server of our own, at the other end of a wire. --connect
	Connect string `flag:"connect"`
	// PeerMAC is the Ethernet address of a reflector, for echo. Empty: a reflector
	// of our own, at the other end of a wire. --peer-mac
	PeerMAC string `flag:"peer-mac"`
	// Addrs are own addresses with the prefix of their link, "10.0.0.3/24"; required with Connect. --addr
	Addrs []string `flag:"addr"`
	// Pools are prefixes of which every address is a source of ours. The peer
	// must route them here. --pool
	Pools []string `flag:"pool"`
	// Ports are source ports and ranges of them, "4000,5000-5999". Default "1024-65535", in
	// syn-flood "32768-65535". --ports
	Ports      string          `flag:"ports"`
	portRanges []rss.PortRange // set by normalize
	// Gateways are next hops, at most one per family. --gateway
	Gateways []string `flag:"gateway"`
	// DAD is how long another host that has one of Addrs may say so (fastsyn.Config.DAD), with
	// Connect. 0: one second; negative: it is not asked. --dad
	DAD time.Duration `flag:"dad"`
	// IPv6 uses IPv6 when both ends are ours. --ipv6
	IPv6 bool `flag:"ipv6"`

	// Workers is the number of client workers, one per queue of the port. 0: as many
	// as the port has queues; for a wire one per two CPUs, at least one. --workers
	Workers int `flag:"workers"`
	// Rate is the number of opens (or SYNs, or frames) per second in all, on a fixed
	// schedule. 0: as fast as possible, or as Load says. --rate
	Rate float64 `flag:"rate"`
	// Load is a rate that changes: stages such as "ramp:1k..50k/30s,hold:10s", see
	// docs/load.md. Without a Duration it is as long as its stages. --load
	Load string    `flag:"load"`
	plan *schedule // of Rate or Load, set by normalize; nil: as fast as possible
	// Search finds the highest rate that meets a target such as "loss<0.1%,p99<5ms": by trials of
	// Duration (default 5 s) and shorter ones, in SearchRange (default "100..10M"), to
	// SearchPrecision (default "1%"), within SearchTime (default 2 minutes); see docs/load.md. --search,
	// --search-range, --search-precision, --search-time
	Search          string        `flag:"search"`
	SearchRange     string        `flag:"search-range"`
	SearchPrecision string        `flag:"search-precision"`
	SearchTime      time.Duration `flag:"search-time"`
	search          *searching    // set by normalize; nil: no search
	// Concurrency bounds the flows (or SYNs, or frames) in flight, over all workers.
	// 0: 256 (syn-flood and echo: 512) per worker. --concurrency
	Concurrency int `flag:"concurrency"`
	// Duration bounds the sending time, Count the number of attempts; whichever
	// comes first. Duration 0: ten seconds, or unbounded with a Count. --duration, --count
	Duration time.Duration `flag:"duration"`
	Count    uint64        `flag:"count"`
	// Seed decides source ports and invented sources. 0: a random one, reported. --seed
	Seed uint64 `flag:"seed"`
	// FastOpen opens with text: on the SYN once the peer has given a cookie (RFC 7413), at
	// once behind the handshake until then. Our own server takes it. handshake only. --fastopen
	FastOpen bool `flag:"fastopen"`
	// Close is how an established flow is ended: "rst" (default); "fin", the only one in http; or
	// in handshake "hold": not until the run ends, then by a reset. --close
	Close string `flag:"close"`

	// Hold is how long all flows of a concurrency run are held. 0: ten seconds; negative: not at all. --hold
	Hold time.Duration `flag:"hold"`
	// NoProbe does not ask the peers of held flows whether they still have them. --no-probe
	NoProbe bool `flag:"no-probe"`
	// Lifetime is the mean lifetime of the flows of a churn run. Default 1 s. LifetimeDist is its distribution,
	// "exponential" (default) or "constant". --lifetime, --lifetime-dist
	Lifetime     time.Duration `flag:"lifetime"`
	LifetimeDist string        `flag:"lifetime-dist"`

	// HTTPBody is the content of a response, in bytes. 0: 1024 from our own server, of
	// any length from another one; negative: none. http only, as are the next three. --http-body
	HTTPBody int `flag:"http-body"`
	// HTTPRequests is how many requests go over a connection.
	// Default 1, which asks the server to close. --http-requests
	HTTPRequests int `flag:"http-requests"`
	// HTTPPipeline is how many of them may be under way at once. Default 1: the next one waits for
	// the response. --http-pipeline
	HTTPPipeline int `flag:"http-pipeline"`
	// HTTPPath is the target of the requests. Default "/". --http-path
	HTTPPath string `flag:"http-path"`

	// MaxFlows and MaxHalfOpen bound the records of each worker of our server, and those of them that are
	// half-open; ListenerHalfOpen the half-opens of its listener. 0: sizes that do not
	// limit. --max-flows, --max-half-open, --listener-half-open
	MaxFlows         int `flag:"max-flows"`
	MaxHalfOpen      int `flag:"max-half-open"`
	ListenerHalfOpen int `flag:"listener-half-open"`
	// Clients are what legitimate clients do in a mixed run: "handshake" (default) or "http". FloodRate is the number of
	// SYNs per second of the flood beside them, in all. 0: 100,000. --clients, --flood-rate
	Clients   string  `flag:"clients"`
	FloodRate float64 `flag:"flood-rate"`
	// EvictOldest, SYNLimit, SourceLimit and SourceOver are further defences of our server in a mixed run, as
	// those of fastsyn serve: limits are RATE or RATE/BURST per worker; SourceOver is "drop"
	// (default) or "cookie". --evict-oldest, --syn-limit, --source-limit, --source-over
	EvictOldest bool   `flag:"evict-oldest"`
	SYNLimit    string `flag:"syn-limit"`
	SourceLimit string `flag:"source-limit"`
	SourceOver  string `flag:"source-over"`

	// Cookies is the policy of our server: "pressure" (default), "never" or
	// "always" (default in syn-flood). --cookies
	Cookies string `flag:"cookies"`
	// NoTimestamps, NoSACK and NoWScale leave out options, at both ends when both are ours.
	// --no-timestamps, --no-sack, --no-wscale
	NoTimestamps bool `flag:"no-timestamps"`
	NoSACK       bool `flag:"no-sack"`
	NoWScale     bool `flag:"no-wscale"`
	// Profile is whose SYNs the client's look like: "linux", "windows", "macos", "minimal", or "custom", which the next
	// four make. Empty: our own, which has the layout of Linux. --profile
	Profile string `flag:"profile"`
	// SYNOptions are the options of a SYN in their order, such as "mss=1400,sackok,ts,nop,wscale=7". --syn-options
	SYNOptions string `flag:"syn-options"`
	// SYNWindow is its window field. 0: as many whole segments as 64 KiB hold. --syn-window
	SYNWindow int `flag:"syn-window"`
	// TTL is that of all segments, or their hop limit; 0: 64. NoDF leaves DF out. --ttl, --no-df
	TTL  int  `flag:"ttl"`
	NoDF bool `flag:"no-df"`
	// Retry is the schedule of repeated SYNs and, of our server, SYN-ACKs: as
	// handshake.ParseRetry reads it. Default "linux", which the next two change. --retry
	Retry string `flag:"retry"`
	// SYNRetries is the number of repeated SYNs: 0 is the default 6, or what Retry has; negative none. --syn-retries
	SYNRetries int `flag:"syn-retries"`
	// InitialRTO is the first retransmission timeout, doubled each time. Default 1 s. --initial-rto
	InitialRTO time.Duration `flag:"initial-rto"`
	// ECN is "passive" (default), "off" or "on", at both ends when both are ours. --ecn
	ECN string `flag:"ecn"`
	// FailFast ends an attempt at any ICMP error about it, as Linux does. --fail-fast
	FailFast bool `flag:"fail-fast"`
	// TimeWait is how long an end of ours keeps the tuple of a flow that it closed
	// first, by FIN: the client, or in http our server. 0 skips TIME-WAIT, as a load generator may, since ports would run
	// out (TWT-013). --time-wait
	TimeWait time.Duration `flag:"time-wait"`
	// Drain is how long to wait for what is pending after the last open. 0: 3 s after the
	// sending time, or, when Count alone ends the run, as long as the retries take (3 s
	// if the run is stopped); negative: not at all. --drain
	Drain      time.Duration `flag:"drain,no-drain"`
	drainGiven bool          // set by normalize

	// Pin is "auto" (default): threads are pinned to the CPUs that their port wants,
	// else to others, when there are enough; or "off". --pin
	Pin string `flag:"pin"`
	// Polling is "auto" (default): busy when there are enough CPUs; "busy" or "adaptive". --polling
	Polling string `flag:"polling"`
	// OwnNetwork lets syn-flood aim at addresses that are not private. --i-own-this-network
	OwnNetwork bool `flag:"i-own-this-network"`

	beside bool // one of several runs that make one, set by Run

	// Live, if not nil, reads the run from other goroutines. No setting.
	Live *Live
	// RunID names the run in its report and in lines about it. Empty: a random one. No setting.
	RunID string
	// OnInterval, if not nil, gets each interval as it ends, from the goroutine of Run: a second of the
	// run, or what was left of one. No setting.
	OnInterval func(*Interval)
}

// FlagError is a setting that cannot be.
type FlagError struct {
	Flag   string // without dashes
	Value  string
	Reason string
	Fix    string
}

// Error implements error.
func (e *FlagError) Error() string {
	s := "--" + e.Flag
	if e.Value != "" {
		s += " " + e.Value
	}
	return s + ": " + e.Reason + "; " + e.Fix
}

func flagError(flag string, value any, reason, fix string) error {
	return &FlagError{Flag: flag, Value: fmt.Sprint(value), Reason: reason, Fix: fix}
}

// choice checks an enumerated setting.
func choice(flag, value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	fix := "use one of: " + strings.Join(known, ", ")
	if near := Nearest(value, known); near != "" {
		fix = fmt.Sprintf("did you mean %q? (one of: %s)", near, strings.Join(known, ", "))
	}
	return flagError(flag, value, "unknown value", fix)
}

// Validate returns the first setting that cannot be, as a *FlagError.
func (c Config) Validate() error {
	_, err := c.normalize()
	return err
}

// normalize fills in the defaults that need no port, and checks.
func (c Config) normalize() (Config, error) {
	c.Scenario = cmp.Or(c.Scenario, ScenarioHandshake)
	c.Port = cmp.Or(c.Port, DefaultPort)
	c.Pin = cmp.Or(c.Pin, "auto")
	c.Polling = cmp.Or(c.Polling, "auto")
	c.Retry = cmp.Or(c.Retry, handshake.RetryLinux.String())
	c.ECN = cmp.Or(c.ECN, handshake.ECNPassive.String())
	if err := choice("scenario", c.Scenario, scenarioNames()...); err != nil {
		return c, err
	}
	kind := c.kind()
	if kind.closes == nil && c.Close != "" {
		return c, flagError("close", c.Close, "a "+c.Scenario+" run has no flows to close", "leave it out")
	}
	if c.transacts() {
		c.Close = cmp.Or(c.Close, CloseFIN)
	}
	c.Close = cmp.Or(c.Close, kind.close, CloseRST)
	c.Cookies = cmp.Or(c.Cookies, kind.cookies, handshake.CookiesPressure.String())
	for _, e := range []struct {
		flag, value string
		known       []string
	}{
		{"close", c.Close, append(slices.Clone(kind.closes), CloseRST)},
		{"cookies", c.Cookies, []string{"never", "always", "pressure"}},
		{"pin", c.Pin, []string{"auto", "off"}},
		{"polling", c.Polling, []string{"auto", "busy", "adaptive"}},
		{"ecn", c.ECN, []string{"passive", "off", "on"}},
	} {
		if err := choice(e.flag, e.value, e.known...); err != nil {
			return c, err
		}
	}
	if err := c.bounds(); err != nil {
		return c, err
	}
	if err := c.addressing(); err != nil {
		return c, err
	}
	if err := c.noHTTP(); err != nil {
		return c, err
	}
	if err := c.lastingSettings(); err != nil {
		return c, err
	}
	if err := c.tableSettings(); err != nil {
		return c, err
	}
	if err := c.noMixed(); err != nil {
		return c, err
	}
	if err := c.profileSettings(); err != nil {
		return c, err
	}
	if kind.settings != nil {
		if err := kind.settings(&c); err != nil {
			return c, err
		}
	}
	if kind.closes == nil {
		c.Close = ""
	}
	if kind.raw || kind.bareServer != nil {
		c.Cookies = "" // nothing accepts
	}
	if err := c.schedule(); err != nil {
		return c, err
	}
	if err := c.searches(); err != nil {
		return c, err
	}
	if c.Duration == 0 && c.Count == 0 {
		c.Duration = DefaultDuration
	}
	c.drainGiven = c.Drain != 0
	switch {
	case c.Drain < 0:
		c.Drain = 0
	case c.Drain > 0:
	case c.Duration > 0:
		c.Drain = DefaultDrain
	default:
		c.Drain = c.retrySchedule() + time.Second
	}
	return c, nil
}

func (c *Config) bounds() error {
	switch {
	case c.Workers < 0 || c.Workers > maxWorkers:
		return flagError("workers", c.Workers, fmt.Sprintf("want 1 to %d", maxWorkers), "leave it out for a number that suits the port")
	case math.IsNaN(c.Rate) || c.Rate < 0 || c.Rate > maxRate:
		return flagError("rate", c.Rate, "want opens per second, from above 0 to 1e9", "use 0 for as fast as possible")
	case c.Concurrency < 0 || c.Concurrency > maxConcurrency:
		return flagError("concurrency", c.Concurrency, fmt.Sprintf("want 1 to %d flows in flight", maxConcurrency), "leave it out for 256 per worker")
	case c.Duration < 0:
		return flagError("duration", c.Duration, "a run cannot last less than no time", "give a time such as 5s, or bound the run by --count")
	case c.SYNRetries > 30:
		return flagError("syn-retries", c.SYNRetries, "want at most 30", "Linux uses 6")
	case c.InitialRTO != 0 && (c.InitialRTO < time.Millisecond || c.InitialRTO > 2*time.Minute):
		return flagError("initial-rto", c.InitialRTO, "want 1ms to 2m", "leave it out for 1s (RFC 6298)")
	case c.retryError() != nil:
		return c.retryError()
	case c.TimeWait > 0 && c.Close == CloseRST:
		return flagError("time-wait", c.TimeWait, "flows closed by RST, the default, have no TIME-WAIT", "add --close fin, or leave it out")
	case c.TimeWait < 0 || c.TimeWait > time.Hour:
		return flagError("time-wait", c.TimeWait, "want 0 (skip TIME-WAIT) to 1h", "Linux keeps it for 60s")
	}
	return nil
}

// schedule makes the plan, and has the duration be that of the load unless one is given.
func (c *Config) schedule() (err error) {
	if c.Load == "" {
		c.plan = constant(c.Rate)
		return nil
	}
	if c.Rate != 0 {
		return flagError("rate", c.Rate, "--load "+c.Load+" has rates of its own", "leave one of them out")
	}
	if c.plan, err = parseLoad(c.Load); err != nil {
		return err
	}
	to := c.plan.end().to
	if math.IsInf(to, 1) {
		return nil
	}
	length := time.Duration(to)
	if c.Duration > length {
		return flagError("duration", c.Duration, fmt.Sprintf("longer than the load, which ends after %v", length),
			"leave it out, or let the last rate go on: --load "+c.Load+",hold")
	}
	c.Duration = cmp.Or(c.Duration, length)
	return nil
}
