package handshake

import (
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Gate is what stands between a handshake and the application of one listener.
// The zero value lets everything in at once.
type Gate struct {
	// HalfOpen bounds the half-opens of this listener, within Config.MaxHalfOpen
	// (FLD-001). SYNs above get a cookie, or are dropped when cookies are off. 0: no bound.
	HalfOpen int
	// Backlog bounds the flows that are established and that the application has
	// not taken by Engine.Take: the accept queue. While it is full new SYNs are
	// dropped (FLD-004), and a final ACK leaves the half-open waiting for a later
	// one (FLD-005) or, with AbortOnOverflow, resets it. 0: no bound, and no Take.
	Backlog         int
	AbortOnOverflow bool
	// Defer lets a peer in only with its first text, or a FIN (FLD-006). A bare ACK
	// is remembered and the SYN-ACK not repeated until so many time-outs have
	// passed that their sum reaches Defer; then it is sent again, and the ACK of
	// that one counts. Flows opened by a cookie are not deferred. 0: off.
	Defer time.Duration
}

// gate is a Gate as the engine uses it.
type gate struct {
	on       bool
	abort    bool
	hold     uint8 // Gate.Defer in time-outs
	halfOpen int
	backlog  int
}

// SetGate sets the gate of the listener at addr and port, as given to Listen.
// Half-opens from before are not subject to it, and flows that are queued stay so.
func (e *Engine) SetGate(addr wire.Addr, port uint16, g Gate) error {
	if g.HalfOpen < 0 || g.Backlog < 0 || g.Defer < 0 || g.Defer > time.Hour {
		return fmt.Errorf("handshake: gate %+v: want no negative value and Defer up to 1h", g)
	}
	if addr.IsZero() {
		addr = wire.Addr{}
	}
	for i := e.listeners.byPort[port]; i != 0; i = e.listeners.all[i].next {
		l := &e.listeners.all[i]
		if l.addr != addr {
			continue
		}
		l.gate = gate{on: g != Gate{}, abort: g.AbortOnOverflow, halfOpen: g.HalfOpen, backlog: g.Backlog, hold: e.holdOf(g.Defer)}
		l.guarded = e.guarded || l.gate.on
		return nil
	}
	return fmt.Errorf("handshake: gate of port %d: nobody listens on that address; call Listen first", port)
}

// holdOf is the number of SYN-ACK time-outs whose sum reaches d.
func (e *Engine) holdOf(d time.Duration) (n uint8) {
	sum, want := uint32(0), ms(d)
	for sum < want && n < 255 {
		sum += e.timers.delay[e.timers.synAck.class(n)]
		n++
	}
	return n
}

// full reports whether the accept queue of l is full.
func (l *listener) full() bool { return l.gate.backlog != 0 && l.queued >= l.gate.backlog }

// gated reports whether a Gate counts r.
func (r *record) gated() bool { return r.flags2&flagGated != 0 && r.flags&flagActive == 0 }

// enter decides whether the good final ACK s lets the peer of r in.
func (e *Engine) enter(r *record, idx uint32, s *wire.Segment, i int) (a Action, in bool) {
	l := e.gateOf(r, idx)
	if l == nil {
		return Silent, true
	}
	if r.retries < l.gate.hold && s.SegLen() == 0 { // FLD-006
		r.flags2 |= flagProved
		return e.count(DropDeferred), false
	}
	if !l.full() {
		return Silent, true
	}
	if l.gate.abort { // FLD-005
		e.ctr.HalfOpenOverflow++
		e.removeHashed(idx, e.sum[i].Hash)
		return e.resetFor(s), false
	}
	r.flags2 |= flagProved
	return e.count(DropQueueFullACK), false
}

// gateOf is the listener whose Gate counts r, nil if it is gone. It is looked for
// by address and application, since another may have come between. As in find, one
// of just this address goes before one of any.
func (e *Engine) gateOf(r *record, idx uint32) (found *listener) {
	local := e.tuple(idx).Local
	for i := e.listeners.byPort[r.localPort]; i != 0; i = e.listeners.all[i].next {
		l := &e.listeners.all[i]
		switch {
		case l.app != r.app:
		case l.addr == local:
			return l
		case l.addr == (wire.Addr{}):
			found = l
		}
	}
	return found
}

// holdFor is for how many time-outs r waits for text.
func (e *Engine) holdFor(r *record, idx uint32) int {
	if l := e.gateOf(r, idx); l != nil && r.gated() {
		return int(l.gate.hold)
	}
	return 0
}

// gateHalfOpen counts the half-open r.
func (l *listener) gateHalfOpen(r *record) {
	r.flags2 |= flagGated
	l.halfOpen++
}

// queue puts r, which a cookie opened, into the accept queue of l.
func (l *listener) queue(r *record) {
	r.flags2 |= flagGated
	l.queued++
}

// pass moves r from the half-opens of its listener to the accept queue, if there is one.
func (e *Engine) pass(r *record, idx uint32) {
	if r.flags2&flagHalfOpen == 0 {
		return
	}
	l := e.gateOf(r, idx)
	if l != nil && l.gate.backlog != 0 {
		l.halfOpen = max(0, l.halfOpen-1)
		l.queued++
		return
	}
	e.ungate(r, idx)
}

// ungate ends the counting of r.
func (e *Engine) ungate(r *record, idx uint32) {
	r.flags2 &^= flagGated
	l := e.gateOf(r, idx)
	switch {
	case l == nil: // the counts ended with it
	case r.flags2&flagHalfOpen != 0:
		l.halfOpen = max(0, l.halfOpen-1) // 0 if it is a successor with the same application
	default:
		l.queued = max(0, l.queued-1)
	}
}

// Take tells that the application has taken a flow out of the accept queue of
// its listener (Gate.Backlog). It reports whether it was there; a flow leaves it
// also by ending.
func (e *Engine) Take(id FlowID) bool {
	r := e.get(id)
	if r == nil || !r.gated() || r.flags2&flagHalfOpen != 0 {
		return false
	}
	e.ungate(r, id.idx)
	return true
}
