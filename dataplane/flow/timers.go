package flow

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// starvedRetry is when a flow that got no memory for what it wants to write, and waits for
// no ACK, tries again, in ms.
const starvedRetry = 10

// shrunkPatience is how long, in ms, a peer with a closed window and text of ours before it may be
// silent: two of the longest timeouts, as in Linux.
const shrunkPatience = 2 * rtoMax / msec

// A path that swallows long segments and says nothing is found by timeouts in a row: from
// the third on segments are no longer than this, from the fifth half of it (RFC 4821 §7.6.3, as Linux
// with tcp_mtu_probing).
const (
	blackHoleAfter = 3
	blackHoleMSS   = 1024
)

// schedule arms the timer of c for the first thing that is to happen by itself. A timer that is
// armed for an earlier time stays: when it fires it is asked again, which is cheaper
// than moving it with each ACK.
func (t *Table) schedule(c *conn, i uint32) {
	at, any := uint32(0), false
	first := func(x uint32) {
		if !any || int32(x-at) < 0 {
			at, any = x, true
		}
	}
	if due, ok := c.del.Deadline(); ok {
		first(t.tick(due))
	}
	switch {
	case c.flags&connEarly != 0: // the SYN-ACK is sent again, and nothing else (TFO-009)
	case c.snd != 0:
		x := t.senders.at(c.snd)
		if due, what := x.deadline(&x.rto, c.segment()); what != timerNone {
			first(t.tick(due))
			x.windowWait = false
			if limit := t.userLimit(c); limit != 0 {
				first(x.since + limit)
			}
		} else if x.buf.size != 0 {
			if !x.windowWait {
				x.windowWait, x.armed = true, t.us
			}
			first(t.tick(x.armed + x.persistDelay(c)))
			if limit := t.userLimit(c); limit != 0 {
				first(x.since + limit)
			}
		} else {
			first(t.ms + starvedRetry)
		}
	case c.flags&connReleased != 0 && c.state == handshake.FinWait2:
		first(c.heard + t.finWait2)
	case c.flags&connWantRoom != 0:
		first(t.ms + starvedRetry)
	case c.flags&connKeepAlive != 0:
		first(c.heard + t.keepAliveAfter(c))
	}
	if !any {
		return
	}
	if armed, ok := t.wheel.armed(i); !ok || int32(at-armed) < 0 {
		t.wheel.arm(i, at)
	}
}

// tick is the millisecond after the time at, which is in µs: a timer does not fire early.
func (t *Table) tick(at uint32) uint32 {
	left := int32(at - t.us)
	if left <= 0 {
		return t.ms
	}
	return t.ms + uint32(left)/1000 + 1
}

// persistDelay is how long text waits for a window that it fits into before c does something about it.
func (x *sender) persistDelay(c *conn) uint32 {
	if c.wnd == 0 {
		return x.rto.probeDelay(x.windowProbes)
	}
	return x.rto.overrideDelay()
}

// keepAliveAfter is when the next probe of a silent peer goes out, in ms after it was heard last.
func (t *Table) keepAliveAfter(c *conn) uint32 {
	return uint32(t.cfg.KeepAliveIdle.Milliseconds()) + uint32(c.probes)*uint32(t.cfg.KeepAliveInterval.Milliseconds())
}

// userLimit is the user timeout of c in ms, 0 if there is none.
func (t *Table) userLimit(c *conn) uint32 {
	if c.userTimeout != 0 {
		return uint32(c.userTimeout) * uint32(userTick.Milliseconds())
	}
	return uint32(t.cfg.UserTimeout.Milliseconds())
}

// Advance fires due timers, at most budget of them, and returns how many. The
// clock is the one of SetClock.
func (t *Table) Advance(budget int) int {
	fired := 0
	for ; fired < budget && len(t.jobs) < maxJobs; fired++ {
		i, ok := t.wheel.due(t.ms)
		if !ok {
			break
		}
		c := &t.conns[i]
		t.fire(c, i)
		if c.state != 0 && c.job == 0 {
			t.schedule(c, i)
		}
	}
	return fired
}

// NextTimer returns the time from the clock to the next deadline in milliseconds, and
// false when nothing is armed.
func (t *Table) NextTimer() (uint32, bool) { return t.wheel.next(t.ms) }

// fire does what is due on c.
func (t *Table) fire(c *conn, i uint32) {
	if c.del.Due(t.us) {
		t.ctr.DelayedAcks++
		t.ackNow(c, i)
	}
	switch {
	case c.flags&connEarly != 0:
	case c.snd != 0:
		x := t.senders.at(c.snd)
		if x.flight() != 0 {
			t.late(c, i, x)
			return
		}
		if limit := t.userLimit(c); limit != 0 && x.windowWait && x.buf.size != 0 && t.ms-x.since >= limit { // KAL-005
			t.end(c, i, t.broken(c), endReset)
			return
		}
		if x.windowWait && x.buf.size != 0 && t.us-x.armed >= x.persistDelay(c) {
			x.windowWait = false
			t.push(c, i, x)
			return
		}
		if c.flags&connWantRoom != 0 && t.pool.Left() > t.spare() {
			t.writable(c, i)
		}
	case c.flags&connReleased != 0 && c.state == handshake.FinWait2: // TWT-008
		if int32(t.ms-c.heard-t.finWait2) >= 0 {
			t.end(c, i, handshake.ReasonDone, endQuiet)
		}
	case c.flags&connWantRoom != 0:
		if t.pool.Left() > t.spare() {
			t.writable(c, i)
		}
	case c.flags&connKeepAlive != 0 && int32(t.ms-c.heard-t.keepAliveAfter(c)) >= 0:
		if int(c.probes) >= t.cfg.KeepAliveProbes {
			t.end(c, i, t.broken(c), endReset) // KAL-001
			return
		}
		c.probes++
		t.ctr.KeepAlives++
		t.want(c, i).ping = true
	}
}

// late is the timer of text in flight.
func (t *Table) late(c *conn, i uint32, x *sender) {
	if limit := t.userLimit(c); limit != 0 && t.ms-x.since >= limit { // KAL-005
		t.end(c, i, t.broken(c), endReset)
		return
	}
	mss := c.segment()
	fresh := uint32(x.buf.end() - x.nxt)
	if edge := x.una + wire.Seq(c.sndWnd()); x.nxt.Less(edge) {
		fresh = min(fresh, uint32(edge-x.nxt))
	} else {
		fresh = 0
	}
	what, seq, n := x.expired(t.runs, &x.cc, &x.rto, fresh, mss, t.us)
	switch what {
	case timerNone:
		return
	case timerRetrans:
		t.ctr.Timeouts++
		c.reduced()
		k := int(x.rto.timeouts())
		// A peer that has closed its window before text that it had asked for answers each copy of it, as
		// it would a probe: that is no reason to give up (DAT-004, DAT-005).
		shrunk := c.wnd == 0 && t.ms-c.heard < shrunkPatience
		if k > t.cfg.Retries && !shrunk { // R2 (DAT-007)
			t.end(c, i, t.broken(c), endQuiet)
			return
		}
		if k >= blackHoleAfter && mss > blackHoleMSS || k >= blackHoleAfter+2 && mss > blackHoleMSS/2 {
			limit := uint16(blackHoleMSS)
			if k >= blackHoleAfter+2 {
				limit /= 2
			}
			c.mss = min(c.mss, limit+uint16(c.optionBytes()))
			t.ctr.BlackHoles++
		}
	case timerProbe:
		t.ctr.TailProbes++
		j := t.want(c, i)
		j.probe, j.seq, j.n = true, seq, n
	case timerReorder:
	}
	t.want(c, i)
}

// push is the timer of text that waits for the peer's window: it is sent, as far as it fits, or the
// window is probed, for as long as the peer answers (DAT-005).
func (t *Table) push(c *conn, i uint32, x *sender) {
	if c.wnd != 0 {
		c.flags |= connForce
		t.want(c, i)
		return
	}
	if int(c.probes) >= t.cfg.Retries {
		t.end(c, i, t.broken(c), endReset)
		return
	}
	c.probes++
	if x.windowProbes < 255 {
		x.windowProbes++
	}
	t.ctr.WindowProbes++
	t.want(c, i).ping = true
}

// broken is the reason of a flow that is given up.
func (t *Table) broken(c *conn) handshake.CloseReason {
	if c.flags&connPathError != 0 {
		return handshake.ReasonUnreachable
	}
	return handshake.ReasonTimedOut
}
