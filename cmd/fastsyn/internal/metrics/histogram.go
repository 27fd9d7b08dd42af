package metrics

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/fastsyn/fastsyn/bench"
)

// schema is that of the native histograms: 2^3 buckets for each doubling, each 9 % wider than the one before.
const schema = 3

// bounds are the upper ends of the classic buckets in seconds: 1, 2.5 and 5 of each decade from 100 ns to 50 s.
var bounds = func() (b []float64) {
	for e := -7; e <= 1; e++ {
		for _, m := range []float64{1, 2.5, 5} {
			b = append(b, math.Round(m*math.Pow10(e)*1e8)/1e8) // as a decimal number has it
		}
	}
	return b
}()

var latencyHelps = map[string]string{
	"latency":       "From the first segment out to established, answered or returned.",
	"response":      "The same or the whole transaction, from the time the schedule intended.",
	"first_byte":    "From the SYN to the first byte of the first response.",
	"total":         "From the SYN to the end of the transaction.",
	"retransmitted": "Of the latency, that of opens whose SYN was repeated.",
	"failed":        "How long those were tried that came to nothing.",
	"handshake_rtt": "From the SYN-ACK to the ACK that completes the handshake.",
}

// latencyFamily is where a Distribution goes. Phases, which add up to something, share a name.
func latencyFamily(prefix, name string) family {
	if phase, ok := strings.CutPrefix(name, "phases."); ok {
		return family{
			name: prefix + "phase_seconds", label: "phase", value: phase,
			help: "Parts of the latency: wait for the SYN to be sent, ack from the SYN-ACK to the ACK with the device, first_byte from there.",
		}
	}
	f := family{name: prefix + name + "_seconds", help: latencyHelps[name]}
	if f.help == "" {
		f.help = "Time of " + name + ", as in the report."
	}
	return f
}

// histogram sends d, which is in nanoseconds, as a classic and a native histogram in one, as
// client_golang has it for histograms of its own: text formats show the former, the
// binary format both, and a scraper that knows native histograms takes those.
func (e *emitter) histogram(f family, d *bench.Distribution) {
	var labels, values []string
	if f.label != "" {
		labels, values = []string{f.label}, []string{f.value}
	}
	desc := prometheus.NewDesc(f.name, f.help, labels, nil)
	var count, zero uint64
	sum := 0.0
	native := map[int]int64{}
	below := make([]uint64, len(bounds)+1)
	at := 0
	d.Each(func(low, high, n int64) {
		v := (float64(low) + float64(high)) / 2e9
		count += uint64(n)
		sum += v * float64(n)
		if v <= 0 {
			zero += uint64(n)
		} else {
			native[int(math.Ceil(math.Log2(v)*(1<<schema)))] += n
		}
		for at < len(bounds) && v > bounds[at] { // values come in order
			at++
		}
		below[at] += uint64(n)
	})
	classic := map[float64]uint64{}
	total := uint64(0)
	for i, b := range bounds {
		total += below[i]
		classic[b] = total
	}
	a, err := prometheus.NewConstHistogramWithCreatedTimestamp(desc, count, sum, classic, e.begin, values...)
	if err != nil {
		e.out <- prometheus.NewInvalidMetric(desc, fmt.Errorf("metrics: %s: %w", f.name, err))
		return
	}
	b, err := prometheus.NewConstNativeHistogram(desc, count, sum, native, nil, zero, schema, zeroWidth.Seconds(), e.begin, values...)
	if err != nil {
		e.out <- prometheus.NewInvalidMetric(desc, fmt.Errorf("metrics: %s: %w", f.name, err))
		return
	}
	e.out <- both{a, b}
}

// zeroWidth is up to where a native histogram calls a value zero: less than any clock here tells.
const zeroWidth = time.Nanosecond / 2

// both is a histogram in two forms.
type both struct {
	prometheus.Metric // classic
	native            prometheus.Metric
}

// Write implements prometheus.Metric.
func (b both) Write(m *dto.Metric) error {
	if err := b.Metric.Write(m); err != nil {
		return err
	}
	var n dto.Metric
	if err := b.native.Write(&n); err != nil {
		return err
	}
	to, from := m.Histogram, n.Histogram
	to.Schema, to.ZeroThreshold, to.ZeroCount = from.Schema, from.ZeroThreshold, from.ZeroCount
	to.PositiveSpan, to.PositiveDelta = from.PositiveSpan, from.PositiveDelta
	return nil
}
