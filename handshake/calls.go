package handshake

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Abort resets a flow (RST-012) or gives up a SYN-SENT silently (ACT-012).
// No event follows; those of this burst that are still to be read remain.
// It reports whether id was alive.
func (e *Engine) Abort(id FlowID) bool { return e.abort(id, -1) }

// AbortEvent is Abort for the flow of an event of this burst: it need not hash
// the tuple again.
func (e *Engine) AbortEvent(ev *Event) bool { return e.abort(ev.Flow, int(ev.Seg)) }

func (e *Engine) abort(id FlowID, seg int) bool {
	r := e.get(id)
	if r == nil || r.state == TimeWait {
		return false
	}
	idx := id.idx
	sum := e.sumAt(idx, seg)
	switch r.state {
	case SynSent:
		e.fastOpenUnanswered(r)
		e.opening--
		e.ctr.AttemptAborted++
	case SynRcvd:
		e.sendReset(r, idx, sum.TSOff) // §3.10.5: the peer may be ESTABLISHED
		switch {
		case r.flags&flagActive != 0:
			e.opening--
			e.ctr.AttemptAborted++
		case r.handedOver():
			e.lose(r, false)
			e.established--
			e.ctr.Aborted++
		default:
			e.ctr.HalfOpenReset++
		}
	default:
		e.sendReset(r, idx, sum.TSOff)
		e.established--
		e.ctr.Aborted++
	}
	e.removeHashed(idx, sum.Hash)
	return true
}

func (e *Engine) sendReset(r *record, idx uint32, tsOff uint32) {
	if s := e.emit(idx, false); s != nil {
		e.head(r, s, wire.FlagRST|wire.FlagACK, tsOff)
		s.Win = 0
		e.ctr.ResetsSent++
	}
}

// Close sends our FIN, after text that is under way if need be retransmitted with
// it: the half-close of §3.6, after which the peer's text still arrives. An open
// that is not finished is aborted. It reports whether there was something to close.
func (e *Engine) Close(id FlowID) bool { return e.close(id, -1) }

// CloseEvent is Close for the flow of an event of this burst: it need not hash
// the tuple again.
func (e *Engine) CloseEvent(ev *Event) bool { return e.close(ev.Flow, int(ev.Seg)) }

func (e *Engine) close(id FlowID, seg int) bool {
	r := e.get(id)
	if r == nil {
		return false
	}
	switch r.state {
	case Established, CloseWait:
	case SynSent:
		return e.abort(id, seg)
	case SynRcvd: // but for a flow that is handed over, nothing was sent or received that a FIN would have to follow
		if !r.handedOver() {
			return e.abort(id, seg)
		}
		if r.flags&flagFINSent != 0 {
			return false
		}
	case StateInvalid, Closed, Listen, FinWait1, FinWait2, Closing, LastAck, TimeWait:
		return false
	}
	if s := e.emit(id.idx, false); s != nil {
		e.head(r, s, wire.FlagFIN|wire.FlagACK, e.sumAt(id.idx, seg).TSOff)
	}
	e.sentFIN(r, id.idx)
	return true
}

// smallWindow is up to where a window is filled by one segment. A larger one is
// to hold two (WND-006), so that the peer acknowledges the first without delay.
const smallWindow = 536

// optionBytes is the room that options take in each segment with text.
func (r *record) optionBytes() uint32 {
	if r.flags&flagTS != 0 {
		return 12
	}
	return 0
}

// segment is the most text in one segment: option bytes come out of the MSS, which
// is announced without them (ENC-005).
func (r *record) segment() uint32 {
	return max(uint32(r.mss), r.optionBytes()) - r.optionBytes()
}

// Release closes a flow for good, as close(2) does where Close is shutdown(2): our
// FIN goes out if it has not yet, and nobody reads on, so new text of the peer is
// answered by a reset that ends the flow (RST-014). EventData and EventPeerClosed do
// not follow any more; EventAcked and EventClosed do. It reports whether id was alive.
func (e *Engine) Release(id FlowID) bool {
	r := e.get(id)
	if r == nil || r.state == TimeWait {
		return false
	}
	r.flags2 |= flagReleased
	if (r.state < FinWait1 || r.state == CloseWait) && r.flags&flagFINSent == 0 {
		return e.close(id, -1)
	}
	return true
}

// SendRoom is how many bytes Send takes now: one segment within the peer's
// window, and nothing while text is under way.
func (e *Engine) SendRoom(id FlowID) int {
	r := e.get(id)
	if r == nil {
		return 0
	}
	if r.state != Established && r.state != CloseWait {
		if r.handedOver() && r.sndNxt == r.sndUna+1 { // TFO-009
			return int(min(r.segment(), uint32(e.slot(r).wnd)))
		}
		return 0
	}
	if r.sndUna != r.sndNxt {
		return 0
	}
	wnd := r.sndWnd()
	if wnd > smallWindow {
		wnd /= 2
	}
	return int(min(r.segment(), wnd))
}

// Sending reports whether text given to Send is not acknowledged yet.
func (e *Engine) Sending(id FlowID) bool {
	r := e.get(id)
	return r != nil && r.flags2&flagText != 0
}

// Send queues one segment with n bytes of text, 0 < n ≤ SendRoom, and our FIN
// if fin is set. The caller keeps the text until EventAcked or EventClosed, since Output may ask
// for it again. It reports whether the segment was taken.
func (e *Engine) Send(id FlowID, n int, fin bool) bool {
	if n <= 0 || n > e.SendRoom(id) || len(e.out) == cap(e.out) {
		return false
	}
	r := &e.recs[id.idx]
	s := e.emit(id.idx, true)
	e.head(r, s, wire.FlagPSH|wire.FlagACK, e.sumOf(id.idx).TSOff)
	s.Len = uint32(n)
	e.out[len(e.out)-1].Text = s.Len
	if r.shifts&bitECN != 0 {
		r.ecnSend(s)
	}
	r.sndNxt += wire.Seq(n)
	r.flags2 |= flagText
	if r.state == SynRcvd { // handed over: the timer stays that of the SYN-ACK (TFO-009)
		if fin {
			s.Flags |= wire.FlagFIN
			e.sentFIN(r, id.idx)
		}
		return true
	}
	if fin {
		s.Flags |= wire.FlagFIN
		e.sentFIN(r, id.idx)
	} else {
		e.timers.arm(e.recs, id.idx, e.rto(r).class(0), e.nowMS)
	}
	return true
}

// outstanding is the text not yet acknowledged, without FIN.
func (r *record) outstanding() uint32 {
	n := uint32(r.sndNxt - r.sndUna)
	if r.flags&flagFINSent != 0 && n > 0 {
		n--
	}
	return n
}

// sendUnacked sends what is not acknowledged from SND.UNA on, as much as fits into
// one segment and the peer's window, which one byte probes if it is closed. It
// reports whether Output had room.
func (e *Engine) sendUnacked(r *record, idx uint32, tsOff uint32) bool {
	n := r.outstanding()
	k := min(n, r.segment(), max(1, r.sndWnd()))
	s := e.emit(idx, k > 0)
	if s == nil {
		return false
	}
	e.head(r, s, wire.FlagACK, tsOff)
	s.Seq, s.Len = r.sndUna, k
	e.out[len(e.out)-1].Text = n
	if k > 0 {
		s.Flags |= wire.FlagPSH
	}
	if r.flags&flagFINSent != 0 && k == n {
		s.Flags |= wire.FlagFIN
	}
	return true
}

// Advance sets the clock and fires due timers, at most budget of them and none
// when Output is full. It returns how many fired.
func (e *Engine) Advance(now Time, budget int) int {
	e.now, e.nowMS, e.now64 = now, uint32(now/1e6), uint32(now/64)
	if e.sweepAt != 0 {
		e.sweep()
	}
	// Deadlines are in milliseconds: a second look in the same one finds nothing.
	if e.timers.armed == 0 || (e.nowMS == e.advancedMS && !e.timersLeft) {
		return 0
	}
	e.advancedMS, e.timersLeft = e.nowMS, false
	fired := 0
	for class := range e.timers.classes {
		for {
			idx := e.timers.due(e.recs, class, e.nowMS)
			if idx == 0 {
				break
			}
			if fired == budget || len(e.out) == cap(e.out) {
				e.timersLeft = true
				return fired
			}
			fired++
			e.expire(idx)
		}
	}
	return fired
}

// NextTimer returns the time from the last clock to the next deadline in
// milliseconds, and false when nothing is armed.
func (e *Engine) NextTimer() (uint32, bool) { return e.timers.next(e.recs, e.nowMS) }

func (e *Engine) expire(idx uint32) {
	r := &e.recs[idx]
	limit, next := e.cfg.DataRetries, e.rto(r)
	switch r.state {
	case TimeWait:
		e.remove(idx)
		return
	case FinWait2: // TWT-008
		e.ended(idx, -1, ReasonDone)
		return
	case SynSent:
		limit, next = e.cfg.SYNRetries, &e.timers.syn
	case SynRcvd:
		if r.flags&(flagFastOpen|flagActive) == flagFastOpen {
			e.expireHandedOver(r, idx)
			return
		}
		if r.flags&flagActive == 0 {
			e.expireHalfOpen(r, idx)
			return
		}
		limit, next = e.cfg.SYNRetries, &e.timers.syn
	case Established, CloseWait, FinWait1, Closing, LastAck, StateInvalid, Closed, Listen:
	}
	// The third time in a row, or the last if there are fewer (TFO-018).
	if r.flags&flagFastOpen != 0 && (r.retries == 2 || (r.retries < 2 && int(r.retries) >= limit)) {
		e.blackHole(r)
	}
	if int(r.retries) >= limit {
		why := ReasonTimedOut
		if r.unreachable() {
			why = ReasonUnreachable // now the error of old counts (ACT-013, MTU-008)
		}
		e.ended(idx, -1, why)
		return
	}
	r.retries++
	e.timers.arm(e.recs, idx, next.class(r.retries), e.nowMS)
	tsOff := e.sumOf(idx).TSOff
	switch r.state {
	case SynSent:
		r.flags |= flagRetrans
		e.ctr.SynRetrans++
		e.sendSYN(r, idx, tsOff)
		if e.repeats {
			e.event(EventRepeated, idx, -1)
		}
	case SynRcvd:
		r.flags |= flagRetrans
		e.ctr.SynAckRetrans++
		if s := e.emit(idx, false); s != nil {
			e.simultaneousSynAck(r, s, tsOff)
		}
	default:
		if r.sndUna == r.sndNxt && r.probed() {
			e.sendProbe(r, idx, tsOff)
			return
		}
		e.ctr.DataRetrans++
		e.sendUnacked(r, idx, tsOff)
	}
}
