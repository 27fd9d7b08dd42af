package bench

import (
	"fmt"
	"time"
)

// refusals are the reasons for which our own server did not take a SYN or an ACK, and what helps.
var refusals = []struct{ reason, what, help string }{
	{"accept_queue_full", "found its accept queue full", "a longer backlog helps"},
	{"accept_queue_full_ack", "completed a handshake for which its accept queue had no room", "a longer backlog helps"},
	{"flow_table_full", "found its table of flows full", "a larger --max-flows helps"},
	{"syn_limit", "were above its limit of SYNs", "a higher --syn-limit helps"},
	{"source_limit", "were above its limit for a source", "a higher --source-limit helps, or more source addresses"},
	{"cookie_limit", "had a cookie above its limit of accepts", "raise it"},
	{"no_memory", "found no memory for the text of flows", "give it more"},
}

// backlog names what our own server refused more than one in manyLost of total for.
func backlog(r *Report, total uint64) string {
	if r.Server == nil {
		return ""
	}
	if backlogLimits(r) {
		return backlogFull(r)
	}
	for _, x := range refusals {
		if n := r.Server.Drops[x.reason]; n > total/manyLost {
			return fmt.Sprintf("the server's queues: %s segments of %s attempts %s; %s.", count(n), count(total), x.what, x.help)
		}
	}
	return ""
}

// ports names source ports, if the generators waited for one in more than a fiftieth of the time. To find that none is
// free takes time as well, which is not in it.
func ports(r *Report) string {
	h := &r.Handshakes
	waited := time.Duration(h.PortPoolExhausted) * poolRetry
	if share := waited.Seconds() / max(1e-9, r.DurationS*float64(max(1, r.Workers))); share > 0.02 {
		return fmt.Sprintf("source ports: %s times no tuple was free, and at least %.0f %% of the time passed in waiting; more source addresses (--addr, --pool) or shorter flows (--close rst) help.",
			count(h.PortPoolExhausted), 100*min(1, share))
	}
	return ""
}

// late reports whether the opens of a schedule were made so late that it was not kept, though all of them were made: by more
// than a tenth of the sending time on average.
func late(r *Report) bool { return r.Phases.Wait.Mean > 0.1*1e9*r.DurationS }

// behind says that a schedule was not kept because all places were taken.
func behind(r *Report) string {
	if r.TargetRate == 0 || r.Client.Busy >= saturated {
		return ""
	}
	mean := r.Latency.Mean
	if r.HTTP.Total.Count > 0 {
		mean = r.HTTP.Total.Mean
	}
	most := float64(r.Concurrency) / mean * 1e9 // Little's law
	if mean <= 0 || most >= r.TargetRate {
		return ""
	}
	how := fmt.Sprintf("is %s opens behind", count(r.Handshakes.Unsent))
	if r.Handshakes.Unsent == 0 {
		how = fmt.Sprintf("was late by %s on average", shortDuration(time.Duration(r.Phases.Wait.Mean)))
	}
	return fmt.Sprintf("concurrency: the schedule %s. %s in flight with a mean of %v make at most %s/s, less than the %s/s asked for; more --concurrency helps.",
		how, count(uint64(r.Concurrency)), shortDuration(time.Duration(mean)), number(most), number(r.TargetRate))
}

// skew names an end of which one worker is at its limit while the others are not, since most frames come to its queue.
func skew(r *Report) string {
	for _, s := range []struct {
		name string
		*Side
	}{{"server", r.Server}, {"client", &r.Client}} {
		if s.Side == nil || len(s.PerWorker) < 2 {
			continue
		}
		var frames uint64
		var others float64
		at := 0
		for i, w := range s.PerWorker {
			frames += w.RxFrames
			others += w.Busy
			if w.RxFrames > s.PerWorker[at].RxFrames {
				at = i
			}
		}
		w, n := s.PerWorker[at], float64(len(s.PerWorker))
		others = (others - w.Busy) / (n - 1)
		if share := float64(w.RxFrames) / float64(max(1, frames)); w.Busy >= saturated && others < 0.8 && share > 1.25/n {
			return fmt.Sprintf("RSS skew: worker %d of the %s's %d had %.0f %% of the frames and was busy %.0f %%, the others %.0f %% on average; more source addresses or ports spread flows evenly.",
				at, s.name, len(s.PerWorker), 100*share, 100*w.Busy, 100*others)
		}
	}
	return ""
}
