package bench

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

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

// phase is where a generator is in its life.
type phase uint8

const (
	resolving phase = iota
	sending
	draining
	finished
)

// job is what the generators of a run share. It is constant while they run, but
// for stop and fail.
type job struct {
	cfg      Config
	workers  int
	remote   wire.Addr
	port     uint16
	portName string
	content  []byte // of responses, if our own server makes them
	stop     atomic.Bool
	fail     chan error
	holding  meeting

	ready atomic.Int32 // workers that could send
	begin atomic.Int64 // when a schedule starts, for all of them; 0: not yet
}

// startMargin is what workers get to hear that they start.
const startMargin = int64(200e3)

// starts is when a worker that could send may begin to: at once, but with a schedule all begin
// together, so that their opens stay evenly spaced and none is late from the start. A time that
// is later than now is when to ask again.
func (j *job) starts(l *lifecycle, now int64) int64 {
	if j.cfg.plan == nil || j.workers == 1 {
		return now
	}
	if !l.ready {
		l.ready = true
		if int(j.ready.Add(1)) == j.workers {
			j.begin.Store(now + startMargin)
		}
	}
	if at := j.begin.Load(); at > 0 {
		return at
	}
	return now + startMargin/4
}

// lifecycle is what both kinds of generators have: phases, and channels that
// tell others of them.
type lifecycle struct {
	job   *job
	id    int
	phase phase
	start int64 // first SYN; worker's clock
	end   int64 // end of the sending time
	until int64
	quota uint64 // opens left
	ready bool   // and waiting for the others

	began, sent, done chan struct{}
}

func newLifecycle(j *job, id int) lifecycle {
	quota := uint64(math.MaxUint64)
	if n, k := j.cfg.Count, uint64(j.workers); n > 0 {
		quota = n / k
		if uint64(id) < n%k {
			quota++
		}
	}
	return lifecycle{
		job: j, id: id, quota: quota,
		began: make(chan struct{}), sent: make(chan struct{}), done: make(chan struct{}),
	}
}

// wanted is how many opens of this worker the schedule has in its sending time, of
// which so many were made: counted anew, from the start.
func (l *lifecycle) wanted(made uint64) uint64 {
	if l.job.cfg.plan == nil || l.phase <= sending {
		return 0
	}
	p := newPace(l.job.cfg.plan, l.id, l.job.workers, l.start)
	return min(p.dueBy(min(l.end, l.until-1)), l.quota+made)
}

// share is this worker's part of n.
func (l *lifecycle) share(n int) int {
	k := n / l.job.workers
	if l.id < n%l.job.workers {
		k++
	}
	return k
}

// resolve enters the sending time once the next hop is known and the others are
// ready too, and returns 0; else it returns when to ask again.
func (l *lifecycle) resolve(w *worker.Worker, now int64) (again int64) {
	known, failed, err := w.Resolve(l.job.remote)
	switch {
	case err != nil:
		l.abandon(fmt.Errorf("bench: %v: %w (--gateway adds one)", l.job.remote, err), now)
	case failed:
		hop, _ := w.Net().NextHop(l.job.remote)
		what := "ARP"
		if !hop.Is4() {
			what = "neighbour solicitation"
		}
		l.abandon(fmt.Errorf("bench: no answer to %s for %v on %s after 3 tries: is the peer up, and on this link?", what, hop, l.job.portName), now)
	case known:
		start := l.job.starts(l, now)
		if start > now {
			return start
		}
		l.enter(start)
		return 0
	}
	return now + hopRetry
}

// enter begins the sending time.
func (l *lifecycle) enter(start int64) {
	l.phase, l.start, l.end = sending, start, start
	l.until = math.MaxInt64
	if d := l.job.cfg.Duration; d > 0 {
		l.until = start + int64(d)
	}
	close(l.began)
}

// lastCall is how long after the sending time what was due in it may still be sent: a
// worker that looks at the clock just before its end and just after it misses nothing.
const lastCall = int64(1e6)

// over reports whether the sending time has ended.
func (l *lifecycle) over(now int64, p *pace) bool {
	if now < l.until {
		return l.job.stop.Load()
	}
	return l.job.stop.Load() || !p.on() || now >= l.until+lastCall || p.due(l.until-1) == 0
}

// missed are the opens of the sending time that the schedule wanted and that were
// not made. Those that a count leaves out were not wanted.
func (l *lifecycle) missed(p *pace) uint64 {
	if !p.on() || l.quota == 0 {
		return 0
	}
	return min(p.dueBy(min(l.end, l.until-1))-p.done, l.quota)
}

// abandon ends the run with err.
func (l *lifecycle) abandon(err error, now int64) {
	select {
	case l.job.fail <- err:
	default: // another worker was first
	}
	if l.phase == resolving {
		l.start = now
		close(l.began)
	}
	if l.phase <= sending {
		l.end = now
		close(l.sent)
	}
	l.finish()
}

func (l *lifecycle) finish() {
	if l.phase != finished {
		l.phase = finished
		close(l.done)
	}
}

// stopSending ends the sending time.
func (l *lifecycle) stopSending(now int64) {
	l.phase, l.end = draining, now
	close(l.sent)
}

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
