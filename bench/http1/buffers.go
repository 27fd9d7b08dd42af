package http1

import "math/bits"

// buffers are recycled byte slices in powers of two, bounded in total. They hold
// heads that came in pieces and text that waits for earlier responses.
type buffers struct {
	free [maxClass][][]byte
	left int // bytes that may still be made
}

const (
	minShift = 9 // 512 bytes: most heads
	maxClass = 14
)

// class returns which free list has slices for n bytes.
func class(n int) int { return max(0, bits.Len(uint(n-1))-minShift) }

// get returns an empty slice with room for n bytes, nil when the bound is reached.
func (b *buffers) get(n int) []byte {
	k := class(n)
	if k >= maxClass {
		return nil
	}
	if l := len(b.free[k]); l > 0 {
		p := b.free[k][l-1]
		b.free[k] = b.free[k][:l-1]
		return p
	}
	size := 1 << (k + minShift)
	for j := maxClass - 1; b.left < size && j >= 0; j-- { // what nobody uses gives way
		for l := len(b.free[j]); l > 0 && b.left < size; l-- {
			b.left += cap(b.free[j][l-1])
			b.free[j][l-1] = nil
			b.free[j] = b.free[j][:l-1]
		}
	}
	if b.left < size {
		return nil
	}
	b.left -= size
	return make([]byte, 0, size)
}

// put takes a slice of get back; nil is none.
func (b *buffers) put(p []byte) {
	if p != nil {
		k := class(cap(p))
		b.free[k] = append(b.free[k], p[:0])
	}
}

// add appends p to dst, a slice of get or nil, in a larger one if need be. When
// there is none, ok is false and dst is unchanged.
func (b *buffers) add(dst, p []byte) (longer []byte, ok bool) {
	if n := len(dst) + len(p); n > cap(dst) {
		next := b.get(n)
		if next == nil {
			return dst, false
		}
		next = append(next, dst...)
		b.put(dst)
		dst = next
	}
	return append(dst, p...), true
}
