package handshake

import (
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// rcvWin is the window field we advertise on a synchronized flow. The receive
// window never shrinks: applications consume text within the burst.
func (e *Engine) rcvWin(r *record) uint16 {
	w := e.cfg.RcvWindow
	if r.flags&flagWScale != 0 {
		w >>= e.ownShift
	}
	return uint16(min(w, 65535))
}

// rcvWnd is RCV.WND in bytes, as the peer has been told.
func (e *Engine) rcvWnd(r *record) uint32 {
	w := uint32(e.rcvWin(r))
	if r.flags&flagWScale != 0 {
		w <<= e.ownShift
	}
	return w
}

// ack rewrites s into a pure ACK of r: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>.
func (e *Engine) ack(r *record, s *wire.Segment, i int) {
	e.head(r, s, wire.FlagACK, e.sum[i].TSOff)
}

// head fills the header of a segment of a synchronized flow.
func (e *Engine) head(r *record, s *wire.Segment, flags wire.Flags, tsOff uint32) {
	s.Seq, s.Ack, s.Flags, s.Win = r.sndNxt, r.rcvNxt, flags, e.rcvWin(r)
	if r.shifts&bitCE != 0 && flags&wire.FlagRST == 0 {
		s.Flags |= wire.FlagECE
	}
	s.Len, s.TOS = 0, 0
	s.Opt.Has = 0
	if r.flags&flagTS != 0 { // TSP-003
		s.Opt.Has = wire.HasTimestamps
		s.Opt.TSVal, s.Opt.TSEcr = cookie.TSVal(tsOff, e.now), r.tsRecent
	}
}

// challenge answers s by an ACK, at most one per 500 ms and flow (RST-009: the
// limit is the flow's own, there is no shared counter to probe).
func (e *Engine) challenge(r *record, s *wire.Segment, i int) Action {
	if e.now64-r.last < answerSpacing {
		return e.count(DropRateLimited)
	}
	return e.challengeAlways(r, s, i)
}

func (e *Engine) challengeAlways(r *record, s *wire.Segment, i int) Action {
	r.last = e.now64
	e.ack(r, s, i)
	if r.state == SynRcvd { // what the SYN or SYN-ACK promised, which a stream begins with (WND-005)
		s.Win = e.synWindowOf(r)
		if r.flags&flagWScale != 0 {
			s.Win >>= e.ownShift
		}
	}
	return e.answer(AnsweredChallenge)
}

// synchronized is §3.10.7.4 for ESTABLISHED to LAST-ACK.
func (e *Engine) synchronized(r *record, idx uint32, s *wire.Segment, i int) Action {
	if s.Flags&wire.FlagSYN != 0 && s.Flags&wire.FlagRST == 0 { // fourth, moved up by RFC 5961 §4.2: for any SEQ
		return e.synchronizedSYN(r, idx, s, i)
	}
	wnd := e.rcvWnd(r)
	if s.Flags&wire.FlagRST != 0 { // second; not subject to PAWS (RST-005)
		switch {
		case s.Seq == r.rcvNxt, s.Seq+1 == r.rcvNxt && r.peerClosed(): // RST-001, RST-004
			e.peerReset(r, idx, i)
			return e.count(Consumed)
		case s.Seq.InWindow(r.rcvNxt, wnd+1): // RST-002
			if r.flags&flagFastOpen != 0 {
				e.blackHole(r) // TFO-018
			}
			return e.challenge(r, s, i)
		}
		return e.count(DropRST) // RST-003
	}
	if s.Flags&wire.FlagACK == 0 { // fifth, moved up as in Linux: silent wherever it lies
		return e.count(DropNoACK) // VAL-020
	}
	text := s.Len != 0
	hasTS := false
	if r.flags&flagTS != 0 {
		if hasTS = s.Opt.Has&wire.HasTimestamps != 0; !hasTS {
			e.ctr.NoTimestamp++ // TSP-004
		} else if r.paws(s) { // TSP-007
			return e.unacceptable(r, s, i, text)
		}
	}
	if !acceptable(s, r.rcvNxt, wnd) { // first
		return e.unacceptable(r, s, i, text) // RST-008
	}
	if r.sndNxt.Less(s.Ack) || r.ackTooOld(s.Ack) { // RST-006, RST-007
		return e.unacceptable(r, s, i, text)
	}
	if hasTS && s.Seq.LessEq(r.rcvNxt) { // TSP-005, TSP-006
		r.tsRecent = s.Opt.TSVal
	}
	if r.probed() {
		e.probeAnswered(r, idx, i)
	}
	switch {
	case r.sndUna.Less(s.Ack):
		r.wnd = s.Win
		if e.acked(r, idx, s, i) {
			return e.count(Consumed) // the flow is over
		}
	case r.sndUna == s.Ack && s.Seq == r.rcvNxt:
		// SND.WL1 and SND.WL2 are not kept (WND-005): nothing is held out of order, so
		// they are behind RCV.NXT and SND.UNA, and a segment at these is the newest.
		r.wnd = s.Win
	}
	if text && r.unread(s) {
		e.ended(idx, i, ReasonAborted)
		return e.resetFor(s)
	}
	if !text && s.Flags&wire.FlagFIN == 0 {
		return e.count(Consumed)
	}
	return e.text(r, idx, s, i)
}

// unread reports whether s has new text that nobody will read (RST-014).
func (r *record) unread(s *wire.Segment) bool {
	return r.flags2&flagReleased != 0 && (r.state == FinWait1 || r.state == FinWait2) &&
		r.rcvNxt.Less(s.Seq+wire.Seq(s.Len))
}

// synchronizedSYN is a SYN or SYN-ACK on a synchronized flow: a challenge, which
// also repeats a lost third ACK. Only a FIN-WAIT-2 that nobody owns gives way.
func (e *Engine) synchronizedSYN(r *record, idx uint32, s *wire.Segment, i int) Action {
	if r.state != FinWait2 || r.flags2&flagReleased == 0 || s.Flags&wire.FlagACK != 0 || s.Seq.Less(r.rcvNxt) ||
		r.stamped(s) && r.paws(s) {
		return e.challenge(r, s, i) // SYN-002, SYN-003
	}
	e.ended(idx, i, ReasonAborted) // SYN-004
	return e.resetFor(s)
}

// peerClosed reports whether RCV.NXT is behind the peer's FIN.
func (r *record) peerClosed() bool {
	return r.state == CloseWait || r.state == Closing || r.state == LastAck
}

// ackTooOld is RFC 5961 §5.2: an ACK of what was acknowledged longer ago than the
// peer can have text under way is a guess. MAX.SND.WND is not kept. The window of
// now stands for it, but not less than the one segment that Send has in flight, and
// nothing before the first byte was acknowledged (RST-007).
func (r *record) ackTooOld(ack wire.Seq) bool {
	if r.sndUna.LessEq(ack) {
		return false
	}
	if r.flags2&flagAcked == 0 {
		return true
	}
	return ack.Less(r.sndUna - wire.Seq(max(r.sndWnd(), uint32(r.mss))))
}

// acceptable is the table of §3.10.7.4 step 1 for a window that is never zero.
func acceptable(s *wire.Segment, rcvNxt wire.Seq, wnd uint32) bool {
	n := s.SegLen()
	if n == 0 {
		return s.Seq.InWindow(rcvNxt, wnd) || s.Seq == rcvNxt
	}
	return s.Seq.InWindow(rcvNxt, wnd) || (s.Seq+wire.Seq(n)-1).InWindow(rcvNxt, wnd)
}

// unacceptable answers by an ACK: at most one per 500 ms for pure segments,
// always for text, whose sender needs it to go on (RST-008).
func (e *Engine) unacceptable(r *record, s *wire.Segment, i int, text bool) Action {
	if text || s.Flags&wire.FlagFIN != 0 {
		return e.challengeAlways(r, s, i)
	}
	return e.challenge(r, s, i)
}

// peerReset ends a flow by the peer's RST.
func (e *Engine) peerReset(r *record, idx uint32, i int) {
	switch r.state {
	case Closing, LastAck: // both sides had closed already
		e.ended(idx, i, ReasonDone)
	case FinWait1, FinWait2, Established, CloseWait, StateInvalid, Closed, Listen, SynSent, SynRcvd, TimeWait:
		e.ended(idx, i, ReasonReset)
	}
}

// acked takes an ACK of something new: SND.UNA moves. It reports whether the flow ended.
func (e *Engine) acked(r *record, idx uint32, s *wire.Segment, i int) bool {
	cut := r.outstanding() > r.segment() // more than what was under way
	r.sndUna = s.Ack
	r.flags2 |= flagAcked
	if r.flags2&flagText != 0 && r.outstanding() == 0 { // with or without a FIN behind it
		r.flags2 &^= flagText
		if r.shifts&bitECN != 0 && s.Flags&wire.FlagECE != 0 {
			r.shifts |= bitCWR
		}
		e.event(EventAcked, idx, i)
	}
	if r.sndUna != r.sndNxt { // part of it: progress, so the timer and its back-off start anew
		r.retries = 0
		e.timers.arm(e.recs, idx, e.rto(r).class(r.retries), e.nowMS)
		if cut {
			e.sendUnacked(r, idx, e.sum[i].TSOff)
		}
		return false
	}
	e.timers.disarm(e.recs, idx)
	r.retries = 0
	r.shifts &^= bitPathError // the path is good again (MTU-008)
	switch r.state {
	case FinWait1:
		r.state = FinWait2
		e.timers.arm(e.recs, idx, classFinWait2, e.nowMS)
	case Closing:
		e.enterTimeWait(r, idx, i)
		return e.cfg.TimeWait < 0
	case LastAck:
		e.ended(idx, i, ReasonDone)
		return true
	case Established, CloseWait:
	case StateInvalid, Closed, Listen, SynSent, SynRcvd, FinWait2, TimeWait:
		return false
	}
	return false
}

// text takes the payload and the FIN of an acceptable segment with a good ACK:
// steps seven and eight. What is not the next byte is not held; an immediate ACK
// asks for it again.
func (e *Engine) text(r *record, idx uint32, s *wire.Segment, i int) Action {
	if r.shifts&bitECN != 0 {
		r.ecnText(s)
	}
	off := uint32(r.rcvNxt - s.Seq)
	if r.rcvNxt.Less(s.Seq) {
		if r.flags&flagFastOpen != 0 && s.Len == 0 {
			e.blackHole(r) // TFO-018: a FIN whose text is missing
		}
		e.ack(r, s, i)
		e.ctr.Outcome[DropOutOfOrder]++
		return Answer
	}
	fin := s.Flags&wire.FlagFIN != 0
	switch r.state {
	case Established, FinWait1, FinWait2:
	case CloseWait, Closing, LastAck, TimeWait, StateInvalid, Closed, Listen, SynSent, SynRcvd:
		e.ack(r, s, i) // the peer has closed: this is old
		return e.answer(Answered)
	}
	if n := s.Len; off < n {
		if r.flags&flagFastOpen != 0 {
			e.fastOpenHeard(r)
		}
		n -= off
		if room := e.rcvWnd(r); n > room {
			n, fin = room, false
		}
		ev := e.event(EventData, idx, i)
		ev.Off, ev.Len = off, n
		r.rcvNxt += wire.Seq(n)
		e.ctr.PayloadBytes += uint64(n)
		if r.state == FinWait2 { // a half-close whose peer still talks is no orphan (DAT-012)
			e.timers.arm(e.recs, idx, classFinWait2, e.nowMS)
		}
	}
	if fin {
		return e.peerFIN(r, idx, s, i)
	}
	e.ack(r, s, i)
	return e.answer(Answered)
}

// peerFIN is step eight.
func (e *Engine) peerFIN(r *record, idx uint32, s *wire.Segment, i int) Action {
	r.rcvNxt++
	if r.flags2&flagReleased == 0 {
		e.event(EventPeerClosed, idx, i)
	}
	switch r.state {
	case Established:
		r.state = CloseWait
		if r.flags2&flagAutoClose != 0 {
			// Our FIN rides on the ACK of theirs, behind text that is under way.
			e.head(r, s, wire.FlagFIN|wire.FlagACK, e.sum[i].TSOff)
			e.sentFIN(r, idx)
			return e.answer(Answered)
		}
	case FinWait1: // our FIN is not acknowledged yet: FIN-WAIT-2 has its own case
		r.state = Closing
	case FinWait2:
		e.ack(r, s, i)
		e.enterTimeWait(r, idx, i)
		return e.answer(Answered)
	case StateInvalid, Closed, Listen, SynSent, SynRcvd, CloseWait, Closing, LastAck, TimeWait:
	}
	e.ack(r, s, i)
	return e.answer(Answered)
}

// sentFIN moves the state on after a FIN went out with SEQ = SND.NXT.
func (e *Engine) sentFIN(r *record, idx uint32) {
	r.sndNxt++
	r.flags |= flagFINSent
	if r.state == SynRcvd { // handed over: FIN-WAIT-1 begins with the peer's ACK
		return
	}
	if r.state == CloseWait {
		r.state = LastAck
	} else {
		r.state = FinWait1
	}
	e.timers.arm(e.recs, idx, e.rto(r).class(r.retries), e.nowMS)
}

// enterTimeWait ends a flow for the application and keeps its record for 2·MSL.
func (e *Engine) enterTimeWait(r *record, idx uint32, i int) {
	if e.cfg.TimeWait < 0 {
		e.ended(idx, i, ReasonDone)
		return
	}
	e.established--
	e.ctr.Done++
	e.ctr.TimeWaits++
	r.state = TimeWait
	e.timers.arm(e.recs, idx, classTimeWait, e.nowMS)
	e.event(EventClosed, idx, i).Reason = ReasonDone
}

// timeWait is TIME-WAIT: §3.10.7.4 with RFC 6191 and TWT-002..007.
func (e *Engine) timeWait(r *record, idx uint32, s *wire.Segment, i int) Action {
	switch {
	case s.Flags&wire.FlagRST != 0:
		if s.Seq != r.rcvNxt || e.cfg.RFC1337 {
			return e.count(DropRST)
		}
		e.removeHashed(idx, e.sum[i].Hash) // TWT-007
		return e.count(Consumed)
	case s.Flags&(wire.FlagSYN|wire.FlagACK|wire.FlagFIN) == wire.FlagSYN:
		l := e.listeners.find(&s.Tuple)
		both := r.stamped(s)
		later := r.rcvNxt.Less(s.Seq)
		newer := both && (int32(s.Opt.TSVal-r.tsRecent) > 0 || (s.Opt.TSVal == r.tsRecent && later))
		if l == nil || !(newer || (!both && later)) {
			return e.challenge(r, s, i) // TWT-003, TWT-004
		}
		e.ctr.SynIn++
		if s.Opt.Has&(wire.HasMD5|wire.HasAO) != 0 { // OPT-014
			e.ctr.SynDropped++
			return e.count(DropSigned)
		}
		// A new incarnation: it bypasses queue limits and cookies (TWT-006).
		iss := r.nextISS()
		e.removeHashed(idx, e.sum[i].Hash)
		fresh := e.alloc(&s.Tuple, e.sum[i].Hash)
		if fresh == 0 {
			return e.refuse(DropTableFull)
		}
		return e.halfOpenFrom(l, s, i, fresh, iss)
	case s.Flags&wire.FlagACK == 0 && s.Flags&wire.FlagSYN == 0:
		return e.count(DropNoACK)
	case s.Flags&(wire.FlagFIN|wire.FlagSYN) == wire.FlagFIN && s.Seq+wire.Seq(s.SegLen()) == r.rcvNxt: // the peer did not get our last ACK (TWT-002)
		e.timers.arm(e.recs, idx, classTimeWait, e.nowMS)
	case s.SegLen() == 0 && s.Seq == r.rcvNxt && s.Ack.LessEq(r.sndNxt) && !(r.stamped(s) && r.paws(s)):
		if r.stamped(s) { // the next incarnation has to be newer than this
			r.tsRecent = s.Opt.TSVal
		}
		return e.count(Consumed)
	}
	return e.challenge(r, s, i)
}
