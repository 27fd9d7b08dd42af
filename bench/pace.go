package bench

import "math"

// pace is one worker's way through a schedule: of n workers, worker i makes the
// opens i, i+n, i+2n, ..., so that together they are spaced as one would be. It does
// not slip when opens come late, so their lateness can be measured.
type pace struct {
	seg   *segment // of the next open; nil: no schedule
	rest  []segment
	start int64 // worker's clock
	next  int64 // when the next open is due; never if none is left
	first float64
	step  float64
	done  uint64 // opens made
}

// newPace begins a schedule at start. s may be nil.
func newPace(s *schedule, i, n int, start int64) pace {
	if s == nil {
		return pace{}
	}
	p := pace{seg: &s.pieces[0], rest: s.pieces[1:], start: start, first: float64(i), step: float64(n)}
	p.made(0)
	return p
}

// on reports whether there is a schedule.
func (p *pace) on() bool { return p.seg != nil }

// made counts n opens.
func (p *pace) made(n int) {
	p.done += uint64(n)
	k := p.number(p.done)
	for k >= p.seg.last && len(p.rest) > 0 {
		p.seg, p.rest = &p.rest[0], p.rest[1:]
	}
	p.next = p.at(p.seg, k)
}

// number is that of the worker's open j among those of all.
func (p *pace) number(j uint64) float64 { return p.first + p.step*float64(j) }

// at is when open k of g is due, in the worker's clock.
func (p *pace) at(g *segment, k float64) int64 {
	if k >= g.last {
		return never
	}
	t := g.when(k) + 0.5
	if t > math.MaxInt64/2 {
		return never
	}
	return p.start + int64(t)
}

// intended returns the time the next open was or is due.
func (p *pace) intended() int64 { return p.next }

// due returns how many opens should have been made by now and have not been, at most 2^30:
// exactly those for which intended, one after the other, is not after now.
func (p *pace) due(now int64) int {
	if now < p.next {
		return 0
	}
	return int(min(p.behind(now), 1<<30))
}

// dueBy returns how many opens are due by now, made or not.
func (p *pace) dueBy(now int64) uint64 {
	if now < p.next {
		return p.done
	}
	return p.done + p.behind(now)
}

// behind is due for a now that is not before the next open.
func (p *pace) behind(now int64) uint64 {
	t := float64(now - p.start)
	g := p.seg
	for rest := p.rest; t >= g.to && len(rest) > 0; rest = rest[1:] {
		g = &rest[0]
	}
	n := uint64(max(1, (g.opens(min(t, g.to))-p.number(p.done))/p.step))
	// Rounding is off by one at most; what intended will say decides.
	for n > 1 && p.later(n-1) > now {
		n--
	}
	for p.later(n) <= now {
		n++
	}
	return n
}

// later is when the open after n more is due.
func (p *pace) later(n uint64) int64 {
	k := p.number(p.done + n)
	g := p.seg
	for rest := p.rest; k >= g.last && len(rest) > 0; rest = rest[1:] {
		g = &rest[0]
	}
	return p.at(g, k)
}
