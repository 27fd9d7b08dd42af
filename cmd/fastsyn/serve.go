package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

type serveFlags struct {
	cfg    fastsyn.Config
	flood  floodFlags
	stream streamFlags
	listen []string
	app    string
	appFlags
	cookies    string
	retry, ecn string
	secretFile string
	polling    string
	priority   string
	pin        string
	fastOpen   int
	fastKey    string // file
	spare      []int  // CPUs for workers that nobody else places
	print      bool
	live       liveFlags
	json       string
	duration   time.Duration
}

// appFlags are the flags of single applications.
type appFlags struct {
	proxyProtocol string
	httpBody      int // bytes; negative: not given
	httpRoot      string
	httpTimeout   time.Duration
}

func newServe() *cobra.Command {
	cmd := newServeOf(new(serveFlags))
	cmd.AddCommand(newCheck("serve", func() (*cobra.Command, func() error) {
		o := new(serveFlags)
		cmd := newServeOf(o)
		return cmd, func() error { return o.prepare(cmd) }
	}))
	return cmd
}

func newServeOf(o *serveFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Accept connections from any peer",
		Long: `Accept connections from any peer on addresses of our own, until SIGINT or
SIGTERM, and print final counters whose sums are checked.

Once ready, a line "listening on ..." is printed for each listener. With --print each
established flow gets a line with what was negotiated; lines that a slow reader
cannot take are dropped and counted, never waited for.

` + appHelp() + secretHelp + `
` + exitHelp,
		Example: `  # Two addresses, two ports, cookies only under pressure.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --addr fd00::2/64 --listen :80 --listen :443

  # Answer one request per connection, never keep a half-open one.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :7 --app echo-once --cookies always --print

  # A backend of the kernel's behind SYN cookies, told who its clients are.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :443 --app proxy=127.0.0.1:8443 --proxy-protocol v2

  # Requests that may be repeated, with their text on the SYN.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :7 --app echo-once --fastopen

  # Under attack: cookies for prefixes that ask too often, the oldest half-open gives way, text before a flow counts.
  fastsyn serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --source-limit 200/50 --source-over cookie --evict-oldest --defer-accept 5s

  # A fleet that accepts each other's cookies: the file holds 16 random bytes or more.
  fastsyn serve --port 'afpacket:veth0?queues=2' --addr 10.0.0.2/24 --listen :80 --secret-file /etc/fastsyn/secret`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd, o) },
	}
	f, e := cmd.Flags(), &o.cfg.Engine
	f.StringVar(&o.cfg.Port, "port", "", "port to use: afpacket:IFACE, afpacket:IFACE?queues=N, impair(...):PORT")
	f.StringArrayVar(&o.cfg.Addrs, "addr", nil, "own address with prefix length, not one of the kernel's; repeatable")
	f.StringArrayVar(&o.cfg.Gateways, "gateway", nil, "next hop for peers not on the link, one per family")
	dadFlag(cmd, &o.cfg.DAD)
	f.StringVar(&o.priority, "vlan-priority", "keep", "priority of answers to tagged frames: 0 to 7, or keep for that of the frame")
	f.StringArrayVar(&o.listen, "listen", nil, ":PORT or ADDRESS:PORT to accept on; repeatable")
	f.StringVar(&o.app, "app", "accept", appNames())
	o.httpBody = -1
	f.Var(sizeFlag{n: &o.httpBody, zero: true}, "http-body", "with --app http, the size of each response (default 1K)")
	f.StringVar(&o.httpRoot, "http-root", "", "with --app http, a directory whose files are served; they are read at the start")
	f.DurationVar(&o.httpTimeout, "http-timeout", time.Minute, "with --app http, end a flow that for so long sends no request, no content or takes nothing of its response (0: never)")
	f.StringVar(&o.proxyProtocol, "proxy-protocol", "off", "with --app proxy, tell the backend who the client is and what the handshake found out: off or v2 (docs/serve.md)")
	f.StringVar(&o.cookies, "cookies", "pressure", "SYN cookies: never, always or pressure (while the half-open table fills)")
	f.StringVar(&o.secretFile, "secret-file", "", "file with the secret behind cookies and sequence numbers (default: $FASTSYN_SECRET, else random)")
	f.DurationVar(&o.cfg.CookieEpoch, "cookie-epoch", time.Minute, "life of a cookie key; a cookie lives one to two of them")
	f.IntVar(&o.fastOpen, "fastopen", 0, "take text on SYNs (RFC 7413), for up to this many flows per worker and listener whose peer is not proved yet;\nwithout a number 256. A SYN may come twice: only for requests that may be repeated")
	f.Lookup("fastopen").NoOptDefVal = "256"
	f.StringVar(&o.fastKey, "fastopen-key-file", "", "file with Fast Open keys as in Linux's net.ipv4.tcp_fastopen_key, to agree with Linux hosts (default: from the secret)")
	optionFlags(cmd, &e.NoTimestamps, &e.NoSACK, &e.NoWScale)
	f.IntVar(&e.MaxFlows, "max-flows", 0, "records per worker: half-open, established, TIME-WAIT (0: 65536)")
	handshakeFlags(cmd, &o.retry, &o.ecn)
	f.IntVar(&e.SYNACKRetries, "syn-ack-retries", 5, "repetitions of a SYN-ACK; 0 for none")
	f.DurationVar(&e.InitialRTO, "initial-rto", time.Second, "first retransmission timeout, doubled each time")
	f.DurationVar(&e.TimeWait, "time-wait", time.Minute, "TIME-WAIT, for flows closed from here first")
	o.stream.add(cmd)
	o.flood.add(cmd)
	f.StringVar(&o.polling, "polling", "auto", "busy, adaptive or auto (busy on ports whose driver owns the device)")
	f.StringVar(&o.pin, "pin", "auto", "pin workers to CPUs: auto (where the port wants them, else from the last down, all but one) or off")
	f.BoolVar(&o.print, "print", false, "print each established flow")
	o.live.add(cmd)
	f.StringVar(&o.json, "json", "", "write the final counters as JSON to a file, or - for standard output (and no text)")
	f.DurationVar(&o.duration, "duration", 0, "end after this time (0: on SIGINT or SIGTERM)")
	groupFlags(
		cmd,
		flagGroup{"Link and addresses", []string{"port", "addr", "gateway", "dad", "vlan-priority"}},
		flagGroup{"What is accepted", []string{"listen", "app", "max-flows", "time-wait", "fastopen", "fastopen-key-file"}},
		flagGroup{"Applications (docs/serve.md)", []string{"http-body", "http-root", "http-timeout", "proxy-protocol"}},
		flagGroup{"Handshake (docs/handshake.md)", []string{"retry", "syn-ack-retries", "initial-rto", "ecn", "no-timestamps", "no-sack", "no-wscale"}},
		flagGroup{"Streams (docs/serve.md)", streamFlagNames},
		flagGroup{"SYN cookies (docs/cookies.md)", []string{"cookies", "secret-file", "cookie-epoch", "high-mark", "low-mark", "min-stay"}},
		flagGroup{"Floods (docs/floods.md)", []string{
			"max-half-open", "listener-half-open", "evict-oldest", "syn-limit", "source-limit", "source-prefix", "source-over",
			"cookie-limit", "bad-cookies", "reset-limit", "defer-accept", "callback-budget",
		}},
		flagGroup{"Processors", []string{"polling", "pin"}},
		flagGroup{"Run and output", []string{"duration", "print", "json", "config"}},
		flagGroup{"While it runs (docs/live.md)", liveFlagNames},
	)
	return configured(profiled(cmd))
}

func (o *serveFlags) check() error {
	if err := realPort(o.cfg.Port, "bench, which has both ends"); err != nil {
		return err
	}
	if len(o.cfg.Addrs) == 0 {
		return usagef("--addr is missing: give an address of the link that the kernel does not have, such as --addr 10.0.0.2/24")
	}
	if len(o.listen) == 0 {
		return usagef("--listen is missing: name a port, such as --listen :80")
	}
	for _, l := range o.listen {
		if _, err := fastsyn.ParseListen(l); err != nil {
			return usagef("--listen: %w", err)
		}
	}
	if err := o.checkApp(); err != nil {
		return err
	}
	if err := o.live.check(); err != nil {
		return err
	}
	if err := oneOf("polling", o.polling, "auto", "busy", "adaptive"); err != nil {
		return err
	}
	if err := oneOf("pin", o.pin, "auto", "off"); err != nil {
		return err
	}
	if err := oneOf("cookies", o.cookies, "never", "always", "pressure"); err != nil {
		return err
	}
	if o.fastOpen < 0 || o.fastOpen > handshake.MaxFastOpen {
		return usagef("--fastopen %d: want 0 (off) to %d flows", o.fastOpen, handshake.MaxFastOpen)
	}
	if o.fastKey != "" && o.fastOpen == 0 {
		return usagef("--fastopen-key-file: there is no --fastopen to use it for")
	}
	if o.fastOpen > 0 && o.cookies == "always" {
		return usagef("--fastopen with --cookies always: a cookie is for a peer of which nothing is kept, so no text would be taken; use --cookies pressure or never")
	}
	if err := oneOf("ecn", o.ecn, "passive", "on", "off"); err != nil {
		return err
	}
	if o.cfg.Engine.TimeWait == 0 {
		o.cfg.Engine.TimeWait = -1
	}
	return nil
}

// handshakes turns the flags about retransmission and ECN into the configuration;
// changed tells which of them were given.
func (o *serveFlags) handshakes(changed func(flag string) bool) (err error) {
	e := &o.cfg.Engine
	if e.ECN, err = handshake.ParseECNMode(o.ecn); err != nil {
		return &usageError{err}
	}
	if o.retry != handshake.RetryLinux.String() {
		if e.Retry, err = handshake.ParseRetry(o.retry); err != nil {
			return usagef("--retry: %w", err)
		}
		if changed("initial-rto") {
			return usagef("--initial-rto: --retry %s has waits of its own; leave one of them out", o.retry)
		}
	}
	switch n := len(e.Retry.SYNACK) - 1; {
	case !changed("syn-ack-retries"):
		e.SYNACKRetries = 0 // as many as the schedule has
	case e.SYNACKRetries == 0:
		e.SYNACKRetries = -1
	case n >= 0 && e.SYNACKRetries > n:
		return usagef("--syn-ack-retries %d: the schedule %s has %d repetitions; leave it out, or give a longer schedule to --retry", e.SYNACKRetries, o.retry, n)
	}
	return nil
}

// flags turns the flags into the configuration.
func (o *serveFlags) flags() (err error) {
	if o.cfg.Engine.Cookies, err = handshake.ParseCookiePolicy(o.cookies); err != nil {
		return &usageError{err}
	}
	if o.cfg.DAD, err = dadGiven(o.cfg.DAD); err != nil {
		return err
	}
	if o.priority != "" && o.priority != "keep" {
		n, err := strconv.ParseUint(o.priority, 10, 3)
		if err != nil {
			return usagef("--vlan-priority %s: want 0 to 7, or keep", o.priority)
		}
		pcp := uint8(n)
		o.cfg.VLANPriority = &pcp
	}
	if err = o.flood.apply(&o.cfg); err != nil {
		return err
	}
	if err = o.stream.apply(&o.cfg); err != nil {
		return err
	}
	switch o.polling {
	case "busy":
		o.cfg.Polling = worker.Busy
	case "adaptive":
		o.cfg.Polling = worker.Adaptive
	}
	if o.pin == "off" {
		o.cfg.CPUs = []int{}
	} else if cpus := worker.AllowedCPUs(); len(cpus) > 1 { // before a driver changes what is allowed
		// The first one is left to interrupts and everybody else; workers beyond go unpinned.
		slices.Reverse(cpus)
		o.spare = cpus[:len(cpus)-1]
	}
	var found bool
	if o.cfg.Secret, found, err = loadSecret(o.secretFile); err != nil {
		return err
	}
	o.cfg.Engine.CookieFleet = found // another node may have sent the SYN-ACK
	if o.fastKey != "" {
		text, err := readSecret("--fastopen-key-file", o.fastKey)
		if err != nil {
			return err
		}
		if o.cfg.FastOpen, err = cookie.NewLinuxFastOpen(string(text)); err != nil {
			return fmt.Errorf("--fastopen-key-file %s: %w", o.fastKey, err)
		}
	}
	return nil
}

// prepare checks the flags and turns them into the configuration.
func (o *serveFlags) prepare(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	if err := o.checkAppFlags(cmd.Flags().Changed); err != nil {
		return err
	}
	if err := o.handshakes(cmd.Flags().Changed); err != nil {
		return err
	}
	return o.flags()
}

func runServe(cmd *cobra.Command, o *serveFlags) error {
	if err := o.prepare(cmd); err != nil {
		return err
	}
	return o.serve(cmd)
}

func (o *serveFlags) serve(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	if o.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	stdout := cmd.OutOrStdout()
	if o.json == "-" {
		stdout = cmd.ErrOrStderr()
	}
	p := newPrinter(stdout, o.print)
	defer p.close()
	live, last := new(measure.Live), uint64(0)
	w, err := o.live.watch(cmd, live, func(p measure.Progress) string {
		defer func() { last = p.Done }()
		return serveLine(p, last)
	}, o.print)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if err := o.open(); err != nil {
		return err
	}
	a, err := o.openApp(o.cfg.Device.Info().Queues, w.stderr)
	if err != nil {
		return errors.Join(err, o.cfg.Device.Close())
	}
	state := &serveState{port: o.cfg.Port, app: a}
	if w.measures() {
		state.rtt = newPerWorker[measure.Quick](o.cfg.Device.Info().Queues)
	}
	if s, ok := a.(appSource); ok {
		o.cfg.Source = s.source
	}
	for _, l := range o.listen {
		o.cfg.Listeners = append(o.cfg.Listeners, fastsyn.Listener{Addr: l, Callbacks: o.callbacks(a, p, state), Gate: o.flood.gate})
	}
	ep, err := fastsyn.Open(o.cfg) // closes the port if it fails
	if err != nil {
		a.close()
		return err
	}
	// Workers that never block must not take the processors of everybody else.
	busy := func(w *fastsyn.Worker) bool { return w.Polling() == worker.Busy }
	if n, want := runtime.GOMAXPROCS(0), len(ep.Workers())+2; n < want && slices.ContainsFunc(ep.Workers(), busy) {
		runtime.GOMAXPROCS(want)
		defer runtime.GOMAXPROCS(n)
	}
	state.ep, state.begin = ep, time.Now()
	live.Attach(state.snapshot)
	r := o.accept(ctx, ep, p, live, w.progress())
	live.Detach(nil) // from now on counters are read here
	ep.Stop()
	a.close()
	p.close()
	w.clear()
	state.ended = true
	final := state.snapshot()
	live.Detach(&final)
	var failed error
	for _, w := range ep.Workers() {
		failed = errors.Join(failed, w.Err())
	}
	r.fill(ep, a, time.Since(state.begin), p.dropped.Load())
	if o.json != "" {
		err = writeJSON(o.json, cmd.OutOrStdout(), r)
	}
	if o.json != "-" {
		err = errors.Join(err, r.writeText(stdout))
	}
	err = errors.Join(err, failed, ep.Close())
	if err == nil && !r.Valid {
		err = fmt.Errorf("%w: %s", errInvalid, r.InvalidReason)
	}
	return err
}

// open opens the port. Its workers run where --pin says, else where the port wants
// them, else on CPUs that are spare.
func (o *serveFlags) open() error {
	if o.cfg.Device == nil {
		port, err := dataplane.Open(o.cfg.Port)
		if err != nil {
			return fmt.Errorf("fastsyn: %w", err)
		}
		o.cfg.Device = port
	}
	o.cfg.Role = "serve"
	if o.cfg.CPUs == nil && len(o.cfg.Device.Info().CPUs) == 0 {
		o.cfg.CPUs = o.spare
	}
	return nil
}

// accept says what is listened on and waits for the end.
func (o *serveFlags) accept(ctx context.Context, ep *fastsyn.Endpoint, p *printer, live *measure.Live, show func(measure.Progress)) *serveReport {
	info := ep.Info()
	for _, l := range o.listen {
		p.line("listening on %s at %s (%s, queues %d), app %s, cookies %s", l, strings.Join(o.cfg.Addrs, " "), o.cfg.Port, info.Queues, o.app, o.cookies)
	}
	if show != nil {
		done := make(chan struct{})
		defer func() { <-done }()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			defer close(done)
			follow(ctx, live, show)
		}()
	}
	_ = ep.Wait(ctx) // why a worker failed is asked once all have stopped
	return &serveReport{Port: o.cfg.Port, Listen: o.listen, App: o.app, Cookies: o.cookies, Defence: o.flood.settings()}
}

// checkApp checks --app and what goes with it.
func (o *serveFlags) checkApp() error {
	kind, arg, err := parseApp(o.app)
	if err != nil {
		return err
	}
	if kind.check != nil {
		return kind.check(o, arg)
	}
	return nil
}

// checkAppFlags refuses flags of other applications than --app; changed tells which were given.
func (o *serveFlags) checkAppFlags(changed func(flag string) bool) error {
	kind, _, err := parseApp(o.app)
	if err != nil {
		return err
	}
	for _, k := range appKinds() {
		for _, name := range k.flags {
			if k.name != kind.name && changed(name) {
				return usagef("--%s goes with --app %s, and this is --app %s; leave it out", name, k.title(), o.app)
			}
		}
	}
	return nil
}

// openApp starts the application.
func (o *serveFlags) openApp(workers int, stderr io.Writer) (app, error) {
	kind, arg, err := parseApp(o.app)
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(stderr, format+"\n", args...) }
	return kind.open(o, arg, appEnv{workers: workers, say: say})
}

// callbacks are those of the application and what --print, --fastopen and a view make of them.
func (o *serveFlags) callbacks(a app, p *printer, s *serveState) fastsyn.Callbacks {
	cb := a.callbacks()
	cb.FastOpen = o.fastOpen
	if o.print {
		established := cb.Established
		cb.Established = func(f *fastsyn.Flow) {
			p.established(f)
			if established != nil {
				established(f)
			}
		}
	}
	if s.rtt != nil {
		cb = s.timed(cb)
	}
	return cb
}

func engineTotals(ep *fastsyn.Endpoint) (c handshake.Counters) {
	for _, s := range ep.Stats() {
		c.Add(&s.Engine)
	}
	return c
}
