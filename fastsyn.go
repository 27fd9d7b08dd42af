package fastsyn

import (
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
			ID: i, Port: port, Net: ep.net, Engine: cfg.Engine, Hasher: hasher, Ring: ep.ring,
			Polling: cfg.Polling, CPU: -1, Logger: cfg.Logger,
		}
		if i < len(cpus) {
			wc.CPU = cpus[i]
		}
		if cfg.Source != nil {
			wc.Source = cfg.Source(i)
		}
		if cfg.Raw != nil {
			wc.Raw = cfg.Raw(i)
		}
		w, err := worker.New(wc)
		if err != nil {
			return nil, fmt.Errorf("fastsyn: %w", err)
		}
		ep.workers = append(ep.workers, w)
	}
	for _, l := range cfg.Listeners {
		// Nobody runs the workers yet, so their functions are called right here.
		if err := ep.handle(l.Addr, l.Callbacks, func(_ *Worker, fn func()) error { fn(); return nil }); err != nil {
			return nil, err
		}
	}
	for _, w := range ep.workers {
		go w.Run()
	}
	ep.control.Go(ep.rotate)
	return ep, nil
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
	return ep.handle(addr, cb, (*Worker).Do)
}

// handle runs the registration on each worker by way of do.
func (ep *Endpoint) handle(addr string, cb Callbacks, do func(w *Worker, fn func()) error) error {
	ap, err := ParseListen(addr)
	if err != nil {
		return err
	}
	var local wire.Addr
	if ap.Addr().IsValid() && !ap.Addr().IsUnspecified() {
		local = wire.AddrFrom(ap.Addr())
		if !ep.net.Owns(local) {
			return fmt.Errorf("fastsyn: listen address %s: %v is not an address of this endpoint", addr, ap.Addr())
		}
	}
	for _, w := range ep.workers {
		var err error
		if e := do(w, func() {
			var app uint16
			if app, err = w.AddApp(cb); err == nil {
				err = w.Listen(local, ap.Port(), app)
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
