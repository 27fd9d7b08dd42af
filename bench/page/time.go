package page

import (
	"math"

	"github.com/fastsyn/fastsyn/bench"
)

// overTime are the plots that share the time of the run as their x axis.
type overTime struct {
	Rate     plot
	Trouble  *plot // failures, and SYNs sent again
	InFlight *plot
	Heat     *heatmap
	Merged   int // intervals in a column, 0 if each has its own
	Rows     []timeRow
	Long     bool // more rows than one wants on paper
	Schedule bool
	Noun     string
}

// timeRow is a line of the table behind the plots.
type timeRow struct {
	At, Rate, Intended, Failed, Repeated, InFlight, P50, P99 string
	Draining                                                 bool
}

// column is an interval, or several that follow each other.
type column struct {
	from, to                                float64 // seconds since the first SYN
	length                                  float64
	merged                                  int
	draining                                bool
	intended, done, repeated                uint64
	failed                                  int64 // below 0 where what was presumed lost came after all
	inFlight                                uint64
	slowest, fastest                        float64 // done per second in the intervals it is made of
	heat                                    map[int]uint64
	latencies                               uint64
	p50, p99                                float64 // of one interval
	perS, intendedPerS, failedPerS, repPerS float64
}

// columns merges intervals until there are no more than maxColumns.
func columns(list []bench.Interval) (out []column, each int) {
	each = (len(list) + maxColumns - 1) / maxColumns
	var c *column
	for i := range list {
		v := &list[i]
		length := v.LengthS
		if !(length > 0) || !(v.AtS > 0) || math.IsInf(v.AtS, 0) {
			continue
		}
		length = min(length, v.AtS)
		if c == nil || c.merged == each || c.draining != v.Draining {
			out = append(out, column{from: v.AtS - length, draining: v.Draining, heat: map[int]uint64{}, slowest: math.Inf(1)})
			c = &out[len(out)-1]
		}
		c.to, c.length, c.merged = max(c.to, v.AtS), c.length+length, c.merged+1
		c.intended += v.Intended
		c.done += v.Done
		c.failed += v.Failed
		c.repeated += v.Retransmitted
		c.inFlight = max(c.inFlight, v.InFlight)
		one := float64(v.Done) / length
		c.slowest, c.fastest = min(c.slowest, one), max(c.fastest, one)
		for _, cell := range v.Heat {
			if cell.N > 0 {
				c.heat[heatRow(cell.NS)] += cell.N
				c.latencies += cell.N
			}
		}
		c.p50, c.p99 = float64(v.Latency.P50), float64(v.Latency.P99)
	}
	for i := range out {
		c := &out[i]
		c.perS, c.intendedPerS = float64(c.done)/c.length, float64(c.intended)/c.length
		c.failedPerS, c.repPerS = max(0, float64(c.failed)/c.length), float64(c.repeated)/c.length
		if c.merged > 1 {
			c.p50, c.p99 = heatQuantile(c.heat, c.latencies, 0.5), heatQuantile(c.heat, c.latencies, 0.99)
		}
	}
	if each < 2 {
		each = 0
	}
	return out, each
}

func newOverTime(r *bench.Report, noun string) *overTime {
	list, merged := columns(r.Intervals)
	if len(list) == 0 {
		return nil
	}
	t := &overTime{Merged: merged, Noun: noun, Long: len(list) > 30}
	end, top, trouble, flight, flightLow := 0.0, 0.0, 0.0, 0.0, math.Inf(1)
	for i := range list {
		c := &list[i]
		end = max(end, c.to)
		if !c.draining {
			top = max(top, c.fastest, c.intendedPerS)
		}
		trouble = max(trouble, c.failedPerS, c.repPerS)
		if !c.draining {
			flight, flightLow = max(flight, float64(c.inFlight)), min(flightLow, float64(c.inFlight))
		}
		t.Schedule = t.Schedule || c.intended > 0
	}
	if top == 0 { // nothing but draining
		for i := range list {
			top = max(top, list[i].perS)
		}
	}
	x := scale{0, end, false}
	_, marks := linear(end, 8)
	var inside []float64
	for _, v := range marks {
		if v <= end*1.0001 {
			inside = append(inside, v)
		}
	}
	axis := x.ticks(inside, tickSeconds)
	bands := drainBand(list, x)
	hits := timeHits(list, x, noun, t.Schedule)

	t.Rate = ratePlot(list, x, top, noun, t.Schedule, merged)
	t.Rate.X, t.Rate.Bands, t.Rate.Hits = axis, bands, hits
	if trouble > 0 {
		p := troublePlot(list, x, trouble)
		p.X, p.Bands, p.Hits = axis, bands, hits
		t.Trouble = &p
	}
	if flight > 0 && len(list) > 1 {
		p := flightPlot(list, x, flight)
		p.X, p.Bands, p.Hits = axis, bands, hits
		t.InFlight = &p
	}
	t.Heat = newHeatmap(list, x)
	if t.Heat != nil {
		t.Heat.Plot.X, t.Heat.Plot.Hits = axis, hits
	}
	t.Rows = timeRows(list)
	return t
}

func ratePlot(list []column, x scale, top float64, noun string, schedule bool, merged int) plot {
	y, values := linear(top, 5)
	p := plot{
		ID: "rate", Class: "tall", Title: "Rate over time", YLabel: noun + " per second", Y: upwards(y, values, short),
		Legend: []key{{"k-done", "done", false}},
	}
	var done, intended, low, high []span
	slowest, fastest := math.Inf(1), 0.0
	for i := range list {
		c := &list[i]
		from, to := x.at(c.from), x.at(c.to)
		done = append(done, span{from, to, y.at(c.perS)})
		low, high = append(low, span{from, to, y.at(c.slowest)}), append(high, span{from, to, y.at(c.fastest)})
		if !c.draining {
			intended = append(intended, span{from, to, y.at(c.intendedPerS)})
			slowest, fastest = min(slowest, c.slowest), max(fastest, c.fastest)
		}
	}
	p.Shapes = append(p.Shapes, shape{"a-done", bars(done)})
	if merged > 0 {
		p.Shapes = append(p.Shapes, shape{"a-range", between(low, high)})
		p.Legend = append(p.Legend, key{"a-range", "slowest to fastest interval", true})
	}
	p.Shapes = append(p.Shapes, shape{"k-done", steps(done)})
	if schedule {
		p.Shapes = append(p.Shapes, shape{"k-intended", steps(intended)})
		p.Legend = append(p.Legend, key{"k-intended", "intended by the schedule", false})
	}
	if list[len(list)-1].draining {
		p.Legend = append(p.Legend, key{"a-drain", "draining", true})
	}
	p.Desc = "No interval lies in the sending time."
	if fastest > 0 {
		p.Desc = "Between " + number(slowest) + " and " + number(fastest) + " " + noun + " per second were done while sending."
	}
	return p
}

func troublePlot(list []column, x scale, top float64) plot {
	y, values := linear(top, 2)
	p := plot{ID: "trouble", Class: "low", Title: "Failures over time", YLabel: "failed, and SYNs sent again, per second", Y: upwards(y, values, short)}
	var failed, repeated []span
	worst, anyFailed, anyRepeated := 0.0, false, false
	for i := range list {
		c := &list[i]
		from, to := x.at(c.from), x.at(c.to)
		failed = append(failed, span{from, to, y.at(c.failedPerS)})
		repeated = append(repeated, span{from, to, y.at(c.repPerS)})
		worst = max(worst, c.failedPerS)
		anyFailed, anyRepeated = anyFailed || c.failed > 0, anyRepeated || c.repeated > 0
	}
	if anyFailed {
		p.Shapes = append(p.Shapes, shape{"a-failed", bars(failed)})
		p.Legend = append(p.Legend, key{"a-failed", "failed", true})
	}
	if anyRepeated {
		p.Shapes = append(p.Shapes, shape{"k-repeated", steps(repeated)})
		p.Legend = append(p.Legend, key{"k-repeated", "SYNs sent again", false})
	}
	p.Desc = "At most " + number(worst) + " attempts per second failed."
	return p
}

func flightPlot(list []column, x scale, top float64) plot {
	y, values := linear(top, 2)
	p := plot{
		ID: "flight", Class: "low", Title: "In flight over time", YLabel: "in flight", Y: upwards(y, values, short),
		Desc: "At most " + number(top) + " were in flight at the end of an interval.", Legend: []key{{"k-flight", "at the end of the interval", false}},
	}
	var flight []span
	for i := range list {
		flight = append(flight, span{x.at(list[i].from), x.at(list[i].to), y.at(float64(list[i].inFlight))})
	}
	p.Shapes = []shape{{"a-flight", bars(flight)}, {"k-flight", steps(flight)}}
	return p
}

// drainBand shades what is after the sending time.
func drainBand(list []column, x scale) []band {
	for i := range list {
		if list[i].draining {
			return []band{bandFrom("a-drain", x.at(list[i].from), "draining")}
		}
	}
	return nil
}

func timeHits(list []column, x scale, noun string, schedule bool) []hit {
	out := make([]hit, 0, len(list))
	for i := range list {
		c := &list[i]
		from, to := x.at(c.from), x.at(c.to)
		text := trim(c.from, 1) + "–" + trim(c.to, 1) + " s: " + number(c.perS) + " " + noun + "/s done"
		if schedule && !c.draining {
			text += " of " + number(c.intendedPerS) + " intended"
		}
		if c.failed != 0 {
			text += ", " + signed(c.failed) + " failed"
		}
		if c.repeated > 0 {
			text += ", " + count(c.repeated) + " SYNs again"
		}
		text += ", " + count(c.inFlight) + " in flight"
		if c.p99 > 0 {
			text += ", p50 " + duration(int64(c.p50)) + ", p99 " + duration(int64(c.p99))
		}
		out = append(out, hit{at(from), at(to - from), at((from + to) / 2), text})
	}
	return out
}

func timeRows(list []column) []timeRow {
	var out []timeRow
	for i := range list {
		c := &list[i]
		row := timeRow{
			At: trim(c.from, 1) + "–" + trim(c.to, 1), Rate: number(c.perS), Intended: number(c.intendedPerS), Failed: signed(c.failed), Repeated: count(c.repeated),
			InFlight: count(c.inFlight), P50: "–", P99: "–", Draining: c.draining,
		}
		if c.p99 > 0 {
			row.P50, row.P99 = duration(int64(c.p50)), duration(int64(c.p99))
		}
		out = append(out, row)
	}
	return out
}
