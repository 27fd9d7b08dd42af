package bench

import (
	"math"
	"math/bits"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// cell is a bucket of a histogram of newLatency that is not empty, by its index there.
type cell struct {
	at int
	n  int64
}

// cells are the buckets of a histogram that are not empty, in order: what is kept of one that
// is mostly empty.
type cells []cell

// halfBits is log2 of half the buckets between two powers of two that three digits need:
// 1024 of them, so that 2000 is told from 2001.
const halfBits = 10

// cellsOf takes a histogram of any range; the buckets are those of newLatency.
func cellsOf(h *hdrhistogram.Histogram) (c cells) {
	if own := newLatency().h; h.HighestTrackableValue() != maxLatency || h.LowestTrackableValue() != 1 || h.SignificantFigures() != 3 {
		own.Merge(h)
		h = own
	}
	for i, n := range h.Export().Counts {
		if n != 0 {
			c = append(c, cell{i, n})
		}
	}
	return c
}

// bounds are the least and the highest value of bucket i.
func bounds(i int) (low, high int64) {
	octave := max(0, i>>halfBits-1)
	low = int64(i-octave<<halfBits) << octave
	return low, low + 1<<octave - 1
}

// cellAt is the bucket of value v, which is not negative.
func cellAt(v int64) int {
	octave := max(0, bits.Len64(uint64(v))-halfBits-1)
	return octave<<halfBits + int(v>>octave)
}

func (c cells) count() (n int64) {
	for _, x := range c {
		n += x.n
	}
	return n
}

// plus are c and d together.
func (c cells) plus(d cells) cells {
	out := make(cells, 0, len(c)+len(d))
	for len(c) > 0 && len(d) > 0 {
		switch {
		case c[0].at < d[0].at:
			out, c = append(out, c[0]), c[1:]
		case c[0].at > d[0].at:
			out, d = append(out, d[0]), d[1:]
		default:
			out = append(out, cell{c[0].at, c[0].n + d[0].n})
			c, d = c[1:], d[1:]
		}
	}
	return append(append(out, c...), d...)
}

// histogram is the one that cellsOf was given.
func (c cells) histogram() *hdrhistogram.Histogram {
	s := newLatency().h.Export()
	for _, x := range c {
		s.Counts[x.at] = x.n
	}
	return hdrhistogram.Import(s)
}

// heat gathers the buckets in wider ones, four to an octave.
func (c cells) heat() []HeatCell {
	out := []HeatCell{}
	last := -1
	for _, x := range c {
		_, v := bounds(x.at)
		q := 0
		if v > 1 {
			q = int(math.Ceil(4 * math.Log2(float64(v))))
		}
		if q != last {
			last = q
			out = append(out, HeatCell{NS: int64(math.Round(math.Pow(2, float64(q)/4)))})
		}
		out[len(out)-1].N += uint64(x.n)
	}
	return out
}
