package flow

import (
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Out is a segment to send. It is valid until the next call of a Table's functions.
type Out struct {
	Seg   wire.Segment // with Len bytes of text, see Text
	Extra []byte       // options behind those of Seg.Opt, for wire.PutTCPExtra
	// Head and Tail are the text where it lies, if it lies in at most two pieces; else
	// Text has to copy it.
	Head, Tail []byte
	Flow       handshake.FlowID
	conn       uint32
}

// Text copies the text of o to the beginning of dst, which has room for it.
func (t *Table) Text(o *Out, dst []byte) {
	c := &t.conns[o.conn]
	x := t.senders.at(c.snd)
	t.send.copyOut(&x.buf, o.Seg.Seq, dst[:o.Seg.Len])
}

// Answer writes the first segment of the next flow that can answer in a received frame,
// and returns which. It returns false when there is no such flow left: what else is
// to be sent, Output says. To be called when the events of the burst are over and the frames
// are not needed any more.
func (t *Table) Answer(o *Out) (rx int, ok bool) {
	for ; t.answered < len(t.jobs); t.answered++ {
		j := &t.jobs[t.answered]
		if j.rx < 0 {
			continue
		}
		rx = int(j.rx)
		j.rx = -1
		i := j.i
		c := &t.conns[i]
		if c.gen != j.gen || int(c.job) != t.answered+1 {
			continue
		}
		sent := t.step(c, i, j, o)
		if !sent || !t.more(c, j) {
			t.rx, t.rxIdx = int16(rx), i
			t.settle(c, i)
			t.rx = -1
		}
		if sent {
			t.answered++
			return rx, true
		}
	}
	t.rx = -1 // the frames go
	return 0, false
}

// more reports whether c may have something to send after a segment.
func (t *Table) more(c *conn, j *job) bool {
	if c.flags&connAckNow != 0 || j.ping || j.probe {
		return true
	}
	if c.snd == 0 {
		return false
	}
	x := t.senders.at(c.snd)
	return x.lost != 0 || x.buf.end() != x.nxt && c.flags&connFINSent == 0 || c.flags&(connFIN|connFINSent) == connFIN
}

// Output writes the next segment to send. It returns false when there is none.
func (t *Table) Output(o *Out) bool {
	if t.open == 0 {
		t.jobs, t.done, t.answered = t.jobs[:0], 0, 0
		return false
	}
	for ; t.done < len(t.jobs); t.done++ {
		j := &t.jobs[t.done]
		i := j.i
		c := &t.conns[i]
		if c.gen != j.gen || int(c.job) != t.done+1 {
			continue
		}
		if t.step(c, i, j, o) {
			if t.turn++; t.turn >= quantum && t.open > 1 {
				t.yield(c, i, j)
			}
			return true
		}
		t.turn = 0
		t.settle(c, i)
	}
	t.jobs, t.done, t.answered = t.jobs[:0], 0, 0
	return false
}

// quantum is how many segments a flow sends until it is the turn of the next.
const quantum = 16

// yield puts c behind the others that have something to send.
func (t *Table) yield(c *conn, i uint32, j *job) {
	old := *j
	t.turn, c.job = 0, 0
	t.open--
	t.newJob(c, i)
	k := &t.jobs[c.job-1]
	k.dup, k.probe, k.ping, k.seq, k.n = old.dup, old.probe, old.ping, old.seq, old.n
}

// Pending is how many flows may have something to send, and so a bound on how many
// frames Output is asked for at a time.
func (t *Table) Pending() int { return t.open }

// settle ends the job of c when it has no more to say for now.
func (t *Table) settle(c *conn, i uint32) {
	c.job = 0
	t.open--
	if c.flags&connTimeWait != 0 {
		t.end(c, i, handshake.ReasonDone, endTimeWait)
		return
	}
	if c.snd != 0 {
		t.rest(c)
	}
	t.schedule(c, i)
}

// step writes the next segment of c. It returns false when there is none now.
func (t *Table) step(c *conn, i uint32, j *job, o *Out) bool {
	if c.snd != 0 {
		x := t.senders.at(c.snd)
		room := c.segment()
		sack := uint32(0)
		if c.held != 0 || j.dup.Left != j.dup.Right {
			sack = t.sackRoom(c)
			room -= min(sack, room-1)
		}
		if t.again(c, i, j, x, room, o) || t.fresh(c, i, j, x, room, o) {
			return true
		}
	}
	if j.ping { // KAL-002
		j.ping = false
		t.head(c, i, j, o, t.una(c)-1, 0, wire.FlagACK)
		t.ctr.Acks++
		return true
	}
	if c.flags&connAckNow == 0 {
		return false
	}
	t.head(c, i, j, o, t.nxt(c), 0, wire.FlagACK)
	t.ctr.Acks++
	return true
}

// again sends what is lost, or probes the tail with what was sent before.
func (t *Table) again(c *conn, i uint32, j *job, x *sender, room uint32, o *Out) bool {
	var seq wire.Seq
	var n uint32
	if j.probe && j.n != 0 {
		j.probe = false
		if end := j.seq + wire.Seq(j.n); !j.seq.Less(x.una) { // not acknowledged since
			n = min(j.n, room)
			seq = end - wire.Seq(n) // its end, which is what the probe is for
		}
	}
	if n == 0 && x.lost != 0 {
		seq, n, _ = x.next(t.runs, room, x.cc.cwnd)
	}
	if n == 0 {
		return false
	}
	text, flags := n, wire.FlagACK
	if end := x.buf.end(); c.flags&connFINSent != 0 && end.Less(seq+wire.Seq(n)) {
		text = uint32(end - seq)
		flags |= wire.FlagFIN
	}
	if text != 0 {
		flags |= wire.FlagPSH
	}
	t.head(c, i, j, o, seq, text, flags)
	x.sentAgain(t.runs, seq, n, t.us)
	t.ctr.TextOut++
	t.ctr.Resent++
	t.ctr.BytesResent += uint64(text)
	return true
}

// fresh sends new text, as much of it as goes into one segment and the windows allow, and the
// FIN behind it.
func (t *Table) fresh(c *conn, i uint32, j *job, x *sender, room uint32, o *Out) bool {
	fin := c.flags&(connFIN|connFINSent) == connFIN
	queued := uint32(x.buf.end() - x.nxt)
	if c.flags&connFINSent != 0 || queued == 0 && !fin {
		return false
	}
	mss, idle := c.segment(), x.flight() == 0
	if idle {
		x.cc.resume(mss, x.rto.timeout(), t.us)
	}
	_, _, allowed := x.next(t.runs, mss, x.cc.cwnd)
	force := c.flags&connForce != 0
	if j.probe { // of the tail: neither cwnd nor Nagle holds it back (RFC 8985 §7.3)
		j.probe, force = false, true
		allowed = max(allowed, mss)
	}
	wnd := uint32(0)
	if edge := x.una + wire.Seq(c.sndWnd()); x.nxt.Less(edge) {
		wnd = uint32(edge - x.nxt)
	}
	usable := min(allowed, wnd)
	n := sendable(queued, usable, mss, c.maxSndWnd(), idle, c.flags&connNagle != 0 && !fin, true)
	if n == 0 && force {
		n = min(queued, usable)
	}
	n = min(n, room)
	flags := wire.FlagACK
	// A FIN goes with the last text, or alone; it is sent into a closed window too, as
	// other stacks do, since it needs no room there.
	if fin && n == queued && (n != 0 || allowed != 0) {
		flags |= wire.FlagFIN
	} else if n == 0 {
		return false
	}
	if idle {
		x.since = t.ms
	}
	c.flags &^= connForce
	if n == queued {
		flags |= wire.FlagPSH
	}
	if n == 0 {
		flags &^= wire.FlagPSH
	}
	t.head(c, i, j, o, x.nxt, n, flags)
	if c.flags&connECN != 0 && n != 0 { // retransmissions stay Not-ECT (ECN-005)
		o.Seg.TOS |= 2
		if c.flags&connCWR != 0 {
			c.flags &^= connCWR
			o.Seg.Flags |= wire.FlagCWR
		}
	}
	if flags&wire.FlagFIN != 0 {
		n++
		c.flags |= connFINSent
		if c.state == handshake.CloseWait {
			t.setState(c, i, handshake.LastAck)
		} else {
			t.setState(c, i, handshake.FinWait1)
		}
	}
	x.sentNew(t.runs, &x.cc, &x.rto, n, mss, t.us)
	if c.flags&connEarly != 0 {
		t.engine.Spoke(o.Flow, x.nxt)
	}
	t.ctr.TextOut++
	return true
}

// sackRoom is the length of the option that head will write.
func (t *Table) sackRoom(c *conn) uint32 {
	if c.flags&connSACK == 0 {
		return 0
	}
	return 4 + 8*3 // as many blocks as go beside timestamps
}

// head writes the header of a segment of c with n bytes of text, whose ACK is said thereby.
func (t *Table) head(c *conn, i uint32, j *job, o *Out, seq wire.Seq, n uint32, flags wire.Flags) {
	s := &o.Seg
	o.conn, o.Flow = i, t.engine.ID(i)
	t.engine.Address(o.Flow, s)
	w := RcvWindow{Edge: c.edge, Shift: c.rcvShift()}
	s.Seq, s.Ack, s.Len, s.Flags = seq, c.rcvNxt, n, flags
	s.Win = w.Field(c.rcvNxt, t.room(c), t.rcvBuf, uint32(c.del.mss))
	c.edge = w.Edge
	s.TOS, s.Opt.Has = 0, 0
	if c.flags&connCE != 0 {
		s.Flags |= wire.FlagECE
	}
	if c.flags&connTS != 0 { // TSP-003
		s.Opt.Has = wire.HasTimestamps
		s.Opt.TSVal, s.Opt.TSEcr = t.engine.TSVal(c.tsOff), c.ts.Val
	}
	o.Extra = nil
	if c.held != 0 || j.dup.Left != j.dup.Right {
		if room := t.sackRoom(c); room != 0 {
			var blocks [recentSpans]wire.SACKBlock
			k := t.reas.SACK(c.held, j.dup, &blocks, int(room-4)/8)
			o.Extra = t.sack[:wire.PutSACK(t.sack[:], blocks[:k], int(room))]
		}
		j.dup = wire.SACKBlock{}
	}
	o.Head, o.Tail = nil, nil
	if n != 0 {
		o.Head, o.Tail = t.send.slices(&t.senders.at(c.snd).buf, seq, n)
	}
	c.flags &^= connAckNow
	c.del.Sent(c.rcvNxt)
	t.ctr.SegmentsOut++
}

// room is how many bytes from RCV.NXT on there is memory for. When the pool is short, all
// flows get less of it, but two segments at least: text in order takes no memory, and two sides whose
// pools are full of what they want to send would wait for each other's window for ever.
func (t *Table) room(c *conn) uint32 {
	room := t.rcvBuf - min(c.kept, t.rcvBuf)
	if left := t.pool.Left(); left < t.pool.Blocks()/4 {
		room = min(room, max(uint32(min(left, 1<<20))*BlockSize/16, 2*uint32(c.del.mss)))
	}
	return room
}
