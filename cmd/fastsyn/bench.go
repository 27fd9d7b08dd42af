package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
)

type benchFlags struct {
	cfg  measure.Config
	live liveFlags
	output
	ndjson  string
	csv     string
	noDrain bool
	retries int
	body    int
}

func newBench() *cobra.Command {
	cmd := newBenchOf(new(benchFlags))
	cmd.AddCommand(newCheck("bench", func() (*cobra.Command, func() error) {
		o := new(benchFlags)
		cmd := newBenchOf(o)
		return cmd, func() error { return o.prepare(cmd) }
	}))
	return cmd
}

func newBenchOf(o *benchFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure handshakes per second",
		Long: `Measure handshakes (or SYNs, or frames) per second, with a report whose sums are checked.

By default client and server are both in this process, at the two ends of an
in-memory wire with real frames and checksums: no root, no set-up. With
--connect the peer is any TCP server that listens there.

Scenarios:
` + scenarioHelp() + `
Rates are what happened in the sending time, divided by it; latency is from the
SYN out to established. docs/report.md describes every field of the report.
` + exitHelp,
		Example: `  # Both ends in memory, five seconds, report as JSON.
  fastsyn bench --duration 5s --json -

  # The same as a page to look at: plots of rate, latency, losses and balance.
  fastsyn bench --duration 5s --html report.html

  # HTTP transactions in memory: open, GET, 200 with 1 KiB, close by FIN.
  fastsyn bench --scenario http

  # How many SYNs does the cookie path answer?
  fastsyn bench --scenario syn-flood

  # 100,000 connections against a server, 500 at a time, closed by FIN.
  fastsyn bench --port afpacket:veth0 --addr 10.0.0.3/24 --connect 10.0.0.9:80 \
      --count 100000 --concurrency 500 --close fin

  # A fixed rate: the report has response times free of coordinated omission.
  fastsyn bench --port afpacket:veth0 --addr 10.0.0.3/24 --connect 10.0.0.9:80 --rate 20000

  # Frames per second to "fastsyn reflect" at the other end, and in memory.
  fastsyn bench --scenario echo --port afpacket:veth0 --peer-mac 02:00:00:00:00:01
  fastsyn bench --scenario echo

  # The settings of a file, one of them changed; the run of a report, again.
  fastsyn bench --config scenario.yaml --rate 5000
  fastsyn bench --replay report.json

  # A bad wire: 5 % loss each way.
  fastsyn bench --port 'impair(loss=5%):loop:' --count 10000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBench(cmd, o) },
	}
	f, c := cmd.Flags(), &o.cfg
	f.StringVar(&c.Scenario, "scenario", measure.ScenarioHandshake, "what is done, see above")
	f.StringVar(&c.Port, "port", measure.DefaultPort, "port to use: loop: (both ends in memory), afpacket:IFACE, impair(...):PORT")
	f.StringVar(&c.Connect, "connect", "", "peer as IP:PORT, instead of a server of our own")
	f.StringVar(&c.PeerMAC, "peer-mac", "", "Ethernet address of a reflector, for echo; on a link of two any, such as 02:00:00:00:00:01")
	f.StringArrayVar(&c.Addrs, "addr", nil, "own address with prefix length, not one of the kernel's; repeatable")
	f.StringArrayVar(&c.Pools, "pool", nil, "prefix of source addresses that the peer routes here; repeatable")
	f.StringVar(&c.Ports, "ports", "", "source ports, such as 4000,5000-5999 (default 1024-65535, syn-flood 32768-65535)")
	f.StringArrayVar(&c.Gateways, "gateway", nil, "next hop for peers not on the link, one per family")
	dadFlag(cmd, &c.DAD)
	f.BoolVar(&c.IPv6, "ipv6", false, "use IPv6 on the in-memory wire")
	f.IntVar(&c.Workers, "workers", 0, "client workers, one per queue (0: as the port has, loop: one per two CPUs)")
	f.Float64Var(&c.Rate, "rate", 0, "opens (or SYNs, or frames) per second on a fixed schedule (0: as fast as possible)")
	f.StringVar(&c.Load, "load", "", "rates that change, such as ramp:1k..50k/30s,hold:10s (docs/load.md); --duration is then its length")
	f.StringVar(&c.Search, "search", "", "find the highest rate that meets a target such as 'loss<0.1%,p99<5ms', by trials of --duration (default 5s) and shorter ones")
	f.StringVar(&c.SearchRange, "search-range", "", "rates to search (default "+measure.DefaultSearchRange+")")
	f.StringVar(&c.SearchPrecision, "search-precision", "", "how close the rates of the last trials are (default "+measure.DefaultSearchPrecision+")")
	f.DurationVar(&c.SearchTime, "search-time", 0, "end the search after this long (0: 2m)")
	f.IntVar(&c.Concurrency, "concurrency", 0, "flows (or SYNs, or frames) in flight over all workers (0: 256 per worker, syn-flood and echo 512)")
	f.DurationVar(&c.Duration, "duration", 0, "sending time (0: 10s, or no bound with --count)")
	f.Uint64Var(&c.Count, "count", 0, "number of attempts (0: no bound)")
	f.Uint64Var(&c.Seed, "seed", 0, "decides source ports and invented sources (0: random, reported)")
	f.BoolVar(&c.FastOpen, "fastopen", false, "open with text: on the SYN once the peer has given a cookie (RFC 7413)")
	f.StringVar(&c.Close, "close", "", "how to end a flow: rst (default; skips TIME-WAIT at both ends, so that ports and records last), fin (as applications do; http: always)\nor hold (handshake with --count: not until the run ends, then by RST)")
	f.DurationVar(&c.Hold, "hold", measure.DefaultHold, "concurrency: how long all connections are held once they are open")
	f.BoolVar(&c.NoProbe, "no-probe", false, "concurrency: do not ask the peers of held connections whether they still have them")
	f.DurationVar(&c.Lifetime, "lifetime", measure.DefaultLifetime, "churn: mean lifetime of a connection")
	f.StringVar(&c.LifetimeDist, "lifetime-dist", "", "churn: exponential (default) or constant lifetimes")
	o.body = -1
	f.Var(sizeFlag{n: &o.body, zero: true}, "http-body", "http: the size of each response (default 1K; with --connect any)")
	f.IntVar(&c.HTTPRequests, "http-requests", 0, "http: requests on a connection (0: 1, which asks the server to close; else the client closes)")
	f.IntVar(&c.HTTPPipeline, "http-pipeline", 0, "http: of these, how many may be under way at once (0: 1, each waits for the response before)")
	f.StringVar(&c.HTTPPath, "http-path", "", "http: target of the requests (default /)")
	f.IntVar(&c.MaxFlows, "max-flows", 0, "our server's records per worker: half-open, established, TIME-WAIT (0: as many as do not limit)")
	f.IntVar(&c.MaxHalfOpen, "max-half-open", 0, "our server's half-open handshakes per worker (0: half of --max-flows)")
	f.IntVar(&c.ListenerHalfOpen, "listener-half-open", 0, "half-opens of our server's listener per worker (0: no bound of its own)")
	f.StringVar(&c.Cookies, "cookies", "", "our server's SYN cookies: never, always or pressure (default pressure; syn-flood: always)")
	f.StringVar(&c.Clients, "clients", "", "mixed: what legitimate clients do, handshake (default) or http")
	f.Float64Var(&c.FloodRate, "flood-rate", 0, "mixed: SYNs per second of the flood beside them (0: 100000)")
	f.BoolVar(&c.EvictOldest, "evict-oldest", false, "mixed: our server makes room in a full table by dropping an old half-open")
	f.StringVar(&c.SYNLimit, "syn-limit", "", "mixed: new connections per second and worker of our server, RATE or RATE/BURST")
	f.StringVar(&c.SourceLimit, "source-limit", "", "mixed: the same of each source prefix")
	f.StringVar(&c.SourceOver, "source-over", "", "mixed: what SYNs above --source-limit get: drop (default) or cookie")
	optionFlags(cmd, &c.NoTimestamps, &c.NoSACK, &c.NoWScale)
	f.StringVar(&c.Profile, "profile", "", "whose SYNs the client's look like: "+strings.Join(measure.Profiles(), ", ")+" (default: our own)")
	f.StringVar(&c.SYNOptions, "syn-options", "", "profile custom: options of a SYN in order, such as mss=1400,sackok,ts,nop,wscale=7,eol")
	f.IntVar(&c.SYNWindow, "syn-window", 0, "profile custom: window field of a SYN (0: as many whole segments as 64 KiB hold)")
	f.IntVar(&c.TTL, "ttl", 0, "profile custom: TTL or hop limit of all segments (0: 64)")
	f.BoolVar(&c.NoDF, "no-df", false, "profile custom: IPv4 packets may be fragmented")
	handshakeFlags(cmd, &c.Retry, &c.ECN)
	f.BoolVar(&c.FailFast, "fail-fast", false, "end an attempt at any ICMP error about it, as Linux does (default: only at port or protocol unreachable)")
	f.IntVar(&o.retries, "syn-retries", 6, "repetitions of a SYN before it times out; 0 for none")
	f.DurationVar(&c.InitialRTO, "initial-rto", time.Second, "first retransmission timeout, doubled each time")
	f.DurationVar(&c.TimeWait, "time-wait", 0, "how long an end of ours keeps tuples that it closed first, by FIN (0: skip TIME-WAIT)")
	f.DurationVar(&c.Drain, "drain", 0, "wait this long after the last open for what is pending (0: 3s, with --count alone the retry schedule or, on SIGINT, 3s)")
	f.BoolVar(&o.noDrain, "no-drain", false, "do not wait for what is pending")
	f.StringVar(&c.Pin, "pin", "auto", "pin threads to CPUs: auto (where their port wants them, else where there is room, if there are enough) or off")
	f.StringVar(&c.Polling, "polling", "auto", "busy, adaptive or auto (busy if there are enough CPUs)")
	f.BoolVar(&c.OwnNetwork, "i-own-this-network", false, "let syn-flood aim at addresses that are not private")
	o.output.flags(cmd)
	f.StringVar(&o.ndjson, "ndjson", "", "write a JSON object each second while it runs, and the report without what is long at the end, to a file or -")
	f.StringVar(&o.csv, "csv", "", "write a line of comma-separated values each second while it runs, to a file or -")
	o.live.add(cmd)
	groupFlags(
		cmd,
		flagGroup{"What is measured", []string{"scenario", "duration", "count", "rate", "load", "concurrency", "workers", "seed", "drain", "no-drain"}},
		flagGroup{"Search (docs/load.md)", []string{"search", "search-range", "search-precision", "search-time"}},
		flagGroup{"Link and addresses", []string{"port", "ipv6", "connect", "peer-mac", "addr", "pool", "ports", "gateway", "dad", "i-own-this-network"}},
		flagGroup{"Flows", []string{"close", "time-wait", "hold", "no-probe", "lifetime", "lifetime-dist", "fastopen", "http-requests", "http-pipeline", "http-body", "http-path"}},
		flagGroup{"Our server", []string{"cookies", "max-flows", "max-half-open", "listener-half-open", "evict-oldest", "syn-limit", "source-limit", "source-over"}},
		flagGroup{"Clients under a flood (docs/scenarios.md)", []string{"clients", "flood-rate"}},
		flagGroup{"Handshake (docs/handshake.md)", []string{
			"retry", "syn-retries", "initial-rto", "fail-fast", "ecn", "no-timestamps", "no-sack", "no-wscale",
		}},
		flagGroup{"Client profile (docs/scenarios.md)", []string{"profile", "syn-options", "syn-window", "ttl", "no-df"}},
		flagGroup{"Processors", []string{"polling", "pin"}},
		flagGroup{"Output", []string{"json", "html", "ndjson", "csv"}},
		flagGroup{"While it runs (docs/live.md)", liveFlagNames},
		flagGroup{"Settings", []string{"config", "replay"}},
	)
	return replayed(configured(profiled(cmd)))
}

// scenarioHelp lists the scenarios for people.
func scenarioHelp() string {
	var b strings.Builder
	for _, s := range measure.Scenarios() {
		for i, line := range strings.Split(s.Help, "\n") {
			name := s.Name
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "  %-13s  %s\n", name, line)
		}
	}
	return b.String()
}

// prepare turns the flags into the configuration, and checks it.
func (o *benchFlags) prepare(cmd *cobra.Command) (err error) {
	c := &o.cfg
	if err := o.output.check(); err != nil {
		return err
	}
	if o.retries < 0 {
		return usagef("--syn-retries %d: want 0 to 30", o.retries)
	}
	switch c.SYNRetries = o.retries; {
	case !cmd.Flags().Changed("syn-retries"):
		c.SYNRetries = 0 // as many as the schedule has
	case c.SYNRetries == 0:
		c.SYNRetries = -1
	}
	switch {
	case o.body > 0:
		c.HTTPBody = o.body
	case o.body == 0:
		c.HTTPBody = -1
	}
	switch changed := cmd.Flags().Changed; {
	case c.Hold < 0 || c.Lifetime < 0:
		return usagef("--hold %v, --lifetime %v: want times", c.Hold, c.Lifetime)
	case !changed("hold"):
		c.Hold = 0
	case c.Hold == 0:
		c.Hold = -1
	}
	if !cmd.Flags().Changed("lifetime") {
		c.Lifetime = 0
	}
	if c.Drain < 0 {
		return usagef("--drain %v: want a time; --no-drain does not wait", c.Drain)
	}
	if o.noDrain {
		c.Drain = -1
	}
	for flag, given := range map[string]string{"connect": c.Connect, "peer-mac": c.PeerMAC} {
		if given == "" {
			continue
		}
		if err := realPort(c.Port, "leave --"+flag+" out for both ends in memory"); err != nil {
			return err
		}
	}
	if c.DAD, err = dadGiven(c.DAD); err != nil {
		return err
	}
	if err := o.live.check(); err != nil {
		return err
	}
	return c.Validate()
}

func runBench(cmd *cobra.Command, o *benchFlags) (err error) {
	if err := o.prepare(cmd); err != nil {
		return err
	}
	o.cfg.Live = new(measure.Live)
	w, err := o.live.watch(cmd, o.cfg.Live, measure.Progress.String, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	rec, err := o.record(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	r, err := measure.Run(cmd.Context(), o.cfg, w.progress())
	err = errors.Join(err, rec.close(r))
	if r == nil {
		return err
	}
	w.clear()
	err = errors.Join(err, o.output.write(cmd.OutOrStdout(), r, !o.takesStdout()))
	if err == nil && r.Search != nil && r.Search.RatePerS == 0 {
		err = fmt.Errorf("search: %s", r.Search)
	}
	if err == nil && r.Search != nil && r.Search.RatePerS == 0 {
		err = fmt.Errorf("search: %s", r.Search)
	}
	return err
}
