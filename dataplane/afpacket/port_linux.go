package afpacket

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/rss"
)

// Port is an opened interface.
type Port struct {
	cfg      Config
	info     dataplane.Info // all but Up
	ifindex  int
	queues   []*queue
	offloads *offloads // nil: untouched

	mu     sync.Mutex // guards what follows against Close
	ctl    int        // for ioctls, in the namespace of the interface; -1 when closed
	nl     int        // for its counters, likewise; -1 if there is none
	nlSeq  uint32
	before []uint64 // the counters when it was opened
}

// Open opens an interface in the calling thread's network namespace. An
// interface that is down is opened all the same and says so in Info().Up.
// Whatever fails, the host is left as it was.
func Open(cfg Config) (_ *Port, err error) {
	if err := cfg.normalize(); err != nil {
		return nil, err
	}
	ifi, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, noInterface(cfg.Interface, err)
	}
	p := &Port{cfg: cfg, ifindex: ifi.Index, ctl: -1, nl: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.ctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, socketError(cfg.Interface, "opening a control socket", err)
	}
	if err := p.checkEthernet(); err != nil {
		return nil, err
	}
	p.openStats()
	mac := ifi.HardwareAddr
	if len(mac) != 6 { // lo
		mac = make(net.HardwareAddr, 6)
	}
	size := bufferSize(ifi.MTU)
	p.info = dataplane.Info{
		Driver: "afpacket", Name: cfg.Interface, MAC: mac,
		MTU:    min(ifi.MTU, size-rxOverhead-etherHdr-vlanTag),
		Queues: cfg.Queues,
		Kernel: true,
	}
	if cfg.Queues > 1 {
		reta, err := rss.NewRETA(retaSize, cfg.Queues)
		if err != nil {
			return nil, fmt.Errorf("afpacket: %s: %w", cfg.Interface, err)
		}
		p.info.RSSKey, p.info.RETA = slices.Clone(cfg.RSSKey[:]), reta
	}
	for range cfg.Queues {
		q := newQueue(p, size)
		p.queues = append(p.queues, q)
		if err := q.openRx(&p.cfg, p.ifindex); err != nil {
			return nil, err
		}
		if err := q.openTx(&p.cfg, p.ifindex); err != nil {
			return nil, err
		}
		if err := q.waker.open(); err != nil {
			return nil, socketError(cfg.Interface, "eventfd2", err)
		}
	}
	if cfg.Queues > 1 {
		if err := joinFanout(&p.cfg, p.queues, ifi.Flags&net.FlagUp != 0); err != nil {
			return nil, err
		}
	}
	if err := p.joinGroups(); err != nil {
		return nil, err
	}
	if cfg.OffloadsOff {
		if p.offloads, err = offloadsOff(p.ctl, cfg.Interface); err != nil {
			return nil, err
		}
	}
	for _, q := range p.queues { // from here on frames come in
		if err := unix.SetsockoptInt(q.rx.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
			return nil, socketError(cfg.Interface, "SO_DETACH_FILTER", err)
		}
	}
	return p, nil
}

func newQueue(p *Port, size int) *queue {
	q := &queue{port: p, v3: p.cfg.Ring == RingV3, promisc: p.cfg.Promisc, outgoing: p.cfg.Outgoing, maxTx: p.info.MTU}
	q.rx.fd, q.tx.fd, q.waker.fd = -1, -1, -1
	q.pool.init(size)
	q.caps = dataplane.Caps{
		Burst: dataplane.BatchSize, ReplyRoom: replyRoom, FrameRoom: p.info.MTU + etherHdr + vlanTag,
		RxCsum: true, Blocking: true,
	}
	return q
}

// joinGroups asks the device for multicast frames, without which an address
// that the kernel does not have gets no IPv6 neighbour solicitations, and for
// all frames if so configured. Membership ends with the socket.
func (p *Port) joinGroups() error {
	types := []uint16{unix.PACKET_MR_ALLMULTI}
	if p.cfg.Promisc {
		types = append(types, unix.PACKET_MR_PROMISC)
	}
	for _, typ := range types {
		if err := unix.SetsockoptPacketMreq(p.queues[0].rx.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(p.ifindex), Type: typ}); err != nil {
			return socketError(p.cfg.Interface, "PACKET_ADD_MEMBERSHIP", err)
		}
	}
	return nil
}

// noInterface explains why name could not be looked up, and names the interfaces there are.
func noInterface(name string, err error) error {
	all, e := net.Interfaces()
	if e != nil {
		return socketError(name, "listing interfaces", e)
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	if slices.Contains(names, name) { // it exists: err is about something else
		return socketError(name, "looking up the interface", err)
	}
	return fmt.Errorf("afpacket: no interface %q in this network namespace (there are: %s): %w", name, strings.Join(names, ", "), unix.ENODEV)
}

// checkEthernet refuses devices without Ethernet headers.
func (p *Port) checkEthernet() error {
	req, err := unix.NewIfreq(p.cfg.Interface)
	if err == nil {
		err = unix.IoctlIfreq(p.ctl, unix.SIOCGIFHWADDR, req)
	}
	if err != nil {
		return socketError(p.cfg.Interface, "reading the hardware address", err)
	}
	if typ := req.Uint16(); typ != unix.ARPHRD_ETHER && typ != unix.ARPHRD_LOOPBACK {
		return fmt.Errorf("afpacket: %s: not an Ethernet device (hardware type %d): tunnels without Ethernet headers are not supported: use veth, tap or a NIC",
			p.cfg.Interface, typ)
	}
	return nil
}

// up reports whether the interface exists, is up and has a carrier, as of now.
// Safe from any goroutine.
func (p *Port) up() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, flags := p.flags()
	if flags&unix.IFF_UP == 0 {
		return false
	}
	// IFF_RUNNING lags behind by up to a second (net/core/link_watch.c).
	link := []uint32{unix.ETHTOOL_GLINK, 0}
	if _, err := ethtool(p.ctl, name, link); err == nil {
		return link[1] != 0
	}
	return flags&unix.IFF_RUNNING != 0
}

// running is up for the data path: no lock of the kernel's is waited for, at the
// price of learning about a lost carrier up to a second late.
func (p *Port) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	const want = unix.IFF_UP | unix.IFF_RUNNING
	_, flags := p.flags()
	return flags&want == want
}

// flags returns the interface's name now and its flags, 0 if it is gone or p
// is closed. p.mu is held.
func (p *Port) flags() (string, uint16) {
	name, ok := p.name()
	if !ok {
		return "", 0
	}
	req, err := unix.NewIfreq(name)
	if err != nil || unix.IoctlIfreq(p.ctl, unix.SIOCGIFFLAGS, req) != nil {
		return name, 0
	}
	return name, req.Uint16()
}

// name returns what the interface is called now; false if it is gone or p is
// closed. p.mu is held.
func (p *Port) name() (string, bool) {
	var req unix.Ifreq
	req.SetUint32(uint32(p.ifindex))
	if p.ctl < 0 || unix.IoctlIfreq(p.ctl, unix.SIOCGIFNAME, &req) != nil {
		return "", false
	}
	return req.Name(), true
}

// Info describes the port. Up is read from the kernel at each call.
func (p *Port) Info() dataplane.Info {
	i := p.info
	i.MAC, i.RSSKey, i.RETA = slices.Clone(i.MAC), slices.Clone(i.RSSKey), slices.Clone(i.RETA)
	i.Up = p.up()
	return i
}

// Queue returns queue i.
func (p *Port) Queue(i int) dataplane.Queue { return p.queues[i] }

// Stats returns the counters of queue i as last published. TxErrors are counted
// inside TxFrames. RxMissed lags by up to 10 ms, or 1024 calls of Rx.
func (p *Port) Stats(i int) dataplane.Stats { return p.queues[i].pub.read() }

// Drops implements dataplane.DropReporter: what RxMissed is made of.
func (p *Port) Drops(i int) map[string]uint64 {
	return map[string]uint64{
		"afpacket_rx_ring_full": p.queues[i].pub.lost.Load(),
		"afpacket_rx_no_jumbo":  p.queues[i].pub.noJumbo.Load(),
	}
}

// Close restores the interface's offloads if Open changed them, and releases
// rings and sockets. Frames kept by the application stay readable. Calling it
// again does nothing.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctl < 0 {
		return nil
	}
	var errs []error
	if p.offloads != nil {
		if name, ok := p.name(); ok {
			errs = append(errs, p.offloads.restore(p.ctl, name))
		}
	}
	for _, q := range p.queues {
		errs = append(errs, q.close())
	}
	errs = append(errs, p.closeStats(), unix.Close(p.ctl))
	p.ctl = -1
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("afpacket: %s: closing: %w", p.cfg.Interface, err)
	}
	return nil
}
