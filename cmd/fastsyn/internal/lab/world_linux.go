package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/netlab"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// The ports of all scenarios, so that what is printed looks alike.
const (
	serverPort = 80
	closedPort = 81
	clientPort = 40000
)

// setup is what a scenario wants of a world.
type setup struct {
	engine  handshake.Config
	listen  *app          // fastsyn serves it on serverPort; nil: fastsyn does not listen
	server  bool          // fastsyn is the server though it does not listen
	port    uint16        // of the server; 0: serverPort
	rtt     time.Duration // half of it each way; 0: as fast as the wire is
	remote  netip.Addr    // where the server is, if neither end has its address
	sysctls [][2]string   // of the kernel
}

// world is a lab with both ends in it and both captures running. After the first error
// its methods do nothing; err tells it.
type world struct {
	ctx context.Context
	err error

	lab           *netlab.Lab
	tap           *tap
	sniff         *sniffer
	ep            *fastsyn.Endpoint
	fast, kernel  netip.AddrPort // both ends of the connection that is drawn
	fastIsServer  bool
	listening     bool // fastsyn on serverPort
	kernelListens bool
	seen          []observation
	sockets       []*socket
}

// observation is what both ends were in at a moment.
type observation struct {
	at           time.Time
	fast, kernel string
}

func newWorld(ctx context.Context, s setup) *world {
	w := &world{ctx: ctx, fastIsServer: s.listen != nil || s.server, listening: s.listen != nil}
	w.err = w.open(s)
	return w
}

func (w *world) open(s setup) (err error) {
	// What one connection teaches the kernel must not show in the next.
	sysctls := append([][2]string{{"net.ipv4.tcp_no_metrics_save", "1"}}, s.sysctls...)
	if w.lab, err = netlab.New(netlab.Config{Sysctls: sysctls}); err != nil {
		return err
	}
	fastPort, kernelPort := uint16(clientPort), cmp.Or(s.port, serverPort)
	if w.fastIsServer {
		fastPort, kernelPort = kernelPort, fastPort
	}
	w.fast, w.kernel = netip.AddrPortFrom(w.lab.Addr4.Addr(), fastPort), netip.AddrPortFrom(w.lab.PeerAddr4.Addr(), kernelPort)
	if s.remote.IsValid() && w.fastIsServer {
		w.fast = netip.AddrPortFrom(s.remote, w.fast.Port())
	} else if s.remote.IsValid() {
		w.kernel = netip.AddrPortFrom(s.remote, w.kernel.Port())
	}
	w.peer(func() error { w.sniff, err = newSniffer(w.lab.PeerIf); return err })
	port := "afpacket:" + w.lab.If
	if s.rtt > 0 {
		port = fmt.Sprintf("impair(delay=%v,dir=both):%s", s.rtt/2, port)
	}
	cfg := fastsyn.Config{
		Addrs: []string{w.lab.Addr4.String()}, Gateways: []string{w.lab.PeerAddr4.Addr().String()},
		Engine: s.engine, DAD: -1, CPUs: []int{},
	}
	cfg.Engine.MaxFlows = max(cfg.Engine.MaxFlows, 4096, 2*cfg.Engine.MaxHalfOpen)
	if s.listen != nil {
		cfg.Listeners = []fastsyn.Listener{{Addr: fmt.Sprintf(":%d", serverPort), Callbacks: s.listen.callbacks()}}
	}
	w.in(w.lab.NS, func() error {
		inner, err := dataplane.Open(port)
		if err != nil {
			return err
		}
		w.tap = newTap(inner)
		cfg.Device = w.tap
		w.ep, err = fastsyn.Open(cfg) // closes the device if it fails
		return err
	})
	w.neighbours()
	return w.err
}

// neighbours makes both ends know each other's MAC address, so that what is measured and drawn is
// TCP alone.
func (w *world) neighbours() {
	if w.err != nil {
		return
	}
	w.until("fastsyn knows the MAC address of its peer", func() (known bool) {
		w.worker(func(fw *fastsyn.Worker) error {
			var err error
			known, _, err = fw.Resolve(wire.AddrFrom(w.lab.PeerAddr4.Addr()))
			return err
		})
		return known
	})
	w.ip("-n", w.lab.PeerNS, "neigh", "replace", w.lab.Addr4.Addr().String(), "lladdr", w.lab.MAC.String(), "nud", "permanent", "dev", w.lab.PeerIf)
}

// close ends all of it.
func (w *world) close() error {
	var errs []error
	for _, s := range w.sockets {
		s.close()
	}
	if w.ep != nil {
		errs = append(errs, w.ep.Close())
	}
	if w.sniff != nil {
		w.sniff.stop()
	}
	if w.lab != nil {
		errs = append(errs, w.lab.Close())
	}
	return errors.Join(errs...)
}

func (w *world) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// in runs f on a thread in a namespace.
func (w *world) in(ns string, f func() error) {
	if w.err != nil {
		return
	}
	var err error
	if e := netlab.Do(ns, func() { err = f() }); e != nil {
		err = e
	}
	if err != nil {
		w.fail(err)
	}
}

// peer runs f on a thread in the kernel's namespace.
func (w *world) peer(f func() error) { w.in(w.lab.PeerNS, f) }

// worker runs f on fastsyn's worker.
func (w *world) worker(f func(*fastsyn.Worker) error) {
	if w.err != nil {
		return
	}
	var err error
	fw := w.ep.Workers()[0]
	if e := fw.Do(func() { err = f(fw) }); e != nil {
		err = e
	}
	if err != nil {
		w.fail(fmt.Errorf("fastsyn: %w", err))
	}
}

func (w *world) ip(args ...string) {
	if w.err == nil {
		w.fail(netlab.IP(args...))
	}
}

// until waits for what must come.
func (w *world) until(what string, f func() bool) { w.within(patience, what, f) }

// within is until for what takes its time.
func (w *world) within(limit time.Duration, what string, f func() bool) {
	for end := time.Now().Add(limit); w.err == nil && !f(); time.Sleep(200 * time.Microsecond) {
		switch {
		case w.ctx.Err() != nil:
			w.fail(w.ctx.Err())
		case time.Now().After(end):
			w.fail(fmt.Errorf("waited %v until %s: it never came", limit, what))
		}
	}
}

// listen opens a listener of the kernel's on serverPort.
func (w *world) listen(backlog int) (l *socket) {
	w.peer(func() (err error) {
		if l, err = newSocket(w.ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), serverPort)); err != nil {
			return err
		}
		w.sockets, w.kernelListens = append(w.sockets, l), true
		return l.listen(backlog)
	})
	return l
}

// socket opens one of the kernel's, bound to its end of the connection.
func (w *world) socket() (s *socket) {
	w.peer(func() (err error) {
		if s, err = newSocket(w.ctx, w.kernel); err == nil {
			w.sockets = append(w.sockets, s)
		}
		return err
	})
	return s
}

// accept takes a connection from a listener of the kernel's.
func (w *world) accept(l *socket) (s *socket) {
	if w.err == nil {
		var err error
		if s, err = l.accept(patience); err != nil {
			w.fail(err)
			return nil
		}
		w.sockets = append(w.sockets, s)
	}
	return s
}

// dial has the kernel open to fastsyn and returns before it has.
func (w *world) dial() *socket {
	s := w.socket()
	if w.err == nil {
		w.fail(s.connect(w.fast))
	}
	return s
}

// tuple is the connection as fastsyn has it.
func (w *world) tuple() wire.Tuple {
	return wire.Tuple{
		Remote: wire.AddrFrom(w.kernel.Addr()), RemotePort: w.kernel.Port(),
		Local: wire.AddrFrom(w.fast.Addr()), LocalPort: w.fast.Port(),
	}
}

// connect has fastsyn open to the kernel for a, with text if that is not empty.
func (w *world) connect(a *app, text string) {
	w.worker(func(fw *fastsyn.Worker) error {
		if !a.registered {
			id, err := fw.AddApp(a.callbacks())
			if err != nil {
				return err
			}
			a.id, a.registered = id, true
		}
		t := w.tuple()
		var err error
		if text == "" {
			_, err = fw.Connect(&t, a.id)
		} else {
			_, err = fw.ConnectText(&t, a.id, []byte(text))
		}
		return err
	})
}

// states asks both ends.
func (w *world) states() (o observation) {
	w.worker(func(fw *fastsyn.Worker) error {
		t := w.tuple()
		o.fast = fw.StateOf(&t).String()
		if o.fast == ladder.Closed && w.listening && w.fast.Port() == serverPort {
			o.fast = ladder.Listen
		}
		return nil
	})
	w.peer(func() error {
		sockets, err := procSockets()
		o.kernel = kernelState(sockets, w.kernel, w.fast)
		return err
	})
	o.at = time.Now()
	return o
}

// observe notes the states of both ends.
func (w *world) observe() {
	if o := w.states(); w.err == nil {
		w.seen = append(w.seen, o)
	}
}

// settle waits until both ends are in a state, and notes that.
func (w *world) settle(fast, kernel string) {
	w.until(fmt.Sprintf("fastsyn is in %s and Linux in %s", fast, kernel), func() bool {
		o := w.states()
		return o.fast == fast && o.kernel == kernel
	})
	w.observe()
}

// stepwise has every TCP segment of the connection held until step.
func (w *world) stepwise() {
	if w.err == nil {
		w.tap.setRule(func(bool, *wire.Packet) fate { return hold })
	}
}

// hold waits until n segments are held.
func (w *world) hold(n int) {
	w.until(fmt.Sprintf("%d segments are on the wire", n), func() (ok bool) {
		w.tap.look(func(_, held []frame) { ok = len(held) >= n })
		return ok
	})
}

// step waits until n segments are held, looks at both ends, and lets the segments go on.
func (w *world) step(n int) {
	w.hold(n)
	w.observe()
	if w.err == nil {
		w.tap.release()
	}
}

// last is the last step: nothing is held after it.
func (w *world) last(n int) {
	w.hold(n)
	w.observe()
	if w.err == nil {
		w.tap.setRule(nil)
		w.tap.release()
	}
}

// counters returns those of fastsyn's engine and of the kernel.
func (w *world) counters() (c handshake.Counters, k map[string]uint64) {
	w.worker(func(fw *fastsyn.Worker) error { c = fw.Engine(); return nil })
	w.peer(func() (err error) { k, err = kernelCounters(); return err })
	return c, k
}

// ss is what the kernel says of its end of the connection.
func (w *world) ss() (text string) {
	w.peer(func() (err error) { text, err = socketStatistics(w.kernel.Port(), w.fast.Port()); return err })
	return text
}
