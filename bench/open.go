package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

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
