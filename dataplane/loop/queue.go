package loop

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// queue is one queue of one side. Up to the first pad it is constant after
// newWire, then it belongs to the polling goroutine, then come the words that
// other goroutines touch.
type queue struct {
	w       *wire
	id      uint32 // home number: side times queues plus queue
	shift   uint   // frame index >> shift is its home
	poison  bool
	zero    byte // 0, which the compiler does not know
	peer    *sideState
	self    *sideState
	peers   []*queue
	out     []*ring         // to each queue of the other side
	in      []*ring         // from each queue of the other side
	give    [maxHomes]*ring // to each home but this one
	take    []*ring         // frames coming home
	errGone error

	_      pad
	free   []uint32 // stack of frames at home, so that the warmest is lent first
	turn   int      // input ring that Rx reads first
	lent   int      // frames with the caller
	dirty  uint32   // outputs pushed to and not yet published
	given  uint32   // return rings pushed to and not yet published
	st     dataplane.Stats
	timer  *time.Timer
	closed [2]bool // what Wait has seen of the other side and of this one

	_       pad
	waiting atomic.Uint32 // 1: the owner is about to sleep, or sleeps
	wake    chan struct{}
	_       pad
	pub     published
}

var (
	_ dataplane.Queue = (*queue)(nil)
	_ dataplane.Waker = (*queue)(nil)
)

func newQueue(w *wire, side, num int) *queue {
	c := w.cfg
	q := &queue{
		w:       w,
		id:      uint32(side*c.Queues + num),
		shift:   uint(bits.TrailingZeros(uint(c.Frames))),
		poison:  c.Poison,
		free:    make([]uint32, c.Frames),
		wake:    make(chan struct{}, 1),
		errGone: fmt.Errorf("loop: %q queue %d: %w; close this end as well, then the name can be opened again", w.name, num, ErrPeerClosed),
	}
	for i := range q.free {
		q.free[i] = q.id<<q.shift + uint32(c.Frames-1-i)
	}
	return q
}

// Caps implements dataplane.Queue.
func (q *queue) Caps() dataplane.Caps {
	return dataplane.Caps{
		Burst:     dataplane.BatchSize,
		ReplyRoom: slotSize,
		FrameRoom: slotSize,
		RxHash:    q.w.steer != nil,
		Blocking:  true,
	}
}

// Err implements dataplane.Queue: ErrPeerClosed after the other side closed,
// nil before it opened. Frames that it sent before closing can still be received.
func (q *queue) Err() error {
	if q.peer.closed.Load() {
		return q.errGone
	}
	return nil
}

// Rx implements dataplane.Queue. Inputs take turns at being read first.
func (q *queue) Rx(b *dataplane.Batch) int {
	n := q.receive(q.in[q.turn], b, 0)
	if len(q.in) > 1 {
		for i := q.turn + 1; i < len(q.in) && n < dataplane.BatchSize; i++ {
			n = q.receive(q.in[i], b, n)
		}
		for i := 0; i < q.turn && n < dataplane.BatchSize; i++ {
			n = q.receive(q.in[i], b, n)
		}
		if q.turn++; q.turn == len(q.in) {
			q.turn = 0
		}
	}
	b.N = n
	q.lent += n
	return n
}

// receive appends what r holds to the first n frames of b.
func (q *queue) receive(r *ring, b *dataplane.Batch, n int) int {
	avail := r.avail(uint64(dataplane.BatchSize - n))
	if avail == 0 {
		return n
	}
	m := n + int(min(avail, uint64(dataplane.BatchSize-n)))
	data, meta, verdict, handle := b.Data[n:m], b.Meta[n:m], b.Verdict[n:m], b.Handle[n:m]
	slot, arena, at, bytes := r.slot, q.w.arena, r.c.head, uint64(0)
	for i := range data {
		e := slot[(at+uint64(i))&uint64(len(slot)-1)]
		idx, size := e>>lenBits&idxMask, e&lenMask
		off := idx * stride
		data[i] = arena[off : off+size : off+slotSize]
		handle[i] = idx
		meta[i] = dataplane.Meta{}
		if e&hashBit != 0 {
			meta[i] = dataplane.Meta{Hash: uint32(e >> hashPos), Flags: dataplane.MetaHash}
		}
		bytes += size
	}
	q.own(data)
	clear(verdict)
	if q.poison {
		q.lend(handle)
	}
	r.release(uint64(m - n))
	q.st.RxFrames += uint64(m - n)
	q.st.RxBytes += bytes
	return m
}

// own takes the first two cache lines of each frame away from the core that
// wrote or read them last, for writing. A NIC would have put them into our
// cache; here each is a miss of 100 ns and more, and a reply would pay a second
// one to own what was only read. All at once they overlap.
func (q *queue) own(data [][]byte) {
	for i := range data {
		d := data[i][:ownBytes]
		d[0] ^= q.zero
		d[ownBytes-1] ^= q.zero
	}
}

// ownBytes covers a SYN with all its options.
const ownBytes = 66

// Settle implements dataplane.Queue. It publishes counters and each ring once.
func (q *queue) Settle(b *dataplane.Batch) int {
	n := b.N
	if n == 0 {
		return 0
	}
	b.N = 0
	if q.poison {
		q.inspect(b, n)
	}
	down := q.peer.closed.Load()
	data, verdict, handle := b.Data[:n], b.Verdict[:n], b.Handle[:n]
	arena, table := q.w.arena, q.w.steer
	to, kept, sent, bytes, dirty := uint16(0), 0, 0, 0, uint32(0)
	r := q.out[0]
	for i := range data {
		idx := uint32(handle[i])
		switch verdict[i] {
		case dataplane.Reply:
			d := data[i]
			if len(d) < minFrame || len(d) > maxFrame || down {
				q.st.TxErrors++
				bytes += len(d)
				sent++
				q.home(idx)
				continue
			}
			if &d[0] != &arena[int(idx)*stride] {
				copy(q.w.frame(idx), d) // resliced from the front
			}
			e := uint64(idx)<<lenBits | uint64(len(d))
			if table != nil {
				var hash uint32
				var ok bool
				if to, hash, ok = table.Frame(d); ok {
					e |= uint64(hash)<<hashPos | hashBit
				}
				r = q.out[to]
			}
			if !r.push(e) {
				q.st.TxFull++
				q.home(idx)
				continue
			}
			dirty |= 1 << to
			bytes += len(d)
			sent++
		case dataplane.Keep:
			kept++
		default:
			q.home(idx)
		}
	}
	q.st.TxFrames += uint64(sent)
	q.st.TxBytes += uint64(bytes)
	q.lent -= n - kept
	q.dirty = dirty
	if q.poison {
		clear(data) // a later use through the batch finds nil
	}
	q.flush()
	q.pub.store(&q.st)
	return sent
}

// home returns a frame to where it belongs.
func (q *queue) home(idx uint32) {
	if q.poison {
		q.scrub(idx)
	}
	h := idx >> q.shift
	if h == q.id {
		q.free = append(q.free, idx)
		return
	}
	// Never full: the ring has a slot for each frame of that home.
	q.give[h].push(uint64(idx))
	q.given |= 1 << h
}

// flush publishes the rings that were pushed to and wakes consumers that sleep.
func (q *queue) flush() {
	for m := q.given; m != 0; m &= m - 1 {
		q.give[bits.TrailingZeros32(m)].publish()
	}
	q.given = 0
	for m := q.dirty; m != 0; m &= m - 1 {
		to := bits.TrailingZeros32(m)
		q.out[to].publish()
		// The store above and this load are sequentially consistent, as are
		// the store of waiting and the recheck in Wait: one sees the other.
		if p := q.peers[to]; p.waiting.Load() != 0 {
			p.wakeUp()
		}
	}
	q.dirty = 0
}

// Blank implements dataplane.Queue.
func (q *queue) Blank(b *dataplane.Batch, n int) int {
	want := max(0, min(n, dataplane.BatchSize))
	q.collect() // always: a small set of frames that take turns stays in the caches
	n = min(want, len(q.free))
	top := q.free[len(q.free)-n:]
	arena := q.w.arena
	for i := range top {
		idx := top[len(top)-1-i]
		off := int(idx) * stride
		b.Data[i] = arena[off : off : off+slotSize]
		b.Handle[i] = uint64(idx)
	}
	q.own(b.Data[:n])
	clear(b.Meta[:n])
	clear(b.Verdict[:n])
	if q.poison {
		q.lend(b.Handle[:n])
	}
	q.free = q.free[:len(q.free)-n]
	q.lent += n
	b.N = n
	if n < want {
		q.st.NoBlank += uint64(want - n)
		q.pub.store(&q.st)
	}
	return n
}

// collect moves the frames that came home to the free list.
func (q *queue) collect() {
	for _, r := range q.take {
		n := r.avail(uint64(len(r.slot)))
		if n == 0 {
			continue
		}
		for i := range n {
			q.free = append(q.free, uint32(r.slot[(r.c.head+i)&uint64(len(r.slot)-1)]))
		}
		r.release(n)
	}
}
