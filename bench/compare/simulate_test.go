package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
)

// world is a program on a machine, of which runs are made.
type world struct {
	rate    float64 // handshakes per second
	latency float64 // median, ns
	spread  float64 // of the rate between seconds, as a share; of the latency likewise, on a logarithmic scale
	between float64 // the same between runs
	alike   float64 // how much a second is like the one before
	failed  float64 // share of the attempts; in bad seconds three times as many
	seconds int
}

func (w world) run(t testing.TB, r *rand.Rand) *bench.Report {
	rep := &bench.Report{Schema: bench.Schema, Scenario: bench.ScenarioHandshake, Valid: true, DurationS: float64(w.seconds)}
	h := hdrhistogram.New(1, int64(5*60e9), 3)
	own, ownLatency := 1+w.between*r.NormFloat64(), math.Exp(w.between*r.NormFloat64())
	rates, shifts, bad := ar(r, w.seconds, w.alike), ar(r, w.seconds, w.alike), ar(r, w.seconds, w.alike)
	var done, failed uint64
	for i := range w.seconds {
		n := uint64(max(1, w.rate*own*(1+w.spread*rates[i])))
		median := w.latency * ownLatency * math.Exp(w.spread*shifts[i])
		share := w.failed
		if bad[i] > 1 {
			share *= 3
		}
		v := bench.Interval{AtS: float64(i + 1), LengthS: 1, Done: n, PerS: float64(n)}
		for range n {
			if r.Float64() < share {
				v.Failed++
			}
		}
		v.Attempted = n + uint64(v.Failed)
		heat := map[int64]uint64{}
		sum := 0.0
		for range n {
			ns := int64(median * math.Exp(0.5*r.NormFloat64()))
			require.NoError(t, h.RecordValue(ns))
			heat[int64(math.Exp2(math.Ceil(4*math.Log2(float64(ns)))/4))]++
			sum += float64(ns)
		}
		for _, ns := range sorted(heat) {
			v.Heat = append(v.Heat, bench.HeatCell{NS: ns, N: heat[ns]})
		}
		v.Latency = bench.Latency{Count: int64(n), Mean: sum / float64(n)}
		done, failed = done+n, failed+uint64(v.Failed)
		rep.Intervals = append(rep.Intervals, v)
	}
	rep.Handshakes = bench.Handshakes{Attempted: done + failed, Established: done, TimedOut: failed}
	rep.Rate.HandshakesPerS = float64(done) / float64(w.seconds)
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	require.NoError(t, err)
	rep.Histograms = map[string]string{"latency": string(b)}
	return rep
}

func sideOf(t testing.TB, w world, n int, r *rand.Rand) Side {
	var s Side
	for range n {
		s.Reports = append(s.Reports, w.run(t, r))
		s.Files = append(s.Files, "x.json")
	}
	return s
}

// trial counts in how many of n comparisons of a with b each metric was found significant, and in how many the interval had the truth.
func trial(t testing.TB, a, b world, runs, n int, truth map[string]float64) (alarms, covered map[string]float64) {
	r := rand.New(rand.NewPCG(7, uint64(runs)))
	alarms, covered = map[string]float64{}, map[string]float64{}
	for range n {
		x, y := sideOf(t, a, runs, r), sideOf(t, b, runs, r)
		for m, want := range truth {
			d, ok := compare(m, x, y, DefaultConfidence)
			require.True(t, ok)
			if d.Significant {
				alarms[m] += 1 / float64(n)
			}
			of := d.Change
			if d.Ratio != nil && d.Unit != string(share) {
				of = *d.Ratio
			}
			if of.Low <= want && want <= of.High {
				covered[m] += 1 / float64(n)
			}
		}
	}
	return alarms, covered
}

var calm = world{rate: 150, latency: 100e3, spread: 0.05, failed: 0.02, seconds: 20}

// Two runs of the same thing are told apart about as seldom as the confidence says, whether their seconds are
// independent or alike, steady or not; and of a true difference the interval is right as often as it says.
func TestOneRunPerSide(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of simulated runs: not in short runs")
	}
	metrics := map[string]float64{"rate": 0, "mean": 0, "p50": 0, "p90": 0, "p99": 0, "failed": 0}
	const n = 120
	for name, w := range map[string]world{
		"steady":   {rate: 150, latency: 100e3, spread: 0.005, failed: 0.02, seconds: 20},
		"uneven":   {rate: 150, latency: 100e3, spread: 0.1, failed: 0.02, seconds: 20},
		"in waves": {rate: 150, latency: 100e3, spread: 0.1, failed: 0.02, alike: 0.3, seconds: 30},
	} {
		alarms, _ := trial(t, w, w, 1, n, metrics)
		t.Logf("%s: false alarms %v", name, alarms)
		for m, share := range alarms {
			require.LessOrEqual(t, share, 0.10, "%s: %s", name, m)
		}
	}
	faster := calm
	faster.rate, faster.latency = calm.rate*1.1, calm.latency*1.2
	_, covered := trial(t, calm, faster, 1, n, map[string]float64{"rate": 0.1, "mean": 0.2, "p50": 0.2, "p90": 0.2, "p99": 0.2, "failed": 0})
	t.Logf("coverage %v", covered)
	for m, share := range covered {
		require.GreaterOrEqual(t, share, 0.90, m)
	}
	much := calm
	much.rate, much.latency = calm.rate*1.3, calm.latency*1.5
	alarms, _ := trial(t, calm, much, 1, 50, map[string]float64{"rate": 0.3, "p50": 0.5, "p99": 0.5})
	for m, share := range alarms {
		require.Greater(t, share, 0.95, "%s: a large difference is seen", m)
	}
}

// What runs differ by is seen with several runs, and is not with one: that is why the text says so.
func TestSeveralRunsPerSide(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of simulated runs: not in short runs")
	}
	w := world{rate: 100, latency: 100e3, spread: 0.01, between: 0.05, failed: 0.02, seconds: 6}
	metrics := map[string]float64{"rate": 0, "p50": 0, "p99": 0, "failed": 0}
	for _, runs := range []int{3, 5} {
		alarms, _ := trial(t, w, w, runs, 120, metrics)
		t.Logf("%d runs: false alarms %v", runs, alarms)
		for m, share := range alarms {
			require.LessOrEqual(t, share, 0.09, "%d runs: %s", runs, m)
		}
	}
	alarms, _ := trial(t, w, w, 1, 100, metrics)
	require.Greater(t, alarms["rate"], 0.3, "one run per side knows nothing of the others")
	faster := w
	faster.rate *= 1.3
	_, covered := trial(t, w, faster, 5, 120, map[string]float64{"rate": 0.3})
	require.GreaterOrEqual(t, covered["rate"], 0.92)
}
