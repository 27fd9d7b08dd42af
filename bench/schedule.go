package bench

import "math"

// schedule says when opens are due: a rate that changes linearly, piece by piece. With N(t)
// the integral of the rate, open k is due when N reaches k, and the inverse is exact:
// a root at most, no table. It is constant once made, and shared by the workers.
type schedule struct {
	text   string    // as given
	pieces []segment // at least one, in order of time, without gaps
}

// segment is a piece of a schedule. Times are ns since its start, rates are per ns.
type segment struct {
	from, to    float64 // to is +Inf if it does not end
	rate, slope float64 // at from; per ns
	first, last float64 // N(from) and N(to)
}

// constant is the schedule of a rate per second that never ends; nil for rate 0.
func constant(rate float64) *schedule {
	if rate == 0 {
		return nil
	}
	s := &schedule{}
	s.add(rate, rate, math.Inf(1))
	return s
}

// add appends a piece in which the rate goes from one value per second to another, in
// so many ns. One that does not end is the last.
func (s *schedule) add(rate, to, length float64) {
	g := segment{rate: rate / 1e9, slope: (to - rate) / 1e9 / length}
	if n := len(s.pieces); n > 0 {
		g.from, g.first = s.pieces[n-1].to, s.pieces[n-1].last
	}
	g.to = g.from + length
	g.last = g.first + (rate+to)/2e9*length
	if rate == 0 && to == 0 {
		g.last = g.first // and not 0 times infinity
	}
	s.pieces = append(s.pieces, g)
}

// end is the last piece.
func (s *schedule) end() *segment { return &s.pieces[len(s.pieces)-1] }

// opens returns N(t), of a t in the piece.
func (g *segment) opens(t float64) float64 {
	x := t - g.from
	return g.first + x*(g.rate+g.slope/2*x)
}

// when returns the time at which N reaches k, of a k of the piece: first ≤ k < last.
func (g *segment) when(k float64) float64 {
	y := k - g.first
	if g.slope == 0 {
		return g.from + y/g.rate
	}
	// The root of rate·x + slope/2·x² = y that does not subtract like from like.
	d := g.rate + math.Sqrt(max(0, g.rate*g.rate+2*g.slope*y))
	if d == 0 {
		return g.from // y is 0, and the rate grows from 0
	}
	return min(g.from+2*y/d, g.to)
}

// intended returns how many opens are due within ns of the start: those due at that
// instant are, like the first one at 0.
func (s *schedule) intended(ns int64) uint64 {
	p := newPace(s, 0, 1, 0)
	return p.dueBy(ns)
}

// peak is the highest rate per second.
func (s *schedule) peak() float64 {
	top := 0.0
	for i := range s.pieces {
		g := &s.pieces[i]
		top = max(top, g.rate)
		if g.slope != 0 {
			top = max(top, g.rate+g.slope*(g.to-g.from))
		}
	}
	return top * 1e9
}
