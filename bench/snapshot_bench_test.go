package bench

import (
	"testing"
	"time"
)

// BenchmarkSnapshot is what a snapshot takes of a client worker: its histograms are copied, the rest
// is done elsewhere.
func BenchmarkSnapshot(b *testing.B) {
	c := newClient(&job{cfg: Config{Concurrency: 256}, workers: 1}, 0, nil)
	c.response, c.wait = newLatency(), newLatency()
	for i := range int64(100_000) {
		c.service.record(40_000 + i%5000)
		c.response.record(40_000 + i%9000)
	}
	var w Work
	for b.Loop() {
		var s samples
		s.take(c, &w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(time.Second)*100, "%/snapshot_per_second")
}
