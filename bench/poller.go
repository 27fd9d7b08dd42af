package bench

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// station receives and sends on one queue below TCP: no ARP, no engine. It
// belongs to the goroutine of its poller.
type station interface {
	// turn is one round at time now: it receives, settles and sends. It returns
	// the number of frames received, whether anything at all happened, and until
	// when the poller may sleep if not.
	turn(now int64) (received int, worked bool, next int64)
	// stats adds what the station counts to s. On its goroutine, or after its end.
	stats(s *worker.Stats)
}

// never is a station's answer when only a frame gives it work.
const never = int64(math.MaxInt64)

// How an adaptive poller waits, as package worker does.
const (
	spinTime = int64(50 * time.Microsecond)
	maxSleep = int64(10 * time.Millisecond)
)

// poller is one thread that polls one queue, as dataplane/worker does, for stations.
type poller struct {
	id    int
	role  string // in CPU profiles
	port  dataplane.Port
	queue dataplane.Queue
	st    station
	cpu   int // negative: not pinned
	busy  bool
	clock func() int64

	frames, bursts uint64
	work           int64 // ns in turns that had work
	started, now   int64
	worked         bool

	cmds chan func()
	halt atomic.Bool
	done chan struct{}
	err  error
}

// newPoller makes a poller whose clock counts from begin, as those of its port do.
func newPoller(role string, port dataplane.Port, id, cpu int, busy bool, st station, begin time.Time) *poller {
	return &poller{
		id: id, role: role, port: port, queue: port.Queue(id), st: st, cpu: cpu, busy: busy,
		clock: func() int64 { return 1 + int64(time.Since(begin)) },
		cmds:  make(chan func(), 16), done: make(chan struct{}),
	}
}

// run polls until halt or a failure of the device, locked to its thread.
func (p *poller) run() {
	defer close(p.done)
	runtime.LockOSThread() // never unlocked: a pinned thread is of no use to others
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("role", p.role, "worker", strconv.Itoa(p.id))))
	if p.cpu >= 0 {
		_ = pin(p.cpu) // slower, not wrong
	}
	if a, ok := p.queue.(dataplane.Attacher); ok {
		if err := a.Attach(); err != nil {
			p.err = fmt.Errorf("bench: queue %d: %w", p.id, err)
			return
		}
		defer a.Detach()
	}
	p.now = p.clock()
	p.started = p.now
	idleSince := int64(0)
	for !p.halt.Load() {
		now := p.clock()
		if p.worked {
			p.work += now - p.now
		}
		p.now = now
		n, worked, next := p.st.turn(now)
		p.worked = worked
		if n > 0 {
			p.frames += uint64(n)
			p.bursts++
		}
		if len(p.cmds) > 0 {
			p.commands()
			continue
		}
		if worked {
			idleSince = 0
			continue
		}
		if err := p.queue.Err(); err != nil {
			p.err = fmt.Errorf("bench: queue %d: %w", p.id, err)
			break
		}
		if p.busy {
			continue
		}
		if idleSince == 0 {
			idleSince = now
		}
		if now-idleSince < spinTime || next <= now {
			continue
		}
		p.queue.Wait(time.Duration(min(next-now, maxSleep)))
	}
	p.commands()
}

func (p *poller) commands() {
	for {
		select {
		case fn := <-p.cmds:
			fn()
		default:
			return
		}
	}
}

// do runs fn on the poller between two turns and waits for it.
func (p *poller) do(fn func()) error {
	ran := make(chan struct{})
	select {
	case p.cmds <- func() { fn(); close(ran) }:
	case <-p.done:
		return worker.ErrStopped
	}
	select {
	case <-ran:
		return nil
	case <-p.done:
		select {
		case <-ran:
			return nil
		default:
			return worker.ErrStopped
		}
	}
}

// snapshot is what a worker would say of itself; every frame counts as a
// segment unless the station says why not.
func (p *poller) snapshot() worker.Stats {
	s := worker.Stats{
		Worker: p.id, Port: p.port.Stats(p.id), Frames: p.frames, Segments: p.frames, Bursts: p.bursts,
		Busy: time.Duration(p.work), Ran: time.Duration(p.now - p.started), RxDrops: map[string]uint64{},
	}
	p.st.stats(&s)
	return s
}

// pollers are the stations of a port, one per queue: what fastsyn.Endpoint is for workers.
type pollers struct {
	port dataplane.Port
	all  []*poller
}

// startPollers runs the station that station makes for each queue of port, that
// of queue i on cpus[i]; beyond its length they are not pinned. Profiles know them by role.
func startPollers(role string, port dataplane.Port, cpus []int, busy bool, make func(i int) station) *pollers {
	p := &pollers{port: port}
	begin := time.Now()
	for i := range port.Info().Queues {
		cpu := -1
		if i < len(cpus) {
			cpu = cpus[i]
		}
		p.all = append(p.all, newPoller(role, port, i, cpu, busy, make(i), begin))
	}
	for _, one := range p.all {
		go one.run()
	}
	return p
}

func (p *pollers) Port() dataplane.Port { return p.port }

// Do runs fn on poller i, between two turns.
func (p *pollers) Do(i int, fn func()) error { return p.all[i].do(fn) }

// Snapshot is what poller i counts: on it, or after its end.
func (p *pollers) Snapshot(i int) worker.Stats { return p.all[i].snapshot() }

// Stats returns a snapshot of each poller; any goroutine.
func (p *pollers) Stats() []worker.Stats {
	out := make([]worker.Stats, len(p.all))
	for i, one := range p.all {
		if one.do(func() { out[i] = one.snapshot() }) != nil {
			out[i] = one.snapshot() // it has stopped: nobody else touches it
		}
	}
	return out
}

// Wait blocks until ctx is done (nil) or a poller ends (its error).
func (p *pollers) Wait(ctx context.Context) error {
	ended := make(chan error, len(p.all))
	stop := make(chan struct{})
	defer close(stop)
	for _, one := range p.all {
		go func() {
			select {
			case <-one.done:
				ended <- one.err
			case <-stop:
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// Stop ends the pollers; their counters stay readable.
func (p *pollers) Stop() {
	for _, one := range p.all {
		one.halt.Store(true)
	}
	for _, one := range p.all {
		<-one.done
	}
}

// Err is the first failure of a poller that has ended.
func (p *pollers) Err() error {
	for _, one := range p.all {
		select {
		case <-one.done:
			if one.err != nil {
				return one.err
			}
		default:
		}
	}
	return nil
}

// Close stops the pollers and closes the port.
func (p *pollers) Close() error {
	p.Stop()
	return p.port.Close()
}
