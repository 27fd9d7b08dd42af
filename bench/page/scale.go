package page

import "math"

// scale maps values to fractions of an axis.
type scale struct {
	lo, hi float64
	log    bool
}

// at returns where v is, from 0 to 1.
func (s scale) at(v float64) float64 {
	if s.log {
		return clamp((math.Log10(max(v, s.lo)) - math.Log10(s.lo)) / (math.Log10(s.hi) - math.Log10(s.lo)))
	}
	return clamp((v - s.lo) / (s.hi - s.lo))
}

// tick is a mark of an axis.
type tick struct {
	At    string // in percent
	Label string // empty: only a line of the grid
	Minor bool   // the label is left out where there is no room
}

// linear is an axis from 0 to max or a little more, with marks at multiples of 1, 2 or 5.
func linear(top float64, marks int) (scale, []float64) {
	if !(top > 1e-300) {
		top = 1
	}
	top = min(top, 1e300)
	step := math.Pow(10, math.Floor(math.Log10(top/float64(marks))))
	for _, m := range []float64{1, 2, 5, 10} {
		if top/(m*step) <= float64(marks) {
			step *= m
			break
		}
	}
	n := int(math.Ceil(top/step - 1e-9))
	if top > 0.97*float64(n)*step {
		n++ // a line along the upper edge is not seen
	}
	values := make([]float64, 0, n+1)
	for i := 0; i <= n; i++ {
		values = append(values, float64(i)*step)
	}
	return scale{0, float64(n) * step, false}, values
}

// logarithmic is an axis around lo and hi, both of which it has with a little room, with
// marks at 1, 2 and 5 times the powers of ten.
func logarithmic(lo, hi float64) (scale, []float64) {
	lo, hi = max(lo, 1e-9), min(hi, 1e18)
	if !(lo < 1e18) {
		lo = 1
	}
	if !(hi > lo) {
		hi = lo
	}
	const near = 1e-9
	var values []float64
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, m := range []float64{1, 2, 5} {
			values = append(values, m*math.Pow(10, e))
		}
	}
	// The last mark not above lo, and the first not below hi, are the ends.
	first, last := 0, len(values)-1
	for i, v := range values {
		if v <= lo*(1+near) {
			first = i
		}
	}
	for i := len(values) - 1; i > first; i-- {
		if values[i] >= hi*(1-near) {
			last = i
		}
	}
	values = values[first : last+1]
	return scale{values[0], values[len(values)-1], true}, values
}

// round reports whether v is a power of ten.
func round(v float64) bool {
	e := math.Log10(v)
	return math.Abs(e-math.Round(e)) < 1e-6
}

// ticks makes marks of values. On a logarithmic axis of many decades only powers of ten have labels.
func (s scale) ticks(values []float64, label func(float64) string) []tick {
	out := make([]tick, 0, len(values))
	decades := 0.0
	if s.log {
		decades = math.Log10(s.hi / s.lo)
	}
	for _, v := range values {
		t := tick{At: at(s.at(v)), Label: label(v)}
		switch {
		case s.log && !round(v):
			t.Minor = true
			if decades > 3.1 {
				t.Label = ""
			}
		case s.log && decades > 5:
			t.Minor = int(math.Round(math.Log10(v)))%3 != 0 // a label per unit: 1µs, 1ms, 1s
		}
		out = append(out, t)
	}
	return out
}

// upwards turns marks of an axis from below into coordinates from above.
func upwards(s scale, values []float64, label func(float64) string) []tick {
	out := s.ticks(values, label)
	for i, v := range values {
		out[i].At = at(1 - s.at(v))
	}
	return out
}
