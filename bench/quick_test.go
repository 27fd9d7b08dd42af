package bench

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every value is in the bucket that claims it, and no bucket is wide.
func TestQuick(t *testing.T) {
	next := int64(0)
	for i := range quickBuckets {
		from, to := quickBounds(i)
		require.Equal(t, next, from, "bucket %d begins where the one before ends", i)
		require.LessOrEqual(t, float64(to-from), float64(from)/16)
		next = to + 1
		var q Quick
		q.Record(from)
		q.Record(to)
		q.settle()
		require.EqualValues(t, 2, q.counts[i], "%d to %d", from, to)
	}
	require.Equal(t, int64(1)<<quickRange, next)
	var q, sum Quick
	q.Record(-5)
	q.Record(1 << 60)
	q.settle()
	require.EqualValues(t, 1, q.counts[0])
	require.EqualValues(t, 1, q.counts[quickBuckets-1])

	rng := rand.New(rand.NewPCG(1, 2))
	l := newLatency()
	q = Quick{}
	for range 10_000 {
		ns := int64(rng.ExpFloat64() * float64(50*time.Microsecond))
		q.Record(ns)
		l.record(ns)
	}
	q.AddTo(&sum)
	q.AddTo(&sum)
	exact, d := summarize(l.h), sum.Distribution("x")
	quick := summarize(d.Hist)
	require.Equal(t, "x", d.Name)
	require.EqualValues(t, 20_000, quick.Count)
	require.InEpsilon(t, exact.P50, quick.P50, 0.04)
	require.InEpsilon(t, exact.P999, quick.P999, 0.04)
	require.InEpsilon(t, exact.Mean, quick.Mean, 0.02)
	l.settle()
	require.Zero(t, testing.AllocsPerRun(100, func() { q.Record(12345) }))
}

func BenchmarkQuick(b *testing.B) {
	var q Quick
	ns := int64(40_000)
	for b.Loop() {
		q.Record(ns)
		ns = ns*5/4 + 1
		if ns > 1e9 {
			ns = 40
		}
	}
}
