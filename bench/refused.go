package bench

import (
	"bytes"
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// refuser opens where nothing listens: the reset is what it wants, and everything else a failure.
type refuser struct {
	client
	refused, bad uint64
	inTime       uint64 // refused when the sending time ended
}

func newRefuser(j *job, id int, t *tuples) *refuser {
	c := &refuser{client: *newClient(j, id, t)}
	c.calls = worker.Callbacks{Bare: true, AutoClose: true, Established: c.established, Closed: c.flowClosed}
	c.windowEnds = func() { c.inTime = c.refused }
	return c
}

// established is a failure: somebody listens after all.
func (c *refuser) established(f *worker.Flow) {
	c.ctr.established++
	c.bad++
	c.inflight--
	c.fail(f)
	f.Abort()
}

func (c *refuser) flowClosed(f *worker.Flow, why handshake.CloseReason) {
	c.inflight--
	c.ctr.closed++
	if why != handshake.ReasonRefused {
		c.bad++
		c.fail(f)
		return
	}
	c.refused++
	c.respond(f, c.timed(f))
}

// progress implements generator: what was refused is done.
func (c *refuser) progress() (done, failed, inflight uint64, lat *latency) {
	return c.refused, c.bad, uint64(c.inflight), c.service
}

func (r *run) reportRefused(rep *Report) {
	samples := r.reportOpens(rep)
	var refused, inTime uint64
	for _, g := range r.gens {
		c := g.(*refuser)
		refused += c.refused
		inTime += c.inTime
	}
	rep.Rate.RefusedPerS = r.perSecond(inTime)
	rep.noSYNACK()
	h := &rep.Handshakes
	rep.equation("callbacks = refused", refused, h.Refused)
	rep.equation("latency samples = refused", samples, h.Refused)
	if rep.Server != nil && r.bare() && h.Pending+h.Established == 0 && r.taken() {
		rep.equation("SYNs sent by the client = resets of the server", h.Attempted+rep.Retransmissions.SYN, rep.Server.Engine.Outcome[handshake.AnsweredReset])
	}
}

// noSYNACK takes back a phase that is made of the latency, which was not to a SYN-ACK.
func (rep *Report) noSYNACK() {
	rep.Phases.SYNACK = Latency{}
	delete(rep.Histograms, "phases.syn_ack")
}

func (r *Report) textRefused(b *bytes.Buffer) {
	line(b, "rate", "%s refusals/s", number(r.Rate.RefusedPerS))
	r.textHandshakeCounts(b)
}

func refusedLimiter(r *Report) string {
	h := &r.Handshakes
	if h.Attempted > 0 && h.Refused < h.Attempted/2 {
		return fmt.Sprintf("not refused: %s of %s attempts were established, %s timed out, %s ended by ICMP errors, %s were pending; a reset was wanted.",
			count(h.Established), count(h.Attempted), count(h.TimedOut), count(h.Unreachable), count(h.Pending))
	}
	return openLimiter(r)
}
