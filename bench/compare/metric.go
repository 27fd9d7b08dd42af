package compare

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

// unit is what the values of a metric are in.
type unit string

const (
	perSecond  unit = "/s"
	nanosecond unit = "ns"
	share      unit = "share" // of the attempts, from 0 to 1
)

// metric is something that two runs are compared in.
type metric struct {
	name string
	of   string // what it is of, if the name does not say
	unit unit
	// value reads it from a report, with the interval that the report alone gives, if known; false if it has none.
	value func(r *bench.Report, confidence float64) (e Estimate, known, has bool)
	count func(r *bench.Report) uint64 // of a share
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// mainRate is what the scenario is about, per second: what is done in its intervals, unless the report has a rate of it.
func mainRate(r *bench.Report) float64 {
	switch {
	case r.HTTP.Attempted > 0:
		return r.Rate.TransactionsPerS
	case r.SYNFlood.Sent > 0 && r.Handshakes.Attempted == 0:
		return r.Rate.AnsweredPerS
	case r.Echo.Sent > 0:
		return r.Rate.ReturnedPerS
	case r.Rate.HandshakesPerS > 0:
		return r.Rate.HandshakesPerS
	}
	done, length := 0.0, 0.0
	for i := range r.Intervals {
		if v := &r.Intervals[i]; !v.Draining {
			done, length = done+float64(v.Done), length+v.LengthS
		}
	}
	return done / max(length, 1e-9)
}

// failures are the attempts that did not end as the scenario wants.
func failures(r *bench.Report) uint64 {
	if len(r.Intervals) == 0 {
		h, w := &r.Handshakes, &r.HTTP
		return max(h.Refused+h.TimedOut+h.Unreachable+h.Reset, w.NotConnected+w.BadResponse+w.Short+w.Reset+w.Broken) +
			r.SYNFlood.Reset + r.SYNFlood.Unanswered + r.Echo.Lost
	}
	var n int64
	for i := range r.Intervals {
		n += r.Intervals[i].Failed
	}
	return uint64(max(0, n))
}

// attempts are those of the scenario.
func attempts(r *bench.Report) uint64 {
	return cmp.Or(r.HTTP.Attempted, r.Handshakes.Attempted, r.SYNFlood.Sent, r.Echo.Sent)
}

// rates by name. Only the main one is counted by the second.
var rates = map[string]func(*bench.Rate) float64{
	"rate.handshakes":    func(r *bench.Rate) float64 { return r.HandshakesPerS },
	"rate.syns":          func(r *bench.Rate) float64 { return r.SYNsPerS },
	"rate.transactions":  func(r *bench.Rate) float64 { return r.TransactionsPerS },
	"rate.responses":     func(r *bench.Rate) float64 { return r.ResponsesPerS },
	"rate.content_bytes": func(r *bench.Rate) float64 { return r.ContentBytesPerS },
	"rate.answered":      func(r *bench.Rate) float64 { return r.AnsweredPerS },
	"rate.frames":        func(r *bench.Rate) float64 { return r.FramesPerS },
	"rate.returned":      func(r *bench.Rate) float64 { return r.ReturnedPerS },
}

// shares of the attempts by name.
var shares = map[string]func(*bench.Report) uint64{
	"failed":        failures,
	"refused":       func(r *bench.Report) uint64 { return r.Handshakes.Refused },
	"timed_out":     func(r *bench.Report) uint64 { return r.Handshakes.TimedOut },
	"unreachable":   func(r *bench.Report) uint64 { return r.Handshakes.Unreachable },
	"reset":         func(r *bench.Report) uint64 { return r.Handshakes.Reset },
	"pending":       func(r *bench.Report) uint64 { return r.Handshakes.Pending },
	"bad_response":  func(r *bench.Report) uint64 { return r.HTTP.BadResponse },
	"short":         func(r *bench.Report) uint64 { return r.HTTP.Short },
	"broken":        func(r *bench.Report) uint64 { return r.HTTP.Broken },
	"unanswered":    func(r *bench.Report) uint64 { return r.SYNFlood.Unanswered },
	"lost":          func(r *bench.Report) uint64 { return r.Echo.Lost },
	"retransmitted": func(r *bench.Report) uint64 { return r.Retransmissions.SYN },
}

// shown are the metrics that are compared when nobody asks for others. Shares that are zero on both sides are left out.
var shown = []string{"rate", "mean", "p50", "p90", "p99", "p999", "cpu"}

// names lists what lookup knows, for messages, with the histograms of a report.
func names(r *bench.Report) []string {
	out := append([]string{}, shown...)
	out = append(out, sorted(shares)...)
	out = append(out, sorted(rates)...)
	for _, h := range sorted(r.Histograms) {
		out = append(out, h+".p99")
	}
	return out
}

var percentileName = regexp.MustCompile(`^(?:([a-z_.]+)\.)?p([0-9]{2})([0-9]*|\.[0-9]+)$`)

// lookup finds a metric of the reports on both sides by its name, nil if there is none.
func lookup(name string, all []*bench.Report) *metric {
	if f := shares[name]; f != nil {
		return &metric{name: name, unit: share, count: f, value: func(r *bench.Report, c float64) (Estimate, bool, bool) {
			n := attempts(r)
			return shareOf(r, min(n, f(r)), n, c), true, n > 0
		}}
	}
	if f := rates[name]; f != nil {
		return &metric{name: name, unit: perSecond, value: func(r *bench.Report, c float64) (Estimate, bool, bool) {
			v := f(&r.Rate)
			if v == mainRate(r) {
				e, known := rateOf(r, v, c)
				return e, known, v > 0
			}
			return exactly(v), false, v > 0
		}}
	}
	switch name {
	case "rate":
		return &metric{name: name, unit: perSecond, value: func(r *bench.Report, c float64) (Estimate, bool, bool) {
			v := mainRate(r)
			e, known := rateOf(r, v, c)
			return e, known, attempts(r) > 0
		}}
	case "cpu":
		return &metric{name: name, of: "processor time of an attempt, both ends that are ours", unit: nanosecond, value: func(r *bench.Report, _ float64) (Estimate, bool, bool) {
			per := mainRate(r) * r.DurationS
			return exactly(r.CPUSeconds * 1e9 / max(1, per)), false, r.CPUSeconds > 0 && per > 0
		}}
	case "mean", "max":
		of := mainHistogram(all)
		return &metric{name: name, of: of, unit: nanosecond, value: func(r *bench.Report, c float64) (Estimate, bool, bool) {
			h, err := r.Histogram(of)
			if err != nil || h == nil {
				return Estimate{}, false, false
			}
			if name == "max" {
				return exactly(float64(h.Max())), false, true
			}
			e, known := meanOf(r, h.Mean(), c)
			return e, known, true
		}}
	}
	m := percentileName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	of := cmp.Or(m[1], mainHistogram(all))
	q, err := strconv.ParseFloat(m[2]+"."+strings.TrimPrefix(m[3], ".")+"0", 64)
	if err != nil {
		return nil
	}
	out := &metric{name: name, unit: nanosecond, value: func(r *bench.Report, c float64) (Estimate, bool, bool) {
		h, err := r.Histogram(of)
		if err != nil || h == nil || h.TotalCount() == 0 {
			return Estimate{}, false, false
		}
		return percentileOf(r, h, q/100, c), true, true
	}}
	if m[1] == "" {
		out.of = of
	}
	return out
}

// mainHistogram is the latency that people ask about first, of those that all reports have: from the intended time if
// there was a schedule, of whole transactions if there were any.
func mainHistogram(all []*bench.Report) string {
	for _, name := range []string{"response", "http.total"} {
		if !slices.ContainsFunc(all, func(r *bench.Report) bool { return r.Histograms[name] == "" }) {
			return name
		}
	}
	return "latency"
}

// meanOf is the interval of a mean latency v, from the means of the seconds.
func meanOf(r *bench.Report, v, confidence float64) (Estimate, bool) {
	var x []float64
	var n, sum float64
	for _, s := range seconds(r) {
		n += float64(s.Latency.Count)
		sum += float64(s.Latency.Count) * s.Latency.Mean
	}
	for _, s := range seconds(r) { // of each second the part of its latencies that the mean does not explain
		x = append(x, float64(s.Latency.Count)*(s.Latency.Mean-sum/max(1, n)))
	}
	if len(x) < minSeries || n == 0 {
		return exactly(v), false
	}
	e := series(x, confidence)
	w := (e.High - e.Value) * float64(len(x)) / n
	return Estimate{v, max(0, v-w), v + w}, true
}
