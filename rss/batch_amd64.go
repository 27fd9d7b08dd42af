//go:build !purego

package rss

import (
	"encoding/binary"
	"math/bits"

	"golang.org/x/sys/cpu"
)

var (
	useGFNI = cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
		cpu.X86.HasAVX512VBMI && cpu.X86.HasAVX512GFNI
	useCLMUL = cpu.X86.HasAVX && cpu.X86.HasPCLMULQDQ
)

var variants = []variant{
	{"gfni", &useGFNI, useGFNI, []string{"avx512f", "avx512bw", "avx512vl", "avx512vbmi", "gfni"}},
	{"clmul", &useCLMUL, useCLMUL, []string{"avx", "pclmulqdq"}},
}

// matrices4 are the bit matrices of an IPv4 tuple: for each 32-bit word of the
// input and each byte of the hash, eight qwords as VGF2P8AFFINEQB wants them
// for 16 bytes of each position, the last position first.
type matrices4 [3][4][8]uint64

// matrices6 are those of an IPv6 tuple: four 64-bit words, eight positions
// each, and the ports, whose upper four matrices are zero.
type matrices6 [5][4][8]uint64

// windows4 and windows6 are the key as carry-less products want it.
//
// Take an input word X of n bits, bit 0 of the input on top, and write the key
// bits from that position on in reverse order, K0 lowest, shifted up by one:
// R = K0<<1 | K1<<2 | ... The product of X and R over GF(2) has at bit n+m the
// sum of the K(i+m) for which input bit i is set, which is hash bit 31-m. So the 32
// bits from bit n on are the hash, reversed. A word of 32 bits needs 63 bits of
// key, a word of 64 needs 95: a lower half, of whose product the upper half counts, and
// an upper half, of whose product the lower half counts.
type (
	windows4 [4]uint64    // per 32-bit word; the last is unused
	windows6 [5][2]uint64 // per 64-bit word: lower, upper; of the ports the lower only
)

// simd is what the assembly needs of a key.
type simd struct {
	m4 matrices4
	m6 matrices6
	k4 windows4
	k6 windows6
}

func (s *simd) init(key *Key, tab *[input6][256]uint32) {
	// window returns key bits from position n on, at most 63, in the form above.
	window := func(n int) uint64 {
		return bits.Reverse64(binary.BigEndian.Uint64(key[n/8:])) << 1
	}
	for w := range 3 {
		s.k4[w] = window(32 * w)
	}
	for w := range s.k6 {
		s.k6[w][0] = window(64 * w)
		if w < 4 {
			// Key bits 63 to 94 of the word: one more than 64 to 95, shifted.
			s.k6[w][1] = window(64*w+56) >> 8 & 0xffffffff
		}
	}
	for k := range 4 {
		for w := range s.m4 {
			for q := range 8 {
				s.m4[w][k][q] = matrix(&tab[4*w+3-q/2], k)
			}
		}
		for w := range 4 {
			for q := range 8 {
				s.m6[w][k][q] = matrix(&tab[8*w+7-q], k)
			}
		}
		for q := range 4 {
			s.m6[4][k][q] = matrix(&tab[input6-1-q], k)
		}
	}
}

// matrix returns the matrix from an input byte to byte k (0 is the lowest) of
// its hash, in the layout of VGF2P8AFFINEQB: matrix byte 7-i is the row whose
// parity with the input is result bit i.
func matrix(tab *[256]uint32, k int) (m uint64) {
	for i := range 8 {
		for b := range 8 {
			m |= uint64(tab[1<<b]>>(8*k+i)&1) << (8*(7-i) + b)
		}
	}
	return m
}

//go:noescape
func hash4GFNI(hash, src, dst, ports *uint32, n int, m *matrices4)

//go:noescape
func hash6GFNI(hash *uint32, srcHi, srcLo, dstHi, dstLo *uint64, ports *uint32, n int, m *matrices6)

//go:noescape
func hash4CLMUL(hash, src, dst, ports *uint32, n int, k *windows4)

//go:noescape
func hash6CLMUL(hash *uint32, srcHi, srcLo, dstHi, dstLo *uint64, ports *uint32, n int, k *windows6)

// A shorter batch is not worth the set-up. Where the key folds, the tables need
// two looks per tuple, and only IPv4 in GFNI is faster (BenchmarkHashBatch).
const (
	fewest      = 4
	fewestFolds = 16
)

// batch4 hashes the first of the tuples and returns how many, 0 if the tables
// are to do it. All slices have the length of hash.
func (t *Toeplitz) batch4(hash, src, dst, ports []uint32) int {
	n := len(hash)
	switch {
	case n < fewest || t.folds && (n < fewestFolds || !useGFNI):
		return 0
	case useGFNI:
		hash4GFNI(&hash[0], &src[0], &dst[0], &ports[0], n, &t.simd.m4)
		return n
	case useCLMUL:
		n &^= 3
		hash4CLMUL(&hash[0], &src[0], &dst[0], &ports[0], n, &t.simd.k4)
		return n
	}
	return 0
}

// batch6 is batch4 for HashBatch6.
func (t *Toeplitz) batch6(hash []uint32, srcHi, srcLo, dstHi, dstLo []uint64, ports []uint32) int {
	n := len(hash)
	switch {
	case n < fewest || t.folds:
		return 0
	case useGFNI:
		hash6GFNI(&hash[0], &srcHi[0], &srcLo[0], &dstHi[0], &dstLo[0], &ports[0], n, &t.simd.m6)
		return n
	case useCLMUL:
		n &^= 1
		hash6CLMUL(&hash[0], &srcHi[0], &srcLo[0], &dstHi[0], &dstLo[0], &ports[0], n, &t.simd.k6)
		return n
	}
	return 0
}
