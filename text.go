package fastsyn

import (
	"sync"
	"unsafe"
)

// blockText is how many bytes a block holds, such that the block is a page.
const blockText = 4096 - int(unsafe.Sizeof(uintptr(0))) - 2*4

// block is a piece of the text between a Conn and its flow.
type block struct {
	next     *block
	off, end int32 // text is b[off:end]
	b        [blockText]byte
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// text is a queue of bytes in pooled blocks. The zero value is empty.
type text struct {
	head, tail *block
	n          int
}

// add copies p to the end.
func (t *text) add(p []byte) {
	t.n += len(p)
	for len(p) > 0 {
		b := t.tail
		if b == nil || int(b.end) == blockText {
			b = blocks.Get().(*block)
			b.next, b.off, b.end = nil, 0, 0
			if t.tail == nil {
				t.head = b
			} else {
				t.tail.next = b
			}
			t.tail = b
		}
		k := copy(b.b[b.end:], p)
		b.end += int32(k)
		p = p[k:]
	}
}

// front is the text of the first block, empty when there is none.
func (t *text) front() []byte {
	if t.head == nil {
		return nil
	}
	return t.head.b[t.head.off:t.head.end]
}

// drop takes n bytes, at most len(front()), off the front.
func (t *text) drop(n int) {
	b := t.head
	b.off += int32(n)
	t.n -= n
	if b.off < b.end {
		return
	}
	if t.head = b.next; t.head == nil {
		t.tail = nil
	}
	blocks.Put(b)
}

// read moves text from the front to p and returns how much.
func (t *text) read(p []byte) (n int) {
	for n < len(p) && t.n > 0 {
		k := copy(p[n:], t.front())
		t.drop(k)
		n += k
	}
	return n
}

// take moves all of from behind t.
func (t *text) take(from *text) {
	switch {
	case from.head == nil:
		return
	case t.head == nil:
		t.head = from.head
	default:
		t.tail.next = from.head
	}
	t.tail = from.tail
	t.n += from.n
	*from = text{}
}

// free returns the blocks to the pool.
func (t *text) free() {
	for b := t.head; b != nil; {
		next := b.next
		blocks.Put(b)
		b = next
	}
	*t = text{}
}
