package compare

import "math"

// Estimate is a value and the interval that has the true one with the confidence asked for.
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

func exactly(v float64) Estimate { return Estimate{v, v, v} }

// mean returns the mean of x and its interval, as if the values were independent: those of runs.
func mean(x []float64, confidence float64) Estimate {
	m, v := moments(x)
	w := student(confidence, float64(len(x)-1)) * math.Sqrt(v/float64(len(x)))
	return Estimate{m, m - w, m + w}
}

// moments are the mean and the variance of x.
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		variance += (v - mean) * (v - mean)
	}
	return mean, variance / max(1, float64(len(x)-1))
}

// minSeries is the least number of seconds whose noise is told.
const minSeries = 5

// blockVariance is the variance of the mean of a series whose neighbours are alike: that of the means of circular blocks
// of about the cube root of its length. df are the degrees of freedom that are left.
func blockVariance(x []float64) (variance, df float64) {
	n := len(x)
	b := max(1, int(math.Round(math.Cbrt(float64(n)))))
	if n < 8 {
		b = 1
	}
	m, _ := moments(x)
	sum := 0.0
	for i := range n {
		block := 0.0
		for j := range b {
			block += x[(i+j)%n] - m
		}
		block /= float64(b)
		sum += block * block
	}
	k := float64(n) / float64(b)
	return sum / float64(n) / (k - 1), k - 1
}

// series is the mean of a series and its interval.
func series(x []float64, confidence float64) Estimate {
	m, _ := moments(x)
	v, df := blockVariance(x)
	w := student(confidence, df) * math.Sqrt(v)
	return Estimate{m, m - w, m + w}
}

// wilson is the share k of n, when n attempts are worth n / effect independent ones.
func wilson(k, n, effect, quantile float64) Estimate {
	p, n := k/n, n/effect
	z2 := quantile * quantile / n
	mid := (p + z2/2) / (1 + z2)
	w := quantile / (1 + z2) * math.Sqrt(p*(1-p)/n+z2/n/4)
	return Estimate{p, min(p, max(0, mid-w)), max(p, min(1, mid+w))}
}

// difference is b - a, from the intervals of both (MOVER).
func difference(a, b Estimate) Estimate {
	d := b.Value - a.Value
	return Estimate{
		d,
		d - math.Hypot(b.Value-b.Low, a.High-a.Value),
		d + math.Hypot(b.High-b.Value, a.Value-a.Low),
	}
}

// ratio is b / a - 1; false where one of them may be zero.
func ratio(a, b Estimate) (Estimate, bool) {
	if min(a.Low, b.Low) <= 0 {
		return Estimate{}, false
	}
	return unlog(difference(a.log(), b.log())), true
}

func (e Estimate) log() Estimate {
	return Estimate{math.Log(e.Value), math.Log(e.Low), math.Log(e.High)}
}

func unlog(e Estimate) Estimate {
	return Estimate{math.Expm1(e.Value), math.Expm1(e.Low), math.Expm1(e.High)}
}

// welch is the difference of the means of runs.
func welch(a, b []float64, confidence float64) Estimate {
	ma, va := moments(a)
	mb, vb := moments(b)
	va, vb = va/float64(len(a)), vb/float64(len(b))
	d := mb - ma
	if va+vb == 0 {
		return exactly(d)
	}
	df := (va + vb) * (va + vb) / (va*va/float64(len(a)-1) + vb*vb/float64(len(b)-1))
	w := student(confidence, df) * math.Sqrt(va+vb)
	return Estimate{d, d - w, d + w}
}

// normal is the quantile of the normal distribution between which and its negative lies confidence.
func normal(confidence float64) float64 { return math.Sqrt2 * math.Erfinv(confidence) }

// student is the same of Student's distribution with df degrees of freedom, which need not be whole, by Hill's
// expansion (1970, Algorithm 396); exact for 1 and 2.
func student(confidence, df float64) float64 {
	p := 1 - confidence
	switch {
	case df <= 1:
		return 1 / math.Tan(p*math.Pi/2)
	case df == 2:
		return math.Sqrt(2/(p*(2-p)) - 2)
	}
	a := 1 / (df - 0.5)
	b := 48 / (a * a)
	c := ((20700*a/b-98)*a-16)*a + 96.36
	d := ((94.5/(b+c)-3)/b + 1) * math.Sqrt(a*math.Pi/2) * df
	x := d * p
	y := math.Pow(x, 2/df)
	if y > 0.05+a {
		x = -normal(confidence)
		y = x * x
		if df < 5 {
			c += 0.3 * (df - 4.5) * (x + 0.6)
		}
		c += (((0.05*d*x-5)*x-7)*x-2)*x + b
		y = (((((0.4*y+6.3)*y+36)*y+94.5)/c-y-3)/b + 1) * x
		y = math.Expm1(a * y * y)
	} else {
		y = ((1/(((df+6)/(df*y)-0.089*d-0.822)*(df+2)*3)+0.5/(df+4))*y-1)*(df+1)/(df+2) + 1/y
	}
	return math.Sqrt(df * y)
}
