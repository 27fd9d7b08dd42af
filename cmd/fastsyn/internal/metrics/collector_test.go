package metrics

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// ran runs a scenario to its end and returns its report and who has read it.
func ran(t *testing.T, c bench.Config) (*bench.Report, *bench.Live) {
	t.Helper()
	c.Live, c.Seed, c.Polling, c.Pin = new(bench.Live), 1, "adaptive", "off"
	r, err := bench.Run(context.Background(), c, nil)
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	return r, c.Live
}

// gathered are the families of a collector by name.
func gathered(t *testing.T, c prometheus.Collector) map[string]*dto.MetricFamily {
	t.Helper()
	m, err := gather(c)
	require.NoError(t, err)
	return m
}

func gather(c prometheus.Collector) (map[string]*dto.MetricFamily, error) {
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		return nil, err
	}
	families, err := reg.Gather()
	m := map[string]*dto.MetricFamily{}
	for _, f := range families {
		m[f.GetName()] = f
	}
	return m, err
}

// sum adds up the samples of a family whose labels are as given, and returns 0 without any.
func sum(f *dto.MetricFamily, labels ...string) (total float64) {
	for _, m := range f.GetMetric() {
		fits := true
		for i := 0; i < len(labels); i += 2 {
			found := false
			for _, l := range m.Label {
				found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
			}
			fits = fits && found
		}
		if fits {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

var scenarios = map[string]bench.Config{
	"handshake": {Count: 3000, Workers: 2, Concurrency: 64},
	"rate":      {Count: 500, Rate: 20_000},
	"http":      {Scenario: bench.ScenarioHTTP, Count: 1000, HTTPRequests: 3},
	"syn-flood": {Scenario: bench.ScenarioSYNFlood, Count: 3000, Workers: 2},
	"echo":      {Scenario: bench.ScenarioEcho, Count: 3000},
	"loss":      {Port: "impair(loss=5%,seed=3):loop:", Count: 300, InitialRTO: 5 * time.Millisecond, SYNRetries: 20, Drain: time.Minute},
}

// When a run has ended the metrics are its report: every counter of both is there, under names that
// the linter of Prometheus takes.
func TestMetricsAreTheReport(t *testing.T) {
	for name, config := range scenarios {
		t.Run(name, func(t *testing.T) {
			r, live := ran(t, config)
			c := NewCollector("bench", live.Read)
			problems, err := testutil.CollectAndLint(c)
			require.NoError(t, err)
			require.Empty(t, problems)

			m := gathered(t, c)
			ends := map[string]*bench.Side{"client": &r.Client, "server": r.Server}
			for end, side := range ends {
				for key, n := range side.Counters {
					outcome, isSegment := strings.CutPrefix(key, "segments_")
					switch f := find(engineFamilies, "fastsyn_", "", key); {
					case key == "segments":
						require.EqualValues(t, n, sum(m["fastsyn_segments_total"], "end", end), key)
					case isSegment:
						require.EqualValues(t, n, sum(m["fastsyn_segments_total"], "end", end, "outcome", outcome), key)
					case f.label != "":
						require.EqualValues(t, n, sum(m[f.name], "end", end, f.label, f.value), key)
					default:
						require.NotNil(t, m[f.name], key)
						require.EqualValues(t, n, sum(m[f.name], "end", end), key)
					}
				}
				for key, n := range side.StreamCounters {
					switch f := find(streamFamilies, "fastsyn_stream_", "", key); {
					case key == "text_segments_in":
						require.EqualValues(t, n, sum(m["fastsyn_stream_text_segments_total"], "end", end), key)
					case key == "segments_out":
						require.EqualValues(t, n, sum(m["fastsyn_stream_segments_sent_total"], "end", end), key)
					case f.label != "":
						require.EqualValues(t, n, sum(m[f.name], "end", end, f.label, f.value), key)
					default:
						require.EqualValues(t, n, sum(m[f.name], "end", end), key)
					}
				}
				dropped := uint64(0)
				for reason, n := range side.Drops {
					require.EqualValues(t, n, sum(m["fastsyn_drops_total"], "end", end, "reason", reason), reason)
					dropped += n
				}
				require.EqualValues(t, dropped, sum(m["fastsyn_drops_total"], "end", end))
				require.EqualValues(t, side.Port.RxFrames, sum(m["fastsyn_port_receive_frames_total"], "end", end))
				require.EqualValues(t, side.Port.TxBytes, sum(m["fastsyn_port_transmit_bytes_total"], "end", end))
			}
			same(t, r.Latency, m["fastsyn_bench_latency_seconds"])
			switch r.Scenario {
			case bench.ScenarioHTTP:
				h := &r.HTTP
				require.EqualValues(t, h.Complete, sum(m["fastsyn_bench_transactions_total"], "outcome", "complete"))
				require.EqualValues(t, h.Complete+h.NotConnected+h.BadResponse+h.Short+h.Reset+h.Broken, sum(m["fastsyn_bench_transactions_total"]))
				require.EqualValues(t, h.RequestsSent, sum(m["fastsyn_bench_requests_total"]))
				require.EqualValues(t, h.Responses, sum(m["fastsyn_bench_responses_total"]))
				require.EqualValues(t, h.ContentBytes, sum(m["fastsyn_bench_content_bytes_total"]))
				require.EqualValues(t, h.TextBytes, sum(m["fastsyn_bench_text_bytes_total"]))
				require.EqualValues(t, h.Complete, sum(m["fastsyn_bench_done_total"]))
				same(t, h.Total, m["fastsyn_bench_total_seconds"])
				same(t, h.FirstByte, m["fastsyn_bench_first_byte_seconds"])
			case bench.ScenarioSYNFlood:
				f := &r.SYNFlood
				require.EqualValues(t, f.Sent, sum(m["fastsyn_bench_syns_total"]))
				require.EqualValues(t, f.Answered, sum(m["fastsyn_bench_answers_total"], "outcome", "syn_ack"))
				require.EqualValues(t, f.Answered+f.Reset+f.Repeated+f.Late+f.Bad, sum(m["fastsyn_bench_answers_total"]))
				require.EqualValues(t, f.Answered, sum(m["fastsyn_bench_done_total"]))
			case bench.ScenarioEcho:
				e := &r.Echo
				require.EqualValues(t, e.Sent, sum(m["fastsyn_bench_frames_total"]))
				require.EqualValues(t, e.Returned, sum(m["fastsyn_bench_frames_returned_total"]))
				require.EqualValues(t, e.Lost, sum(m["fastsyn_bench_frames_lost"]))
			default:
				require.EqualValues(t, r.Handshakes.Established, sum(m["fastsyn_bench_done_total"]))
				require.EqualValues(t, r.Handshakes.Established, sum(m["fastsyn_opens_total"], "end", "client", "outcome", "established"))
			}
			if f := m["fastsyn_bench_phase_seconds"]; r.Scenario == bench.ScenarioHandshake || r.Scenario == bench.ScenarioHTTP {
				for phase, want := range map[string]bench.Latency{"wait": r.Phases.Wait, "ack": r.Phases.ACK, "first_byte": r.Phases.FirstByte} {
					for _, one := range f.Metric {
						if one.Label[0].GetValue() == phase {
							same(t, want, &dto.MetricFamily{Metric: []*dto.Metric{one}})
							want.Count = 0
						}
					}
					require.Zero(t, want.Count, phase)
				}
				same(t, r.Retransmitted, m["fastsyn_bench_retransmitted_seconds"])
			}
			if r.TargetRate > 0 {
				same(t, r.Response, m["fastsyn_bench_response_seconds"])
				require.EqualValues(t, r.TargetRate, sum(m["fastsyn_bench_target_opens_per_second"]))
			}
			require.EqualValues(t, 1, sum(m["fastsyn_bench_phase"], "phase", "ended"))
			require.EqualValues(t, 1, sum(m["fastsyn_bench_phase"]))
		})
	}
}

// same compares a histogram, in both its forms, with a summary of the report.
func same(t *testing.T, want bench.Latency, f *dto.MetricFamily) {
	t.Helper()
	require.Len(t, f.GetMetric(), 1)
	h := f.Metric[0].Histogram
	require.EqualValues(t, want.Count, h.GetSampleCount())
	if want.Count == 0 {
		return
	}
	require.InEpsilon(t, want.Mean, h.GetSampleSum()/float64(want.Count)*1e9, 0.002)
	for q, ns := range map[float64]int64{0.5: want.P50, 0.9: want.P90, 0.99: want.P99} {
		upper := nativeQuantile(h, q)
		require.GreaterOrEqual(t, upper*1.002, float64(ns)/1e9, "quantile %v", q)
		require.LessOrEqual(t, upper, float64(ns)/1e9*math.Pow(2, 1.0/8)*1.002, "quantile %v", q)
	}
	previous := uint64(0)
	for _, b := range h.Bucket { // cumulative
		require.GreaterOrEqual(t, b.GetCumulativeCount(), previous)
		previous = b.GetCumulativeCount()
		if b.GetUpperBound() < float64(want.Min)/1e9*0.998 {
			require.Zero(t, previous, "nothing is below the least")
		}
		if b.GetUpperBound() > float64(want.Max)/1e9*1.002 {
			require.EqualValues(t, want.Count, previous, "nothing is above the most")
		}
	}
}

// nativeQuantile is the upper end of the bucket of a native histogram that holds the quantile.
func nativeQuantile(h *dto.Histogram, q float64) float64 {
	rank := max(1, int64(q*float64(h.GetSampleCount())+0.5)) // as HdrHistogram has it
	seen := int64(h.GetZeroCount())
	if seen >= rank {
		return 0
	}
	index, count, k := int32(0), int64(0), 0
	for _, span := range h.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			count += h.PositiveDelta[k]
			k++
			if seen += count; seen >= rank {
				return math.Pow(2, float64(index)/math.Pow(2, float64(h.GetSchema())))
			}
			index++
		}
	}
	return math.Inf(1)
}

// What a scraper gets is what it asked for, and client_golang's own parsers read it.
func TestServerFormats(t *testing.T) {
	r, live := ran(t, scenarios["handshake"])
	s, err := Serve("127.0.0.1:0", NewCollector("bench", live.Read), false)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	get := func(accept string) (*http.Response, []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/metrics", nil)
		require.NoError(t, err)
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		return resp, b
	}
	established := float64(r.Handshakes.Established)

	_, text := get("text/plain")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	require.EqualValues(t, established, sum(families["fastsyn_opens_total"], "outcome", "established"))
	require.NotNil(t, families["go_goroutines"])
	require.Len(t, families["fastsyn_bench_latency_seconds"].Metric[0].Histogram.Bucket, len(bounds)+1, "and infinity")

	resp, open := get("application/openmetrics-text; version=1.0.0")
	require.Contains(t, resp.Header.Get("Content-Type"), "application/openmetrics-text")
	require.True(t, bytes.HasSuffix(open, []byte("# EOF\n")))
	require.Contains(t, string(open), "fastsyn_opens_created{")

	resp, binary := get("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	decoder := expfmt.NewDecoder(bytes.NewReader(binary), expfmt.ResponseFormat(resp.Header))
	found := false
	for {
		var f dto.MetricFamily
		if err := decoder.Decode(&f); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		if f.GetName() == "fastsyn_bench_latency_seconds" {
			found = true
			same(t, r.Latency, &f)
			require.EqualValues(t, schema, f.Metric[0].Histogram.GetSchema())
			require.NotEmpty(t, f.Metric[0].Histogram.PositiveSpan, "native")
			require.NotEmpty(t, f.Metric[0].Histogram.Bucket, "and classic")
		}
	}
	require.True(t, found)
}

// Nobody is in the metrics whom a stranger could multiply: the labels are few, and known.
func TestLabels(t *testing.T) {
	_, live := ran(t, scenarios["http"])
	known := map[string]bool{
		"end": true, "worker": true, "reason": true, "outcome": true, "answer": true, "result": true, "segment": true, "fate": true, "kind": true,
		"use": true, "counter": true, "phase": true, "scenario": true, "port": true, "polling": true, "revision": true, "goversion": true,
	}
	for name, f := range gathered(t, NewCollector("bench", live.Read)) {
		require.Less(t, len(f.Metric), 200, name)
		for _, m := range f.Metric {
			for _, l := range m.Label {
				require.True(t, known[l.GetName()], "%s{%s}", name, l.GetName())
			}
		}
	}
}

// Scrapes while a run goes on, from several at a time, see counters that only grow, and sums that close.
func TestScrapeWhileRunning(t *testing.T) {
	live := new(bench.Live)
	c := NewCollector("bench", func(time.Duration) bench.Snapshot { return live.Read(0) })
	require.NotNil(t, gathered(t, c)["fastsyn_build_info"], "before anything runs")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan *bench.Report, 1)
	go func() {
		r, err := bench.Run(ctx, bench.Config{Duration: time.Hour, Workers: 2, Polling: "adaptive", Pin: "off", Drain: -1, Live: live}, nil)
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	scraped := make(chan bool, 3)
	for range cap(scraped) {
		go func() {
			last := 0.0
			for grown := 0; grown < 5; {
				m, err := gather(c)
				if err != nil {
					t.Error(err)
					break
				}
				now := sum(m["fastsyn_opens_total"], "end", "client", "outcome", "established")
				for _, h := range m["fastsyn_bench_latency_seconds"].GetMetric() {
					if done := sum(m["fastsyn_bench_done_total"]); float64(h.Histogram.GetSampleCount()) != done {
						t.Errorf("%d samples of %v handshakes", h.Histogram.GetSampleCount(), done)
					}
				}
				if now < last {
					t.Errorf("%v after %v", now, last)
				}
				if now > last {
					grown++
				}
				last = now
			}
			scraped <- true
		}()
	}
	for range cap(scraped) {
		<-scraped
	}
	cancel()
	r := <-ended
	require.NotNil(t, r)
	require.EqualValues(t, r.Handshakes.Established, sum(gathered(t, c)["fastsyn_bench_done_total"]))
}

// Bucket borders belong to the bucket below, in both forms.
func TestHistogramBorders(t *testing.T) {
	h := hdrhistogram.New(1, int64(time.Hour), 3)
	for _, ns := range []int64{0, 1, 1000, 1024, 2048, int64(time.Minute)} {
		require.NoError(t, h.RecordValue(ns))
	}
	out := make(chan prometheus.Metric, 1)
	(&emitter{out: out, begin: time.Unix(1, 0)}).histogram(latencyFamily("", "x"), &bench.Distribution{Hist: h})
	var m dto.Metric
	require.NoError(t, (<-out).Write(&m))
	require.EqualValues(t, 6, m.Histogram.GetSampleCount())
	require.EqualValues(t, 1, m.Histogram.GetZeroCount())
	cumulative := map[float64]uint64{}
	for _, b := range m.Histogram.Bucket {
		cumulative[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	require.EqualValues(t, 2, cumulative[1e-7])
	require.EqualValues(t, 3, cumulative[1e-6], "1 µs is not above 1 µs")
	require.EqualValues(t, 5, cumulative[2.5e-6])
	require.EqualValues(t, 5, cumulative[50], "a minute is above all")
	require.EqualValues(t, 1, m.Histogram.GetCreatedTimestamp().AsTime().Unix())
	empty := hdrhistogram.New(1, 10, 1)
	(&emitter{out: out}).histogram(latencyFamily("", "x"), &bench.Distribution{Hist: empty})
	require.NoError(t, (<-out).Write(&m))
	require.NotEmpty(t, m.Histogram.PositiveSpan, "still a native histogram")
}

// A server of which nothing was counted yet, and one with counters that no report knows.
func TestServeSnapshot(t *testing.T) {
	s := bench.Snapshot{
		At: time.Now(), Scenario: "serve", Port: "afpacket:x", Phase: bench.PhaseSending,
		Ends: []bench.End{{Name: "server", Workers: []worker.Stats{{}, {Worker: 1}}, Lost: make([]map[string]uint64, 2), Device: map[string]uint64{"rx_no_dma": 3}}},
		Work: []bench.Work{{Counts: []bench.Count{{Family: "requests", N: 2}, {Family: "backlog_chunks_now", N: 7}, {Family: "backlog_chunks_high", N: 9}}}, {}},
	}
	c := NewCollector("serve", func(time.Duration) bench.Snapshot { return s })
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
	m := gathered(t, c)
	require.EqualValues(t, 2, sum(m["fastsyn_serve_requests_total"], "worker", "0"))
	require.Equal(t, dto.MetricType_GAUGE, m["fastsyn_serve_backlog_chunks"].GetType())
	require.Equal(t, dto.MetricType_GAUGE, m["fastsyn_serve_backlog_chunks_high"].GetType())
	require.EqualValues(t, 3, sum(m["fastsyn_device_counters_total"], "end", "server", "counter", "rx_no_dma"))
	require.Len(t, m["fastsyn_half_open"].Metric, 2)
	require.Nil(t, m["fastsyn_bench_done_total"])
}

// Whatever a scenario counts has a name that the linter takes, and one meaning.
func TestEveryScenario(t *testing.T) {
	few := map[string]bench.Config{
		bench.ScenarioMixed:       {Rate: 500, Duration: 300 * time.Millisecond},
		bench.ScenarioConcurrency: {Concurrency: 50, Hold: 100 * time.Millisecond},
		bench.ScenarioChurn:       {Concurrency: 50, Lifetime: 50 * time.Millisecond, Duration: 300 * time.Millisecond},
		bench.ScenarioTimeout:     {Count: 20, SYNRetries: 1, InitialRTO: 20 * time.Millisecond},
	}
	for _, s := range bench.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			config, ok := few[s.Name]
			if !ok {
				config.Count = 100
			}
			config.Scenario = s.Name
			_, live := ran(t, config)
			c := NewCollector("bench", live.Read)
			problems, err := testutil.CollectAndLint(c)
			require.NoError(t, err)
			require.Empty(t, problems)
			require.NotNil(t, gathered(t, c)["fastsyn_bench_done_total"])
		})
	}
}
