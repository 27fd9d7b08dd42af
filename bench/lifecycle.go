package bench

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// startMargin is what workers get to hear that they start.
const startMargin = int64(200e3)

// lastCall is how long after the sending time what was due in it may still be sent: a
// worker that looks at the clock just before its end and just after it misses nothing.
const lastCall = int64(1e6)

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
