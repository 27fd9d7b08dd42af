package worker

import (
	"time"

	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Callbacks are an application's side of its flows. They run on the worker that
// owns the flow, inside the burst, and must not block. Nil members are skipped.
// The *Flow is valid during the call only; keep its ID.
type Callbacks struct {
	// Established is called exactly once per flow, before anything else, when
	// the peer has proved its address; earlier if Info.FastOpen says so.
	Established func(f *Flow)
	// Confirmed is called for flows that came early, when their peer has proved its address.
	Confirmed func(f *Flow)
	// Data gets text in order. p is the received frame: read it, do not keep it. What the
	// application does keep of it in memory of its own, it tells by Hold.
	Data func(f *Flow, p []byte)
	// Writable is called after a Write that took less than it was given: there is room again.
	Writable func(f *Flow)
	// Repeated is called each time the SYN of an attempt was sent again.
	Repeated func(f *Flow)
	// Alive is called when the peer has answered a Probe.
	Alive func(f *Flow)
	// PeerClosed is the peer's FIN. Without it the flow is closed in turn, behind what is queued.
	PeerClosed func(f *Flow)
	// Closed is the last call for a flow. For a failed attempt it is the only
	// one. It is not called after the application's own Abort.
	Closed func(f *Flow, why handshake.CloseReason)
	// AutoClose closes when the peer does, after PeerClosed. On accepted Bare flows the engine
	// answers a FIN with its own in the same segment, before any callback: not for
	// applications that reply to what came with it.
	AutoClose bool
	// Bare flows have no stream: the engine itself takes text in order, and Reply sends one segment
	// at a time. For load generators and whoever else shakes hands and no more; such a flow
	// costs half the memory.
	Bare bool
	// FastOpen has listeners take text on SYNs (RFC 7413) for up to this many flows
	// whose peer has not proved its address yet; see handshake.Engine.FastOpen. Such
	// a SYN may come twice, so the application must bear to see its text
	// twice (RFC 7413 §2.1). 0, the default: off.
	FastOpen int
}

// Flow is one connection, in a callback.
type Flow struct {
	w  *Worker
	id handshake.FlowID
	ev *handshake.Event // of the callback; nil outside of one
}

// Flow returns the flow of an ID that was kept from a callback. It is valid until the next
// call. All methods of a flow that is gone do nothing and return zero, but for Tuple and Age, which
// are right while it is Alive.
func (w *Worker) Flow(id handshake.FlowID) *Flow {
	w.byID.w, w.byID.id = w, id
	return &w.byID
}

// Flows yields every flow there is, in no order, between two rounds or after the end of the worker.
// The *Flow is valid until the next one.
func (w *Worker) Flows(yield func(*Flow) bool) {
	w.engine.SetClock(w.now, w.cfg.Ring.Load()) // for Age: nothing may have happened for long
	w.engine.All(func(id handshake.FlowID) bool { return yield(w.Flow(id)) })
}

// Alive reports whether the flow is not gone; in TIME-WAIT it is there still.
func (f *Flow) Alive() bool { return f.w.engine.State(f.id) != handshake.Closed }

// ID names the flow beyond the callback.
func (f *Flow) ID() handshake.FlowID { return f.id }

// Info returns the facts of the handshake. Only in Established and, for flows that came
// early, in Confirmed.
func (f *Flow) Info() handshake.Info {
	if f.ev == nil {
		return handshake.Info{}
	}
	return f.w.engine.Info(f.ev)
}

// RTT is that of Info, without the rest of it. Only in Established.
func (f *Flow) RTT() time.Duration {
	if f.ev == nil {
		return 0
	}
	return time.Duration(f.ev.RTT) * 64
}

// Tuple returns addresses and ports.
func (f *Flow) Tuple() wire.Tuple { return f.w.engine.Tuple(f.id) }

// Active reports whether this side opened the flow.
func (f *Flow) Active() bool { return f.w.engine.Active(f.id) }

// Age returns the time since the first SYN or SYN-ACK went out, up to 274 s.
func (f *Flow) Age() time.Duration { return f.w.engine.Age(f.id) }

// Retransmitted reports whether a segment of the handshake was sent again. In Established it is Info.Retrans,
// without the rest.
func (f *Flow) Retransmitted() bool { return f.w.engine.Retransmitted(f.id) }

// State is where the flow is; Closed when it is gone.
func (f *Flow) State() handshake.State { return f.w.engine.State(f.id) }

// Worker returns the worker that runs the callback.
func (f *Flow) Worker() *Worker { return f.w }

// SetValue attaches a value to the flow, which goes with it, and Value returns it.
func (f *Flow) SetValue(v any) { f.w.values.set(f.id.Index(), v) }

// Value returns what SetValue was given, nil if nothing was.
func (f *Flow) Value() any { return f.w.values.get(f.id.Index()) }

// stream returns the table that has f, nil if f is Bare or gone.
func (f *Flow) stream() *flow.Table {
	if t := f.w.streams; t != nil && t.Has(f.id) {
		return t
	}
	return nil
}

// Write takes what there is room for of p, which it copies, and returns how much.
// If that is less than all of it, Writable is called when there is room again. It takes
// nothing after Close.
func (f *Flow) Write(p []byte) int {
	if t := f.w.streams; t != nil {
		return t.Write(f.id, p)
	}
	return 0
}

// WriteStatic has p sent from where it lies, without a copy: it must not change until the peer has
// acknowledged it or the flow is closed. It takes all or nothing; after nothing, Writable
// is called when there is room again.
func (f *Flow) WriteStatic(p []byte) bool {
	t := f.w.streams
	return t != nil && t.WriteStatic(f.id, p)
}

// Hold says that n bytes of what Data got are still in the application's memory: the
// peer may send so much less until they are Consumed.
func (f *Flow) Hold(n int) {
	if t := f.stream(); t != nil {
		t.Hold(f.id, n)
	}
}

// Consumed ends what Hold began, for n bytes.
func (f *Flow) Consumed(n int) {
	if t := f.stream(); t != nil {
		t.Consumed(f.id, n)
	}
}

// Unsent is the text written that was not sent yet, in bytes.
func (f *Flow) Unsent() int {
	if t := f.stream(); t != nil {
		return t.Unsent(f.id)
	}
	return 0
}

// Unacked is the text written that the peer has not acknowledged yet, in bytes.
func (f *Flow) Unacked() int {
	if t := f.stream(); t != nil {
		return t.Unacked(f.id)
	}
	return 0
}

// SetNoDelay switches Nagle's algorithm off or on; see flow.Config.Nagle.
func (f *Flow) SetNoDelay(on bool) {
	if t := f.stream(); t != nil {
		t.SetNoDelay(f.id, on)
	}
}

// SetKeepAlive switches the probing of a silent peer on or off; see flow.Config.KeepAlive.
func (f *Flow) SetKeepAlive(on bool) {
	if t := f.stream(); t != nil {
		t.SetKeepAlive(f.id, on)
	}
}

// SetUserTimeout bounds how long what was written may go without an answer; see
// flow.Config.UserTimeout.
func (f *Flow) SetUserTimeout(d time.Duration) {
	if t := f.stream(); t != nil {
		t.SetUserTimeout(f.id, d)
	}
}

// Reply sends p and then, with fin, closes. It takes all of p, which it copies, or
// nothing: when there is not room for it (see Room). On a Bare flow p is one segment, and
// nothing is taken while an earlier reply is not acknowledged.
func (f *Flow) Reply(p []byte, fin bool) bool { return f.w.send(f.id, p, fin) }

// Room is how many bytes Reply takes now.
func (f *Flow) Room() int {
	if t := f.stream(); t != nil {
		return t.Room(f.id)
	}
	return min(f.w.engine.SendRoom(f.id), textSize)
}

// Close sends a FIN behind what was written. Text of the peer still arrives until it closes in turn.
func (f *Flow) Close() {
	switch t := f.stream(); {
	case t != nil:
		t.Close(f.id)
	case f.ev != nil:
		f.w.engine.CloseEvent(f.ev)
	default:
		f.w.engine.Close(f.id)
	}
}

// Release closes the flow for good: Close, and nobody reads on. Data and PeerClosed
// are not called any more; if the peer sends more text, the flow is reset
// (ReasonAborted). Closed is still called.
func (f *Flow) Release() {
	if t := f.stream(); t != nil {
		t.Release(f.id)
		return
	}
	f.w.engine.Release(f.id)
	f.w.leave(f.id, false)
}

// Abort sends a RST and forgets the flow: of what else came in this burst it is
// told no more.
func (f *Flow) Abort() {
	if t := f.stream(); t != nil {
		f.w.values.clear(f.id.Index())
		t.Abort(f.id)
		return
	}
	f.w.texts.release(f.id.Index())
	if f.ev != nil {
		f.w.engine.AbortEvent(f.ev)
	} else {
		f.w.engine.Abort(f.id)
	}
	f.w.leave(f.id, true)
}

const (
	textSize = 2048 // bytes of one reply
	maxTexts = 8192 // replies waiting for their ACK, per worker
)

// texts keeps the replies that are not acknowledged yet, by flow index, in
// recycled buffers.
type texts struct {
	busy map[uint32][]byte
	free [][]byte
	made int
}

func (t *texts) put(idx uint32, p []byte) bool {
	t.release(idx)
	b := t.take(len(p))
	if b == nil {
		return false
	}
	t.keep(idx, append(b, p...))
	return true
}

// take returns an empty buffer for n bytes, nil if there is none.
func (t *texts) take(n int) []byte {
	if n > textSize {
		return nil
	}
	if k := len(t.free); k > 0 {
		b := t.free[k-1]
		t.free = t.free[:k-1]
		return b[:0]
	}
	if t.made == maxTexts {
		return nil
	}
	t.made++
	return make([]byte, 0, textSize)
}

// keep has idx hold b until release.
func (t *texts) keep(idx uint32, b []byte) {
	if t.busy == nil {
		t.busy = map[uint32][]byte{}
	}
	t.release(idx)
	t.busy[idx] = b
}

// tail returns the last n bytes of the reply of idx, all that can still be unacknowledged.
func (t *texts) tail(idx, n uint32) []byte {
	b := t.busy[idx]
	if int(n) > len(b) {
		return nil
	}
	return b[len(b)-int(n):]
}

func (t *texts) release(idx uint32) {
	if b, ok := t.busy[idx]; ok {
		delete(t.busy, idx)
		t.free = append(t.free, b)
	}
}

func (w *Worker) send(id handshake.FlowID, p []byte, fin bool) bool {
	if t := w.streams; t != nil && t.Has(id) {
		if len(p) == 0 || len(p) > t.Room(id) {
			return false
		}
		t.Write(id, p)
		if fin {
			t.Close(id)
		}
		return true
	}
	if len(p) == 0 || len(p) > w.engine.SendRoom(id) {
		return false
	}
	if !w.texts.put(id.Index(), p) {
		w.ctr.noText++
		return false
	}
	if !w.engine.Send(id, len(p), fin) {
		w.texts.release(id.Index())
		return false
	}
	return true
}
