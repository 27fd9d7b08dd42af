package compare

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fastsyn/fastsyn/bench"
)

// seconds are the whole intervals of the sending time.
func seconds(r *bench.Report) (out []*bench.Interval) {
	longest := 0.0
	for i := range r.Intervals {
		longest = max(longest, r.Intervals[i].LengthS)
	}
	for i := range r.Intervals {
		if v := &r.Intervals[i]; !v.Draining && v.LengthS >= 0.9*longest {
			out = append(out, v)
		}
	}
	return out
}

// rateOf is the interval of a rate v of r, from those of its seconds.
func rateOf(r *bench.Report, v, confidence float64) (Estimate, bool) {
	var x []float64
	for _, s := range seconds(r) {
		x = append(x, s.PerS)
	}
	if len(x) < minSeries {
		return exactly(v), false
	}
	e := series(x, confidence)
	shift := v - e.Value // parts of a second count in v
	return Estimate{v, max(0, e.Low+shift), e.High + shift}, true
}

// effect says how many attempts are worth one that is independent of the others, from the numbers of attempts of each
// second and of those with some property; quantile is that of the interval to be made. 1 and the normal one without seconds.
func effect(n, k []float64, confidence float64) (effect, quantile float64) {
	var sumN, sumK float64
	for i := range n {
		sumN += n[i]
		sumK += k[i]
	}
	share := sumK / sumN
	if len(n) < minSeries || sumN == 0 || share == 0 || share == 1 {
		return 1, normal(confidence)
	}
	rest := make([]float64, len(n))
	for i := range n {
		rest[i] = k[i] - share*n[i]
	}
	v, df := blockVariance(rest)
	perAttempt := float64(len(n)) / sumN
	return max(1, v*perAttempt*perAttempt/(share*(1-share)/sumN)), student(confidence, df)
}

// shareOf is the interval of a share of attempts, k of n.
func shareOf(r *bench.Report, k, n uint64, confidence float64) Estimate {
	if n == 0 {
		return Estimate{}
	}
	var all, failed []float64
	for _, s := range seconds(r) {
		all = append(all, float64(s.Attempted))
		failed = append(failed, max(0, float64(s.Failed)))
	}
	e, q := effect(all, failed, confidence)
	return wilson(float64(k), float64(n), min(e, float64(n)), q)
}

// percentileOf is the interval of quantile q, from 0 to 1, of a histogram of r: the values between whose ranks the true
// one lies. What is known of the seconds is the heat of the main latency; others are taken to be as uneven.
func percentileOf(r *bench.Report, h *hdrhistogram.Histogram, q, confidence float64) Estimate {
	n := float64(h.TotalCount())
	if n == 0 {
		return Estimate{}
	}
	bound := heatBound(r, q)
	var all, below []float64
	for _, s := range seconds(r) {
		var total, k float64
		for _, c := range s.Heat {
			total += float64(c.N)
			if c.NS <= bound {
				k += float64(c.N)
			}
		}
		all, below = append(all, total), append(below, k)
	}
	e, t := effect(all, below, confidence)
	w := t * math.Sqrt(min(e, n)*q*(1-q)/n)
	at := func(q float64) float64 {
		switch {
		case q <= 0:
			return float64(h.Min())
		case q >= 1:
			return float64(h.Max())
		}
		return float64(h.ValueAtPercentile(100 * q))
	}
	v := at(q)
	return Estimate{v, min(v, at(q-w)), max(v, at(q+w+1/n))}
}

// heatBound is the bound of a bucket of the heat that is nearest to quantile q in rank, but not the last.
func heatBound(r *bench.Report, q float64) (best int64) {
	sums := map[int64]float64{}
	total := 0.0
	for _, s := range seconds(r) {
		for _, c := range s.Heat {
			sums[c.NS] += float64(c.N)
			total += float64(c.N)
		}
	}
	rank, off := 0.0, math.Inf(1)
	for _, ns := range sorted(sums) {
		rank += sums[ns]
		if d := math.Abs(rank/total - q); rank < total && d < off {
			best, off = ns, d
		}
	}
	return best
}
