package bench

import (
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Shares from which a cause is named.
const (
	saturated = 0.95 // of a worker's time
	manyLost  = 1000 // one in so many
)

// limiter says in one sentence what kept the rate from being higher, from the
// evidence in the report: the first cause that applies, most telling first.
func limiter(r *Report) string { return scenarioOf(r.Scenario).limiter(r) }

// clientLimiter is limiter of those that open connections.
func clientLimiter(r *Report) string {
	h := &r.Handshakes
	switch {
	case h.Attempted == 0:
		return "nothing was sent: the run ended before the first SYN."
	case h.Refused > h.Attempted/2:
		return fmt.Sprintf("the peer refused %s of %s attempts by RST: nothing listens there, or its queue is full.", count(h.Refused), count(h.Attempted))
	case h.Unreachable > h.Attempted/2:
		return fmt.Sprintf("ICMP errors ended %s of %s attempts: the peer is unreachable.", count(h.Unreachable), count(h.Attempted))
	case h.Established == 0:
		return fmt.Sprintf("no answer: %s attempts timed out and %s were pending at the end.", count(h.TimedOut), count(h.Pending))
	case failures(&r.HTTP) > h.Attempted/2:
		return httpFailures(&r.HTTP)
	}
	return openLimiter(r)
}

// openLimiter is clientLimiter where attempts end as they are to end.
func openLimiter(r *Report) string {
	h := &r.Handshakes
	switch {
	case h.Attempted == 0:
		return "nothing was sent: the run ended before the first SYN."
	case r.TargetRate > 0 && h.Unsent <= h.Attempted/100:
		return r.askedFor("opens")
	}
	if s := rings(r, h.Attempted); s != "" {
		return s
	}
	for _, cause := range []string{backlog(r, h.Attempted), repetition(r), ports(r)} {
		if cause != "" {
			return cause
		}
	}
	switch {
	case r.Retransmissions.Stream > h.Attempted/manyLost:
		return fmt.Sprintf("retransmissions: %s segments of %s flows were sent again, many after a timeout that kept one of %s places in flight waiting.",
			count(r.Retransmissions.Stream), count(h.Established), count(uint64(r.Concurrency)))
	case h.TableFull > 0:
		return fmt.Sprintf("the client's flow table was full %s times: TIME-WAIT keeps too many flows for it; lower --time-wait.", count(h.TableFull))
	}
	if s := behind(r); s != "" {
		return s
	}
	return workers(r, scenarioOf(r.Scenario).noun)
}

// askedFor says that the schedule was the limit.
func (r *Report) askedFor(noun string) string {
	if r.Load != "" {
		return fmt.Sprintf("the load asked for: %s, %s %s/s in the mean, which was kept.", r.Load, number(r.TargetRate), noun)
	}
	return fmt.Sprintf("the rate asked for: %s %s/s on a fixed schedule, which was kept.", number(r.TargetRate), noun)
}

// failures are the transactions that went wrong once they were connected.
func failures(h *HTTP) uint64 { return h.BadResponse + h.Short + h.Reset + h.Broken }

func httpFailures(h *HTTP) string {
	requests := "none failed by itself"
	if s := nonZero(h.Failed); s != "" {
		requests = "of the requests: " + s
	}
	return fmt.Sprintf("%s of %s transactions failed: %s bad responses, %s short, %s reset, %s broken; %s.",
		count(failures(h)), count(h.Attempted), count(h.BadResponse), count(h.Short), count(h.Reset), count(h.Broken), requests)
}

// stolen says that busy-polling workers did not get the processors they need.
func stolen(r *Report) string {
	workers := r.Workers
	if r.Server != nil {
		workers += r.Server.Workers
	}
	want := float64(workers) * r.DurationS
	if r.Polling != "busy" || r.CPUSeconds == 0 || r.CPUSeconds >= 0.85*want {
		return ""
	}
	return fmt.Sprintf("other processes: %s got %.0f %% of the processor time that busy polling takes; run it on an idle machine.", plural(workers, "worker"), 100*r.CPUSeconds/want)
}

// rings names a ring of a device that was full for more than one in manyLost of
// total, and whether it was full because of the worker that empties it.
func rings(r *Report, total uint64) string {
	sides := []struct {
		name string
		*Side
	}{{"client", &r.Client}}
	if r.Server != nil {
		sides = append(sides, sides[0])
		sides[0].name, sides[0].Side = "server", r.Server
	}
	for _, s := range sides {
		if s.Port.RxMissed <= total/manyLost {
			continue
		}
		if s.Busy >= saturated && backlogged(r, s.Side) {
			return fmt.Sprintf("the %s's processor: its worker is busy %.0f %%, and %s frames found its receive ring full.", s.name, 100*s.Busy, count(s.Port.RxMissed))
		}
		return fmt.Sprintf("the device: %s frames found the %s's receive ring full (worker busy %.0f %%, bursts of %.0f); longer rings or less --concurrency help.",
			count(s.Port.RxMissed), s.name, 100*s.Busy, s.Burst)
	}
	for _, s := range sides {
		if s.Port.TxFull > total/manyLost {
			return fmt.Sprintf("the device: %s frames found the %s's transmit ring full and were not sent: what is behind it takes them no faster.", count(s.Port.TxFull), s.name)
		}
	}
	return ""
}

// backlogged reports whether frames were waiting when a worker looked: its bursts
// are long, by the longest there can be. One that always finds something, but not much, keeps up.
func backlogged(r *Report, s *Side) bool {
	return s.Burst >= 0.5*min(dataplane.BatchSize, float64(r.Concurrency)/float64(max(1, r.Workers)))
}

// workers says which of the workers was at its limit, or that none was.
func workers(r *Report, what string) string {
	for _, cause := range []string{stolen(r), skew(r)} {
		if cause != "" {
			return cause
		}
	}
	client := fmt.Sprintf("client worker busy %.0f %%", 100*r.Client.Busy)
	if r.Server == nil {
		switch {
		case r.Client.Busy >= saturated && backlogged(r, &r.Client):
			return "the client's processor: " + client + "; the peer may take more."
		case r.Client.Busy >= saturated:
			return fmt.Sprintf("the peer, or a device on the way: %s, but in bursts of only %.1f, so it keeps up with what comes.", client, r.Client.Burst)
		}
		return latencyBound(r, client, what)
	}
	both := fmt.Sprintf("%s, server worker busy %.0f %%", client, 100*r.Server.Busy)
	switch {
	case r.Client.Busy >= saturated && r.Server.Busy >= saturated:
		first, here, there := "server", r.Server.Burst, r.Client.Burst
		if there > here {
			first, here, there = "client", there, here
		}
		return fmt.Sprintf("both processors, the %s's first: %s, and longer bursts wait for the %s (%.0f frames to %.0f).", first, both, first, here, there)
	case r.Client.Busy >= saturated:
		return "the client's processor: " + both + "."
	case r.Server.Busy >= saturated:
		return "the server's processor: " + both + "."
	}
	return latencyBound(r, both, what)
}

func latencyBound(r *Report, evidence, what string) string {
	mean := r.Latency.Mean
	if r.HTTP.Total.Count > 0 {
		mean = r.HTTP.Total.Mean
	}
	if mean > 0 {
		return fmt.Sprintf("latency: %s in flight with a mean of %v make at most %s %s/s (%s); more --concurrency helps.",
			count(uint64(r.Concurrency)), shortDuration(time.Duration(mean)), number(float64(r.Concurrency)/mean*1e9), what, evidence)
	}
	return "waiting: " + evidence + "."
}

func floodLimiter(r *Report) string {
	f := &r.SYNFlood
	switch {
	case f.Sent == 0:
		return "nothing was sent: the run ended before the first SYN."
	case f.Answered+f.Reset == 0:
		return fmt.Sprintf("no answer to %s SYNs: after each window of %s the flood waited 100 ms.", count(f.Sent), count(uint64(r.Concurrency)))
	case f.Reset > f.Answered:
		return fmt.Sprintf("the peer answered %s of %s SYNs by RST: nothing listens there.", count(f.Reset), count(f.Sent))
	case r.TargetRate > 0 && r.Rate.SYNsPerS >= 0.99*r.TargetRate:
		return r.askedFor("SYNs")
	case f.Stalls > 0 && stolen(r) == "":
		return fmt.Sprintf("the peer: %s times it answered nothing for 100 ms.", count(f.Stalls))
	}
	for _, cause := range []string{rings(r, f.Sent), backlog(r, f.Sent)} {
		if cause != "" {
			return cause
		}
	}
	if f.Unanswered > uint64(r.Concurrency)+f.Sent/100 {
		return fmt.Sprintf("the peer, or a device on the way: %s of %s SYNs got no answer.", count(f.Unanswered), count(f.Sent))
	}
	return workers(r, "SYNs")
}

func echoLimiter(r *Report) string {
	e := &r.Echo
	switch {
	case e.Sent == 0:
		return "nothing was sent: the run ended before the first frame."
	case e.Elsewhere > e.Sent/manyLost:
		return fmt.Sprintf("the device: %s of %s frames came back to another queue than its table says; --workers 1 measures one.", count(e.Elsewhere), count(e.Sent))
	case e.Bad > e.Sent/2:
		return fmt.Sprintf("the peer: %s of %s frames came back changed; it has to swap the Ethernet addresses and nothing else.", count(e.Bad), count(e.Sent))
	case e.Returned == 0:
		return fmt.Sprintf("nothing came back of %s frames: after each window of %s the echo waited 100 ms.", count(e.Sent), count(uint64(r.Concurrency)))
	case r.TargetRate > 0 && r.Rate.FramesPerS >= 0.99*r.TargetRate:
		return r.askedFor("frames")
	case e.Stalls > 0 && stolen(r) == "":
		return fmt.Sprintf("the peer: %s times nothing came back for 100 ms.", count(e.Stalls))
	}
	if s := rings(r, e.Sent); s != "" {
		return s
	}
	if e.Lost > uint64(r.Concurrency)+e.Sent/100 {
		return fmt.Sprintf("the peer, or a device on the way: %s of %s frames did not come back.", count(e.Lost), count(e.Sent))
	}
	return workers(r, "frames")
}
