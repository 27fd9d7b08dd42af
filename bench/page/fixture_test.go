package page

import (
	"math"
	"math/rand/v2"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fastsyn/fastsyn/bench"
)

// fixture is a report with everything in it: 40 s of a handshake scenario on a schedule, against a
// server that stops for half a second at 17 s, over a wire that loses one frame in 500.
func fixture() *bench.Report {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := &bench.Report{
		Schema: bench.Schema, Valid: true, Scenario: bench.ScenarioHandshake, Port: "impair(loss=0.2%):afpacket:veth0", Connect: "10.0.0.9:80",
		Workers: 4, Concurrency: 4096, TargetRate: 20000, DurationS: 40, DrainS: 3.02, Seed: 42, Close: bench.CloseRST, Polling: "adaptive", Pinned: true,
		CPUSeconds: 97.4, Limiter: "the rate asked for: 20,000 opens/s on a fixed schedule, which was kept.",
		Histograms: map[string]string{}, Drops: map[string]uint64{}, Server: nil,
	}
	service, response, again := hist(), hist(), hist()
	var done, failed, repeated, intended uint64
	pending := uint64(0)
	for s := range 44 {
		v := bench.Interval{AtS: float64(s + 1), LengthS: 1, Draining: s >= 40, Drops: map[string]uint64{}, Workers: make([]uint64, 4)}
		if s == 43 {
			v.AtS, v.LengthS = 43.02, 0.02
		}
		one, heat := hist(), map[int]uint64{}
		record := func(ns, late float64, to *hdrhistogram.Histogram) {
			_ = one.RecordValue(int64(ns))
			_ = service.RecordValue(int64(ns))
			_ = response.RecordValue(int64(ns + late))
			if to != nil {
				_ = to.RecordValue(int64(ns))
			}
			heat[heatRow(int64(ns))]++
			v.Done++
			v.Workers[rnd.IntN(4)]++
		}
		if !v.Draining {
			v.Intended = 20000
			for range 20000 {
				ns, late := 180e3*math.Exp(0.28*rnd.NormFloat64())+rnd.ExpFloat64()*20e3, 4e3*rnd.Float64()
				switch f := rnd.Float64(); {
				case f < 0.004:
					ns += 1e9
					v.Retransmitted++
					record(ns, late, again)
					continue
				case f < 0.00408:
					v.Failed++
					v.Retransmitted += 6
					continue
				}
				if s == 17 {
					at := rnd.Float64()
					if at < 0.5 {
						ns += (0.5 - at) * 1e9
						late += (0.5 - at) * 0.3e9
					}
				}
				record(ns, late, nil)
			}
		}
		v.Attempted = v.Done + uint64(v.Failed)
		v.InFlight = uint64(4 + rnd.IntN(12))
		if s == 17 {
			v.InFlight = 4096
		}
		if v.Draining {
			v.InFlight = uint64(43 - s)
		}
		v.PerS = float64(v.Done) / v.LengthS
		v.Latency = summarize(one)
		for row := range 200 {
			if n := heat[row]; n > 0 {
				v.Heat = append(v.Heat, bench.HeatCell{NS: int64(rowTop(row)), N: n})
			}
		}
		done, failed, repeated, intended = done+v.Done, failed+uint64(v.Failed), repeated+v.Retransmitted, intended+v.Intended
		r.Intervals = append(r.Intervals, v)
	}
	r.Handshakes = bench.Handshakes{Attempted: done + failed + pending, Established: done, TimedOut: failed - 9, Refused: 7, Reset: 2, Pending: pending}
	r.Flows = bench.Flows{Aborted: done - 3, Reset: 3}
	r.Rate = bench.Rate{HandshakesPerS: float64(done) / 40, SYNsPerS: float64(done+failed) / 40}
	r.Retransmissions = bench.Retransmissions{SYN: repeated}
	r.Latency, r.Response, r.Retransmitted = summarize(service), summarize(response), summarize(again)
	for name, h := range map[string]*hdrhistogram.Histogram{"latency": service, "response": response, "retransmitted": again} {
		b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
		if err != nil {
			panic(err)
		}
		r.Histograms[name] = string(b)
	}
	r.Population = bench.Population{
		Count: done + failed, Censored: failed, P50: bench.Quantile{NS: r.Response.P50}, P90: bench.Quantile{NS: r.Response.P90},
		P99: bench.Quantile{NS: r.Response.P99}, P999: bench.Quantile{NS: 1_004_000_000},
	}
	r.Phases = bench.Phases{
		Wait:   bench.Latency{Count: int64(done), Min: 10, Mean: 2100, StdDev: 1200, P50: 2000, P90: 3600, P99: 3960, P999: 120_000_000, Max: 152_000_000},
		SYNACK: bench.Latency{Count: int64(done), Min: 61_000, Mean: 206_000, StdDev: 70_000, P50: 197_000, P90: 288_000, P99: 402_000, P999: 460_000_000, Max: 502_000_000},
		ACK:    bench.Latency{Count: int64(done), Min: 400, Mean: 1900, StdDev: 900, P50: 1600, P90: 3100, P99: 9000, P999: 41_000, Max: 810_000},
	}
	r.Samples = ladders()
	r.Path = []bench.Stage{
		{Name: "sent", In: 1_600_432, Out: 1_600_432, Seen: true},
		{Name: "wire", In: 1_600_432, Out: 1_597_240, Lost: map[string]uint64{"impair_tx_lost": 3192}, Seen: true},
		{Name: "peer", In: 1_597_240, Out: 801_204},
		{Name: "return", In: 801_204, Out: 799_610, Lost: map[string]uint64{"impair_rx_lost": 1594}, Seen: true},
		{Name: "ring", In: 799_610, Out: 799_598, Lost: map[string]uint64{"rx_missed": 12}, Seen: true},
		{Name: "parse", In: 799_598, Out: 799_595, Lost: map[string]uint64{"bad_tcp_checksum": 3}, Seen: true},
		{Name: "state", In: 799_595, Out: 799_590, Lost: map[string]uint64{"segments_drop_unexpected": 5}, Seen: true},
	}
	for _, s := range r.Path {
		for k, n := range s.Lost {
			r.Drops[k] += n
		}
	}
	r.Drops["arp_ignored"] = 2
	r.Client = bench.Side{
		Workers: 4, Busy: 0.61, Burst: 9.3, Memory: "4 MiB thp", Drops: r.Drops, Device: map[string]uint64{"rx_good_packets": 799_610},
		PortJSON: map[string]uint64{"rx_frames": 799_610, "tx_frames": 1_597_240, "rx_missed": 12, "tx_full": 0},
		Counters: map[string]uint64{"attempted": done + failed, "connected": done, "syn_retransmissions": repeated, "resets_sent": done},
	}
	for i := range 4 {
		r.Client.PerWorker = append(r.Client.PerWorker, bench.Share{
			CPU: i, Done: done/4 + uint64(i*900) - 1350, RxFrames: 199_900, TxFrames: 400_100, Busy: 0.52 + 0.03*float64(i), Burst: 8 + float64(i)/2,
		})
	}
	r.Equations = []bench.Equation{
		{Name: "attempted = established + refused + timed out + unreachable + reset + pending", Left: done + failed, Right: done + failed, Holds: true},
		{Name: "established = done + aborted + reset + broken + open", Left: done, Right: done, Holds: true},
		{Name: "client: frames received = segments + control + dropped", Left: 799_610, Right: 799_610, Holds: true},
	}
	r.Host = bench.Host{
		CPU: "AMD EPYC 9B14", Cores: 8, Kernel: "Linux 6.18.44", Go: "go1.26.8", Commit: "0123456789abcdef", Governor: "performance", Isolated: "2-7", Virtual: "kvm",
		Mitigations: map[string]string{"spectre_v2": "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional", "meltdown": "Not affected", "retbleed": "Not affected"},
		NIC:         bench.NIC{Driver: "afpacket", Device: "veth0", Kernel: "veth", SpeedMbS: 10_000, MTU: 1500, Queues: 4, Offloads: map[string]string{"rx-checksumming": "off", "generic-segmentation-offload": "off"}},
	}
	r.Config = map[string]any{
		"scenario": "handshake", "port": r.Port, "connect": r.Connect, "addr": []any{"10.0.0.3/24", "10.0.0.4/24"}, "rate": 20000.0, "duration": "40s", "seed": 42.0, "ipv6": false, "fastopen": true,
	}
	return r
}

func hist() *hdrhistogram.Histogram { return hdrhistogram.New(1, 300_000_000_000, 3) }

func summarize(h *hdrhistogram.Histogram) bench.Latency {
	if h.TotalCount() == 0 {
		return bench.Latency{}
	}
	p := h.ValueAtPercentilesSlice([]float64{50, 90, 99, 99.9})
	return bench.Latency{Count: h.TotalCount(), Min: h.Min(), Mean: h.Mean(), StdDev: h.StdDev(), P50: p[0], P90: p[1], P99: p[2], P999: p[3], Max: h.Max()}
}

func ladders() []bench.Sample {
	const c, s = "10.0.0.3:52431", "10.0.0.9:80"
	syn := "seq 0, win 64240, options [mss 1460,sackOK,TS val 1234567 ecr 0,nop,wscale 7], length 0"
	synAck := "seq 0, ack 1, win 65160, options [mss 1460,sackOK,TS val 9876543 ecr 1234567,nop,wscale 8], length 0"
	ack := "ack 1, win 502, options [nop,nop,TS val 1234568 ecr 9876543], length 0"
	return []bench.Sample{
		{Why: "first", Client: c, Server: s, Segments: []bench.Segment{
			{Out: true, Flags: "S", Text: syn, StateIs: "SYN-SENT"},
			{AtNS: 188_000, Flags: "S.", Text: synAck, StateIs: "ESTABLISHED"},
			{AtNS: 190_000, Out: true, Flags: ".", Text: ack, StateIs: "ESTABLISHED"},
			{AtNS: 191_000, Out: true, Flags: "P.", Text: "seq 1:79, ack 1, win 502, length 78", Length: 78, StateIs: "ESTABLISHED"},
			{AtNS: 402_000, Flags: "P.", Text: "seq 1:1025, ack 79, win 509, length 1024", Length: 1024, StateIs: "ESTABLISHED"},
			{AtNS: 403_000, Out: true, Flags: "R.", Text: "seq 79, ack 1025, win 0, length 0", StateIs: "CLOSED"},
		}},
		{Why: "retransmitted", Client: c, Server: s, Segments: []bench.Segment{
			{Out: true, Flags: "S", Text: syn, StateIs: "SYN-SENT"},
			{AtNS: 1_000_300_000, Out: true, Flags: "S", Text: syn, StateIs: "SYN-SENT"},
			{AtNS: 1_000_502_000, Flags: "S.", Text: synAck, StateIs: "ESTABLISHED"},
			{AtNS: 1_000_504_000, Out: true, Flags: ".", Text: ack, StateIs: "ESTABLISHED"},
		}},
		{Why: "refused", Client: c, Server: s, Segments: []bench.Segment{
			{Out: true, Flags: "S", Text: syn, StateIs: "SYN-SENT"},
			{AtNS: 120_000, Flags: "R.", Text: "seq 0, ack 1, win 0, length 0", StateIs: "CLOSED"},
		}},
	}
}

// trials is the outcome of a search.
func trials() *bench.Search {
	s := &bench.Search{Target: "loss<0.1%,p99<5ms", RatePerS: 118_000, Low: 118_000, High: 121_000}
	for i, rate := range []float64{1e3, 1e4, 1e5, 1e6, 3e5, 1.7e5, 1.3e5, 1.15e5, 1.21e5, 1.18e5} {
		t := bench.Trial{RatePerS: rate, DurationS: 2, DoneS: min(rate, 1.24e5), P99NS: int64(4e5 * (1 + rate/6e4)), Met: rate <= 1.18e5}
		if !t.Met {
			t.Loss, t.P99NS = 1-1.2e5/rate, int64(1e9+1e6*float64(i))
			t.Why = "loss " + percent(t.Loss) + " is more than 0.1 %"
		}
		s.Trials = append(s.Trials, t)
	}
	return s
}
