package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/handshake"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample is a report with every field filled in.
func sample() *Report {
	r := &Report{
		Schema: Schema, Scenario: ScenarioHandshake, Port: "loop:", Workers: 1, Concurrency: 256, TargetRate: 0,
		DurationS: 5.000123, DrainS: 0.00042, Seed: 42, Close: CloseRST, Cookies: "pressure", Polling: "busy", Pinned: true,
		Handshakes: Handshakes{
			Attempted: 11_234_567, Established: 11_234_560, Refused: 1, TimedOut: 2, Unreachable: 1, Reset: 1, Pending: 2,
			PortPoolExhausted: 3, TableFull: 4, Unsent: 5,
		},
		Flows:           Flows{Done: 0, Aborted: 11_234_559, Reset: 1},
		SYNFlood:        SYNFlood{Sent: 30_000_000, Answered: 29_999_000, Reset: 10, Unanswered: 990, Repeated: 7, Bad: 0, Stalls: 1},
		Rate:            Rate{HandshakesPerS: 2246856.7, SYNsPerS: 6e6, AnsweredPerS: 5999800},
		Retransmissions: Retransmissions{SYN: 12, SYNACK: 1, FIN: 0},
		Latency:         Latency{Count: 11_234_560, Min: 12_800, Mean: 113_000.5, StdDev: 4000, P50: 112_000, P90: 120_000, P99: 140_000, P999: 250_000, Max: 1_001_000_000},
		Frames:          FrameCount{RX: 11_234_564, TX: 33_703_680},
		Drops:           map[string]uint64{"arp_ignored": 2, "ndp_ignored": 4, "impair_tx_lost": 0},
		CPUSeconds:      9.98,
		Client: Side{
			Workers: 1, Busy: 0.93, Burst: 31.4, Memory: "268 KiB plain", Drops: map[string]uint64{"arp_ignored": 1},
			Device: map[string]uint64{"rx_q0_errors": 12, "rx_good_packets": 11_234_564},
			Port:   dataplane.Stats{TxFrames: 33_703_680},
		},
		Server: &Side{Workers: 1, Busy: 0.997, Burst: 61.2, Memory: "524 KiB plain", Drops: map[string]uint64{"arp_ignored": 1}},
		Host:   Host{CPU: "Example CPU @ 2.0GHz", Cores: 2, Kernel: "Linux 6.18.0", Go: "go1.26.8", Commit: "0123456789ab"},
	}
	for _, s := range []*Side{&r.Client, r.Server} {
		s.PortJSON, s.Counters, s.StreamCounters = portMap(&s.Port), CounterMap(&s.Engine), map[string]uint64{}
	}
	r.equation("attempted = established + refused + timed out + unreachable + reset + pending", 11_234_567, 11_234_567)
	r.equation("established by the client = accepted by the server", 11_234_560, 11_234_560)
	r.judge()
	r.Limiter = workers(r, "opens")
	return r
}

func TestTextReport(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteText(&b))
	b.WriteString("\n=====\n\n")

	f := sample()
	f.Scenario, f.Connect, f.Server, f.Cookies, f.TargetRate = ScenarioSYNFlood, "10.0.0.9:80", nil, "", 6e6
	f.Equations = nil
	f.equation("sent = answered + reset + unanswered", 30_000_000, 29_999_999)
	f.judge()
	f.Limiter = limiter(f)
	require.NoError(t, f.WriteText(&b))
	b.WriteString("\n=====\n\n")

	e := sample()
	e.Scenario, e.PeerMAC, e.Server, e.Close, e.Cookies, e.Client.Memory = ScenarioEcho, "02:00:00:00:00:01", nil, "", "", ""
	e.Echo = Echo{Sent: 50_000_000, Returned: 49_999_000, Lost: 990, InFlight: 10, Reordered: 7, Foreign: 3}
	e.Rate = Rate{FramesPerS: 10_000_000, ReturnedPerS: 9_999_800}
	e.Equations = nil
	e.equation("sent = returned + lost + in flight", 50_000_000, 50_000_000)
	e.judge()
	e.Limiter = limiter(e)
	require.NoError(t, e.WriteText(&b))

	b.WriteString("\n=====\n\n")

	h := sample()
	h.Scenario, h.Close, h.Connect, h.Server, h.Cookies, h.TimeWaitS = ScenarioHTTP, CloseFIN, "10.0.0.9:80", nil, "", 1.5
	h.HTTP = HTTP{
		Body: 1024, Requests: 2, Path: "/", Attempted: 11_234_567, Complete: 11_000_000, NotConnected: 5, BadResponse: 3, Short: 234_556, Reset: 1, Pending: 2,
		RequestsSent: 22_469_000, Responses: 22_000_000, Failed: map[string]uint64{"wrong status": 3, "truncated": 468_997, "cut": 0}, ContentBytes: 22_528_000_000,
		FirstByte: h.Latency, Total: h.Latency,
	}
	h.Rate = Rate{TransactionsPerS: 2_000_000, ResponsesPerS: 4_000_000, ContentBytesPerS: 4_096_000_000}
	h.Retransmissions.Stream = 77
	h.Equations = nil
	h.equation("streams opened = established", 11_234_560, 11_234_560)
	h.judge()
	h.Limiter = limiter(h)
	require.NoError(t, h.WriteText(&b))

	const golden = "testdata/report.golden"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "go test ./bench -run TextReport -update rewrites it")
}

func TestProgressLine(t *testing.T) {
	p := Progress{Elapsed: 3 * time.Second, PerS: 2_012_345, Done: 6_000_000, Failed: 12, InFlight: 256, P50: 110 * time.Microsecond, P99: 2 * time.Millisecond}
	require.Equal(t, "   3.0s     2,012,345/s  done 6,000,000      failed 12        in flight 256     p50 110µs    p99 2ms     ", p.String())
}

// kinds walks a type and names the kind at each path. Maps are leaves, and what docs/report.md
// describes in a section of its own.
func kinds(path string, typ reflect.Type, out map[string]string) {
	switch typ {
	case reflect.TypeFor[Latency]():
		out[path] = "latency"
		return
	case reflect.TypeFor[Quantile]():
		out[path] = "quantile"
		return
	}
	switch typ.Kind() {
	case reflect.Pointer:
		kinds(path, typ.Elem(), out)
	case reflect.Slice:
		kinds(path+"[]", typ.Elem(), out)
	case reflect.Map:
		out[path] = map[reflect.Kind]string{reflect.Uint64: "counters", reflect.String: "strings", reflect.Interface: "settings"}[typ.Elem().Kind()]
	case reflect.String:
		out[path] = "string"
	case reflect.Bool:
		out[path] = "boolean"
	case reflect.Float64:
		out[path] = "number"
	case reflect.Struct:
		for i := range typ.NumField() {
			f := typ.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			if path != "" {
				name = path + "." + name
			}
			kinds(name, f.Type, out)
		}
	default:
		out[path] = "integer"
	}
}

// docs/report.md names exactly the fields there are, with their types, in a section for each schema.
func TestReportIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/report.md")
	require.NoError(t, err)
	for schema, typ := range map[string]reflect.Type{Schema: reflect.TypeFor[Report](), ReflectSchema: reflect.TypeFor[ReflectReport]()} {
		fields := map[string]string{}
		kinds("", typ, fields)
		_, section, found := strings.Cut(string(doc), "\n## `"+schema+"`")
		require.True(t, found, schema)
		section, _, _ = strings.Cut(section, "\n## ")
		section, _, _ = strings.Cut(section, "\n### `")
		documented := map[string]string{}
		for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (\\w+) \\|").FindAllStringSubmatch(section, -1) {
			require.NotContains(t, documented, m[1])
			documented[m[1]] = m[2]
		}
		require.Equal(t, fields, documented)
	}
	for heading, typ := range map[string]reflect.Type{"latency": reflect.TypeFor[Latency](), "quantile": reflect.TypeFor[Quantile]()} {
		_, section, found := strings.Cut(string(doc), "\n### `"+heading+"`")
		require.True(t, found, heading)
		section, _, _ = strings.Cut(section, "\n#")
		for i := range typ.NumField() {
			require.Contains(t, section, "| `"+typ.Field(i).Tag.Get("json")+"` |")
		}
	}
}

// What issue and schema promise is in the JSON, with the right types.
func TestReportJSON(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteJSON(&b))
	var m map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &m))
	require.Equal(t, "fastsyn.report/v1", m["schema"])
	require.Equal(t, true, m["valid"])
	for key, names := range map[string]string{
		"handshakes":      "attempted established refused timed_out reset pending unreachable",
		"rate":            "handshakes_per_s",
		"latency_ns":      "count min p50 p90 p99 p999 max mean stddev",
		"frames":          "rx tx",
		"host":            "cpu cores kernel go commit",
		"syn_flood":       "sent answered reset bad unanswered",
		"retransmissions": "syn",
	} {
		got := slices.Collect(maps.Keys(m[key].(map[string]any)))
		require.Subset(t, got, strings.Fields(names), key)
	}
	for _, key := range []string{"scenario", "port", "workers", "duration_s", "seed", "drops", "limiter"} {
		require.Contains(t, m, key)
	}
	var back Report
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, sample().Handshakes, back.Handshakes)

	r := sample()
	r.equation("one and one", 1, 2)
	r.judge()
	require.False(t, r.Valid)
	require.Equal(t, "one and one: 1 is not 2", r.InvalidReason)
}

func TestCounterMapIsComplete(t *testing.T) {
	var c handshake.Counters
	v := reflect.ValueOf(&c).Elem()
	n, at := 0, uint64(1)
	for _, s := range []reflect.Value{v, v.FieldByName("FastOpen")} {
		for i := range s.NumField() {
			if f := s.Field(i); f.Kind() == reflect.Uint64 {
				f.SetUint(at)
				at++
				n++
			}
		}
	}
	m := CounterMap(&c)
	require.Len(t, m, n+handshake.NumOutcomes)
	seen := map[uint64]bool{}
	for _, x := range m {
		seen[x] = true
	}
	require.Len(t, seen, n+1, "each counter has a name of its own")
}

func TestLimiter(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		change     func(r *Report)
	}{
		{"both", "the server's first", func(r *Report) { r.Client.Busy = 0.99 }},
		{"server", "the server's processor", func(*Report) {}},
		{"client", "the client's processor", func(r *Report) { r.Client.Busy, r.Server.Busy = 0.99, 0.5 }},
		{"latency", "256 in flight with a mean of 113µs", func(r *Report) { r.Server.Busy = 0.2 }},
		{"stolen", "other processes", func(r *Report) { r.CPUSeconds = 4 }},
		{"rate", "1,000 opens/s on a fixed schedule", func(r *Report) { r.TargetRate = 1000 }},
		{"tx full", "the device: 1,000,000 frames found the client's transmit ring full", func(r *Report) { r.Client.Port.TxFull = 1e6 }},
		{"server tx full", "the server's transmit ring full", func(r *Report) { r.Server.Port.TxFull = 1e6 }},
		{"both tx full", "2,000,000 frames found the client's transmit ring full", func(r *Report) { r.Client.Port.TxFull, r.Server.Port.TxFull = 2e6, 1e6 }},
		{"a few tx full", "the server's processor", func(r *Report) { r.Server.Port.TxFull = 1e3 }},
		{"rx missed", "the server's processor: its worker is busy 100 %, and 1,000,000 frames found its receive ring full", func(r *Report) { r.Server.Port.RxMissed = 1e6 }},
		{"rx missed, idle", "the device: 1,000,000 frames found the client's receive ring full (worker busy 50 %", func(r *Report) { r.Client.Port.RxMissed, r.Client.Busy = 1e6, 0.5 }},
		{"rx missed, keeps up", "the device: 1,000,000 frames found the server's", func(r *Report) { r.Server.Port.RxMissed, r.Server.Burst = 1e6, 9 }},
		{"rto", "retransmissions", func(r *Report) { r.Retransmissions.SYN = 1e6 }},
		{"ports", "source ports: 1,000 times no tuple was free, and at least 20 % of the time passed in waiting", func(r *Report) { r.Handshakes.PortPoolExhausted = 1000 }},
		{"a few laps of the ports", "the server's processor", func(r *Report) { r.Handshakes.PortPoolExhausted = 50 }},
		{"backlog", "the server's queues: 50,000 segments of 11,234,567 attempts found its accept queue full", func(r *Report) { r.Server.Drops["accept_queue_full"] = 50_000 }},
		{"behind", "concurrency: the schedule is 1,000,000 opens behind. 256 in flight with a mean of 113µs make at most 2,265,477/s, less than the 5,000,000/s", func(r *Report) {
			r.TargetRate, r.Handshakes.Unsent = 5e6, 1e6
		}},
		{"behind, busy", "the server's processor", func(r *Report) {
			r.TargetRate, r.Handshakes.Unsent, r.Client.Busy, r.Server.Busy = 5e6, 1e6, 0.5, 0.99
			r.Concurrency = 1e6
		}},
		{"skew", "RSS skew: worker 1 of the server's 3 had 60 % of the frames and was busy 99 %, the others 35 %", func(r *Report) {
			r.Server.PerWorker = []Share{{RxFrames: 20, Busy: 0.3}, {RxFrames: 60, Busy: 0.99}, {RxFrames: 20, Busy: 0.4}}
		}},
		{"even", "the server's processor", func(r *Report) {
			r.Server.PerWorker = []Share{{RxFrames: 33, Busy: 0.97}, {RxFrames: 34, Busy: 0.99}, {RxFrames: 33, Busy: 0.98}}
		}},
		{"table", "TIME-WAIT", func(r *Report) { r.Handshakes.TableFull = 1 }},
		{"refused", "refused 11,000,000 of 11,234,567", func(r *Report) { r.Handshakes.Refused = 11e6 }},
		{"unreachable", "ICMP", func(r *Report) { r.Handshakes.Unreachable = 11e6 }},
		{"silence", "no answer", func(r *Report) { r.Handshakes.Established = 0 }},
		{"nothing", "nothing was sent", func(r *Report) { r.Handshakes.Attempted = 0 }},
		{"alone", "the peer may take more", func(r *Report) { r.Server, r.Client.Busy, r.Client.Burst = nil, 0.99, 60 }},
		{"alone, few places", "the peer may take more", func(r *Report) { r.Server, r.Client.Busy, r.Client.Burst, r.Concurrency = nil, 0.99, 7, 8 }},
		{"fed slowly", "the peer, or a device on the way: client worker busy 99 %, but in bursts of only 12.0", func(r *Report) {
			r.Server, r.Client.Busy, r.Client.Burst = nil, 0.99, 12
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := sample()
			r.Handshakes.PortPoolExhausted, r.Handshakes.TableFull, r.Handshakes.Unsent = 0, 0, 0
			tc.change(r)
			require.Contains(t, limiter(r), tc.want)
		})
	}
	f := sample()
	f.Scenario = ScenarioSYNFlood
	f.SYNFlood.Stalls = 0
	require.Contains(t, limiter(f), "the server's processor")
	f.SYNFlood.Unanswered = 1e6
	require.Contains(t, limiter(f), "the peer, or a device on the way: 1,000,000 of 30,000,000 SYNs got no answer")
	f.SYNFlood.Stalls = 2
	require.Contains(t, limiter(f), "answered nothing for 100 ms")
	f.SYNFlood.Answered, f.SYNFlood.Reset = 0, 5
	require.Contains(t, limiter(f), "by RST")
	f.SYNFlood.Reset = 0
	require.Contains(t, limiter(f), "no answer to 30,000,000 SYNs")

	for _, tc := range []struct {
		name, want string
		change     func(r *Report)
	}{
		{"server", "the server's processor", func(*Report) {}},
		{"refused", "refused 11,000,000 of 11,234,567", func(r *Report) { r.Handshakes.Refused = 11e6 }},
		{"wrong", "6,000,000 of 11,234,567 transactions failed: 6,000,000 bad responses, 0 short, 0 reset, 0 broken; of the requests: wrong status 6,000,000", func(r *Report) {
			r.HTTP.BadResponse, r.HTTP.Failed = 6e6, map[string]uint64{"wrong status": 6e6}
		}},
		{"closed", "6,000,000 short, 1 reset, 2 broken; none failed by itself", func(r *Report) { r.HTTP.Short, r.HTTP.Reset, r.HTTP.Broken = 6e6, 1, 2 }},
		{"retransmissions", "30,000 segments of 11,234,560 flows were sent again", func(r *Report) { r.Retransmissions.Stream = 30_000 }},
		{"latency", "256 in flight with a mean of 300µs make at most 853,333 transactions/s", func(r *Report) { r.Server.Busy = 0.2 }},
	} {
		t.Run("http/"+tc.name, func(t *testing.T) {
			r := sample()
			r.Scenario, r.HTTP = ScenarioHTTP, HTTP{Attempted: 11_234_567, Total: Latency{Count: 1, Mean: 300e3}}
			r.Handshakes.PortPoolExhausted, r.Handshakes.TableFull = 0, 0
			tc.change(r)
			require.Contains(t, limiter(r), tc.want)
		})
	}

	for _, tc := range []struct {
		name, want string
		change     func(r *Report)
	}{
		{"server", "the server's processor", func(*Report) {}},
		{"nothing", "nothing was sent", func(r *Report) { r.Echo = Echo{} }},
		{"silence", "nothing came back of 1,000,000 frames", func(r *Report) { r.Echo.Returned = 0 }},
		{"elsewhere", "another queue", func(r *Report) { r.Echo.Elsewhere = 2000 }},
		{"changed", "swap the Ethernet addresses", func(r *Report) { r.Echo.Bad = 600_000 }},
		{"loss", "100,000 of 1,000,000 frames did not come back", func(r *Report) { r.Echo.Lost = 100_000 }},
		{"ring", "the client's transmit ring", func(r *Report) { r.Client.Port.TxFull = 2000 }},
		{"stalls", "the peer: 2 times", func(r *Report) { r.Echo.Stalls = 2 }},
		{"rate", "the rate asked for: 1,000 frames/s", func(r *Report) { r.TargetRate, r.Rate.FramesPerS = 1000, 999.9 }},
	} {
		t.Run("echo/"+tc.name, func(t *testing.T) {
			r := sample()
			r.Scenario, r.Echo = ScenarioEcho, Echo{Sent: 1_000_000, Returned: 1_000_000}
			tc.change(r)
			require.Contains(t, limiter(r), tc.want)
		})
	}
}
