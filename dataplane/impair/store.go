package impair

import "github.com/fastsyn/fastsyn/dataplane"

// item is one held frame.
type item struct {
	due  int64  // ns since the port was made
	seq  uint64 // order of arrival, which breaks ties; 0 is never used
	pass uint64 // held to be overtaken: due as well when that many frames went past
	slot uint32
	size uint32
	meta dataplane.Meta
}

func (a *item) before(b *item) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

// store holds copies of frames in a fixed number of slots. Delayed frames are a
// heap by due time. Frames held to be overtaken all wait equally long, so they are a FIFO.
type store struct {
	slotSize int
	bytes    []byte
	free     []uint32
	heap     []item
	fifo     []item // a ring: head and count below
	head     int
	count    int
	seq      uint64
}

func newStore(slots, slotSize int) *store {
	s := &store{
		slotSize: slotSize,
		bytes:    make([]byte, slots*slotSize),
		free:     make([]uint32, slots),
		heap:     make([]item, 0, slots),
		fifo:     make([]item, slots),
	}
	for i := range s.free {
		s.free[i] = uint32(slots - 1 - i)
	}
	return s
}

// len is the number of frames held.
func (s *store) len() int { return len(s.heap) + s.count }

// put copies a frame in, with its fields due, pass (0: delayed) and meta from
// it; false when there is no slot or the frame is too long for one.
func (s *store) put(d []byte, it item) bool {
	if len(s.free) == 0 || len(d) > s.slotSize {
		return false
	}
	s.seq++
	it.seq = s.seq
	it.slot, it.size = s.free[len(s.free)-1], uint32(len(d))
	s.free = s.free[:len(s.free)-1]
	copy(s.bytes[int(it.slot)*s.slotSize:], d)
	if it.pass != 0 {
		s.fifo[(s.head+s.count)%len(s.fifo)] = it
		s.count++
		return true
	}
	s.heap = append(s.heap, it)
	for i := len(s.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.heap[i].before(&s.heap[up]) {
			break
		}
		s.heap[i], s.heap[up] = s.heap[up], s.heap[i]
		i = up
	}
	return true
}

// ready returns the number of frames, up to want, that take may be called for.
func (s *store) ready(now int64, passed uint64, want int) int {
	n := 0
	for n < min(want, s.count) && s.overtaken(n, now, passed) {
		n++
	}
	return n + s.dueIn(0, now, want-n)
}

func (s *store) overtaken(i int, now int64, passed uint64) bool {
	it := &s.fifo[(s.head+i)%len(s.fifo)]
	return it.due <= now || it.pass <= passed
}

// dueIn counts the due frames at and below node i of the heap, up to want.
func (s *store) dueIn(i int, now int64, want int) int {
	if want <= 0 || i >= len(s.heap) || s.heap[i].due > now {
		return 0
	}
	n := 1 + s.dueIn(2*i+1, now, want-1)
	return n + s.dueIn(2*i+2, now, want-n)
}

// take removes the next frame that is due and appends its bytes to dst; without
// one it returns dst as it is.
func (s *store) take(dst []byte, now int64, passed uint64) ([]byte, dataplane.Meta) {
	var it item
	switch {
	case s.count > 0 && s.overtaken(0, now, passed):
		it = s.fifo[s.head]
		s.head = (s.head + 1) % len(s.fifo)
		s.count--
	case len(s.heap) > 0 && s.heap[0].due <= now:
		it = s.pop()
	default:
		return dst, dataplane.Meta{}
	}
	s.free = append(s.free, it.slot)
	at := int(it.slot) * s.slotSize
	return append(dst, s.bytes[at:at+int(it.size)]...), it.meta
}

// pop removes the root of the heap.
func (s *store) pop() item {
	top, last := s.heap[0], len(s.heap)-1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < last && s.heap[c+1].before(&s.heap[c]) {
			c++
		}
		if c >= last || !s.heap[c].before(&s.heap[i]) {
			return top
		}
		s.heap[i], s.heap[c] = s.heap[c], s.heap[i]
		i = c
	}
}

// next returns when the next frame is due by time; false when none is held.
func (s *store) next() (due int64, ok bool) {
	if len(s.heap) > 0 {
		due, ok = s.heap[0].due, true
	}
	if s.count > 0 && (!ok || s.fifo[s.head].due < due) {
		due, ok = s.fifo[s.head].due, true
	}
	return due, ok
}
