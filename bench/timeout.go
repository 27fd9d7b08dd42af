package bench

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// maxTimeouts is how many attempts are in flight at once unless --concurrency says otherwise.
const maxTimeouts = 10_000

// agePeriod is when Flow.Age starts anew.
const agePeriod = int64(64) << 32

// Timeout is the outcome of that scenario: attempted = on_schedule + off_schedule + answered + pending. Times
// are from the first SYN of an attempt, by the clock that a worker reads once per burst.
type Timeout struct {
	// OnSchedule timed out after all copies of their SYN, none of which left before its time; late ones
	// are this end's own doing, and told by the latencies.
	OnSchedule  uint64 `json:"on_schedule"`
	OffSchedule uint64 `json:"off_schedule"`
	Answered    uint64 `json:"answered"` // anything came: SYN-ACK, RST, ICMP error
	Pending     uint64 `json:"pending"`
	// Repeats are the repetitions of SYNs, in order; the last entry is the timeout, for which there is none.
	Repeats []Repeat `json:"repeats"`
	// Swallowed is what our own black hole received and dropped.
	Swallowed uint64 `json:"swallowed"`
}

// Repeat is what a schedule says of one repetition, and what was done.
type Repeat struct {
	Due   int64   `json:"due_ns"`
	Early uint64  `json:"early"` // of at_ns.count
	At    Latency `json:"at_ns"`
}

// patient opens into a black hole. An attempt is done when it timed out as its schedule says.
type patient struct {
	client
	due    []int64 // of the repetitions and of the timeout
	at     []*latency
	early  []uint64
	copies []repeated // by flow index

	on, off, answered uint64
}

// repeated is how often the SYN of an attempt was repeated, and whether one was early.
type repeated struct {
	n     uint8
	early bool
}

func newPatient(j *job, id int, t *tuples, flows int) *patient {
	c := &patient{client: *newClient(j, id, t), copies: make([]repeated, flows+1)}
	total := int64(0)
	for _, wait := range j.cfg.waits() {
		total += int64(wait)
		c.due, c.at = append(c.due, total), append(c.at, newLatency())
	}
	c.early = make([]uint64, len(c.due))
	c.calls = worker.Callbacks{Bare: true, AutoClose: true, Established: c.established, Repeated: c.repeated, Closed: c.flowClosed}
	return c
}

// took records the age of f for step k of the schedule.
func (c *patient) took(f *worker.Flow, k int) (age int64) {
	if k >= len(c.due) {
		k = len(c.due) - 1 // a step too many; the count of copies tells
	}
	age = int64(f.Age())
	age += agePeriod * int64(math.Round(float64(c.due[k]-age)/float64(agePeriod)))
	c.at[k].record(age)
	// Ages have steps of 64 ns.
	if age+64 < c.due[k] {
		c.early[k]++
		c.copies[f.ID().Index()].early = true
	}
	return age
}

func (c *patient) repeated(f *worker.Flow) {
	x := &c.copies[f.ID().Index()]
	c.took(f, int(x.n))
	x.n++
}

func (c *patient) established(f *worker.Flow) {
	c.ctr.established++
	c.answered++
	c.inflight--
	c.fail(f)
	c.copies[f.ID().Index()] = repeated{}
	f.Abort()
}

func (c *patient) flowClosed(f *worker.Flow, why handshake.CloseReason) {
	c.inflight--
	c.ctr.closed++
	x := &c.copies[f.ID().Index()]
	switch {
	case why != handshake.ReasonTimedOut:
		c.answered++
		c.fail(f)
	default:
		last := len(c.due) - 1
		age := c.took(f, last)
		c.service.record(age)
		c.respond(f, age)
		if int(x.n) == last && !x.early {
			c.on++
		} else {
			c.off++
		}
	}
	*x = repeated{}
}

// progress implements generator: what timed out on schedule is done.
func (c *patient) progress() (done, failed, inflight uint64, lat *latency) {
	return c.on, c.off + c.answered, uint64(c.inflight), c.service
}

// timeoutSettings fills in the defaults of that scenario: a number of attempts, and the time they take.
func (c *Config) timeoutSettings() error {
	if c.Count == 0 && c.Duration == 0 && c.Load == "" {
		c.Count = DefaultTimeouts
	}
	if c.Concurrency == 0 && c.Count > 0 { // all at once, for they take long
		c.Concurrency = int(min(c.Count, maxTimeouts))
	}
	if c.Drain == 0 {
		c.Drain = c.retrySchedule() + time.Second
	}
	return nil
}

// hole is our own black hole: its worker answers ARP and NDP, and no TCP.
type hole struct{ syns, others uint64 }

func (h *hole) Receive(_ int64, segs []*wire.Segment) {
	for _, s := range segs {
		if s.Flags&(wire.FlagSYN|wire.FlagACK|wire.FlagRST|wire.FlagFIN) == wire.FlagSYN {
			h.syns++
		} else {
			h.others++
		}
	}
}

func (*hole) Want(int64) (n int, next int64) { return 0, worker.Never }
func (*hole) Send(int64, *dataplane.Batch)   {}

func (r *run) reportTimeout(rep *Report) {
	samples := r.reportOpens(rep)
	rep.noSYNACK()
	t, h := &rep.Timeout, &rep.Handshakes
	due := r.gens[0].(*patient).due
	at := make([]*latency, len(due))
	t.Repeats = make([]Repeat, len(due))
	var early uint64
	for k := range due {
		t.Repeats[k].Due, at[k] = due[k], newLatency()
	}
	for _, g := range r.gens {
		c := g.(*patient)
		t.OnSchedule += c.on
		t.OffSchedule += c.off
		t.Answered += c.answered
		t.Pending += uint64(c.inflight)
		for k := range due {
			c.at[k].copyTo(at[k].h)
			t.Repeats[k].Early += c.early[k]
			early += c.early[k]
		}
	}
	var repeats uint64
	for k := range due {
		t.Repeats[k].At = summarize(at[k].h)
		if k < len(due)-1 {
			repeats += uint64(t.Repeats[k].At.Count)
		}
	}
	rep.equation("attempted = on schedule + off schedule + answered + pending", h.Attempted, t.OnSchedule+t.OffSchedule+t.Answered+t.Pending)
	rep.equation("timed out = on schedule + off schedule", h.TimedOut, t.OnSchedule+t.OffSchedule)
	rep.equation("latency samples = timed out", samples, h.TimedOut)
	rep.equation("repetitions told = SYNs retransmitted", repeats, rep.Retransmissions.SYN)
	if h.Pending+t.Answered == 0 {
		rep.equation("SYNs retransmitted = attempts x repetitions of the schedule", rep.Retransmissions.SYN, h.Attempted*uint64(len(due)-1))
	}
	rep.equation("SYNs and timeouts before their time", early, 0)
	if rep.Server == nil {
		return
	}
	var syns, others uint64
	for _, x := range r.holes {
		syns += x.syns
		others += x.others
	}
	t.Swallowed = syns + others
	rep.Server.Drops["black_hole"] += t.Swallowed
	rep.Drops["black_hole"] += t.Swallowed
	if p := &rep.Client.Port; r.bare() && p.TxFull+p.TxErrors == 0 && r.taken() {
		rep.equation("SYNs sent by the client = SYNs into the black hole", h.Attempted+rep.Retransmissions.SYN, syns)
	}
}

func (r *Report) textTimeout(b *bytes.Buffer) {
	t := &r.Timeout
	line(b, "timeouts", "%s attempted = %s on schedule + %s off schedule + %s answered + %s pending",
		count(r.Handshakes.Attempted), count(t.OnSchedule), count(t.OffSchedule), count(t.Answered), count(t.Pending))
	var steps []string
	for k, x := range t.Repeats {
		name := fmt.Sprintf("SYN %d", k+2)
		if k == len(t.Repeats)-1 {
			name = "timeout"
		}
		s := name + " due " + shortDuration(time.Duration(x.Due))
		if x.At.Count > 0 {
			s += " at " + shortDuration(time.Duration(x.At.P50)) + " to " + shortDuration(time.Duration(x.At.Max))
		}
		steps = append(steps, s)
	}
	line(b, "schedule", "%s", strings.Join(steps, ", "))
	r.textHandshakeCounts(b)
}

func timeoutLimiter(r *Report) string {
	t, h := &r.Timeout, &r.Handshakes
	switch {
	case h.Attempted == 0:
		return "nothing was sent: the run ended before the first SYN."
	case t.Answered > 0:
		return fmt.Sprintf("no black hole: %s of %s attempts were answered: %s established, %s refused, %s ended by ICMP errors.",
			count(t.Answered), count(h.Attempted), count(h.Established), count(h.Refused), count(h.Unreachable))
	case t.OffSchedule > 0:
		return fmt.Sprintf("this end: %s of %s attempts did not keep to their schedule.", count(t.OffSchedule), count(h.Attempted))
	case t.Pending > 0:
		return fmt.Sprintf("the end of the run: %s of %s attempts were pending; the schedule lasts %s.",
			count(t.Pending), count(h.Attempted), shortDuration(time.Duration(t.Repeats[len(t.Repeats)-1].Due)))
	}
	return fmt.Sprintf("the schedule: each of %s attempts has %d SYNs and lasts %s, the longest took %s.", count(h.Attempted), len(t.Repeats),
		shortDuration(time.Duration(t.Repeats[len(t.Repeats)-1].Due)), shortDuration(time.Duration(r.Latency.Max)))
}
