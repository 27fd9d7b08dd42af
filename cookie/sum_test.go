package cookie

import (
	"encoding/hex"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FIPS-197 appendices B and C.1, through the path that every Sum and cookie takes.
func TestAESVectors(t *testing.T) {
	for _, v := range []struct{ name, key, in, out string }{
		{"B", "2b7e151628aed2a6abf7158809cf4f3c", "3243f6a8885a308d313198a2e0370734", "3925841d02dc09fbdc118597196a0b32"},
		{"C.1", "000102030405060708090a0b0c0d0e0f", "00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"},
	} {
		t.Run(v.name, func(t *testing.T) {
			for _, k := range kernels() {
				c := newPRFOn([16]byte(unhex(t, v.key)), k)()
				for n := range 70 {
					b := make([]block, n)
					for i := range b {
						b[i] = block(unhex(t, v.in))
					}
					c.encrypt(b)
					for i := range b {
						require.Equal(t, v.out, hex.EncodeToString(b[i][:]), "%v n=%d i=%d", k, n, i)
					}
				}
				in := block(unhex(t, v.in))
				lo, hi := c.encryptOne(in.lo(), in.hi())
				var b block
				b.put(lo, hi)
				require.Equal(t, v.out, hex.EncodeToString(b[:]), "%v", k)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

// Computed with `openssl enc -aes-128-ecb` from the byte layout in Sum's comment.
func TestSumVectors(t *testing.T) {
	v4 := Tuple{RemoteLo: 0xffff_c6336402, LocalLo: 0xffff_c0000201, RemotePort: 40000, LocalPort: 80}
	v6 := Tuple{0x20010db8_00000000, 2, 0x20010db8_00000000, 1, 40000, 80}
	eachKernel(t, func(t *testing.T) {
		h := NewHasher(testKey)
		for tuple, want := range map[Tuple]Sum{
			v4: {0x687d2fb47c98828c, 0xdcba283a, 0x4c4a4a9f},
			v6: {0xee7fac41a8ed71d9, 0x962b2ed2, 0xa545a208},
		} {
			require.Equal(t, want, h.SumOne(&tuple))
			for n := range 40 {
				dst := make([]Sum, n)
				h.Sum(dst, slices.Repeat([]Tuple{tuple}, n))
				require.Equal(t, slices.Repeat([]Sum{want}, n), dst)
			}
		}
	})
}

func TestSumBatchEqualsSingle(t *testing.T) {
	h := NewHasher(testKey)
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 3*lanes + 2 {
		in, dst := make([]Tuple, n), make([]Sum, n)
		for i := range in {
			in[i] = tupleN(rng.Uint32(), rng.IntN(3) == 0)
		}
		h.Sum(dst, in)
		for i := range in {
			require.Equal(t, h.SumOne(&in[i]), dst[i], "n=%d i=%d", n, i)
		}
	}
	require.Panics(t, func() { h.Sum(make([]Sum, 1), make([]Tuple, 2)) })
}

// Only a tuple with two mapped addresses is IPv4, and the families are apart even
// when all their words agree.
func TestSumFamilies(t *testing.T) {
	h := NewHasher(testKey)
	v4 := tupleN(1, false)
	require.True(t, v4.Is4())
	seen := map[Sum]string{h.SumOne(&v4): "v4"}
	for name, change := range map[string]func(*Tuple){
		"mixed remote":      func(t *Tuple) { t.RemoteHi = 1 },
		"mixed local":       func(t *Tuple) { t.LocalHi = 1 },
		"compatible remote": func(t *Tuple) { t.RemoteLo &= 0xffffffff },
		"compatible local":  func(t *Tuple) { t.LocalLo &= 0xffffffff },
	} {
		other := v4
		change(&other)
		require.False(t, other.Is4(), name)
		s := h.SumOne(&other)
		require.Empty(t, seen[s], name)
		seen[s] = name
	}
}

// Every bit of the tuple counts, and each input bit flips each output bit for
// about half of the tuples.
func TestCKI_023_SumCoversTuple(t *testing.T) {
	h := NewHasher(testKey)
	const rounds = 64
	for _, v6 := range []bool{false, true} {
		flips, outs := 0, [128]int{}
		for r := range uint32(rounds) {
			base := tupleN(r*65537, v6)
			s := h.SumOne(&base)
			for _, alt := range neighbours(base) {
				o := h.SumOne(&alt)
				require.NotEqual(t, s, o)
				flips++
				d := [2]uint64{s.Hash ^ o.Hash, uint64(s.ISN^o.ISN) | uint64(s.TSOff^o.TSOff)<<32}
				for i := range outs {
					outs[i] += int(d[i/64] >> (i % 64) & 1)
				}
			}
		}
		for i, n := range outs {
			require.InDelta(t, 0.5, float64(n)/float64(flips), 0.05, "v6=%v output bit %d", v6, i)
		}
	}
}

// neighbours returns t with each bit of its family's address words and ports flipped.
func neighbours(t Tuple) (out []Tuple) {
	words := func(t *Tuple) []*uint64 { return []*uint64{&t.RemoteLo, &t.LocalLo, &t.RemoteHi, &t.LocalHi} }
	n, width := 4, 64
	if t.Is4() {
		n, width = 2, 32
	}
	for w := range n {
		for b := range width {
			alt := t
			*words(&alt)[w] ^= 1 << b
			out = append(out, alt)
		}
	}
	for b := range 16 {
		alt := t
		alt.RemotePort ^= 1 << b
		out = append(out, alt)
		alt = t
		alt.LocalPort ^= 1 << b
		out = append(out, alt)
	}
	return out
}

func TestISN_001_Clock(t *testing.T) {
	const base = 0xfffffff0
	require.Equal(t, uint32(base), ISN(base, 0))
	require.Equal(t, uint32(base), ISN(base, 63))
	require.Equal(t, uint32(base+1), ISN(base, 64))
	second := ISN(0, int64(time.Second))
	require.GreaterOrEqual(t, second, uint32(250_000), "ticks a second, RFC 9293 MUST-8")
	period := time.Duration(1<<32) * 64
	require.Greater(t, period, 2*time.Minute, "longer than 2 MSL")
	require.Equal(t, ISN(7, 12345), ISN(7, 12345+int64(period)))
	require.Equal(t, ISN(0, -64)+1, ISN(0, 0), "steady across zero")
}

func TestISN_002_GrowsFor2Minutes(t *testing.T) {
	start := testWall.UnixNano()
	for _, base := range []uint32{0, 1, 0x7fffffff, 0xffffffff} {
		first := ISN(base, start)
		for _, after := range []time.Duration{64, time.Microsecond, time.Second, time.Minute, 2 * time.Minute} {
			require.Positive(t, int32(ISN(base, start+int64(after))-first), "%v later", after)
		}
	}
}

// Chi-square over each byte of the ISN base, the timestamp offset and the hash of
// neighbouring tuples, and over the differences between neighbours. 255 degrees of
// freedom: mean 255, deviation 22.6. The key is fixed, so the outcome is too.
func TestISN_002_NeighboursUncorrelated(t *testing.T) {
	h := NewHasher(testKey)
	const n = 1 << 16
	for _, v6 := range []bool{false, true} {
		series := map[string]func(a, b Sum) uint32{
			"isn":        func(a, _ Sum) uint32 { return a.ISN },
			"isn step":   func(a, b Sum) uint32 { return b.ISN - a.ISN },
			"tsoff":      func(a, _ Sum) uint32 { return a.TSOff },
			"tsoff step": func(a, b Sum) uint32 { return b.TSOff - a.TSOff },
			"hash":       func(a, _ Sum) uint32 { return uint32(a.Hash) },
			"isn tsoff":  func(a, _ Sum) uint32 { return a.ISN ^ a.TSOff },
		}
		for name, f := range series {
			t.Run(fmt.Sprintf("v6=%v/%s", v6, name), func(t *testing.T) {
				var hist [4][256]int
				for i := range uint32(n) {
					ta, tb := tupleN(i, v6), tupleN(i+1, v6)
					x := f(h.SumOne(&ta), h.SumOne(&tb))
					for b := range hist {
						hist[b][byte(x>>(8*b))]++
					}
				}
				for b := range hist {
					chi := 0.0
					for _, c := range hist[b] {
						d := float64(c) - n/256
						chi += d * d / (n / 256)
					}
					require.InDelta(t, 255, chi, 5*22.6, "byte %d", b)
				}
			})
		}
	}
}

func TestISN_003_KeyDecides(t *testing.T) {
	tuple := tupleN(1, false)
	base := NewHasher(testKey).SumOne(&tuple)
	require.Equal(t, base, NewHasher(testKey).SumOne(&tuple), "constant for the life of the key")
	for i := range 128 {
		key := testKey
		key[i/8] ^= 1 << (i % 8)
		s := NewHasher(key).SumOne(&tuple)
		d := bits.OnesCount64(s.Hash^base.Hash) + bits.OnesCount32(s.ISN^base.ISN) + bits.OnesCount32(s.TSOff^base.TSOff)
		require.InDelta(t, 64, d, 32, "key bit %d", i)
	}
	a, err := RandomSecret().Hasher()
	require.NoError(t, err)
	b, err := RandomSecret().Hasher()
	require.NoError(t, err)
	require.NotEqual(t, a.SumOne(&tuple), b.SumOne(&tuple))
	_, err = Secret{}.Hasher()
	require.ErrorIs(t, err, ErrSecret)
}

func TestTSP_008_Clock(t *testing.T) {
	const off = 0xffffff00
	require.Equal(t, uint32(off), TSVal(off, 999_999))
	require.Equal(t, uint32(off+1), TSVal(off, 1_000_000))
	require.Equal(t, uint32(1), TSVal(off, 257_000_000), "wraps")
	require.Equal(t, TSVal(0, 5e9), TSNow(5e9))
	require.Equal(t, uint32(5000), TSNow(5e9))
}
