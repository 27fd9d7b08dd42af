package flow

import (
	"bytes"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// simWire is what a witness on the wire knows of one end.
type simWire struct {
	iss      wire.Seq
	shift    uint8
	scaled   bool // both SYNs had the option
	syn      bool // seen
	opt      wire.OptionSet
	mss      uint16
	sent     wire.Seq // beyond all that was sent
	fin      bool     // sent
	ack      wire.Seq // highest that it sent
	edge     wire.Seq // farthest right edge that it promised
	promised bool
	tsval    uint32
	// What has arrived at it.
	limit   wire.Seq // farthest right edge that it was promised
	limited bool
	got     []uint64 // a bit for each byte of the peer's text
}

// endOf is the end of node d that has tuple t, nil for what no flow has.
func (w *simWorld) endOf(d *simNode, t *wire.Tuple) *simEnd {
	port := t.LocalPort
	if port == 80 || port == 81 {
		port = t.RemotePort
	}
	if n := int(port) - simFirstPort; n >= 0 && n < len(w.flows) {
		return w.flows[n].ends[d.id]
	}
	return nil
}

// departs looks at any segment that d sends.
func (w *simWorld) departs(d *simNode, s *simSegment) {
	e := w.endOf(d, &s.seg.Tuple)
	if e == nil {
		w.fail("node %d: a segment of nobody: %+v", d.id, s.seg)
	}
	w.watch(d, e, s, "out")
	x, seg := &e.wire, &s.seg
	if seg.Flags&wire.FlagSYN != 0 {
		if !x.syn || !e.open && !e.peer().open && x.iss != seg.Seq { // a cookie may be another one
			*x = simWire{syn: true, iss: seg.Seq, sent: seg.Seq + 1, opt: seg.Opt.Has, shift: seg.Opt.WScale, mss: seg.Opt.MSS}
		}
		x.promise(seg, false)
		return
	}
	if seg.Flags&wire.FlagRST == 0 && x.syn {
		x.promise(seg, true)
	}
}

// watch tells about a segment of the flow that is watched.
func (w *simWorld) watch(d *simNode, e *simEnd, s *simSegment, what string) {
	if e == nil || e.f.n != *simWatch {
		return
	}
	seg := &s.seg
	from, to := e, e.peer()
	if what == "in" {
		from, to = to, from
	}
	w.tb.Logf("%v node %d %s: %v seq %d+%d ack %d win %d tos %d, ts %d %d, sack %v", time.Duration(w.now-simStart), d.id, what,
		seg.Flags, int32(seg.Seq-from.wire.iss), seg.Len, int32(seg.Ack-to.wire.iss), seg.Win, seg.TOS, seg.Opt.TSVal, seg.Opt.TSEcr, s.blocks[:s.n])
}

// promise takes the window of a segment that e sends.
func (x *simWire) promise(s *wire.Segment, scale bool) {
	if s.Flags&wire.FlagACK == 0 {
		return
	}
	shift := uint8(0)
	if scale && x.scaled {
		shift = x.shift
	}
	edge := s.Ack + wire.Seq(s.Win)<<shift
	if !x.promised || x.edge.Less(edge) {
		x.edge, x.promised = edge, true
	}
}

// arrives looks at a segment on its way into node d.
func (w *simWorld) arrives(d *simNode, s *simSegment) {
	t := swapTuple(s.seg.Tuple)
	e := w.endOf(d, &t)
	w.watch(d, e, s, "in")
	from, x, seg := e.peer(), &e.wire, &s.seg
	if seg.Flags&wire.FlagSYN != 0 {
		if from.wire.syn && x.syn {
			both := from.wire.opt&x.opt&wire.HasWScale != 0
			from.wire.scaled, x.scaled = both, both
		}
	}
	if seg.Flags&wire.FlagACK == 0 || seg.Flags&wire.FlagRST != 0 || !x.syn {
		return
	}
	shift := uint8(0)
	if seg.Flags&wire.FlagSYN == 0 && from.wire.scaled {
		shift = from.wire.shift
	}
	if edge := seg.Ack + wire.Seq(seg.Win)<<shift; !x.limited || x.limit.Less(edge) {
		x.limit, x.limited = edge, true
	}
	off := int(int32(seg.Seq - from.wire.iss - 1))
	for i := range int(seg.Len) {
		at := off + i
		for at/64 >= len(x.got) {
			x.got = append(x.got, 0)
		}
		x.got[at/64] |= 1 << (at % 64)
	}
}

// has reports whether all of the peer's text [from, to) has arrived.
func (x *simWire) has(from, to int) bool {
	for i := from; i < to; i++ {
		if i < 0 || i/64 >= len(x.got) || x.got[i/64]&(1<<(i%64)) == 0 {
			return false
		}
	}
	return true
}

// sent looks at a segment of the Table of d.
func (d *simNode) sent(s *simSegment) {
	w, seg := d.w, &s.seg
	e := d.w.endOf(d, &seg.Tuple)
	from, x := e.peer(), &e.wire
	c := &d.t.conns[d.out.conn]
	say := func(format string, args ...any) {
		w.tb.Helper()
		d.tell(e)
		d.peer.tell(from)
		w.fail("node %d flow %d %v: "+format, append([]any{d.id, e.f.n, *seg}, args...)...)
	}
	if seg.Flags&(wire.FlagSYN|wire.FlagRST) != 0 || seg.Flags&wire.FlagACK == 0 {
		say("not for a table")
	}
	if seg.Tuple != e.f.tuple[d.id] {
		say("not the tuple of %v", e.f.tuple[d.id])
	}
	fin := seg.Flags&wire.FlagFIN != 0
	end := seg.Seq + wire.Seq(seg.Len)
	off := int(int32(seg.Seq - x.iss - 1))
	// The text is what was written, always.
	if seg.Len != 0 && (off < 0 || off+int(seg.Len) > e.wrote || !bytes.Equal(s.text, e.text(off, int(seg.Len)))) {
		say("not what was written")
	}
	if fin && (!e.closing || off+int(seg.Len) != e.wrote) {
		say("FIN at %d of %d", off+int(seg.Len), e.wrote)
	}
	if seg.Len == 0 && !fin && seg.Flags&wire.FlagPSH != 0 {
		say("PSH without text")
	}
	if seg.Len != 0 || fin {
		if e.aborted || e.closed && !e.released {
			say("after the end")
		}
		if una := d.t.una(c); seg.Seq.Less(una) {
			say("%d bytes acknowledged before", una-seg.Seq)
		}
		if x.sent.Less(seg.Seq) {
			say("a hole of %d", seg.Seq-x.sent)
		}
		// The peer's window (DAT-004). A FIN needs no room.
		if x.limit.Less(end) {
			say("%d beyond the window", end-x.limit)
		}
		if x.sent.Less(end) {
			snd := d.t.senders.at(c.snd)
			pipe, cwnd := snd.outstanding(c.segment()), snd.cc.cwnd
			if fin && pipe > 0 {
				pipe--
			}
			probe := snd.tlp && !snd.tlpRetrans // of the tail
			// Without runs it forgets what has arrived.
			if pipe > cwnd && !probe && d.w.c.side[d.id].runs == 0 {
				say("%d in flight, the congestion window is %d", pipe, cwnd)
			}
			x.sent = end
		}
		if fin && !x.fin {
			x.fin, x.sent = true, end+1
		}
	} else if seg.Seq != x.sent && seg.Seq+1 != d.t.una(c) {
		say("an ACK at %d, not %d", seg.Seq-x.iss, x.sent-x.iss)
	}
	// Its size.
	opt := len(d.out.Extra)
	if seg.Opt.Has&wire.HasTimestamps != 0 {
		opt += 12
	}
	if opt > 40 || seg.Len != 0 && (int(seg.Len)+opt > int(from.wire.mss) || int(seg.Len)+opt > int(c.mss)) {
		say("%d bytes of options, MSS %d", opt, c.mss)
	}
	// Options as negotiated.
	both := x.opt & from.wire.opt
	if (both&wire.HasTimestamps != 0) != (seg.Opt.Has&wire.HasTimestamps != 0) {
		say("timestamps")
	}
	if seg.Opt.Has&wire.HasTimestamps != 0 {
		if x.tsval != 0 && int32(seg.Opt.TSVal-x.tsval) < 0 {
			say("timestamps go back")
		}
		x.tsval = seg.Opt.TSVal
	}
	if both&wire.HasSACKPermitted == 0 && s.n != 0 {
		say("SACK was not negotiated")
	}
	// What it acknowledges was given to the application.
	ack := int(int32(seg.Ack - from.wire.iss - 1))
	if !e.released {
		want := e.got
		if e.peerFIN {
			want++
		}
		if ack != want {
			say("acknowledges %d, the application has %d", ack, want)
		}
	}
	for i, b := range s.blocks[:s.n] {
		l, r := int(int32(b.Left-from.wire.iss-1)), int(int32(b.Right-from.wire.iss-1))
		if from.wire.fin && r == from.wrote+1 {
			r--
		}
		if l > r || !x.has(l, r) || i > 0 && l <= ack {
			say("SACK %d-%d with ACK %d", l, r, ack)
		}
	}
	// The right edge stays, but for what scaling rounds off (WND-005).
	shift := uint8(0)
	if x.scaled {
		shift = x.shift
	}
	edge := seg.Ack + wire.Seq(seg.Win)<<shift
	if x.promised && int32(x.edge-edge) >= 1<<shift {
		say("the right edge moves back by %d", x.edge-edge)
	}
	if buf := d.e.Config().RcvWindow; x.edge.Less(edge) && int(edge-seg.Ack) > buf-e.kept {
		say("promises %d of %d bytes, %d of which are in use", edge-seg.Ack, buf, e.kept)
	}
}

// walk checks what holds for d between bursts.
func (d *simNode) walk() {
	t := d.t
	d.checkTable()
	if c := d.e.Counters(); c.Check() != "" || c.EstablishedNow != t.ctr.Now {
		d.w.fail("node %d: engine %q, %d established, %d streams", d.id, c.Check(), c.EstablishedNow, t.ctr.Now)
	}
	if why := walkTable(t); why != "" {
		d.w.fail("node %d: %s", d.id, why)
	}
}

func (d *simNode) checkTable() {
	if c := d.t.Counters(); c.Check() != "" {
		d.w.fail("node %d: %s: %+v", d.id, c.Check(), c)
	}
}

// walkTable returns what is wrong with t when nothing is left to output, "" if nothing is.
func walkTable(t *Table) string {
	var streams, senders, armed, holding int
	var blocks, statics, runs, spans uint32
	for i := range t.conns {
		c := &t.conns[i]
		at, timer := t.wheel.armed(uint32(i))
		if timer {
			armed++
		}
		if c.state == 0 {
			if timer || c.snd != 0 || c.held != 0 || c.job != 0 {
				return "something is left of a flow that is gone"
			}
			continue
		}
		streams++
		if c.job != 0 {
			return "a flow has something to say and was not asked"
		}
		if c.flags&connAckNow != 0 {
			return "an ACK was not sent"
		}
		if c.held != 0 {
			holding++
			q := &t.reas.holdings[c.held]
			blocks += q.blocks
			spans += q.spans
			if t.reas.spans[q.first].left.LessEq(c.rcvNxt) {
				return "text is held that was next"
			}
			if c.edge.Less(t.reas.spans[q.last].right) && !q.hasFIN {
				return "text is held beyond the window"
			}
		}
		// DAT-003: a second full segment does not wait, and what waits has a timer.
		if n := uint32(c.rcvNxt - c.del.Last); n != 0 && c.state != handshake.TimeWait {
			if n >= 2*uint32(c.del.mss) {
				return "more than two segments are not acknowledged"
			}
			if due, ok := c.del.Deadline(); !ok || !timer || int32(at-t.tick(due)) > 1 {
				return fmt.Sprintf("an ACK of %d bytes waits without a timer: %+v, deadline %v", n, *c, ok)
			}
		}
		if c.snd == 0 {
			continue
		}
		senders++
		x := t.senders.at(c.snd)
		blocks += x.buf.blocks
		for b := x.buf.first; b != 0; {
			if b&staticBit != 0 {
				statics++
			}
			_, b = t.send.piece(b)
		}
		runs += x.runs
		if !x.una.LessEq(x.nxt) || x.sacked+x.lost > x.flight() {
			return "the scoreboard is wrong"
		}
		if x.flight() == 0 && x.buf.size == 0 && c.flags&(connFIN|connFINSent) != connFIN {
			return "a sender has nothing to do"
		}
		if !timer {
			return "text waits without a timer"
		}
		if due, what := x.deadline(&x.rto, c.segment()); what != timerNone && int32(at-t.tick(due)) > 1 {
			return fmt.Sprintf("the timer of %d is late by %d ms", i, int32(at-t.tick(due)))
		}
	}
	switch {
	case uint64(streams) != t.ctr.Now:
		return "streams now"
	case senders != t.senders.inUse():
		return "senders in use"
	case armed != int(t.wheel.count):
		return "timers armed"
	case holding != t.reas.Holding():
		return "flows that hold text"
	case int(spans) != t.reas.Spans():
		return "spans"
	case int(blocks) != t.pool.InUse():
		return "blocks in use"
	case statics != t.send.free.used:
		return "statics in use"
	case runs != t.runs.free.used:
		return "runs in use"
	case t.open != 0:
		return "jobs open"
	}
	return ""
}

// over checks the end of the world.
func (w *simWorld) over() {
	for _, d := range w.nodes {
		d.walk()
		c, e := d.t.Counters(), d.e.Counters()
		if c.Now+c.BlocksInUse+c.Holding+c.Sending != 0 || d.t.reas.Spans() != 0 || d.t.runs.free.used != 0 || d.t.send.free.used != 0 || d.t.wheel.count != 0 {
			w.fail("node %d: something is left: %+v", d.id, c)
		}
		if e.Flows+e.EstablishedNow+e.HalfOpen+e.Opening != 0 {
			w.fail("node %d: something is left in the engine: %+v", d.id, e)
		}
		if len(d.ends) != 0 {
			w.fail("node %d: %d flows were not closed", d.id, len(d.ends))
		}
		w.ctr.Table.Add(&c)
	}
	for _, f := range w.flows {
		f.judge()
	}
}

// judge checks how a flow ended.
func (f *simFlow) judge() {
	w := f.w
	for _, e := range f.ends {
		p := e.peer()
		switch {
		case !e.open:
			if w.c.orderly {
				w.fail("flow %d of node %d was not opened: %+v", f.n, e.node.id, *e)
			}
			w.ctr.Failed++
		case e.aborted:
			w.ctr.Aborted++
		case !e.closed:
			w.fail("flow %d of node %d has no end: %+v", f.n, e.node.id, *e)
		case e.why == handshake.ReasonDone:
			w.ctr.Done++
			if !e.released && e.got != p.wrote {
				w.fail("flow %d of node %d: done with %d of %d bytes", f.n, e.node.id, e.got, p.wrote)
			}
			if !e.released && !e.auto && e.app().early == 0 && e.wrote != e.want {
				w.fail("flow %d of node %d: done, and %d of %d bytes written", f.n, e.node.id, e.wrote, e.want)
			}
		case e.why == handshake.ReasonReset:
			w.ctr.Reset++
			// With a cookie, text that overtakes the ACK of the SYN-ACK is of no flow (LSN-002).
			cookies := w.c.side[p.node.id].engine.Cookies == handshake.CookiesAlways
			if !cookies && !p.aborted && !p.again && !p.released && p.open && !(p.closed && p.why != handshake.ReasonDone) {
				w.fail("flow %d of node %d was reset by nobody:\n%+v\n%+v", f.n, e.node.id, *e, *p)
			}
		case e.why == handshake.ReasonAborted:
			if !e.released {
				w.fail("flow %d of node %d was aborted by nobody", f.n, e.node.id)
			}
			w.ctr.Reset++
		default:
			w.ctr.Broken++
		}
		if w.c.orderly && e.why != handshake.ReasonDone {
			w.fail("flow %d of node %d: %v\n%+v\n%+v", f.n, e.node.id, e.why, *e, *p)
		}
	}
}
