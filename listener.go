package fastsyn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// What 0 means for Config.Backlog and Config.ReadMemory.
const (
	defaultBacklog    = 1024
	defaultReadMemory = 256 << 20
)

// listener is a net.Listener: an accept queue that the workers fill.
type listener struct {
	ep      *Endpoint
	network string
	addr    net.TCPAddr
	keys    []listenKey

	mu         sync.Mutex
	waiting    sync.Cond
	head, tail *Conn // established and not accepted, linked by qnext
	deadline   deadline
	err        error // no more Accepts
}

// Listen returns a net.Listener whose Accept returns *Conn, so that http.Serve(ln, h) and
// the like work. network is "tcp", "tcp4" or "tcp6"; addr is ":80", "10.0.0.2:80" or
// "[2001:db8::1]:80", and port 0 chooses one. With "tcp4" or "tcp6" and no address it
// listens on each of Config.Addrs of that family, but not on Config.Pools.
//
// Up to Config.Backlog connections per worker wait for Accept. When they are that many,
// new SYNs are dropped, as in Linux. Not from a callback: it waits for the workers.
func (ep *Endpoint) Listen(network, addr string) (net.Listener, error) {
	l := &listener{ep: ep, network: network}
	l.waiting.L = &l.mu
	if err := l.open(addr); err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: l.tcpAddr(), Err: err}
	}
	return l, nil
}

// tcpAddr is the address, a nil interface if there is none yet.
func (l *listener) tcpAddr() net.Addr {
	if l.addr.IP == nil {
		return nil
	}
	return &l.addr
}

func (l *listener) open(addr string) error {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	port, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", service)
	if err != nil {
		return err
	}
	locals, ip, err := l.ep.locals(l.network, host)
	if err != nil {
		return err
	}
	l.addr = net.TCPAddr{IP: ip.AsSlice(), Port: port}
	if port != 0 {
		return l.listen(locals, uint16(port))
	}
	set := uint32(lastEphemeral - firstEphemeral + 1)
	start := l.ep.conns.counter.Add(1) + uint32(time.Now().UnixNano()>>10)
	for i := range set {
		p := firstEphemeral + (start+i)%set
		if err = l.listen(locals, uint16(p)); !errors.Is(err, syscall.EADDRINUSE) {
			l.addr.Port = int(p)
			return err
		}
	}
	return err
}

// locals are the addresses to register for a host, the zero one for any, and what the
// listener says its address is.
func (ep *Endpoint) locals(network, host string) (out []wire.Addr, ip netip.Addr, err error) {
	want4, want6 := network == "tcp" || network == "tcp4", network == "tcp" || network == "tcp6"
	if !want4 && !want6 {
		return nil, ip, net.UnknownNetworkError(network)
	}
	if host != "" {
		if ip, err = netip.ParseAddr(host); err != nil {
			return nil, ip, &net.AddrError{Err: "want an IP address of this endpoint, or none for all", Addr: host}
		}
		ip = ip.Unmap()
		if (ip.Is4() && !want4) || (!ip.Is4() && !want6) {
			return nil, ip, &net.AddrError{Err: "no address of " + network, Addr: host}
		}
	}
	switch {
	case ip.IsValid() && !ip.IsUnspecified():
		a := wire.AddrFrom(ip)
		if !ep.net.Owns(a) {
			return nil, ip, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
		}
		return []wire.Addr{a}, ip, nil
	case network == "tcp" && !(ip.IsValid() && ip.Is4()): // both, as with a socket of IPv6
		return []wire.Addr{{}}, netip.IPv6Unspecified(), nil
	}
	if ip = netip.IPv6Unspecified(); network != "tcp6" {
		ip = netip.IPv4Unspecified()
	}
	for _, a := range ep.net.Addrs() {
		if a.Is4() == ip.Is4() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, ip, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	return out, ip, nil
}

// listen registers l on every worker, or on none.
func (l *listener) listen(locals []wire.Addr, port uint16) error {
	l.keys = l.keys[:0]
	for _, a := range locals {
		l.keys = append(l.keys, listenKey{a, port})
	}
	if !l.ep.conns.add(l) {
		return net.ErrClosed
	}
	for _, k := range l.ep.conns.cores {
		var err error
		if k.w.Do(func() { err = k.listen(l) }) != nil {
			err = net.ErrClosed
		}
		if err != nil {
			l.ep.conns.remove(l)
			l.unlisten()
			if errors.Is(err, handshake.ErrListenerExists) {
				err = os.NewSyscallError("bind", syscall.EADDRINUSE)
			}
			return err
		}
	}
	return nil
}

func (k *core) listen(l *listener) error {
	app, err := k.register()
	if err != nil {
		return err
	}
	for _, key := range l.keys {
		if err := k.w.Listen(key.local, key.port, app); err != nil {
			return err
		}
		k.listeners[key] = l
		if err := k.w.SetGate(key.local, key.port, Gate{Backlog: l.ep.conns.backlog}); err != nil {
			return err
		}
	}
	return nil
}

// unlisten undoes listen, as far as that came.
func (l *listener) unlisten() {
	for _, k := range l.ep.conns.cores {
		_ = k.w.Do(func() {
			for _, key := range l.keys {
				if k.listeners[key] == l {
					delete(k.listeners, key)
					_ = k.w.Unlisten(key.local, key.port) // it is there
				}
			}
		})
	}
}

// Accept returns the next connection, a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	for l.head == nil || l.err != nil || l.deadline.passed {
		err := l.err
		if err == nil && l.deadline.passed {
			err = os.ErrDeadlineExceeded
		}
		if err != nil {
			l.mu.Unlock()
			return nil, l.opError("accept", err)
		}
		l.waiting.Wait()
	}
	c := l.head
	l.unlink(c)
	l.mu.Unlock()
	c.mu.Lock()
	c.ops |= opTake
	c.postAndUnlock()
	return c, nil
}

// SetDeadline has Accept fail from t on; see Conn.SetReadDeadline.
func (l *listener) SetDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.opError("set", l.err)
	}
	l.deadline.set(t, &l.mu, &l.waiting)
	return nil
}

// Close ends listening, and resets the connections that nobody has accepted.
func (l *listener) Close() error {
	if !l.shut(net.ErrClosed) {
		return l.opError("close", net.ErrClosed)
	}
	l.ep.conns.remove(l)
	l.unlisten()
	return nil
}

// Addr returns the address, a *net.TCPAddr.
func (l *listener) Addr() net.Addr { return &l.addr }

func (l *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: l.network, Addr: &l.addr, Err: err}
}

// shut has Accept return err, and reports whether nothing else did yet.
func (l *listener) shut(err error) bool {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return false
	}
	l.err = err
	l.deadline.stop()
	l.waiting.Broadcast()
	var left []*Conn
	for l.head != nil {
		left = append(left, l.head)
		l.unlink(l.head)
	}
	l.mu.Unlock()
	for _, c := range left {
		c.abort()
	}
	return true
}

// push queues c, unless l is closed. On the worker.
func (l *listener) push(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false
	}
	c.queue, c.accept = l, l
	if c.qprev = l.tail; c.qprev == nil {
		l.head = c
	} else {
		c.qprev.qnext = c
	}
	l.tail = c
	l.waiting.Signal()
	return true
}

// unlink takes c out of the queue. The caller holds the mutex.
func (l *listener) unlink(c *Conn) {
	if c.qprev == nil {
		l.head = c.qnext
	} else {
		c.qprev.qnext = c.qnext
	}
	if c.qnext == nil {
		l.tail = c.qprev
	} else {
		c.qnext.qprev = c.qprev
	}
	c.queue, c.qprev, c.qnext = nil, nil, nil
}

// leaveQueue takes c, which has ended, out of the accept queue if it is there: that peers
// come and go again must not make it grow.
func (c *Conn) leaveQueue() {
	l := c.accept
	if l == nil {
		return
	}
	l.mu.Lock()
	if c.queue == l {
		l.unlink(c)
	}
	l.mu.Unlock()
}
