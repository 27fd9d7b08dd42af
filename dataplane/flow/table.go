package flow

import (
	"fmt"
	"math"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/hugepages"
)

// Handler is who the flows of a Table are for. Its functions run inside Open, Segment,
// Advance and the calls of the application, and may make such calls in turn.
type Handler interface {
	// Data gets text in order. It is valid during the call.
	Data(id handshake.FlowID, app uint16, text []byte)
	// Writable says that there is room after a Write that took less than it was given.
	Writable(id handshake.FlowID, app uint16)
	// PeerClosed is the peer's FIN.
	PeerClosed(id handshake.FlowID, app uint16)
	// Closed is the last call for a flow. It does not follow Abort.
	Closed(id handshake.FlowID, app uint16, why handshake.CloseReason)
}

// Table is the established flows of one core: what package handshake calls streams. It
// belongs to one goroutine, together with its Engine.
type Table struct {
	cfg    Config
	engine *handshake.Engine
	to     Handler

	arena   *hugepages.Arena
	conns   []conn // by FlowID.Index
	wheel   *wheel
	pool    *Pool
	reas    *Reassembler
	send    *sendPool
	runs    *runPool
	senders *senders

	flags    uint32 // that each flow begins with
	rcvBuf   uint32
	ackDelay uint32 // µs
	finWait2 uint32 // ms

	// The clock of this burst.
	us, ms, sec uint32

	jobs           []job
	done, answered int // of jobs
	open           int // jobs that are not settled
	turn           int // segments in a row of one of them
	// The segment that is being handled, for what answers it.
	rx    int16
	rxIdx uint32

	ctr  Counters
	sack [28]byte // of Out.Extra
	// Scratch, filled in place.
	opened handshake.Stream
	ending handshake.StreamEnd
}

// job is a flow that may have something to send.
type job struct {
	i   uint32
	gen uint16
	rx  int16          // the received frame that can take an answer, -1 if none
	dup wire.SACKBlock // for D-SACK
	// A probe of the tail, whatever the congestion window says: [seq, seq+n) again, or
	// new text if n is 0.
	probe bool
	ping  bool // an ACK of what was acknowledged long ago, which the peer answers
	seq   wire.Seq
	n     uint32
}

// maxJobs bounds the flows that timers wake in one round.
const maxJobs = 1024

// New makes the table of the streams of engine, whose events and timers it is told of by
// the caller. now is the clock to begin with. It owns its memory until Free.
func New(cfg Config, engine *handshake.Engine, to Handler, now handshake.Time) (*Table, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	ec := engine.Config()
	t := &Table{cfg: cfg, engine: engine, to: to, rx: -1}
	t.SetClock(now)
	defer func() {
		if err != nil {
			_ = t.Free()
		}
	}()
	n := ec.MaxFlows + 1
	size, err := hugepages.SizeFor[conn](n)
	if err == nil {
		t.arena, err = hugepages.Alloc(size, hugepages.Options{})
	}
	if err == nil {
		t.conns, err = hugepages.Slice[conn](t.arena, n)
	}
	if err != nil {
		return nil, fmt.Errorf("flow: memory for %d flows: %w", ec.MaxFlows, err)
	}
	if t.pool, err = NewPool(cfg.Memory/BlockSize, hugepages.Options{}); err != nil {
		return nil, err
	}
	if cfg.Held.Blocks == 0 { // a window that was promised can be held
		cfg.Held.Blocks = max(1024, ec.RcvWindow/BlockSize*2)
	}
	if t.reas, err = NewReassembler(t.pool, cfg.Held, hugepages.Options{}); err != nil {
		return nil, err
	}
	if t.senders, err = newSenders(ec.MaxFlows, hugepages.Options{}); err != nil {
		return nil, err
	}
	t.send = newSendPool(t.pool, cfg.Statics)
	t.runs = newRunPool(ec.MaxFlows, 65536)
	t.wheel = newWheel(linksIn(t.conns, func(c *conn) *link { return &c.link }), t.ms)
	if cfg.Nagle {
		t.flags |= connNagle
	}
	if cfg.KeepAlive {
		t.flags |= connKeepAlive
	}
	t.rcvBuf = uint32(ec.RcvWindow)
	t.ackDelay = uint32(cfg.AckDelay.Microseconds())
	t.finWait2 = uint32(ec.FinWait2.Milliseconds())
	t.jobs = make([]job, 0, maxJobs+handshake.MaxBurst)
	return t, nil
}

// Populate brings into memory what every flow needs, see handshake.Engine.Populate.
func (t *Table) Populate() error {
	if err := hugepages.Populate(t.conns); err != nil {
		return fmt.Errorf("flow: memory for %d flows: %w", len(t.conns)-1, err)
	}
	return nil
}

// Free returns the memory. The table must not be used afterwards.
func (t *Table) Free() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if t.senders != nil {
		keep(t.senders.free())
	}
	if t.reas != nil {
		keep(t.reas.Free())
	}
	if t.pool != nil {
		keep(t.pool.Free())
	}
	if t.arena != nil {
		keep(t.arena.Free())
	}
	return first
}

// Config returns the configuration with defaults filled in.
func (t *Table) Config() Config { return t.cfg }

// Pool is the memory of the text, which adapters may take blocks of.
func (t *Table) Pool() *Pool { return t.pool }

// SetClock sets the time, the one of the engine. The segments of an earlier burst are
// gone thereby.
func (t *Table) SetClock(now handshake.Time) {
	t.us, t.ms, t.sec = uint32(now/1e3), uint32(now/1e6), uint32(now/1e9)
	t.rx = -1
}

// get returns the flow of id, nil if it is gone or not a stream.
func (t *Table) get(id handshake.FlowID) *conn {
	i := id.Index()
	if int(i) >= len(t.conns) {
		return nil
	}
	c := &t.conns[i]
	if c.state == 0 || c.gen != id.Generation() {
		return nil
	}
	return c
}

// Has reports whether id is a stream of t.
func (t *Table) Has(id handshake.FlowID) bool { return t.get(id) != nil }

// Open takes over the flow of an EventEstablished, before its EventSegments. With autoClose it is closed
// when the peer closes. text is what was given with an active SYN and the
// peer has not acknowledged; it goes first. Unless the
// application has more to say, the SYN-ACK of an active open is answered by an ACK.
func (t *Table) Open(ev *handshake.Event, autoClose bool, text []byte) {
	s := &t.opened
	t.engine.Stream(ev, s)
	i := ev.Flow.Index()
	c := &t.conns[i]
	c.rcvNxt, c.held, c.tsOff = s.RcvNxt, 0, s.TSOff
	c.edge = s.RcvNxt + wire.Seq(s.RcvWnd)
	c.del.start(s.RcvNxt, s.OwnMSS)
	c.ts.Val, c.ts.At = s.TSRecent, t.sec
	c.sndNxt = s.SndUna
	c.wl1, c.wl2 = s.RcvNxt, s.SndUna
	c.kept, c.snd, c.job = 0, 0, 0
	c.heard, c.challenged = t.ms, t.ms-challengeSpacing
	c.shifts = s.SndShift<<4 | s.RcvShift
	c.wnd, c.maxWnd, c.mss, c.app, c.gen = s.SndWnd, s.SndWnd, s.MSS, ev.App, ev.Flow.Generation()
	c.userTimeout, c.probes, c.state = 0, 0, s.State
	c.flags = uint32(s.Has)&(connTS|connSACK|connECN) | t.flags
	if autoClose {
		c.flags |= connAutoClose
	}
	c.mem.start(uint32(c.mss)-c.optionBytes(), s.Has&handshake.StreamLost != 0, s.RTT, s.Has&handshake.StreamRetrans != 0)
	t.ctr.Opened++
	t.ctr.Now++
	t.at(ev)
	if s.State == handshake.SynRcvd { // TFO-009: it may speak before it is confirmed
		c.state = handshake.Established
		c.flags |= connEarly
		t.rx = -1 // that frame is for the SYN-ACK
	}
	if len(text) > 0 {
		x := t.wake(c)
		t.ctr.BytesOut += uint64(t.send.append(&x.buf, text, math.MaxUint32, 0))
		t.want(c, i)
	}
	if s.Has&handshake.StreamSYN != 0 { // not the ACK of a simultaneous open (SIM-002)
		c.flags |= connAckNow
		t.want(c, i)
	} else if c.flags&connKeepAlive != 0 {
		t.schedule(c, i)
	}
}

// at says which segment is being handled.
func (t *Table) at(ev *handshake.Event) { t.rx, t.rxIdx = ev.Seg, ev.Flow.Index() }

// Early takes the text of a SYN, in an EventData behind the Open of a flow that came early.
func (t *Table) Early(ev *handshake.Event, text []byte) {
	if c := t.get(ev.Flow); c != nil {
		t.rx, t.rxIdx = -1, ev.Flow.Index()
		t.ctr.BytesIn += uint64(len(text))
		t.to.Data(ev.Flow, c.app, text)
	}
}

// Confirm takes an EventConfirmed: the peer of a flow that came early has proved its address.
func (t *Table) Confirm(ev *handshake.Event) {
	c := t.get(ev.Flow)
	if c == nil {
		return
	}
	i := ev.Flow.Index()
	c.flags &^= connEarly
	t.setState(c, i, c.state)
	rtt := uint32(uint64(ev.RTT) * 64 / 1000)
	switch {
	case rtt == 0:
	case c.snd != 0:
		t.senders.at(c.snd).rto.sample(rtt, 1)
	default:
		r := rto{srtt: c.mem.srtt, rttvar: c.mem.rttvar}
		r.sample(rtt, 1)
		c.mem.srtt, c.mem.rttvar = r.srtt, r.rttvar
	}
	t.want(c, i)
}

// Forget takes an EventClosed of a flow that came early: the engine has ended it.
func (t *Table) Forget(ev *handshake.Event) {
	if c := t.get(ev.Flow); c != nil {
		t.free(c, ev.Flow.Index())
	}
}

// want has c looked at when the burst is over, for what it has to send.
func (t *Table) want(c *conn, i uint32) *job {
	if c.job == 0 {
		t.newJob(c, i)
	}
	j := &t.jobs[c.job-1]
	if t.rxIdx == i && t.rx >= 0 {
		j.rx = t.rx
	}
	return j
}

// newJob fills in a job word by word: a literal would be built and then copied.
func (t *Table) newJob(c *conn, i uint32) {
	if len(t.jobs) == cap(t.jobs) {
		t.compact()
	}
	n := len(t.jobs)
	t.jobs = t.jobs[:n+1]
	j := &t.jobs[n]
	j.i, j.gen, j.rx, j.probe, j.ping = i, c.gen, -1, false, false
	j.dup.Left, j.dup.Right = 0, 0
	c.job = uint32(n + 1)
	t.open++
}

// compact makes room for a job where those were that are done.
func (t *Table) compact() {
	keep := t.jobs[:0]
	for k := range t.jobs {
		j := &t.jobs[k]
		if c := &t.conns[j.i]; k >= t.done && c.gen == j.gen && int(c.job) == k+1 {
			keep = append(keep, *j)
			c.job = uint32(len(keep))
		}
	}
	t.jobs, t.done, t.answered = keep, 0, 0
	if len(keep) == cap(keep) {
		t.jobs = append(keep, job{})[:len(keep)]
	}
}

// wake gives c a sender, if it has none.
func (t *Table) wake(c *conn) *sender {
	if c.snd == 0 {
		c.snd = t.senders.get()
		x := t.senders.at(c.snd)
		x.wake(&c.mem, c.sndNxt, c.flags&connSACK != 0, t.us, t.ms)
		return x
	}
	return t.senders.at(c.snd)
}

// rest takes the sender of c back if there is nothing for it to do.
func (t *Table) rest(c *conn) {
	x := t.senders.at(c.snd)
	if x.flight() == 0 && x.buf.size == 0 && (c.flags&connFIN == 0 || c.flags&connFINSent != 0) {
		c.sndNxt = x.nxt
		x.rest(&c.mem, t.us, t.ms)
		t.senders.put(c.snd)
		c.snd = 0
	}
}

// SND.UNA and SND.NXT of c.
func (t *Table) una(c *conn) wire.Seq {
	if c.snd == 0 {
		return c.sndNxt
	}
	return t.senders.at(c.snd).una
}

func (t *Table) nxt(c *conn) wire.Seq {
	if c.snd == 0 {
		return c.sndNxt
	}
	return t.senders.at(c.snd).nxt
}

// end ends c, returns what it had and tells the application unless it did it itself.
func (t *Table) end(c *conn, i uint32, why handshake.CloseReason, how endHow) {
	id, app := t.engine.ID(i), c.app
	told := how == endAbort || c.state == handshake.TimeWait
	e := &t.ending
	e.SndNxt, e.RcvNxt, e.TSRecent, e.Reason = t.nxt(c), c.rcvNxt, c.ts.Val, why
	e.TimeWait, e.Reset = how == endTimeWait, how == endReset || how == endAbort
	seg := -1
	if t.rxIdx == i {
		seg = int(t.rx)
	}
	t.free(c, i)
	t.engine.EndStream(id, seg, e)
	if !told {
		t.to.Closed(id, app, why)
	}
}

// endHow is how a flow ends.
type endHow uint8

const (
	endQuiet    endHow = iota + 1 // nothing is sent
	endReset                      // a reset is sent
	endAbort                      // the same, and the application knows
	endTimeWait                   // the engine keeps it for 2·MSL, and the application knows
)

// free returns what c has.
func (t *Table) free(c *conn, i uint32) {
	if c.snd != 0 {
		t.releaseSender(c)
	}
	if c.held != 0 {
		t.reas.Release(&c.held)
	}
	t.wheel.disarm(i)
	if c.job != 0 {
		t.open--
	}
	c.job, c.state = 0, 0
	t.ctr.Now--
	t.ctr.Ended++
}

// releaseSender returns the sender of c and what is in it.
func (t *Table) releaseSender(c *conn) {
	x := t.senders.at(c.snd)
	t.runs.clear(&x.scoreboard)
	t.send.clear(&x.buf)
	t.senders.put(c.snd)
	c.snd = 0
}
