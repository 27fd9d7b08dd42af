package bench

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What another implementation has written is read as it says itself, and the other way round has the same buckets:
// the histogram that is written again is the same.
func TestHistogramOfAnotherImplementation(t *testing.T) {
	b, err := os.ReadFile("testdata/histogram-js.json")
	require.NoError(t, err)
	var js struct {
		Encoded                         string
		Count, P50, P90, P99, P999, Max int64
	}
	require.NoError(t, json.Unmarshal(b, &js))
	r := &Report{Histograms: map[string]string{"latency": js.Encoded}}
	h, err := r.Histogram("latency")
	require.NoError(t, err)
	got := summarize(h)
	require.Equal(t, [5]int64{js.Count, js.P50, js.P90, js.P99, js.P999}, [5]int64{got.Count, got.P50, got.P90, got.P99, got.P999})
	require.Equal(t, cellAt(js.Max), cellAt(got.Max), "they give another value of the same bucket")
	require.Equal(t, h.Export().Counts, cellsOf(h).histogram().Export().Counts, "of the range that ours have")

	again := &Report{Histograms: map[string]string{}}
	require.Equal(t, got, again.latency("latency", h))
	h2, err := again.Histogram("latency")
	require.NoError(t, err)
	require.Equal(t, h.Export(), h2.Export())

	none, err := r.Histogram("response")
	require.NoError(t, err)
	require.Nil(t, none)
	r.Histograms["latency"] = "AAAA"
	_, err = r.Histogram("latency")
	require.ErrorContains(t, err, `histogram "latency" of the report`)
}
