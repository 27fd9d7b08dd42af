package compare

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Quantiles of Student's distribution from tables (two-sided).
func TestStudent(t *testing.T) {
	for _, tc := range []struct{ confidence, df, want float64 }{
		{0.95, 1, 12.706},
		{0.95, 2, 4.303},
		{0.95, 3, 3.182},
		{0.95, 4, 2.776},
		{0.95, 5, 2.571},
		{0.95, 10, 2.228},
		{0.95, 30, 2.042},
		{0.95, 1e6, 1.960},
		{0.99, 1, 63.657},
		{0.99, 2, 9.925},
		{0.99, 3, 5.841},
		{0.99, 5, 4.032},
		{0.99, 10, 3.169},
		{0.9, 3, 2.353},
		{0.9, 7, 1.895},
		{0.999, 10, 4.587},
	} {
		require.InEpsilon(t, tc.want, student(tc.confidence, tc.df), 0.003, "%v", tc)
	}
	// Between whole numbers it falls, as it does between them.
	last := math.Inf(1)
	for df := 1.0; df < 20; df += 0.25 {
		now := student(0.95, df)
		require.Less(t, now, last, df)
		last = now
	}
	require.InDelta(t, 1.959964, normal(0.95), 1e-6)
}

// Wilson's interval of 0 of 100 and 10 of 100, from Newcombe (1998).
func TestWilson(t *testing.T) {
	z := normal(0.95)
	e := wilson(0, 100, 1, z)
	require.Zero(t, e.Low)
	require.InDelta(t, 0.0370, e.High, 1e-4)
	e = wilson(81, 263, 1, z)
	require.InDelta(t, 0.2553, e.Low, 1e-4)
	require.InDelta(t, 0.3662, e.High, 1e-4)
	require.Equal(t, wilson(1, 10, 1, z).High, wilson(10, 100, 10, z).High, "a hundred that are worth ten")
	e = wilson(5, 5, 1, z)
	require.Equal(t, 1.0, e.High)
}

func TestWelch(t *testing.T) {
	// Example of R's t.test for sleep, group 1 and 2.
	a := []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2}
	b := []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	e := welch(a, b, 0.95)
	require.InDelta(t, 1.58, e.Value, 1e-9)
	require.InDelta(t, -0.2054832, e.Low, 2e-3)
	require.InDelta(t, 3.3654832, e.High, 2e-3)
	require.Equal(t, exactly(1), welch([]float64{2, 2}, []float64{3, 3}, 0.95))
}

// ar makes a series whose neighbours are alike, with mean 0 and variance 1.
func ar(r *rand.Rand, n int, rho float64) []float64 {
	x := make([]float64, n)
	x[0] = r.NormFloat64()
	for i := 1; i < n; i++ {
		x[i] = rho*x[i-1] + math.Sqrt(1-rho*rho)*r.NormFloat64()
	}
	return x
}

// The interval of a mean has the true one about as often as it says, also of short series and of such whose
// seconds are alike, for which an interval that takes them for independent has not.
func TestSeriesCoverage(t *testing.T) {
	const trials = 4000
	covered := func(n int, rho float64, interval func([]float64) Estimate) float64 {
		r := rand.New(rand.NewPCG(1, uint64(n)))
		k := 0
		for range trials {
			if e := interval(ar(r, n, rho)); e.Low <= 0 && 0 <= e.High {
				k++
			}
		}
		return float64(k) / trials
	}
	by := func(x []float64) Estimate { return series(x, 0.95) }
	for _, tc := range []struct {
		n        int
		rho      float64
		low, top float64
	}{
		{5, 0, 0.93, 0.97},
		{10, 0, 0.93, 0.985},
		{30, 0, 0.93, 0.98},
		{60, 0, 0.93, 0.97},
		{300, 0, 0.93, 0.97},
		{10, 0.3, 0.89, 0.98},
		{30, 0.3, 0.90, 0.97},
		{60, 0.3, 0.91, 0.97},
		{300, 0.3, 0.92, 0.97},
		{60, 0.6, 0.84, 0.97},
	} {
		got := covered(tc.n, tc.rho, by)
		t.Logf("n=%d rho=%.1f: %.3f", tc.n, tc.rho, got)
		require.GreaterOrEqual(t, got, tc.low, tc)
		require.LessOrEqual(t, got, tc.top, tc)
	}
	naive := func(x []float64) Estimate { return mean(x, 0.95) }
	require.Less(t, covered(60, 0.6, naive), 0.75)
}

// Square and add: the interval of the difference of two means is that of the textbook when both are alike.
func TestDifference(t *testing.T) {
	e := difference(Estimate{10, 9, 11}, Estimate{12, 11, 13})
	require.InDelta(t, 2, e.Value, 1e-9)
	require.InDelta(t, 2-math.Sqrt2, e.Low, 1e-9)
	require.InDelta(t, 2+math.Sqrt2, e.High, 1e-9)
	e, ok := ratio(Estimate{10, 9, 11}, Estimate{20, 20, 20})
	require.True(t, ok)
	require.InDelta(t, 1, e.Value, 1e-9)
	require.InDelta(t, 20.0/11-1, e.Low, 1e-9)
	require.InDelta(t, 20.0/9-1, e.High, 1e-9)
	_, ok = ratio(Estimate{10, 0, 11}, Estimate{20, 20, 20})
	require.False(t, ok)
}
