package fastsyn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/rss"
)

const (
	// portTries is how many source ports one run of an attempt looks at.
	portTries = 1024
	// hopCheck is how often an attempt looks whether its next hop has been given up.
	hopCheck = 500 * time.Millisecond
)

// Dial is DialContext without a bound other than that of the SYNs (Config.Engine.Retry).
func (ep *Endpoint) Dial(network, addr string) (net.Conn, error) {
	return ep.DialContext(context.Background(), network, addr)
}

// DialContext opens a connection to addr, "10.0.0.9:80" or "www.example.com:https", and
// returns a *Conn; http.Transport.DialContext takes it. network is "tcp", "tcp4" or
// "tcp6". Names are resolved by net.DefaultResolver; their addresses are tried in turn,
// each for its share of the time that ctx leaves. Our end is the first of
// Config.Addrs of the same family, with a port from 32768 to 60999.
//
// Errors are *net.OpError as of package net: they wrap ECONNREFUSED, ETIMEDOUT,
// EHOSTUNREACH (also when nobody answers for the next hop), ENETUNREACH (no route),
// EADDRNOTAVAIL (all ports are in use), or match the error of ctx.
func (ep *Endpoint) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := ep.resolve(ctx, network, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: contextError(err)}
	}
	var first error
	for i, ap := range to {
		c, err := ep.dialInTime(ctx, ap, len(to)-i)
		if err == nil {
			return c, nil
		}
		if first == nil || ctx.Err() != nil {
			first = &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(ap), Err: contextError(err)}
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// resolve lists the addresses to try.
func (ep *Endpoint) resolve(ctx context.Context, network, addr string) ([]netip.AddrPort, error) {
	family, ok := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	if !ok {
		return nil, net.UnknownNetworkError(network)
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return nil, &net.AddrError{Err: "missing host: this endpoint has no loopback", Addr: addr}
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, family, host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips {
		ip = ip.Unmap()
		if _, ok := ep.net.Source(wire.AddrFrom(ip)); ok {
			out = append(out, netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	if len(out) == 0 {
		return nil, &net.AddrError{Err: "this endpoint has no address of its family", Addr: host}
	}
	return out, nil
}

// dialInTime dials with the share of the time left that one of n addresses gets, as
// package net does: an address that does not answer must not use up all of it.
func (ep *Endpoint) dialInTime(ctx context.Context, ap netip.AddrPort, n int) (*Conn, error) {
	if end, ok := ctx.Deadline(); ok && n > 1 {
		const atLeast = 2 * time.Second
		left := time.Until(end)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, min(left, max(left/time.Duration(n), atLeast)))
		defer cancel()
	}
	return ep.dial(ctx, ap)
}

// dial opens a connection on one of the workers.
func (ep *Endpoint) dial(ctx context.Context, ap netip.AddrPort) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ports, err := ep.conns.ports()
	if err != nil {
		return nil, err
	}
	d := destination{remote: wire.AddrFrom(ap.Addr()), port: ap.Port()}
	d.local, _ = ep.net.Source(d.remote)
	if _, ok := ep.net.NextHop(d.remote); !ok {
		return nil, os.NewSyscallError("connect", syscall.ENETUNREACH)
	}
	err = os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)
	first := int(ep.conns.counter.Add(1))
	for i := range ep.conns.cores {
		queue := (first + i) % len(ep.conns.cores)
		a := &attempt{
			core: ep.conns.cores[queue], walk: ports.walk(d, queue), done: make(chan error, 1), more: make(chan struct{}, 1),
			tuple: wire.Tuple{Remote: d.remote, RemotePort: d.port, Local: d.local},
		}
		c, e := a.run(ctx)
		if !errors.Is(e, syscall.EADDRNOTAVAIL) {
			return c, e
		}
		err = e
	}
	return nil, err
}

// attempt is one dial on one worker, and the task that begins and ends it there.
type attempt struct {
	core   *core
	tuple  wire.Tuple
	walk   rss.Walk
	done   chan error // once
	posted atomic.Bool
	quit   atomic.Bool   // nobody waits any more
	more   chan struct{} // open has not come to an end yet

	// Of the worker, until done.
	id     FlowID
	opened bool
	over   bool
	conn   *Conn
}

// run waits for the end of the attempt.
func (a *attempt) run(ctx context.Context) (*Conn, error) {
	a.post()
	tick := time.NewTimer(hopCheck)
	defer tick.Stop()
	for {
		select {
		case err := <-a.done:
			if err == nil && ctx.Err() != nil {
				a.conn.abort()
				return nil, ctx.Err()
			}
			return a.conn, err
		case <-ctx.Done():
			a.quit.Store(true)
			a.post()
			return nil, ctx.Err()
		case <-a.core.w.Done():
			return nil, net.ErrClosed
		case <-a.more:
			a.post()
		case <-tick.C:
			a.post()
			tick.Reset(hopCheck)
		}
	}
}

func (a *attempt) post() {
	if a.posted.CompareAndSwap(false, true) {
		a.core.w.Post(a) // when the worker has ended, run sees that
	}
}

// goOn has run post again, when the worker has come round.
func (a *attempt) goOn() {
	select {
	case a.more <- struct{}{}:
	default:
	}
}

func (a *attempt) finish(err error) {
	if !a.over {
		a.over = true
		a.done <- err
	}
}

// Run takes the attempt a step further, on the worker.
func (a *attempt) Run(w *Worker) {
	a.posted.Store(false)
	switch {
	case a.quit.Load():
		a.giveUp(w)
		a.over = true
	case a.over:
	case !a.opened:
		a.open(w)
	default: // a SYN that waits for its next hop, or was sent
		if _, failed, _ := w.Resolve(a.tuple.Remote); failed {
			a.giveUp(w)
			a.finish(os.NewSyscallError("connect", syscall.EHOSTUNREACH))
		}
	}
}

// giveUp ends what has been begun.
func (a *attempt) giveUp(w *Worker) {
	switch {
	case a.conn != nil:
		a.conn.abort()
	case a.opened && !a.over:
		delete(a.core.dials, a.id)
		w.Abort(a.id)
	}
}

// open sends the SYN from the first port that is free.
func (a *attempt) open(w *Worker) {
	app, err := a.core.register()
	if err != nil {
		a.finish(err)
		return
	}
	for range portTries {
		port, ok := a.walk.Next()
		if !ok {
			a.finish(os.NewSyscallError("connect", syscall.EADDRNOTAVAIL))
			return
		}
		a.tuple.LocalPort = port
		a.id, err = w.Connect(&a.tuple, app)
		switch {
		case err == nil:
			a.opened = true
			a.core.dials[a.id] = a
			return
		case errors.Is(err, handshake.ErrTupleInUse):
			continue
		case errors.Is(err, handshake.ErrOutputFull):
			a.goOn()
			return
		case errors.Is(err, handshake.ErrTableFull):
			err = os.NewSyscallError("connect", syscall.ENOBUFS)
		case errors.Is(err, handshake.ErrUnreachable):
			err = os.NewSyscallError("connect", syscall.ENETUNREACH)
		}
		a.finish(err)
		return
	}
	a.goOn() // after what else the worker has to do
}

// dialError is the end of an attempt as connect(2) reports it.
func dialError(why CloseReason) error {
	errno := flowError(why)
	if why == handshake.ReasonReset {
		errno = syscall.ECONNREFUSED
	}
	return os.NewSyscallError("connect", errno)
}

// contextError is an error of a context as package net reports it: it still matches.
func contextError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return errCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return errTimeout
	}
	return err
}

var (
	errCanceled error = &dialEnd{"operation was canceled", context.Canceled, false}
	errTimeout  error = &dialEnd{"i/o timeout", context.DeadlineExceeded, true}
)

// dialEnd is what ctx did to a dial.
type dialEnd struct {
	text    string
	of      error
	timeout bool
}

func (e *dialEnd) Error() string        { return e.text }
func (e *dialEnd) Is(target error) bool { return errors.Is(e.of, target) }

// Timeout is for net.Error.
func (e *dialEnd) Timeout() bool { return e.timeout }

// Temporary is for net.Error, where a timeout is temporary.
func (e *dialEnd) Temporary() bool { return e.Timeout() }
