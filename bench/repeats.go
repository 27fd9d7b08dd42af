package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/handshake"
)

// repeats are what became of the handshakes whose SYN was sent again, by how long they took.
type repeats struct {
	total uint64
	early uint64 // sooner than the first timeout: something else than silence was the reason
	steps []step // those that took about as long as a number of timeouts
	late  uint64 // somewhere between
}

// step is a plateau of the latency: handshakes whose time is that of a repetition, and little more.
type step struct {
	after time.Duration // from the first copy
	n     uint64
}

// waits is the schedule of SYNs that a report was made with.
func (r *Report) waits() handshake.Schedule {
	c := Config{Retry: cmp.Or(setting(r, "retry"), handshake.RetryLinux.String())}
	c.InitialRTO, _ = time.ParseDuration(setting(r, "initial-rto"))
	if s, err := c.retry(); err == nil && s.SYN != nil {
		return s.SYN
	}
	return handshake.Backoff(cmp.Or(c.InitialRTO, time.Second), 120*time.Second, 12)
}

// setting is one of r.Config as text, empty if it was left out.
func setting(r *Report, name string) string {
	if v, ok := r.Config[name]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// repeats sorts the handshakes with repeated SYNs by the waits of the schedule. A tenth of the wait is granted to
// the answer, or twice the time that nine of ten others took.
func (r *Report) repeats() (p repeats) {
	h, err := r.Histogram("retransmitted")
	if err != nil || h == nil {
		return p
	}
	usual := 2 * time.Duration(r.Phases.SYNACK.P90)
	var at []step
	sum := time.Duration(0)
	for _, w := range r.waits() {
		sum += w
		at = append(at, step{after: sum})
	}
	for _, b := range h.Distribution() {
		if b.Count == 0 {
			continue
		}
		n, took := uint64(b.Count), time.Duration(b.To)
		p.total += n
		i := -1 // the last repetition that can have been answered then
		for i+1 < len(at) && took >= at[i+1].after {
			i++
		}
		switch {
		case i < 0:
			p.early += n
		case took <= at[i].after+max(usual, at[i].after/10):
			at[i].n += n
		default:
			p.late += n
		}
	}
	p.steps = slices.DeleteFunc(at, func(s step) bool { return s.n == 0 })
	return p
}

// plateau are all handshakes at a step.
func (p *repeats) plateau() (n uint64) {
	for _, s := range p.steps {
		n += s.n
	}
	return n
}

// String says how long the repeated ones took.
func (p *repeats) String() string {
	var out []string
	for _, s := range p.steps {
		out = append(out, fmt.Sprintf("%s took %s", count(s.n), shortDuration(s.after)))
	}
	if len(out) > 0 {
		out[len(out)-1] += " and little more, which are the timeouts"
	}
	if p.late > 0 {
		out = append(out, count(p.late)+" longer than that")
	}
	if p.early > 0 {
		out = append(out, count(p.early)+" were repeated before any timeout, as after a challenge ACK of a tuple in TIME-WAIT")
	}
	return strings.Join(out, ", ")
}

// repetition names the reason why more than one in manyLost SYNs was sent again, with what the latencies say of it.
func repetition(r *Report) string {
	h := &r.Handshakes
	if r.Retransmissions.SYN <= h.Attempted/manyLost {
		return ""
	}
	p := r.repeats()
	s := fmt.Sprintf("retransmissions: %s SYNs of %s attempts were repeated", count(r.Retransmissions.SYN), count(h.Attempted))
	if p.total > 0 {
		s += fmt.Sprintf("; of %s handshakes established then %s", count(p.total), p.String())
	}
	if p.plateau() > p.total/2 {
		s = "RTO plateau, " + s
		if r.Phases.SYNACK.Count > 0 {
			s += fmt.Sprintf(", where others have a p99 of %s", shortDuration(time.Duration(r.Phases.SYNACK.P99)))
		}
	}
	if p.total > 0 && p.early > p.total/2 {
		return s + ". More source addresses (--addr, --pool) keep tuples from coming back so soon."
	}
	return fmt.Sprintf("%s. %s Each timeout kept one of %s places in flight waiting.", s, dropper(r), count(uint64(r.Concurrency)))
}

// dropper says who lost the SYNs, or their answers: what was seen where both ends are ours, and else what the fate of
// other segments says. A wire loses any segment, a full SYN queue SYNs only; a kernel whose accept queue is full
// ignores the ACK and the FIN of a handshake that it has answered, too.
func dropper(r *Report) string {
	most, at, reason := uint64(0), "", ""
	for i := range r.Path {
		for name, n := range r.Path[i].Lost {
			if r.Path[i].Seen && (n > most || n == most && name < reason) {
				most, at, reason = n, r.Path[i].Name, name
			}
		}
	}
	if most > 0 {
		return fmt.Sprintf("Most were lost at the stage %q: %s %s.", at, count(most), reason)
	}
	if r.Server != nil {
		return "No frame was lost: the answers came later than the timeout."
	}
	others := r.Retransmissions.FIN + r.Retransmissions.Stream
	syns := float64(r.Retransmissions.SYN) / float64(max(1, r.Handshakes.Attempted))
	switch closed := r.Flows.Done; { // each of which sent a FIN at least
	case closed < 100:
		return "The peer's full SYN or accept queue dropped them, or a device on the way."
	case float64(others)/float64(closed) < syns/10:
		return fmt.Sprintf("Of the other segments of %s closed flows only %s were repeated: it is the peer's SYN or accept queue that was full, not the wire.", count(closed), count(others))
	default:
		return fmt.Sprintf("Other segments were repeated too (%s, of %s closed flows): a device on the way loses frames, or the peer's full accept queue ignores what follows a handshake as well.",
			count(others), count(closed))
	}
}
