package lab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	// floodSYNs is how many SYNs the attacker sends, queue how many half-open connections fastsyn
	// has room for.
	floodSYNs = 256
	queue     = 64
)

// anywhere and oneNetwork are where the SYNs of a flood seem to come from (RFC 2544: for tests).
func anywhere(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i), byte(1 + i%250)}), uint16(1024+i))
}

func oneNetwork(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 7, byte(1 + i%250)}), uint16(1024+i))
}

// flood sends SYNs to fastsyn from addresses that somebody else may have, and waits until fastsyn
// has seen all of them. It returns when they had been sent.
func (w *world) flood(n int, from func(i int) netip.AddrPort) (at time.Time) {
	w.peer(func() error {
		i, err := net.InterfaceByName(w.lab.PeerIf)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("attacker: packet socket: %w", err)
		}
		defer func() { _ = unix.Close(fd) }()
		link := wire.Link{Dst: [6]byte(w.lab.MAC), Src: [6]byte(w.lab.PeerMAC)}
		b := make([]byte, 128)
		for k := range n {
			a := from(k)
			s := wire.Segment{
				Tuple: wire.Tuple{Local: wire.AddrFrom(a.Addr()), LocalPort: a.Port(), Remote: wire.AddrFrom(w.fast.Addr()), RemotePort: w.fast.Port()},
				Seq:   wire.Seq(uint32(k) * 2654435761), Flags: wire.FlagSYN, Win: 64240,
				Opt: wire.Options{Has: wire.HasMSS, MSS: 1460},
			}
			m := wire.PutLink(b, &link, wire.EtherTypeIPv4)
			m += wire.PutTCP(b[m:], &s, nil)
			if err := unix.Sendto(fd, b[:m], 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				return fmt.Errorf("attacker: %w", err)
			}
		}
		return nil
	})
	w.until(fmt.Sprintf("fastsyn has seen all %d SYNs", n), func() bool {
		c := w.engine()
		return c.SynIn >= uint64(n)
	})
	return time.Now()
}

// engine returns the counters of fastsyn.
func (w *world) engine() (c handshake.Counters) {
	w.worker(func(fw *fastsyn.Worker) error { c = fw.Engine(); return nil })
	return c
}

// defence is a way to meet a flood.
type defence struct {
	engine handshake.Config
	from   func(int) netip.AddrPort
	// shape is what a client beside the flood sees, and late how long it takes to be connected.
	shape     string
	again     int
	late      time.Duration
	dropped   int  // segments of the client that fastsyn drops, the first ones
	stateless bool // fastsyn keeps nothing of the client's SYN
	served    bool // whether the client gets in
	note      string
	after     func(p *play, w *world, c *handshake.Counters) // what the counters must say
}

// besieged floods fastsyn, has a client of Linux's connect, and tells what it experiences.
func (p *play) besieged(d defence) {
	a := &app{}
	p.world(setup{listen: a, engine: d.engine}, func(w *world) {
		flooded := w.flood(floodSYNs, d.from)
		before := w.engine()
		begin := time.Now()
		s := w.dial()
		var outcome string
		var at time.Time
		if d.served {
			if w.err == nil {
				w.fail(s.outcome())
			}
			at = time.Now()
			outcome = fmt.Sprintf("Linux: connect() = 0 after %s", took(at.Sub(begin)))
			w.settle(ladder.Established, ladder.Established)
		} else {
			w.segments(1 + d.again)
			w.until("fastsyn has seen the client's SYNs", func() bool { c := w.engine(); return c.SynIn >= before.SynIn+uint64(1+d.again) })
			at = time.Now()
			outcome = fmt.Sprintf("Linux: still in connect() after %s", took(at.Sub(begin)))
		}
		pic := w.draw()
		pic.Server.Stateless = d.stateless
		if w.err != nil {
			return
		}
		for _, g := range pic.segments()[:min(d.dropped, len(pic.segments()))] {
			g.Dropped = true
		}
		pic.note(flooded, true, "", "%s", d.note)
		pic.note(at, false, "", "%s", outcome)
		q := p.panel(w, pic, "A client of Linux's beside the flood", "", d.shape, d.again)
		p.sample(pic, q)
		if d.served {
			q.describe(a.last(), w.ss())
			for _, g := range pic.segments() {
				if !g.FromServer && g.ReceiverState == ladder.Established {
					p.took("the client is let in, and that it takes", g.Received, d.late)
				}
			}
		}
		equal(p, "connections of the client that fastsyn lets in", a.open(), map[bool]int{true: 1}[d.served])
		c := w.engine()
		d.after(p, w, &c)
		p.check(c.Check() == "", "the sums of fastsyn's counters close", "%s", c.Check())
		q.Facts = append(q.Facts, Fact{"counters", fmt.Sprintf("%d SYNs in = %d stored + %d answered by a cookie + %d dropped (table full %d, limit %d, limit of the source %d); %d evicted, %d half-open now",
			c.SynIn, c.SynAcks, c.Cookies, c.SynDropped, c.Outcome[handshake.DropTableFull], c.Outcome[handshake.DropSYNLimit], c.Outcome[handshake.DropSourceLimit], c.HalfOpenEvicted, c.HalfOpen)})
	})
}

func took(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", milliseconds(d))
}

// sample puts the first SYN of the flood, and the answer to it if there is one, in front of the trace.
func (p *play) sample(pic *picture, q *Panel) {
	lines := pic.strangers(2, fmt.Sprintf("one of %d: nobody is behind this address, and nobody will answer the SYN-ACK", floodSYNs))
	q.Trace = append(lines, q.Trace...)
}

func (p *play) flooded() {
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesNever, MaxHalfOpen: queue}, from: anywhere,
		shape: "SYN> SYN>", again: 1, dropped: 2,
		note: fmt.Sprintf("%d SYNs from everywhere; fastsyn has room for %d", floodSYNs, queue),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections: the queue is full", c.HalfOpen, queue)
			equal(p, "SYNs dropped because of that, the client's two among them", c.Outcome[handshake.DropTableFull], floodSYNs-queue+2)
		},
	})
}

func (p *play) cookies() {
	const high = queue / 2
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesPressure, MaxHalfOpen: queue, HighMark: high, MinStay: time.Minute}, from: anywhere,
		shape: plain, stateless: true, served: true,
		note: fmt.Sprintf("%d SYNs from everywhere; fastsyn stores %d and answers all others by cookies", floodSYNs, high),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections, up to the high mark", c.HalfOpen, high)
			equal(p, "SYNs answered by cookies, the client's among them", c.Cookies, floodSYNs-high+1)
			equal(p, "SYNs dropped", c.SynDropped, 0)
			equal(p, "cookies that came back and were good", c.CookiesOK, 1)
		},
	})
}

func (p *play) rateLimit() {
	const burst = queue / 2
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesNever, MaxHalfOpen: queue, Flood: handshake.FloodConfig{SYN: handshake.Limit{PerSecond: 1, Burst: burst}}},
		from:   anywhere, shape: "SYN> SYN> SYN-ACK< ACK>", again: 1, dropped: 1, late: time.Second, served: true,
		note: fmt.Sprintf("%d SYNs from everywhere; fastsyn takes %d at once and then 1 per second", floodSYNs, burst),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections: the queue is never full", c.HalfOpen, burst)
			equal(p, "SYNs above the limit, the client's first among them", c.Outcome[handshake.DropSYNLimit], floodSYNs-burst+1)
		},
	})
}

func (p *play) largerQueue() {
	const large = 64 * queue
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesNever, MaxHalfOpen: large}, from: anywhere,
		shape: plain, served: true,
		note: fmt.Sprintf("%d SYNs from everywhere; fastsyn has room for %d", floodSYNs, large),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections: all of the flood is stored", c.HalfOpen, floodSYNs)
			equal(p, "SYNs dropped", c.SynDropped, 0)
		},
	})
}

func (p *play) evict() {
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesNever, MaxHalfOpen: queue, Flood: handshake.FloodConfig{EvictOldest: true}}, from: anywhere,
		shape: plain, served: true,
		note: fmt.Sprintf("%d SYNs from everywhere; fastsyn has room for %d, and a new one takes the place of the oldest", floodSYNs, queue),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections, one place having been the client's", c.HalfOpen, queue-1)
			equal(p, "half-open connections evicted", c.HalfOpenEvicted, floodSYNs-queue+1)
			equal(p, "SYNs dropped", c.SynDropped, 0)
		},
	})
}

func (p *play) sourceLimit() {
	const burst = 8
	p.besieged(defence{
		engine: handshake.Config{Cookies: handshake.CookiesNever, MaxHalfOpen: queue, Flood: handshake.FloodConfig{Source: handshake.Limit{PerSecond: 1, Burst: burst}}},
		from:   oneNetwork, shape: plain, served: true,
		note: fmt.Sprintf("%d SYNs from 198.18.7.0/24; fastsyn takes %d at once of a /24 and then 1 per second", floodSYNs, burst),
		after: func(p *play, _ *world, c *handshake.Counters) {
			equal(p, "half-open connections", c.HalfOpen, burst)
			equal(p, "SYNs above the limit of their network, the client's not among them", c.Outcome[handshake.DropSourceLimit], floodSYNs-burst)
		},
	})
}
