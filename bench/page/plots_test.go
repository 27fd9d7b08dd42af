package page

import (
	"math"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
)

// Merged columns have all that the intervals had, and draining is not merged with sending.
func TestColumns(t *testing.T) {
	for _, n := range []int{1, 2, 239, 240, 241, 1000, 2048} {
		var list []bench.Interval
		var done, cells uint64
		for i := range n {
			v := bench.Interval{AtS: float64(i + 1), LengthS: 1, Done: uint64(i), Failed: -1, Draining: i >= n-3, Heat: []bench.HeatCell{{NS: 1024, N: 2}, {NS: int64(1000 * (i + 1)), N: 1}}}
			done, cells = done+v.Done, cells+3
			list = append(list, v)
		}
		got, _ := columns(list)
		require.LessOrEqual(t, len(got), maxColumns+1)
		at := 0.0
		for _, c := range got {
			require.Equal(t, at, c.from)
			require.InDelta(t, c.to-c.from, c.length, 1e-9)
			require.LessOrEqual(t, c.slowest, c.perS)
			require.GreaterOrEqual(t, c.fastest, c.perS)
			at = c.to
			done -= c.done
			cells -= c.latencies
			if c.to > float64(n-3) {
				require.True(t, c.draining)
			}
		}
		require.Equal(t, float64(n), at)
		require.Zero(t, done)
		require.Zero(t, cells)
	}
}

// Buckets are those of the report: a value that is the upper bound of one is in it.
func TestHeatRows(t *testing.T) {
	for q := 12; q < 160; q++ {
		ns := int64(math.Round(rowTop(q)))
		require.Equal(t, q, heatRow(ns))
	}
	heat := map[int]uint64{40: 50, 44: 50} // up to 1024 ns, and up to 2048
	require.InDelta(t, 1024, heatQuantile(heat, 100, 0.5), 1)
	require.InDelta(t, 2048, heatQuantile(heat, 100, 1), 1)
	require.Zero(t, heatQuantile(nil, 0, 0.5))
}

// Marks are at 1, 2 and 5, and hold what they are for.
func TestScales(t *testing.T) {
	for _, top := range []float64{1e-12, 0.003, 1, 7, 9.99, 20000, 3.9e6, 1e18} {
		s, marks := linear(top, 5)
		require.GreaterOrEqual(t, s.hi, top*(1-1e-9))
		require.LessOrEqual(t, s.hi, 2.6*top)
		require.LessOrEqual(t, len(marks), 7)
		require.Zero(t, marks[0])
	}
	for _, r := range [][2]float64{{1, 1}, {3, 4}, {100, 1e9}, {2e5, 2.1e5}, {1e-12, 1e-11}, {1e300, 1e301}} {
		s, marks := logarithmic(r[0], r[1])
		require.Less(t, s.lo, s.hi)
		require.GreaterOrEqual(t, len(marks), 2)
		for _, m := range marks {
			lead := m / math.Pow(10, math.Floor(math.Log10(m)+1e-9))
			require.True(t, math.Abs(lead-1) < 1e-6 || math.Abs(lead-2) < 1e-6 || math.Abs(lead-5) < 1e-6, "%v", m)
		}
	}
	s, _ := logarithmic(2e3, 4e5)
	require.Equal(t, [2]float64{2e3, 5e5}, [2]float64{s.lo, s.hi})
	require.Zero(t, s.at(1))
	require.Equal(t, 1.0, s.at(1e9))
	require.Zero(t, s.at(math.NaN()))
}

// With one failure in a hundred the wall is at p99, and half of all attempts are half of what succeeded, and a little more.
func TestWall(t *testing.T) {
	r := &bench.Report{Histograms: map[string]string{}}
	h := hist()
	for i := range 9900 {
		require.NoError(t, h.RecordValue(int64(1000*(i+1))))
	}
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	require.NoError(t, err)
	r.Histograms["latency"] = string(b)
	r.Latency = summarize(h)
	r.Population = bench.Population{Count: 10_000, Censored: 100}
	l := newLatency(r)
	require.False(t, l.Rough)
	require.Equal(t, "1 %", l.Wall)
	require.Len(t, l.Plot.Bands, 1)
	require.Equal(t, at(2.0/4), l.Plot.Bands[0].X, "p99 of an axis to p99.99")
	d, rough := newDistribution(r, "latency", "", "", "", r.Latency)
	require.False(t, rough)
	require.InEpsilon(t, 4_950_000, d.at(0.5), 0.01)
	p := population(&r.Population, []*distribution{d})
	require.InEpsilon(t, 5_000_000, p.at(0.5), 0.02)
	require.InDelta(t, 0.99, p.values[len(p.values)-1].q, 1e-9, "it ends at the wall")

	// Without the histogram the percentiles are joined, and the page says so.
	r.Histograms["latency"] = "not one"
	require.True(t, newLatency(r).Rough)
}

func TestSearchLimits(t *testing.T) {
	for target, want := range map[string][2]float64{
		"loss<0.1%,p99<5ms": {0.001, 5e6}, "p99<=1s": {0, 1e9}, "loss < 0.5": {0.5, 0}, "p50<1ms": {}, "": {}, "loss<x%,p99<-3ms": {}, "loss<NaN": {},
	} {
		loss, p99 := limits(target)
		require.InDelta(t, want[0], loss, 1e-9, target)
		require.Equal(t, want[1], p99, target)
	}
}

// What is drawn of a stage that loses something is more than nothing, and stays in the drawing.
func TestRibbon(t *testing.T) {
	flow, gone := ribbon(1, 0.5, 0)
	require.NotEmpty(t, flow)
	require.Empty(t, gone)
	for _, lost := range []float64{1e-9, 0.01, 0.5, 1, 5} {
		_, gone = ribbon(1, 0.5, lost)
		require.NotEmpty(t, gone)
		require.NotContains(t, gone, "-")
		require.NotContains(t, strings.ReplaceAll(gone, "1000", ""), "10000")
	}
}

// Labels of a timeline do not cover each other, wherever the phases are.
func TestTimelineLabels(t *testing.T) {
	for _, where := range [][]float64{{0, 0, 0, 0, 0}, {0, 0.97, 0.99, 1, 1}, {0, 0.5, 0.52, 0.55, 1}, {0, 0.25, 0.5, 0.75, 1}} {
		events := []event{{Name: "intended"}, {Name: "SYN out"}, {Name: "SYN-ACK in"}, {Name: "ACK out"}, {Name: "first byte"}}
		out := place(events, where)
		require.GreaterOrEqual(t, len(out), 4, "%v", where)
		seen := map[string]bool{}
		for _, e := range out {
			key := e.X + "/" + string(rune(e.Label))
			require.False(t, seen[key])
			seen[key] = true
		}
	}
}

// A SYN that was sent again before anything came back is drawn as lost; pauses are told.
func TestLadder(t *testing.T) {
	s := ladders()[1]
	l := newLadder(1, &s)
	require.Len(t, l.Steps, 4)
	require.True(t, l.Steps[0].Lost)
	require.False(t, l.Steps[1].Lost)
	require.Equal(t, "+1s", l.Steps[1].Gap)
	require.Empty(t, l.Steps[3].Gap)
	for i := 1; i < len(l.Steps); i++ {
		require.GreaterOrEqual(t, l.Steps[i].Y-l.Steps[i-1].Y, ladderLeast)
	}
	require.Greater(t, l.Height, l.Steps[3].Y)
}
