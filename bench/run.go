package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/rss"
)

// settleTime is how long the server of ours gets to take what the client sent last.
const settleTime = 2 * time.Second

// endNames are those of the ends of a run in reports, metrics and profiles: 0 is the client's.
var endNames = [2]string{"client", "server"}

// end is one end of a run: an endpoint, or pollers below TCP.
type end interface {
	Port() dataplane.Port
	Stats() []worker.Stats
	Do(i int, fn func()) error   // on worker i
	Snapshot(i int) worker.Stats // of worker i: on it, or after its end
	Wait(ctx context.Context) error
	Stop()
	Close() error
}

// tcpEnd is an Endpoint as an end.
type tcpEnd struct{ *fastsyn.Endpoint }

func (e tcpEnd) Do(i int, fn func()) error { return e.Workers()[i].Do(fn) }

func (e tcpEnd) Snapshot(i int) worker.Stats { return e.Workers()[i].Snapshot() }

// generator is what Run needs of a client, a flood or an echo, by way of end.Do.
type generator interface {
	life() *lifecycle
	// attempted = done + failed + in flight, each counted by itself.
	attempted() uint64
	progress() (done, failed, inflight uint64, lat *latency)
	// counts and latencies tell a Snapshot the rest; the first of latencies is that of progress.
	counts(put func(family, outcome string, n uint64))
	latencies(put func(name string, l *latency))
}

func (l *lifecycle) life() *lifecycle { return l }

// opener is a generator that opens flows.
type opener interface {
	generator
	base() *client
	// decided are the times of what is done, and undecided reports whether f is an attempt that is
	// neither done nor failed. After the workers have ended.
	decided() *latency
	undecided(f *worker.Flow) bool
}

func (c *client) base() *client { return c }

func (c *client) attempted() uint64 { return c.ctr.opened }

// progress has the attempts that are not decided in flight: a flow that is closing is done.
func (c *client) progress() (done, failed, inflight uint64, lat *latency) {
	if c.worker == nil {
		return 0, 0, 0, c.service
	}
	e := c.worker.Engine()
	return c.ctr.established, e.Refused + e.TimedOut + e.Unreachable + e.AttemptAborted, e.Opening, c.service
}

func (f *flood) attempted() uint64 { return f.ctr.sent }

func (f *flood) progress() (done, failed, inflight uint64, lat *latency) {
	n, open := f.ctr.answered, uint64(f.inflight())
	return n, f.ctr.sent - n - open, open, f.service
}

// run is one Run.
type run struct {
	cfg   Config
	asked Config // before defaults
	cpus  []int
	placement
	job    *job
	gens   []generator
	client end
	server end          // nil with Connect and PeerMAC
	refl   []*reflector // of the server, in an echo
	holes  []*hole      // likewise, in a timeout
	held   whileHeld
	web    *httpServer // the server's, in http
	// What that sends.
	content []byte
	shape   *synShape      // of the client's SYNs; nil: without a profile
	opens   []*acceptTally // of the client's workers, and
	accepts []*acceptTally // of our server's workers, where the scenario asks for it

	before, after [2][]worker.Stats // sending time; client, server
	final         [2][]worker.Stats
	took, drained time.Duration
	cpu           time.Duration // of the process, in the sending time

	begin time.Time // of the workers
	stage stage
	live  *Live
	rec   *recorder
}

// Run performs a run and reports it. progress, if not nil, is called once a
// second from this goroutine. When ctx ends, the run ends early and is reported all the
// same. An error means that there is nothing to report; a report whose
// sums do not close has Valid false.
func Run(ctx context.Context, cfg Config, progress func(Progress)) (*Report, error) {
	asked := cfg
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	if cfg.search != nil {
		return search(ctx, asked, cfg, progress)
	}
	if kind := cfg.kind(); kind.run != nil && cfg.Connect == "" && !cfg.beside {
		return kind.run(ctx, asked, cfg, progress)
	}
	r := &run{cfg: cfg, asked: asked, cpus: worker.AllowedCPUs(), begin: time.Now(), live: cfg.Live, rec: newRecorder(cfg.OnInterval)}
	if r.live == nil {
		r.live = new(Live)
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.stage.enter(PhaseResolving)
	r.live.Attach(r.snapshot)
	defer r.live.Detach(nil) // before close
	// Workers that never block must not take the processors of the others.
	threads := len(r.gens)
	if r.server != nil {
		threads *= 2
	}
	if n := runtime.GOMAXPROCS(0); n < threads+2 {
		runtime.GOMAXPROCS(threads + 2)
		defer runtime.GOMAXPROCS(n)
	}
	if err := r.drive(ctx, progress); err != nil {
		return nil, err
	}
	r.live.Detach(nil) // from now on counters are read here
	r.stop()
	r.stage.enter(PhaseEnded)
	last := r.snapshot()
	r.live.Detach(&last)
	r.rec.take(last, true)
	return r.report(), nil
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                              // never fails
	return max(1, binary.LittleEndian.Uint64(b[:])>>12) // exact in any JSON reader
}

// NewRunID is a name that no other run has: 128 random bits in hexadecimal digits.
func NewRunID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// open opens the port, or both ends of the wire, and starts the workers.
func (r *run) open(ctx context.Context) error {
	cfg := &r.cfg
	if cfg.Seed == 0 {
		cfg.Seed = randomSeed()
	}
	cfg.RunID = cmp.Or(cfg.RunID, NewRunID())
	ours := cfg.Connect == "" && cfg.PeerMAC == ""
	if ours && !cfg.kind().raw {
		r.ownAddresses()
	}
	sp, err := dataplane.ParseSpec(cfg.Port)
	if err != nil {
		return err
	}
	if err := r.setWorkers(&sp); err != nil {
		return err
	}
	def := cfg.kind().window
	var peer dataplane.Spec
	if ours {
		if cfg.Concurrency == 0 {
			cfg.Concurrency = def * cfg.Workers
		}
		sp, peer = bothEnds(sp, cfg.Workers, cfg.inFlight())
	}
	port, err := dataplane.OpenSpec(sp)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	info := port.Info()
	cfg.Workers = info.Queues
	if cfg.Concurrency == 0 {
		cfg.Concurrency = def * cfg.Workers
	}
	wants := [][]int{info.CPUs}
	var other dataplane.Port
	if ours {
		if other, err = dataplane.OpenSpec(peer); err != nil {
			_ = port.Close()
			return fmt.Errorf("bench: the server's end: %w", err)
		}
		wants = append(wants, other.Info().CPUs)
	}
	r.placement = place(cfg, wants, r.cpus, cfg.Workers)
	if ours {
		if err := r.openServer(other); err != nil {
			_ = port.Close()
			return err
		}
	}
	return cfg.kind().open(r, ctx, port, info)
}

// ownAddresses are those of both ends of a wire.
func (r *run) ownAddresses() {
	cfg := &r.cfg
	cfg.Connect = netip.AddrPortFrom(netip.MustParseAddr(server4), serverPort).String()
	cfg.Addrs, cfg.Pools = clientAddrs, nil
	pool := spoof4
	if cfg.IPv6 {
		cfg.Connect = netip.AddrPortFrom(netip.MustParseAddr(server6), serverPort).String()
		pool = spoof6
	}
	switch {
	case cfg.kind().spoofs:
		cfg.Pools = []string{pool}
	case cfg.population() > lastPort-firstPort+1-cfg.attempts():
		cfg.Pools = []string{pool4}
		if cfg.IPv6 {
			cfg.Pools = []string{pool6}
		}
	}
}

// setWorkers makes the queues parameter of sp and Workers one number.
func (r *run) setWorkers(sp *dataplane.Spec) error {
	cfg := &r.cfg
	v, given := param(sp.Params, "queues")
	switch {
	case given && cfg.Workers == 0:
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxWorkers {
			return flagError("port", cfg.Port, "queues="+v, fmt.Sprintf("want 1 to %d", maxWorkers))
		}
		cfg.Workers = n
	case given && v != strconv.Itoa(cfg.Workers):
		return flagError("workers", cfg.Workers, "the port string says queues="+v, "give both the same number, or leave one out")
	case !given && dataplane.IsWire(*sp):
		if cfg.Workers == 0 {
			cfg.Workers = max(1, len(r.cpus)/2)
		}
		fallthrough
	case !given && cfg.Workers > 1:
		sp.Params = setDefault(slices.Clone(sp.Params), "queues", cfg.Workers)
	}
	return nil
}

// settings are those that both ends have in common; end 0 is the client's.
func (r *run) settings(end int) fastsyn.Config {
	// Empty and not nil: nowhere, and not where the port wants.
	c := fastsyn.Config{Polling: worker.Adaptive, CPUs: append([]int{}, r.on[end]...), DAD: -1, Role: endNames[end]}
	if end == 0 && r.server == nil { // somebody else may be on the link
		c.DAD = r.cfg.DAD
	}
	if r.busy {
		c.Polling = worker.Busy
	}
	retry, _ := r.cfg.retry() // as for ECN, normalize has checked it
	ecn, _ := handshake.ParseECNMode(r.cfg.ECN)
	c.Engine = handshake.Config{
		NoTimestamps: r.cfg.NoTimestamps, NoSACK: r.cfg.NoSACK, NoWScale: r.cfg.NoWScale, ECN: ecn,
		Retry: retry, SYNRetries: r.cfg.SYNRetries, InitialRTO: r.cfg.InitialRTO, FailFast: r.cfg.FailFast,
	}
	return c
}

func (r *run) openServer(device dataplane.Port) error {
	kind := r.cfg.kind()
	if kind.raw {
		r.refl, r.server = startReflectors(endNames[1], device, r.on[1], r.busy)
		return nil
	}
	policy, err := handshake.ParseCookiePolicy(cmp.Or(r.cfg.Cookies, handshake.CookiesPressure.String()))
	if err != nil {
		return errors.Join(err, device.Close())
	}
	c := r.settings(1)
	c.Device, c.Addrs = device, serverAddrs
	c.Engine.Cookies = policy
	// Small tables stay in the cache; four times the flows in flight may be half-open before pressure begins.
	r.cfg.serverTable(&c.Engine)
	cb := fastsyn.Callbacks{Bare: true, AutoClose: true}
	if r.cfg.FastOpen {
		cb.FastOpen = min(handshake.MaxFastOpen, c.Engine.MaxFlows)
	}
	switch {
	case kind.bareServer != nil:
		kind.bareServer(r, &c)
	case kind.serve != nil:
		cb = kind.serve(r, &c)
		fallthrough
	default:
		c.Listeners = []fastsyn.Listener{{
			Addr: fmt.Sprintf(":%d", serverPort), Callbacks: cb, Gate: fastsyn.Gate{HalfOpen: r.cfg.ListenerHalfOpen},
		}}
	}
	ep, err := fastsyn.Open(c)
	if err != nil {
		return err
	}
	r.server = tcpEnd{ep}
	return nil
}

// serveHTTP sets our server up for transactions.
func (r *run) serveHTTP(c *fastsyn.Config) fastsyn.Callbacks {
	r.content = http1.FixedText(r.cfg.bodyLen())
	r.web = newHTTPServer(r.content, r.cfg.Workers)
	r.timeWait(c) // it is the first to close
	return r.web.callbacks()
}

func (r *run) openClient(_ context.Context, port dataplane.Port, info dataplane.Info) (err error) {
	opened := false // then it is the endpoint's to close
	defer func() {
		if err != nil && !opened {
			_ = port.Close()
		}
	}()
	cfg := &r.cfg
	ap := netip.MustParseAddrPort(cfg.Connect)
	r.job = &job{
		cfg: *cfg, workers: cfg.Workers, remote: wire.AddrFrom(ap.Addr()), port: ap.Port(),
		portName: cfg.Port, content: r.content, fail: make(chan error, 1),
	}
	c := r.settings(0)
	c.Device, c.Addrs, c.Pools, c.Gateways = port, cfg.Addrs, cfg.Pools, cfg.Gateways
	c.Engine.MaxFlows = cfg.clientFlows()
	if cfg.population() > 0 {
		c.Engine.DataRetries = probeRetries
	}
	if err = r.profiled(&c, info.MTU); err != nil {
		return err
	}
	r.timeWait(&c)
	if cfg.FastOpen {
		c.Engine.FastOpenCache = 1 << 14 // a source address of ours each
	}
	if err = cfg.kind().make(r, &c, info); err != nil {
		return err
	}
	opened = true
	ep, err := fastsyn.Open(c)
	if err != nil {
		return err
	}
	r.client = tcpEnd{ep}
	return nil
}

// timeWait says how long flows of an end that closes first are kept.
func (r *run) timeWait(c *fastsyn.Config) {
	c.Engine.TimeWait = -1
	if r.cfg.TimeWait > 0 {
		c.Engine.TimeWait = r.cfg.TimeWait
		c.Engine.MaxFlows = max(c.Engine.MaxFlows, 1<<18)
	}
}

func (r *run) makeClients(c *fastsyn.Config, info dataplane.Info) error {
	if err := r.makeOpeners(c, info, sources(r.cfg.Addrs, r.cfg.Pools, r.job.remote)); err != nil {
		return err
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(fastsyn.Source) }
	return nil
}

// makeOpeners makes a client of each worker, which open from these addresses.
func (r *run) makeOpeners(c *fastsyn.Config, info dataplane.Info, locals pool) error {
	picker, err := newPicker(info, r.cfg.portRanges...)
	if err != nil {
		return err
	}
	for i := range r.cfg.Workers {
		t, err := newTuples(picker, locals, r.job.remote, r.job.port, i, r.cfg.Seed)
		if err != nil {
			return err
		}
		g, err := r.cfg.kind().generator(r, i, t, c.Engine.MaxFlows)
		if err != nil {
			return err
		}
		b := g.base()
		if r.cfg.plan != nil {
			b.late = make([]uint32, c.Engine.MaxFlows+1)
			b.response, b.wait = newLatency(), newLatency()
		}
		if r.cfg.Close == CloseFIN {
			b.up = make([]bool, c.Engine.MaxFlows+1)
		}
		r.gens = append(r.gens, g)
	}
	return nil
}

func (r *run) makeFloods(c *fastsyn.Config, info dataplane.Info) error {
	floods, err := r.newFloods(r.job, info)
	if err != nil {
		return err
	}
	for _, f := range floods {
		r.gens = append(r.gens, f)
	}
	c.Source = func(i int) fastsyn.Source { return r.gens[i].(fastsyn.Source) }
	c.Raw = func(i int) fastsyn.Raw { return r.gens[i].(*flood) }
	return nil
}

// newFloods makes the flood of each worker, on the terms of j.
func (r *run) newFloods(j *job, info dataplane.Info) (out []*flood, err error) {
	var picker *rss.Picker
	if info.Queues > 1 || r.cfg.Ports != "" {
		if picker, err = newPicker(info, r.cfg.portRanges...); err != nil {
			return nil, err
		}
	}
	from, err := invented(j.cfg.Addrs, j.cfg.Pools, j.remote)
	if err != nil {
		return nil, err
	}
	for i := range r.cfg.Workers {
		if picker != nil && portsFor(picker, from, j.remote, j.port, i) == 0 {
			return nil, noPorts(j.remote, i)
		}
		f := newFlood(j, i, from, picker, r.cfg.Seed)
		f.shape = r.shape
		out = append(out, f)
	}
	return out, nil
}

// upTime is how long a link may take to come up, upRetry how often it is looked at.
const (
	upTime  = 10 * time.Second
	upRetry = 10 * time.Millisecond
)

// openEcho starts an echo on each queue of port, once the link is up: no ARP tells them when.
func (r *run) openEcho(ctx context.Context, port dataplane.Port, info dataplane.Info) (err error) {
	defer func() {
		if err != nil {
			_ = port.Close()
		}
	}()
	cfg := &r.cfg
	r.job = &job{cfg: *cfg, workers: cfg.Workers, portName: cfg.Port, fail: make(chan error, 1)}
	var peer net.HardwareAddr
	if r.server != nil {
		peer = r.server.Port().Info().MAC
	} else if peer, err = net.ParseMAC(cfg.PeerMAC); err != nil {
		return err
	}
	picker, err := newPicker(info)
	if err != nil {
		return err
	}
	var echoes []*echo
	for i := range cfg.Workers {
		e, err := newEcho(r.job, i, port.Queue(i), info.MAC, peer, picker)
		if err != nil {
			return err
		}
		echoes = append(echoes, e)
		r.gens = append(r.gens, e)
	}
	for end := time.Now().Add(upTime); !port.Info().Up; {
		if time.Now().After(end) {
			return fmt.Errorf("bench: the link of %s was not up within %v: is the peer running, and the other end of the cable up?", cfg.Port, upTime)
		}
		select {
		case <-time.After(upRetry):
		case <-ctx.Done():
			return errStopped
		}
	}
	r.client = startPollers(endNames[0], port, r.on[0], r.busy, func(i int) station { return echoes[i] })
	return nil
}

// drive waits for the phases of the generators.
func (r *run) drive(ctx context.Context, progress func(Progress)) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	for _, ep := range []end{r.client, r.server} {
		if ep != nil {
			go func() {
				if err := ep.Wait(watch); err != nil {
					failed <- err
				}
			}()
		}
	}
	stop := ctx.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var m Meter
	sending, draining := false, false
	wait := func(ch <-chan struct{}, timeout <-chan time.Time) (timedOut bool, err error) {
		for {
			select {
			case <-ch:
				return false, nil
			case <-timeout:
				return true, nil
			case err := <-r.job.fail:
				return false, err
			case err := <-failed:
				return false, err
			case <-stop:
				r.job.stop.Store(true)
				stop = nil
				if draining { // that is waiting, and no more
					return true, nil
				}
			case <-tick.C:
				if !sending {
					break
				}
				now := r.live.Read(0)
				r.rec.take(now, draining)
				if progress != nil {
					progress(m.Progress(now))
				}
			}
		}
	}
	for _, g := range r.gens {
		if _, err := wait(g.life().began, nil); err != nil {
			return err
		}
	}
	sending = true
	r.stage.enter(PhaseSending)
	tick.Reset(time.Second)
	r.before = r.stats()
	cpu := cpuTime()
	for _, g := range r.gens {
		if _, err := wait(g.life().sent, nil); err != nil {
			return err
		}
	}
	r.cpu = cpuTime() - cpu
	r.after = r.stats()
	r.rec.take(r.live.Read(0), false)
	draining = true
	if err := r.hold(wait); err != nil {
		return err
	}
	r.stage.enter(PhaseDraining)
	begin := time.Now()
	patience := r.cfg.Drain
	if r.job.stop.Load() && !r.cfg.drainGiven {
		patience = min(patience, DefaultDrain)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, g := range r.gens {
		late, err := wait(g.life().done, timeout.C)
		if err != nil {
			return err
		}
		if late {
			break
		}
	}
	select {
	case err := <-r.job.fail: // a generator that fails is also done
		return err
	default:
	}
	r.drained = time.Since(begin)
	return nil
}

func (r *run) stats() (s [2][]worker.Stats) {
	s[0] = r.client.Stats()
	if r.server != nil {
		s[1] = r.server.Stats()
	}
	return s
}

// stop ends the workers: the client's first, so that the server still takes
// what it sent last. All counters are final then.
func (r *run) stop() {
	r.client.Stop()
	if r.server != nil {
		sent := totals(r.client.Port())
		for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
			if totals(r.server.Port()).RxFrames >= sent.TxFrames-sent.TxErrors {
				break
			}
		}
		r.server.Stop()
	}
	r.final = r.stats()
	first, last := int64(math.MaxInt64), int64(0)
	for _, g := range r.gens {
		first, last = min(first, g.life().start), max(last, g.life().end)
	}
	r.took = time.Duration(max(0, last-first))
}

// totals are the counters of the device under all decorators, queues together.
func totals(p dataplane.Port) (s dataplane.Stats) {
	p = unwrap(p)
	for i := range p.Info().Queues {
		s.Add(p.Stats(i))
	}
	return s
}

func (r *run) close() {
	var errs []error
	for _, ep := range []end{r.client, r.server} {
		if ep != nil {
			errs = append(errs, ep.Close())
		}
	}
	_ = errors.Join(errs...) // what was measured is not less true for it
}
