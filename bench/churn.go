package bench

import (
	"math/rand/v2"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// The distributions of lifetimes.
const (
	LifetimeConstant    = "constant"
	LifetimeExponential = "exponential"
)

// churner keeps a number of flows established, each for a lifetime, and opens another one for each that ends.
type churner struct {
	client
	places int // of this worker
	lives  lives
	mean   float64 // lifetime, ns
	exp    bool
	rnd    *rand.Rand

	closing int   // FINs whose end is not known yet
	next    int64 // when the next burst of closes may go
	cursor  uint32
	tally   churnCounters
	steady  steady
}

// churnCounters: established = lived + cut + lost + living.
type churnCounters struct {
	failed uint64 // attempts
	lived  uint64 // ended by us when their time was over
	cut    uint64 // ended by us because the run was
	lost   [numLosses]uint64
}

// steady measures the population from the time when it is complete to the end of the sending time. Times
// are in units of 1024 ns, so that sums of a long run of many flows have room.
type steady struct {
	from, to int64 // ns; 0: not yet
	last     int64 // unit of the last change
	area     uint64
	stays    uint64 // the same, as the sum over flows
	arrivals uint64
	drawn    float64 // ns: their lifetimes, or, if they were cut short, their lives
}

const steadyShift = 10 // of ns

func newChurner(j *job, id int, t *tuples, flows int) *churner {
	c := &churner{
		client: *newClient(j, id, t), mean: float64(j.cfg.Lifetime), exp: j.cfg.LifetimeDist == LifetimeExponential,
		rnd: rand.New(rand.NewPCG(j.cfg.Seed, uint64(id))),
	}
	c.places = c.limit
	c.lives = newLives(flows, int64(j.cfg.Lifetime))
	c.stays = true
	c.calls = worker.Callbacks{Bare: true, AutoClose: true, Established: c.established, PeerClosed: c.peerClosed, Closed: c.flowClosed}
	return c
}

// Poll implements worker.Source.
func (c *churner) Poll(w *worker.Worker, now int64) int64 {
	next := int64(worker.Never)
	if c.lives.next == 0 {
		c.lives.next = now / c.lives.tick
	}
	if c.phase == sending {
		next = c.endLives(w, now)
		opening := c.inflight - c.lives.n - c.closing
		c.limit = c.inflight + min(c.places-c.inflight, openWindow-opening)
	}
	if c.phase != draining {
		next = min(next, c.client.Poll(w, now))
	}
	if c.phase != draining {
		return next
	}
	if c.steady.to == 0 {
		c.endSteady(c.end)
	}
	return c.cutAll(w, now)
}

// endLives closes the flows whose time is over. It returns when to look again.
func (c *churner) endLives(w *worker.Worker, now int64) int64 {
	n := min(openBurst, w.ConnectRoom()-outputGap)
	if n <= 0 || c.lives.ended(now, n, func(i uint32) { c.tally.lived++; c.endLife(w, i, now) }) {
		return now
	}
	if c.lives.n == 0 {
		return worker.Never
	}
	return c.lives.next * c.lives.tick
}

func (c *churner) endLife(w *worker.Worker, i uint32, now int64) {
	x := &c.lives.life[i]
	c.leave(x, now)
	c.lives.remove(i)
	if c.job.cfg.Close == CloseFIN {
		x.is = lifeClosing
		c.closing++
		w.Close(x.id)
		return
	}
	c.inflight--
	w.Abort(x.id)
}

// cutAll ends what lives when the run is over.
func (c *churner) cutAll(w *worker.Worker, now int64) int64 {
	if now < c.next {
		return c.next
	}
	c.next = now + burstPause
	n := min(openBurst, w.ConnectRoom()-outputGap)
	for ; c.lives.n > 0 && int(c.cursor) < len(c.lives.life); c.cursor++ {
		if c.lives.life[c.cursor].is != lifeOn {
			continue
		}
		if n--; n < 0 {
			return c.next
		}
		c.tally.cut++
		c.endLife(w, c.cursor, now)
	}
	if c.inflight == 0 {
		c.finish()
	}
	return worker.Never
}

// draw returns a lifetime. Those that make up the population at first are what is left of lifetimes that
// began before, so that it is in its steady state from the moment it is complete and does not
// end all at once; with a schedule nothing is made up.
func (c *churner) draw() float64 {
	switch {
	case c.exp: // has no memory
		return c.rnd.ExpFloat64() * c.mean
	case c.steady.from == 0 && c.job.cfg.plan == nil:
		return c.rnd.Float64() * c.mean
	}
	return c.mean
}

func (c *churner) established(f *worker.Flow) {
	c.respond(f, c.record(f))
	now, life := f.Worker().Now(), c.draw()
	id := f.ID()
	if c.phase == draining {
		life = 0
		c.cursor = min(c.cursor, id.Index())
	}
	c.join(now, life)
	c.lives.add(id.Index(), id, now, now+int64(life))
	if c.steady.from == 0 && c.phase == sending && c.complete(now) {
		c.steady.from, c.steady.last = now, now>>steadyShift
	}
}

// complete reports whether the population is what it will be: all of it is there, or with a schedule that
// may not want all of it, as many lifetimes have passed as it takes to get within a hundredth of that.
func (c *churner) complete(now int64) bool {
	const lifetimes = 5 // e^-5 < 1 %
	return c.lives.n >= c.places || c.job.cfg.plan != nil && float64(now-c.start) >= lifetimes*c.mean
}

// join and leave count a flow that is established from now on, or until now.
func (c *churner) join(now int64, life float64) {
	s := &c.steady
	if s.from == 0 || s.to != 0 {
		return
	}
	s.turn(now, c.lives.n)
	s.arrivals++
	s.drawn += life
}

func (c *churner) leave(x *life, now int64) {
	s := &c.steady
	if s.from == 0 || s.to != 0 {
		return
	}
	s.turn(now, c.lives.n)
	s.stay(x, now)
	if x.since >= s.from && x.due > now { // cut short
		s.drawn -= float64(x.due - now)
	}
}

// turn adds the time since the last change, with n flows.
func (s *steady) turn(now int64, n int) {
	u := now >> steadyShift
	s.area += uint64(u-s.last) * uint64(n)
	s.last = u
}

// stay adds the time that a flow was there.
func (s *steady) stay(x *life, now int64) {
	s.stays += uint64(now>>steadyShift - max(x.since, s.from)>>steadyShift)
}

func (c *churner) endSteady(now int64) {
	s := &c.steady
	s.to = now
	if s.from == 0 {
		return
	}
	s.turn(now, c.lives.n)
	for i := range c.lives.life {
		if x := &c.lives.life[i]; x.is == lifeOn {
			s.stay(x, now)
		}
	}
}

// lengthS is the time that s measured, in seconds.
func (s *steady) lengthS() float64 {
	if s.from == 0 {
		return 0
	}
	return time.Duration(s.to - s.from).Seconds()
}

func (c *churner) peerClosed(f *worker.Flow) {
	if i := f.ID().Index(); c.lives.life[i].is == lifeOn {
		c.lose(i, lossClosed, f.Worker().Now())
		c.lives.life[i].is = lifeClosing
		c.closing++
	}
}

func (c *churner) lose(i uint32, why loss, now int64) {
	c.tally.lost[why]++
	c.leave(&c.lives.life[i], now)
	c.lives.remove(i)
}

func (c *churner) flowClosed(f *worker.Flow, why handshake.CloseReason) {
	i := f.ID().Index()
	c.ctr.closed++
	c.inflight--
	switch x := &c.lives.life[i]; x.is {
	case lifeOn:
		c.lose(i, lossOf(why), f.Worker().Now())
	case lifeClosing:
		c.closing--
		x.is = lifeNone
	case lifeNone:
		c.tally.failed++
		c.fail(f)
	}
}

// progress implements generator: what lives is done.
func (c *churner) progress() (done, failed, inflight uint64, lat *latency) {
	return c.ctr.established, c.tally.failed, c.ctr.opened - c.ctr.established - c.tally.failed, c.service
}
