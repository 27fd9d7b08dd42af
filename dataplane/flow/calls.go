package flow

import (
	"math"
	"time"

	"github.com/fastsyn/fastsyn/handshake"
)

// spare is how many blocks of the pool writing leaves for text that arrives.
func (t *Table) spare() int { return t.pool.Blocks() / 16 }

// Short reports whether there is so little memory for text left that new flows had better wait.
func (t *Table) Short() bool { return t.pool.Left() < t.pool.Blocks()/32 }

// roomOf is what Write takes of c.
func (t *Table) roomOf(_ *conn, x *sender) int { return t.cfg.SendBuffer - int(x.buf.size) }

// Write takes what there is room for of p, which it copies, and returns how much. If that
// is less than all of it, Handler.Writable follows. It takes nothing of a flow that is gone or closed from here.
func (t *Table) Write(id handshake.FlowID, p []byte) int {
	c := t.get(id)
	if c == nil || !c.writes() || len(p) == 0 {
		return 0
	}
	x := t.wake(c)
	n := t.send.append(&x.buf, p[:min(len(p), max(t.roomOf(c, x), 0))], math.MaxUint32, t.spare())
	t.ctr.BytesOut += uint64(n)
	if n < len(p) {
		c.flags |= connWantRoom
		if t.pool.Left() <= t.spare() {
			t.ctr.WriteNoMemory++
		}
		t.rest(c) // there was no memory for the first byte
	}
	t.want(c, id.Index())
	return n
}

// WriteStatic has p sent from where it lies: it must not change until the flow is closed or
// the peer has acknowledged it. It takes all or nothing; nothing when more than a send buffer is
// queued already, and then Handler.Writable follows.
func (t *Table) WriteStatic(id handshake.FlowID, p []byte) bool {
	c := t.get(id)
	if c == nil || !c.writes() {
		return false
	}
	if len(p) == 0 {
		return true
	}
	x := t.wake(c)
	ok := t.roomOf(c, x) > 0 && t.send.appendStatic(&x.buf, p)
	if ok {
		t.ctr.BytesOut += uint64(len(p))
	} else {
		c.flags |= connWantRoom
		t.rest(c)
	}
	t.want(c, id.Index())
	return ok
}

// Room is what Write takes now, in bytes.
func (t *Table) Room(id handshake.FlowID) int {
	c := t.get(id)
	if c == nil || !c.writes() {
		return 0
	}
	room := min(t.cfg.SendBuffer, max(t.pool.Left()-t.spare(), 0)*BlockSize)
	if c.snd != 0 {
		room = min(room, t.roomOf(c, t.senders.at(c.snd)))
	}
	return max(room, 0)
}

// Unacked is the text that was written and not acknowledged yet, and Unsent the part of it
// that was not sent, in bytes.
func (t *Table) Unacked(id handshake.FlowID) int {
	if c := t.get(id); c != nil && c.snd != 0 {
		return int(t.senders.at(c.snd).buf.size)
	}
	return 0
}

// Unsent see Unacked.
func (t *Table) Unsent(id handshake.FlowID) int {
	if c := t.get(id); c != nil && c.snd != 0 {
		x := t.senders.at(c.snd)
		return int(max(int32(x.buf.end()-x.nxt), 0))
	}
	return 0
}

// Close sends our FIN behind what was written: the half-close of §3.6, after which the peer's text
// still arrives. It reports whether there was something to close.
func (t *Table) Close(id handshake.FlowID) bool {
	c := t.get(id)
	if c == nil || !c.writes() {
		return false
	}
	c.flags |= connFIN
	c.flags &^= connWantRoom
	t.wake(c)
	t.want(c, id.Index())
	return true
}

// Release closes a flow for good, as close(2) does where Close is shutdown(2): nobody reads on, and
// new text of the peer is answered by a reset that ends the flow (RST-014). Of what follows the application
// hears Closed alone. It reports whether id was alive.
func (t *Table) Release(id handshake.FlowID) bool {
	c := t.get(id)
	if c == nil || c.state == handshake.TimeWait {
		return false
	}
	c.flags |= connReleased
	c.heard = t.ms // TWT-008 begins now
	t.Close(id)
	t.want(c, id.Index())
	return true
}

// Abort resets a flow (RST-012) and forgets what was written. It reports whether id was alive.
func (t *Table) Abort(id handshake.FlowID) bool {
	c := t.get(id)
	if c == nil || c.state == handshake.TimeWait {
		return false
	}
	t.end(c, id.Index(), handshake.ReasonAborted, endAbort)
	return true
}

// Hold says that the application keeps n bytes of what Data gave it: the peer may send so much less until they are
// Consumed.
func (t *Table) Hold(id handshake.FlowID, n int) {
	if c := t.get(id); c != nil {
		c.kept += uint32(n)
	}
}

// Consumed ends what Hold began, for n bytes.
func (t *Table) Consumed(id handshake.FlowID, n int) {
	c := t.get(id)
	if c == nil {
		return
	}
	c.kept -= min(uint32(n), c.kept)
	w := RcvWindow{Edge: c.edge, Shift: c.rcvShift()}
	if c.reads() && w.Update(c.rcvNxt, t.room(c), t.rcvBuf, uint32(c.del.mss)) {
		t.ackNow(c, id.Index())
	}
}

// SetNoDelay switches Nagle's algorithm off or on, see Config.Nagle.
func (t *Table) SetNoDelay(id handshake.FlowID, on bool) { t.set(id, connNagle, !on) }

// SetKeepAlive switches the probing of a silent peer on or off, see Config.KeepAlive.
func (t *Table) SetKeepAlive(id handshake.FlowID, on bool) { t.set(id, connKeepAlive, on) }

func (t *Table) set(id handshake.FlowID, bit uint32, on bool) {
	c := t.get(id)
	if c == nil {
		return
	}
	c.flags &^= bit
	if on {
		c.flags |= bit
	}
	t.want(c, id.Index())
}

// SetUserTimeout is Config.UserTimeout for one flow, rounded up to 100 ms; 0 is that of the
// configuration.
func (t *Table) SetUserTimeout(id handshake.FlowID, d time.Duration) {
	if c := t.get(id); c != nil {
		c.userTimeout = uint16((min(max(d, 0), maxUserTimeout) + userTick - 1) / userTick)
	}
}

// State returns the state of a flow, Closed when it is gone.
func (t *Table) State(id handshake.FlowID) handshake.State {
	if c := t.get(id); c != nil {
		return c.state
	}
	return handshake.Closed
}
