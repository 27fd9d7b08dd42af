package handshake

import (
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// checksCookies reports whether an ACK may carry one of our cookies: only for a
// while after one was sent, so that a quiet server is not open to guesses
// (CKI-016).
func (e *Engine) checksCookies() bool {
	if e.keys == nil || e.cfg.Cookies == CookiesNever {
		return false
	}
	return e.cfg.CookieFleet || (e.cookieSent != 0 && e.now-e.cookieSent < int64(e.cfg.CookieLife))
}

// verifyAll checks every ACK of the burst that no record explains: there is
// none, or a half-open that sent another ISS. It runs before any segment is
// decided, so that segments behind such an ACK find the flow it opens.
func (e *Engine) verifyAll(segs []*wire.Segment) {
	n := 0
	for i := range segs {
		s := segs[i]
		e.verdict[i] = 0
		if s.Flags&(wire.FlagACK|wire.FlagSYN|wire.FlagRST) != wire.FlagACK { // CKI-012
			continue
		}
		if e.listeners.byPort[s.LocalPort] == 0 {
			continue
		}
		if idx := e.cand[i]; idx != 0 && !e.recs[idx].knowsNot(s) {
			continue
		}
		v := &e.vin[n]
		v.Sum, v.Seq, v.Ack = e.sum[i], uint32(s.Seq), uint32(s.Ack)
		v.TSEcr, v.HasTS = s.Opt.TSEcr, s.Opt.Has&wire.HasTimestamps != 0
		v.V6, v.TSNow = !s.Remote.Is4(), e.nowMS
		n++
		e.verdict[i] = int8(n)
	}
	e.keys.Verify(e.vres[:n], e.vin[:n])
	for k := range n {
		if !e.vres[k].OK {
			e.ctr.CookiesBad++
		}
	}
}

// markCookie puts a SYN on the list that mintAll answers in one call. The sum is
// copied: an answer needs it after the burst's segments have been decided.
func (e *Engine) markCookie(s *wire.Segment, i int) Action {
	if e.keys == nil {
		return e.refuse(DropTableFull)
	}
	has := e.usable(s.Opt.Has)
	in := &e.min[e.nmint]
	in.Sum, in.IRS, in.TSNow, in.V6 = e.sum[i], uint32(s.Seq), e.nowMS, !s.Remote.Is4()
	in.Opts, in.WScale, in.MSS = 0, 0, 536
	if in.V6 {
		in.MSS = 1220
	}
	if has&wire.HasMSS != 0 && s.Opt.MSS != 0 {
		in.MSS = s.Opt.MSS
	}
	if has&wire.HasWScale != 0 {
		in.Opts |= cookie.HasWScale
		in.WScale = s.Opt.WScale
	}
	if has&wire.HasSACKPermitted != 0 {
		in.Opts |= cookie.SACK
	}
	if has&wire.HasTimestamps != 0 {
		in.Opts |= cookie.TS
	}
	if s.Flags&ecnAsk == ecnAsk && e.grantsECN(s) {
		in.Opts |= cookie.ECN // remembered beside timestamps only (CKI-021)
	}
	e.mseg[e.nmint] = uint8(i)
	e.nmint++
	return Silent
}

// mintAll answers the marked SYNs. No record, no timer, no retransmission (CKI-014).
func (e *Engine) mintAll(segs []*wire.Segment, act []Action) {
	n := e.nmint
	e.keys.Mint(e.mres[:n], e.min[:n])
	sent := uint64(0)
	for k := range n {
		i := e.mseg[k]
		s, m, in := segs[i], &e.mres[k], &e.min[k]
		if !m.OK { // CKI-005
			act[i] = e.refuse(DropMSS)
			continue
		}
		sent++
		ts := m.Opts&cookie.TS != 0
		s.Ack = s.Seq + 1
		s.Seq = wire.Seq(m.ISS)
		s.Flags = wire.FlagSYN | wire.FlagACK | wire.Flags(m.Opts&cookie.ECN/cookie.ECN)*wire.FlagECE
		s.Len, s.TOS = 0, 0
		s.Win = e.synWindow(!in.V6, ts)
		tsval, had := s.Opt.TSVal, s.Opt.Has
		e.synOptions(&s.Opt, ts, m.Opts&cookie.SACK != 0, m.Opts&cookie.HasWScale != 0, !in.V6)
		s.Opt.Has &= had | ^wire.HasMSS // with it the answer were longer than the SYN (adr 0016)
		if ts {
			s.Opt.TSVal, s.Opt.TSEcr = m.TSVal, tsval
		}
		act[i] = Answer
	}
	if sent > 0 {
		e.cookieSent = e.now
	}
	e.ctr.Cookies += sent
	e.ctr.Outcome[AnsweredCookie] += sent
}

// acceptCookie makes the record that the cookie stood for.
func (e *Engine) acceptCookie(l *listener, s *wire.Segment, i int, v *cookie.Result) Action {
	e.ctr.CookiesOK++
	if l.guarded {
		if o := e.admitCookie(l); o != Consumed {
			return e.count(o)
		}
	}
	idx := e.alloc(&s.Tuple, e.sum[i].Hash)
	if idx == 0 && e.cfg.Flood.EvictOldest && e.evictOldest() { // who has proved its address goes first
		idx = e.alloc(&s.Tuple, e.sum[i].Hash)
	}
	if idx == 0 { // CKI-022
		e.ctr.CookieNoRoom++
		return e.count(DropFlowsFull)
	}
	r := &e.recs[idx]
	r.app, r.path = l.app, s.Path
	if l.autoClose {
		r.flags2 |= flagAutoClose
	}
	r.flags |= flagCookie | flagRetrans // whether the SYN-ACK went out once is not known, so no RTT from clocks
	r.sndUna, r.sndNxt = wire.Seq(v.ISS), wire.Seq(v.ISS)+1
	r.rcvNxt = wire.Seq(v.IRS) + 1
	r.mss = min(max(v.MSS, 48), e.ownMSS(s.Remote.Is4()))
	r.start, r.last = e.now64, e.now64
	if v.Opts&cookie.TS != 0 {
		r.flags |= flagTS
		r.tsRecent = s.Opt.TSVal
	}
	if v.Opts&cookie.SACK != 0 {
		r.flags |= flagSACK
	}
	r.shifts = uint8(v.Opts&cookie.ECN/cookie.ECN) * bitECN
	if v.Opts&cookie.HasWScale != 0 {
		r.flags |= flagWScale
		r.setPeerShift(v.WScale)
	}
	e.establish(r, idx, s, i)
	if l.gate.backlog != 0 {
		l.queue(r)
	}
	if v.Opts&cookie.TS != 0 {
		// The TSval was rounded down, so this is up to 63 ms too long (CKI-020).
		e.events[len(e.events)-1].RTT = uint32(min(uint64(v.AgeMS)*1e6/64, 1<<32-1))
	}
	r.flags &^= flagRetrans
	return e.afterOpen(r, idx, s, i)
}
