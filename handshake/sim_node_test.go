package handshake

import (
	"math/rand/v2"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// simNode is a worker of the simulation: one engine, its applications and its end
// of the wire.
type simNode struct {
	w     *simWorld
	id    int
	mac   [6]byte
	e     *Engine
	wit   *witness
	now   Time
	lives int

	alive  []FlowID // what applications hold, in no order but always the same
	where  map[FlowID]int
	used   []wire.Tuple // tuples of attempts that ended
	plans  []simPlan
	left   int                     // segments in Output since an earlier millisecond
	resets map[wire.Tuple]struct{} // a peer's reset has come
	errors map[wire.Tuple]struct{} // an ICMP error about it has come
	born   map[streamKey]int       // flows accepted, by the peer's SYN
	open   map[wire.Tuple]FlowID   // flows up
	tsval  map[wire.Tuple]uint32   // last TSval sent
	waits  map[wire.Tuple]simWait
	queued []FlowID // established and not taken
	said   map[wire.Tuple]simSaid

	wheel  [simWheel][]simFrame // by ms of arrival
	flying int
	dead   Counters // of earlier lives

	pkts [MaxBurst]wire.Packet
	segs [MaxBurst]*wire.Segment
	in   [MaxBurst]*simFrame // of each segment
	act  [MaxBurst]Action
	buf  [2048]byte
	text [simMSS]byte
}

type simPlan struct {
	at  Time
	tup wire.Tuple
}

// simWait is a flow in TIME-WAIT.
type simWait struct {
	id    FlowID
	since uint32 // ms: entered, or the last FIN
}

// simSaid counts the answers of a flow that moved nothing on, per second.
type simSaid struct {
	second Time
	n      int
}

// start begins a life: all state is new, and so are the secrets.
func (d *simNode) start() {
	seed := byte(d.lives)
	if d.id == 0 {
		seed += 100
	}
	cfg := d.w.c.engine
	d.w.vary(&cfg, min(d.id, 1))
	cfg.CookieFleet = cfg.CookieFleet || d.w.c.fleet
	cfg.ECN = d.w.c.ecn[min(d.id, 1)]
	e, err := New(cfg, testHasher(d.w.tb, seed)) // a fleet has one secret
	require.NoError(d.w.tb, err)
	addrs := []wire.Addr{{}, our4}
	if d.w.c.seed&1 == 0 {
		addrs[0], addrs[1] = addrs[1], addrs[0]
	}
	for _, a := range addrs {
		require.NoError(d.w.tb, e.Listen(a, 80, 0, false))
		require.NoError(d.w.tb, e.SetGate(a, 80, d.w.c.gate))
	}
	require.NoError(d.w.tb, e.Listen(wire.Addr{}, 81, 1, true))
	d.e, d.wit, d.queued = e, newWitness(d.w.tb, e), d.queued[:0]
	d.offer(addrs)
	if d.w.c.fleet {
		d.wit.syns = nil
	}
	d.left, d.said = 0, map[wire.Tuple]simSaid{}
	d.alive, d.where = d.alive[:0], map[FlowID]int{}
	d.resets, d.errors = map[wire.Tuple]struct{}{}, map[wire.Tuple]struct{}{}
	d.open, d.tsval, d.waits = map[wire.Tuple]FlowID{}, map[wire.Tuple]uint32{}, map[wire.Tuple]simWait{}
	if d.born == nil {
		d.born = map[streamKey]int{}
	}
	d.lives++
}

// vary switches options of a side off by the seed, so that all pairs of sides meet.
func (w *simWorld) vary(c *Config, side int) {
	r := rand.New(rand.NewPCG(w.c.seed, uint64(side)))
	c.NoTimestamps, c.NoSACK, c.NoWScale = r.IntN(4) == 0, r.IntN(4) == 0, r.IntN(4) == 0
	c.RcvWindow = [...]int{0, 4000, 65535, 1 << 20}[r.IntN(4)]
	c.MTU = [...]int{0, 576, 1500, 9000}[r.IntN(4)]
	if w.c.pathMTU > 0 && c.MTU == 576 {
		c.MTU = 1400 // else nothing is too big
	}
}

// crash loses all state; frames on the wire are still coming.
func (d *simNode) crash() {
	d.wit.look()
	c := d.e.Counters()
	require.Empty(d.w.tb, c.Check())
	d.dead.Add(&c)
	require.NoError(d.w.tb, d.e.Free())
	d.w.ctr.Crashes++
	now := d.now
	d.start()
	d.clock(now)
}

// toggle closes the listener of port 81, or opens it again (LSN-023).
func (d *simNode) toggle() {
	if d.e.Unlisten(wire.Addr{}, 81) != nil {
		require.NoError(d.w.tb, d.e.Listen(wire.Addr{}, 81, 1, true))
		d.offer(nil)
	}
}

func (d *simNode) clock(now Time) {
	d.now = max(d.now, now)
	d.e.SetClock(d.now, d.w.ring.Load())
}

// turn is what a worker does in one millisecond.
func (d *simNode) turn() {
	slot := &d.wheel[d.w.now/1e6%simWheel]
	in := *slot
	for len(in) > 0 {
		n := min(len(in), 1+d.w.rng.IntN(MaxBurst))
		d.receive(in[:n])
		d.now += 1000
		in = in[n:]
	}
	d.flying -= len(*slot)
	*slot = (*slot)[:0]

	keep := d.plans[:0]
	for _, p := range d.plans {
		if p.at <= d.now {
			d.clock(d.now)
			d.connect(p.tup)
		} else {
			keep = append(keep, p)
		}
	}
	d.plans = keep
	d.clock(d.now)
	budget := 1 << 20
	if d.w.rng.IntN(4) == 0 {
		budget = 1 + d.w.rng.IntN(8)
	}
	d.e.Advance(d.now, budget)
	d.events(nil)
	d.takeSome()
	if d.w.chance(d.w.c.poke) && len(d.alive) > 0 {
		d.poke(d.alive[d.w.rng.IntN(len(d.alive))])
	}
	d.flush(d.w.rng.IntN(8) == 0)
	d.checkWaits()
	d.wit.check()
}

// receive takes a burst from the wire.
func (d *simNode) receive(in []simFrame) {
	w, k := d.w, 0
	d.clock(d.now)
	for i := range in {
		f, p := &in[i], &d.pkts[k]
		w.mix(uint64(len(f.b))<<8 | uint64(d.id))
		if bad := wire.Parse(f.b, false, p); bad != wire.OK || [6]byte(f.b[:6]) != d.mac {
			if f.original == nil {
				require.Fail(w.tb, "a good frame was refused", "%v: %x", bad, f.b)
			}
			w.ctr.Caught++
			continue
		}
		if f.original != nil {
			w.judge(f, p)
		}
		switch p.Kind {
		case wire.KindTCP:
			if d.arrived(f, &p.Seg) {
				d.segs[k], d.in[k] = &p.Seg, f
				k++
			}
		case wire.KindICMP4, wire.KindICMP6:
			d.icmp(f, p)
		case wire.KindNone, wire.KindARP:
		}
	}
	segs := d.segs[:k]
	if k > 0 {
		d.wit.handle(d.now, w.ring.Load(), segs, d.act[:])
	}
	d.events(d.in[:k])
	for i, s := range segs {
		d.decided(i, k, s)
	}
	for i := range in {
		w.free(in[i].b)
		w.free(in[i].original)
	}
	d.wit.check()
}

// arrived takes note of a segment before the engine sees it. It refuses the
// lucky guess of a third party, so that those left must do no harm.
func (d *simNode) arrived(f *simFrame, s *wire.Segment) bool {
	d.w.mix(uint64(s.Seq)<<32 | uint64(s.Ack))
	if d.w.watched(s.Tuple) {
		d.tell("gets %s (forged: %v) in %v", tellSegment(s), f.forged, d.e.recs[d.e.lookup(d.e.sumTuple(&s.Tuple).Hash, &s.Tuple)].state)
	}
	if f.forged {
		if d.hits(s) {
			return false
		}
		d.w.ctr.Missed++
		return true
	}
	if s.Flags&(wire.FlagSYN|wire.FlagRST) == wire.FlagSYN {
		d.w.stream(swap(s.Tuple), s.Seq).shown = true
	}
	if s.Flags&wire.FlagRST != 0 {
		d.resets[s.Tuple] = struct{}{}
	}
	return true
}

// decided takes note of what the engine made of segment i of k, and sends the answer.
func (d *simNode) decided(i, k int, s *wire.Segment) {
	before, f := &d.wit.before[i], d.in[i]
	if len(d.waits) > 0 {
		if wait, ok := d.waits[before.Tuple]; ok {
			d.waited(wait, before, k)
		}
	}
	if d.act[i] == Answer {
		d.checkPace(before, s)
		d.checkTSval(s)
		d.transmit(s, nil, f.depth+1)
	}
}

// flush sends what the engine has queued, or only some of it.
func (d *simNode) flush(some bool) {
	out := d.wit.output()
	n := len(out)
	if some && n > 0 {
		n = d.w.rng.IntN(n)
	}
	for i := range n {
		o := &out[i]
		var text []byte
		if o.Payload {
			f := d.wit.flows[o.Flow]
			if f == nil {
				d.wit.sent(&o.Seg)
				continue // it ended since
			}
			text = d.textOf(o, f)
		}
		d.wit.sent(&o.Seg)
		d.checkVoid(&o.Seg)
		if i >= d.left { // else later ones may have overtaken it
			d.checkTSval(&o.Seg)
		}
		d.transmit(&o.Seg, text, 0)
	}
	d.left = len(out) - n
	d.e.Sent(n)
}

// transmit puts a segment onto the wire.
func (d *simNode) transmit(s *wire.Segment, text []byte, depth uint8) {
	w := d.w
	w.mix(uint64(s.Seq)<<32 | uint64(s.Ack))
	w.mix(uint64(s.Flags)<<48 | uint64(s.LocalPort)<<32 | uint64(s.RemotePort)<<16 | uint64(s.Win))
	w.mix(uint64(d.now))
	w.ctr.Depth = max(w.ctr.Depth, depth)
	if w.watched(s.Tuple) {
		d.tell("sends %s, %d deep", tellSegment(s), depth)
	}
	if depth > simMaxDepth && !w.isTainted(s.Tuple) {
		d.wit.fail("an answer to an answer to … %d deep: %s", depth, tellSegment(s))
	}
	to := w.route(&s.Tuple, s.Flags&wire.FlagSYN != 0)
	if to == nil {
		w.ctr.Nowhere++
		return
	}
	b := w.blank()
	copy(b, to.mac[:])
	copy(b[6:], d.mac[:])
	b[12], b[13] = byte(s.Local.EtherType()>>8), byte(s.Local.EtherType())
	n := wire.PutTCP(b[wire.EthernetLen:cap(b)], s, text)
	require.NotZero(w.tb, n)
	w.carry(d, to, simFrame{b: b[:wire.EthernetLen+n], depth: depth})
}

// simMaxDepth is how long a chain of answers may get: SYN, SYN-ACK, ACK, and old
// copies of each that need a challenge and a reset. A loop has no end.
const simMaxDepth = 12

// checkPace holds RST-008 and RST-010: ACKs for ACKs, from whatever disagreement,
// stay few.
func (d *simNode) checkPace(in, out *wire.Segment) {
	if in.SegLen() != 0 || out.Flags&^wire.FlagECE != wire.FlagACK {
		return
	}
	x := d.said[in.Tuple]
	if second := d.now / 1e9; x.second != second {
		x = simSaid{second: second}
	}
	if x.n++; x.n > simMaxPace {
		d.wit.fail("%d answers within a second to segments without text, the last to %s", x.n, tellSegment(in))
	}
	d.said[in.Tuple] = x
}

// simMaxPace is three by RST-010, and those of SYN-RECEIVED, whose answers to an
// ACK that does not fit are not limited, but each of them needs a segment.
const simMaxPace = 6

// checkTSval holds TSP-008: the clock that a peer sees never goes back. A cookie
// rounds it down to make room for options (CKI-006).
func (d *simNode) checkTSval(s *wire.Segment) {
	if s.Opt.Has&wire.HasTimestamps == 0 {
		return
	}
	last, ok := d.tsval[s.Tuple]
	back := int32(last - s.Opt.TSVal)
	if ok && back > 0 && !(back < 64 && d.wit.e.cookieSent != 0) {
		d.wit.fail("TSval went back by %d ms: %s", back, tellSegment(s))
	}
	if !ok || back < 0 {
		d.tsval[s.Tuple] = s.Opt.TSVal
	}
}

// waited checks what became of a flow in TIME-WAIT when before came (TWT-002..007).
func (d *simNode) waited(wait simWait, before *wire.Segment, n int) {
	if d.e.State(wait.id) == TimeWait {
		again := before.Flags&(wire.FlagFIN|wire.FlagSYN|wire.FlagRST|wire.FlagACK) == wire.FlagFIN|wire.FlagACK
		if again && before.Seq+wire.Seq(before.SegLen()) == d.e.recs[wait.id.idx].rcvNxt {
			wait.since = d.e.nowMS
			d.waits[before.Tuple] = wait
		}
		return
	}
	delete(d.waits, before.Tuple)
	for i := range d.segs[:n] { // any of the burst may be the reason
		in, out := &d.wit.before[i], d.segs[i]
		again := in.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN && d.act[i] == Answer && out.Flags&wire.FlagSYN != 0
		if in.Tuple == before.Tuple && (again || in.Flags&wire.FlagRST != 0) {
			return
		}
	}
	if d.e.ctr.TimeWaitRecycled == 0 && d.e.nowMS-wait.since < ms(d.e.cfg.TimeWait) {
		d.wit.fail("TIME-WAIT ended by %s", tellSegment(before))
	}
}

// checkWaits holds TIME-WAIT to its time, now and then since it looks at all.
func (d *simNode) checkWaits() {
	if d.w.now/1e6%64 != 0 || len(d.waits) == 0 {
		return
	}
	long := ms(d.e.cfg.TimeWait)
	for t, wait := range d.waits {
		waiting, passed := d.e.State(wait.id) == TimeWait, d.e.nowMS-wait.since
		switch {
		case waiting && passed > long+2 && !d.e.timersLeft:
			d.wit.fail("%v is in TIME-WAIT after %d ms", t, passed)
		case !waiting && passed < long && d.e.ctr.TimeWaitRecycled == 0:
			d.wit.fail("%v left TIME-WAIT after %d ms", t, passed)
		case !waiting:
			delete(d.waits, t)
		}
	}
}
