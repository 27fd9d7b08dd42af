package impair

import (
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// queue decorates one queue. Its batches are for frames that it lends from the
// queue below for itself.
type queue struct {
	p     *Port
	num   int
	inner dataplane.Queue
	tx    *lane // nil: transmitted frames pass as they are
	rx    *lane // nil: received frames pass as they are
	out   *dataplane.Batch
	in    *dataplane.Batch // received and, from at on, not yet delivered
	at    int
	drop  *dataplane.Batch
	st    dataplane.Stats
	pub   struct{ rxFrames, rxBytes, txFrames, txBytes, txFull, noBlank atomic.Uint64 }
}

var (
	_ dataplane.Queue    = (*queue)(nil)
	_ dataplane.Attacher = (*queue)(nil)
	_ dataplane.Waker    = (*queue)(nil)
)

func newQueue(p *Port, i int) *queue {
	q := &queue{p: p, num: i, inner: p.inner.Queue(i), out: dataplane.NewBatch(), in: dataplane.NewBatch(), drop: dataplane.NewBatch()}
	room := q.inner.Caps().FrameRoom
	q.tx = newLane(&p.c, i, DirTx, room)
	q.rx = newLane(&p.c, i, DirRx, room)
	return q
}

// Caps implements dataplane.Queue. Received frames that were held come back in
// blank ones, which bounds ReplyRoom. Checksums that a device completes would be
// missing in the capture, and would make good what was corrupted.
func (q *queue) Caps() dataplane.Caps {
	c := q.inner.Caps()
	c.TxCsum = false
	if q.rx != nil {
		c.ReplyRoom = min(c.ReplyRoom, c.FrameRoom)
	}
	return c
}

// Err implements dataplane.Queue. A failed capture is no failure of the device:
// see Port.CaptureErr.
func (q *queue) Err() error { return q.inner.Err() }

// Attach implements dataplane.Attacher for the queue below, if that does.
func (q *queue) Attach() error {
	if a, ok := q.inner.(dataplane.Attacher); ok {
		return a.Attach()
	}
	return nil
}

// Detach implements dataplane.Attacher.
func (q *queue) Detach() {
	if a, ok := q.inner.(dataplane.Attacher); ok {
		a.Detach()
	}
}

// Rx implements dataplane.Queue, and sends the held frames that are due.
func (q *queue) Rx(b *dataplane.Batch) int {
	if q.tx != nil {
		q.release(q.p.now())
	}
	if q.rx == nil {
		q.inner.Rx(b)
		q.p.capture(b, b.N, false)
	} else {
		q.receive(b, q.p.now())
	}
	if b.N > 0 {
		q.st.RxFrames += uint64(b.N)
		for _, d := range b.Data[:b.N] {
			q.st.RxBytes += uint64(len(d))
		}
		q.publish()
	}
	return b.N
}

// receive fills b with held frames that are due, at most half a batch so that
// neither kind starves the other, and with fresh ones that pass.
func (q *queue) receive(b *dataplane.Batch, now int64) {
	l := q.rx
	b.N = 0
	if n := l.held.ready(now, l.passed, dataplane.BatchSize/2); n > 0 {
		q.inner.Blank(b, n) // less than n: the rest stays held
		for i := range b.N {
			b.Data[i], b.Meta[i] = l.held.take(b.Data[i], now, l.passed)
		}
		l.n.Passed += uint64(b.N)
	}
	if q.at == q.in.N {
		q.inner.Rx(q.in)
		q.at = 0
		q.p.capture(q.in, q.in.N, false)
	}
	for ; q.at < q.in.N && b.N < dataplane.BatchSize; q.at++ {
		i := q.at
		to := q.drop
		if l.decide(q.in.Data[i], &q.in.Meta[i], now) {
			to = b
			l.n.Passed++
		}
		to.Data[to.N], to.Meta[to.N], to.Handle[to.N] = q.in.Data[i], q.in.Meta[i], q.in.Handle[i]
		to.Verdict[to.N] = dataplane.Drop
		to.N++
	}
	q.inner.Settle(q.drop)
	l.publish()
}

// Settle implements dataplane.Queue.
func (q *queue) Settle(b *dataplane.Batch) int {
	n, asked, bytes := b.N, 0, uint64(0)
	if n == 0 {
		return 0
	}
	now := int64(0)
	if q.tx != nil {
		now = q.p.now()
	}
	gone := 0 // lost or held
	for i := range n {
		if b.Verdict[i] != dataplane.Reply {
			continue
		}
		size := uint64(len(b.Data[i]))
		bytes += size
		asked++
		if q.tx != nil && !q.tx.decide(b.Data[i], &b.Meta[i], now) {
			b.Verdict[i] = dataplane.Drop
			gone++
			q.st.TxBytes += size
			bytes -= size
		}
	}
	q.p.capture(b, n, true)
	direct := asked - gone
	sizes := bytes
	before := q.p.inner.Stats(q.num).TxBytes
	sent := q.inner.Settle(b)
	if sent < direct {
		sizes = min(bytes, q.p.inner.Stats(q.num).TxBytes-before)
	}
	full := uint64(direct - sent)
	q.st.TxFrames += uint64(gone + sent)
	q.st.TxBytes += sizes
	q.st.TxFull += full
	if q.tx != nil {
		q.tx.n.Passed += uint64(sent)
		q.tx.n.Refused += full
		q.release(now)
		q.tx.publish()
	}
	q.publish()
	return gone + sent
}

// release sends the held frames that are due, as far as blank frames last.
func (q *queue) release(now int64) {
	l, any := q.tx, false
	for {
		n := l.held.ready(now, l.passed, dataplane.BatchSize)
		if n == 0 {
			break
		}
		n = q.inner.Blank(q.out, n)
		if n == 0 {
			break
		}
		any = true
		for i := range n {
			q.out.Data[i], _ = l.held.take(q.out.Data[i], now, l.passed)
			q.out.Verdict[i] = dataplane.Reply
		}
		q.p.capture(q.out, n, true)
		sent := q.inner.Settle(q.out)
		l.n.Passed += uint64(sent)
		l.n.Unsent += uint64(n - sent)
	}
	if any {
		l.publish()
	}
}

// Blank implements dataplane.Queue.
func (q *queue) Blank(b *dataplane.Batch, n int) int {
	want := max(0, min(n, dataplane.BatchSize))
	n = q.inner.Blank(b, n)
	if n < want {
		q.st.NoBlank += uint64(want - n)
		q.publish()
	}
	return n
}

// Wait implements dataplane.Queue. It ends when a held frame is due.
func (q *queue) Wait(max time.Duration) {
	if q.at < q.in.N {
		return
	}
	now := int64(0)
	if q.tx != nil || q.rx != nil {
		now = q.p.now()
	}
	for _, l := range []*lane{q.tx, q.rx} {
		if l == nil {
			continue
		}
		if l.held.ready(now, l.passed, 1) > 0 {
			return
		}
		if due, ok := l.held.next(); ok {
			max = min(max, time.Duration(due-now))
		}
	}
	q.p.flush()
	q.inner.Wait(max)
}

// Wake implements dataplane.Waker for the queue below, if that does.
func (q *queue) Wake() {
	if w, ok := q.inner.(dataplane.Waker); ok {
		w.Wake()
	}
}

// close gives back what the queue below lent to this one, and drops what is held.
func (q *queue) close() {
	for ; q.at < q.in.N; q.at++ {
		i, to := q.at, q.drop
		to.Data[to.N], to.Handle[to.N], to.Verdict[to.N] = q.in.Data[i], q.in.Handle[i], dataplane.Drop
		to.N++
	}
	q.inner.Settle(q.drop)
	for _, l := range []*lane{q.tx, q.rx} {
		if l != nil {
			l.n.Unsent += uint64(l.held.len())
			l.held = newStore(0, 0)
			l.publish()
		}
	}
}

func (q *queue) publish() {
	p := &q.pub
	p.rxFrames.Store(q.st.RxFrames)
	p.rxBytes.Store(q.st.RxBytes)
	p.txFrames.Store(q.st.TxFrames)
	p.txBytes.Store(q.st.TxBytes)
	p.txFull.Store(q.st.TxFull)
	p.noBlank.Store(q.st.NoBlank)
}
