package lab

import (
	"slices"
	"sync"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// fate is what the tap does with a frame.
type fate uint8

const (
	pass fate = iota
	lose      // it is lost on the wire
	hold      // it waits until release
)

// tap decorates fastsyn's port, of one queue: it records frames where fastsyn sends and
// receives them, and loses or holds TCP segments as the lab wants. What it holds is copied, and
// handed on in order by the goroutine that polls the queue.
type tap struct {
	inner dataplane.Port
	q     tapQueue

	mu     sync.Mutex
	frames []frame
	rule   func(out bool, p *wire.Packet) fate // nil: pass
	held   []frame
	ready  [2][][]byte // released and not handed on: received, sent
}

var (
	_ dataplane.Port  = (*tap)(nil)
	_ dataplane.Queue = (*tapQueue)(nil)
	_ dataplane.Waker = (*tapQueue)(nil)
)

func newTap(inner dataplane.Port) *tap {
	t := &tap{inner: inner}
	t.q = tapQueue{t: t, inner: inner.Queue(0), in: dataplane.NewBatch(), out: dataplane.NewBatch(), drop: dataplane.NewBatch()}
	return t
}

// setRule has later TCP segments meet f. It runs on the worker: it must not block.
func (t *tap) setRule(f func(out bool, p *wire.Packet) fate) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rule = f
}

// release hands on all frames that are held.
func (t *tap) release() {
	t.mu.Lock()
	for _, f := range t.held {
		t.ready[index(f.out)] = append(t.ready[index(f.out)], f.data)
	}
	t.held = nil
	t.mu.Unlock()
	t.q.Wake()
}

// look calls f with what was recorded and what is held.
func (t *tap) look(f func(frames, held []frame)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.frames, t.held)
}

func (t *tap) snapshot() (frames []frame) {
	t.look(func(fs, _ []frame) { frames = slices.Clone(fs) })
	return frames
}

func index(out bool) int {
	if out {
		return 1
	}
	return 0
}

// decide records a frame and says what becomes of it; the caller has the lock.
func (t *tap) decide(out bool, d []byte) fate {
	f := newFrame(time.Now(), out, d)
	what := pass
	if t.rule != nil && f.pkt.Kind == wire.KindTCP {
		what = t.rule(out, &f.pkt)
	}
	if what == hold {
		t.held = append(t.held, f)
	}
	if what != hold || out { // a held frame of the peer has not arrived yet
		f.lost = what == lose
		t.frames = append(t.frames, f)
	}
	return what
}

// Info implements dataplane.Port.
func (t *tap) Info() dataplane.Info { return t.inner.Info() }

// Queue implements dataplane.Port.
func (t *tap) Queue(int) dataplane.Queue { return &t.q }

// Stats implements dataplane.Port. Frames that the tap loses or holds are not among those sent.
func (t *tap) Stats(i int) dataplane.Stats { return t.inner.Stats(i) }

// Close implements dataplane.Port.
func (t *tap) Close() error { return t.inner.Close() }

// tapQueue is the queue of a tap.
type tapQueue struct {
	t     *tap
	inner dataplane.Queue
	in    *dataplane.Batch // received, before it is decided about
	out   *dataplane.Batch // released, to be sent
	drop  *dataplane.Batch
}

// Rx implements dataplane.Queue, and sends what was released. All frames that the queue below
// lends are handed on, given back or copied, so none stays in q.in.
func (q *tapQueue) Rx(b *dataplane.Batch) int {
	q.flush()
	if n := q.deliver(b); n > 0 {
		return n
	}
	b.N = 0
	if q.inner.Rx(q.in) == 0 {
		return 0
	}
	q.t.mu.Lock()
	for i := range q.in.N {
		to := q.drop
		if q.t.decide(false, q.in.Data[i]) == pass {
			to = b
		}
		to.Data[to.N], to.Meta[to.N], to.Handle[to.N], to.Verdict[to.N] = q.in.Data[i], q.in.Meta[i], q.in.Handle[i], dataplane.Drop
		to.N++
	}
	q.t.mu.Unlock()
	q.inner.Settle(q.drop)
	return b.N
}

// take removes up to a batch of released frames.
func (q *tapQueue) take(out bool) (frames [][]byte) {
	q.t.mu.Lock()
	defer q.t.mu.Unlock()
	r := &q.t.ready[index(out)]
	n := min(len(*r), dataplane.BatchSize)
	frames, *r = (*r)[:n:n], (*r)[n:]
	return frames
}

// flush sends what was released. A frame for which there is no blank one is lost, as in a full ring.
func (q *tapQueue) flush() {
	frames := q.take(true)
	if len(frames) == 0 {
		return
	}
	for i := range q.inner.Blank(q.out, len(frames)) {
		q.out.Data[i] = append(q.out.Data[i], frames[i]...)
		q.out.Verdict[i] = dataplane.Reply
	}
	q.inner.Settle(q.out)
}

// deliver lends received frames that were released.
func (q *tapQueue) deliver(b *dataplane.Batch) int {
	frames := q.take(false)
	if len(frames) == 0 {
		return 0
	}
	n := q.inner.Blank(b, len(frames))
	q.t.mu.Lock()
	defer q.t.mu.Unlock()
	for i := range n {
		b.Data[i] = append(b.Data[i], frames[i]...)
		q.t.frames = append(q.t.frames, newFrame(time.Now(), false, frames[i]))
	}
	return n
}

// Settle implements dataplane.Queue.
func (q *tapQueue) Settle(b *dataplane.Batch) int {
	away := 0
	q.t.mu.Lock()
	for i := range b.N {
		if b.Verdict[i] == dataplane.Reply && q.t.decide(true, b.Data[i]) != pass {
			b.Verdict[i] = dataplane.Drop
			away++
		}
	}
	q.t.mu.Unlock()
	return away + q.inner.Settle(b)
}

// Blank implements dataplane.Queue.
func (q *tapQueue) Blank(b *dataplane.Batch, n int) int { return q.inner.Blank(b, n) }

// Wait implements dataplane.Queue.
func (q *tapQueue) Wait(max time.Duration) {
	q.t.mu.Lock()
	waiting := len(q.t.ready[0]) + len(q.t.ready[1])
	q.t.mu.Unlock()
	if waiting == 0 {
		q.inner.Wait(max)
	}
}

// Wake implements dataplane.Waker.
func (q *tapQueue) Wake() {
	if w, ok := q.inner.(dataplane.Waker); ok {
		w.Wake()
	}
}

// Caps implements dataplane.Queue: captured frames have whole checksums, and released ones come in
// blank ones.
func (q *tapQueue) Caps() dataplane.Caps {
	c := q.inner.Caps()
	c.TxCsum = false
	c.ReplyRoom = min(c.ReplyRoom, c.FrameRoom)
	return c
}

// Err implements dataplane.Queue.
func (q *tapQueue) Err() error { return q.inner.Err() }
