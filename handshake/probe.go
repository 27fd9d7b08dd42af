package handshake

import "github.com/fastsyn/fastsyn/dataplane/wire"

// Probe asks the peer of a flow that this side opened, and that is no stream, whether it
// still has it: by a segment without text before SND.NXT, which every TCP
// answers (RFC 9293 §3.8.4, KAL-002). The next segment of the peer is told by EventAlive; without
// one the probe is repeated as text is, Config.DataRetries times, and then the flow has ended
// (ReasonTimedOut). It reports whether a probe was sent: not while text or FIN is under way, whose
// acknowledgment says the same (KAL-004), nor when Output is full.
func (e *Engine) Probe(id FlowID) bool {
	r := e.get(id)
	if r == nil || r.flags&flagActive == 0 || r.flags2&flagStream != 0 || r.state != Established && r.state != CloseWait || r.sndUna != r.sndNxt {
		return false
	}
	if !e.sendProbe(r, id.idx, e.sumOf(id.idx).TSOff) {
		return false
	}
	r.flags2 |= flagProbed
	r.retries = 0
	e.timers.arm(e.recs, id.idx, e.rto(r).class(0), e.nowMS)
	return true
}

// TellRepeats has each repetition of a SYN told by EventRepeated, from now on.
func (e *Engine) TellRepeats() { e.repeats = true }

func (e *Engine) sendProbe(r *record, idx uint32, tsOff uint32) bool {
	s := e.emit(idx, false)
	if s == nil {
		return false
	}
	e.head(r, s, wire.FlagACK, tsOff)
	s.Seq--
	e.ctr.Probes++
	return true
}

// probed reports whether a Probe of r waits for its answer.
func (r *record) probed() bool { return r.flags2&flagProbed != 0 && r.flags&flagActive != 0 }

// probeAnswered takes any good segment of the peer for the answer.
func (e *Engine) probeAnswered(r *record, idx uint32, i int) {
	r.flags2 &^= flagProbed
	if r.sndUna == r.sndNxt && (r.state == Established || r.state == CloseWait) {
		e.timers.disarm(e.recs, idx)
		r.retries = 0
	}
	e.event(EventAlive, idx, i)
}
