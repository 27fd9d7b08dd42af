package flow

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestRTX_005_Estimator(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(rto{}), uintptr(12))
	var r rto
	require.EqualValues(t, 1000*msec, r.timeout(), "RFC 6298 §2.1")
	require.False(t, r.sampled())

	r.sample(100*msec, 1)
	require.EqualValues(t, 100*msec, r.smoothed())
	require.EqualValues(t, 50*msec<<rtoShift, r.rttvar)
	require.EqualValues(t, 300*msec, r.timeout())

	r.sample(200*msec, 1)
	require.EqualValues(t, 112_500, r.smoothed())
	require.EqualValues(t, 62_500<<rtoShift, r.rttvar)
	require.EqualValues(t, 362_500, r.timeout())
	require.True(t, r.sampled())
}

func TestRTX_005_Bounds(t *testing.T) {
	var r rto
	r.sample(0, 1) // less than the clock can tell
	require.True(t, r.sampled())
	require.EqualValues(t, 200*msec, r.timeout())
	r = rto{}
	r.sample(math.MaxUint32, 1)
	require.EqualValues(t, 120_000*msec, r.timeout())
	for range 1000 { // no overflow from either side
		r.sample(math.MaxUint32, 1)
		require.EqualValues(t, 120_000*msec, r.timeout())
	}
	for range 1000 {
		r.sample(1, 1)
	}
	require.EqualValues(t, 200*msec, r.timeout())
	for range 200 { // a steady path of 500 ms: RTTVAR goes, G stays
		r.sample(500*msec, 1)
	}
	require.InDelta(t, 501*msec, r.timeout(), 5)
}

func TestDAT_007_Backoff(t *testing.T) {
	var r rto
	r.sample(100*msec, 1)
	for i, want := range []uint32{300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 120000, 120000} {
		require.EqualValues(t, i, r.timeouts())
		require.Equal(t, want*msec, r.timeout())
		r.expired()
	}
	for range 300 {
		r.expired()
	}
	require.EqualValues(t, 255, r.timeouts())
	require.EqualValues(t, rtoMax, r.timeout())
	r.sample(100*msec, 1)
	require.Zero(t, r.timeouts())
	require.Less(t, r.timeout(), uint32(300*msec))
	r.expired()
	r.progress()
	require.Zero(t, r.timeouts())

	// R2 (DAT-007) with 15 retries from the smallest timeout is above 100 s.
	r, sum := rto{}, uint32(0)
	r.sample(1*msec, 1)
	for range 16 {
		sum += r.timeout()
		r.expired()
	}
	require.Greater(t, sum, uint32(100_000*msec))
}

func TestRTX_004_LostHandshake(t *testing.T) {
	var r rto
	r.handshakeLost()
	require.EqualValues(t, 3000*msec, r.timeout())
	r.expired()
	require.EqualValues(t, 6000*msec, r.timeout())
	r.sample(100*msec, 1)
	require.EqualValues(t, 300*msec, r.timeout())

	r = rto{} // a valid sample, by timestamps
	r.sample(100*msec, 1)
	r.handshakeLost()
	require.EqualValues(t, 300*msec, r.timeout())
}

// Against the formulas of RFC 6298 §2 and RFC 7323 appendix G in floating point.
func TestEstimatorAgainstFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(6298, 7323))
	for range 200 {
		var r rto
		samples := 1 + rng.Uint32N(8)
		centre := 100 + rng.Float64()*1e6
		var srtt, rttvar float64
		for i := range 2000 {
			m := uint32(centre * (0.5 + rng.Float64()))
			r.sample(m, samples)
			if i == 0 {
				srtt, rttvar = float64(m), float64(m)/2
			} else {
				e := float64(samples)
				rttvar += (math.Abs(srtt-float64(m)) - rttvar) / 4 / e
				srtt += (float64(m) - srtt) / 8 / e
			}
			// Divisions that round towards zero leave it behind by less than their divisor.
			slack := float64(8*samples)/(1<<rtoShift) + 1
			require.InDelta(t, srtt, float64(r.smoothed()), slack)
			require.InDelta(t, rttvar, float64(r.rttvar)/(1<<rtoShift), 3*slack)
		}
	}
}

// RFC 7323 appendix G: with k samples in each round trip the average forgets as
// fast per round trip as with one.
func TestManySamplesPerRoundTrip(t *testing.T) {
	require.EqualValues(t, 1, rttSamples(0, 1460))
	require.EqualValues(t, 1, rttSamples(2920, 1460))
	require.EqualValues(t, 2, rttSamples(2921, 1460))
	require.EqualValues(t, 50, rttSamples(146_000, 1460))
	require.EqualValues(t, 1, rttSamples(0, 0))

	var one, many rto
	one.sample(100*msec, 1)
	many.sample(100*msec, 1)
	for range 8 {
		one.sample(200*msec, 1)
		for range 50 {
			many.sample(200*msec, 50)
		}
	}
	require.InEpsilon(t, one.smoothed(), many.smoothed(), 0.02)
}

func TestDAT_005_ProbeSchedule(t *testing.T) {
	var r rto
	r.sample(100*msec, 1)
	for n, want := range []uint32{300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, 120000, 120000} {
		require.Equal(t, want*msec, r.probeDelay(uint8(n)))
	}
	require.EqualValues(t, rtoMax, r.probeDelay(255))
	r.expired()
	require.EqualValues(t, 300*msec, r.probeDelay(0), "the first waits one timeout, whatever was lost before")
}

func BenchmarkRTOSample(b *testing.B) {
	var r rto
	b.ReportAllocs()
	for b.Loop() {
		r.sample(10*msec, 3)
	}
}
