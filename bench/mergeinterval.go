package bench

import (
	"cmp"
	"math"
	"slices"
)

// addIntervals adds up those that are the same second of runs that were made together.
func addIntervals(a, b []Interval) []Interval {
	for i := range b {
		x := &b[i]
		if i >= len(a) {
			a = append(a, *x)
			continue
		}
		y := &a[i]
		y.AtS, y.LengthS = max(y.AtS, x.AtS), max(y.LengthS, x.LengthS)
		y.Draining = y.Draining && x.Draining
		y.Intended += x.Intended
		y.Attempted += x.Attempted
		y.Done += x.Done
		y.Failed += x.Failed
		y.InFlight += x.InFlight
		y.Retransmitted += x.Retransmitted
		y.PerS += x.PerS
		y.Workers = append(y.Workers, x.Workers...)
		if y.Drops == nil {
			y.Drops = map[string]uint64{}
		}
		for name, n := range x.Drops {
			y.Drops[name] += n
		}
		y.Heat = addHeat(y.Heat, x.Heat)
		y.Latency = together(y.Latency, x.Latency)
		y.Response = together(y.Response, x.Response)
	}
	return a
}

func addHeat(a, b []HeatCell) []HeatCell {
	for _, c := range b {
		i, found := slices.BinarySearchFunc(a, c.NS, func(x HeatCell, ns int64) int { return cmp.Compare(x.NS, ns) })
		if found {
			a[i].N += c.N
		} else {
			a = slices.Insert(a, i, c)
		}
	}
	return a
}

// together summarizes two populations of which only summaries are left: counts, means and bounds are
// exact, of percentiles it takes the greater, which the true one does not exceed.
func together(a, b Latency) Latency {
	switch {
	case a.Count == 0:
		return b
	case b.Count == 0:
		return a
	}
	n, na, nb := float64(a.Count+b.Count), float64(a.Count), float64(b.Count)
	mean := (a.Mean*na + b.Mean*nb) / n
	square := (na*(a.StdDev*a.StdDev+a.Mean*a.Mean) + nb*(b.StdDev*b.StdDev+b.Mean*b.Mean)) / n
	return Latency{
		Count: a.Count + b.Count, Min: min(a.Min, b.Min), Max: max(a.Max, b.Max),
		Mean: mean, StdDev: math.Sqrt(max(0, square-mean*mean)),
		P50: max(a.P50, b.P50), P90: max(a.P90, b.P90), P99: max(a.P99, b.P99), P999: max(a.P999, b.P999),
	}
}
