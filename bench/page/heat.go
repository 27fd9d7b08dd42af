package page

import (
	"math"
	"strconv"
	"strings"
)

// heatLevels is the number of colours of the style sheet, h0 to h11.
const heatLevels = 12

// heatmap shows how many latencies of which size there were when.
type heatmap struct {
	Plot   plot
	Levels []heatLevel // of the scale, from few to many
	Low    string      // what the first and the last level stand for
	High   string
}

type heatLevel struct{ Class, X, W string }

// heatRow is the number of the bucket that ends at ns, a quarter of an octave wide.
func heatRow(ns int64) int {
	if ns < 1 {
		return 0
	}
	return int(math.Round(4 * math.Log2(float64(ns))))
}

// rowTop is the upper bound of a bucket in nanoseconds.
func rowTop(row int) float64 { return math.Exp2(float64(row) / 4) }

// heatQuantile is a quantile of a distribution in buckets, with a value between the
// bounds of its bucket.
func heatQuantile(heat map[int]uint64, total uint64, q float64) float64 {
	if total == 0 {
		return 0
	}
	want, before := q*float64(total), 0.0
	for row := 0; row <= 4*63; row++ {
		n := float64(heat[row])
		if n > 0 && before+n >= want {
			return rowTop(row-1) * math.Exp2((want-before)/n/4)
		}
		before += n
	}
	return rowTop(4 * 63)
}

func newHeatmap(list []column, x scale) *heatmap {
	low, high, most, fewest := math.MaxInt, -1, 0.0, math.Inf(1)
	for i := range list {
		c := &list[i]
		for row, n := range c.heat {
			low, high = min(low, row), max(high, row)
			most, fewest = max(most, float64(n)/c.length), min(fewest, float64(n)/c.length)
		}
	}
	if high < 0 {
		return nil
	}
	y, values := logarithmic(rowTop(low-1), rowTop(high))
	m := &heatmap{Plot: plot{
		ID: "heat", Class: "tall", Title: "Latency over time", YLabel: "latency", Y: upwards(y, values, tickDuration), Sharp: true,
		Desc: "Latencies lie between " + duration(int64(rowTop(low-1))) + " and " + duration(int64(rowTop(high))) + ".",
	}}
	// The colours are even steps of the logarithm: one latency in a million is to be seen.
	level := func(perS float64) int {
		if most <= fewest {
			return heatLevels - 1
		}
		f := (math.Log(perS) - math.Log(fewest)) / (math.Log(most) - math.Log(fewest))
		return int(math.Round((heatLevels - 1) * clamp(f)))
	}
	var cells [heatLevels]strings.Builder
	for i := range list {
		c := &list[i]
		for row := low; row <= high; row++ {
			if n := c.heat[row]; n > 0 {
				b := &cells[level(float64(n)/c.length)]
				b.WriteString("M" + coord(x.at(c.from)) + " " + coord(1-y.at(rowTop(row))) + "H" + coord(x.at(c.to)) + "V" + coord(1-y.at(rowTop(row-1))) +
					"H" + coord(x.at(c.from)) + "z")
			}
		}
	}
	for i := range cells {
		class := "h" + strconv.Itoa(i)
		if cells[i].Len() > 0 {
			m.Plot.Shapes = append(m.Plot.Shapes, shape{class, cells[i].String()})
		}
		m.Levels = append(m.Levels, heatLevel{class, at(float64(i) / heatLevels), at(1.0 / heatLevels)})
	}
	for _, q := range []struct {
		class string
		of    func(*column) float64
	}{{"k-p50", func(c *column) float64 { return c.p50 }}, {"k-p99", func(c *column) float64 { return c.p99 }}} {
		var line []span
		for i := range list {
			c := &list[i]
			if v := q.of(c); v > 0 && !c.draining {
				line = append(line, span{x.at(c.from), x.at(c.to), y.at(v)})
			}
		}
		// Twice: the lower one is an outline, so that the line is seen on every colour.
		m.Plot.Shapes = append(m.Plot.Shapes, shape{q.class + " halo", steps(line)}, shape{q.class, steps(line)})
	}
	m.Plot.Legend = []key{{"k-p50", "p50", false}, {"k-p99", "p99", false}}
	m.Low, m.High = number(fewest)+"/s", number(most)+"/s"
	return m
}
