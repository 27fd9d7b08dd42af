package flow

import (
	"math/rand/v2"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// The text of a stream is periodic with a prime period, at an offset of its own.
const simPeriod = 65521

var simPattern = func() []byte {
	rng := rand.New(rand.NewPCG(65521, 1))
	b := make([]byte, simPeriod*3)
	for i := range simPeriod {
		b[i] = byte(rng.Uint32())
	}
	copy(b[simPeriod:], b[:simPeriod])
	copy(b[2*simPeriod:], b[:simPeriod])
	return b
}()

// simFlow is a connection, with an end on each node.
type simFlow struct {
	w     *simWorld
	n     int
	v6    bool
	auto  bool
	ends  [2]*simEnd
	tuple [2]wire.Tuple // as each node sees it
}

// simEnd is one end: its application, and what is true about the text that it sends.
type simEnd struct {
	f    *simFlow
	node *simNode
	id   handshake.FlowID

	// The plan.
	key    int
	want   int // bytes to write
	slow   bool
	follow bool // closes after the peer
	shut   bool // by Release

	// What happened.
	open, closed, aborted, released bool
	auto, again                     bool
	closing                         bool // Close was called, or is by the table
	blocked                         bool
	peerFIN                         bool
	why                             handshake.CloseReason
	wrote, got, kept                int
	iss, irs                        wire.Seq
	wire                            simWire
}

// simAct is what an application does at its time.
type simAct uint8

const (
	simConnect simAct = iota
	simWrite
	simConsume
	simClose
	simAbort
)

func (e *simEnd) peer() *simEnd { return e.f.ends[1-e.node.id] }

// over says that nothing more is to come of e.
func (e *simEnd) over() bool { return e.closed || e.aborted || !e.open }

// text is n bytes of what e writes from off on, n at most simPeriod.
func (e *simEnd) text(off, n int) []byte {
	at := (e.key + off) % simPeriod
	return simPattern[at : at+n]
}

func (e *simEnd) app() *simApp { return &e.f.w.c.side[e.node.id].app }

func (e *simEnd) plan() {
	w, a := e.f.w, e.app()
	switch k := w.rng.IntN(8); {
	case a.exact:
		e.want = a.text
	case k == 0:
	case k == 1:
		e.want = 1 + w.rng.IntN(10)
	case k < 4:
		e.want = w.rng.IntN(a.text/16 + 1)
	default:
		e.want = w.rng.IntN(a.text + 1)
	}
	e.slow, e.follow, e.shut = w.chance(a.slow), w.chance(a.follow), w.chance(a.release)
	if e.node.id == 1 && e.f.ends[0].follow {
		e.follow = false
	}
}

func (e *simEnd) later(d time.Duration, what simAct, size int) {
	w := e.f.w
	w.at(w.now+int64(d), simEvent{to: e.node, end: e, what: what, size: size})
}

// begin is the application's Established.
func (e *simEnd) begin() {
	w, a := e.f.w, e.app()
	if w.chance(a.abort) {
		e.later(w.upTo(a.lifetime), simAbort, 0)
	}
	if w.chance(a.early) {
		e.later(w.upTo(a.lifetime), simClose, 0)
	}
	if w.chance(0.3) {
		e.later(w.upTo(a.pause), simWrite, 0)
		return
	}
	e.write()
}

func (e *simEnd) act(what simAct, size int) {
	switch what {
	case simConnect:
		e.node.connect(e)
		return
	case simWrite, simConsume, simClose, simAbort:
	}
	if e.closed || e.aborted || !e.open {
		return
	}
	t := e.node.t
	switch what {
	case simWrite:
		e.write()
	case simConsume:
		e.kept -= size
		t.Consumed(e.id, size)
	case simClose:
		e.close()
	case simAbort:
		if t.State(e.id) == handshake.TimeWait {
			return
		}
		if !t.Abort(e.id) {
			e.f.w.fail("not aborted: %+v", e)
		}
		e.aborted = true
		delete(e.node.ends, e.id)
	case simConnect:
	}
}

// write goes on until all is written, or there is no room, or it is time for a pause.
func (e *simEnd) write() {
	w, a, t := e.f.w, e.app(), e.node.t
	for e.wrote < e.want && !e.closing && !e.blocked {
		n := min(1+w.rng.IntN(a.chunk), e.want-e.wrote, simPeriod)
		text := e.text(e.wrote, n)
		took := n
		if w.chance(a.static) {
			if !t.WriteStatic(e.id, text) {
				took = 0
			}
		} else {
			took = t.Write(e.id, text)
		}
		if took < 0 || took > n {
			w.fail("wrote %d of %d", took, n)
		}
		e.wrote += took
		if took < n {
			e.blocked = true
			return
		}
		if w.chance(a.pauses) {
			e.later(w.upTo(a.pause), simWrite, 0)
			return
		}
	}
	if e.wrote == e.want && !e.closing && !(e.follow && !e.peerFIN) {
		if w.chance(0.3) {
			e.later(w.upTo(a.pause), simClose, 0)
			return
		}
		e.close()
	}
}

func (e *simEnd) close() {
	if e.closing {
		return
	}
	t := e.node.t
	e.closing, e.blocked = true, false
	if e.shut {
		e.released = true
		if !t.Release(e.id) {
			e.f.w.fail("not released: %+v", e)
		}
		return
	}
	if !t.Close(e.id) {
		e.f.w.fail("not closed: %+v", e)
	}
}

// read is what becomes of n bytes of text.
func (e *simEnd) read(n int) {
	w := e.f.w
	if !e.slow {
		return
	}
	e.node.t.Hold(e.id, n)
	e.kept += n
	e.later(w.upTo(e.app().hold), simConsume, n)
}

func (e *simEnd) hearsFIN() {
	if e.auto {
		e.closing, e.blocked = true, false
		return
	}
	if e.follow && e.wrote == e.want {
		e.close()
	}
}
