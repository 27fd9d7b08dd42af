package handshake

import "github.com/fastsyn/fastsyn/dataplane/wire"

// ICMPKind groups the ICMP errors by what they do to an open.
type ICMPKind uint8

// The kinds.
const (
	// ICMPSoft: net or host unreachable, time exceeded, parameter problem.
	ICMPSoft ICMPKind = iota
	// ICMPHard: port or protocol unreachable.
	ICMPHard
	// ICMPRefused: the other codes of unreachable, such as "administratively
	// prohibited". Soft for an attempt; a half-open does not hear of them, as in Linux.
	ICMPRefused
	// ICMPOther: anything else; ignored (ACT-014: source quench).
	ICMPOther
)

// KindOf classifies an error; one that reports a path MTU is ICMPOther, see PathMTU.
func KindOf(q *wire.Quote) ICMPKind {
	if q.Local.Is4() {
		return kind4(q.Type, q.Code)
	}
	switch q.Type {
	case wire.ICMPv6Unreachable:
		switch q.Code {
		case 0, 3: // no route, address unreachable
			return ICMPSoft
		case 4: // port
			return ICMPHard
		}
		return ICMPRefused
	case wire.ICMPv6TimeExceeded, wire.ICMPv6ParamProblem:
		return ICMPSoft
	}
	return ICMPOther
}

func kind4(typ, code uint8) ICMPKind {
	switch typ {
	case wire.ICMPUnreachable:
		switch code {
		case 0, 1: // net, host
			return ICMPSoft
		case 2, 3: // protocol, port
			return ICMPHard
		case wire.ICMPFragNeeded:
			return ICMPOther
		}
		return ICMPRefused
	case wire.ICMPTimeExceeded, wire.ICMPParamProblem:
		return ICMPSoft
	}
	return ICMPOther
}

// ICMPError takes an ICMP error about a segment of ours. It reports whether the
// error was believed: it must quote a flow that there is and a sequence number
// that is under way (RFC 5927 §4). A caller that checks who sent it goes by that
// no more than Linux: any router may.
func (e *Engine) ICMPError(q *wire.Quote) bool {
	tooBig := q.Type == wire.ICMPv6PacketTooBig
	if q.Local.Is4() {
		tooBig = q.Type == wire.ICMPUnreachable && q.Code == wire.ICMPFragNeeded
	}
	if tooBig {
		return e.PathMTU(&q.Tuple, q.Seq, q.MTU)
	}
	return e.ICMP(q.Tuple, q.Seq, KindOf(q))
}

// ICMP takes an ICMP error that quotes a segment of ours with sequence number
// seq. A passive half-open whose ISS it quotes is dropped by ICMPSoft (LSN-021); an
// attempt ends by ICMPHard and remembers the others for its timeout (ACT-013,
// RFC 5461), or ends by any with Config.FailFast. A flow that is established is
// never hurt, but should it time out the error is the reason (MTU-008). It
// reports whether the error was believed.
func (e *Engine) ICMP(t wire.Tuple, seq wire.Seq, kind ICMPKind) bool {
	if kind >= ICMPOther {
		return false
	}
	idx := e.lookup(e.sumTuple(&t).Hash, &t)
	if idx == 0 {
		return false
	}
	r := &e.recs[idx]
	if r.flags2&flagStream != 0 {
		return e.streamICMP(idx, seq, 0)
	}
	if !r.sndUna.LessEq(seq) || !seq.LessEq(r.sndNxt) {
		return false
	}
	switch r.state {
	case SynRcvd:
		if seq != r.sndUna {
			return false
		}
		if r.flags&flagActive == 0 {
			if kind != ICMPSoft || r.handedOver() {
				return false
			}
			e.ctr.HalfOpenReset++
			e.remove(idx)
			return true
		}
		if e.cfg.FailFast {
			e.ended(idx, -1, ReasonUnreachable)
			return true
		}
	case SynSent:
		if kind == ICMPHard || e.cfg.FailFast {
			e.ended(idx, -1, ReasonUnreachable)
			return true
		}
	case Established, FinWait1, CloseWait, Closing, LastAck:
		r.shifts |= bitPathError
		e.ctr.SoftErrors++
		return true
	case StateInvalid, Closed, Listen, FinWait2, TimeWait:
		return false
	}
	r.flags2 |= flagSoftError
	e.ctr.SoftErrors++
	return true
}

// unreachable reports whether r has heard of an ICMP error that did not end it.
func (r *record) unreachable() bool {
	if r.state == SynSent || r.state == SynRcvd {
		return r.flags2&flagSoftError != 0
	}
	return r.shifts&bitPathError != 0
}

// The least path MTU that is believed (MTU-005): what IPv4 reports below is taken
// for it, as min_pmtu of Linux; below 1280 no IPv6 link is.
const (
	minPathMTU4 = 552
	minPathMTU6 = 1280
)

// PathMTU takes an ICMP report that packets of more than mtu bytes do not pass,
// which quotes a segment of ours with sequence number seq; mtu 0 is "not given"
// (RFC 1191 §5). It lowers what the flow sends, never raises it nor what is announced
// (MTU-004, MTU-007), and sends what is under way again if it was too long.
// An attempt notes it for later: its SYN is short, and if it had text a plain
// one follows (MTU-006). It reports whether the report was believed.
func (e *Engine) PathMTU(t *wire.Tuple, seq wire.Seq, mtu uint32) bool {
	sum := e.sumTuple(t)
	idx := e.lookup(sum.Hash, t)
	if idx == 0 {
		return false
	}
	r := &e.recs[idx]
	overhead := uint32(40)
	if r.flags&flagV6 != 0 {
		if overhead = 60; mtu < minPathMTU6 {
			return false
		}
	}
	mss := max(mtu, minPathMTU4) - overhead
	if r.flags2&flagStream != 0 {
		return e.streamICMP(idx, seq, mss+overhead)
	}
	if !r.sndUna.LessEq(seq) || !seq.LessEq(r.sndNxt) {
		return false
	}
	switch r.state {
	case SynSent:
		if r.mss == 0 {
			r.mss = e.ownMSS(r.flags&flagV6 == 0) // until the peer says what it takes
		}
	case SynRcvd:
		if r.flags&flagActive == 0 {
			return false // LSN-021
		}
	case Established, FinWait1, CloseWait, Closing, LastAck:
	case StateInvalid, Closed, Listen, FinWait2, TimeWait:
		return false
	}
	if mss >= uint32(r.mss) {
		return false
	}
	tooLong := r.outstanding() > mss-r.optionBytes()
	r.mss = uint16(mss)
	e.ctr.PathMTUs++
	if r.state == SynSent && r.sndNxt != r.sndUna+1 {
		e.fastOpenTooBig(r, idx, t, sum.TSOff)
		return true
	}
	if tooLong && r.flags2&flagText != 0 && r.state != SynRcvd { // text of SYNs that crossed waits for the ACK
		e.ctr.DataRetrans++
		e.sendUnacked(r, idx, sum.TSOff)
	}
	return true
}
