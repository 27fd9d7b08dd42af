package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Progress is the state of a run, once a second, and what changed since the last one.
type Progress struct {
	Trial    string        // of a search: its number and rate; else empty
	Elapsed  time.Duration // since the first SYN
	Draining bool
	PerS     float64 // handshakes (http: transactions, syn-flood: answers, echo: frames) per second, since the last one
	Done     uint64  // established, complete, answered or returned
	Failed   uint64
	InFlight uint64
	P50, P99 time.Duration // since the last one

	Now Snapshot // of which the others are made
	// Since the last one, or since the beginning in the first:
	Interval  time.Duration
	PerWorker []Pace            // by Now.Work
	Load      [][]float64       // by Now.Ends and worker: share of the time with work, 0 to 1
	Window    []Distribution    // what Now.Latencies have more
	Drops     map[string]uint64 // of all ends, by reason
	// Limiter says what kept the rate from being higher so far, as that of a report.
	Limiter string
}

// Pace is the part of a worker in a Progress.
type Pace struct {
	PerS float64 // of Work.Done
}

// Busy is the share of the time in which a worker of an end had work, since the last one.
func (p *Progress) Busy(end, worker int) float64 { return p.Load[end][worker] }

// Meter makes a Progress of each Snapshot of a run and the one before.
type Meter struct {
	last  Snapshot
	first Snapshot // of the sending time
}

// Progress is that from the Snapshot of the last call, if any, to now.
func (m *Meter) Progress(now Snapshot) Progress {
	p := Progress{Elapsed: now.Elapsed, Draining: now.Phase == PhaseDraining, Now: now, Interval: now.Elapsed}
	if m.first.At.IsZero() {
		m.first = now
	}
	if m.last.Elapsed > 0 {
		p.Interval = now.At.Sub(m.last.At)
	}
	seconds := p.Interval.Seconds()
	var before uint64
	for i, w := range now.Work {
		p.Done += w.Done
		p.Failed += w.Failed
		p.InFlight += w.InFlight
		var pace Pace
		var old Work
		if i < len(m.last.Work) {
			old = m.last.Work[i]
		}
		before += old.Done
		if seconds > 0 {
			pace.PerS = float64(w.Done-old.Done) / seconds
		}
		p.PerWorker = append(p.PerWorker, pace)
	}
	for k := range now.Ends {
		var load []float64
		for i := range now.Ends[k].Workers {
			load = append(load, busyShare(&now, &m.last, k, i))
		}
		p.Load = append(p.Load, load)
	}
	if seconds > 0 {
		p.PerS = float64(p.Done-before) / seconds
	}
	for i, d := range now.Latencies {
		if i < len(m.last.Latencies) && m.last.Latencies[i].Name == d.Name {
			d.Hist = since(d.Hist, m.last.Latencies[i].Hist)
		}
		p.Window = append(p.Window, d)
	}
	if len(p.Window) > 0 && p.Window[0].Hist.TotalCount() > 0 {
		h := p.Window[0].Hist
		p.P50, p.P99 = time.Duration(h.ValueAtPercentile(50)), time.Duration(h.ValueAtPercentile(99))
	}
	p.Drops = now.drops()
	for name, n := range m.last.drops() {
		if p.Drops[name] -= n; p.Drops[name] == 0 {
			delete(p.Drops, name)
		}
	}
	if now.Elapsed > 0 && now.Scenario != "" && len(now.Ends) > 0 && now.Ends[0].Name == endNames[0] {
		p.Limiter = limiter(now.soFar(&m.first))
	}
	m.last = now
	return p
}

// drops are those of all ends that are not zero.
func (s *Snapshot) drops() map[string]uint64 {
	m := map[string]uint64{}
	for i := range s.Ends {
		for k := range s.Ends[i].Workers {
			for name, n := range s.Ends[i].Drops(k) {
				if n > 0 {
					m[name] += n
				}
			}
		}
	}
	return m
}

// busyShare is how much of the time from before to now worker i of an end had work.
func busyShare(now, before *Snapshot, end, i int) float64 {
	if end >= len(now.Ends) || i >= len(now.Ends[end].Workers) {
		return 0
	}
	w := &now.Ends[end].Workers[i]
	busy, ran := w.Busy, w.Ran
	if end < len(before.Ends) && i < len(before.Ends[end].Workers) {
		old := &before.Ends[end].Workers[i]
		busy, ran = busy-old.Busy, ran-old.Ran
	}
	if ran <= 0 {
		return 0
	}
	return min(1, float64(busy)/float64(ran))
}

// since returns what h has more than before, which it had then.
func since(h, before *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	diff := h.Export()
	for i, n := range before.Export().Counts {
		diff.Counts[i] -= n
	}
	return hdrhistogram.Import(diff)
}
