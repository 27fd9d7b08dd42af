package handshake

import (
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// sendMSS is what we may send to a peer that announced its MSS as o says:
// OPT-001..003.
func (e *Engine) sendMSS(o *wire.Options, v4 bool) uint16 {
	own, absent := e.mss6, uint16(1220)
	if v4 {
		own, absent = e.mss4, 536
	}
	m := absent
	if o.Has&wire.HasMSS != 0 && o.MSS != 0 {
		m = max(o.MSS, 48)
	}
	return min(m, own)
}

func (e *Engine) ownMSS(v4 bool) uint16 {
	if v4 {
		return e.mss4
	}
	return e.mss6
}

// synWindow is the unscaled window of a SYN or SYN-ACK (WND-001, WND-003).
func (e *Engine) synWindow(v4, ts bool) uint16 {
	switch {
	case v4 && ts:
		return e.win4t
	case v4:
		return e.win4
	case ts:
		return e.win6t
	}
	return e.win6
}

// synWindowOf is the window that the SYN or SYN-ACK of r said. That of an attempt
// was chosen before anything was negotiated, and its SYN-ACK must not take back
// what the SYN promised (WND-005).
func (e *Engine) synWindowOf(r *record) uint16 {
	ts := r.flags&flagTS != 0 || r.flags&flagActive != 0 && !e.cfg.NoTimestamps
	return e.synWindow(r.flags&flagV6 == 0, ts)
}

// usable masks out the options of a peer's SYN that this side has switched off.
func (e *Engine) usable(has wire.OptionSet) wire.OptionSet {
	if e.cfg.NoTimestamps {
		has &^= wire.HasTimestamps
	}
	if e.cfg.NoSACK {
		has &^= wire.HasSACKPermitted
	}
	if e.cfg.NoWScale {
		has &^= wire.HasWScale
	}
	return has
}

// underPressure keeps the cookie mode of CookiesPressure, with hysteresis.
func (e *Engine) underPressure() bool {
	if e.cookieMode {
		if e.halfOpen <= e.cfg.LowMark && e.now-e.cookieSince >= int64(e.cfg.MinStay) {
			e.cookieMode = false
		}
	} else if e.halfOpen >= e.cfg.HighMark {
		e.cookieMode = true
		e.cookieSince = e.now
		e.ctr.CookieModeEntered++
	}
	return e.cookieMode
}

// passiveOpen answers a SYN to a listener: §3.10.7.2 step 3.
func (e *Engine) passiveOpen(l *listener, s *wire.Segment, i int) Action {
	e.ctr.SynIn++
	if s.Opt.Has&(wire.HasMD5|wire.HasAO|wire.WScaleClamped) != 0 {
		if s.Opt.Has&(wire.HasMD5|wire.HasAO) != 0 { // OPT-014
			return e.refuse(DropSigned)
		}
		e.ctr.WScaleClamped++ // OPT-010
	}
	stateless := e.cfg.Cookies == CookiesAlways || (e.cfg.Cookies == CookiesPressure && e.underPressure())
	if l.guarded {
		o, cookie := e.admit(l, s)
		if o != Consumed {
			return e.refuse(o)
		}
		stateless = stateless || cookie
	}
	if stateless {
		return e.markCookie(s, i)
	}
	idx := uint32(0)
	if e.halfOpen < e.cfg.MaxHalfOpen {
		idx = e.alloc(&s.Tuple, e.sum[i].Hash)
	}
	if idx == 0 { // FLD-002
		if e.cfg.Cookies != CookiesNever {
			return e.markCookie(s, i)
		}
		if e.cfg.Flood.EvictOldest && e.evictOldest() {
			idx = e.alloc(&s.Tuple, e.sum[i].Hash)
		}
		if idx == 0 {
			return e.refuse(DropTableFull)
		}
	}
	return e.halfOpenFrom(l, s, i, idx, wire.Seq(cookie.ISN(e.sum[i].ISN, e.now)))
}

// halfOpenFrom fills a fresh record from a SYN and answers it (LSN-004).
func (e *Engine) halfOpenFrom(l *listener, s *wire.Segment, i int, idx uint32, iss wire.Seq) Action {
	r := &e.recs[idx]
	v4 := s.Remote.Is4()
	r.state = SynRcvd
	r.app, r.path = l.app, s.Path
	if l.autoClose {
		r.flags2 |= flagAutoClose
	}
	r.flags2 |= flagHalfOpen
	if l.gate.on {
		l.gateHalfOpen(r)
	}
	e.halfOpen++
	e.ctr.SynAcks++
	r.sndUna, r.sndNxt = iss, iss+1
	r.rcvNxt = s.Seq + 1 // text on the SYN is not acknowledged (LSN-005)
	r.wnd = s.Win
	r.mss = e.sendMSS(&s.Opt, v4)
	e.negotiate(r, &s.Opt)
	if s.Flags&ecnAsk == ecnAsk && e.grantsECN(s) {
		r.shifts |= bitECN
	}
	r.start, r.last = e.now64, e.now64-answerSpacing
	e.timers.arm(e.recs, idx, classSynAck, e.nowMS)
	if s.Opt.Has&wire.HasFastOpen != 0 && l.fastOpen != 0 {
		return e.fastOpenSYN(l, r, idx, s, i)
	}
	e.synAck(r, s, e.sum[i].TSOff)
	return e.answer(Answered)
}

// negotiate takes over the peer's offers that this side supports too.
func (e *Engine) negotiate(r *record, o *wire.Options) {
	has := e.usable(o.Has)
	if has&wire.HasTimestamps != 0 {
		r.flags |= flagTS
		r.tsRecent = o.TSVal
	}
	if has&wire.HasSACKPermitted != 0 {
		r.flags |= flagSACK
	}
	if has&wire.HasWScale != 0 {
		r.flags |= flagWScale
		r.setPeerShift(o.WScale)
	}
}

// synAck writes our SYN-ACK of r over s; s keeps tuple and path.
func (e *Engine) synAck(r *record, s *wire.Segment, tsOff uint32) {
	v4 := r.flags&flagV6 == 0
	s.Seq, s.Ack = r.sndUna, r.rcvNxt
	s.Flags = wire.FlagSYN | wire.FlagACK | wire.Flags(r.shifts&bitECN)*wire.FlagECE // never CWR or AE (ECN-003)
	s.Len, s.TOS = 0, 0
	s.Win = e.synWindowOf(r)
	e.synOptions(&s.Opt, r.flags&flagTS != 0, r.flags&flagSACK != 0, r.flags&flagWScale != 0, v4)
	if r.flags&flagTS != 0 {
		s.Opt.TSVal, s.Opt.TSEcr = cookie.TSVal(tsOff, e.now), r.tsRecent // TSP-002
	}
}

func (e *Engine) synOptions(o *wire.Options, ts, sack, ws, v4 bool) {
	o.Has = wire.HasMSS
	o.MSS = e.ownMSS(v4)
	if ts {
		o.Has |= wire.HasTimestamps
	}
	if sack {
		o.Has |= wire.HasSACKPermitted
	}
	if ws {
		o.Has |= wire.HasWScale
		o.WScale = e.ownShift
	}
}

// tsFirst is the TSval of the first SYN or SYN-ACK of r. record.start wraps after
// 274 s; from then on it is at least that of the last copy, which the timer knows.
func (e *Engine) tsFirst(r *record, tsOff uint32) uint32 {
	first := cookie.TSVal(tsOff, e.now-int64(e.now64-r.start)*64)
	if last := tsOff + e.timers.armedAt(r); int32(last-first) < 0 {
		return last
	}
	return first
}

// knowsNot reports whether r is a passive half-open whose SYN-ACK is not the one
// that the ACK s answers. A cookie may have been sent before the record was made.
func (r *record) knowsNot(s *wire.Segment) bool {
	return r.state == SynRcvd && r.flags&flagActive == 0 && s.Ack != r.sndNxt
}

// wrongAck is an unacceptable ACK in SYN-RECEIVED: the reset of LSN-013, unless it
// carries a cookie. Then cookie mode ended between a SYN and its repeat: the peer
// is ESTABLISHED by the first answer, and the half-open stands for the second.
func (e *Engine) wrongAck(r *record, idx uint32, s *wire.Segment, i int, v *cookie.Result) Action {
	if v != nil && v.OK && r.flags&flagActive == 0 {
		if l := e.listeners.find(&s.Tuple); l != nil {
			e.ctr.HalfOpenReplaced++
			e.removeHashed(idx, e.sum[i].Hash)
			return e.acceptCookie(l, s, i, v)
		}
	}
	return e.resetFor(s)
}

// synRcvd is SYN-RECEIVED, passive or (flagActive) from a simultaneous open:
// §3.10.7.4 with Linux's tcp_check_req where CONFORMANCE says so. v is the
// verdict on the ACK of s as a cookie, if it was asked for.
func (e *Engine) synRcvd(r *record, idx uint32, s *wire.Segment, i int, v *cookie.Result) Action {
	active := r.flags&flagActive != 0
	if r.flags&flagFastOpen != 0 {
		if active {
			return e.fastOpenCrossed(r, idx, s, i)
		}
		return e.handedOverRcvd(r, idx, s, i)
	}
	if e.sweepAt != 0 && e.dropUnlistened(idx, &s.Tuple) { // LSN-023
		return e.noRecord(s, i, v)
	}
	// RCV.WND is what our SYN or SYN-ACK said; it could not be scaled.
	inWindow := s.Seq == r.rcvNxt || s.Seq.InWindow(r.rcvNxt, uint32(e.synWindowOf(r)))
	if s.Flags&wire.FlagRST != 0 {
		switch {
		case s.Seq == r.rcvNxt: // LSN-011, SIM-005
			if active {
				e.ended(idx, i, ReasonRefused)
			} else {
				e.ctr.HalfOpenReset++
				e.removeHashed(idx, e.sum[i].Hash)
			}
			return e.count(Consumed)
		case inWindow: // LSN-012
			return e.challenge(r, s, i)
		}
		return e.count(DropRST)
	}
	if s.Flags&wire.FlagSYN != 0 {
		return e.synRcvdSYN(r, idx, s, i, inWindow)
	}
	if s.Flags&wire.FlagACK == 0 {
		return e.count(DropNoACK) // VAL-020
	}
	if s.Ack != r.sndNxt {
		return e.wrongAck(r, idx, s, i, v)
	}
	if r.stamped(s) && (!e.echoes(r, s, i) || r.paws(s)) { // LSN-018, LSN-019
		return e.unacceptable(r, s, i, s.Len != 0)
	}
	if !inWindow && !acceptable(s, r.rcvNxt, uint32(e.synWindowOf(r))) {
		return e.unacceptable(r, s, i, s.Len != 0) // LSN-014
	}
	if r.gated() {
		if a, in := e.enter(r, idx, s, i); !in {
			return a
		}
	}
	e.establish(r, idx, s, i)
	return e.afterOpen(r, idx, s, i)
}

// echoes reports whether s echoes one of the TSvals of our SYNs and SYN-ACKs, or
// none (LSN-018).
func (e *Engine) echoes(r *record, s *wire.Segment, i int) bool {
	off := e.sum[i].TSOff
	first, last := e.tsFirst(r, off), off+e.timers.armedAt(r) // the timer started with the last copy
	return s.Opt.TSEcr == 0 || int32(s.Opt.TSEcr-first) >= 0 && int32(last-s.Opt.TSEcr) >= 0
}

// synRcvdSYN handles a SYN or SYN-ACK in SYN-RECEIVED.
func (e *Engine) synRcvdSYN(r *record, idx uint32, s *wire.Segment, i int, inWindow bool) Action {
	active, stamped := r.flags&flagActive != 0, r.stamped(s)
	if s.Flags&wire.FlagACK != 0 {
		if s.Ack != r.sndNxt { // SIM-005, LSN-017
			return e.resetFor(s)
		}
		switch {
		case stamped && r.paws(s): // TSP-007
			return e.challenge(r, s, i)
		case active && s.Seq+1 == r.rcvNxt && (!stamped || e.echoes(r, s, i)): // SIM-002
			if stamped {
				r.tsRecent = s.Opt.TSVal
			}
			r.synWnd(s.Win)
			e.establish(r, idx, s, i)
			return e.opened(r, s, i)
		case !active && inWindow: // a SYN in the window: LSN-017
			e.ctr.HalfOpenReplaced++
			e.removeHashed(idx, e.sum[i].Hash)
			return e.count(Consumed)
		}
		return e.challenge(r, s, i)
	}
	switch {
	case active, stamped && r.paws(s): // SIM-003, LSN-008
		return e.challenge(r, s, i)
	case s.Seq+1 == r.rcvNxt && s.Flags&wire.FlagFIN == 0: // the same SYN again
		e.ctr.SynRepeats++
		if e.now64-r.last < answerSpacing {
			e.ctr.SynRepeatsLimited++
			return e.count(DropRateLimited) // LSN-006
		}
		r.last = e.now64
		r.flags |= flagRetrans
		e.armSynAck(r, idx)
		e.synAck(r, s, e.sum[i].TSOff)
		return e.answer(Answered)
	case inWindow && s.Flags&wire.FlagFIN == 0: // LSN-009: the peer restarted
		e.ctr.HalfOpenReplaced++
		e.removeHashed(idx, e.sum[i].Hash)
		return e.noRecord(s, i, nil)
	}
	return e.challenge(r, s, i) // LSN-010
}

// establish moves a record with a proven peer to ESTABLISHED and tells so.
// s is the segment that proved it; its SEG.ACK equals SND.NXT.
func (e *Engine) establish(r *record, idx uint32, s *wire.Segment, i int) {
	iss, irs := r.sndUna, r.rcvNxt-1
	if r.gated() {
		e.pass(r, idx)
	}
	e.leaveHalfOpen(r)
	e.timers.disarm(e.recs, idx)
	if r.flags&flagActive != 0 {
		e.opening--
		e.ctr.Connected++
	} else {
		e.ctr.Accepted++
	}
	e.established++
	r.state = Established
	r.sndUna = s.Ack
	r.retries = 0
	ev := e.event(EventEstablished, idx, i)
	ev.ISS, ev.IRS = iss, irs
	if r.flags&flagRetrans == 0 && r.flags2&flagProved == 0 { // Karn (RTX-006); a deferred ACK is no sample either
		ev.RTT = e.now64 - r.start
	} else if r.flags&flagCookie == 0 && r.flags2&flagProved == 0 {
		e.echoed(ev, r, s, i)
	}
	r.last = e.now64 - answerSpacing // the first challenge may go out at once
	if e.isStream(r) {
		r.flags2 |= flagStream
	}
}

// afterOpen goes on with the segment that completed a passive handshake: its
// window, its text and its FIN (LSN-015, LSN-016).
func (e *Engine) afterOpen(r *record, idx uint32, s *wire.Segment, i int) Action {
	r.wnd = s.Win
	if r.flags&flagTS != 0 {
		if s.Opt.Has&wire.HasTimestamps == 0 {
			e.ctr.NoTimestamp++ // LSN-020
		} else if s.Seq.LessEq(r.rcvNxt) {
			r.tsRecent = s.Opt.TSVal
		}
	}
	if s.Len == 0 && s.Flags&wire.FlagFIN == 0 {
		return e.count(Consumed)
	}
	if r.flags2&flagStream != 0 {
		e.event(EventSegment, idx, i)
		return Silent
	}
	return e.text(r, idx, s, i)
}
