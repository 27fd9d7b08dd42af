package fastsyn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"

	// The drivers that every build has.
	_ "github.com/fastsyn/fastsyn/dataplane/afpacket"
	_ "github.com/fastsyn/fastsyn/dataplane/dpdk"
	_ "github.com/fastsyn/fastsyn/dataplane/impair"
	_ "github.com/fastsyn/fastsyn/dataplane/loop"
)

// Endpoint is an opened port with its workers running.
type Endpoint struct {
	port    dataplane.Port
	net     *worker.Net
	ring    *cookie.Ring
	workers []*worker.Worker
	quit    chan struct{}
	control sync.WaitGroup
	closing sync.Once
	closed  error
	conns   *conns
}

// Open opens the port and starts one worker per queue.
func Open(cfg Config) (*Endpoint, error) {
	port := cfg.Device
	if port == nil {
		if cfg.Port == "" {
			return nil, errors.New("fastsyn: no port: give a port string, such as loop: or afpacket:veth0")
		}
		var err error
		if port, err = dataplane.Open(cfg.Port); err != nil {
			return nil, fmt.Errorf("fastsyn: %w", err)
		}
	}
	ep, err := open(cfg, port)
	if err != nil {
		_ = port.Close()
		return nil, err
	}
	return ep, nil
}

func open(cfg Config, port dataplane.Port) (_ *Endpoint, err error) {
	info := port.Info()
	ep := &Endpoint{port: port, quit: make(chan struct{})}
	if ep.net, err = cfg.net(info.MAC); err != nil {
		return nil, err
	}
	if info.Kernel {
		if err := cfg.checkKernel(); err != nil {
			return nil, err
		}
	}
	if cfg.Engine.MTU == 0 {
		cfg.Engine.MTU = info.MTU
	}
	if !cfg.Secret.IsSet() {
		cfg.Secret = cookie.RandomSecret()
	}
	if ep.ring, err = cookie.NewRing(cfg.Secret, time.Now(), cookie.RingConfig{Epoch: cfg.CookieEpoch, FastOpen: cfg.FastOpen}); err != nil {
		return nil, fmt.Errorf("fastsyn: %w", err)
	}
	defer func() {
		if err != nil {
			for _, w := range ep.workers {
				_ = w.Free()
			}
		}
	}()
	cpus := cfg.CPUs
	if cpus == nil {
		cpus = info.CPUs
	}
	for i := range info.Queues {
		// Tables, sequence numbers and timestamp offsets agree on all workers.
		hasher, err := cfg.Secret.Hasher()
		if err != nil {
			return nil, fmt.Errorf("fastsyn: %w", err)
		}
		wc := worker.Config{
			ID: i, Port: port, Net: ep.net, Engine: cfg.Engine, Flow: cfg.Flow, Hasher: hasher, Ring: ep.ring,
			Polling: cfg.Polling, CPU: -1, Role: cmp.Or(cfg.Role, "endpoint"), Logger: cfg.Logger, CallbackBudget: cfg.CallbackBudget,
			Shape: cfg.Shape,
		}
		if i < len(cpus) {
			wc.CPU = cpus[i]
		}
		if cfg.Source != nil {
			wc.Source = cfg.Source(i)
		}
		if cfg.Raw != nil {
			wc.Raw, wc.RawAddrs = cfg.Raw(i), cfg.RawAddrs
		}
		w, err := worker.New(wc)
		if err != nil {
			return nil, fmt.Errorf("fastsyn: %w", err)
		}
		ep.workers = append(ep.workers, w)
	}
	ep.conns = ep.newConns(cfg)
	for _, l := range cfg.Listeners {
		// Nobody runs the workers yet, so their functions are called right here.
		if err := ep.handle(l, func(_ *Worker, fn func()) error { fn(); return nil }); err != nil {
			return nil, err
		}
	}
	if err := ep.detect(cfg, info); err != nil {
		return nil, err
	}
	for _, w := range ep.workers {
		go w.Run()
	}
	for _, k := range ep.conns.cores {
		ep.control.Go(func() { ep.conns.watch(k) })
	}
	ep.control.Go(ep.rotate)
	return ep, nil
}

// detect finds out whether another host has our addresses.
func (ep *Endpoint) detect(cfg Config, info dataplane.Info) error {
	wait := cfg.DAD
	if wait == 0 && info.Driver != "loop" {
		wait = time.Second
	}
	switch {
	case wait <= 0:
		return nil
	case !info.Up:
		if cfg.Logger != nil {
			cfg.Logger.Warn("link is down: not asked whether another host has our addresses", "port", info.Name)
		}
		return nil
	}
	if err := worker.Detect(ep.workers, wait); err != nil {
		return fmt.Errorf("fastsyn: %w", err)
	}
	return nil
}

// rotate publishes cookie keys as their epochs come.
func (ep *Endpoint) rotate() {
	for {
		next := ep.ring.Advance(time.Now())
		select {
		case <-ep.quit:
			return
		case <-time.After(max(time.Until(next), time.Millisecond)):
		}
	}
}

// Info describes the port.
func (ep *Endpoint) Info() dataplane.Info { return ep.port.Info() }

// Port returns the port, for what only its driver can tell.
func (ep *Endpoint) Port() dataplane.Port { return ep.port }

// Net returns the addresses and neighbours of the endpoint.
func (ep *Endpoint) Net() *worker.Net { return ep.net }

// Workers returns the workers, one per queue.
func (ep *Endpoint) Workers() []*Worker { return ep.workers }

// Handle accepts connections to addr (":80", "10.0.0.2:80") with cb, on every worker.
// Until it returns, segments to addr are answered by resets; Config.Listeners has no such gap.
func (ep *Endpoint) Handle(addr string, cb Callbacks) error {
	return ep.handle(Listener{Addr: addr, Callbacks: cb}, (*Worker).Do)
}

// Unhandle ends what Handle or Config.Listeners began with the same addr, on every worker:
// opens that are not finished are forgotten, later segments to addr are answered by
// resets. Flows that are established keep their callbacks until they close.
func (ep *Endpoint) Unhandle(addr string) error {
	local, port, err := ep.listenAddr(addr)
	if err != nil {
		return err
	}
	for _, w := range ep.workers {
		if e := w.Do(func() { err = w.Unlisten(local, port) }); e != nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("fastsyn: unlisten %s: %w", addr, err)
		}
	}
	return nil
}

// listenAddr reads an address of Handle; a zero local is any of ours.
func (ep *Endpoint) listenAddr(addr string) (local wire.Addr, port uint16, err error) {
	ap, err := ParseListen(addr)
	if err != nil {
		return local, 0, err
	}
	if ap.Addr().IsValid() && !ap.Addr().IsUnspecified() {
		local = wire.AddrFrom(ap.Addr())
		if !ep.net.Owns(local) {
			return local, 0, fmt.Errorf("fastsyn: listen address %s: %v is not an address of this endpoint", addr, ap.Addr())
		}
	}
	return local, ap.Port(), nil
}

// handle runs the registration on each worker by way of do.
func (ep *Endpoint) handle(l Listener, do func(w *Worker, fn func()) error) error {
	addr := l.Addr
	local, port, err := ep.listenAddr(addr)
	if err != nil {
		return err
	}
	for _, w := range ep.workers {
		var err error
		if e := do(w, func() {
			var app uint16
			if app, err = w.AddApp(l.Callbacks); err == nil {
				err = w.Listen(local, port, app)
			}
			if err == nil && l.Gate != (Gate{}) {
				err = w.SetGate(local, port, l.Gate)
			}
		}); e != nil {
			err = e
		}
		if err != nil {
			return fmt.Errorf("fastsyn: listen on %s: %w", addr, err)
		}
	}
	return nil
}

// Stats returns a snapshot of every worker.
func (ep *Endpoint) Stats() []worker.Stats {
	out := make([]worker.Stats, len(ep.workers))
	for i, w := range ep.workers {
		out[i] = w.Stats()
	}
	return out
}

// Wait blocks until ctx is done (nil) or a worker fails (its error).
func (ep *Endpoint) Wait(ctx context.Context) error {
	failed := make(chan error, len(ep.workers))
	stop := make(chan struct{})
	defer close(stop)
	for _, w := range ep.workers {
		go func() {
			select {
			case <-w.Done():
				failed <- w.Err()
			case <-stop:
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// Stop ends the workers and keeps their counters readable. Flows are not told.
func (ep *Endpoint) Stop() {
	for _, w := range ep.workers {
		w.Stop()
	}
	for _, w := range ep.workers {
		<-w.Done()
	}
}

// Close stops the workers, frees their memory and closes the port.
func (ep *Endpoint) Close() error {
	ep.closing.Do(func() {
		close(ep.quit)
		ep.Stop()
		ep.control.Wait()
		errs := []error{}
		for _, w := range ep.workers {
			errs = append(errs, w.Free())
		}
		ep.closed = errors.Join(append(errs, ep.port.Close())...)
	})
	return ep.closed
}
