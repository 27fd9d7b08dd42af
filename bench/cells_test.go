package bench

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The buckets are those of the library, whose index is not exported.
func TestCellBounds(t *testing.T) {
	h := newLatency().h
	require.NoError(t, h.RecordValue(maxLatency)) // the list ends with the highest one
	bars := h.Distribution()
	require.Greater(t, len(bars), 27<<halfBits)
	for i, b := range bars {
		low, high := bounds(i)
		require.Equal(t, b.From, low, i)
		require.Equal(t, b.To, high, i)
		require.Equal(t, i, cellAt(low))
		require.Equal(t, i, cellAt(high))
	}
}

func TestCells(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	a, b, both := newLatency(), newLatency(), newLatency()
	heat := 0
	for range 10000 {
		v := int64(1) << rng.IntN(38)
		v += rng.Int64N(v)
		l := a
		if rng.IntN(2) == 0 {
			l = b
		}
		l.record(v)
		both.record(v)
		heat++
	}
	for _, l := range []*latency{a, b, both} {
		l.settle()
	}
	sum := cellsOf(a.h).plus(cellsOf(b.h))
	require.Equal(t, cellsOf(both.h), sum)
	require.Equal(t, both.h.Export(), sum.histogram().Export())
	require.Equal(t, cellsOf(a.h), cells(nil).plus(cellsOf(a.h)))
	require.Empty(t, cells(nil).heat())

	last, n := int64(0), uint64(0)
	for _, c := range sum.heat() {
		require.Greater(t, c.NS, last)
		last = c.NS
		n += c.N
	}
	require.EqualValues(t, heat, n)
	// 1024 is a bound; so is 2^10.25.
	require.Equal(t, []HeatCell{{NS: 1, N: 2}, {NS: 1024, N: 3}, {NS: 1218, N: 4}},
		cells{{0, 1}, {1, 1}, {1024, 3}, {1025, 1}, {cellAt(1200), 3}}.heat())
}
