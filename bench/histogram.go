package bench

import (
	"fmt"
	"maps"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram decodes one of Histograms by its name, nil if the report does not have it: nothing was recorded.
func (r *Report) Histogram(name string) (*hdrhistogram.Histogram, error) {
	s, ok := r.Histograms[name]
	if !ok {
		return nil, nil
	}
	h, err := hdrhistogram.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("bench: histogram %q of the report: %w", name, err)
	}
	return h, nil
}

// MergeHistograms adds up the histograms of reports, by name: those of several machines that
// ran at the same time, or of repeated runs. A value that is above the range of the first one with
// its name is an error.
func MergeHistograms(reports ...*Report) (map[string]*hdrhistogram.Histogram, error) {
	sum := map[string]*hdrhistogram.Histogram{}
	for i, r := range reports {
		for _, name := range slices.Sorted(maps.Keys(r.Histograms)) {
			h, err := r.Histogram(name)
			if err != nil {
				return nil, fmt.Errorf("report %d: %w", i+1, err)
			}
			if sum[name] == nil {
				sum[name] = h
				continue
			}
			if lost := sum[name].Merge(h); lost > 0 {
				return nil, fmt.Errorf("bench: histogram %q of report %d has %d values that do not fit the range of the ones before", name, i+1, lost)
			}
		}
	}
	return sum, nil
}

// Summarize is the summary of a histogram of nanoseconds that a report has.
func Summarize(h *hdrhistogram.Histogram) Latency { return summarize(h) }

// latency summarizes h under the name of its field in the report, where the histogram is kept too.
func (r *Report) latency(name string, h *hdrhistogram.Histogram) Latency {
	if h.TotalCount() > 0 {
		b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil { // it writes to memory
			panic("bench: a histogram that cannot be encoded: " + err.Error())
		}
		r.Histograms[name] = string(b)
	}
	return summarize(h)
}
