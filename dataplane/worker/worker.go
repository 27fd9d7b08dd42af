package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Polling says how a worker waits for frames.
type Polling uint8

// The ways to wait.
const (
	// Auto is Adaptive on queues that can sleep (dataplane.Caps.Blocking) and Busy
	// on others, whose driver owns a device and wants a core for each.
	Auto Polling = iota
	// Adaptive spins for a while, then blocks in the driver until a frame, a
	// timer or a bound: for machines that have other work.
	Adaptive
	// Busy never blocks: for cores that do nothing else.
	Busy
)

const (
	maxSleep  = int64(10 * time.Millisecond)
	maxHold   = int64(time.Second)
	maxTimers = 512 // per round, so that a flood of expiries does not starve receiving
)

// ErrStopped is returned by Do when the worker has ended.
var ErrStopped = errors.New("worker: stopped")

// ErrNoText is returned by ConnectText when p is too long for a buffer, or all of
// them hold text that is not acknowledged yet.
var ErrNoText = errors.New("worker: no buffer for the text")

// Source starts traffic. Poll is called once per round with the burst's clock;
// it opens flows through w.Connect and returns when it wants to be called again
// at the latest (0: at once, Never: only when something was received).
type Source interface {
	Poll(w *Worker, now int64) (next int64)
}

// Never is the answer of a Source that waits for events.
const Never = math.MaxInt64

// Raw takes the place of the engine for stateless generators: it sees each TCP
// segment for our addresses, or for those of Config.RawAddrs, and sends frames of its own.
type Raw interface {
	// Receive gets the segments of a burst; they are valid during the call.
	Receive(now int64, segs []*wire.Segment)
	// Send fills frames lent in b (b.N of them, length 0, Verdict Drop): it sets
	// Data and Verdict Reply for those to send. Called every round with as many
	// as Want returns; next as in Source.
	Want(now int64) (n int, next int64)
	Send(now int64, b *dataplane.Batch)
}

// Config makes a worker.
type Config struct {
	ID      int // queue of Port, and index of the worker
	Port    dataplane.Port
	Net     *Net
	Engine  handshake.Config
	Flow    flow.Config
	Hasher  *cookie.Hasher // not shared
	Ring    *cookie.Ring
	Clock   func() int64 // ns, monotonic and near Unix time; nil: the machine's
	Polling Polling
	CPU     int    // to pin the thread to; negative: not pinned
	Role    string // the label "role" in CPU profiles; empty: no labels
	Source  Source
	Raw     Raw
	// RawAddrs are the own addresses whose segments Raw gets, where it shares the queue with the
	// engine. The zero Prefix: all.
	RawAddrs netip.Prefix
	// Shape is how the segments of flows look that are opened from here; nil: as wire.PutTCP has them.
	Shape *wire.Shape
	// CallbackBudget is how long the callbacks of one burst may take. When they take
	// longer, new SYNs are dropped for as long again, up to a second, so that what
	// has begun is served (HND-006). 0: no bound. On a machine with other work a
	// pause of the thread counts too.
	CallbackBudget time.Duration
	Logger         *slog.Logger // nil: silent
}

// Worker is one core. Its exported methods, but for Post, Do, Stats, Polling, Stop
// and Done, are for callbacks, Sources, Tasks and functions passed to Do.
type Worker struct {
	cfg    Config
	queue  dataplane.Queue
	caps   dataplane.Caps
	engine *handshake.Engine
	apps   []Callbacks
	// The flows of applications that are not Bare; nil while there is none of those.
	streams *flow.Table
	streamOut
	values values
	rx, tx *dataplane.Batch
	log    *slog.Logger

	pk   []wire.Packet
	segs []*wire.Segment // into pk
	act  []handshake.Action
	at   []uint8 // frame index of each segment

	mac     macBits // our own
	shape   *wire.Shape
	ids     uint16 // IPv4 identification of the last segment with a shape
	share   *share // nil: there is no Raw, or it gets everything
	labels  labels
	paths   paths
	texts   texts
	pending []pending
	neighV  uint64 // version of the neighbours when pending was last tried
	parked  bool   // pending has a next hop nobody asked for yet
	lastHop wire.Addr
	lastMAC macBits
	lastV   uint64 // version for which lastHop is valid
	echo    bucket
	nextAge int64
	linkCtr dataplane.LinkCounter // nil: the port does not tell
	linkUps uint64                // when addresses were last announced
	asked   bool                  // Detect has asked for our addresses
	ctr     counters
	flow    Flow   // of callbacks
	byID    Flow   // of Worker.Flow
	left    []left // in this burst
	now     int64
	started int64
	worked  bool // the last round had work
	tap     *tap // nil: no flow is watched
	taps    *tap // what tap is when one is
	sink    byte // see touch

	lastTask int64 // when a task was last run

	mail     mailbox
	maxSleep int64 // maxSleep, but for tests
	stop     atomic.Bool
	done     chan struct{}
	err      error
}

// New makes a worker; Run runs it.
func New(cfg Config) (*Worker, error) {
	if cfg.Clock == nil {
		start := time.Now()
		base := start.UnixNano()
		cfg.Clock = func() int64 { return base + int64(time.Since(start)) }
	}
	e, err := handshake.New(cfg.Engine, cfg.Hasher)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, queue: cfg.Port.Queue(cfg.ID), engine: e,
		rx: dataplane.NewBatch(), tx: dataplane.NewBatch(),
		pk: make([]wire.Packet, dataplane.BatchSize), segs: make([]*wire.Segment, dataplane.BatchSize),
		act: make([]handshake.Action, dataplane.BatchSize), at: make([]uint8, dataplane.BatchSize),
		done: make(chan struct{}), maxSleep: maxSleep,
		log: cfg.Logger, echo: bucket{rate: 1000, size: 1000},
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.caps = w.queue.Caps()
	w.mail.waker, _ = w.queue.(dataplane.Waker)
	w.linkCtr, _ = cfg.Port.(dataplane.LinkCounter)
	if w.cfg.Polling == Auto {
		w.cfg.Polling = Busy
		if w.caps.Blocking {
			w.cfg.Polling = Adaptive
		}
	}
	w.flow.w = w
	w.mac = bitsOf(cfg.Net.MAC)
	w.shape = cfg.Shape
	if cfg.Raw != nil && cfg.RawAddrs.IsValid() {
		w.share = newShare(cfg.RawAddrs)
	}
	w.labels = newLabels(cfg.Hasher)
	w.now = cfg.Clock()
	w.started = w.now
	e.SetClock(w.now, cfg.Ring.Load())
	return w, nil
}

// AddApp registers callbacks and returns their number for Listen and Connect.
func (w *Worker) AddApp(cb Callbacks) (uint16, error) {
	if len(w.apps) == 65535 {
		return 0, errors.New("worker: more than 65535 applications")
	}
	app := uint16(len(w.apps))
	if !cb.Bare {
		if err := w.carry(app); err != nil {
			return 0, err
		}
	}
	if cb.Repeated != nil {
		w.engine.TellRepeats()
	}
	w.apps = append(w.apps, cb)
	return app, nil
}

// Listen has app accept connections; see handshake.Engine.Listen.
func (w *Worker) Listen(addr wire.Addr, port, app uint16) error {
	cb := &w.apps[app]
	if cb.FastOpen < 0 || cb.FastOpen > handshake.MaxFastOpen {
		return fmt.Errorf("worker: Callbacks.FastOpen %d: want 0 (off) to %d flows", cb.FastOpen, handshake.MaxFastOpen)
	}
	if err := w.engine.Listen(addr, port, app, cb.AutoClose); err != nil || cb.FastOpen == 0 {
		return err
	}
	return w.engine.FastOpen(addr, port, cb.FastOpen)
}

// Unlisten ends a listener; see handshake.Engine.Unlisten.
func (w *Worker) Unlisten(addr wire.Addr, port uint16) error { return w.engine.Unlisten(addr, port) }

// SetGate bounds what a listener takes in; see handshake.Engine.SetGate.
func (w *Worker) SetGate(addr wire.Addr, port uint16, g handshake.Gate) error {
	return w.engine.SetGate(addr, port, g)
}

// Take tells that the application has taken a flow from a listener whose Gate has a
// Backlog.
func (w *Worker) Take(id handshake.FlowID) bool { return w.engine.Take(id) }

// Connect opens a flow for app; see handshake.Engine.Connect. The route is
// looked up when the SYN is sent.
func (w *Worker) Connect(t *wire.Tuple, app uint16) (handshake.FlowID, error) {
	return w.engine.Connect(t, app, 0)
}

// ConnectMany opens up to handshake.MaxBurst flows at once; see
// handshake.Engine.ConnectMany.
func (w *Worker) ConnectMany(t []wire.Tuple, app uint16, ids []handshake.FlowID) (n int, err error) {
	return w.engine.ConnectMany(t, app, 0, ids)
}

// ConnectText opens a flow for app with text p, which it copies: on the SYN when
// handshake.Config.FastOpenCache is set and the server has given us a cookie, else at
// once behind the handshake; see handshake.Engine.ConnectText. p is at most
// TextRoom bytes.
func (w *Worker) ConnectText(t *wire.Tuple, app uint16, p []byte) (handshake.FlowID, error) {
	if len(p) == 0 {
		return w.engine.ConnectText(t, app, 0, 0)
	}
	b := w.texts.take(len(p))
	if b == nil {
		w.ctr.noText++
		return handshake.FlowID{}, ErrNoText
	}
	id, err := w.engine.ConnectText(t, app, 0, len(p))
	if err != nil {
		w.texts.free = append(w.texts.free, b)
		return id, err
	}
	w.texts.keep(id.Index(), append(b, p...))
	return id, nil
}

// ForgetFastOpen forgets the Fast Open cookie of the server of t; see handshake.Engine.ForgetFastOpen.
func (w *Worker) ForgetFastOpen(t *wire.Tuple) { w.engine.ForgetFastOpen(t) }

// TextRoom is how many bytes ConnectText takes for a peer of the family of remote.
func (w *Worker) TextRoom(remote wire.Addr) int { return min(w.engine.TextRoom(remote), textSize) }

// ConnectRoom is how many Connects fit before frames must go out.
func (w *Worker) ConnectRoom() int { return w.engine.OutputRoom() }

// Abort, Close and Release act on a flow kept by its ID; see Flow.
func (w *Worker) Abort(id handshake.FlowID) { w.Flow(id).Abort() }

// Probe asks the peer of a Bare flow that was opened here whether it still has it; see
// handshake.Engine.Probe and Callbacks.Alive.
func (w *Worker) Probe(id handshake.FlowID) bool { return w.engine.Probe(id) }

// Close sends a FIN.
func (w *Worker) Close(id handshake.FlowID) { w.Flow(id).Close() }

// Release closes for good.
func (w *Worker) Release(id handshake.FlowID) { w.Flow(id).Release() }

// ID is the index of the worker and of its queue.
func (w *Worker) ID() int { return w.cfg.ID }

// Now is the time of the burst: Config.Clock read once per round.
func (w *Worker) Now() int64 { return w.now }

// Clock reads the clock that Now has the time of the burst of.
func (w *Worker) Clock() int64 { return w.cfg.Clock() }

// Polling is how the worker waits: Adaptive or Busy.
func (w *Worker) Polling() Polling { return w.cfg.Polling }

// Net returns what the endpoint knows of its link.
func (w *Worker) Net() *Net { return w.cfg.Net }

// Engine returns the engine's counters as of now.
func (w *Worker) Engine() handshake.Counters { return w.engine.Counters() }

// Stats returns a consistent snapshot; any goroutine, also after the worker ended.
func (w *Worker) Stats() Stats {
	var s Stats
	if w.Do(func() { s = w.snapshot() }) == nil {
		return s
	}
	return w.snapshot() // it has stopped: nobody else touches it
}

// Stop asks the worker to end after the current round.
func (w *Worker) Stop() {
	w.stop.Store(true)
	w.mail.rouse()
}

// Done is closed when Run has returned; Err is valid then.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err is the device failure that ended the worker, nil after Stop.
func (w *Worker) Err() error { return w.err }

// Free returns the memory of the tables, after Done.
func (w *Worker) Free() error {
	err := w.engine.Free()
	if w.streams != nil {
		err = errors.Join(err, w.streams.Free())
	}
	return err
}

// Run polls until Stop or a device failure. It locks its goroutine to a thread.
func (w *Worker) Run() {
	defer close(w.done)
	runtime.LockOSThread() // never unlocked: a pinned thread is of no use to others
	if w.cfg.Role != "" {
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("role", w.cfg.Role, "worker", strconv.Itoa(w.cfg.ID))))
	}
	if w.cfg.CPU >= 0 {
		if err := pin(w.cfg.CPU); err != nil {
			w.log.Warn("worker not pinned", "worker", w.cfg.ID, "cpu", w.cfg.CPU, "err", err)
		}
	}
	if a, ok := w.queue.(dataplane.Attacher); ok {
		if err := a.Attach(); err != nil {
			w.log.Warn("queue not attached to the thread of its worker: it is slower than it could be", "worker", w.cfg.ID, "err", err)
		} else {
			defer a.Detach()
		}
	}
	// From the thread that uses it, so that it lies on the right NUMA node.
	err := w.engine.Populate(w.cfg.Net.hasIPv6())
	if err == nil && w.streams != nil {
		err = w.streams.Populate()
	}
	if err != nil {
		w.err = fmt.Errorf("worker %d: %w", w.cfg.ID, err)
		w.endPosts()
		return
	}
	if w.cfg.ID == 0 {
		if w.linkCtr != nil {
			w.linkUps = w.linkCtr.LinkUps()
		}
		w.announce(!w.asked)
	}
	if w.cfg.Polling == Adaptive {
		spinners.Add(1)
		defer spinners.Add(-1)
	}
	idleSince := int64(0)
	for !w.stop.Load() {
		busy, next := w.round()
		if busy {
			idleSince = 0
			continue
		}
		if err := w.queue.Err(); err != nil {
			w.err = fmt.Errorf("worker %d: %w", w.cfg.ID, err)
			break
		}
		if w.cfg.Polling == Busy {
			continue
		}
		if idleSince == 0 {
			idleSince = w.now
		}
		if w.now-idleSince < w.patience() || next <= w.now {
			continue
		}
		w.sleep(time.Duration(min(next-w.now, w.maxSleep)))
	}
	w.endPosts()
}

// round is one turn: receive, timers, tasks, source, send. It reports whether anything
// happened, and until when the worker may sleep if not.
func (w *Worker) round() (busy bool, next int64) {
	now := w.cfg.Clock()
	if w.worked {
		w.ctr.busy += now - w.now
	}
	w.now = now
	if w.streams != nil {
		w.streams.SetClock(now)
	}
	n := w.queue.Rx(w.rx)
	if n > 0 {
		w.ctr.bursts++
		w.receive(n)
		w.settle(w.rx)
	}
	fired := w.engine.Advance(w.now, maxTimers)
	if fired > 0 || len(w.engine.Events()) > 0 { // an ICMP error may have ended a flow
		w.deliver()
	}
	if w.streams != nil {
		fired += w.streams.Advance(maxTimers)
		if w.streams.Short() {
			w.engine.HoldSYNs(w.now+memoryHold, handshake.DropNoMemory)
		}
	}
	ran := w.mail.pending() && w.runPosted()
	if ran {
		w.lastTask = w.now
	}
	next = w.now + w.maxSleep
	if w.cfg.Source != nil {
		next = min(next, w.cfg.Source.Poll(w, w.now))
	}
	sent := 0
	if w.cfg.Raw != nil {
		var due int64
		sent, due = w.raw()
		next = min(next, due)
	}
	sent += w.flush()
	if w.streams != nil {
		sent += w.flushStreams()
		w.engine.EndBurst() // what timers and calls have ended
	}
	if w.cfg.ID == 0 && w.now >= w.nextAge {
		w.nextAge = w.now + neighborInterval
		w.followLink()
		if w.cfg.Net.queried.CompareAndSwap(true, false) {
			w.listen(wire.MLDIsExclude)
		}
		w.cfg.Net.Neighbors.age(w.now, w.refresh)
	}
	w.worked = n > 0 || sent > 0 || fired > 0 || ran
	if w.worked {
		return true, 0
	}
	if left, ok := w.engine.NextTimer(); ok {
		next = min(next, w.now+int64(left)*1e6)
	}
	if w.streams != nil {
		if left, ok := w.streams.NextTimer(); ok {
			next = min(next, w.now+int64(left)*1e6)
		}
	}
	return false, next
}

// bucket is a token bucket over the worker's clock.
type bucket struct {
	rate, size int64 // per second, and burst
	tokens     int64
	last       int64
}

func (b *bucket) take(now int64) bool {
	if add := (now - b.last) * b.rate / int64(time.Second); add > 0 || b.last == 0 {
		b.tokens = min(b.tokens+add, b.size)
		if b.last == 0 {
			b.tokens = b.size
		}
		b.last = now
	}
	if b.tokens == 0 {
		return false
	}
	b.tokens--
	return true
}
