package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// said is what a command prints, for a test to look at meanwhile.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// url waits for the address that the command says its metrics are at.
func (s *said) url(t *testing.T) (metrics string) {
	t.Helper()
	pattern := regexp.MustCompile(`metrics on (http://\S+/metrics)`)
	require.Eventually(t, func() bool { return pattern.MatchString(s.String()) }, time.Minute, time.Millisecond)
	return pattern.FindStringSubmatch(s.String())[1]
}

// scrape reads the metrics of a command that runs.
func scrape(t *testing.T, url string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(fetch(t, url)))
	require.NoError(t, err)
	return families
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, string(b))
	return string(b)
}

func total(f *dto.MetricFamily) (n float64) {
	for _, m := range f.GetMetric() {
		n += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return n
}

// A run answers while it goes on, profiles know its workers, and nothing listens when it is over.
func TestBenchMetrics(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, err said
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, strings.Fields("bench --duration 1h --rate 20000 --metrics 127.0.0.1:0 --pprof --view none --polling adaptive --pin off"), strings.NewReader(""), &out, &err)
	}()
	url := err.url(t)
	require.Eventually(t, func() bool { return total(scrape(t, url)["fastsyn_bench_done_total"]) > 100 }, time.Minute, 10*time.Millisecond)
	m := scrape(t, url)
	require.Positive(t, total(m["fastsyn_bench_latency_seconds"]))
	require.Positive(t, total(m["fastsyn_bench_response_seconds"]))
	base := strings.TrimSuffix(url, "/metrics")
	require.Contains(t, fetch(t, base+"/"), "/debug/pprof/")
	goroutines := fetch(t, base+"/debug/pprof/goroutine?debug=1")
	require.Contains(t, goroutines, `"role":"client"`)
	require.Contains(t, goroutines, `"role":"server"`)
	require.Contains(t, goroutines, `"worker":"0"`)
	cancel()
	require.Zero(t, <-code, err.String())
	require.Contains(t, out.String(), "VALID: all sums close")
	_, dial := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	require.Error(t, dial)
}

// Without --pprof there are no profiles.
func TestNoProfiles(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out, err said
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, strings.Fields("bench --duration 1h --rate 100 --metrics 127.0.0.1:0 --quiet --polling adaptive --pin off"), strings.NewReader(""), &out, &err)
	}()
	base := strings.TrimSuffix(err.url(t), "/metrics")
	resp, e := http.Get(base + "/debug/pprof/") //nolint:noctx // of this process
	require.NoError(t, e)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	cancel()
	<-code
}

func TestLiveUsage(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, taken.Close()) }()
	for args, want := range map[string]string{
		"--metrics " + taken.Addr().String(): "another program listens there; choose another port",
		"--metrics 9464":                     "--metrics 9464: want HOST:PORT; for example 127.0.0.1:9464",
		"--metrics 192.0.2.1:9464":           "not an address of the kernel on this machine",
		"--metrics 127.0.0.1:99999":          "--metrics 127.0.0.1:99999: invalid port; give an address",
		"--pprof":                            "--pprof: there is no address to answer at; add --metrics 127.0.0.1:9464",
		"--view tiu":                         `did you mean "tui"?`,
		"--view tui":                         "--view tui: standard error is no terminal that can be drawn on; use --view auto or lines",
		"--quiet --view lines":               "--quiet: --view lines says what is shown",
	} {
		code, _, text := fastsynCmd(t, append([]string{"bench", "--count", "1"}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, code, args+"\n"+text)
		require.Contains(t, text, want, args)
	}
}

// A server under load is in its metrics, the time of its handshakes too, and in the end they are its report.
func TestServeMetrics(t *testing.T) {
	a, b, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	o := &serveFlags{app: "echo-once", cookies: "never", polling: "adaptive", listen: []string{":80"}}
	o.live.metrics, o.live.quiet = "127.0.0.1:0", true
	require.NoError(t, o.flags())
	require.NoError(t, o.live.check())
	o.cfg.Device, o.cfg.Port, o.cfg.Addrs = a, "loop:test", []string{"198.18.0.1/16"}
	cmd := newServe()
	var out said
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cmd.SetContext(ctx)
	done := make(chan error, 1)
	go func() { done <- o.serve(cmd) }()
	url := out.url(t)

	const n = 7
	got, why := make(chan string, n), make(chan fastsyn.CloseReason, n)
	ep, err := fastsyn.Open(fastsyn.Config{Device: b, Addrs: []string{"198.18.1.1/16"}, Source: func(int) fastsyn.Source {
		return &dialer{n: n, got: got, why: why}
	}})
	require.NoError(t, err)
	for range n {
		<-got
		<-why
	}
	var m map[string]*dto.MetricFamily
	require.Eventually(t, func() bool {
		m = scrape(t, url)
		return total(m["fastsyn_flows_closed_total"]) == n
	}, time.Minute, 10*time.Millisecond)
	require.EqualValues(t, n, total(m["fastsyn_stream_open"])+total(m["fastsyn_stream_ended_total"]))
	require.EqualValues(t, n, total(m["fastsyn_serve_handshake_rtt_seconds"]))
	require.EqualValues(t, 5*n, total(m["fastsyn_stream_receive_bytes_total"]))
	require.EqualValues(t, 1, total(m["fastsyn_serve_info"]))
	ep.Stop()
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, ep.Close())
	require.Contains(t, out.String(), "VALID: all sums close")
}

// What a server says of its limits names the first cause.
func TestServeLimits(t *testing.T) {
	p := func(busy float64, pressure uint64, drops map[string]uint64) *measure.Progress {
		p := &measure.Progress{Interval: time.Second, Drops: drops, Load: [][]float64{{busy / 2, busy}}}
		p.Now.Ends = []measure.End{{Name: "server"}}
		p.Now.Ends[0].Workers = append(p.Now.Ends[0].Workers, measureStats(0), measureStats(pressure))
		return p
	}
	for _, tc := range []struct {
		p    *measure.Progress
		want string
	}{
		{p(0.07, 0, nil), "nothing here: the busiest worker has work 7 % of the time."},
		{p(0.97, 0, nil), "the processor: worker 1 is busy 97 %."},
		{p(0.97, 1, nil), "half-open connections: 1 of 2 workers are above the high mark and send SYN cookies."},
		{p(0.5, 1, map[string]uint64{"rx_missed": 5000}), "the device: 5,000 frames/s found the receive ring full (busiest worker 50 %)."},
		{p(0.99, 0, map[string]uint64{"rx_missed": 5000}), "the processor: worker 1 is busy 99 %, and 5,000 frames/s found the receive ring full."},
		{p(0.5, 0, map[string]uint64{"tx_ring_full": 10}), "the device: 10 frames/s found the transmit ring full."},
	} {
		require.Equal(t, tc.want, serveLimits(tc.p))
	}
}

// The labels of a worker are its own, not those of whoever started it.
func TestProfileLabelsEnd(t *testing.T) {
	code, _, text := fastsynCmd(t, "bench", "--count", "10", "--quiet", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, text)
	var b bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&b, 1))
	require.NotContains(t, b.String(), `"role":"client"`)
}

func measureStats(pressure uint64) (s worker.Stats) {
	s.Engine.UnderPressure = pressure
	return s
}
