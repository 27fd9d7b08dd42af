package bench

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	// openWindow is how many attempts, or probes, a worker of a scenario that holds flows has in
	// flight: --concurrency says how many are held.
	openWindow = 256
	// windowStall is how long a window may be full without an answer until more is sent: the peer may be gone.
	windowStall = 100e6
	burstPause  = 200e3 // ns between bursts of probes or closes
	meetRetry   = 5e6   // ns between looks at what other workers do
	// probeRetries is how often a probe or a FIN is repeated: with the timeouts of Linux a flow is dead after 15 s.
	probeRetries = 3
)

// meeting is what the workers of a run tell each other when they hold flows.
type meeting struct {
	opening atomic.Int32 // workers that are not done opening
	seen    atomic.Bool  // what is held has been looked at: go on
}

// holder opens flows and keeps them: while others open, and then for Config.Hold. In
// the end it asks each peer whether it still has the flow, and closes them all. Opens are those of client.
type holder struct {
	client
	flows []heldFlow // by index
	stage holdStage
	time  time.Duration // of holding
	probe bool

	target   int    // flows to hold
	attempts int    // in flight at most
	next     int64  // when the next burst of probes or closes may go
	cursor   uint32 // of a walk over flows
	open     int    // flows that are not closing
	waiting  int    // probes without an answer
	closing  int    // FINs whose end is not known yet
	window   window // of probes, then of FINs
	peakAt   int64  // when the last flow of the peak was established
	begin    int64  // of the hold
	finishAt int64

	tally      holdCounters
	held, idle chan struct{} // closed after the hold, and when all are closed
}

// heldFlow is a flow by its index; not open, it is an attempt, or nothing.
type heldFlow struct {
	id handshake.FlowID
	is flowStage
}

const heldFlowBytes = 12 // size of a heldFlow

type flowStage uint8

const (
	flowNone flowStage = iota
	flowOpen
	flowAsked // a probe is under way
	flowAlive // and was answered
	flowClosing
)

type holdStage uint8

const (
	stageOpening holdStage = iota
	stageMeeting           // for the others to be open
	stageHolding
	stageShown // for those who look at it
	stageAsking
	stageClosing
	stageClosed
)

// holdCounters are those of one holder: established = lost + closed + open.
type holdCounters struct {
	peak   uint64 // open when the hold began
	late   uint64 // established after it
	asked  uint64 // flows that were probed: asked = alive + dead + waiting
	alive  uint64
	dead   uint64 // lost without an answer
	closed uint64 // by us, in the end
	lost   [numLosses]uint64
	before uint64 // lost while opening
	during uint64 // lost while holding
}

// loss is how a flow ends that nobody here has ended.
type loss uint8

const (
	lossReset  loss = iota // RST of the peer
	lossClosed             // FIN of the peer
	lossSilent             // no answer to a probe and its repetitions
	lossICMP               // likewise, and an ICMP error said why
	numLosses
)

var lossNames = [numLosses]string{"reset", "closed", "silent", "unreachable"}

func lossOf(why handshake.CloseReason) loss {
	switch why {
	case handshake.ReasonReset:
		return lossReset
	case handshake.ReasonTimedOut:
		return lossSilent
	case handshake.ReasonUnreachable:
		return lossICMP
	case handshake.ReasonDone, handshake.ReasonAborted, handshake.ReasonRefused, handshake.ReasonNone:
	}
	return lossClosed
}

func newHolder(j *job, id int, t *tuples, flows int, hold time.Duration, probe bool) *holder {
	h := &holder{client: *newClient(j, id, t), flows: make([]heldFlow, flows+1), time: hold, probe: probe, held: make(chan struct{}), idle: make(chan struct{})}
	h.stays, h.attempts = true, h.limit
	h.target = math.MaxInt
	if j.cfg.kind().holds {
		h.target, h.attempts = h.limit, min(h.limit, openWindow)
	}
	h.calls = worker.Callbacks{
		Bare: true, AutoClose: true,
		Established: h.established, Alive: h.alive, PeerClosed: h.peerClosed, Closed: h.flowClosed,
	}
	j.holding.opening.Add(1)
	return h
}

func (h *holder) established(f *worker.Flow) {
	h.respond(f, h.record(f))
	h.inflight--
	h.open++
	h.flows[f.ID().Index()] = heldFlow{f.ID(), flowOpen}
	if h.stage < stageHolding {
		h.peakAt = f.Worker().Now()
	}
	if h.stage >= stageHolding {
		h.tally.late++
		h.cursor = min(h.cursor, f.ID().Index()) // where the walk is to begin, or is
	}
}

// Poll implements worker.Source.
func (h *holder) Poll(w *worker.Worker, now int64) int64 {
	if h.phase != draining {
		h.limit = min(h.attempts, h.target-h.open)
		next := h.client.Poll(w, now)
		if h.phase == sending && h.inflight == 0 && (h.open >= h.target || h.ctr.exhausted+h.ctr.tableFull > 0) {
			h.endWindow(now) // all are open, or there is no place for more and none will be free
		}
		if h.phase != draining {
			return next
		}
	}
	switch h.stage {
	case stageOpening:
		h.job.holding.opening.Add(-1)
		h.stage = stageMeeting
		fallthrough
	case stageMeeting:
		if h.job.holding.opening.Load() > 0 {
			return now + meetRetry
		}
		h.stage, h.begin, h.tally.peak = stageHolding, now, uint64(h.open)
		fallthrough
	case stageHolding:
		if end := h.begin + int64(h.time); now < end && !h.job.stop.Load() {
			return min(end, now+meetRetry)
		}
		h.stage = stageShown
		close(h.held)
		fallthrough
	case stageShown:
		if !h.job.holding.seen.Load() {
			return now + meetRetry
		}
		h.finishAt, h.cursor = now, 1
		h.stage = stageClosing
		if h.probe {
			h.stage = stageAsking
		}
		return now
	case stageAsking:
		return h.ask(w, now)
	case stageClosing:
		return h.closeAll(w, now)
	case stageClosed:
		switch {
		case h.open > 0: // late
			return h.closeAll(w, now)
		case h.closing == 0 && h.inflight == 0:
			h.finish()
		}
	}
	return worker.Never
}

// burst is how many segments may go now, and when to ask again: no more than a peer can be
// expected to receive, since resets are not repeated.
func (h *holder) burst(w *worker.Worker, now int64) (n int, again int64) {
	if now < h.next {
		return 0, h.next
	}
	n, again = h.window.room(now)
	n = min(n, openBurst, w.ConnectRoom()-outputGap)
	if n > 0 {
		h.next = now + burstPause
		again = h.next
	}
	return max(n, 0), max(again, now)
}

// ask probes the next flows. They are closed when all have answered or are dead.
func (h *holder) ask(w *worker.Worker, now int64) int64 {
	if h.job.stop.Load() {
		h.stage, h.cursor = stageClosing, 1
		return now
	}
	n, again := h.burst(w, now)
	for ; n > 0 && int(h.cursor) < len(h.flows); h.cursor++ {
		x := &h.flows[h.cursor]
		if x.is != flowOpen {
			continue
		}
		if !w.Probe(x.id) {
			return now
		}
		x.is = flowAsked
		h.tally.asked++
		h.waiting++
		h.window.sent(now)
		n--
	}
	if int(h.cursor) < len(h.flows) {
		return again
	}
	if h.waiting > 0 {
		return worker.Never // until one answers or is dead
	}
	h.stage, h.cursor = stageClosing, 1
	return now
}

func (h *holder) alive(f *worker.Flow) {
	x := &h.flows[f.ID().Index()]
	if x.is != flowAsked {
		return
	}
	x.is = flowAlive
	h.tally.alive++
	h.waiting--
	h.window.heard(f.Worker().Now())
}

// closeAll closes flows, and attempts that have become some since.
func (h *holder) closeAll(w *worker.Worker, now int64) int64 {
	n, again := h.burst(w, now)
	for ; n > 0 && int(h.cursor) < len(h.flows); h.cursor++ {
		x := &h.flows[h.cursor]
		if x.is == flowNone || x.is == flowClosing {
			continue
		}
		h.tally.closed++
		h.open--
		n--
		if h.job.cfg.Close == CloseFIN {
			x.is = flowClosing
			h.closing++
			h.window.sent(now)
			w.Close(x.id)
		} else {
			x.is = flowNone
			w.Abort(x.id)
		}
	}
	if int(h.cursor) < len(h.flows) {
		return again
	}
	if h.stage == stageClosing {
		h.stage = stageClosed
		close(h.idle)
	}
	return now
}

// lose takes note of a flow that is gone, or about to.
func (h *holder) lose(x *heldFlow, why loss) {
	if x.is == flowAsked {
		h.tally.dead++
		h.waiting--
	}
	h.open--
	h.tally.lost[why]++
	switch {
	case h.stage < stageHolding:
		h.tally.before++
	case h.stage < stageAsking:
		h.tally.during++
	}
}

// peerClosed is answered in kind.
func (h *holder) peerClosed(f *worker.Flow) {
	x := &h.flows[f.ID().Index()]
	switch x.is {
	case flowOpen, flowAsked, flowAlive:
		h.lose(x, lossClosed)
		x.is = flowClosing
		h.closing++
	case flowNone, flowClosing:
	}
}

func (h *holder) flowClosed(f *worker.Flow, why handshake.CloseReason) {
	x := &h.flows[f.ID().Index()]
	h.ctr.closed++
	switch x.is {
	case flowOpen, flowAsked, flowAlive:
		h.lose(x, lossOf(why))
	case flowClosing:
		h.closing--
		h.window.heard(f.Worker().Now())
	case flowNone:
		h.inflight--
		h.fail(f)
	}
	*x = heldFlow{}
}

// bytes is the memory of h that grows with its flows.
func (h *holder) bytes() uint64 { return uint64(len(h.flows)) * heldFlowBytes }
