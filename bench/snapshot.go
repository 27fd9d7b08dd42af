package bench

import (
	"cmp"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// The phases of a Snapshot.
const (
	PhaseResolving = "resolving" // before the first SYN
	PhaseSending   = "sending"
	PhaseHolding   = "holding" // what was opened is held
	PhaseDraining  = "draining"
	PhaseEnded     = "ended" // totals are final: those of the report
)

// Snapshot is the state of a run, or of a server, at one moment: totals since its start. What
// belongs to a worker is read between two of its bursts, all at once. Progress, the
// view, the metrics and the records of each second are made of snapshots and of nothing else,
// so they cannot disagree. A snapshot is not changed once it is made.
type Snapshot struct {
	At      time.Time
	Begin   time.Time     // of the counters: when the workers were started
	Elapsed time.Duration // since the first SYN; 0 before
	Phase   string

	Scenario    string // that of a run, or "serve"
	What        string // what Work.Done counts: "handshakes"
	Port        string
	Peer        string  // empty: our own server
	TargetRate  float64 // of a load, the mean so far; 0: as fast as possible
	Concurrency int     // 0: not bounded
	Polling     string
	CPU         time.Duration // of the process since the first SYN; 0: unknown

	Ends      []End          // the client's, the server's: those that are ours
	Work      []Work         // by generator (client worker), or by worker of a server
	Latencies []Distribution // all workers together; the first is what Progress shows
}

// End is one end of the wire.
type End struct {
	Name    string // "client" or "server"
	Workers []worker.Stats
	Lost    []map[string]uint64 // frames that the port lost, by queue and reason
	Device  map[string]uint64   // see DeviceCounters
}

// Work is what a generator has done, or the application of a server on one worker.
type Work struct {
	Attempted              uint64 // = Done + Failed + InFlight; 0 of a server
	Done, Failed, InFlight uint64 // as in Progress
	Counts                 []Count
}

// Count is one counter. Outcomes divide a family: they are disjoint, and may be
// added up. A family whose name ends in "_now" can fall.
type Count struct {
	Family, Outcome string
	N               uint64
}

// Distribution is a histogram of nanoseconds under the name that its summary has in the
// report, without the unit.
type Distribution struct {
	Name string
	Hist *hdrhistogram.Histogram
}

// Each calls f for the buckets that are not empty, in order: values from low to high were recorded n times.
func (d *Distribution) Each(f func(low, high, n int64)) {
	for _, c := range cellsOf(d.Hist) {
		low, high := bounds(c.at)
		f(low, high, c.n)
	}
}

// ReadEnd makes an End of the counters of its workers, which belong to the caller.
func ReadEnd(name string, port dataplane.Port, workers []worker.Stats) End {
	e := End{Name: name, Workers: workers, Device: DeviceCounters(port)}
	for i := range workers {
		e.Lost = append(e.Lost, queueDrops(port, i, &workers[i].Port))
	}
	return e
}

// Drops are the frames and segments that worker i and its queue did not use or lost, by reason.
func (e *End) Drops(i int) map[string]uint64 {
	m := map[string]uint64{}
	w := &e.Workers[i]
	for _, part := range []map[string]uint64{w.RxDrops, w.TxDrops, w.SegmentDrops, e.Lost[i]} {
		for name, n := range part {
			m[name] += n
		}
	}
	return m
}

// Live reads a run from other goroutines, while it goes on and after it has ended; see
// Config.Live. The zero value is ready. Nobody waits for a reader but other readers.
type Live struct {
	mu   sync.Mutex
	read func() Snapshot // nil: last stays
	last Snapshot
}

// Attach has Read call read, which is not called after Detach.
func (l *Live) Attach(read func() Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read = read
}

// Detach ends the reading. Read returns last from now on; nil: what it returned last.
func (l *Live) Detach(last *Snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read = nil
	if last != nil {
		l.last = *last
	}
}

// Read returns the state of the run, at most age old. It waits for a burst of each worker.
// Before the run has begun, At is zero.
func (l *Live) Read(age time.Duration) Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read != nil && time.Since(l.last.At) >= age {
		l.last = l.read()
	}
	return l.last
}

// snapshot reads the run. The workers run, or they have ended and nobody else reads.
func (r *run) snapshot() Snapshot {
	c := &r.cfg
	s := Snapshot{
		At: time.Now(), Begin: r.begin, Phase: r.stage.of(), Scenario: c.Scenario, What: cmp.Or(c.kind().done, "handshakes"), Port: c.Port, Peer: c.Connect + c.PeerMAC,
		TargetRate: c.Rate, Concurrency: c.Concurrency, Polling: "adaptive",
	}
	if r.busy {
		s.Polling = "busy"
	}
	ends := []end{r.client}
	if r.server != nil {
		ends, s.Peer = append(ends, r.server), ""
	}
	if at, cpu := r.stage.begun(); !at.IsZero() {
		s.Elapsed, s.CPU = s.At.Sub(at), cpuTime()-cpu
		if c.Load != "" {
			s.TargetRate = float64(r.intended(s.Elapsed)) / s.Elapsed.Seconds()
		}
	}
	var all samples
	s.Work = make([]Work, len(r.gens))
	for k, e := range ends {
		stats := make([]worker.Stats, e.Port().Info().Queues)
		for i := range stats {
			onWorker(e, i, func() {
				stats[i] = e.Snapshot(i)
				if k == 0 && i < len(r.gens) {
					all.take(r.gens[i], &s.Work[i])
				}
			})
		}
		s.Ends = append(s.Ends, ReadEnd(endNames[k], e.Port(), stats))
	}
	s.Latencies = all.sum()
	return s
}

// onWorker runs fn on worker i of e, or here if that has ended: then nobody else touches what it had.
func onWorker(e end, i int, fn func()) {
	if e.Do(i, fn) != nil {
		fn()
	}
}

// samples are histograms by name, in the order they came.
type samples struct {
	names []string
	hists []*hdrhistogram.Snapshot
}

// take reads a generator, on its worker. Histograms are only copied there.
func (s *samples) take(g generator, w *Work) {
	var main *latency
	w.Done, w.Failed, w.InFlight, main = g.progress()
	w.Attempted = g.attempted()
	g.counts(func(family, outcome string, n uint64) { w.Counts = append(w.Counts, Count{family, outcome, n}) })
	n := len(s.names)
	g.latencies(s.add)
	if len(s.names) == n && main != nil {
		s.add("latency", main)
	}
}

func (s *samples) add(name string, l *latency) {
	if l == nil {
		return
	}
	l.settle()
	s.names, s.hists = append(s.names, name), append(s.hists, l.h.Export())
}

// sum adds up those of the same name.
func (s *samples) sum() (out []Distribution) {
	sums := map[string]*hdrhistogram.Snapshot{}
	var names []string
	for i, name := range s.names {
		sum := sums[name]
		if sum == nil {
			names = append(names, name)
			sums[name] = s.hists[i]
			continue
		}
		for k, n := range s.hists[i].Counts {
			sum.Counts[k] += n
		}
	}
	for _, name := range names {
		out = append(out, Distribution{name, hdrhistogram.Import(sums[name])})
	}
	return out
}

// stage is where a run is, for readers in other goroutines.
type stage struct {
	mu    sync.Mutex
	name  string
	first time.Time // first SYN
	cpu   time.Duration
}

// enter begins a phase; the first SYN was just sent if it is the sending.
func (p *stage) enter(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = name
	if name == PhaseSending {
		p.first, p.cpu = time.Now(), cpuTime()
	}
}

func (p *stage) of() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name
}

func (p *stage) begun() (time.Time, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first, p.cpu
}
