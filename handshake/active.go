package handshake

import (
	"errors"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Errors of Connect. They are values without detail: Connect is on the hot path
// of a load generator.
var (
	ErrTupleInUse  = errors.New("handshake: tuple in use")
	ErrTableFull   = errors.New("handshake: flow table full")
	ErrOutputFull  = errors.New("handshake: output full, send what is queued first")
	ErrUnreachable = errors.New("handshake: cannot connect to that address")
)

// Connect starts an active open: it makes a record in SYN-SENT and queues the
// SYN in Output (ACT-001). t is only read, during the call. The clock is the one of the last Handle, Advance or
// SetClock. app comes back in events; path is handed on in segments. A tuple in TIME-WAIT
// for a second or more is taken over if its flow had timestamps (TWT-011).
func (e *Engine) Connect(t *wire.Tuple, app, path uint16) (FlowID, error) {
	if !connectable(t) {
		return FlowID{}, ErrUnreachable
	}
	if len(e.out) == cap(e.out) {
		return FlowID{}, ErrOutputFull
	}
	m := &e.many // not e.one: alloc may hash the tuple of a record that makes room
	gather(&m.tup[0], t)
	m.sum[0] = e.hasher.SumOne(&m.tup[0])
	return e.connect(t, &m.sum[0], app, path)
}

// ConnectMany is Connect for up to MaxBurst tuples at once, for load generators:
// they are hashed in one call, and the cache misses of their buckets overlap.
// ids[i] becomes the flow of t[i], or an invalid FlowID where that tuple is in use.
// It returns how many tuples it has looked at, which are all unless err says
// why it stopped at t[n]. len(ids) ≥ len(t).
func (e *Engine) ConnectMany(t []wire.Tuple, app, path uint16, ids []FlowID) (n int, err error) {
	t = t[:min(len(t), MaxBurst)]
	ids = ids[:len(t)]
	m := &e.many
	for i := range t {
		gather(&m.tup[i], &t[i])
	}
	e.hasher.Sum(m.sum[:len(t)], m.tup[:len(t)])
	for i := range t {
		e.sink += e.tab.buckets[e.tab.home(m.sum[i].Hash)].meta[0]
	}
	for i := range t {
		if !connectable(&t[i]) {
			return i, ErrUnreachable
		}
		if len(e.out) == cap(e.out) {
			return i, ErrOutputFull
		}
		if ids[i], err = e.connect(&t[i], &m.sum[i], app, path); err != nil && !errors.Is(err, ErrTupleInUse) {
			return i, err
		}
	}
	return len(t), nil
}

// connectable reports whether a connection over t makes sense (ACT-015).
func connectable(t *wire.Tuple) bool {
	return !t.Remote.IsZero() && !t.Local.IsZero() && t.RemotePort != 0 && t.LocalPort != 0 &&
		t.Remote.Is4() == t.Local.Is4() && t.Remote != t.Local && !group(t.Remote)
}

// connect opens t, whose hashes are sum. There is room in the output.
func (e *Engine) connect(t *wire.Tuple, sum *cookie.Sum, app, path uint16) (FlowID, error) {
	iss := wire.Seq(cookie.ISN(sum.ISN, e.now))
	if old := e.lookup(sum.Hash, t); old != 0 {
		if !e.reusable(&e.recs[old]) {
			return FlowID{}, ErrTupleInUse
		}
		iss = e.recs[old].nextISS()
		e.ctr.TimeWaitReused++
		e.removeHashed(old, sum.Hash)
	}
	idx := e.alloc(t, sum.Hash)
	if idx == 0 {
		return FlowID{}, ErrTableFull
	}
	r := &e.recs[idx]
	r.state = SynSent
	r.flags |= flagActive
	r.app, r.path = app, path
	r.sndUna, r.sndNxt = iss, iss+1
	r.start, r.last = e.now64, e.now64-answerSpacing
	e.opening++
	e.ctr.Attempted++
	e.sendSYN(r, idx, sum.TSOff)
	e.timers.arm(e.recs, idx, e.timers.syn.class(0), e.nowMS)
	return e.id(idx), nil
}

// reuseDelay is how long a tuple rests in TIME-WAIT before Connect may take it
// over, in ms (Linux tcp_tw_reuse_delay).
const reuseDelay = 1000

// reusable reports whether Connect may take the tuple of r over from TIME-WAIT:
// timestamps keep old duplicates of the last incarnation out of the next one.
func (e *Engine) reusable(r *record) bool {
	return r.state == TimeWait && r.flags&flagTS != 0 && !e.cfg.NoTimestamps &&
		int32(e.nowMS-e.timers.armedAt(r)) >= reuseDelay
}

// nextISS is the ISS of the incarnation that follows r, above all that r sent
// (ISN-004).
func (r *record) nextISS() wire.Seq {
	if iss := r.sndNxt + 65537; iss != 0 {
		return iss
	}
	return 1
}

// group reports whether a is a multicast or the limited broadcast address.
// Whether it is a directed broadcast only the routing layer can tell.
func group(a wire.Addr) bool {
	if a.Is4() {
		return a.V4()>>28 == 0xe || a.V4() == 0xffffffff
	}
	return a.Hi>>56 == 0xff
}

// sendSYN queues the SYN of SYN-SENT.
func (e *Engine) sendSYN(r *record, idx uint32, tsOff uint32) {
	s := e.emit(idx, false)
	if s == nil {
		return
	}
	v4 := r.flags&flagV6 == 0
	s.Seq, s.Flags = r.sndUna, wire.FlagSYN
	ts := !e.cfg.NoTimestamps
	if e.cfg.ECN == ECNOn && r.flags&flagRetrans == 0 { // the first copy only (ECN-006)
		s.Flags |= ecnAsk
	}
	s.Win = e.synWindow(v4, ts)
	e.synOptions(&s.Opt, ts, !e.cfg.NoSACK, !e.cfg.NoWScale, v4)
	if ts {
		s.Opt.TSVal, s.Opt.TSEcr = cookie.TSVal(tsOff, e.now), 0 // TSP-001
	}
}

// synSent is SYN-SENT: §3.10.7.3, in the order of its steps.
func (e *Engine) synSent(r *record, idx uint32, s *wire.Segment, i int) Action {
	ackOK := false
	if s.Flags&wire.FlagACK != 0 { // first: the ACK
		// A server with Fast Open may have taken our SYN alone, or part of its text (TFO-016).
		if s.Ack != r.sndNxt && !(r.sndUna.Less(s.Ack) && s.Ack.Less(r.sndNxt)) {
			if s.Flags&wire.FlagRST != 0 {
				return e.count(DropRST) // ACT-005
			}
			// ACT-003: a leftover of the peer. Reset it and, once, try again at once.
			if r.retries == 0 && r.flags&flagRetrans == 0 {
				r.flags |= flagRetrans
				e.ctr.SynRetrans++
				e.sendSYN(r, idx, e.sum[i].TSOff)
			}
			return e.resetFor(s)
		}
		ackOK = true
	}
	if s.Flags&wire.FlagRST != 0 { // second: RST
		if !ackOK {
			return e.count(DropRST) // ACT-005
		}
		e.ended(idx, i, ReasonRefused) // ACT-004, ACT-008
		return e.count(Consumed)
	}
	if s.Flags&wire.FlagSYN == 0 {
		return e.count(DropBadFlags) // ACT-006
	}
	// fourth: SYN
	if r.flags&flagFastOpen != 0 {
		return e.fastOpenAnswered(r, idx, s, i, ackOK)
	}
	v4 := r.flags&flagV6 == 0
	if ackOK && !e.cfg.NoTimestamps && s.Opt.Has&wire.HasTimestamps != 0 && s.Opt.TSEcr != 0 { // ACT-009
		off := e.sum[i].TSOff
		first, now := e.tsFirst(r, off), cookie.TSVal(off, e.now)
		if int32(s.Opt.TSEcr-first) < 0 || int32(now-s.Opt.TSEcr) < 0 {
			return e.resetFor(s)
		}
	}
	r.rcvNxt = s.Seq + 1 // text and FIN on it are not acknowledged (ACT-007, SIM-006)
	pmtu := r.mss        // 0 unless an ICMP error has told (MTU-006)
	r.mss = e.sendMSS(&s.Opt, v4)
	if pmtu != 0 {
		r.mss = min(r.mss, pmtu)
	}
	r.path = s.Path
	e.negotiate(r, &s.Opt) // an option counts if both sent it (ACT-010)
	if s.Opt.Has&wire.WScaleClamped != 0 {
		e.ctr.WScaleClamped++ // OPT-010
	}
	if e.cfg.ECN == ECNOn {
		r.ecnAnswered(s)
	}
	r.synWnd(s.Win)
	if ackOK {
		e.establish(r, idx, s, i)
		return e.opened(r, s, i)
	}
	// Simultaneous open (SIM-001): our SYN again, now with an ACK and all our options.
	e.ctr.SimultaneousOpens++
	r.state = SynRcvd
	e.timers.arm(e.recs, idx, e.timers.syn.class(r.retries), e.nowMS)
	e.simultaneousSynAck(r, s, e.sum[i].TSOff)
	return e.answer(Answered)
}

// opened answers the SYN-ACK s that completed an active open (ACT-002). With a stream
// that is left to who carries it, and may have text to send along.
func (e *Engine) opened(r *record, s *wire.Segment, i int) Action {
	if r.flags2&flagStream != 0 {
		e.events[len(e.events)-1].Off = 1
		return e.count(Answered)
	}
	e.ack(r, s, i)
	return e.answer(Answered)
}

// simultaneousSynAck is the SYN-ACK of an active SYN-RECEIVED: it repeats what
// our SYN offered, whatever the peer's SYN had (SIM-001).
func (e *Engine) simultaneousSynAck(r *record, s *wire.Segment, tsOff uint32) {
	e.synAck(r, s, tsOff)
	v4 := r.flags&flagV6 == 0
	e.synOptions(&s.Opt, !e.cfg.NoTimestamps, !e.cfg.NoSACK, !e.cfg.NoWScale, v4)
	if !e.cfg.NoTimestamps {
		s.Opt.TSVal, s.Opt.TSEcr = cookie.TSVal(tsOff, e.now), r.tsRecent
	}
}
