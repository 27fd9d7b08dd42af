package worker

import (
	"time"

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
	// Data gets text in order. p is the received frame: read it, do not keep it.
	Data func(f *Flow, p []byte)
	// PeerClosed is the peer's FIN. Without it the flow is closed in turn.
	PeerClosed func(f *Flow)
	// Closed is the last call for a flow. For a failed attempt it is the only
	// one. It is not called after the application's own Abort.
	Closed func(f *Flow, why handshake.CloseReason)
	// AutoClose closes when the peer does. On accepted flows the engine answers a
	// FIN with its own in the same segment, before any callback: not for
	// applications that reply to what came with it.
	AutoClose bool
	// FastOpen has listeners take text on SYNs (RFC 7413) for up to this many flows
	// whose peer has not proved its address yet; see handshake.Engine.FastOpen. Such
	// a SYN may come twice, so the application must bear to see its text
	// twice (RFC 7413 §2.1). 0, the default: off.
	FastOpen int
}

// Flow is one connection, in a callback.
type Flow struct {
	w  *Worker
	ev *handshake.Event
}

// ID names the flow beyond the callback.
func (f *Flow) ID() handshake.FlowID { return f.ev.Flow }

// Info returns the facts of the handshake. Only in Established.
func (f *Flow) Info() handshake.Info { return f.w.engine.Info(f.ev) }

// Tuple returns addresses and ports.
func (f *Flow) Tuple() wire.Tuple { return f.w.engine.Tuple(f.ev.Flow) }

// Active reports whether this side opened the flow.
func (f *Flow) Active() bool { return f.ev.Active }

// Age returns the time since the first SYN or SYN-ACK went out, up to 274 s.
func (f *Flow) Age() time.Duration { return f.w.engine.Age(f.ev.Flow) }

// Worker returns the worker that runs the callback.
func (f *Flow) Worker() *Worker { return f.w }

// Reply sends p as one segment and then, with fin, closes. It copies p and
// reports false when p is empty, longer than one segment or the peer's window,
// when an earlier reply is not acknowledged yet, or when no buffer is free.
func (f *Flow) Reply(p []byte, fin bool) bool { return f.w.send(f.ev.Flow, p, fin) }

// Room is how many bytes Reply takes now.
func (f *Flow) Room() int { return min(f.w.engine.SendRoom(f.ev.Flow), textSize) }

// Close sends a FIN. Text of the peer still arrives until it closes in turn.
func (f *Flow) Close() { f.w.engine.CloseEvent(f.ev) }

// Release closes the flow for good: Close, and nobody reads on. Data and PeerClosed
// are not called any more; if the peer sends more text, the flow is reset
// (ReasonAborted). Closed is still called.
func (f *Flow) Release() { f.w.Release(f.ev.Flow) }

// Abort sends a RST and forgets the flow: of what else came in this burst it is
// told no more.
func (f *Flow) Abort() {
	f.w.texts.release(f.ev.Flow.Index())
	f.w.engine.AbortEvent(f.ev)
	f.w.leave(f.ev.Flow, true)
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
