package metrics

import (
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// sharedFor is how old a snapshot may be that another scrape has taken.
const sharedFor = 250 * time.Millisecond

// Collector makes metrics of the snapshots of one run or server. Which families there are
// depends on what runs, so it describes none beforehand.
type Collector struct {
	command string // "bench" or "serve"
	read    func(age time.Duration) bench.Snapshot
}

// NewCollector makes the collector of a command, "bench" or "serve". read is that of a bench.Live: any goroutine.
func NewCollector(command string, read func(age time.Duration) bench.Snapshot) *Collector {
	return &Collector{command: command, read: read}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	s := c.read(sharedFor)
	e := emitter{out: out, begin: s.Begin}
	e.put(family{name: "fastsyn_build_info", help: "1, and what was built.", gauge: true}, 1,
		"revision", bench.BuildCommit(), "goversion", runtime.Version())
	if s.At.IsZero() {
		return // nothing runs yet
	}
	prefix := "fastsyn_" + c.command + "_"
	c.about(&e, prefix, &s)
	for i := range s.Ends {
		e.end(&s.Ends[i])
	}
	for i := range s.Work {
		e.work(prefix, c.command, i, &s.Work[i])
	}
	for i := range s.Latencies {
		e.histogram(latencyFamily(prefix, s.Latencies[i].Name), &s.Latencies[i])
	}
}

// about is what a run is, and where in its life.
func (c *Collector) about(e *emitter, prefix string, s *bench.Snapshot) {
	gauge := func(name, help string, v float64, labels ...string) {
		e.put(family{name: prefix + name, help: help, gauge: true}, v, labels...)
	}
	gauge("info", "1, and what runs.", 1, "scenario", s.Scenario, "port", s.Port, "polling", s.Polling)
	gauge("elapsed_seconds", "Time since the beginning; of a run, since its first SYN.", s.Elapsed.Seconds())
	for _, phase := range []string{bench.PhaseResolving, bench.PhaseSending, bench.PhaseHolding, bench.PhaseDraining, bench.PhaseEnded} {
		if c.command == "bench" {
			gauge("phase", "1 for the phase that the run is in.", boolean(s.Phase == phase), "phase", phase)
		}
	}
	if s.TargetRate > 0 {
		gauge("target_opens_per_second", "The rate asked for.", s.TargetRate)
	}
	if s.Concurrency > 0 {
		gauge("concurrency", "Opens in flight at most.", float64(s.Concurrency))
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// emitter sends metrics.
type emitter struct {
	out   chan<- prometheus.Metric
	begin time.Time
}

// put sends a value; labels are names and values in turn, before that of f.
func (e *emitter) put(f family, v float64, labels ...string) {
	var names, values []string
	for i := 0; i < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	if f.label != "" {
		names, values = append(names, f.label), append(values, f.value)
	}
	desc := prometheus.NewDesc(f.name, f.help, names, nil)
	if f.gauge {
		e.out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, values...)
		return
	}
	// With the time from which it counts, a scraper that asks for it loses nothing of a short run.
	e.out <- prometheus.MustNewConstMetricWithCreatedTimestamp(desc, prometheus.CounterValue, v, e.begin, values...)
}

// end sends what an end of the wire has counted, by worker.
func (e *emitter) end(end *bench.End) {
	for i := range end.Workers {
		w := &end.Workers[i]
		labels := []string{"end", end.Name, "worker", strconv.Itoa(w.Worker)}
		e.worker(w, labels)
		for key, n := range bench.CounterMap(&w.Engine) {
			outcome, isSegment := strings.CutPrefix(key, "segments_")
			switch {
			case sums[key] || isSegment && n == 0:
			case isSegment:
				e.put(family{name: "fastsyn_segments_total", help: "Segments received, by what became of them; zeros are left out.", label: "outcome", value: outcome}, float64(n), labels...)
			default:
				e.put(find(engineFamilies, "fastsyn_", "Engine counter:", key), float64(n), labels...)
			}
		}
		if w.Streams.Blocks > 0 {
			for key, n := range bench.StreamMap(&w.Streams) {
				if !sums[key] {
					e.put(find(streamFamilies, "fastsyn_stream_", "Stream counter:", key), float64(n), labels...)
				}
			}
		}
		for reason, n := range end.Drops(i) {
			if n > 0 {
				e.put(family{name: "fastsyn_drops_total", help: "Frames and segments not used, not sent or lost; zeros are left out.", label: "reason", value: reason}, float64(n), labels...)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(end.Device)) {
		e.put(family{name: "fastsyn_device_counters_total", help: "What the device counts itself, under its own names.", label: "counter", value: name},
			float64(end.Device[name]), "end", end.Name)
	}
}

// worker sends what the worker and its queue count beside the engine.
func (e *emitter) worker(w *worker.Stats, labels []string) {
	for _, x := range []struct {
		name, help   string
		label, value string
		v            float64
	}{
		{"fastsyn_port_receive_frames_total", "Frames received by the queue.", "", "", float64(w.Port.RxFrames)},
		{"fastsyn_port_receive_bytes_total", "Bytes of these frames.", "", "", float64(w.Port.RxBytes)},
		{"fastsyn_port_transmit_frames_total", "Frames sent by the queue.", "", "", float64(w.Port.TxFrames)},
		{"fastsyn_port_transmit_bytes_total", "Bytes of these frames.", "", "", float64(w.Port.TxBytes)},
		{"fastsyn_port_no_blank_total", "Times that no buffer was free for a frame to send.", "", "", float64(w.Port.NoBlank)},
		{"fastsyn_worker_frames_total", "Frames received that were not dropped.", "use", "segment", float64(w.Segments)},
		{"fastsyn_worker_frames_total", "Frames received that were not dropped.", "use", "control", float64(w.Control)},
		{"fastsyn_worker_bursts_total", "Rounds that received something.", "", "", float64(w.Bursts)},
		{"fastsyn_worker_busy_seconds_total", "Time in rounds that had work.", "", "", w.Busy.Seconds()},
		{"fastsyn_worker_run_seconds_total", "Time the worker ran.", "", "", w.Ran.Seconds()},
		{"fastsyn_unproven_receive_bytes_total", "Bytes of frames received that were answered before the peer had proved its address.", "", "", float64(w.UnprovenIn)},
		{"fastsyn_unproven_transmit_bytes_total", "Bytes of those answers.", "", "", float64(w.UnprovenOut)},
		{"fastsyn_callback_panics_total", "Callbacks that panicked; each lost its flow.", "", "", float64(w.CallbackPanics)},
		{"fastsyn_callback_over_budget_total", "Bursts whose callbacks took longer than the budget.", "", "", float64(w.OverBudget)},
		{"fastsyn_reply_no_buffer_total", "Replies refused because no buffer was free.", "", "", float64(w.ReplyNoBuffer)},
	} {
		e.put(family{name: x.name, help: x.help, label: x.label, value: x.value}, x.v, labels...)
	}
}

// work sends what a generator or an application has done on a worker.
func (e *emitter) work(prefix, command string, i int, w *bench.Work) {
	labels := []string{"worker", strconv.Itoa(i)}
	if command == "bench" {
		e.put(family{name: prefix + "done_total", help: "What the scenario counts as done: handshakes, transactions, answers or frames returned."}, float64(w.Done), labels...)
		e.put(family{name: prefix + "in_flight", help: "Opens, SYNs or frames in flight.", gauge: true}, float64(w.InFlight), labels...)
	}
	for _, c := range w.Counts {
		f := plain(prefix, map[string]string{"bench": "Generator counter:", "serve": "Application counter:"}[command], c.Family)
		if c.Outcome != "" {
			f.label, f.value = "outcome", c.Outcome
		}
		e.put(f, float64(c.N), labels...)
	}
}
