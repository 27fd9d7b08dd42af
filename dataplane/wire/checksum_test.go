package wire

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// naiveSum is RFC 1071 §4.1 written down.
func naiveSum(b []byte) uint32 {
	var s uint64
	for i := 0; i+1 < len(b); i += 2 {
		s += uint64(b[i])<<8 | uint64(b[i+1])
	}
	if len(b)&1 == 1 {
		s += uint64(b[len(b)-1]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint32(s)
}

func TestChecksumAgainstNaiveTwin(t *testing.T) {
	const most = 9001
	buf := make([]byte, most+16)
	rng := rand.New(rand.NewPCG(3, 4))
	fill := map[string]func(i int) byte{
		"random": func(int) byte { return byte(rng.Uint32()) },
		"ones":   func(int) byte { return 0xff }, // every addition carries
		"zeros":  func(int) byte { return 0 },
		"ramp":   func(i int) byte { return byte(i) },
	}
	for name, f := range fill {
		t.Run(name, func(t *testing.T) {
			for i := range buf {
				buf[i] = f(i)
			}
			for n := range most + 1 {
				// All alignments where the code has distinct paths, two of them above.
				step := 1
				if n > 256 {
					step = 7
				}
				for a := 0; a < 8; a += step {
					b := buf[a : a+n]
					if got, want := Sum(b), naiveSum(b); got != want {
						t.Fatalf("length %d at %d: %#x, want %#x", n, a, got, want)
					}
				}
			}
		})
	}
}

func TestChecksumUpdate(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(rng.Uint64N(256) & rng.Uint64N(1<<16) >> rng.IntN(8)) // many zeros
		}
		be.PutUint16(b[2:], 0)
		be.PutUint16(b[2:], Checksum(b, 0))
		v := rng.Uint32() >> rng.IntN(32)
		hc := UpdateChecksum32(be.Uint16(b[2:]), be.Uint32(b[8:]), v)
		be.PutUint32(b[8:], v)
		hc2 := UpdateChecksum(hc, be.Uint16(b[20:]), uint16(v))
		be.PutUint16(b[20:], uint16(v))
		be.PutUint16(b[2:], hc2)
		require.Zero(t, Checksum(b, 0))
	}
}

func TestChecksumInPieces(t *testing.T) {
	b := make([]byte, 101)
	for i := range b {
		b[i] = byte(i * 37)
	}
	for n := 0; n <= len(b); n += 2 {
		require.Equal(t, Checksum(b, 0), Checksum(b[n:], Sum(b[:n])))
	}
	require.Equal(t, uint16(0xffff), Checksum(nil, 0))
	require.Equal(t, uint16(0), Checksum([]byte{0xff, 0xff}, 0))
	require.Equal(t, uint16(0x00ff), Checksum([]byte{0xff}, 0))
}

// NET-009: full addresses, 32-bit length.
func TestNET_009_PseudoSum(t *testing.T) {
	src, dst := addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"), addr("fe80::1234:ffff:0:1")
	for _, n := range []uint32{0, 20, 65535, 65536, 0x12345678, 0xffffffff} {
		h := make([]byte, 40)
		s, d := src.As16(), dst.As16()
		copy(h, s[:])
		copy(h[16:], d[:])
		be.PutUint32(h[32:], n)
		h[39] = ProtoTCP
		require.Equal(t, naiveSum(h), PseudoSum(src, dst, ProtoTCP, n))
	}
	h := unhex(t, "c6336402 c0000201 0006 0028")
	require.Equal(t, naiveSum(h), PseudoSum(addr(cli4), addr(srv4), ProtoTCP, 40))
}

// Folding crosswise equals folding step by step, and verifying by remainder
// equals comparing the fold with all ones (RFC 1071 §2).
func TestFold(t *testing.T) {
	slow := func(s uint64) uint16 {
		for s > 0xffff {
			s = s>>16 + s&0xffff
		}
		return uint16(s)
	}
	check := func(s uint64) {
		require.Equal(t, slow(s), fold64(s), "%#x", s)
		if s != 0 {
			require.Equal(t, fold64(s) == 0xffff, s%0xffff == 0, "%#x", s)
		}
	}
	edges := []uint64{0, 1, 0xfffe, 0xffff, 0x10000, 0xfffeffff, 0xffff0000, 0xffffffff, 1 << 32, 0xffff_0000_0000, 0xffffffff_00000000, 0xffffffff_00000001, math.MaxUint64}
	for _, a := range edges {
		for _, b := range edges {
			check(a)
			check(a + b)
			check(a - b)
			check(a * b)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		s := r.Uint64() >> r.IntN(64)
		check(s)
		check(s - s%0xffff)
	}
}
