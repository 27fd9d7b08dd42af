package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// span is a run of received sequence numbers [left, right) behind a hole. Its text
// is all of them but the FIN, which is the last one if it is there.
type span struct {
	left, right wire.Seq
	prev, next  uint32
	text        Chain
}

// recentSpans is how many spans a SACK option can name (RFC 2018 §3).
const recentSpans = 4

// holding is what one flow holds: spans in order, between any two of them a hole.
// It has one span at least.
type holding struct {
	first, last uint32
	recent      [recentSpans]uint32 // the spans that changed last, the latest first; 0 at the end
	blocks      uint32
	spans       uint32
	fin         wire.Seq // sequence number of the FIN
	hasFIN      bool     // it is in the last span
}

// cut cuts s to what lies before a FIN that was seen earlier, and returns whether
// its own FIN counts.
func (q *holding) cut(s *arrival, fin bool, spans []span) bool {
	switch {
	case !q.hasFIN:
		return fin && spans[q.last].right.LessEq(s.end)
	case q.fin.Less(s.end):
		s.end = q.fin
		return false
	}
	return fin && s.end == q.fin
}

// repeats notes that what s has of [left, right) was received before.
func (s *arrival) repeats(left, right wire.Seq) {
	if s.hi.Less(right) {
		right = s.hi
	}
	if s.dup.Left == s.dup.Right && left.Less(right) {
		s.dup = wire.SACKBlock{Left: left, Right: right}
	}
}

// hold copies what is new of s from lo on. It reports whether there was something
// to store, and whether something was left out because room was short.
func (r *Reassembler) hold(h *Held, lo wire.Seq, s *arrival) (stored, short bool) {
	if *h == 0 {
		*h = Held(r.idle.get())
		if *h == 0 {
			return false, true
		}
		r.holdings[*h] = holding{}
	}
	q := &r.holdings[*h]
	at, into, pos := r.before(q, lo), uint32(0), lo // into is the span that ends at pos
	if at != 0 && lo.LessEq(r.spans[at].right) {
		into = at
		s.repeats(lo, r.spans[at].right)
		pos = r.spans[at].right
	}
	for pos.Less(s.hi) && !short {
		next := q.first
		if at != 0 {
			next = r.spans[at].next
		}
		gap := s.hi // where the hole ends, or s
		closes := next != 0 && r.spans[next].left.LessEq(gap)
		if closes {
			gap = r.spans[next].left
		}
		var n uint32
		switch {
		case into != 0:
			n, short = r.store(q, &r.spans[into].text, s, pos, gap)
			r.spans[into].right += wire.Seq(n)
			stored = stored || n != 0
			if closes && !short {
				s.repeats(gap, r.spans[next].right)
				r.join(q, into, next)
			}
			pos = r.spans[into].right
		case closes: // in front of next
			var c Chain
			if _, short = r.store(q, &c, s, pos, gap); short {
				q.blocks -= c.Blocks
				r.pool.Release(&c)
				break
			}
			stored, into = true, next
			f := &r.spans[next]
			r.pool.Concat(&c, &f.text)
			f.left, f.text = pos, c
			s.repeats(gap, f.right)
			pos, at = f.right, next
		default: // alone, and last of what there is of s
			into = r.insert(q, at, pos)
			if into == 0 {
				short = true
				break
			}
			f := &r.spans[into]
			n, short = r.store(q, &f.text, s, pos, gap)
			f.right += wire.Seq(n)
			if n == 0 {
				r.unlink(q, into)
				into = 0
				break
			}
			stored, pos = true, gap
		}
	}
	if into != 0 {
		q.touch(into)
	}
	if q.first == 0 {
		r.idle.put(uint32(*h))
		*h = 0
	}
	return stored, short
}

// store copies what s has of [pos, gap) to the end of c. It returns how many
// sequence numbers that was, and whether it was less than all.
func (r *Reassembler) store(q *holding, c *Chain, s *arrival, pos, gap wire.Seq) (n uint32, short bool) {
	end := gap
	if s.end.Less(end) {
		end = s.end
	}
	if text := s.text[uint32(pos-s.seq):uint32(end-s.seq)]; len(text) != 0 {
		had := c.Blocks
		keep := max(r.limits.Spare, r.pool.Left()-(r.limits.Blocks-int(q.blocks)))
		n = uint32(r.pool.Append(c, text, keep))
		q.blocks += c.Blocks - had
		if int(n) < len(text) {
			return n, true
		}
	}
	if end != gap {
		q.fin, q.hasFIN = end, true
		n++
	}
	return n, false
}

// before returns the last span that does not begin behind lo, 0 if there is none.
// Text behind a hole comes in order as a rule, and is found at once; else
// the walk begins at the nearer end.
func (r *Reassembler) before(q *holding, lo wire.Seq) uint32 {
	i := q.last
	if i == 0 || r.spans[i].left.LessEq(lo) {
		return i
	}
	first := r.spans[q.first].left
	if lo.Less(first) {
		return 0
	}
	if uint32(lo-first) < uint32(r.spans[i].left-lo) {
		i = q.first
		for n := r.spans[i].next; r.spans[n].left.LessEq(lo); n = r.spans[i].next {
			i = n
		}
		return i
	}
	for lo.Less(r.spans[i].left) {
		i = r.spans[i].prev
	}
	return i
}

// insert makes an empty span at pos behind span at, or as the first if at is 0.
// It returns 0 when there are too many.
func (r *Reassembler) insert(q *holding, at uint32, pos wire.Seq) uint32 {
	if int(q.spans) >= r.limits.Spans {
		return 0
	}
	i := r.free.get()
	if i == 0 {
		return 0
	}
	next := q.first
	if at != 0 {
		next = r.spans[at].next
		r.spans[at].next = i
	} else {
		q.first = i
	}
	if next != 0 {
		r.spans[next].prev = i
	} else {
		q.last = i
	}
	r.spans[i] = span{left: pos, right: pos, prev: at, next: next}
	q.spans++
	return i
}

// join moves span next to the end of span i, which touches it now.
func (r *Reassembler) join(q *holding, i, next uint32) {
	r.pool.Concat(&r.spans[i].text, &r.spans[next].text)
	r.spans[i].right = r.spans[next].right
	r.unlink(q, next)
}

// unlink frees a span, whose text is somebody else's by now.
func (r *Reassembler) unlink(q *holding, i uint32) {
	s := &r.spans[i]
	if s.prev != 0 {
		r.spans[s.prev].next = s.next
	} else {
		q.first = s.next
	}
	if s.next != 0 {
		r.spans[s.next].prev = s.prev
	} else {
		q.last = s.prev
	}
	q.spans--
	q.forget(i)
	r.free.put(i)
}

// touch makes i the latest of the recent spans.
func (q *holding) touch(i uint32) {
	put := i
	for k, was := range q.recent {
		q.recent[k] = put
		if was == i || was == 0 {
			return
		}
		put = was
	}
}

// forget takes i out of the recent spans.
func (q *holding) forget(i uint32) {
	n := 0
	for _, k := range q.recent {
		if k != i && k != 0 {
			q.recent[n] = k
			n++
		}
	}
	for ; n < recentSpans; n++ {
		q.recent[n] = 0
	}
}
