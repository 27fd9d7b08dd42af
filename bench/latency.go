package bench

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const maxLatency = int64(5 * time.Minute)

// latency is a histogram of nanoseconds with three digits. It belongs to one
// worker; others copy it by way of Worker.Do. Answers of one burst often share
// their time, so runs of equal values are recorded at once.
type latency struct {
	h     *hdrhistogram.Histogram
	value int64
	run   int64
}

func newLatency() *latency { return &latency{h: hdrhistogram.New(1, maxLatency, 3)} }

func (l *latency) record(ns int64) { l.recordN(ns, 1) }

// recordN records ns n times.
func (l *latency) recordN(ns, n int64) {
	if ns == l.value || n == 0 {
		l.run += n
		return
	}
	l.settle()
	l.value, l.run = ns, n
}

// count is how many were recorded.
func (l *latency) count() int64 { return l.h.TotalCount() + l.run }

// settle records the run that is open.
func (l *latency) settle() {
	if l.run > 0 {
		_ = l.h.RecordValues(min(max(l.value, 0), maxLatency), l.run) // in range: cannot fail
		l.run = 0
	}
}

// copyTo adds what is recorded so far to h.
func (l *latency) copyTo(h *hdrhistogram.Histogram) {
	l.settle()
	h.Merge(l.h)
}

// Latency summarizes a histogram, in nanoseconds.
type Latency struct {
	Count  int64   `json:"count"`
	Min    int64   `json:"min"`
	Mean   float64 `json:"mean"`
	StdDev float64 `json:"stddev"`
	P50    int64   `json:"p50"`
	P90    int64   `json:"p90"`
	P99    int64   `json:"p99"`
	P999   int64   `json:"p999"`
	Max    int64   `json:"max"`
}

func summarize(h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	round := func(f float64) float64 { return math.Round(f*10) / 10 }
	p := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return Latency{
		Count: h.TotalCount(), Min: h.Min(), Mean: round(h.Mean()), StdDev: round(h.StdDev()),
		P50: p[0], P90: p[1], P99: p[2], P999: p[3], Max: h.Max(),
	}
}
