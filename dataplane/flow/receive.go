package flow

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// challengeSpacing is the least distance of two challenge ACKs of a flow, in ms
// (RST-008; Linux tcp_invalid_ratelimit).
const challengeSpacing = 500

// Segment takes the segment of an EventSegment: §3.10.7.4 from ESTABLISHED on. text is its
// payload, and blocks are those of its SACK option. Both are only read during the call, in which the
// application is called.
func (t *Table) Segment(ev *handshake.Event, s *wire.Segment, text []byte, blocks []wire.SACKBlock) {
	c := t.get(ev.Flow)
	if c == nil { // aborted by a callback of this burst
		t.engine.Count(handshake.Consumed)
		return
	}
	t.at(ev)
	t.engine.Count(t.segment(c, ev.Flow.Index(), s, text, blocks))
	t.rx = -1
}

func (t *Table) segment(c *conn, i uint32, s *wire.Segment, text []byte, blocks []wire.SACKBlock) handshake.Outcome {
	if s.Flags&(wire.FlagSYN|wire.FlagRST|wire.FlagACK) != wire.FlagACK {
		return t.unusual(c, i, s)
	}
	n := uint32(len(text))
	fin := s.Flags&wire.FlagFIN != 0
	hasTS := false
	if c.flags&connTS != 0 {
		if hasTS = s.Opt.Has&wire.HasTimestamps != 0; !hasTS {
			t.ctr.NoTimestamp++ // TSP-004
		} else if c.ts.Old(s.Opt.TSVal, t.sec) { // TSP-007
			return t.unacceptable(c, i, n != 0 || fin)
		}
	}
	wnd := c.rcvWnd()
	if seq := s.SegLen(); !Acceptable(c.rcvNxt, wnd, s.Seq, seq, fin) { // first
		if seq != 0 {
			t.duplicate(c, i, s, n)
		}
		return t.unacceptable(c, i, seq != 0)
	}
	una, nxt := t.una(c), t.nxt(c)
	if nxt.Less(s.Ack) || s.Ack.Less(una) && c.ackTooOld(s.Ack, una) { // RST-006, RST-007
		return t.unacceptable(c, i, n != 0 || fin)
	}
	if hasTS {
		c.ts.Take(s.Opt.TSVal, s.Seq, c.del.Last, t.sec) // TSP-005, TSP-006
	}
	c.heard, c.probes = t.ms, 0
	gen := c.gen
	if t.acked(c, i, s, n, blocks) || c.gen != gen || c.state == 0 {
		return handshake.Consumed // the flow is over
	}
	if n == 0 && !fin {
		return handshake.Consumed
	}
	return t.text(c, i, s, text, fin, wnd)
}

// ackTooOld is RFC 5961 §5.2 for an ACK of less than SND.UNA: one of longer ago than the peer can have text
// under way is a guess, and so is any before the first byte was acknowledged.
func (c *conn) ackTooOld(ack, una wire.Seq) bool {
	return c.flags&connAcked == 0 || ack.Less(una-wire.Seq(max(c.maxSndWnd(), 1)))
}

// unusual is a segment with SYN or RST, or without ACK.
func (t *Table) unusual(c *conn, i uint32, s *wire.Segment) handshake.Outcome {
	switch {
	case s.Flags&wire.FlagRST != 0: // second; not subject to PAWS (RST-005)
		switch {
		case s.Seq == c.rcvNxt, s.Seq+1 == c.rcvNxt && c.peerClosed(): // RST-001, RST-004
			why := handshake.ReasonReset
			switch c.state {
			case handshake.Closing, handshake.LastAck: // both sides had closed already
				why = handshake.ReasonDone
			case handshake.TimeWait: // since this burst (TWT-007)
				if t.engine.Config().RFC1337 {
					return handshake.DropRST
				}
				why = handshake.ReasonDone
			default:
			}
			t.end(c, i, why, endQuiet)
			return handshake.Consumed
		case s.Seq.InWindow(c.rcvNxt, c.rcvWnd()+1): // RST-002
			return t.challenge(c, i)
		}
		return handshake.DropRST // RST-003
	case s.Flags&wire.FlagSYN != 0: // fourth, moved up by RFC 5961 §4.2: for any SEQ
		// Only a FIN-WAIT-2 that nobody owns gives way (SYN-004).
		if c.state == handshake.FinWait2 && c.flags&connReleased != 0 && s.Flags&wire.FlagACK == 0 && c.rcvNxt.LessEq(s.Seq) &&
			!(c.flags&connTS != 0 && s.Opt.Has&wire.HasTimestamps != 0 && c.ts.Old(s.Opt.TSVal, t.sec)) {
			return t.refuse(c, i, s)
		}
		return t.challenge(c, i) // SYN-002, SYN-003; this repeats a lost third ACK too
	}
	return handshake.DropNoACK // VAL-020: silent wherever it lies
}

// refuse ends a released flow whose peer goes on, by a reset that answers s.
func (t *Table) refuse(c *conn, i uint32, s *wire.Segment) handshake.Outcome {
	t.engine.ResetStream(t.engine.ID(i), s)
	t.end(c, i, handshake.ReasonAborted, endQuiet)
	return handshake.AnsweredReset
}

// challenge answers by an ACK, at most one per 500 ms and flow (RST-009: the limit is
// the flow's own, there is no shared counter to probe).
func (t *Table) challenge(c *conn, i uint32) handshake.Outcome {
	if t.ms-c.challenged < challengeSpacing {
		return handshake.DropRateLimited
	}
	c.challenged = t.ms
	t.ctr.Challenges++
	t.ackNow(c, i)
	return handshake.AnsweredChallenge
}

// unacceptable answers by an ACK: at most one per 500 ms for pure segments,
// always for text, whose sender needs it to go on (RST-008).
func (t *Table) unacceptable(c *conn, i uint32, text bool) handshake.Outcome {
	if !text {
		return t.challenge(c, i)
	}
	c.challenged = t.ms
	t.ctr.Challenges++
	t.ackNow(c, i)
	return handshake.AnsweredChallenge
}

// duplicate tells the peer by D-SACK which text of an unacceptable segment it has sent
// in vain (RFC 2883 §4).
func (t *Table) duplicate(c *conn, i uint32, s *wire.Segment, n uint32) {
	t.ctr.TextSegments++
	if end := s.Seq + wire.Seq(n); n == 0 || c.rcvNxt.Less(end) {
		t.ctr.Outside++
		return
	}
	t.ctr.Duplicate++
	if c.flags&connSACK != 0 {
		t.want(c, i).dup = wire.SACKBlock{Left: s.Seq, Right: s.Seq + wire.Seq(n)}
	}
}

// ackNow has an ACK go out with this burst.
func (t *Table) ackNow(c *conn, i uint32) {
	c.flags |= connAckNow
	t.want(c, i)
}

// text takes the payload and the FIN of an acceptable segment with a good ACK: steps
// seven and eight.
func (t *Table) text(c *conn, i uint32, s *wire.Segment, text []byte, fin bool, wnd uint32) handshake.Outcome {
	t.ctr.TextSegments++
	if c.flags&connECN != 0 {
		c.congestion(s)
	}
	if !c.reads() { // the peer has closed: this is old
		t.ctr.Duplicate++
		t.ackNow(c, i)
		return handshake.Answered
	}
	n := uint32(len(text))
	if n != 0 && c.flags&connReleased != 0 && c.rcvNxt.Less(s.Seq+wire.Seq(n)) { // RST-014
		t.ctr.Unread++
		return t.refuse(c, i, s)
	}
	gen, prompt := c.gen, false
	if c.held.Next(c.rcvNxt, wnd, s.Seq, n) {
		t.ctr.InOrder++
		c.rcvNxt += wire.Seq(n)
		prompt = fin
		if n != 0 {
			t.ctr.BytesIn += uint64(n)
			t.to.Data(t.engine.ID(i), c.app, text)
		}
	} else {
		a := t.reas.Arrive(&c.held, c.rcvNxt, wnd, s.Seq, text, fin)
		t.fate(a.Fate)
		prompt, fin = a.Prompt(), a.FIN
		if a.Dup.Left != a.Dup.Right && c.flags&connSACK != 0 {
			t.want(c, i).dup = a.Dup
		}
		if a.Len != 0 {
			c.rcvNxt += wire.Seq(a.Len)
			t.ctr.BytesIn += uint64(a.Len)
			t.to.Data(t.engine.ID(i), c.app, text[a.Off:a.Off+a.Len])
		}
		if a.Ready && c.gen == gen && c.state != 0 {
			fin = t.take(c, i) || fin
		}
	}
	if c.gen != gen || c.state == 0 {
		return handshake.Consumed // ended by the application
	}
	// A segment that is late in a burst: the ACK goes out when the burst is over (DAT-015).
	if c.del.Arrived(t.us, t.ackDelay, c.rcvNxt, n, prompt) == AckNow {
		t.ackNow(c, i)
	} else {
		t.want(c, i)
	}
	if fin {
		t.peerFIN(c, i)
	}
	return handshake.Answered
}

// take gives the application the text that was held and is next now. It reports
// whether the peer's FIN is behind it.
func (t *Table) take(c *conn, i uint32) (fin bool) {
	chain, fin := t.reas.Take(&c.held)
	defer t.pool.Release(&chain)
	gen := c.gen
	c.rcvNxt += wire.Seq(chain.Len)
	t.ctr.BytesIn += uint64(chain.Len)
	for b := chain.First; b != 0 && c.gen == gen && c.state != 0; b = t.pool.Next(b) {
		if c.flags&connReleased != 0 { // in Data: nobody reads the rest (RST-014)
			t.end(c, i, handshake.ReasonAborted, endReset)
			break
		}
		t.to.Data(t.engine.ID(i), c.app, t.pool.Text(b))
	}
	return fin
}

func (t *Table) fate(f Fate) {
	switch f {
	case InOrder:
		t.ctr.InOrder++
	case Filled:
		t.ctr.Filled++
	case Ahead:
		t.ctr.Ahead++
	case Duplicate:
		t.ctr.Duplicate++
	case NoRoom:
		t.ctr.NoRoom++
	case Outside, FateInvalid:
		t.ctr.Outside++
	}
}

// peerFIN is step eight.
func (t *Table) peerFIN(c *conn, i uint32) {
	c.rcvNxt++
	t.ackNow(c, i)
	id, app := t.engine.ID(i), c.app
	switch c.state {
	case handshake.Established:
		t.setState(c, i, handshake.CloseWait)
	case handshake.FinWait1: // our FIN is not acknowledged yet: FIN-WAIT-2 has its own case
		t.setState(c, i, handshake.Closing)
	case handshake.FinWait2:
		t.timeWait(c, i)
		return
	default:
		return
	}
	gen := c.gen
	if c.flags&connReleased == 0 {
		t.to.PeerClosed(id, app)
	}
	if c.gen == gen && c.state == handshake.CloseWait && c.flags&connAutoClose != 0 {
		t.Close(id)
	}
}

// timeWait has c enter TIME-WAIT as soon as its last ACK is out; the application is told now.
func (t *Table) timeWait(c *conn, i uint32) {
	id, app, released := t.engine.ID(i), c.app, c.flags&connReleased != 0
	fin := c.state == handshake.FinWait2
	c.flags |= connTimeWait
	c.state = handshake.TimeWait // the engine hears of it by EndStream
	gen := c.gen
	if fin && !released {
		t.to.PeerClosed(id, app)
	}
	if c.gen == gen && c.state != 0 {
		t.to.Closed(id, app, handshake.ReasonDone)
	}
	t.want(c, i)
}

func (t *Table) setState(c *conn, i uint32, s handshake.State) {
	c.state = s
	if c.flags&connEarly == 0 {
		t.engine.SetState(t.engine.ID(i), s)
	}
}

// congestion is what a segment with text says about ECN (RFC 3168 §6.1.3).
func (c *conn) congestion(s *wire.Segment) {
	if s.Flags&wire.FlagCWR != 0 {
		c.flags &^= connCE
	}
	if s.TOS&3 == 3 {
		c.flags |= connCE
	}
}
