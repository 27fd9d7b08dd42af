package cookie

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns two slices of size bytes: one that ends where a page begins which
// cannot be touched, and one that begins where such a page ends.
func guarded(t *testing.T, size int) (atEnd, atStart []byte) {
	t.Helper()
	page := unix.Getpagesize()
	body := (size + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, body+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(m)) })
	require.NoError(t, unix.Mprotect(m[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(m[page+body:], unix.PROT_NONE))
	return m[page+body-size : page+body : page+body], m[page : page+size : page+size]
}

// A kernel that touches a byte outside of its slices faults here.
func TestGuardPages(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		h, keys := NewHasher(testKey), testRing(t, 0).Load()
		c := newPRF(testKey)()
		for n := 1; n <= 66; n++ {
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				be, bs := guarded(t, 16*n)
				te, ts := guarded(t, n*sizeOf[Tuple]())
				se, ss := guarded(t, n*sizeOf[Sum]())
				ie, is := guarded(t, n*sizeOf[Input]())
				me, ms := guarded(t, n*sizeOf[Minted]())
				ve, vs := guarded(t, n*sizeOf[VerifyInput]())
				re, rs := guarded(t, n*sizeOf[Result]())
				for end := range 2 {
					pick := func(a, b []byte) []byte { return [][]byte{a, b}[end] }
					c.encrypt(overlay[block](pick(be, bs), n))
					tuples, sums := overlay[Tuple](pick(te, ts), n), overlay[Sum](pick(se, ss), n)
					in, minted := overlay[Input](pick(ie, is), n), overlay[Minted](pick(me, ms), n)
					acks, results := overlay[VerifyInput](pick(ve, vs), n), overlay[Result](pick(re, rs), n)
					for i := range n {
						tuples[i] = tupleN(uint32(i), n%3 == 0 && i%2 == 0)
					}
					h.Sum(sums, tuples)
					for i := range n {
						in[i] = Input{Sum: sums[i], IRS: uint32(i), TSNow: 1e6, MSS: 1460, WScale: 7, Opts: HasWScale | SACK | TS*Opts(i%2)}
					}
					keys.Mint(minted, in)
					for i := range n {
						acks[i] = ackFor(&in[i], &minted[i], 10)
					}
					keys.Verify(results, acks)
					for i := range n {
						require.True(t, results[i].OK)
					}
				}
			})
		}
	})
}
