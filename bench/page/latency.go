package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/fastsyn/fastsyn/bench"
)

// maxNines ends the percentile axis: 1 in 10^9.
const maxNines = 9

// latency is the section of percentiles.
type latency struct {
	Plot *plot // nil if nothing has a latency
	Rows []latencyRow
	Wall string // what share has no latency
	// Rough: there are no histograms, so the curves join the percentiles of the table.
	Rough bool
}

type latencyRow struct {
	Class, Name, About                              string
	Count, Min, Mean, Dev, P50, P90, P99, P999, Max string
}

// distribution is one of the curves.
type distribution struct {
	class, name, about string
	sum                bench.Latency
	values             []quantile // ascending
}

// quantile is the value that the share q of all does not exceed.
type quantile struct {
	q  float64
	ns float64
}

// newDistribution reads the histogram, or else the summary. nil if both are empty.
func newDistribution(r *bench.Report, histogram, class, name, about string, sum bench.Latency) (d *distribution, rough bool) {
	d = &distribution{class: class, name: name, about: about, sum: sum}
	// One that cannot be read is as good as none: the page says that the curve is rough.
	if h, err := r.Histogram(histogram); err == nil && h != nil && h.TotalCount() > 0 {
		// Ten steps in each half of what is left, as HdrHistogram's own plots.
		for _, b := range h.CumulativeDistributionWithTicks(10) {
			d.add(b.Quantile/100, b.ValueAt)
		}
		if p := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9}); d.sum.Count == 0 && len(p) == 4 {
			d.sum = bench.Latency{Count: h.TotalCount(), Min: h.Min(), Mean: h.Mean(), StdDev: h.StdDev(), P50: p[0], P90: p[1], P99: p[2], P999: p[3], Max: h.Max()}
		}
		return d, false
	}
	if sum.Count <= 0 {
		return nil, false
	}
	last := 1 - 1/float64(sum.Count)
	for _, q := range []quantile{{0, float64(sum.Min)}, {0.5, float64(sum.P50)}, {0.9, float64(sum.P90)}, {0.99, float64(sum.P99)}, {0.999, float64(sum.P999)}} {
		if q.q <= last {
			d.add(q.q, int64(q.ns))
		}
	}
	d.add(max(last, 0.5), sum.Max)
	return d, true
}

func (d *distribution) add(q float64, ns int64) {
	v := quantile{q, max(1, float64(ns))}
	if n := len(d.values); n > 0 {
		v.q, v.ns = max(v.q, d.values[n-1].q), max(v.ns, d.values[n-1].ns)
	}
	d.values = append(d.values, v)
}

func newLatency(r *bench.Report) *latency {
	l := &latency{}
	service, about := "service", "from when it was sent"
	if r.HTTP.Total.Count > 0 {
		service, about = "connect", "from the SYN to established"
	}
	var list []*distribution
	for _, c := range []struct {
		histogram, class, name, about string
		sum                           bench.Latency
	}{
		{"latency", "k-service", service, about, r.Latency},
		{"response", "k-response", "response", "from the intended time", r.Response},
		{"retransmitted", "k-retransmitted", "retransmitted", "those whose SYN was repeated", r.Retransmitted},
		{"http.first_byte", "k-first", "first byte", "of the first response, from the SYN", r.HTTP.FirstByte},
		{"http.total", "k-total", "transaction", "complete, from the SYN", r.HTTP.Total},
	} {
		d, rough := newDistribution(r, c.histogram, c.class, c.name, c.about, c.sum)
		if d == nil {
			continue
		}
		list = append(list, d)
		l.Rough = l.Rough || rough
		l.Rows = append(l.Rows, row(d))
	}
	p := &r.Population
	if p.Count > 0 && p.Censored > 0 {
		l.Wall = share(p.Censored, p.Count)
		l.Rows = append(l.Rows, populationRow(p))
	}
	if d, _ := newDistribution(r, "failed", "", "failed", "given up after", bench.Latency{}); d != nil {
		l.Rows = append(l.Rows, row(d))
	}
	switch {
	case len(l.Rows) == 0:
		return nil
	case len(list) == 0:
		return l
	}
	if d := population(p, list); d != nil {
		list = append(list, d)
	}
	l.Plot = percentilePlot(r, list)
	return l
}

// population is the curve of all attempts: that of the successes, as far as they go. Where the
// failures begin it ends at a wall, since they have no latency. nil without failures.
func population(p *bench.Population, list []*distribution) *distribution {
	if p.Count == 0 || p.Censored == 0 || p.Censored >= p.Count {
		return nil
	}
	// The times that decide, as in bench: from the intended time, of whole transactions.
	of := list[0]
	for _, class := range []string{"k-total", "k-response"} {
		if i := slices.IndexFunc(list, func(d *distribution) bool { return d.class == class }); i >= 0 {
			of = list[i]
		}
	}
	ok := 1 - float64(p.Censored)/float64(p.Count)
	d := &distribution{class: "k-population", name: "all attempts", about: "failures stay in, as unknown"}
	for _, v := range of.values {
		d.values = append(d.values, quantile{v.q * ok, v.ns})
	}
	return d
}

func populationRow(p *bench.Population) latencyRow {
	q := func(q bench.Quantile) string {
		if q.AtLeast {
			return "≥ " + duration(q.NS)
		}
		return duration(q.NS)
	}
	return latencyRow{
		Class: "k-population", Name: "all attempts", About: "failures stay in, as unknown", Count: count(p.Count), Min: "–", Mean: "–", Dev: "–",
		P50: q(p.P50), P90: q(p.P90), P99: q(p.P99), P999: q(p.P999), Max: "–",
	}
}

func row(d *distribution) latencyRow {
	s := &d.sum
	return latencyRow{
		Class: d.class, Name: d.name, About: d.about, Count: count(uint64(max(0, s.Count))),
		Min: duration(s.Min), Mean: duration(nanoseconds(s.Mean)), Dev: duration(nanoseconds(s.StdDev)),
		P50: duration(s.P50), P90: duration(s.P90), P99: duration(s.P99), P999: duration(s.P999), Max: duration(s.Max),
	}
}

// nanoseconds is f as an integer, which a hand-made report may not hold.
func nanoseconds(f float64) int64 { return int64(max(-1e18, min(f, 1e18))) }

// nines is where a quantile is on an axis of 1/(1-q).
func nines(q float64) float64 { return -math.Log10(max(1-q, 1e-18)) }

func percentilePlot(r *bench.Report, list []*distribution) *plot {
	lo, hi, most := math.Inf(1), 1.0, 100.0
	for _, d := range list {
		lo, hi = min(lo, d.values[0].ns), max(hi, d.values[len(d.values)-1].ns)
		most = max(most, float64(d.sum.Count))
	}
	y, values := logarithmic(lo, hi)
	x := scale{0, min(maxNines, math.Ceil(math.Log10(most)-1e-9)), false}
	p := &plot{
		ID: "percentiles", Class: "tall", Title: "Latency by percentile", XLabel: "percentile, each step to the right leaves a tenth of what was left",
		YLabel: "latency", Y: upwards(y, values, tickDuration), X: percentileTicks(x),
	}
	for _, d := range list {
		var line []xy
		for _, v := range d.values {
			line = append(line, xy{x.at(nines(v.q)), y.at(v.ns)})
		}
		p.Shapes = append(p.Shapes, shape{d.class, polyline(line)})
		p.Legend = append(p.Legend, key{d.class, d.name + ": " + d.about, false})
	}
	if c := &r.Population; c.Count > 0 && c.Censored > 0 && c.Censored < c.Count {
		from := x.at(nines(1 - float64(c.Censored)/float64(c.Count)))
		p.Bands = append(p.Bands, bandFrom("a-wall", from, share(c.Censored, c.Count)+" failed or undecided"))
	}
	for i := 0; i <= 60; i++ {
		n := x.hi * float64(i) / 60
		q := 1 - math.Pow(10, -n)
		text := quantileName(q)
		for _, d := range list {
			if d.sum.Count > 0 {
				text += ", " + d.name + " " + duration(int64(d.at(q)))
			}
		}
		f := x.at(n)
		p.Hits = append(p.Hits, hit{at(f - 1.0/120), at(1.0 / 60), at(f), text})
	}
	p.Desc = fmt.Sprintf("%s: half within %s, 99 %% within %s, the slowest %s.", list[0].name, duration(list[0].sum.P50), duration(list[0].sum.P99), duration(list[0].sum.Max))
	return p
}

// at is the value at a quantile, between the steps that are around it.
func (d *distribution) at(q float64) float64 {
	for i, v := range d.values {
		if v.q < q {
			continue
		}
		if i == 0 || v.q == d.values[i-1].q {
			return v.ns
		}
		below := d.values[i-1]
		return below.ns + (v.ns-below.ns)*(q-below.q)/(v.q-below.q)
	}
	return d.values[len(d.values)-1].ns
}

func quantileName(q float64) string {
	digits := max(0, int(math.Ceil(nines(q)))-1)
	return "p" + trim(100*q, min(8, digits))
}

func percentileTicks(x scale) []tick {
	out := []tick{{At: at(0), Label: "min", Minor: true}, {At: at(x.at(nines(0.5))), Label: "p50"}}
	for n := 1; n <= int(x.hi); n++ {
		out = append(out, tick{At: at(x.at(float64(n))), Label: quantileName(1 - math.Pow(10, -float64(n))), Minor: x.hi > 4 && (int(x.hi)-n)%2 == 1})
	}
	return out
}
