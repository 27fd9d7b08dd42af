package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"runtime"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// settleTime is how long the server of ours gets to take what the client sent last.
const settleTime = 2 * time.Second

// run is one Run.
type run struct {
	cfg   Config
	asked Config // before defaults
	cpus  []int
	placement
	job    *job
	gens   []generator
	client end
	server end          // nil with Connect and PeerMAC
	refl   []*reflector // of the server, in an echo
	holes  []*hole      // likewise, in a timeout
	held   whileHeld
	web    *httpServer // the server's, in http
	// What that sends.
	content []byte
	shape   *synShape      // of the client's SYNs; nil: without a profile
	opens   []*acceptTally // of the client's workers, and
	accepts []*acceptTally // of our server's workers, where the scenario asks for it

	before, after [2][]worker.Stats // sending time; client, server
	final         [2][]worker.Stats
	took, drained time.Duration
	cpu           time.Duration // of the process, in the sending time

	begin time.Time // of the workers
	stage stage
	live  *Live
	rec   *recorder
}

// Run performs a run and reports it. progress, if not nil, is called once a
// second from this goroutine. When ctx ends, the run ends early and is reported all the
// same. An error means that there is nothing to report; a report whose
// sums do not close has Valid false.
func Run(ctx context.Context, cfg Config, progress func(Progress)) (*Report, error) {
	asked := cfg
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, err
	}
	if cfg.search != nil {
		return search(ctx, asked, cfg, progress)
	}
	if kind := cfg.kind(); kind.run != nil && cfg.Connect == "" && !cfg.beside {
		return kind.run(ctx, asked, cfg, progress)
	}
	r := &run{cfg: cfg, asked: asked, cpus: worker.AllowedCPUs(), begin: time.Now(), live: cfg.Live, rec: newRecorder(cfg.OnInterval)}
	if r.live == nil {
		r.live = new(Live)
	}
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.stage.enter(PhaseResolving)
	r.live.Attach(r.snapshot)
	defer r.live.Detach(nil) // before close
	// Workers that never block must not take the processors of the others.
	threads := len(r.gens)
	if r.server != nil {
		threads *= 2
	}
	if n := runtime.GOMAXPROCS(0); n < threads+2 {
		runtime.GOMAXPROCS(threads + 2)
		defer runtime.GOMAXPROCS(n)
	}
	if err := r.drive(ctx, progress); err != nil {
		return nil, err
	}
	r.live.Detach(nil) // from now on counters are read here
	r.stop()
	r.stage.enter(PhaseEnded)
	last := r.snapshot()
	r.live.Detach(&last)
	r.rec.take(last, true)
	return r.report(), nil
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])                              // never fails
	return max(1, binary.LittleEndian.Uint64(b[:])>>12) // exact in any JSON reader
}

// NewRunID is a name that no other run has: 128 random bits in hexadecimal digits.
func NewRunID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// drive waits for the phases of the generators.
func (r *run) drive(ctx context.Context, progress func(Progress)) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	for _, ep := range []end{r.client, r.server} {
		if ep != nil {
			go func() {
				if err := ep.Wait(watch); err != nil {
					failed <- err
				}
			}()
		}
	}
	stop := ctx.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var m Meter
	sending, draining := false, false
	wait := func(ch <-chan struct{}, timeout <-chan time.Time) (timedOut bool, err error) {
		for {
			select {
			case <-ch:
				return false, nil
			case <-timeout:
				return true, nil
			case err := <-r.job.fail:
				return false, err
			case err := <-failed:
				return false, err
			case <-stop:
				r.job.stop.Store(true)
				stop = nil
				if draining { // that is waiting, and no more
					return true, nil
				}
			case <-tick.C:
				if !sending {
					break
				}
				now := r.live.Read(0)
				r.rec.take(now, draining)
				if progress != nil {
					progress(m.Progress(now))
				}
			}
		}
	}
	for _, g := range r.gens {
		if _, err := wait(g.life().began, nil); err != nil {
			return err
		}
	}
	sending = true
	r.stage.enter(PhaseSending)
	tick.Reset(time.Second)
	r.before = r.stats()
	cpu := cpuTime()
	for _, g := range r.gens {
		if _, err := wait(g.life().sent, nil); err != nil {
			return err
		}
	}
	r.cpu = cpuTime() - cpu
	r.after = r.stats()
	r.rec.take(r.live.Read(0), false)
	draining = true
	if err := r.hold(wait); err != nil {
		return err
	}
	r.stage.enter(PhaseDraining)
	begin := time.Now()
	patience := r.cfg.Drain
	if r.job.stop.Load() && !r.cfg.drainGiven {
		patience = min(patience, DefaultDrain)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for _, g := range r.gens {
		late, err := wait(g.life().done, timeout.C)
		if err != nil {
			return err
		}
		if late {
			break
		}
	}
	select {
	case err := <-r.job.fail: // a generator that fails is also done
		return err
	default:
	}
	r.drained = time.Since(begin)
	return nil
}

func (r *run) stats() (s [2][]worker.Stats) {
	s[0] = r.client.Stats()
	if r.server != nil {
		s[1] = r.server.Stats()
	}
	return s
}

// stop ends the workers: the client's first, so that the server still takes
// what it sent last. All counters are final then.
func (r *run) stop() {
	r.client.Stop()
	if r.server != nil {
		sent := totals(r.client.Port())
		for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
			if totals(r.server.Port()).RxFrames >= sent.TxFrames-sent.TxErrors {
				break
			}
		}
		r.server.Stop()
	}
	r.final = r.stats()
	first, last := int64(math.MaxInt64), int64(0)
	for _, g := range r.gens {
		first, last = min(first, g.life().start), max(last, g.life().end)
	}
	r.took = time.Duration(max(0, last-first))
}

// totals are the counters of the device under all decorators, queues together.
func totals(p dataplane.Port) (s dataplane.Stats) {
	p = unwrap(p)
	for i := range p.Info().Queues {
		s.Add(p.Stats(i))
	}
	return s
}

func (r *run) close() {
	var errs []error
	for _, ep := range []end{r.client, r.server} {
		if ep != nil {
			errs = append(errs, ep.Close())
		}
	}
	_ = errors.Join(errs...) // what was measured is not less true for it
}
