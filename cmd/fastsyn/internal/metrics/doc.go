// Package metrics shows a bench.Snapshot to Prometheus: the counters of a run or of a server under
// names by the conventions of Prometheus, and the HTTP server that a scraper, or a person with
// curl, asks. docs/live.md lists the families.
//
// Nothing is counted here, and nothing is done until somebody asks. A scrape takes a snapshot, for
// which each worker copies what it has between two of its bursts; scrapes that come closer
// together than a quarter of a second share one. bench/results/metrics-cost.txt has the times.
package metrics
