package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// maxRuns is the most runs that a flow has, and so bounds what one ACK costs.
const maxRuns = 256

// What became of a run.
const (
	runSacked  uint8 = 1 << iota // the peer has it but may forget it (RFC 2018 §8)
	runLost                      // believed to be lost, and not sent again since
	runRetrans                   // sent more than once
)

// run is text in flight that was sent at one time and had one fate. It begins
// where the run before it ends. 16 bytes.
type run struct {
	end   wire.Seq
	at    uint32 // when its first segment was last sent
	next  uint32
	flags uint8
}

// runPool has the runs of all flows of a core: one for each flow, and extra ones that
// they compete for.
type runPool struct {
	runs  []run
	free  freeList
	extra int // left
}

// newRunPool makes the runs for so many flows, and extra ones for those among them that
// send without pause or lose something.
func newRunPool(flows, extra int) *runPool {
	n := flows + extra + 1
	return &runPool{runs: make([]run, n), free: newFreeList(make([]uint32, n)), extra: extra}
}

// scoreboard is what a sender knows of SND.UNA to SND.NXT: when each byte was sent,
// and what is known to have arrived or believed to be lost (RFC 6675 §3, RFC 8985 §5).
//
// It is a list of runs in order of sequence, one for a flight of a flow without loss,
// which has none while it is idle. When runs are short, and the peer decides how many there
// are, it forgets: a block of SACK that needs a new run is ignored as if it had
// not come, and a flight joins the one before. 36 bytes, pointer-free.
type scoreboard struct {
	una, nxt   wire.Seq
	head, tail uint32
	runs       uint32
	sacked     uint32   // bytes of runs with runSacked
	lost       uint32   // bytes of runs with runLost
	high       wire.Seq // the end of the highest run with runSacked, if there is one
}

// newScoreboard has nothing in flight.
func newScoreboard(nxt wire.Seq) scoreboard { return scoreboard{una: nxt, nxt: nxt, high: nxt} }

// flight is FlightSize (RFC 5681 §2).
func (s *scoreboard) flight() uint32 { return uint32(s.nxt - s.una) }

// pipe estimates what is still in the network (RFC 6675 §4): what was sent, without what
// arrived, and without what is lost unless it was sent again.
func (s *scoreboard) pipe() uint32 { return s.flight() - s.sacked - s.lost }

// get returns a run to s, or 0.
func (p *runPool) get(s *scoreboard) uint32 {
	if s.runs != 0 {
		if s.runs >= maxRuns || p.extra == 0 {
			return 0
		}
		p.extra--
	}
	i := p.free.get()
	if i != 0 {
		s.runs++
	}
	return i
}

func (p *runPool) put(s *scoreboard, i uint32) {
	p.free.put(i)
	s.runs--
	if s.runs != 0 {
		p.extra++
	}
}

// sent adds n bytes of new text, sent now. A flight joins the run before if that was sent less than
// together microseconds ago: a part of the round trip so small that nothing depends on it.
func (p *runPool) sent(s *scoreboard, n, now, together uint32) {
	s.nxt += wire.Seq(n)
	if t := s.tail; t != 0 && p.runs[t].flags == 0 && now-p.runs[t].at <= together {
		p.runs[t].end = s.nxt
		return
	}
	i := p.get(s)
	if i == 0 {
		// Its time is wrong by a part of the flight, as is the fate of the run it joins.
		p.join(s, now)
		return
	}
	p.runs[i] = run{end: s.nxt, at: now}
	if s.tail == 0 {
		s.head = i
	} else {
		p.runs[s.tail].next = i
	}
	s.tail = i
}

// join extends the last run to SND.NXT although it has another time, and forgets what is known of it.
func (p *runPool) join(s *scoreboard, now uint32) {
	t := &p.runs[s.tail]
	p.account(s, t.flags, -p.length(s, s.tail))
	// As retransmitted it gives no sample of the round trip.
	*t = run{end: s.nxt, at: now, flags: runRetrans}
	s.refreshHigh(p)
}

// length is the bytes of run i, for the rare places that have not come along the list.
func (p *runPool) length(s *scoreboard, i uint32) uint32 {
	from := s.una
	for k := s.head; k != i; k = p.runs[k].next {
		from = p.runs[k].end
	}
	return uint32(p.runs[i].end - from)
}

// account adds n bytes, which may be negative, to what flags say they are.
func (p *runPool) account(s *scoreboard, flags uint8, n uint32) {
	if flags&runSacked != 0 {
		s.sacked += n
	}
	if flags&runLost != 0 {
		s.lost += n
	}
}

func (s *scoreboard) refreshHigh(p *runPool) {
	s.high = s.una
	for k := s.head; k != 0; k = p.runs[k].next {
		if p.runs[k].flags&runSacked != 0 {
			s.high = p.runs[k].end
		}
	}
}

// acked takes a cumulative acknowledgment, and tells d what it is the first news of.
// An ack that is old or beyond SND.NXT changes nothing.
func (p *runPool) acked(s *scoreboard, ack wire.Seq, d *delivery) {
	if n := uint32(ack - s.una); n == 0 || n > s.flight() {
		return
	}
	for s.una != ack {
		i := s.head
		r := &p.runs[i]
		end := r.end
		if ack.Less(end) {
			end = ack
		}
		n := uint32(end - s.una)
		p.account(s, r.flags, -n)
		if r.flags&runSacked == 0 {
			d.add(r, end, n, false)
		}
		s.una = end
		if end == r.end {
			s.head = r.next
			if s.head == 0 {
				s.tail = 0
			}
			p.put(s, i)
		}
	}
	if s.high.Less(ack) {
		s.high = ack
	}
}

// mark sets flags of [from, to), which lies in flight, clears others, and tells d what arrived if set has
// runSacked. What would need a run that there is not stays as it is.
// skip is flags that exempt a run.
func (p *runPool) mark(s *scoreboard, from, to wire.Seq, set, clear, skip uint8, d *delivery) {
	if !from.Less(to) {
		return
	}
	at, prev := s.una, uint32(0)
	for i := s.head; i != 0 && at.Less(to); {
		r := &p.runs[i]
		if r.end.LessEq(from) {
			at, prev, i = r.end, i, r.next
			continue
		}
		if r.flags&skip != 0 || r.flags&set == set && r.flags&clear == 0 {
			at = r.end
			prev = p.merge(s, prev, i)
			i = p.runs[prev].next
			continue
		}
		if at.Less(from) { // split off the front
			k := p.split(s, i, from)
			if k == 0 {
				at, prev, i = r.end, i, r.next
				continue
			}
			at, prev, i = from, i, k
			r = &p.runs[i]
		}
		if to.Less(r.end) && p.split(s, i, to) == 0 {
			p.merge(s, prev, i)
			return
		}
		n := uint32(r.end - at)
		p.account(s, r.flags, -n)
		if set&runSacked != 0 {
			d.add(r, r.end, n, true)
			if s.high.Less(r.end) {
				s.high = r.end
			}
		}
		r.flags = r.flags&^clear | set
		p.account(s, r.flags, n)
		at = r.end
		i = p.merge(s, prev, i)
		prev, i = i, p.runs[i].next
	}
	// What follows may look like the last marked one now.
	if prev != 0 && p.runs[prev].next != 0 {
		p.merge(s, prev, p.runs[prev].next)
	}
}

// split cuts run i at seq and returns the rear part, or 0 if there is no run for it.
func (p *runPool) split(s *scoreboard, i uint32, seq wire.Seq) uint32 {
	k := p.get(s)
	if k == 0 {
		return 0
	}
	r := &p.runs[i]
	p.runs[k] = *r
	r.end, r.next = seq, k
	if s.tail == i {
		s.tail = k
	}
	return k
}

// merge joins run i with the one before it, if they are alike, and returns what i is then. The
// time of a run that arrived or is lost does not matter any more.
func (p *runPool) merge(s *scoreboard, prev, i uint32) uint32 {
	if prev == 0 {
		return i
	}
	a, r := &p.runs[prev], &p.runs[i]
	switch {
	case a.flags&r.flags&runSacked != 0:
	case a.flags != r.flags, a.flags&runLost == 0 && a.at != r.at:
		return i
	}
	a.flags |= r.flags
	a.end, a.next = r.end, r.next
	if s.tail == i {
		s.tail = prev
	}
	p.put(s, i)
	return prev
}

// sack takes the blocks of a SACK option (RFC 2018) and reports whether the first is a duplicate
// SACK (RFC 2883 §4, RFC 6675 §3). Blocks outside of what is in flight are ignored: the peer lies or is late.
func (p *runPool) sack(s *scoreboard, ack wire.Seq, blocks []wire.SACKBlock, d *delivery) (dsack bool) {
	for i, b := range blocks {
		if !b.Left.Less(b.Right) {
			continue
		}
		if i == 0 && (b.Right.LessEq(ack) && uint32(ack-b.Left) <= maxSend ||
			len(blocks) > 1 && blocks[1].Left.LessEq(b.Left) && b.Right.LessEq(blocks[1].Right)) {
			dsack = true
			continue
		}
		if b.Left.Less(s.una) || s.nxt.Less(b.Right) {
			continue
		}
		p.mark(s, b.Left, b.Right, runSacked, runLost, runSacked, d)
	}
	return dsack
}

// nextLost returns the first text to send again, at most mss bytes (NextSeg, RFC 6675 §4 (1)).
func (p *runPool) nextLost(s *scoreboard, mss uint32) (seq wire.Seq, n uint32) {
	if s.lost == 0 {
		return s.nxt, 0
	}
	at := s.una
	for i := s.head; ; i = p.runs[i].next {
		r := &p.runs[i]
		if r.flags&runLost != 0 {
			return at, min(uint32(r.end-at), mss)
		}
		at = r.end
	}
}

// resent takes that [seq, seq+n) was sent again now. Without a run for it, all of
// the run it lies in counts as sent: RACK or the timer finds what was not.
func (p *runPool) resent(s *scoreboard, seq wire.Seq, n, now uint32) {
	at, prev := s.una, uint32(0)
	for i := s.head; i != 0; i = p.runs[i].next {
		r := &p.runs[i]
		if seq.Less(r.end) {
			if at.Less(seq) {
				if k := p.split(s, i, seq); k != 0 {
					at, prev, i = seq, i, k
					r = &p.runs[i]
				}
			}
			if end := seq + wire.Seq(n); end.Less(r.end) {
				p.split(s, i, end)
			}
			p.account(s, r.flags, -uint32(r.end-at))
			r.flags, r.at = runRetrans, now
			p.merge(s, prev, i)
			return
		}
		at, prev = r.end, i
	}
}

// timeout takes the expiry of the retransmission timer: all that is in flight is lost, also what the
// peer had reported, since it may have forgotten it (RFC 2018 §8, RFC 6675 §5.1). Resending begins at
// SND.UNA (DAT-007); new reports of what the peer did keep take it out again.
func (p *runPool) timeout(s *scoreboard) {
	for s.head != s.tail {
		i := s.head
		s.head = p.runs[i].next
		p.put(s, i)
	}
	if s.head != 0 {
		p.runs[s.head].flags = runLost | runRetrans
	}
	s.sacked, s.lost, s.high = 0, s.flight(), s.una
}

// clear forgets all: the flow is closed.
func (p *runPool) clear(s *scoreboard) {
	for i := s.head; i != 0; {
		next := p.runs[i].next
		p.put(s, i)
		i = next
	}
	*s = newScoreboard(s.nxt)
}

// delivery is the news in one ACK: what it is the first to report.
type delivery struct {
	bytes  uint32 // newly acknowledged or reported, each byte once
	sacked uint32 // of these, reported by SACK
	// The segment among them that was sent last, for RACK (RFC 8985 §6.2 step 2).
	at      uint32
	end     wire.Seq
	retrans bool
	any     bool
	// The time of the first segment acknowledged that was sent once, for the round trip (RFC 6298 §3):
	// the whole delay that the peer put in.
	first     uint32
	hasFirst  bool
	ambiguous bool // something newly delivered had been sent more than once
	unclear   bool // the echo is of an earlier copy, but the last one was there in time to cause the ACK
	// What excludes a retransmission as the copy that arrived (RFC 8985 §6.2 step 2).
	now, minRTT uint32
	echo        uint32 // the latest time at which the echoed TSval was current
	hasEcho     bool
}

// add takes a part of r, n bytes up to end, that arrived.
func (d *delivery) add(r *run, end wire.Seq, n uint32, sacked bool) {
	d.bytes += n
	if sacked {
		d.sacked += n
	}
	if r.flags&runRetrans != 0 {
		d.ambiguous = true
		if d.now-r.at < d.minRTT {
			return // an earlier copy
		}
		if d.hasEcho && int32(d.echo-r.at) < 0 {
			d.unclear = true
			return // an earlier copy, or an ACK for the second arrival, which the peer does not echo (RFC 7323 §5.3 R3)
		}
	} else if !d.hasFirst && r.flags&runLost == 0 { // the time of a lost one may be that of its neighbour
		d.first, d.hasFirst = r.at, true
	}
	if !d.any || sentAfter(r.at, end, d.at, d.end) {
		d.at, d.end, d.retrans, d.any = r.at, end, r.flags&runRetrans != 0, true
	}
}

// sentAfter reports whether text up to end1 sent at time at1 was sent after that up to end2 sent at at2 (RFC 8985 §6.2).
func sentAfter(at1 uint32, end1 wire.Seq, at2 uint32, end2 wire.Seq) bool {
	return int32(at1-at2) > 0 || at1 == at2 && end2.Less(end1)
}
