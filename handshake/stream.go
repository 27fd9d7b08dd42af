package handshake

import (
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Streams are flows that the engine opens and looks up, and somebody else carries
// (package flow): once a flow of such an application is ESTABLISHED, each
// segment of it is an EventSegment, on which the engine neither acts nor answers,
// until EndStream takes the flow back for TIME-WAIT or its end. Close, Abort, Send and
// Release are not for streams.

// Streams makes the flows of app streams, those that are established from now on.
func (e *Engine) Streams(app uint16) {
	for len(e.streams) <= int(app) {
		e.streams = append(e.streams, false)
	}
	e.streams[app] = true
}

// isStream reports whether r is to become a stream.
func (e *Engine) isStream(r *record) bool {
	return int(r.app) < len(e.streams) && e.streams[r.app]
}

// Stream is a flow as the engine hands it over.
type Stream struct {
	SndUna, RcvNxt     wire.Seq
	SndWnd, RcvWnd     uint16     // as in the header: SndWnd scaled by SndShift, what our SYN or SYN-ACK promised not
	TSRecent, TSOff    uint32     // of timestamps, see TSVal
	RTT                uint32     // of the handshake, in µs; 0: no valid sample (RTX-006)
	MSS, OwnMSS        uint16     // what may be sent, and what we announced
	SndShift, RcvShift uint8      // window scales
	Has                StreamBits // what was negotiated
	State              State
}

// StreamBits are facts about a handshake.
type StreamBits uint8

// The facts.
const (
	StreamTS      StreamBits = 1 << iota // timestamps
	StreamSACK                           // SACK
	StreamECN                            // ECN (RFC 3168)
	StreamRetrans                        // a segment of the handshake was sent again, or a cookie hides whether it was
	StreamSYN                            // a SYN-ACK has completed it, and wants an ACK
	StreamLost                           // one was lost: text begins with a window of one segment (RFC 5681 §3.1)
)

// Stream stores into s the state of a flow behind its EventEstablished, before any
// EventSegment. Valid until EndBurst.
func (e *Engine) Stream(ev *Event, s *Stream) {
	r := &e.recs[ev.Flow.idx]
	s.SndUna, s.RcvNxt = r.sndUna, r.rcvNxt
	s.SndWnd, s.RcvWnd, s.State = r.wnd, e.synWindowOf(r), r.state
	if r.handedOver() {
		s.SndUna, s.SndWnd = r.sndUna+1, e.slot(r).wnd>>r.peerShift()
	}
	s.TSRecent, s.TSOff = r.tsRecent, e.sumAt(ev.Flow.idx, int(ev.Seg)).TSOff
	s.RTT = uint32(uint64(ev.RTT) * 64 / 1000)
	s.MSS, s.OwnMSS = r.mss, e.ownMSS(r.flags&flagV6 == 0)
	s.SndShift, s.RcvShift, s.Has = 0, 0, 0
	if r.flags&flagWScale != 0 {
		s.SndShift, s.RcvShift = r.peerShift(), e.ownShift
	}
	if r.flags&flagTS != 0 {
		s.Has |= StreamTS
	}
	if r.flags&flagSACK != 0 {
		s.Has |= StreamSACK
	}
	if r.shifts&bitECN != 0 {
		s.Has |= StreamECN
	}
	if ev.Off != 0 {
		s.Has |= StreamSYN
	}
	if r.flags&flagRetrans != 0 {
		s.Has |= StreamRetrans
		if !e.spurious(ev) {
			s.Has |= StreamLost
		}
	}
	if r.flags&(flagCookie|flagActive) == flagCookie && !ev.FastOpen {
		s.Has |= StreamRetrans
	}
}

// TSVal is the timestamp to send now on a stream with that offset.
func (e *Engine) TSVal(off uint32) uint32 { return cookie.TSVal(off, e.now) }

// Address fills in the tuple and the path of a segment to send on id.
func (e *Engine) Address(id FlowID, s *wire.Segment) {
	e.putTuple(id.idx, &s.Tuple)
	s.Path = e.recs[id.idx].path
}

// ID returns the ID of the flow with that index.
func (e *Engine) ID(index uint32) FlowID { return e.id(index) }

// Active reports whether this side opened the flow; valid until EndBurst.
func (e *Engine) Active(id FlowID) bool { return e.recs[id.idx].flags&flagActive != 0 }

// Alive reports whether id names a flow.
func (e *Engine) Alive(id FlowID) bool { return e.get(id) != nil }

// Count says what became of the segment of an EventSegment: one outcome for each
// (FLD-010).
func (e *Engine) Count(o Outcome) { e.ctr.Outcome[o]++ }

// Spoke says that a stream which came early (Fast Open), and whose peer has not acknowledged our SYN-ACK,
// has sent text up to nxt.
func (e *Engine) Spoke(id FlowID, nxt wire.Seq) { e.recs[id.idx].sndNxt = nxt }

// SetState has State and StateOf tell how far a stream is.
func (e *Engine) SetState(id FlowID, s State) { e.recs[id.idx].state = s }

// StreamEnd is how a stream ends.
type StreamEnd struct {
	SndNxt, RcvNxt wire.Seq
	TSRecent       uint32
	Reason         CloseReason
	TimeWait       bool // the record stays for 2·MSL; else it is gone
	Reset          bool // send a reset
}

// ResetStream answers s, a segment that a stream has no use for any more, by a reset
// (RST-014, SYN-004). EndStream is to follow.
func (e *Engine) ResetStream(id FlowID, s *wire.Segment) {
	o := e.emit(id.idx, false)
	if o == nil {
		return
	}
	o.Seq, o.Flags, o.Win, o.TOS = s.Ack, wire.FlagRST, 0, s.TOS&^3
	if s.Flags&wire.FlagACK == 0 {
		o.Seq, o.Ack, o.Flags = 0, s.Seq+wire.Seq(s.SegLen()), wire.FlagRST|wire.FlagACK
	}
	e.ctr.ResetsSent++
}

// EndStream takes back a stream. seg is the segment of this burst that ended it, -1
// for none. No event follows.
func (e *Engine) EndStream(id FlowID, seg int, end *StreamEnd) {
	r := e.get(id)
	if r == nil || r.flags2&flagStream == 0 {
		return
	}
	r.flags2 &^= flagStream
	if r.handedOver() {
		e.lose(r, false)
	}
	r.sndUna, r.sndNxt, r.rcvNxt, r.tsRecent = end.SndNxt, end.SndNxt, end.RcvNxt, end.TSRecent
	sum := e.sumAt(id.idx, seg)
	if end.Reset {
		e.sendReset(r, id.idx, sum.TSOff)
	}
	e.lost(end.Reason)
	if end.TimeWait && e.cfg.TimeWait >= 0 {
		e.ctr.TimeWaits++
		r.state = TimeWait
		r.last = e.now64 - answerSpacing
		e.timers.arm(e.recs, id.idx, classTimeWait, e.nowMS)
		return
	}
	e.removeHashed(id.idx, sum.Hash)
}

// lost counts the end of an established flow.
func (e *Engine) lost(why CloseReason) {
	e.established--
	switch why {
	case ReasonDone:
		e.ctr.Done++
	case ReasonReset:
		e.ctr.Reset++
	case ReasonTimedOut, ReasonUnreachable:
		e.ctr.Broken++
	case ReasonNone, ReasonRefused, ReasonAborted:
		e.ctr.Aborted++
	}
}

// streamICMP passes an ICMP error on; mtu is 0 if it is not about the path MTU.
func (e *Engine) streamICMP(idx uint32, seq wire.Seq, mtu uint32) bool {
	ev := e.event(EventICMP, idx, -1)
	ev.ISS, ev.Len = seq, mtu
	return true
}
