package flow

import (
	"math"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Loss recovery is one mechanism, RACK-TLP (RFC 8985), over one scoreboard. What
// the older documents ask for are cases of it:
//   - three duplicate ACKs (RFC 5681 §3.2, RFC 6675 §5) end the wait for reordering
//     (RFC 8985 §6.2 step 4);
//   - limited transmit (RFC 3042) is what pipe < cwnd allows once what
//     arrived is no longer counted as in flight;
//   - NewReno (RFC 6582) is the same for a peer without SACK: each duplicate ACK
//     counts for a segment that arrived, and a partial ACK says that the next one is lost;
//   - after a timeout everything is lost and the window is one segment (RFC 6298 §5.4).
//
// A lost retransmission is found like any other loss.

// phase is what a sender is recovering from.
type phase uint8

const (
	phaseOpen phase = iota + 1
	phaseFast       // a loss that ACKs told of: the window is reduced until point is acknowledged
	phaseLoss       // a timeout: slow start until point is acknowledged
)

const (
	dupThresh      = 3       // RFC 5681 §3.2
	reoPersist     = 16      // recoveries for which a duplicate SACK widens the window (RFC 8985 §6.2)
	probeInitial   = 1000000 // PTO without a round trip (RFC 8985 §7.2)
	probeMaxAckLag = 200000  // TLP.max_ack_delay (§7.2)
	probeMin       = 2000    // timers tick in milliseconds
	togetherShift  = 5       // flights within 1/32 of a round trip are one run
)

// recovery is how a flow sends text until it has arrived. Pointer-free. Its caller sends
// what next says, and reports ACKs, what it sent, and the expiry of the one timer.
type recovery struct {
	scoreboard
	rackAt  uint32   // RACK.xmit_ts: when the segment was sent that was sent last of those that arrived
	rackEnd wire.Seq // RACK.end_seq
	rackRTT uint32   // RACK.rtt
	minRTT  uint32   // the least round trip seen; MaxUint32: none
	armed   uint32   // when the retransmission timer was started (RFC 6298 §5.1 to §5.3)
	probeAt uint32   // when the probe timer was started (RFC 8985 §7.2)
	reoAt   uint32   // when what is missing will be called lost; see reoArmed
	point   wire.Seq // the end of recovery: SND.NXT when it began ("recover" of RFC 6582)
	filled  wire.Seq // SND.NXT when the window was last full
	round   wire.Seq // RACK.dsack_round
	tlpEnd  wire.Seq // TLP.end_seq, with tlp

	phase   phase
	dupAcks uint8
	reoMult uint8 // RACK.reo_wnd_mult
	persist uint8 // RACK.reo_wnd_persist

	sackOK     bool // SACK was negotiated
	rack       bool // something arrived: rackAt, rackEnd and rackRTT are set
	reordering bool // RACK.reordering_seen
	reoArmed   bool
	inRound    bool // round is set
	hasPoint   bool // point is not passed yet
	hasFilled  bool // and neither is filled
	tlp        bool // a probe is under way
	tlpRetrans bool // TLP.is_retrans
	fast       bool // recovery has begun, and nothing was sent again since
}

// outstanding is the pipe (RFC 6675 §4). Without SACK each duplicate ACK takes a segment out of it.
func (r *recovery) outstanding(mss uint32) uint32 {
	n := r.pipe()
	if !r.sackOK {
		n -= min(n, uint32(r.dupAcks)*mss)
	}
	return n
}

// next says what to send now: seq and n of a lost segment, or n = 0 and how many bytes of new text congestion control
// allows (RFC 6675 §4 NextSeg). The peer's window is the caller's business
// for new text; what is lost was within it once (RFC 9293 §3.8.6: shrinking is survived).
func (r *recovery) next(p *runPool, mss, cwnd uint32) (seq wire.Seq, n, allowed uint32) {
	pipe := r.outstanding(mss)
	if r.fast && r.lost != 0 { // the fast retransmit itself does not wait for room (RFC 6675 §5 (4.3))
		cwnd = max(cwnd, pipe+mss)
	}
	if pipe >= cwnd {
		return r.nxt, 0, 0
	}
	seq, n = p.nextLost(&r.scoreboard, mss)
	r.fast = r.fast && n != 0
	if n != 0 && pipe+n > cwnd && pipe != 0 { // only full segments fit, but one always does
		return seq, 0, 0
	}
	return seq, n, cwnd - pipe
}

// sentNew takes that n bytes of new text (or a FIN) were sent.
func (r *recovery) sentNew(p *runPool, c *cubic, t *rto, n, mss, now uint32) {
	if r.flight() == 0 {
		r.armed = now
	}
	r.probeAt = now
	p.sent(&r.scoreboard, n, now, t.smoothed()>>togetherShift)
	if r.outstanding(mss)+mss > c.cwnd {
		r.filled, r.hasFilled = r.nxt, true
	}
}

// sentAgain takes that [seq, seq+n) was sent again, because next or expired said so.
func (r *recovery) sentAgain(p *runPool, seq wire.Seq, n, now uint32) {
	r.fast = false
	p.resent(&r.scoreboard, seq, n, now)
}

// ackOf is an acceptable ACK. Its seq is at most SND.NXT.
type ackOf struct {
	ack    wire.Seq
	blocks []wire.SACKBlock // of the option; ignored unless negotiated
	now    uint32
	// With timestamps, the latest time of the flow's clock at which the TSval was current that the peer echoes.
	echo    uint32
	hasEcho bool
	// pure says that the segment could be a duplicate ACK: no text, no FIN and the window
	// as before (RFC 5681 §2).
	pure bool
}

// acked takes an ACK and drives c and t with it. It returns how many bytes were acknowledged
// or reported for the first time. What is lost now is for next to say.
func (r *recovery) acked(p *runPool, c *cubic, t *rto, a *ackOf, mss uint32) uint32 {
	una, flight := r.una, r.flight()
	progress := a.ack != una && uint32(a.ack-una) <= flight
	if !progress && flight == 0 && !r.tlp {
		return 0
	}
	d := delivery{now: a.now, minRTT: r.minRTT, echo: a.echo, hasEcho: a.hasEcho}
	if r.minRTT == math.MaxUint32 {
		d.minRTT = 0
	}
	high := r.high
	if progress {
		p.acked(&r.scoreboard, a.ack, &d)
		r.armed, r.probeAt = a.now, a.now
		if d.unclear {
			t.unclear()
		} else {
			t.progress()
		}
	}
	dsack := false
	if r.sackOK && len(a.blocks) != 0 {
		dsack = p.sack(&r.scoreboard, a.ack, a.blocks, &d)
	}
	r.sample(t, &d, a, flight, mss, progress)
	r.reordered(&d, high, dsack)
	r.countDuplicates(a, &d, una, mss, progress)
	if r.tlp && r.tlpEnd.LessEq(a.ack) {
		r.endProbe(c, a, dsack, progress, flight, mss)
	}
	grow := progress && r.phase != phaseFast
	if progress {
		r.advance(p, c, mss)
	}
	if grow {
		// After a timeout the window is what holds it back, however little is in flight.
		limited := r.phase == phaseLoss || r.hasFilled && una.Less(r.filled)
		c.acked(uint32(r.una-una), mss, limited, t.smoothed(), a.now)
	}
	if r.hasFilled && r.filled.LessEq(r.una) {
		r.hasFilled = false
	}
	if r.sacked != 0 || r.phase != phaseOpen || r.reoArmed || !r.sackOK && r.dupAcks != 0 {
		r.detect(p, c, t, mss, flight, a.now)
	}
	return d.bytes
}

// sample updates the round trips: RTO's from the first segment of what arrived that was sent once,
// RACK's from the last (RFC 6298 §3, RFC 8985 §6.2 steps 1 and 2).
func (r *recovery) sample(t *rto, d *delivery, a *ackOf, flight, mss uint32, progress bool) {
	if d.any {
		rtt := a.now - d.at
		if !d.retrans {
			r.minRTT = min(r.minRTT, max(rtt, 1))
		}
		if !r.rack || sentAfter(d.at, d.end, r.rackAt, r.rackEnd) {
			r.rackAt, r.rackEnd, r.rackRTT, r.rack = d.at, d.end, rtt, true
		}
	}
	switch {
	case d.hasFirst && !d.ambiguous:
		t.sample(a.now-d.first, rttSamples(flight, mss))
	case d.ambiguous && !d.unclear && progress && a.hasEcho && int32(a.now-a.echo) >= 0:
		t.sample(a.now-a.echo, rttSamples(flight, mss)) // which copy arrived does not matter (RFC 7323 §4.1)
	}
}

// reordered watches for reordering, and adapts the window for it (RFC 8985 §6.2 steps 3 and 4).
func (r *recovery) reordered(d *delivery, high wire.Seq, dsack bool) {
	// Something sent once arrived after what was sent later: RACK.fack is high.
	if d.any && !d.retrans && d.end.Less(high) {
		r.reordering = true
	}
	if r.inRound && r.round.LessEq(r.una) {
		r.inRound = false
	}
	if dsack && !r.inRound {
		r.inRound, r.round = true, r.nxt
		r.reoMult = min(r.reoMult, 254) + 1
		r.persist = reoPersist
	}
}

// countDuplicates counts ACKs that tell of something missing (RFC 5681 §2, RFC 6675 §2).
func (r *recovery) countDuplicates(a *ackOf, d *delivery, una wire.Seq, mss uint32, progress bool) {
	switch {
	case progress && r.sackOK, progress && r.phase == phaseOpen:
		r.dupAcks = 0
	case progress: // NewReno: the ACK takes as many out of what was guessed to have arrived
		covered := (uint32(a.ack-una) + mss - 1) / mss
		r.dupAcks -= uint8(min(uint32(r.dupAcks), covered-1))
	case r.sackOK && d.sacked != 0, !r.sackOK && a.pure && a.ack == r.una && r.counts():
		if r.dupAcks < 255 {
			r.dupAcks++
		}
	}
}

// counts reports whether duplicate ACKs mean a loss, for a peer without SACK: those that repeat
// the end of the last recovery answer segments that were sent needlessly (RFC 6582 §3.2 step 2), as do those after a
// timeout.
func (r *recovery) counts() bool {
	return r.phase == phaseFast || r.phase == phaseOpen && !(r.hasPoint && r.una == r.point)
}

// endProbe ends a tail loss probe that is acknowledged (RFC 8985 §7.4.2).
func (r *recovery) endProbe(c *cubic, a *ackOf, dsack, progress bool, flight, mss uint32) {
	switch {
	case !r.tlpRetrans, dsack:
		r.tlp = false
	case r.tlpEnd.Less(a.ack): // the probe repaired a loss that nobody else has noticed
		r.tlp = false
		if r.phase == phaseOpen {
			c.congested(flight, mss)
		}
	case !progress && a.pure && len(a.blocks) == 0: // original and probe have arrived
		r.tlp = false
	}
}

// advance ends what the new SND.UNA ends, and has NewReno take the next hole for lost.
func (r *recovery) advance(p *runPool, c *cubic, mss uint32) {
	if r.hasPoint && r.point.Less(r.una) {
		r.hasPoint = false
	}
	switch {
	case r.phase == phaseOpen:
	case r.point.LessEq(r.una):
		r.phase, r.dupAcks = phaseOpen, 0
		c.recovered()
		if r.persist > 0 {
			if r.persist--; r.persist == 0 {
				r.reoMult = 1
			}
		}
	case r.phase == phaseFast && !r.sackOK: // a partial ACK (RFC 6582 §3.2 step 3)
		p.mark(&r.scoreboard, r.una, r.headEnd(mss), runLost, 0, runRetrans, nil)
	}
}

// headEnd is the end of the first segment in flight.
func (r *recovery) headEnd(mss uint32) wire.Seq { return r.una + wire.Seq(min(mss, r.flight())) }

// reorderWindow is RACK_update_reo_wnd (RFC 8985 §6.2 step 4), in microseconds.
func (r *recovery) reorderWindow(t *rto, mss uint32) uint32 {
	if !r.reordering && (r.phase != phaseOpen || r.dupAcks >= dupThresh || r.sacked > (dupThresh-1)*mss) {
		return 0
	}
	if r.minRTT == math.MaxUint32 {
		return t.smoothed()
	}
	return uint32(min(uint64(r.minRTT)/4*uint64(r.reoMult), uint64(t.smoothed())))
}

// detect finds what is lost (RFC 8985 §6.2 step 5), and enters recovery for it. flight is
// what was in flight before.
func (r *recovery) detect(p *runPool, c *cubic, t *rto, mss, flight, now uint32) {
	r.reoArmed = false
	before := r.lost
	if !r.sackOK {
		// Without SACK nothing is known to have arrived: the first segment is lost, once.
		if r.phase == phaseOpen && r.dupAcks >= dupThresh {
			p.mark(&r.scoreboard, r.una, r.headEnd(mss), runLost, 0, 0, nil)
		}
	} else if r.rack {
		r.detectByTime(p, r.reorderWindow(t, mss), now)
	}
	if r.lost <= before || r.phase != phaseOpen {
		return
	}
	r.phase, r.point, r.hasPoint, r.fast, r.tlp = phaseFast, r.nxt, true, true, false
	c.congested(flight, mss)
}

// detectByTime marks what was sent before something that arrived, and long enough ago.
func (r *recovery) detectByTime(p *runPool, window, now uint32) {
	at, prev := r.una, uint32(0)
	for i := r.head; i != 0; {
		k := &p.runs[i]
		n := uint32(k.end - at)
		at = k.end
		if k.flags&(runSacked|runLost) == 0 && sentAfter(r.rackAt, r.rackEnd, k.at, k.end) {
			if due := k.at + r.rackRTT + window; int32(due-now) <= 0 {
				k.flags |= runLost
				r.lost += n
				i = p.merge(&r.scoreboard, prev, i)
			} else if !r.reoArmed || int32(due-r.reoAt) > 0 {
				r.reoAt, r.reoArmed = due, true
			}
		}
		prev, i = i, p.runs[i].next
	}
}

// timer is what the one timer of the sender waits for.
type timer uint8

const (
	timerNone    timer = iota // nothing is in flight
	timerReorder              // what is missing is late by more than reordering explains
	timerProbe                // no ACK came for the end of a flight
	timerRetrans              // the retransmission timeout
)

// deadline is when expired is to be called, unless something comes before.
func (r *recovery) deadline(t *rto, mss uint32) (at uint32, what timer) {
	if r.flight() == 0 {
		return 0, timerNone
	}
	at, what = r.armed+t.timeout(), timerRetrans
	earlier := func(x uint32) bool { return int32(x-at) < 0 }
	if r.reoArmed {
		if earlier(r.reoAt) {
			return r.reoAt, timerReorder
		}
		return at, what
	}
	// One probe for a flight that nothing is known to be missing of (RFC 8985 §7.2, §7.3).
	if r.sackOK && r.phase == phaseOpen && r.sacked == 0 && !r.tlp && t.timeouts() == 0 {
		if x := r.probeAt + r.probeTimeout(t, mss); earlier(x) {
			return x, timerProbe
		}
	}
	return at, what
}

// probeTimeout is PTO (RFC 8985 §7.2).
func (r *recovery) probeTimeout(t *rto, mss uint32) uint32 {
	if !t.sampled() {
		return probeInitial
	}
	pto := 2 * t.smoothed()
	if r.flight() <= mss {
		pto += probeMaxAckLag
	}
	return max(pto, probeMin)
}

// expired acts on a deadline that has come. fresh is how many bytes of new text could be sent within the peer's
// window. For timerProbe the caller sends, whatever the congestion window says, one segment:
// [seq, seq+n) again if n is not 0, else new text. After the others, what to send is next's to say.
func (r *recovery) expired(p *runPool, c *cubic, t *rto, fresh, mss, now uint32) (what timer, seq wire.Seq, n uint32) {
	at, what := r.deadline(t, mss)
	if what == timerNone || int32(now-at) < 0 {
		return timerNone, r.nxt, 0
	}
	switch what {
	case timerReorder:
		r.detect(p, c, t, mss, r.flight(), now)
	case timerProbe:
		r.tlp, r.tlpRetrans, r.armed = true, fresh == 0, now
		if fresh != 0 {
			r.tlpEnd = r.nxt + 1
			break
		}
		r.tlpEnd = r.nxt
		n = min(mss, r.flight())
		seq = r.nxt - wire.Seq(n)
	case timerRetrans:
		c.timeout(r.flight(), mss, t.timeouts() != 0)
		t.expired()
		p.timeout(&r.scoreboard)
		r.phase, r.point, r.hasPoint = phaseLoss, r.nxt, true
		r.dupAcks, r.tlp, r.reoArmed, r.armed = 0, false, false, now
	case timerNone:
	}
	return what, seq, n
}
