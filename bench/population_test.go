package bench

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// attempt is what the naive twin keeps of each.
type attempt struct {
	at   int64 // ns
	kind uint8 // 0: done, 1: failed, 2: pending
}

// naive is the population of attempts from all values: the estimate of Kaplan and Meier as textbooks
// have it, a product over the times of those done, where the failed count as at risk for ever.
func naive(all []attempt) Population {
	p := Population{Count: uint64(len(all))}
	var times []int64
	longest := int64(0)
	for _, a := range all {
		if a.kind != 0 {
			p.Censored++
		} else {
			times = append(times, a.at)
		}
		longest = max(longest, a.at)
	}
	slices.Sort(times)
	times = slices.Compact(times)
	for q, to := range map[float64]*Quantile{0.5: &p.P50, 0.9: &p.P90, 0.99: &p.P99, 0.999: &p.P999} {
		// As many must be done as round to the rank.
		want := max(1, math.Floor(q*float64(len(all))+0.5)) / float64(len(all))
		*to = Quantile{NS: longest, AtLeast: true}
		left := 1.0
		for _, t := range times {
			var done, risk float64
			for _, a := range all {
				if a.kind == 1 || a.at >= t {
					risk++
				}
				if a.kind == 0 && a.at == t {
					done++
				}
			}
			left *= 1 - done/risk
			if 1-left >= want-1e-9 {
				*to = Quantile{NS: t}
				break
			}
		}
	}
	return p
}

func TestPopulationAsANaiveTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 5))
	for round := range 300 {
		var all []attempt
		var l [3]*latency
		for i := range l {
			l[i] = newLatency()
		}
		n, kinds := 1+rng.IntN(200), 1+rng.IntN(3)
		for range n {
			a := attempt{at: int64(math.Exp(rng.Float64() * 24)), kind: uint8(rng.IntN(kinds))}
			if round%2 == 0 && rng.IntN(3) > 0 {
				a.kind = 0
			}
			_, a.at = bounds(cellAt(a.at)) // three digits
			l[a.kind].record(a.at)
			all = append(all, a)
		}
		for i := range l {
			l[i].settle()
		}
		require.Equal(t, naive(all), population(cellsOf(l[0].h), cellsOf(l[1].h), cellsOf(l[2].h), 0), "round %d: %v", round, all)
	}
}

func TestPopulation(t *testing.T) {
	ms := func(n int64) int { return cellAt(n * 1e6) }
	high := func(n int64) int64 { _, v := bounds(ms(n)); return v }
	require.Equal(t, Population{}, population(nil, nil, nil, 0))

	done := cells{{ms(1), 500}, {ms(3), 488}}
	require.Equal(t, Population{
		Count: 1000, Censored: 12, P50: Quantile{NS: high(1)}, P90: Quantile{NS: high(3)},
		P99: Quantile{NS: high(7000), AtLeast: true}, P999: Quantile{NS: high(7000), AtLeast: true},
	}, population(done, cells{{ms(7000), 12}}, nil, 0), "one percent and more timed out after 7 s")

	quick := population(done, cells{{ms(0), 12}}, nil, 0)
	require.Equal(t, Quantile{NS: high(3)}, quick.P90, "to be refused at once is not to be fast")
	require.Equal(t, Quantile{NS: high(3), AtLeast: true}, quick.P99, "known is only that all others took less")

	require.Equal(t, quick, population(done, nil, nil, 12), "when they failed is not known")

	pending := population(done, nil, cells{{ms(2), 12}}, 0)
	require.EqualValues(t, 12, pending.Censored)
	require.Equal(t, Quantile{NS: high(3)}, pending.P999, "they would have been like the others")

	require.Equal(t, Population{Count: 3, Censored: 3, P50: Quantile{high(9), true}, P90: Quantile{high(9), true}, P99: Quantile{high(9), true}, P999: Quantile{high(9), true}},
		population(nil, cells{{ms(2), 2}}, cells{{ms(9), 1}}, 0), "nothing was ever done")

	// Without censored ones it is what Latency has.
	l := newLatency()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 12345 {
		l.record(rng.Int64N(1e9))
	}
	l.settle()
	s, p := summarize(l.h), population(cellsOf(l.h), nil, nil, 0)
	require.Equal(t, [4]int64{s.P50, s.P90, s.P99, s.P999}, [4]int64{p.P50.NS, p.P90.NS, p.P99.NS, p.P999.NS})
}

func TestPopulationText(t *testing.T) {
	p := Population{
		Count: 1000, Censored: 12, P50: Quantile{NS: 1200000}, P90: Quantile{NS: 3400000},
		P99: Quantile{NS: 7e9, AtLeast: true}, P999: Quantile{NS: 7e9, AtLeast: true},
	}
	var b bytes.Buffer
	r := Report{Population: p}
	r.textLatencies(&b)
	require.Equal(t, "all         p50 1.2ms, p90 3.4ms, p99 ≥ 7s (12 of 1,000 censored)\n", b.String())
	b.Reset()
	r.Population, r.Phases.Wait.Count, r.Phases.Wait.P50, r.Phases.Wait.P99 = Population{Count: 3, P50: Quantile{NS: 5}}, 3, 64, 12345
	r.textLatencies(&b)
	require.Equal(t, "phases      wait p50 64ns p99 12.3µs\n", b.String())
}

// The population of several reports is that of all their attempts.
func TestPopulationOfMergedReports(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var reports []*Report
	var all [3]cells
	unknown := uint64(0)
	for i := range 3 {
		r := shardOf(t, 10, 1000)
		r.Histograms = map[string]string{}
		var part [3]cells
		for k, name := range []string{"response", "failed", "pending"} {
			l := newLatency()
			for range 200 / (1 + 3*k) {
				l.record(rng.Int64N(1e9))
			}
			l.settle()
			r.latency(name, l.h)
			part[k] = cellsOf(l.h)
			all[k] = all[k].plus(part[k])
		}
		h := newLatency()
		h.record(1)
		h.settle()
		r.Latency = r.latency("latency", h.h)
		r.Response = r.latency("response", part[0].histogram())
		r.Population = population(part[0], part[1], part[2], uint64(i))
		unknown += uint64(i)
		reports = append(reports, saved(t, r))
	}
	m, err := Merge(reports, []string{"a", "b", "c"})
	require.NoError(t, err)
	require.Equal(t, population(all[0], all[1], all[2], unknown), m.Population)
	require.NotZero(t, m.Population.Censored)
}
