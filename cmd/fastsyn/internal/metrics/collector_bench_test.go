package metrics

import (
	"context"
	"io"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
)

// BenchmarkScrape is the processor time of a scrape, but for the snapshot: of a run with a worker at each end.
func BenchmarkScrape(b *testing.B) {
	live := new(bench.Live)
	_, err := bench.Run(context.Background(), bench.Config{Count: 100_000, Polling: "adaptive", Pin: "off", Live: live}, nil)
	require.NoError(b, err)
	reg := Registry(NewCollector("bench", live.Read))
	for b.Loop() {
		families, err := reg.Gather()
		require.NoError(b, err)
		e := expfmt.NewEncoder(io.Discard, expfmt.NewFormat(expfmt.TypeTextPlain))
		for _, f := range families {
			require.NoError(b, e.Encode(f))
		}
	}
}
