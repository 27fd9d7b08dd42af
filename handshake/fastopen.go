package handshake

import (
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Fast Open of RFC 7413, server. A SYN with a good cookie is handed over at once,
// with its text. Its record stays in SYN-RECEIVED with flagFastOpen until the peer
// acknowledges our SYN-ACK, whatever the application does meanwhile: sends one
// segment, closes, aborts. All of it is off until Engine.FastOpen, since whoever
// has seen such a SYN can send it again, and the application would see its text
// twice (TFO-019).

// fastOpenPenalty is how long a flow that the peer reset before it acknowledged
// anything keeps its place (RFC 7413 §5.1): spoofing costs the attacker the limit.
const fastOpenPenalty = uint32(60 * time.Second / time.Millisecond)

// MaxFastOpen bounds the flows of all listeners that are handed over and not yet
// acknowledged: record.wnd names their places.
const MaxFastOpen = 65535

// fastSlot is what a record in SYN-RECEIVED has no room for. Its number takes the
// place of record.wnd, which is needed only later.
type fastSlot struct {
	irs   wire.Seq
	wnd   uint16 // of the SYN
	queue uint16
	next  uint16 // of the free list
}

// fastQueue is the pending limit of one listener (TFO-008).
type fastQueue struct {
	limit, pending int
	resets         []uint32 // a ring: when the places of reset flows become free, in ms
	head, waiting  int
}

// fastOpen is the state of Fast Open in an Engine.
type fastOpen struct {
	slots   []fastSlot // 0 is nil
	free    uint16
	queues  []fastQueue // 0 is nil
	pending int

	cache    fastCache
	sending  int  // SYNs with text that are not answered yet
	failures uint // black holes in a row
	until    Time // no Fast Open as a client before
}

// FastOpen has the listener at addr and port, as given to Listen, take text on
// SYNs that bring a cookie of ours, and hand out cookies. At most pending flows
// wait for the peer's ACK at a time; a SYN beyond is answered as any other (TFO-008).
// 0 switches it off. The application must bear that a SYN comes twice: only
// requests that may be repeated are safe (RFC 7413 §2.1).
func (e *Engine) FastOpen(addr wire.Addr, port uint16, pending int) error {
	if addr.IsZero() {
		addr = wire.Addr{}
	}
	l := e.listeners.at(addr, port)
	if l == nil {
		return fmt.Errorf("%w: port %d", ErrNoListener, port)
	}
	f := &e.fast
	if f.queues == nil {
		f.queues, f.slots = make([]fastQueue, 1), make([]fastSlot, 1)
	}
	if l.fastOpen == 0 {
		f.queues = append(f.queues, fastQueue{})
		l.fastOpen = uint16(len(f.queues) - 1)
	}
	q := &f.queues[l.fastOpen]
	more := pending - len(q.resets)
	if pending < 0 || len(f.slots)-1+max(more, 0) > MaxFastOpen {
		return fmt.Errorf("handshake: Fast Open limit %d on port %d: want 0..%d over all listeners", pending, port, MaxFastOpen)
	}
	q.limit = pending
	if more <= 0 {
		return nil
	}
	ring := make([]uint32, pending)
	for k := range q.waiting {
		ring[k] = q.resets[(q.head+k)%len(q.resets)]
	}
	q.resets, q.head = ring, 0
	for range more {
		f.slots = append(f.slots, fastSlot{next: f.free})
		f.free = uint16(len(f.slots) - 1)
	}
	return nil
}

// shut switches off the queue of a listener that ends; its flows live on.
func (f *fastOpen) shut(queue uint16) {
	if queue != 0 {
		f.queues[queue].limit = 0
	}
}

// room reports whether q takes one more.
func (q *fastQueue) room(nowMS uint32) bool {
	for q.waiting > 0 && int32(nowMS-q.resets[q.head]) >= 0 {
		q.head = (q.head + 1) % len(q.resets)
		q.waiting--
		q.pending--
	}
	return q.pending < q.limit
}

// handedOver reports whether the application has r although the peer has
// acknowledged nothing yet.
func (r *record) handedOver() bool {
	return r.flags&flagFastOpen != 0 && r.state == SynRcvd && r.flags&flagActive == 0
}

// slot is that of a record that is handed over.
func (e *Engine) slot(r *record) *fastSlot { return &e.fast.slots[r.wnd] }

// fastOpenSYN answers a SYN with the option, for which r is a fresh half-open.
func (e *Engine) fastOpenSYN(l *listener, r *record, idx uint32, s *wire.Segment, i int) Action {
	q := &e.fast.queues[l.fastOpen]
	exp := s.Opt.Has & wire.FastOpenExp
	give := false
	switch {
	case e.keys == nil || q.limit == 0 || (s.Len == 0 && l.gate.hold > 0): // a deferred accept waits for text (FLD-006)
	case !q.room(e.nowMS):
		e.ctr.FastOpen.Full++
	case s.Opt.TFOLen == 0: // TFO-001
		e.ctr.FastOpen.Requests++
		give = true
	default:
		switch e.keys.FastOpen().Check(&e.tup[i], s.Opt.TFO[:s.Opt.TFOLen]) {
		case cookie.FastOpenRefused: // TFO-004
			e.ctr.FastOpen.BadCookies++
			give = true
		case cookie.FastOpenPrevious: // TFO-007
			give = true
			e.handOver(l, r, idx, s, i)
		case cookie.FastOpenCurrent: // TFO-003
			e.handOver(l, r, idx, s, i)
		}
	}
	e.synAck(r, s, e.sum[i].TSOff)
	if give { // on this copy alone: a repeated SYN-ACK is plain, as in Linux
		c := e.keys.FastOpen().Cookie(&e.tup[i])
		s.Opt.Has |= wire.HasFastOpen | exp // TFO-013
		s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], c[:]))
	}
	return e.answer(Answered)
}

// handOver gives the half-open r and the text of its SYN to the application.
func (e *Engine) handOver(l *listener, r *record, idx uint32, s *wire.Segment, i int) {
	f := &e.fast
	n := f.free
	slot := &f.slots[n]
	f.free = slot.next
	*slot = fastSlot{irs: s.Seq, wnd: s.Win, queue: l.fastOpen}
	f.queues[l.fastOpen].pending++
	f.pending++
	if r.gated() {
		e.pass(r, idx)
	}
	e.leaveHalfOpen(r)
	r.flags |= flagFastOpen
	r.wnd = n
	e.timers.arm(e.recs, idx, e.timers.proved.class(0), e.nowMS) // no longer among the half-opens
	e.established++
	e.ctr.Accepted++
	e.ctr.FastOpen.Accepted++
	ev := e.event(EventEstablished, idx, i)
	ev.ISS, ev.IRS, ev.FastOpen = r.sndUna, s.Seq, true
	if e.isStream(r) {
		r.flags2 |= flagStream
	}
	if n := min(s.Len, uint32(e.synWindowOf(r))); n > 0 {
		e.event(EventData, idx, i).Len = n
		r.rcvNxt += wire.Seq(n)
		e.ctr.PayloadBytes += uint64(n)
	}
}

// leave ends the time between hand-over and the peer's ACK: r becomes a flow as
// any other. reset says that the peer's RST ended it.
func (e *Engine) leave(r *record, reset bool) {
	f := &e.fast
	n := r.wnd
	slot := &f.slots[n]
	q := &f.queues[slot.queue]
	if reset { // TFO-008
		q.resets[(q.head+q.waiting)%len(q.resets)] = e.nowMS + fastOpenPenalty
		q.waiting++
	} else {
		q.pending--
	}
	f.pending--
	r.wnd = slot.wnd >> r.peerShift()
	slot.next, f.free = f.free, n
	r.flags &^= flagFastOpen
	r.state = Established
	if r.flags&flagFINSent != 0 {
		r.state = FinWait1
	}
}

// lose is leave for a flow whose peer never acknowledged.
func (e *Engine) lose(r *record, reset bool) {
	e.ctr.FastOpen.Failed++
	e.leave(r, reset)
}

// handedOverRcvd is SYN-RECEIVED after the hand-over.
func (e *Engine) handedOverRcvd(r *record, idx uint32, s *wire.Segment, i int) Action {
	slot := e.slot(r)
	// SND.NXT is beyond our SYN when the application has sent something (TFO-009); that
	// segment told the whole window, as later the SYN-ACK could not.
	spoke := r.sndNxt != r.sndUna+1
	wnd := uint32(e.synWindowOf(r))
	if spoke {
		wnd = e.rcvWnd(r)
	}
	if s.Flags&wire.FlagRST != 0 {
		switch {
		case s.Seq == r.rcvNxt: // TFO-011
			e.lose(r, true)
			e.ended(idx, i, ReasonReset)
			return e.count(Consumed)
		case s.Seq.InWindow(r.rcvNxt, wnd): // LSN-012
			return e.challenge(r, s, i)
		}
		return e.count(DropRST)
	}
	if s.Flags&wire.FlagSYN != 0 {
		switch {
		case s.Flags&wire.FlagACK != 0 && s.Ack != r.sndUna+1: // LSN-017
			return e.resetFor(s)
		case s.Flags&(wire.FlagACK|wire.FlagFIN) == 0 && s.Seq == slot.irs &&
			!(r.stamped(s) && r.paws(s)):
			return e.repeatFastSYN(r, idx, s, i) // TFO-010: with its text or without
		}
		// A peer that restarted resets what our ACK tells it of (RST-016): unlike
		// LSN-009, an application holds this one.
		return e.challenge(r, s, i)
	}
	if s.Flags&wire.FlagACK == 0 {
		return e.count(DropNoACK) // VAL-020
	}
	if !r.sndUna.Less(s.Ack) || r.sndNxt.Less(s.Ack) {
		return e.resetFor(s) // LSN-013
	}
	if r.stamped(s) {
		// Not only SYN-ACKs went out, so a TSval up to now may come back.
		off := e.sum[i].TSOff
		first, now := e.tsFirst(r, off), cookie.TSVal(off, e.now)
		if s.Opt.TSEcr != 0 && (int32(s.Opt.TSEcr-first) < 0 || int32(now-s.Opt.TSEcr) < 0) || r.paws(s) {
			return e.unacceptable(r, s, i, s.Len != 0) // LSN-018, LSN-019
		}
	}
	if !acceptable(s, r.rcvNxt, wnd) {
		return e.unacceptable(r, s, i, s.Len != 0) // LSN-014; TFO-010: also what holds only text that we have
	}
	return e.confirmed(r, idx, s, i)
}

// repeatFastSYN answers a copy of the SYN that r was handed over by: the same
// SYN-ACK, at most once per 500 ms.
func (e *Engine) repeatFastSYN(r *record, idx uint32, s *wire.Segment, i int) Action {
	e.ctr.SynRepeats++
	if e.now64-r.last < answerSpacing {
		e.ctr.SynRepeatsLimited++
		return e.count(DropRateLimited)
	}
	r.last = e.now64
	r.flags |= flagRetrans
	e.timers.arm(e.recs, idx, e.timers.proved.class(r.retries), e.nowMS)
	e.synAck(r, s, e.sum[i].TSOff)
	return e.answer(Answered)
}

// expireHandedOver repeats the SYN-ACK, once more than that of a half-open, and
// nothing that the application has sent (TFO-009).
func (e *Engine) expireHandedOver(r *record, idx uint32) {
	if int(r.retries) > e.cfg.SYNACKRetries {
		e.lose(r, false)
		e.ended(idx, -1, ReasonTimedOut)
		return
	}
	r.retries++
	r.flags |= flagRetrans
	e.timers.arm(e.recs, idx, e.timers.proved.class(r.retries), e.nowMS)
	e.ctr.SynAckRetrans++
	if s := e.emit(idx, false); s != nil {
		e.synAck(r, s, e.sumOf(idx).TSOff)
	}
}

// confirmed takes the ACK that completes the handshake.
func (e *Engine) confirmed(r *record, idx uint32, s *wire.Segment, i int) Action {
	e.ctr.FastOpen.Confirmed++
	e.leave(r, false)
	ev := e.event(EventConfirmed, idx, i)
	if r.flags&flagRetrans == 0 { // RTX-007: from the SYN-ACK to this
		ev.RTT = e.now64 - r.start
	} else {
		e.echoed(ev, r, s, i)
	}
	r.last = e.now64 - answerSpacing
	r.wnd = s.Win
	if r.stamped(s) && s.Seq.LessEq(r.rcvNxt) {
		r.tsRecent = s.Opt.TSVal
	}
	if r.flags2&flagStream != 0 {
		e.event(EventSegment, idx, i)
		return Silent
	}
	r.sndUna++ // our SYN; the rest is as in any flow
	e.acked(r, idx, s, i)
	if s.Len != 0 && r.unread(s) {
		e.ended(idx, i, ReasonAborted)
		return e.resetFor(s)
	}
	if s.Len == 0 && s.Flags&wire.FlagFIN == 0 {
		return e.count(Consumed)
	}
	return e.text(r, idx, s, i)
}
