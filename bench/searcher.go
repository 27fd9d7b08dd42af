package bench

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// searcher decides which trials a search makes, after MLRsearch (RFC 9971, and FD.io CSIT): short
// trials find the region, longer ones narrow it down, and of the last, full length a
// majority decides at each of two neighbouring rates. It is a pure function of
// the results: no clock, no chance.
//
// Rates are steps of a geometric scale, one precision apart, so "neighbours" is exact.
type searcher struct {
	low, high float64 // rates of step 0 and of the last one
	ratio     float64
	last      int
	levels    []searchLevel
	limit     time.Duration // for all trials together

	level  int
	from   bracket // what the level before found
	step   int     // measured now
	stride int     // how far to go on when a bound of the level before does not hold
	guess  int     // the step of a rate that got through where more was offered; -1: none yet
	trials []probe

	ended     bool
	converged bool
	why       string
}

// searchLevel is a goal of MLRsearch: trials of a length, as many as make a sum, of which more
// than half, by time, decide; and how many steps apart the bounds may remain.
type searchLevel struct {
	length, sum time.Duration
	width       int
}

// bracket is two steps: lo met the target and hi above it did not; -1 is not known.
type bracket struct{ lo, hi int }

var unknown = bracket{-1, -1}

const (
	searchMajority = 3 // full trials, of which two decide
	searchClimb    = 4 // times the rate, while nothing is known
	minTrial       = 100 * time.Millisecond
	maxSearchSteps = 1 << 20
)

// newSearcher searches from low to high, for two rates one precision apart. full is the length of the last trials.
func newSearcher(low, high, precision float64, full, limit time.Duration) *searcher {
	s := &searcher{low: low, high: high, ratio: 1 + precision, limit: limit, from: unknown, guess: -1}
	s.last = int(math.Ceil(math.Log(high/low)/math.Log(s.ratio) - 1e-9))
	for _, l := range []struct {
		part  time.Duration
		width int
	}{{8, 8}, {3, 3}} {
		if length := full / l.part; length >= minTrial {
			s.levels = append(s.levels, searchLevel{length, length, l.width})
		}
	}
	s.levels = append(s.levels, searchLevel{full, searchMajority * full, 1})
	s.stride = s.climb()
	return s
}

// climb is the stride of searchClimb.
func (s *searcher) climb() int {
	return max(1, int(math.Log(searchClimb)/math.Log(s.ratio)))
}

// rate is that of a step, whole from 1000 on.
func (s *searcher) rate(step int) float64 {
	r := min(s.high, s.low*math.Pow(s.ratio, float64(step)))
	if step < s.last && r >= 1000 && s.ratio >= 1.002 {
		r = math.Round(r)
	}
	return r
}

// stepBelow is the highest step whose rate is not above r.
func (s *searcher) stepBelow(r float64) int {
	if r < s.low {
		return -1
	}
	return min(s.last, int(math.Floor(math.Log(r/s.low)/math.Log(s.ratio)+1e-9)))
}

// next is the trial to make when so much time has passed and a trial takes overhead
// besides its length; ok is false when the search is over.
func (s *searcher) next(elapsed, overhead time.Duration) (rate float64, length time.Duration, ok bool) {
	if s.ended {
		return 0, 0, false
	}
	length = s.levels[s.level].length
	if elapsed+length+overhead > s.limit {
		s.end(false, "the time for it was over")
		return 0, 0, false
	}
	return s.rate(s.step), length, true
}

func (s *searcher) end(converged bool, why string) {
	s.ended, s.converged, s.why = true, converged, why
}

// add tells the outcome of the trial that next asked for.
func (s *searcher) add(t probe) {
	t.step, t.length = s.step, s.levels[s.level].length
	s.trials = append(s.trials, t)
	if s.classify(t.step, s.level) == undecided {
		return // and the same again
	}
	s.advance()
}

// advance picks the next step, on the next level once this one is done.
func (s *searcher) advance() {
	for {
		l, b := &s.levels[s.level], s.at(s.level)
		top := b.lo == s.last
		if !top && b.hi != 0 && (b.lo < 0 || b.hi < 0 || b.hi-b.lo > l.width) {
			s.step = s.choose(b, l.width)
			return
		}
		if s.level == len(s.levels)-1 {
			switch {
			case top:
				s.end(true, "the highest rate of the range met the target")
			case b.hi == 0:
				s.end(true, "the lowest rate of the range did not meet the target")
			default:
				s.end(true, "neighbouring rates, of which the lower one met the target")
			}
			return
		}
		s.from = b
		s.level++
		s.stride = s.levels[s.level].width
	}
}

// choose returns a step that is not decided yet on this level: what the level before found comes first, the
// lower end before the upper one, since an overload may leave traces.
func (s *searcher) choose(b bracket, width int) int {
	switch {
	case b == unknown:
		return max(0, s.from.lo)
	case b.lo < 0 && s.from.lo >= 0 && s.from.lo < b.hi:
		return s.from.lo
	case b.lo < 0:
		return max(0, b.hi-s.reach())
	case b.hi < 0 && s.from.hi > b.lo:
		return s.from.hi
	case b.hi < 0:
		return min(s.last, b.lo+s.reach())
	}
	if b.hi-b.lo > 4*width && s.guess < 0 {
		// What got through at the upper end is often near what can be had.
		if g := s.stepBelow(s.lastAt(b.hi).DoneS); g > b.lo && g < b.hi {
			s.guess = g
			return g
		}
	}
	if b.lo == s.guess {
		return b.lo + width // then it does not take halving to see that it was near
	}
	return b.lo + (b.hi-b.lo)/2
}

// reach is the stride, which doubles but for the climb of the first level.
func (s *searcher) reach() int {
	n := s.stride
	if s.level > 0 {
		s.stride *= 2
	}
	return n
}

// lastAt is the last trial at a step.
func (s *searcher) lastAt(step int) *probe {
	for i := range slices.Backward(s.trials) {
		if s.trials[i].step == step {
			return &s.trials[i]
		}
	}
	return nil
}

// probe is a trial as a searcher sees it.
type probe struct {
	Trial
	response Latency
	step     int
	length   time.Duration // as asked
}

// verdict is what trials say of a step.
type verdict uint8

const (
	undecided verdict = iota
	lower             // it meets the target
	upper             // it does not
)

// classify is the load classification of RFC 9971, with an exceed ratio of one half: of the
// time of all trials at a step that are long enough, and of what fills it up to the sum that the level wants, half may
// miss the target. Shorter trials that missed it count in so far as they outweigh shorter ones that met it.
func (s *searcher) classify(step, level int) verdict {
	l := &s.levels[level]
	var good, bad, shortGood, shortBad time.Duration
	for i := range s.trials {
		t := &s.trials[i]
		if t.step != step {
			continue
		}
		switch long := t.length >= l.length; {
		case long && t.Met:
			good += t.length
		case long:
			bad += t.length
		case t.Met:
			shortGood += t.length
		default:
			shortBad += t.length
		}
	}
	bad += max(0, shortBad-shortGood)
	whole := max(good+bad, l.sum)
	optimistic, pessimistic := 2*bad <= whole, 2*(whole-good) <= whole
	switch {
	case optimistic != pessimistic:
		return undecided
	case optimistic:
		return lower
	}
	return upper
}

// at are the bounds by the trials of a level: the lowest step that does not meet the target, and the highest
// below that does.
func (s *searcher) at(level int) bracket { return s.below(level, math.MaxInt) }

// below is at for steps under a limit.
func (s *searcher) below(level, limit int) bracket {
	b := unknown
	for i := range s.trials {
		step := s.trials[i].step
		if step < limit && s.classify(step, level) == upper && (b.hi < 0 || step < b.hi) {
			b.hi = step
		}
	}
	if b.hi >= 0 {
		limit = b.hi
	}
	for i := range s.trials {
		step := s.trials[i].step
		if step < limit && step > b.lo && s.classify(step, level) == lower {
			b.lo = step
		}
	}
	return b
}

// result are the bounds by the longest trials that say something, and the level of the lower one.
func (s *searcher) result() (b bracket, level int) {
	b = unknown
	limit := math.MaxInt
	for level = s.level; level >= 0; level-- {
		x := s.below(level, limit)
		if x.hi >= 0 {
			b.hi, limit = x.hi, x.hi
		}
		if x.lo >= 0 {
			b.lo = x.lo
			return b, level
		}
	}
	return b, 0
}

// throughput is what succeeded per second at a step: the conditional throughput of RFC 9971. Of the trials long enough
// for the level, best first, it is the one at which half of the sum is reached.
func (s *searcher) throughput(step, level int) float64 {
	l := &s.levels[level]
	var all []*probe
	for i := range s.trials {
		if t := &s.trials[i]; t.step == step && t.length >= l.length {
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b *probe) int {
		if a.Met != b.Met {
			if a.Met {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Loss, b.Loss)
	})
	rate, left := 0.0, l.sum/2
	for _, t := range all {
		if left <= 0 {
			break
		}
		rate = t.RatePerS * (1 - t.Loss)
		left -= t.length
	}
	return rate
}
