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
	if s.Opt.Has&(wire.HasMD5|wire.HasAO) != 0 { // OPT-014
		e.ctr.SynDropped++
		return e.count(DropSigned)
	}
	if e.cfg.Cookies == CookiesAlways || (e.cfg.Cookies == CookiesPressure && e.underPressure()) {
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
		e.ctr.SynDropped++
		return e.count(DropTableFull)
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
	e.halfOpen++
	e.ctr.SynAcks++
	r.sndUna, r.sndNxt = iss, iss+1
	r.rcvNxt = s.Seq + 1 // text on the SYN is not acknowledged (LSN-005)
	r.wnd = s.Win
	r.mss = e.sendMSS(&s.Opt, v4)
	e.negotiate(r, &s.Opt)
	r.start, r.last = e.now64, e.now64-answerSpacing
	e.timers.arm(e.recs, idx, 0, e.nowMS)
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
		r.shifts = o.WScale<<4 | e.ownShift
	}
}

// synAck writes our SYN-ACK of r over s; s keeps tuple and path.
func (e *Engine) synAck(r *record, s *wire.Segment, tsOff uint32) {
	v4 := r.flags&flagV6 == 0
	s.Seq, s.Ack = r.sndUna, r.rcvNxt
	s.Flags = wire.FlagSYN | wire.FlagACK
	s.Len, s.TOS = 0, 0
	s.Win = e.synWindow(v4, r.flags&flagTS != 0)
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

// synRcvd is SYN-RECEIVED, passive or (flagActive) from a simultaneous open:
// §3.10.7.4 with Linux's tcp_check_req where CONFORMANCE says so.
func (e *Engine) synRcvd(r *record, idx uint32, s *wire.Segment, i int) Action {
	active := r.flags&flagActive != 0
	if r.flags&flagFastOpen != 0 {
		if active {
			return e.fastOpenCrossed(r, idx, s, i)
		}
		return e.handedOverRcvd(r, idx, s, i)
	}
	// RCV.WND is what our SYN or SYN-ACK said; it could not be scaled.
	inWindow := s.Seq.InWindow(r.rcvNxt, uint32(e.synWindow(r.flags&flagV6 == 0, r.flags&flagTS != 0)))
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
		return e.resetFor(s) // LSN-013
	}
	if r.flags&flagTS != 0 && s.Opt.Has&wire.HasTimestamps != 0 {
		off := e.sum[i].TSOff
		first, last := e.tsFirst(r, off), off+e.timers.armedAt(r) // the timer started with the last copy
		if s.Opt.TSEcr != 0 && (int32(s.Opt.TSEcr-first) < 0 || int32(last-s.Opt.TSEcr) < 0) {
			return e.challengeAlways(r, s, i) // LSN-018
		}
		if r.paws(s) {
			return e.challengeAlways(r, s, i) // LSN-019
		}
	}
	if !inWindow {
		return e.challengeAlways(r, s, i) // LSN-014
	}
	e.establish(r, idx, s, i)
	return e.afterOpen(r, idx, s, i)
}

// synRcvdSYN handles a SYN or SYN-ACK in SYN-RECEIVED.
func (e *Engine) synRcvdSYN(r *record, idx uint32, s *wire.Segment, i int, inWindow bool) Action {
	active := r.flags&flagActive != 0
	if s.Flags&wire.FlagACK != 0 {
		if s.Ack != r.sndNxt { // SIM-005, LSN-017
			return e.resetFor(s)
		}
		if active && s.Seq+1 == r.rcvNxt { // SIM-002
			r.synWnd(s.Win)
			e.establish(r, idx, s, i)
			e.ack(r, s, i)
			return e.answer(Answered)
		}
		if !inWindow {
			return e.challenge(r, s, i)
		}
		if !active { // a SYN in the window: LSN-017
			e.ctr.HalfOpenReplaced++
			e.removeHashed(idx, e.sum[i].Hash)
			return e.count(Consumed)
		}
		return e.challenge(r, s, i)
	}
	switch {
	case active: // SIM-003
		return e.challenge(r, s, i)
	case s.Seq+1 == r.rcvNxt && s.Flags&wire.FlagFIN == 0: // the same SYN again
		if r.flags&flagTS != 0 && s.Opt.Has&wire.HasTimestamps != 0 && r.paws(s) {
			return e.challenge(r, s, i) // LSN-008
		}
		e.ctr.SynRepeats++
		if e.now64-r.last < answerSpacing {
			return e.count(DropRateLimited) // LSN-006
		}
		r.last = e.now64
		r.flags |= flagRetrans
		e.timers.arm(e.recs, idx, backoff(r.retries), e.nowMS)
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
	if r.flags&flagRetrans == 0 { // Karn (RTX-006)
		ev.RTT = e.now64 - r.start
	}
	r.last = e.now64 - answerSpacing // the first challenge may go out at once
}

// afterOpen goes on with the segment that completed a passive handshake: its
// window, its text and its FIN (LSN-015, LSN-016).
func (e *Engine) afterOpen(r *record, idx uint32, s *wire.Segment, i int) Action {
	r.wnd = s.Win
	if r.flags&flagTS != 0 && s.Opt.Has&wire.HasTimestamps != 0 && s.Seq.LessEq(r.rcvNxt) {
		r.tsRecent = s.Opt.TSVal
	}
	if s.Len == 0 && s.Flags&wire.FlagFIN == 0 {
		return e.count(Consumed)
	}
	return e.text(r, idx, s, i)
}
