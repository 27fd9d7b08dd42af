package bench

import (
	"errors"
	"fmt"
	"math"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	openBurst = 64   // opens per round, so that receiving gets its turn: handshake.MaxBurst
	portTries = 64   // tuples tried per open and round
	outputGap = 128  // room left in the engine's output for resets and timers
	poolRetry = 1e6  // ns until an exhausted port pool is looked at again
	hopRetry  = 10e6 // ns between looks at the neighbour table
)

// client opens flows on one worker. It is touched on that worker only. calls are made for
// its flows; those of the handshake scenario unless somebody else sets them.
type client struct {
	lifecycle
	calls  worker.Callbacks
	worker *worker.Worker // nil until the first SYN
	tuples *tuples
	limit  int // flows in flight
	pace   pace

	app      uint16
	inflight int
	giveUp   int64 // end of the wait for the last of a count; 0 until they are all open
	misses   int   // tuples found in use, one after the other
	try      [openBurst]wire.Tuple
	ids      [openBurst]handshake.FlowID
	late     []uint32 // by flow index: how late the SYN was, in 64 ns; nil without a rate
	up       []bool   // by flow index: established; nil if our reset ends those at once

	ctr      clientCounters
	inWindow uint64 // established when the sending time ended
	times
	samples sampler

	windowEnds func() // nil: nobody wants to know
	stays      bool   // with flows after the sending time: whoever holds them says when it is finished
	// opens takes the place of open; nil: it does without text.
	opens func(w *worker.Worker, now int64, n int) (next int64)
}

// clientCounters are of the generator; the engine has those of the attempts.
type clientCounters struct {
	opened      uint64
	established uint64
	closed      uint64 // flows and attempts that ended otherwise than by our reset
	exhausted   uint64 // laps over all tuples without a free one
	tableFull   uint64
	starved     uint64 // rounds in which all places were in flight
}

func newClient(j *job, id int, t *tuples) *client {
	c := &client{lifecycle: newLifecycle(j, id), tuples: t, times: newTimes(), samples: newSampler()}
	c.limit = max(1, c.share(j.cfg.Concurrency))
	if j.cfg.FastOpen {
		c.opens = c.openText
	}
	c.calls = worker.Callbacks{Bare: true, Established: c.establishedRST, Closed: c.flowClosed, AutoClose: true}
	if j.cfg.Close == CloseFIN {
		c.calls.Established = c.establishedFIN
	}
	return c
}

// Poll implements worker.Source.
func (c *client) Poll(w *worker.Worker, now int64) int64 {
	if c.ctr.established != c.handed {
		c.handedOver(w, now)
	}
	if now >= c.samples.check {
		c.samples.look(w, now)
	}
	switch c.phase {
	case sending:
		return c.send(w, now)
	case resolving:
		if c.job.stop.Load() {
			c.abandon(errStopped, now)
			return worker.Never
		}
		if again := c.resolve(w, now); again > 0 {
			return again
		}
		if err := c.begin(w); err != nil {
			c.abandon(err, now)
			return worker.Never
		}
		return c.send(w, now)
	case draining:
		if c.inflight == 0 {
			c.finish()
		}
	case finished:
	}
	return worker.Never
}

var errStopped = errors.New("bench: stopped before the first SYN")

func (c *client) begin(w *worker.Worker) error {
	var err error
	c.worker = w
	if c.app, err = w.AddApp(c.calls); err != nil {
		return err
	}
	c.pace = newPace(c.job.cfg.plan, c.id, c.job.workers, c.start)
	return nil
}

// send opens as many flows as are due, and ends the sending time.
func (c *client) send(w *worker.Worker, now int64) int64 {
	if c.over(now, &c.pace) {
		c.endWindow(now)
		return worker.Never
	}
	if c.quota == 0 {
		// Bounded by count: the last attempt's end is the end of the sending time,
		// or that of the patience with those that are pending.
		if c.giveUp == 0 {
			c.giveUp = math.MaxInt64
			if c.job.cfg.drainGiven {
				c.giveUp = now + int64(c.job.cfg.Drain)
			}
		}
		switch {
		case c.inflight == 0:
			c.endWindow(now)
		case now >= c.giveUp:
			c.endWindow(now)
			if !c.stays {
				c.finish()
			}
		}
		return min(c.until, c.giveUp)
	}
	n := c.limit - c.inflight
	if n <= 0 {
		c.ctr.starved++
		return c.until
	}
	n = min(n, openBurst, w.ConnectRoom()-outputGap)
	if uint64(n) > c.quota && n > 0 {
		n = int(c.quota)
	}
	if c.pace.on() {
		due := c.pace.due(min(now, c.until-1))
		if due == 0 {
			return min(c.until, c.pace.intended())
		}
		n = min(n, due)
	}
	if next := c.open(w, now, n); next != 0 {
		return min(c.until, next)
	}
	return now
}

// open opens n ≤ openBurst flows. When it cannot, it returns when to try again.
func (c *client) open(w *worker.Worker, now int64, n int) (next int64) {
	if c.opens != nil {
		return c.opens(w, now, n)
	}
	for tries := n * portTries; n > 0 && tries > 0; {
		for i := range n {
			c.try[i] = *c.tuples.next()
		}
		k, err := w.ConnectMany(c.try[:n], c.app, c.ids[:n])
		if now >= c.samples.next {
			c.samples.choose(w, now, c.ids[:k])
		}
		tries -= n
		for _, id := range c.ids[:k] {
			if !id.Valid() {
				c.misses++ // in use
				continue
			}
			c.opened(now, id)
			n--
		}
		switch {
		case err == nil:
		case errors.Is(err, handshake.ErrOutputFull):
			return now
		case errors.Is(err, handshake.ErrTableFull):
			c.ctr.tableFull++
			return now + poolRetry
		default:
			c.abandon(fmt.Errorf("bench: connect to %v port %d: %w", c.job.remote, c.job.port, err), now)
			return worker.Never
		}
	}
	return c.lapped(now)
}

// fastText is what FastOpen sends: about the size of a small request.
var fastText = []byte("fastsyn bench: text that may come twice, as Fast Open has it. \r\n")

// openText is open with text, one flow at a time.
func (c *client) openText(w *worker.Worker, now int64, n int) (next int64) {
	for tries := n * portTries; n > 0 && tries > 0; tries-- {
		id, err := w.ConnectText(c.tuples.next(), c.app, fastText)
		switch {
		case err == nil:
			if now >= c.samples.next {
				c.ids[0] = id
				c.samples.choose(w, now, c.ids[:1])
			}
			c.opened(now, id)
			n--
		case errors.Is(err, handshake.ErrTupleInUse):
			c.misses++
		case errors.Is(err, handshake.ErrOutputFull):
			return now
		case errors.Is(err, handshake.ErrTableFull), errors.Is(err, worker.ErrNoText):
			c.ctr.tableFull++
			return now + poolRetry
		default:
			c.abandon(fmt.Errorf("bench: connect to %v port %d: %w", c.job.remote, c.job.port, err), now)
			return worker.Never
		}
	}
	return c.lapped(now)
}

// lapped is when to go on after a search for free tuples.
func (c *client) lapped(now int64) (next int64) {
	if c.misses < c.tuples.total {
		return 0
	}
	c.misses = 0
	c.ctr.exhausted++
	return now + poolRetry
}

// opened counts an open, and how late it is by the schedule.
func (c *client) opened(now int64, id handshake.FlowID) {
	c.inflight++
	c.misses = 0
	c.quota--
	c.ctr.opened++
	if c.pace.on() {
		c.late[id.Index()] = uint32(min(max(0, now-c.pace.intended())/64, math.MaxUint32))
		c.pace.made(1)
	}
}

func (c *client) endWindow(now int64) {
	c.inWindow = c.ctr.established
	if c.windowEnds != nil {
		c.windowEnds()
	}
	c.stopSending(now)
	if c.inflight == 0 && !c.stays {
		c.finish()
	}
}

// record takes note of a flow that is established, and returns its age.
func (c *client) record(f *worker.Flow) (age int64) {
	c.ctr.established++
	return c.timed(f)
}

// timed is record of a flow that was to end otherwise.
func (c *client) timed(f *worker.Flow) (age int64) {
	age = int64(f.Age())
	c.service.record(age)
	switch {
	case f.Retransmitted():
		c.resent.record(age)
	case c.wait != nil:
		c.wait.record(c.lateness(f))
	}
	return age
}

// lateness is how long after its intended time the SYN of f was sent; 0 without a schedule.
func (c *client) lateness(f *worker.Flow) int64 {
	if c.late == nil {
		return 0
	}
	return int64(c.late[f.ID().Index()]) * 64
}

// respond records that what f is for took so long, and how late it began.
func (c *client) respond(f *worker.Flow, age int64) {
	if c.response != nil {
		c.response.record(age + c.lateness(f))
	}
}

// fail records how long f was tried, from its intended time, for nothing.
func (c *client) fail(f *worker.Flow) { c.failed.record(int64(f.Age()) + c.lateness(f)) }

// establishedRST ends the flow at once: the shortest life a connection can have.
func (c *client) establishedRST(f *worker.Flow) {
	c.respond(f, c.record(f))
	c.inflight--
	f.Abort()
}

func (c *client) establishedFIN(f *worker.Flow) {
	c.respond(f, c.record(f))
	c.up[f.ID().Index()] = true
	f.Close()
}

func (c *client) flowClosed(f *worker.Flow, why handshake.CloseReason) {
	c.inflight--
	c.ctr.closed++
	if c.up != nil && c.up[f.ID().Index()] {
		c.up[f.ID().Index()] = false
		return
	}
	c.samples.failed(f.ID(), why)
	c.fail(f)
}
