package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	dialTimeout = 10 * time.Second
	// maxAhead is how many chunks of a backend may wait for its client beside what the
	// send buffer of the flow holds.
	maxAhead = 4
	// idleAfter is how long a read keeps a chunk without text.
	idleAfter = time.Second
)

// proxyApp joins each flow with a connection that the kernel makes to a backend. Text goes both
// ways, as do ends of it (half-close) and resets, and who does not read holds the other
// up: the window of the flow closes by what the backend has not taken yet, and a backend
// is not read from while maxAhead chunks wait for its client.
//
// A worker never waits for a backend: two goroutines per flow do. They and the worker hand
// chunks to each other without locks, see handover.
type proxyApp struct {
	backend string
	header  bool // PROXY protocol, version 2
	dialer  net.Dialer
	say     func(format string, args ...any)
	cores   perWorker[proxyCore]
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines

	// Chunks of backends: recycled, and as many in use as down has room for.
	chunks sync.Pool
	down   chan struct{}

	ctr  proxyCounters
	told [numDialErrors]sync.Once
}

// proxyCore is what belongs to one worker.
type proxyCore struct {
	pool             chunkPool // of text for backends
	bytesIn, written uint64    // text of clients; text of backends that a flow has taken
	noMemory         uint64
}

// dialError is why a backend could not be connected to.
type dialError uint8

const (
	dialRefused dialError = iota
	dialTimedOut
	dialUnreachable
	dialUnknownHost
	dialOther
	numDialErrors
)

var dialErrorNames = [numDialErrors]string{"backend_refused", "backend_timed_out", "backend_unreachable", "backend_unknown_host", "backend_failed"}

type proxyCounters struct {
	flows, connected, gone atomic.Uint64 // gone: the client, before the backend was there
	dial                   [numDialErrors]atomic.Uint64
	// How connections with a backend ended.
	done, clientLost, backendLost atomic.Uint64
	toBackend, fromBackend        atomic.Uint64 // bytes
}

func checkProxy(o *serveFlags, arg string) error {
	if err := oneOf("proxy-protocol", o.proxyProtocol, "off", "v2"); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(arg)
	if err == nil && host == "" {
		err = errors.New("the host is missing")
	}
	if n, e := strconv.ParseUint(port, 10, 16); err == nil && (e != nil || n == 0) {
		err = errors.New("want a port from 1 to 65535 after the colon")
	}
	if err != nil {
		return usagef("--app proxy=%s: %w; write HOST:PORT, such as 127.0.0.1:8080 or [::1]:22", arg, err)
	}
	return nil
}

func openProxy(o *serveFlags, arg string, env appEnv) (app, error) {
	a := &proxyApp{
		backend: arg, header: o.proxyProtocol == "v2", dialer: net.Dialer{Timeout: dialTimeout}, say: env.say,
		cores: newPerWorker[proxyCore](env.workers), chunks: sync.Pool{New: func() any { return new(chunk) }},
		down: make(chan struct{}, env.workers*chunksFor(&o.cfg.Flow)),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	for _, c := range a.cores {
		c.pool.limit = chunksFor(&o.cfg.Flow)
	}
	return a, nil
}

func (a *proxyApp) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{Established: a.established, Data: a.data, Writable: a.writable, PeerClosed: a.peerClosed, Closed: a.closed}
}

func (a *proxyApp) established(f *fastsyn.Flow) {
	p := &proxied{app: a, core: a.cores.of(f), worker: f.Worker(), id: f.ID(), kick: make(chan struct{}, 1), credit: make(chan struct{}, 1)}
	if a.header {
		info := f.Info()
		p.header = proxyHeader(&info)
	}
	p.taken.p, p.arrived.p, p.failed.p = p, p, p
	p.ctx, p.cancel = context.WithCancel(a.ctx)
	f.SetValue(p)
	a.ctr.flows.Add(1)
	a.running.Go(p.run)
}

func (a *proxyApp) data(f *fastsyn.Flow, text []byte) {
	p, _ := f.Value().(*proxied)
	if p == nil {
		return
	}
	p.core.bytesIn += uint64(len(text))
	if !p.up.add(&p.core.pool, text) {
		p.core.noMemory++
		f.Abort()
		p.leave()
		return
	}
	f.Hold(len(text))
	wake(p.kick)
}

func (a *proxyApp) writable(f *fastsyn.Flow) {
	if p, _ := f.Value().(*proxied); p != nil {
		p.pump(f)
	}
}

func (a *proxyApp) peerClosed(f *fastsyn.Flow) {
	if p, _ := f.Value().(*proxied); p != nil {
		p.upEOF.Store(true)
		wake(p.kick)
	}
}

func (a *proxyApp) closed(f *fastsyn.Flow, why fastsyn.CloseReason) {
	p, _ := f.Value().(*proxied)
	// After FINs both ways the backend may not have all of it yet: run sees to that.
	if p != nil && why != handshake.ReasonDone {
		p.leave()
	}
}

// dialFailed counts an error of the dialer, and tells people of the first of its kind.
func (a *proxyApp) dialFailed(err error) {
	kind := dialOther
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		kind = dialRefused
	case errors.As(err, &dns) && !dns.IsTimeout:
		kind = dialUnknownHost
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), dns != nil:
		kind = dialTimedOut
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		kind = dialUnreachable
	}
	a.ctr.dial[kind].Add(1)
	a.told[kind].Do(func() {
		a.say("proxy: %v; the client is reset, and this and the next such flows are counted in application.%s", err, dialErrorNames[kind])
	})
}

func (a *proxyApp) counts(worker int) map[string]uint64 {
	core := a.cores[worker]
	m := map[string]uint64{
		"bytes_from_client": core.bytesIn, "bytes_to_client": core.written, "reset_no_memory": core.noMemory,
		"chunks_from_client_high": uint64(core.pool.high), "chunks_from_client_now": uint64(core.pool.used),
	}
	if worker == 0 {
		maps.Copy(m, a.ctr.counts())
		m["chunks_from_backend_now"] = uint64(len(a.down))
	}
	return m
}

// counts are those that workers share.
func (c *proxyCounters) counts() map[string]uint64 {
	m := map[string]uint64{
		"flows": c.flows.Load(), "backend_connected": c.connected.Load(), "client_gone_early": c.gone.Load(),
		"done": c.done.Load(), "client_lost": c.clientLost.Load(), "backend_lost": c.backendLost.Load(),
		"bytes_to_backend": c.toBackend.Load(), "bytes_from_backend": c.fromBackend.Load(),
	}
	for i := range c.dial {
		m[dialErrorNames[i]] = c.dial[i].Load()
	}
	return m
}

func (a *proxyApp) sums(s *flow.Counters) string {
	m := allCounts(a, len(a.cores))
	dialed := m["backend_connected"] + m["client_gone_early"]
	for _, name := range dialErrorNames {
		dialed += m[name]
	}
	check := func(ok bool, equation string) string {
		if ok {
			return ""
		}
		return equation
	}
	return cmp.Or(
		check(m["flows"] == dialed, "proxied flows = connected + client gone early + sum of failures"),
		check(m["backend_connected"] == m["done"]+m["client_lost"]+m["backend_lost"], "connected = done + client lost + backend lost"),
		// A flow that is reset amid a block of text is not told the rest of it.
		check(m["bytes_from_client"] == s.BytesIn || m["bytes_from_client"] < s.BytesIn && m["reset_no_memory"] > 0, "bytes from clients = bytes of text in order"),
		check(m["bytes_to_client"] == s.BytesOut, "bytes to clients = bytes written to streams"),
		check(m["bytes_to_backend"] <= m["bytes_from_client"], "bytes to backends <= bytes from clients"),
		check(m["bytes_to_client"] <= m["bytes_from_backend"], "bytes to clients <= bytes from backends"),
	)
}

// close ends what goes on with backends, as a reset.
func (a *proxyApp) close() {
	a.cancel()
	a.running.Wait()
}

// wake puts the token into c, if it is not there.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
