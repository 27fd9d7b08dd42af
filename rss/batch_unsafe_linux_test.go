package rss

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns n values whose last, or first, byte is next to a page that
// cannot be touched.
func guarded[T uint32 | uint64](t *testing.T, n int, atEnd bool) []T {
	t.Helper()
	page := unix.Getpagesize()
	m, err := unix.Mmap(-1, 0, 3*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(m)) })
	require.NoError(t, unix.Mprotect(m[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(m[2*page:], unix.PROT_NONE))
	var v T
	off := page
	if atEnd {
		off = 2*page - n*int(unsafe.Sizeof(v))
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&m[off])), n)
}

// No variant reads or writes outside of its slices, not even where a mask or
// a shorter turn would make it harmless.
func TestBatchStaysInsideItsSlices(t *testing.T) {
	h, r := New(DefaultKey), rand.New(rand.NewPCG(19, 20))
	for _, atEnd := range []bool{true, false} {
		for n := 1; n <= 70; n++ {
			in := randomBatch(r, n)
			g := batch{
				guarded[uint32](t, n, atEnd), guarded[uint32](t, n, atEnd), guarded[uint32](t, n, atEnd), guarded[uint32](t, n, atEnd),
				guarded[uint64](t, n, atEnd), guarded[uint64](t, n, atEnd), guarded[uint64](t, n, atEnd), guarded[uint64](t, n, atEnd),
			}
			copy(g.src, in.src)
			copy(g.dst, in.dst)
			copy(g.ports, in.ports)
			copy(g.srcHi, in.srcHi)
			copy(g.srcLo, in.srcLo)
			copy(g.dstHi, in.dstHi)
			copy(g.dstLo, in.dstLo)
			for _, name := range implementations() {
				only(t, name)
				g.run4(h)
				for i, got := range g.hash {
					require.Equal(t, in.want4(h, i), got)
				}
				g.run6(h)
				for i, got := range g.hash {
					require.Equal(t, in.want6(h, i), got)
				}
			}
		}
	}
}
