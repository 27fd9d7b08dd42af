package bench

import (
	"fmt"

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
