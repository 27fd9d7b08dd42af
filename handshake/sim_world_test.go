package handshake

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// simConfig is one world of the simulation: engines with small random programs on
// a wire with faults, under a virtual clock. Everything random comes from seed.
type simConfig struct {
	name     string
	seed     uint64
	attempts int
	perMS    float64 // attempts begun per millisecond

	engine Config // of all nodes; its sizes may be small
	gate   Gate   // of port 80
	fleet  bool   // two servers of one address; SYNs go to one, the rest to the other

	// The wire.
	loss, dup, late float64
	maxDelay        int     // ms; uniform from 1, so that segments overtake each other
	corrupt         float64 // a byte changes under the checksum
	rewrite         float64 // a byte changes and the checksum is made to fit
	strip           bool    // options vanish from SYNs and SYN-ACKs, MSS is clamped
	icmp            float64 // a frame that is lost brings back an ICMP error
	pathMTU         int     // longer packets bring back an ICMP error instead of passing
	bleach          bool    // of some flows, flags or marks of ECN vanish
	congested       float64 // a packet that may be marked is

	// Third parties, per millisecond.
	flood  int // SYNs from addresses where nobody is
	blind  int // segments and ICMP errors of somebody who guesses numbers
	phases bool

	// The applications.
	both         float64 // share of attempts that the server begins
	simultaneous float64 // share of attempts that both begin
	reuse        float64 // share of attempts with a tuple that was used before
	crash        int     // a node loses its state every so many milliseconds
	unlisten     bool    // listeners come and go
	rotate       bool    // cookie keys live for a second and the secret changes
	wrapISS      bool    // initial sequence numbers just below 2^32
	poke         float64 // chance per millisecond and node of an unforeseen call
	orderly      bool    // no application aborts
	fastOpen     float64 // share of opens with text, and servers take it
	places       int     // of Fast Open on each listener
	ecn          [2]ECNMode
	void         float64 // share of attempts to where nobody is
	take         float64 // chance per millisecond that a queued flow is taken
}

// clean says that every attempt must succeed and all text arrive.
func (c *simConfig) clean() bool {
	return c.loss+c.late+c.corrupt+c.rewrite+c.icmp+c.poke == 0 && c.maxDelay == 1 && !c.strip && c.crash == 0 &&
		c.reuse == 0 && c.simultaneous == 0 && c.orderly
}

const (
	simWheel   = 2048 // ms; the longest time on the wire
	simMaxLate = 400
	simMSS     = 1460
)

// streamKey names one direction of a connection, as its sender sees it. The
// initial sequence number tells incarnations of a tuple apart.
type streamKey struct {
	tup wire.Tuple
	iss wire.Seq
}

// stream is what is true about one direction.
type stream struct {
	key       uint64 // of the text
	shown     bool   // its SYN or SYN-ACK has reached the other side
	closed    bool   // the application has closed it
	again     bool   // accepted again by a cookie, so that two flows share it
	early     bool   // its SYN has brought a cookie of Fast Open
	sent      uint32
	delivered uint32
}

// simFrame is a frame on the wire.
type simFrame struct {
	b        []byte
	original []byte // before a fault, nil without
	depth    uint8  // answers to answers to …
	forged   bool   // by a third party
}

type simWorld struct {
	tb      testing.TB
	c       simConfig
	rng     *rand.Rand
	ring    *cookie.Ring
	now     Time
	nodes   []*simNode
	streams map[streamKey]*stream
	tainted map[wire.Tuple]struct{} // as node 0 sees it: a fault has changed what was said
	wraps   []simWrap
	next    int
	spare   [][]byte
	void    map[wire.Tuple]*simVoid
	digest  uint64
	pkt     wire.Packet
	ctr     simCounts
}

// simCounts is what a report of the simulation tells.
type simCounts struct {
	Attempts, Begun, NoRoom, InUse uint64
	Frames, Lost, Copies           uint64
	Damaged, Caught, Misread       uint64 // damaged frames; stopped by a check; that meant something else
	Rewritten, Stripped            uint64
	Forged, Missed, ICMP           uint64
	Nowhere, Again, Crashes, Given uint64
	Bytes                          uint64
	Depth                          uint8
	Wrapped                        uint64
	TooBig, Marked, Bleached       uint64
	ECN, Reduced, Void             uint64
	Total                          Counters
	Virtual                        time.Duration
}

func (w *simWorld) mix(v uint64) {
	w.digest = (w.digest ^ v) * 0x9e3779b97f4a7c15
	w.digest ^= w.digest >> 29
}

func (w *simWorld) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// simStart is two seconds before the millisecond clock wraps; the clock of
// 64 ns ticks wraps at the same moment, since 2^32 ms is a multiple of 2^38 ns.
const simStart = Time(400<<32-2_000) * 1e6

func newSim(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := &simWorld{
		tb: tb, c: c, rng: rand.New(rand.NewPCG(c.seed, 99)), now: simStart,
		streams: map[streamKey]*stream{}, tainted: map[wire.Tuple]struct{}{}, void: map[wire.Tuple]*simVoid{},
	}
	rc := cookie.RingConfig{}
	if c.rotate {
		rc.Epoch = time.Second
	}
	var err error
	w.ring, err = cookie.NewRing(testSecret(tb, 25), time.Unix(0, w.now), rc)
	require.NoError(tb, err)
	n := 2
	if c.fleet {
		n = 3
	}
	for i := range n {
		w.nodes = append(w.nodes, &simNode{w: w, id: i, mac: [6]byte{2, 0, 0, 0, 0, byte(i)}})
		w.nodes[i].start()
	}
	tb.Cleanup(func() {
		for _, d := range w.nodes {
			require.NoError(tb, d.e.Free())
		}
	})
	if c.wrapISS {
		w.planWraps()
	}
	return w
}

func swap(t wire.Tuple) wire.Tuple {
	return wire.Tuple{Remote: t.Local, Local: t.Remote, RemotePort: t.LocalPort, LocalPort: t.RemotePort}
}

// stream returns the direction that t and iss name, new or known.
func (w *simWorld) stream(t wire.Tuple, iss wire.Seq) *stream {
	k := streamKey{t, iss}
	s := w.streams[k]
	if s == nil {
		s = &stream{key: (t.Remote.Lo ^ t.Local.Lo<<7 ^ uint64(t.RemotePort)<<40 ^ uint64(t.LocalPort)<<20 ^ uint64(iss)) * 0x9e3779b97f4a7c15}
		w.streams[k] = s
	}
	return s
}

// text fills b with the text of s from off on.
func (s *stream) text(b []byte, off uint32) {
	for i := range b {
		n := uint64(off) + uint64(i)
		b[i] = byte((s.key + n>>3) * 0xd6e8feb86659fd93 >> (8 * (n & 7)))
	}
}

func (w *simWorld) taint(t wire.Tuple) { w.tainted[w.seenBy0(t)] = struct{}{} }

func (w *simWorld) isTainted(t wire.Tuple) bool {
	if len(w.tainted) == 0 {
		return false
	}
	_, ok := w.tainted[w.seenBy0(t)]
	return ok
}

func (w *simWorld) seenBy0(t wire.Tuple) wire.Tuple {
	if w.isClient(t.Local) {
		return t
	}
	return swap(t)
}

// The addresses: clients are in 10/8 and 2001:db8:0:7::/64, servers have one of
// each family, and in 172.16/12 there is nobody.
func (w *simWorld) isClient(a wire.Addr) bool {
	if a.Is4() {
		return a.V4()>>24 == 10
	}
	return a.Hi == simNet6
}

const simNet6 = 0x20010db8<<32 | 7

// route is the node that a segment to t.Remote reaches, nil if nobody is there.
func (w *simWorld) route(t *wire.Tuple, syn bool) *simNode {
	switch {
	case w.isClient(t.Remote):
		return w.nodes[0]
	case t.Remote != our4 && t.Remote != our6:
		return nil
	case w.c.fleet && syn:
		return w.nodes[1+int(t.LocalPort)&1]
	case w.c.fleet:
		return w.nodes[1+int(t.LocalPort)>>1&1]
	}
	return w.nodes[1]
}

// tuple is the i-th of the tuples, as node 0 sees it.
func (w *simWorld) tuple(i int) wire.Tuple {
	t := wire.Tuple{Remote: our4, Local: wire.Addr4(0x0a000001 + uint32(i/50000)), RemotePort: 80, LocalPort: uint16(10000 + i%50000)}
	if i%5 == 4 {
		t.Remote, t.Local = our6, wire.Addr{Hi: simNet6, Lo: uint64(1 + i/50000)}
	}
	if i%3 == 2 {
		t.RemotePort = 81 // its engine answers a FIN with a FIN
	}
	return t
}

// simWrap is a tuple whose ISS at node 0 comes close to 2^32 at a moment.
type simWrap struct {
	at Time
	i  int
}

// planWraps finds, of many tuples, those whose clock-driven ISS passes 2^32
// while attempts are being made. One tick is one sequence number.
func (w *simWorld) planWraps() {
	long := Time(float64(w.c.attempts)/w.c.perMS+1) * 1e6
	for i := 100_000; i < 300_000 && len(w.wraps) < w.c.attempts; i++ {
		t := w.tuple(i)
		iss := cookie.ISN(w.nodes[0].e.sumTuple(&t).ISN, w.now)
		short := uint32(w.rng.IntN(700)) // ISS is so much below 2^32
		if at := w.now + Time(-iss-short)*64; at < w.now+long && at > w.now+1e6 {
			w.wraps = append(w.wraps, simWrap{at, i})
		}
	}
}

// begin makes the attempts of this millisecond.
func (w *simWorld) begin() {
	client, server := w.nodes[0], w.nodes[1]
	for _, x := range w.wraps {
		if x.at >= w.now && x.at < w.now+1e6 {
			client.clock(x.at)
			client.connect(w.tuple(x.i))
			w.ctr.Wrapped++
		}
	}
	n := int(w.c.perMS)
	if w.chance(w.c.perMS - float64(n)) {
		n++
	}
	for range n {
		if w.next == w.c.attempts {
			return
		}
		t, both := w.tuple(w.next), false
		from := client
		switch {
		case w.chance(w.c.reuse) && len(client.used) > 0:
			t = client.used[w.rng.IntN(len(client.used))]
		case w.chance(w.c.simultaneous):
			t.RemotePort, both = 7000+t.LocalPort, true
		case w.chance(w.c.void):
			w.next++
			w.ctr.Attempts++
			w.connectVoid(t)
			continue
		case w.chance(w.c.both):
			from = server
			t.RemotePort, t.LocalPort = t.LocalPort, t.RemotePort
		}
		w.next++
		w.ctr.Attempts++
		if from == server {
			server.connect(swap(t))
			continue
		}
		client.connect(t)
		if both {
			server.later(w.now+Time(w.rng.IntN(3))*1e6, swap(t))
		}
	}
}

// run lets the world live until nothing is left in it.
func (w *simWorld) run() {
	for given := 0; ; {
		w.now += 1e6
		w.ring.Advance(time.Unix(0, w.now))
		if w.c.rotate && w.now/1e6%3000 == 0 { // refused while the last one is fresh
			_ = w.ring.Rotate(testSecret(w.tb, byte(w.now/3e9)), time.Unix(0, w.now+1e9))
		}
		for _, d := range w.nodes {
			d.clock(w.now)
		}
		busy := w.next < w.c.attempts
		if busy {
			w.begin()
			w.attack()
		}
		for i, d := range w.nodes {
			if w.c.crash > 0 && busy && w.rng.IntN(w.c.crash) == 0 {
				d.crash()
			}
			d.clock(w.now + Time(1+i)*100e3)
			if w.c.unlisten && busy && w.rng.IntN(50) == 0 {
				d.toggle()
			}
			d.turn()
		}
		for _, d := range w.nodes {
			busy = busy || d.flying > 0 || len(d.plans) > 0 || len(d.e.Output()) > 0
		}
		if busy {
			continue
		}
		// Nothing is under way: go to the next timer, less the millisecond that the loop adds.
		wait, any := uint32(0), false
		for _, d := range w.nodes {
			if n, ok := d.e.NextTimer(); ok && (!any || n < wait) {
				wait, any = n, true
			}
		}
		if any {
			w.now += int64(max(wait, 1)-1) * 1e6
			continue
		}
		left := 0
		for _, d := range w.nodes {
			left += len(d.wit.flows)
		}
		if left == 0 {
			return
		}
		// Flows whose peer is gone and that have nothing to say: applications give them up.
		if given++; given > 10 {
			require.Fail(w.tb, "flows do not end")
		}
		for _, d := range w.nodes {
			d.giveUp()
		}
	}
}
