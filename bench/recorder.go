package bench

import (
	"maps"
	"slices"
)

const (
	// maxIntervals is how many intervals a report has. A longer run has them merged in pairs, and again.
	maxIntervals = 2048
	// blink is a length in seconds below which what is left of a run is added to the interval before.
	blink = 0.05
)

// recorder divides a run into intervals: what one snapshot has more than the one before. It belongs
// to the goroutine of Run.
type recorder struct {
	each func(*Interval) // gets each as it was taken, before any are merged; may be nil
	max  int

	last  Snapshot
	kept  []kept
	every int // snapshots per interval
	// How many were taken, and of how many the sum closes.
	taken, closed uint64
}

// kept is an interval with what its distributions were made of.
type kept struct {
	Interval
	latency, response cells
	parts             int
}

func newRecorder(each func(*Interval)) *recorder {
	return &recorder{each: each, max: maxIntervals, every: 1}
}

// take ends an interval at now. draining says that it began after the sending time.
func (r *recorder) take(now Snapshot, draining bool) {
	k := r.since(&now)
	k.Draining = draining
	// In numbers that wrap: what was presumed lost may come after all.
	if before := inFlight(&r.last); k.Attempted == k.Done+uint64(k.Failed)+k.InFlight-before {
		r.closed++
	}
	r.taken++
	r.last = now
	if r.each != nil {
		r.each(&k.Interval)
	}
	r.keep(k)
}

// keep appends k, or adds it to the last interval when that is not complete.
func (r *recorder) keep(k kept) {
	if n := len(r.kept); n > 0 {
		last := &r.kept[n-1]
		if last.Draining == k.Draining && (last.parts < r.every || k.LengthS < blink) {
			*last = last.plus(&k)
			return
		}
	}
	r.kept = append(r.kept, k)
	if len(r.kept) <= r.max {
		return
	}
	out := r.kept[:0]
	for i := 0; i < len(r.kept); i++ {
		k := r.kept[i]
		if i+1 < len(r.kept) && r.kept[i+1].Draining == k.Draining {
			k = k.plus(&r.kept[i+1])
			i++
		}
		out = append(out, k)
	}
	clear(r.kept[len(out):])
	r.kept = out
	r.every *= 2
}

// since is the interval from the last snapshot to now.
func (r *recorder) since(now *Snapshot) kept {
	k := kept{parts: 1}
	k.AtS, k.LengthS = now.Elapsed.Seconds(), (now.Elapsed - r.last.Elapsed).Seconds()
	var failed uint64
	for i := range now.Work {
		w, old := &now.Work[i], new(Work)
		if i < len(r.last.Work) {
			old = &r.last.Work[i]
		}
		k.Workers = append(k.Workers, w.Done-old.Done)
		k.Done += w.Done - old.Done
		k.Attempted += w.Attempted - old.Attempted
		failed += w.Failed - old.Failed
	}
	k.Failed, k.InFlight = int64(failed), inFlight(now)
	k.Intended = now.total("intended", "") - r.last.total("intended", "")
	for i := range now.Ends {
		if now.Ends[i].Name == "client" {
			k.Retransmitted = synRetrans(now, i) - synRetrans(&r.last, i)
		}
	}
	k.Drops = now.drops()
	less(k.Drops, r.last.drops())
	for i, d := range now.Latencies {
		more := cellsOf(d.Hist)
		if i < len(r.last.Latencies) && r.last.Latencies[i].Name == d.Name {
			more = cellsOf(since(d.Hist, r.last.Latencies[i].Hist))
		}
		if i == 0 {
			k.latency = more
		}
		if d.Name == "response" {
			k.response = more
		}
	}
	k.finish()
	return k
}

// finish fills in what follows from the rest.
func (k *kept) finish() {
	k.PerS = 0
	if k.LengthS > 0 {
		k.PerS = float64(k.Done) / k.LengthS
	}
	k.Latency, k.Heat = summarize(k.latency.histogram()), k.latency.heat()
	k.Response = summarize(k.response.histogram())
}

// plus is k and the one after it as one.
func (k *kept) plus(o *kept) kept {
	s := *o
	s.LengthS += k.LengthS
	s.Intended += k.Intended
	s.Attempted += k.Attempted
	s.Done += k.Done
	s.Failed += k.Failed
	s.Retransmitted += k.Retransmitted
	s.Workers = slices.Clone(k.Workers) // each has those of all workers
	for i, n := range o.Workers {
		s.Workers[i] += n
	}
	s.Drops = maps.Clone(k.Drops)
	for name, n := range o.Drops {
		s.Drops[name] += n
	}
	s.latency, s.response = k.latency.plus(o.latency), k.response.plus(o.response)
	s.parts += k.parts
	s.finish()
	return s
}

// intervals are those of the report.
func (r *recorder) intervals() []Interval {
	out := []Interval{}
	for i := range r.kept {
		out = append(out, r.kept[i].Interval)
	}
	return out
}

func inFlight(s *Snapshot) (n uint64) {
	for i := range s.Work {
		n += s.Work[i].InFlight
	}
	return n
}

func synRetrans(s *Snapshot, end int) (n uint64) {
	if end < len(s.Ends) {
		for i := range s.Ends[end].Workers {
			n += s.Ends[end].Workers[i].Engine.SynRetrans
		}
	}
	return n
}

// less subtracts the counters of b from those of a, and removes what is zero then.
func less(a, b map[string]uint64) {
	for name, n := range b {
		a[name] -= n
	}
	maps.DeleteFunc(a, func(_ string, n uint64) bool { return n == 0 })
}

// checkIntervals compares the intervals with the totals of the generators, which have ended.
func (r *run) checkIntervals(rep *Report) {
	rep.Intervals = r.rec.intervals()
	var attempted, done, failed, open, flying uint64 // failed modulo 2^64
	for i := range rep.Intervals {
		v := &rep.Intervals[i]
		attempted, done, failed, open = attempted+v.Attempted, done+v.Done, failed+uint64(v.Failed), v.InFlight
	}
	var all [3]uint64
	for _, g := range r.gens {
		d, f, o, _ := g.progress()
		all[0], all[1], all[2], flying = all[0]+g.attempted(), all[1]+d, all[2]+f, flying+o
	}
	rep.equation("intervals = intervals with attempted = done + failed + change of in flight", r.rec.taken, r.rec.closed)
	rep.equation("attempted in the intervals = attempted", attempted, all[0])
	rep.equation("done in the intervals = done", done, all[1])
	rep.equation("failed in the intervals = failed", failed, all[2])
	rep.equation("in flight after the last interval = in flight at the end", open, flying)
}
