package handshake

import (
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

// MaxBurst is the largest number of segments Handle takes.
const MaxBurst = 64

// answerSpacing is the least distance of two repeated SYN-ACKs or challenge
// ACKs of one flow (LSN-006, RST-008; Linux tcp_invalid_ratelimit), in 64 ns ticks.
const answerSpacing = uint32(500 * time.Millisecond / 64)

// maxOutput bounds the segments waiting in Output. Timers and Connect stop
// there and go on when the caller has sent some.
const maxOutput = 1024

// Action says what the caller does with a segment after Handle.
type Action uint8

// The actions.
const (
	// Silent: nothing is sent.
	Silent Action = iota
	// Answer: the segment now holds the answer, same tuple and path.
	Answer
)

// Out is a segment the engine starts itself. When Payload is set, Seg.Len bytes
// of the text given to Send or ConnectText for Flow belong into it, beginning Text bytes before
// its end: a retransmission leaves out what has been acknowledged, and what does
// not fit into one segment follows in others. Flow may be stale by the time it is
// sent: compare all of it, not only its Index.
type Out struct {
	Seg     wire.Segment
	Flow    FlowID
	Text    uint32 // only with Payload
	Payload bool
}

// Engine is the handshake engine of one core. It belongs to one goroutine.
type Engine struct {
	// Scratch of Handle, first so that it stays aligned to cache lines whatever
	// comes behind: the kernels of package cookie load and store it in whole ones.
	tup     [MaxBurst]cookie.Tuple
	sum     [MaxBurst]cookie.Sum
	verdict [MaxBurst]int8 // index+1 into vres of a verified ACK
	vin     [MaxBurst]cookie.VerifyInput
	vres    [MaxBurst]cookie.Result
	min     [MaxBurst]cookie.Input
	mres    [MaxBurst]cookie.Minted
	mseg    [MaxBurst]uint8

	cfg    Config
	hasher *cookie.Hasher
	arena  *hugepages.Arena

	recs  []record
	addr6 []addrs6
	tab   table
	fresh uint32 // first record never used
	free  uint32 // list through record.next
	// Removed in this burst: a list, and its last record while there is one.
	limbo, limboEnd uint32
	sweepAt         uint32 // next record that the sweep of Unlisten looks at, 0: none

	timers    timers
	listeners listeners
	fast      fastOpen
	streams   []bool // by application
	repeats   bool   // see TellRepeats

	flows, halfOpen, opening, established int
	resent                                int // half-opens whose SYN-ACK was due again; the others are young (RTX-009)

	guarded             bool // there is a limit on SYNs or on cookies
	heldUntil           Time // new SYNs are dropped before
	heldFor             Outcome
	synLimit            tokenBucket
	cookieLimit, resets tokenBucket
	sources             sketch

	// The clock of this burst.
	now   Time
	nowMS uint32
	now64 uint32

	advancedMS uint32 // when Advance last looked at the timers
	timersLeft bool   // and left due ones behind

	keys        *cookie.Keys
	cookieMode  bool
	cookieSince Time
	cookieSent  Time // 0: never

	ownShift     uint8
	mss4, mss6   uint16
	win4, win6   uint16 // initial window field without timestamps, IPv4 and IPv6
	win4t, win6t uint16 // with timestamps

	ctr    Counters
	events []Event
	out    []Out

	cand   [MaxBurst]uint32  // see find
	made   [madeWords]uint64 // filter of the hashes that flows were made for since find
	reused bool              // a record removed since then was given out again
	nmint  int
	one    cookie.Sum // of sumTuple
	many   struct {   // of Connect and ConnectMany, which run between bursts or within one
		tup [MaxBurst]cookie.Tuple
		sum [MaxBurst]cookie.Sum
	}
	sink uint64
}

// New makes an engine. The hasher gives table hashes, ISNs and timestamp offsets
// and must not be used by another goroutine. The engine owns its memory
// until Free.
func New(cfg Config, hasher *cookie.Hasher) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if hasher == nil {
		return nil, fmt.Errorf("handshake: New needs a cookie.Hasher")
	}
	e := &Engine{cfg: cfg, hasher: hasher, fresh: 1, timersLeft: true}
	if err := e.allocate(cfg.MaxFlows); err != nil {
		return nil, fmt.Errorf("handshake: memory for %d flows: %w", cfg.MaxFlows, err)
	}
	e.timers.init(&cfg)
	e.fast.cache.init(cfg.FastOpenCache)
	e.initFlood()
	e.events = make([]Event, 0, 4*MaxBurst)
	e.out = make([]Out, 0, maxOutput)

	mss := func(overhead int) uint16 {
		m := cfg.MTU - overhead
		if cfg.MSS > 0 {
			m = min(m, cfg.MSS)
		}
		return uint16(m)
	}
	e.mss4, e.mss6 = mss(40), mss(60)
	if !cfg.NoWScale {
		e.ownShift = uint8(cfg.WScale)
		for cfg.RcvWindow > 65535<<e.ownShift {
			e.ownShift++
		}
	}
	// A whole number of segments (WND-003).
	win := func(mss uint16, opt int) uint16 {
		if cfg.SYNWindow > 0 {
			return uint16(cfg.SYNWindow)
		}
		w := min(cfg.RcvWindow, 65535)
		seg := int(mss) - opt
		if w < seg {
			return uint16(w)
		}
		return uint16(w / seg * seg)
	}
	e.win4, e.win6 = win(e.mss4, 0), win(e.mss6, 0)
	e.win4t, e.win6t = win(e.mss4, 12), win(e.mss6, 12)
	return e, nil
}

// Config returns the configuration with defaults filled in.
func (e *Engine) Config() Config { return e.cfg }

// Counters returns the totals; gauges are as of now.
func (e *Engine) Counters() Counters {
	c := e.ctr
	c.HalfOpen, c.Opening = uint64(e.halfOpen), uint64(e.opening)
	c.Flows, c.EstablishedNow = uint64(e.flows), uint64(e.established)
	c.FastOpen.Pending, c.FastOpen.Sending = uint64(e.fast.pending), uint64(e.fast.sending)
	if e.cookieMode {
		c.UnderPressure = 1
	}
	for i := range e.listeners.all {
		c.Queued += uint64(e.listeners.all[i].queued)
	}
	return c
}

// SetClock sets the time and the cookie keys without handling segments, for
// Connect and the application calls of an idle engine. Time must not go back.
func (e *Engine) SetClock(now Time, keys *cookie.Keys) {
	e.now, e.nowMS, e.now64, e.keys = now, uint32(now/1e6), uint32(now/64), keys
}

// Handle decides a burst of at most MaxBurst received segments, which are
// overwritten by their answers where act says Answer. Events are appended to
// Events. len(act) ≥ len(segs).
func (e *Engine) Handle(now Time, keys *cookie.Keys, segs []*wire.Segment, act []Action) {
	if len(segs) == 0 {
		return
	}
	e.SetClock(now, keys)
	n := len(segs)
	act = act[:n]
	for i := range segs {
		gather(&e.tup[i], &segs[i].Tuple)
	}
	e.hasher.Sum(e.sum[:n], e.tup[:n])
	e.find(segs)
	checking := e.checksCookies()
	if checking {
		e.verifyAll(segs)
	}
	e.nmint = 0
	e.ctr.Segments += uint64(n)
	for i := range segs {
		act[i] = Silent
		if checking && e.verdict[i] != 0 {
			act[i] = e.decide(segs, i, &e.vres[e.verdict[i]-1])
		} else {
			act[i] = e.decide(segs, i, nil)
		}
	}
	if e.nmint > 0 {
		e.mintAll(segs, act)
	}
}

// gather fills c from t, word by word: a literal would be built in pieces and
// then copied in larger ones, which a CPU cannot forward from its store buffer.
func gather(c *cookie.Tuple, t *wire.Tuple) {
	c.RemoteHi, c.RemoteLo = t.Remote.Hi, t.Remote.Lo
	c.LocalHi, c.LocalLo = t.Local.Hi, t.Local.Lo
	c.RemotePort, c.LocalPort = t.RemotePort, t.LocalPort
}

// Events returns what happened since the last EndBurst, in order. Calls made
// while walking over them (Send, Close, Abort) add no events.
func (e *Engine) Events() []Event { return e.events }

// EndBurst forgets the events and lets the records of closed flows be reused.
func (e *Engine) EndBurst() {
	e.events = e.events[:0]
	if e.limbo != 0 {
		e.recs[e.limboEnd].next = e.free
		e.free, e.limbo = e.limbo, 0
	}
}

// Output returns the segments the engine wants to send, oldest first. After
// sending the first n the caller says Sent(n).
func (e *Engine) Output() []Out { return e.out }

// Sent drops the first n of Output.
func (e *Engine) Sent(n int) {
	if n == len(e.out) {
		e.out = e.out[:0]
		return
	}
	e.out = e.out[:copy(e.out, e.out[n:])]
}

// OutputRoom is how many segments Output can still take.
func (e *Engine) OutputRoom() int { return maxOutput - len(e.out) }

// hashOf computes the table hash of a record; only slow paths need it, since a
// received segment brings its own.
func (e *Engine) hashOf(idx uint32) uint64 { return e.sumOf(idx).Hash }

// sumAt is sumOf for a record that segment seg of this burst belongs to, if seg ≥ 0.
func (e *Engine) sumAt(idx uint32, seg int) *cookie.Sum {
	if seg >= 0 {
		return &e.sum[seg]
	}
	return e.sumOf(idx)
}

func (e *Engine) sumOf(idx uint32) *cookie.Sum {
	var t wire.Tuple
	e.putTuple(idx, &t)
	return e.sumTuple(&t)
}

func (e *Engine) sumTuple(t *wire.Tuple) *cookie.Sum {
	var c cookie.Tuple
	gather(&c, t)
	e.one = e.hasher.SumOne(&c)
	return &e.one
}

func (e *Engine) decide(segs []*wire.Segment, i int, v *cookie.Result) Action {
	s := segs[i]
	idx := e.current(i, &s.Tuple)
	if idx == 0 {
		return e.noRecord(s, i, v)
	}
	r := &e.recs[idx]
	switch r.state {
	case SynSent:
		return e.synSent(r, idx, s, i)
	case SynRcvd:
		return e.synRcvd(r, idx, s, i, v)
	case Established, FinWait1, FinWait2, CloseWait, Closing, LastAck:
		if r.flags2&flagStream != 0 {
			e.event(EventSegment, idx, i)
			return Silent
		}
		return e.synchronized(r, idx, s, i)
	case TimeWait:
		return e.timeWait(r, idx, s, i)
	case StateInvalid, Closed, Listen:
	}
	return e.noRecord(s, i, v)
}

func (e *Engine) count(o Outcome) Action {
	e.ctr.Outcome[o]++
	return Silent
}

func (e *Engine) answer(o Outcome) Action {
	e.ctr.Outcome[o]++
	return Answer
}

// emit queues a segment of our own. When Output is full it is dropped, which a
// retransmission repairs; callers that can wait look at OutputRoom first.
func (e *Engine) emit(idx uint32, payload bool) *wire.Segment {
	if len(e.out) == cap(e.out) {
		return nil
	}
	e.out = e.out[:len(e.out)+1]
	o := &e.out[len(e.out)-1]
	o.Flow, o.Payload = e.id(idx), payload
	r := &e.recs[idx]
	s := &o.Seg
	e.putTuple(idx, &s.Tuple)
	s.Path = r.path
	s.Ack, s.Len, s.TOS, s.Opt.Has = 0, 0, 0, 0 // the caller sets the rest
	return s
}
