package bench

import (
	"bytes"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
)

// shardOf is a small report with a histogram and two seconds.
func shardOf(t *testing.T, n uint64, ns int64) *Report {
	r := &Report{
		Schema: Schema, Scenario: ScenarioHandshake, Port: "loop:", Workers: 2, Concurrency: 8, DurationS: 2, Seed: n, Close: CloseRST,
		Handshakes: Handshakes{Attempted: n, Established: n}, Flows: Flows{Aborted: n},
		Rate: Rate{HandshakesPerS: float64(n) / 2}, Drops: map[string]uint64{"arp_ignored": 1}, TargetRate: 10, CPUSeconds: 1,
		Config: map[string]any{"seed": float64(n), "retry": "linux", "rate": 10.0},
		Client: Side{Workers: 2, Busy: 0.5, PortJSON: map[string]uint64{"tx_full": n}, Counters: map[string]uint64{"attempted": n}},
		Intervals: []Interval{
			{AtS: 1, LengthS: 1, Attempted: n, Done: n, PerS: float64(n), Latency: Latency{Count: int64(n), Min: ns, Max: ns, Mean: float64(ns), P99: ns}, Heat: []HeatCell{{NS: ns, N: n}}},
		},
		Host: Host{CPU: "A", Cores: 2},
	}
	h := hdrhistogram.New(1, maxLatency, 3)
	require.NoError(t, h.RecordValues(ns, int64(n)))
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	require.NoError(t, err)
	r.Histograms = map[string]string{"latency": string(b)}
	r.Latency = summarize(h)
	r.equation("attempted = established", n, n)
	r.judge()
	return r
}

func TestMerge(t *testing.T) {
	a, b := shardOf(t, 900, 1000), shardOf(t, 100, 9000)
	b.Intervals = append(b.Intervals, Interval{AtS: 2, Done: 7, Draining: true})
	b.Host.CPU = "B"
	m, err := Merge([]*Report{saved(t, a), saved(t, b)}, []string{"a", "b"})
	require.NoError(t, err)
	require.True(t, m.Valid, m.InvalidReason)
	require.Equal(t, Handshakes{Attempted: 1000, Established: 1000}, m.Handshakes)
	require.Equal(t, 500.0, m.Rate.HandshakesPerS)
	require.Equal(t, 4, m.Workers)
	require.Equal(t, 16, m.Concurrency)
	require.Equal(t, 20.0, m.TargetRate)
	require.Equal(t, 2.0, m.DurationS)
	require.Equal(t, uint64(0), m.Seed)
	require.Equal(t, map[string]uint64{"arp_ignored": 2}, m.Drops)
	require.Equal(t, map[string]any{"retry": "linux"}, m.Config, "what was the same")
	require.Equal(t, uint64(1000), m.Client.Port.TxFull)
	require.Equal(t, "A | B", m.Host.CPU)
	require.Equal(t, uint64(1000), m.Equations[0].Left)

	// The percentiles are those of all samples: 90 % took 1 µs, 10 % nine.
	require.Equal(t, int64(1000), m.Latency.Count)
	require.Equal(t, int64(1000), m.Latency.P90)
	require.InEpsilon(t, 9000, m.Latency.P99, 0.001)
	require.InEpsilon(t, 1800, m.Latency.Mean, 0.001)
	h, err := hdrhistogram.Decode([]byte(m.Histograms["latency"]))
	require.NoError(t, err)
	require.Equal(t, int64(1000), h.TotalCount())

	require.Len(t, m.Intervals, 2)
	i := m.Intervals[0]
	require.Equal(t, uint64(1000), i.Done)
	require.Equal(t, 1000.0, i.PerS)
	require.Equal(t, int64(1800), int64(i.Latency.Mean))
	require.Equal(t, int64(9000), i.Latency.P99)
	require.InDelta(t, 2400, i.Latency.StdDev, 0.1)
	require.Equal(t, []HeatCell{{1000, 900}, {9000, 100}}, i.Heat)
	require.Equal(t, uint64(7), m.Intervals[1].Done)

	conforms(t, m)
	require.Equal(t, int64(900), a.Latency.Count, "the shards are left alone")
	require.Equal(t, 900.0, float64(a.Intervals[0].Done))

	// In any order, in any grouping.
	c := shardOf(t, 50, 400)
	left, err := Merge([]*Report{m, c}, []string{"m", "c"})
	require.NoError(t, err)
	right, err := Merge([]*Report{c, b, a}, []string{"c", "b", "a"})
	require.NoError(t, err)
	require.Equal(t, left.Latency, right.Latency)
	require.Equal(t, left.Handshakes, right.Handshakes)
	var one, two bytes.Buffer
	require.NoError(t, left.WriteText(&one))
	require.NoError(t, right.WriteText(&two))
	require.NotEmpty(t, one.String())

	alone, err := Merge([]*Report{a}, []string{"a"})
	require.NoError(t, err)
	require.Same(t, a, alone)
}

func TestMergeRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change     func(r *Report)
		at, reason string
	}{
		"scenario": {func(r *Report) { r.Scenario = ScenarioHTTP }, "scenario", "not shards of one run"},
		"peer":     {func(r *Report) { r.Connect = "10.0.0.9:80" }, "connect", "but a has "},
		"setting":  {func(r *Report) { r.Config["retry"] = "bsd" }, "config.retry", "bsd, but a has linux"},
		"search":   {func(r *Report) { r.Search = &Search{} }, "search", "cannot be added"},
		"garbled":  {func(r *Report) { r.Histograms["latency"] = "AAAA" }, "histograms.latency", "not an HdrHistogram"},
		"none":     {func(r *Report) { r.Histograms, r.Response.Count = nil, 5 }, "histograms", `no histogram "response"`},
	} {
		t.Run(name, func(t *testing.T) {
			b := shardOf(t, 100, 9000)
			tc.change(b)
			reports := []*Report{shardOf(t, 900, 1000), b}
			if name == "none" {
				reports[0].Response.Count = 1
			}
			_, err := Merge(reports, []string{"a", "b"})
			var e *FileError
			require.ErrorAs(t, err, &e)
			require.Equal(t, "b", e.File)
			require.Equal(t, tc.at, e.At)
			require.Contains(t, e.Reason, tc.reason)
		})
	}

	// One that is invalid makes the sum invalid.
	b := shardOf(t, 100, 9000)
	b.equation("one and one", 1, 2)
	b.judge()
	m, err := Merge([]*Report{shardOf(t, 900, 1000), b}, []string{"a", "b"})
	require.NoError(t, err)
	require.False(t, m.Valid)
}

// Nothing that counts is forgotten: every counter of the sum of a report and itself is twice that of the report.
func TestMergeAddsEveryCounter(t *testing.T) {
	r := sample()
	r.Samples, r.Histograms, r.Latency, r.Config = nil, nil, Latency{}, nil
	r.SYNFlood.Unanswered = r.SYNFlood.Sent - r.SYNFlood.Answered - r.SYNFlood.Reset
	m, err := Merge([]*Report{r, saved(t, r)}, []string{"a", "b"})
	require.NoError(t, err)
	require.Equal(t, 2*r.SYNFlood.Sent, m.SYNFlood.Sent)
	require.Equal(t, 2*r.Client.Counters["attempted"], m.Client.Counters["attempted"])
	require.Equal(t, 2*r.Client.Device["rx_q0_errors"], m.Client.Device["rx_q0_errors"])
	require.Equal(t, 2*r.Frames.TX, m.Frames.TX)
	require.Equal(t, 2*r.Handshakes.Unsent, m.Handshakes.Unsent)
	require.Equal(t, 2*r.Client.Port.TxFrames, saved(t, m).Client.Port.TxFrames)
	require.Equal(t, r.Host, m.Host)
}
