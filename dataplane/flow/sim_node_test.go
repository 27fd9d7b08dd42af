package flow

import (
	"bytes"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

var (
	simAddr4 = [2]wire.Addr{wire.Addr4(0x0a000001), wire.Addr4(0xc0000201)}
	simAddr6 = [2]wire.Addr{{Hi: 0x20010db8 << 32, Lo: 2}, {Hi: 0x20010db8 << 32, Lo: 1}}
)

// Applications of a node.
const (
	simPlain uint16 = iota
	simAuto         // closed by the table when the peer closes
)

// simNode is a worker without its queue.
type simNode struct {
	w      *simWorld
	id     int
	peer   *simNode
	e      *handshake.Engine
	t      *Table
	hasher *cookie.Hasher // as that of e
	ends   map[handshake.FlowID]*simEnd
	rx     []*simSegment
	todo   []simEvent
	burst  []*simSegment // under way, for callbacks
	segs   [handshake.MaxBurst]wire.Segment
	act    [handshake.MaxBurst]handshake.Action
	out    Out
	buf    [65536]byte
	soon   int            // rounds in which nothing happened and no time passed
	last   handshake.Time // of the round before
}

func newSimNode(w *simWorld, id int) *simNode {
	d := &simNode{w: w, id: id, ends: map[handshake.FlowID]*simEnd{}}
	var err error
	secret := simSecret(w.tb, byte(id+1))
	d.hasher, err = secret.Hasher()
	require.NoError(w.tb, err)
	h, err := secret.Hasher()
	require.NoError(w.tb, err)
	d.e, err = handshake.New(w.c.side[id].engine, h)
	require.NoError(w.tb, err)
	d.e.SetClock(w.now, w.ring.Load())
	d.t, err = New(w.c.side[id].table, d.e, d, w.now)
	require.NoError(w.tb, err)
	if n := w.c.side[id].runs; n != 0 {
		d.t.runs = newRunPool(d.e.Config().MaxFlows, n)
	}
	d.t.SetClock(w.now)
	d.e.Streams(simPlain)
	d.e.Streams(simAuto)
	require.NoError(w.tb, d.e.Listen(wire.Addr{}, 80, simPlain, false))
	require.NoError(w.tb, d.e.Listen(wire.Addr{}, 81, simAuto, true))
	return d
}

// timer is when d has something to do by itself.
func (d *simNode) timer() (handshake.Time, bool) {
	at, any := handshake.Time(0), false
	for _, next := range [...]func() (uint32, bool){d.e.NextTimer, d.t.NextTimer} {
		if in, ok := next(); ok {
			// The beginning of a millisecond, or at once.
			t := d.w.now
			if in != 0 {
				t = (d.w.now/1e6 + int64(in)) * 1e6
			}
			if !any || t < at {
				at, any = t, true
			}
		}
	}
	return at, any
}

// turn is a round of the worker.
func (d *simNode) turn() {
	w := d.w
	d.e.SetClock(w.now, w.ring.Load())
	d.t.SetClock(w.now)
	work := len(d.rx)+len(d.todo) != 0
	for len(d.rx) > 0 {
		n := min(len(d.rx), handshake.MaxBurst)
		d.burst = append(d.burst[:0], d.rx[:n]...)
		d.rx = d.rx[:copy(d.rx, d.rx[n:])]
		d.receive()
	}
	if d.e.Advance(w.now, 256) > 0 {
		work = true
		d.deliver()
	}
	if d.t.Advance(256) > 0 {
		work = true
	}
	for i := range d.todo {
		ev := &d.todo[i]
		ev.end.act(ev.what, ev.size)
	}
	d.todo = d.todo[:0]
	for i := range d.e.Output() {
		o := &d.e.Output()[i]
		d.put(&simSegment{seg: o.Seg})
	}
	d.e.Sent(len(d.e.Output()))
	for d.t.Output(&d.out) {
		work = true
		d.emit()
	}
	d.e.EndBurst()
	if d.soon++; work || d.last != w.now {
		d.soon, d.last = 0, w.now
	}
	if d.soon > 1000 {
		w.fail("node %d: a timer is due and nothing happens", d.id)
	}
}

func (d *simNode) receive() {
	w := d.w
	k := 0
	for _, s := range d.burst {
		if s.mtu != 0 {
			d.e.PathMTU(&s.seg.Tuple, s.seg.Seq, uint32(s.mtu))
			continue
		}
		d.burst[k] = s
		d.segs[k] = s.seg
		t := &d.segs[k].Tuple
		*t = wire.Tuple{Remote: t.Local, Local: t.Remote, RemotePort: t.LocalPort, LocalPort: t.RemotePort}
		w.arrives(d, s)
		k++
	}
	d.burst = d.burst[:k]
	if k == 0 {
		d.deliver()
		return
	}
	var in [handshake.MaxBurst]*wire.Segment
	for i := range k {
		in[i] = &d.segs[i]
	}
	d.e.Handle(w.now, w.ring.Load(), in[:k], d.act[:])
	d.deliver()
	for i := range k {
		if d.act[i] == handshake.Answer {
			d.put(&simSegment{seg: d.segs[i]})
		}
	}
	for {
		rx, ok := d.t.Answer(&d.out)
		if !ok {
			break
		}
		if rx >= k || swapTuple(d.burst[rx].seg.Tuple) != d.out.Seg.Tuple {
			w.fail("node %d: a segment of %v goes out over frame %d", d.id, d.out.Seg.Tuple, rx)
		}
		d.emit()
	}
}

func swapTuple(t wire.Tuple) wire.Tuple {
	return wire.Tuple{Remote: t.Local, Local: t.Remote, RemotePort: t.LocalPort, LocalPort: t.RemotePort}
}

func (d *simNode) deliver() {
	for i := range d.e.Events() {
		ev := &d.e.Events()[i]
		switch ev.Kind {
		case handshake.EventSegment:
			s := &d.segs[ev.Seg]
			b := d.burst[ev.Seg]
			d.t.Segment(ev, s, b.text, b.blocks[:b.n])
		case handshake.EventICMP:
			d.t.ICMP(ev)
		case handshake.EventEstablished:
			info := d.e.Info(ev)
			d.t.Open(ev, ev.App == simAuto, nil)
			d.established(ev, &info)
		case handshake.EventClosed: // an attempt that came to nothing
			e := d.ends[ev.Flow]
			if e == nil {
				break // a half-open
			}
			if e.open {
				d.w.fail("the engine closes a stream: %v", ev.Reason)
			}
			e.closed, e.why = true, ev.Reason
			delete(d.ends, ev.Flow)
		default:
			d.w.fail("event %d on a stream", ev.Kind)
		}
	}
	d.e.EndBurst()
}

// emit sends d.out.
func (d *simNode) emit() {
	o := &d.out
	s := &simSegment{seg: o.Seg}
	if o.Seg.Len != 0 {
		s.text = make([]byte, o.Seg.Len)
		if n := copy(s.text, o.Head); n+copy(s.text[n:], o.Tail) < len(s.text) {
			d.t.Text(o, s.text)
		}
		d.t.Text(o, d.buf[:o.Seg.Len])
		if !bytes.Equal(s.text, d.buf[:o.Seg.Len]) {
			d.w.fail("Head and Tail differ from Text")
		}
	}
	if len(o.Extra) != 0 {
		s.seg.Opt.Has |= wire.HasSACK
		s.n = wire.SACKBlocks(o.Extra, &s.blocks)
		if s.n == 0 || len(o.Extra)%4 != 0 {
			d.w.fail("SACK option % x", o.Extra)
		}
	}
	s.size = len(o.Extra)
	d.sent(s)
	d.put(s)
}

// put puts any segment of d on the wire.
func (d *simNode) put(s *simSegment) {
	w := d.w
	s.size += wire.PacketLen(&s.seg, int(s.seg.Len))
	w.mix(uint64(w.now))
	w.mix(uint64(s.seg.Seq)<<32 | uint64(s.seg.Ack))
	w.mix(uint64(s.seg.Len)<<32 | uint64(s.seg.Flags)<<16 | uint64(s.seg.Win))
	w.departs(d, s)
	w.send(d, s)
}

// The calls of the application's side.

func (d *simNode) end(id handshake.FlowID, what string) *simEnd {
	e := d.ends[id]
	if e == nil {
		d.w.fail("node %d: %s for a flow that there is not", d.id, what)
	}
	if e.closed || e.aborted {
		d.w.fail("node %d: %s after the end: %+v", d.id, what, e)
	}
	return e
}

func (d *simNode) established(ev *handshake.Event, info *handshake.Info) {
	t := info.Tuple
	port := t.LocalPort
	if !ev.Active {
		port = t.RemotePort
	}
	f := d.w.flows[int(port)-simFirstPort]
	e := f.ends[d.id]
	if e.open {
		// A late copy of an ACK may repeat a cookie whose flow has ended.
		if !info.Cookie || !e.over() {
			d.w.fail("node %d: established twice", d.id)
		}
		d.w.ctr.Again++
		e.again = true
		d.t.Abort(ev.Flow)
		return
	}
	e.open, e.id = true, ev.Flow
	e.auto = ev.App == simAuto
	e.iss, e.irs = ev.ISS, ev.IRS
	if p := e.peer(); !p.open {
		p.wire.iss, p.wire.sent = e.irs, e.irs+1
	}
	if e.wire.iss != e.iss {
		e.wire.iss, e.wire.sent = e.iss, e.iss+1
	}
	d.ends[ev.Flow] = e
	e.begin()
}

func (d *simNode) Data(id handshake.FlowID, _ uint16, text []byte) {
	e := d.end(id, "Data")
	if e.released || e.peerFIN {
		d.w.fail("node %d: text after %+v", d.id, e)
	}
	if len(text) == 0 {
		d.w.fail("node %d: no text", d.id)
	}
	from := e.peer()
	if e.got+len(text) > from.wrote {
		d.w.fail("node %d: %d bytes after %d, %d were written", d.id, len(text), e.got, from.wrote)
	}
	if !bytes.Equal(text, from.text(e.got, len(text))) {
		d.w.fail("node %d: wrong text at %d, %d bytes", d.id, e.got, len(text))
	}
	e.got += len(text)
	e.kept += 0
	d.w.ctr.Bytes += uint64(len(text))
	e.read(len(text))
}

func (d *simNode) Writable(id handshake.FlowID, _ uint16) {
	e := d.end(id, "Writable")
	if !e.blocked || e.released {
		d.w.fail("node %d: writable for nothing: %+v", d.id, e)
	}
	e.blocked = false
	e.write()
}

func (d *simNode) PeerClosed(id handshake.FlowID, _ uint16) {
	e := d.end(id, "PeerClosed")
	from := e.peer()
	if e.peerFIN || e.released {
		d.w.fail("node %d: closed by the peer once more: %+v", d.id, e)
	}
	if !from.closing || e.got != from.wrote {
		d.w.fail("node %d: the peer's FIN after %d bytes, it has written %d (%+v)", d.id, e.got, from.wrote, from)
	}
	e.peerFIN = true
	e.hearsFIN()
}

func (d *simNode) Closed(id handshake.FlowID, _ uint16, why handshake.CloseReason) {
	e := d.end(id, "Closed")
	e.closed, e.why = true, why
	delete(d.ends, id)
	// Nobody is given up who is there, unless all the probes of keep-alive are lost.
	if p := e.peer(); why == handshake.ReasonTimedOut && !p.over() && !d.w.muted && !d.t.cfg.KeepAlive {
		d.tell(p)
		d.w.fail("node %d: timed out: %+v", d.id, e)
	}
	if why == handshake.ReasonDone && !e.released {
		if !e.peerFIN || !e.closing {
			d.w.fail("node %d: done before both have closed: %+v", d.id, e)
		}
	}
}

// open plans the opens.
func (w *simWorld) open() {
	at := w.now
	for i := range w.c.flows {
		f := &simFlow{w: w, n: i}
		for s := range f.ends {
			f.ends[s] = &simEnd{f: f, node: w.nodes[s], key: w.rng.IntN(simPeriod)}
			f.ends[s].plan()
		}
		w.flows = append(w.flows, f)
		at += int64(w.upTo(w.c.every))
		from := 0
		if w.chance(w.c.both) {
			from = 1
		}
		w.at(at, simEvent{to: w.nodes[from], end: f.ends[from], what: simConnect})
	}
	w.ctr.Flows = uint64(w.c.flows)
}

const simFirstPort = 2000

// tuple is that of flow f as node d sees it, opened by it.
func (d *simNode) tuple(f *simFlow) wire.Tuple {
	a := &simAddr4
	if f.v6 {
		a = &simAddr6
	}
	t := wire.Tuple{Local: a[d.id], Remote: a[1-d.id], LocalPort: uint16(simFirstPort + f.n), RemotePort: 80}
	if f.auto {
		t.RemotePort = 81
	}
	return t
}

// connect opens flow e.f from d.
func (d *simNode) connect(e *simEnd) {
	w := d.w
	f := e.f
	f.v6, f.auto = w.chance(w.c.v6), w.chance(d.peer.w.c.side[d.peer.id].app.autoClose)
	t := d.tuple(f)
	app := simPlain
	if w.chance(w.c.side[d.id].app.autoClose) {
		app = simAuto
	}
	if w.chance(w.c.wrap) { // a source address whose ISS is near the wrap at this moment
		near := uint32(1 + w.rng.IntN(20000))
		for lo := range uint64(1 << 18) {
			if f.v6 {
				t.Local.Lo = simAddr6[d.id].Lo&15 | lo<<8
			} else {
				t.Local = wire.Addr4(simAddr4[d.id].V4()&^0xffffff | uint32(lo+1))
			}
			who, tup, when := d, t, w.now
			if w.steps&1 != 0 { // that of the peer
				who, tup, when = d.peer, swapTuple(t), w.now+int64(w.c.path[d.id].delay)
			}
			c := cookie.Tuple{RemoteHi: tup.Remote.Hi, RemoteLo: tup.Remote.Lo, LocalHi: tup.Local.Hi, LocalLo: tup.Local.Lo, RemotePort: tup.RemotePort, LocalPort: tup.LocalPort}
			if -cookie.ISN(who.hasher.SumOne(&c).ISN, when)-near < 20000 {
				w.ctr.Wrapped++
				break
			}
		}
	}
	f.tuple[d.id], f.tuple[1-d.id] = t, swapTuple(t)
	id, err := d.e.Connect(&t, app, 0)
	if err != nil { // no room
		w.ctr.Failed++
		e.closed, e.why = true, handshake.ReasonAborted
		return
	}
	e.id = id
	d.ends[id] = e
}

// tell is for failures.
func (d *simNode) tell(e *simEnd) {
	now := time.Duration(d.w.now - simStart)
	c := d.t.get(e.id)
	if c == nil {
		d.w.tb.Logf("%v node %d flow %d: engine %v, %+v", now, d.id, e.f.n, d.e.State(e.id), *e)
		return
	}
	d.w.tb.Logf("%v node %d flow %d: %v flags %b rcvNxt %d edge %d wnd %d kept %d, %+v", now, d.id, e.f.n, c.state, c.flags, c.rcvNxt-e.irs, c.edge-e.irs, c.sndWnd(), c.kept, *e)
	if c.snd != 0 {
		x := d.t.senders.at(c.snd)
		at, armed := d.t.wheel.armed(e.id.Index())
		d.w.tb.Logf("  una %d nxt %d queued %d cwnd %d lost %d sacked %d phase %d timeouts %d; timer %v in %d ms", x.una-e.iss, x.nxt-e.iss, x.buf.size, x.cc.cwnd, x.lost, x.sacked, x.phase, x.rto.timeouts(), armed, int32(at-d.t.ms))
	}
}
