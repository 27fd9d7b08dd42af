package handshake

import (
	"errors"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Fast Open of RFC 7413, client. In SYN-SENT a record with flagFastOpen has
// text to send: record.wnd bytes, of which SND.NXT covers those on the SYN, and
// record.shifts says what the SYN asked. Both fields get their own meaning with
// the peer's SYN. Once the flow is established, flagFastOpen means that the SYN had
// the option and that no text came yet: what may show a black hole (TFO-018).

// What the SYN of a record in SYN-SENT carried: bits of record.shifts, where the
// peer's shift will be.
const (
	fastAsked = 0x10 // the option
	fastExp   = 0x20 // in its experimental form
	fastHow   = fastAsked | fastExp
)

// ErrTextTooLong is returned by ConnectText for more than one segment of text.
var ErrTextTooLong = errors.New("handshake: text for Connect is longer than a segment, see TextRoom")

// TextRoom is how many bytes of text ConnectText takes for a peer of the family of remote.
func (e *Engine) TextRoom(remote wire.Addr) int {
	n := int(e.ownMSS(remote.Is4()))
	if !e.cfg.NoTimestamps {
		n -= 12
	}
	return n
}

// ConnectText is Connect with n bytes of text, 0 ≤ n ≤ TextRoom, that follow the
// SYN at once: on it, as far as they fit, when Config.FastOpenCache is set and the
// server has given us a cookie before (RFC 7413), else as soon as it answers. Without
// a cookie the SYN asks for one. The caller keeps the text as with Send. Whatever
// stands on a SYN may reach the application of the server twice (TFO-019).
func (e *Engine) ConnectText(t *wire.Tuple, app, path uint16, n int) (FlowID, error) {
	if n < 0 || n > e.TextRoom(t.Remote) {
		return FlowID{}, ErrTextTooLong
	}
	id, err := e.Connect(t, app, path)
	if err != nil {
		return id, err
	}
	r := &e.recs[id.idx]
	r.textOpen(uint16(n))
	if e.fast.cache.sets == nil {
		return id, nil
	}
	if e.now < e.fast.until {
		e.ctr.FastOpen.Suspended++
		return id, nil
	}
	e.fastOpenOption(r, &e.out[len(e.out)-1], t)
	return id, nil
}

// fastOpenOption adds option and text to the SYN in o, which is not sent yet.
func (e *Engine) fastOpenOption(r *record, o *Out, t *wire.Tuple) {
	s := &o.Seg
	s.Opt.Has |= wire.HasFastOpen
	s.Opt.TFOLen = 0
	r.shifts |= fastAsked
	p := e.fastPeer(t)
	if p != nil && p.flags&(fastPeerExp|fastPeerTryExp) != 0 {
		s.Opt.Has |= wire.FastOpenExp
		r.shifts |= fastExp
	}
	if p == nil || p.n == 0 {
		e.ctr.FastOpen.Asked++
		return
	}
	s.Opt.TFO, s.Opt.TFOLen = p.cookie, p.n
	// TFO-014: the option may take all the room that options have.
	k := min(r.wnd, min(p.mss, e.ownMSS(t.Remote.Is4()))-wire.MaxOptionsLen)
	if k == 0 {
		return
	}
	o.Payload, o.Text = true, uint32(r.wnd)
	s.Len = uint32(k)
	r.sndNxt += wire.Seq(k)
	e.fast.sending++
	e.ctr.FastOpen.Sent++
}

// fastOpenAnswered is SYN-SENT with text to send, for a segment with SYN and, if
// it has ACK, a good one. It leaves the handshake to synSent.
func (e *Engine) fastOpenAnswered(r *record, idx uint32, s *wire.Segment, i int, ackOK bool) Action {
	held, how, iss, nxt := r.wnd, r.shifts&fastHow, r.sndUna, r.sndNxt
	in := *s
	r.flags &^= flagFastOpen
	r.flags2 &^= flagText
	r.wnd = 0
	r.shifts &^= fastHow
	if ackOK {
		r.sndNxt = s.Ack
	}
	act := e.synSent(r, idx, s, i)
	if r.state == SynSent { // an impossible timestamp: nothing happened
		r.sndNxt = nxt
		r.shifts |= how
		r.textOpen(held)
		return act
	}
	onSYN := nxt != iss+1
	if onSYN {
		e.fast.sending--
	}
	if r.state == SynRcvd { // SYNs have crossed: the text waits for the ACK (SIM-006)
		if onSYN {
			e.ctr.FastOpen.Declined++
		}
		if held > 0 {
			r.textOpen(held)
		}
		return act
	}
	taken := in.Ack != iss+1
	if onSYN && taken {
		r.flags2 |= flagAcked
		e.ctr.FastOpen.Taken++
		e.events[len(e.events)-1].FastOpen = true
	} else if onSYN {
		e.ctr.FastOpen.Declined++
	}
	if how&fastAsked != 0 {
		e.learn(r, &in, how, onSYN, taken)
		r.flags |= flagFastOpen
		if in.Len > 0 || in.Flags&wire.FlagFIN != 0 { // a server that answers as fast (RFC 7413 §4.2.2)
			e.ctr.Outcome[Answered]-- // counted once more
			*s = in
			s.Seq, s.Flags = in.Seq+1, in.Flags&^wire.FlagSYN
			if r.flags2&flagStream != 0 {
				e.sendHeld(r, idx, i, iss, held)
				e.event(EventSegment, idx, i)
				return Silent
			}
			act = e.text(r, idx, s, i)
			e.sendHeld(r, idx, i, iss, held)
			return act
		}
	}
	if e.sendHeld(r, idx, i, iss, held) { // with our ACK, which need not go out alone
		e.ctr.Outcome[Answered]--
		return e.count(Consumed)
	}
	return act
}

// textOpen marks r as an open with held bytes of text, before it is established.
func (r *record) textOpen(held uint16) {
	r.wnd = held
	r.flags |= flagFastOpen
	if held > 0 {
		r.flags2 |= flagText
	}
}

// sendHeld sends what the SYN of an established flow did not bring over, at once
// (TFO-016). It reports whether a segment is on its way.
func (e *Engine) sendHeld(r *record, idx uint32, i int, iss wire.Seq, held uint16) bool {
	if held == 0 {
		return false
	}
	if r.flags2&flagStream != 0 {
		for k := len(e.events) - 1; ; k-- { // that of this flow is there
			if ev := &e.events[k]; ev.Kind == EventEstablished && ev.Flow.idx == idx {
				ev.Len = uint32(held) - uint32(r.sndUna-iss-1)
				return false
			}
		}
	}
	r.flags2 |= flagText
	r.sndNxt = iss + 1 + wire.Seq(held)
	if r.sndUna == r.sndNxt {
		r.flags2 &^= flagText
		e.event(EventAcked, idx, i)
		return false
	}
	e.timers.arm(e.recs, idx, e.rto(r).class(0), e.nowMS)
	return e.sendUnacked(r, idx, e.sum[i].TSOff)
}

// learn takes what a SYN-ACK says about Fast Open: Linux's tcp_rcv_fastopen_synack.
func (e *Engine) learn(r *record, in *wire.Segment, how uint8, onSYN, taken bool) {
	has, n := in.Opt.Has, in.Opt.TFOLen
	given := has&wire.HasFastOpen != 0 && n > 0
	p := e.fastPeerFor(&in.Tuple)
	p.mss = r.mss
	switch {
	case given: // also after the SYN was repeated without asking (TFO-015)
		e.ctr.FastOpen.Learned++
		p.cookie, p.n, p.flags = in.Opt.TFO, n, 0
		if has&wire.FastOpenExp != 0 {
			p.flags = fastPeerExp
		}
	case p.n == 0 && r.flags&flagRetrans == 0: // asked in vain (TFO-017)
		if how&fastExp != 0 {
			p.flags = fastPeerTried
		} else if p.flags&fastPeerTried == 0 {
			p.flags = fastPeerTryExp
		}
	}
	if onSYN && taken {
		e.fast.failures = 0
	}
}

// fastOpenCrossed is SYN-RECEIVED after SYNs crossed, with text to send. What the
// peer may acknowledge includes the text that stood on our SYN.
func (e *Engine) fastOpenCrossed(r *record, idx uint32, s *wire.Segment, i int) Action {
	held, iss, nxt := r.wnd, r.sndUna, r.sndNxt
	r.flags &^= flagFastOpen
	r.flags2 &^= flagText
	r.sndNxt = iss + 1
	if s.Flags&wire.FlagACK != 0 && iss.Less(s.Ack) && s.Ack.LessEq(nxt) {
		r.sndNxt = s.Ack
	}
	act := e.synRcvd(r, idx, s, i, nil)
	switch r.state {
	case SynRcvd:
		r.sndNxt = nxt
		r.textOpen(held)
	case Established, CloseWait:
		e.sendHeld(r, idx, i, iss, held)
	case StateInvalid, Closed, Listen, SynSent, FinWait1, FinWait2, Closing, LastAck, TimeWait:
	}
	return act
}

// fastOpenUnanswered counts an attempt that ends in SYN-SENT.
func (e *Engine) fastOpenUnanswered(r *record) {
	if r.state == SynSent && r.sndNxt != r.sndUna+1 {
		e.fast.sending--
		e.ctr.FastOpen.Unanswered++
	}
}

// fastOpenTooBig is told that the SYN of r was too long for the path, on which
// segments of r.mss pass: a plain one goes out at once, and what is on the next
// one to that server fits (MTU-006).
func (e *Engine) fastOpenTooBig(r *record, idx uint32, t *wire.Tuple, tsOff uint32) {
	if p := e.fastPeer(t); p != nil {
		p.mss = min(p.mss, r.mss)
	}
	if r.flags&flagRetrans == 0 {
		r.flags |= flagRetrans
		e.ctr.SynRetrans++
		e.sendSYN(r, idx, tsOff)
	}
}

// maxBlackHole is the exponent beyond which suspensions do not get longer.
const maxBlackHole = 6

// blackHole suspends Fast Open as a client: something on the path does not take
// text on SYNs, or what follows them (TFO-018). Any flow with text in answer ends the series.
func (e *Engine) blackHole(r *record) {
	if e.cfg.FastOpenBlackHole == 0 || r.flags&flagActive == 0 || (r.state == SynSent && r.shifts&fastAsked == 0) {
		return
	}
	f := &e.fast
	e.ctr.FastOpen.BlackHoles++
	f.until = e.now + int64(e.cfg.FastOpenBlackHole)<<min(f.failures, maxBlackHole)
	f.failures++
}

// fastOpenHeard is told of the first text on a flow that asked for Fast Open.
func (e *Engine) fastOpenHeard(r *record) {
	if r.flags&flagActive != 0 {
		r.flags &^= flagFastOpen
		e.fast.failures = 0
	}
}
