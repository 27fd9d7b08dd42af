package loop

import "sync/atomic"

// pad keeps what two cores write two cache lines apart, because the
// prefetcher of x86 fetches lines in pairs.
type pad [128]byte

// ring is a single-producer single-consumer queue of words. Positions count up
// without wrapping; the slot is position modulo length. Each end keeps a stale
// copy of the other's position and refreshes it only when it runs short, so in
// steady state a burst moves one index line between the cores.
type ring struct {
	slot []uint64 // length is a power of two
	_    pad
	tail atomic.Uint64 // published by the producer
	_    pad
	head atomic.Uint64 // published by the consumer
	_    pad
	p    struct{ tail, head uint64 } // producer's: next position to fill, stale head
	_    pad
	c    struct{ head, tail uint64 } // consumer's: next position to read, stale tail
	_    pad
}

func newRing(size int) *ring { return &ring{slot: make([]uint64, size)} }

// push adds w for a later publish; false when the ring is full. Producer only.
func (r *ring) push(w uint64) bool {
	if r.p.tail-r.p.head == uint64(len(r.slot)) && !r.room() {
		return false
	}
	r.slot[r.p.tail&uint64(len(r.slot)-1)] = w
	r.p.tail++
	return true
}

// room refreshes the producer's view of head and reports whether a slot is free.
func (r *ring) room() bool {
	r.p.head = r.head.Load()
	return r.p.tail-r.p.head < uint64(len(r.slot))
}

// publish shows the consumer all that was pushed. Producer only.
func (r *ring) publish() { r.tail.Store(r.p.tail) }

// avail returns how many words can be read, looking at the producer's index
// when fewer than want are known. Consumer only.
func (r *ring) avail(want uint64) uint64 {
	if n := r.c.tail - r.c.head; n >= want {
		return n
	}
	r.c.tail = r.tail.Load()
	return r.c.tail - r.c.head
}

// release gives n slots that were read back to the producer. Consumer only.
func (r *ring) release(n uint64) {
	r.c.head += n
	r.head.Store(r.c.head)
}

// each calls f for every published word that was not read, and returns their
// number. Both ends must be idle.
func (r *ring) each(f func(uint64)) int {
	n := 0
	for at := r.c.head; at != r.tail.Load(); at++ {
		f(r.slot[at&uint64(len(r.slot)-1)])
		n++
	}
	return n
}
