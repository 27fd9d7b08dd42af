package flow

import (
	"math"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// maxEchoAge is how old, in ms, a timestamp can be that a flow's clock of µs compares with.
const maxEchoAge = math.MaxInt32 / msec

// acked takes the ACK and the window of an acceptable segment with n bytes of text: step five.
// It reports whether the flow ended.
func (t *Table) acked(c *conn, i uint32, s *wire.Segment, n uint32, blocks []wire.SACKBlock) (over bool) {
	closed := c.wnd == 0
	opened := c.window(s, t.una(c))
	if c.snd == 0 { // nothing is in flight, and nothing waits for the window
		if c.mem.bits&memProbed != 0 {
			c.mem.repeated(s.Ack, c.sndNxt, blocks, n == 0 && !opened && s.Flags&wire.FlagFIN == 0)
		}
		return false
	}
	x := t.senders.at(c.snd)
	if c.flags&connFINSent != 0 && s.Ack == x.nxt {
		return t.allAcked(c, i, n == 0 && s.Flags&wire.FlagFIN == 0)
	}
	if closed && opened {
		x.windowWait = false // what waited for the window begins to wait for more of it
	}
	una, mss := x.una, c.segment()
	progress := una.Less(s.Ack)
	if !progress && len(blocks) == 0 && x.lost == 0 && (n != 0 || opened) {
		// Not an ACK that tells of anything but the window.
		if opened {
			t.want(c, i)
		}
		return false
	}
	a := ackOf{ack: s.Ack, now: t.us, pure: n == 0 && !opened && s.Flags&wire.FlagFIN == 0}
	if c.flags&connSACK != 0 {
		a.blocks = blocks
	}
	if c.flags&connTS != 0 && s.Opt.Has&wire.HasTimestamps != 0 && s.Opt.TSEcr != 0 {
		// TSval ticks in ms: at the latest the end of the tick that is echoed.
		if age := t.engine.TSVal(c.tsOff) - s.Opt.TSEcr; age < maxEchoAge {
			a.echo, a.hasEcho = t.us-age*1000, true
		}
	}
	if s.Ack.Less(una) {
		a.ack = una // its SACK blocks are still of interest
		a.pure = false
	}
	was, point := x.phase, x.point
	x.acked(t.runs, &x.cc, &x.rto, &a, mss)
	if x.phase == phaseFast && (was != phaseFast || x.point != point) {
		t.ctr.Recoveries++
		c.reduced()
	}
	if x.ecnSet && x.ecnEnd.Less(x.una) {
		x.ecnSet = false
	}
	if c.flags&connECN != 0 && s.Flags&wire.FlagECE != 0 {
		t.marked(c, x, mss)
	}
	if progress {
		c.flags = c.flags&^connPathError | connAcked // the path is good again (MTU-008)
		x.since, x.windowProbes = t.ms, 0
		before := x.buf.size
		end := x.buf.end()
		if end.Less(s.Ack) {
			t.send.release(&x.buf, end)
		} else {
			t.send.release(&x.buf, s.Ack)
		}
		if c.flags&connWantRoom != 0 && before != x.buf.size && t.roomOf(c, x) >= t.cfg.SendBuffer/2 {
			t.writable(c, i)
			if c.state == 0 {
				return true
			}
			if c.snd == 0 {
				return false
			}
		}
		if n == 0 && s.Flags&wire.FlagFIN == 0 { // else the application may answer
			t.rest(c)
			if c.snd == 0 {
				t.schedule(c, i)
				return false
			}
		}
	}
	t.want(c, i)
	return false
}

// allAcked takes an ACK of all up to our FIN. Nothing is ever sent again, so what the sender has learnt
// is of no use. It reports whether the flow ended.
func (t *Table) allAcked(c *conn, i uint32, pure bool) (over bool) {
	x := t.senders.at(c.snd)
	c.sndNxt = x.nxt
	c.flags = c.flags&^(connPathError|connWantRoom) | connAcked
	t.releaseSender(c)
	if t.finAcked(c, i) {
		return true
	}
	if pure {
		t.schedule(c, i)
	}
	return false
}

// window takes SND.WND from s, if it is the newest word on it. It reports whether
// it changed. An old ACK has nothing to say, and one of something new is newest, as in Linux, although it
// may be text sent again with a lower SEG.SEQ: either would move the right edge beyond what the
// peer has promised.
func (c *conn) window(s *wire.Segment, una wire.Seq) bool {
	if s.Ack.Less(una) || s.Ack == una && (s.Seq.Less(c.wl1) || s.Seq == c.wl1 && s.Ack.Less(c.wl2)) {
		return false
	}
	changed := c.wnd != s.Win
	c.wl1, c.wl2, c.wnd = s.Seq, s.Ack, s.Win
	c.maxWnd = max(c.maxWnd, s.Win)
	return changed
}

// marked takes an ACK with ECE: the window is reduced once per round trip, and the peer told
// (RFC 3168 §6.1.2).
func (t *Table) marked(c *conn, x *sender, mss uint32) {
	if x.ecnSet || x.phase != phaseOpen {
		return
	}
	t.ctr.CongestionMarks++
	x.ecnEnd, x.ecnSet = x.nxt, true
	x.cc.congested(x.flight(), mss)
	c.reduced()
}

// reduced has the next new text tell that the congestion window was reduced, for whatever
// reason (RFC 3168 §6.1.2): else the peer would go on to echo a mark that came with the loss.
func (c *conn) reduced() {
	if c.flags&connECN != 0 {
		c.flags |= connCWR
	}
}

// finAcked moves the state on when our FIN is acknowledged. It reports whether the flow
// ended.
func (t *Table) finAcked(c *conn, i uint32) bool {
	switch c.state {
	case handshake.FinWait1:
		t.setState(c, i, handshake.FinWait2)
	case handshake.Closing:
		t.timeWait(c, i)
		return c.state == 0
	case handshake.LastAck:
		t.end(c, i, handshake.ReasonDone, endQuiet)
		return true
	case handshake.StateInvalid, handshake.Closed, handshake.Listen, handshake.SynSent, handshake.SynRcvd,
		handshake.Established, handshake.FinWait2, handshake.CloseWait, handshake.TimeWait:
	}
	return false
}

// writable tells the application that there is room.
func (t *Table) writable(c *conn, i uint32) {
	c.flags &^= connWantRoom
	if c.flags&connReleased == 0 && c.writes() {
		t.to.Writable(t.engine.ID(i), c.app)
	}
}

// ICMP takes an EventICMP: an error is the reason if the flow times out (MTU-008), and a path MTU
// lowers what is sent, never raises it (MTU-004, MTU-007).
func (t *Table) ICMP(ev *handshake.Event) {
	c := t.get(ev.Flow)
	if c == nil {
		return
	}
	i := ev.Flow.Index()
	una, nxt := t.una(c), t.nxt(c)
	if !una.LessEq(ev.ISS) || nxt.Less(ev.ISS) || c.snd == 0 && ev.Len == 0 { // RFC 5927 §4
		return
	}
	if ev.Len == 0 {
		c.flags |= connPathError
		t.ctr.SoftErrors++
		return
	}
	overhead := uint32(40)
	if tuple := t.engine.Tuple(ev.Flow); !tuple.Remote.Is4() {
		overhead = 60
	}
	mss := ev.Len - overhead
	if mss >= uint32(c.mss) {
		return
	}
	c.mss = uint16(mss)
	t.ctr.PathMTUs++
	if c.snd != 0 {
		x := t.senders.at(c.snd)
		t.runs.timeout(&x.scoreboard) // what is in flight was too long, and the path not congested
		t.want(c, i)
	}
}
