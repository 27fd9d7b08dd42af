package rss

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireEnv lists variants that must not go untried on this machine, separated
// by commas, or "all".
const requireEnv = "FASTSYN_REQUIRE_RSS"

// batch is the input of both hashes. hash is where the result goes.
type batch struct {
	hash, src, dst, ports      []uint32
	srcHi, srcLo, dstHi, dstLo []uint64
}

func randomBatch(r *rand.Rand, n int) (b batch) {
	b.hash = make([]uint32, n)
	for range n {
		b.src, b.dst, b.ports = append(b.src, r.Uint32()), append(b.dst, r.Uint32()), append(b.ports, r.Uint32())
		b.srcHi, b.srcLo = append(b.srcHi, r.Uint64()), append(b.srcLo, r.Uint64())
		b.dstHi, b.dstLo = append(b.dstHi, r.Uint64()), append(b.dstLo, r.Uint64())
	}
	return b
}

// part returns tuples from to to.
func (b batch) part(from, to int) batch {
	return batch{
		b.hash[from:to], b.src[from:to], b.dst[from:to], b.ports[from:to],
		b.srcHi[from:to], b.srcLo[from:to], b.dstHi[from:to], b.dstLo[from:to],
	}
}

func (b batch) run4(t *Toeplitz) { t.HashBatch4(b.hash, b.src, b.dst, b.ports) }
func (b batch) run6(t *Toeplitz) {
	t.HashBatch6(b.hash, b.srcHi, b.srcLo, b.dstHi, b.dstLo, b.ports)
}

// want4 and want6 hash one tuple with the tables.
func (b batch) want4(t *Toeplitz, i int) uint32 {
	return t.Hash4(b.src[i], b.dst[i], uint16(b.ports[i]>>16), uint16(b.ports[i]))
}

func (b batch) want6(t *Toeplitz, i int) uint32 {
	return t.Hash6(b.srcHi[i], b.srcLo[i], b.dstHi[i], b.dstLo[i], uint16(b.ports[i]>>16), uint16(b.ports[i]))
}

// implementations lists what this machine can run, the tables last.
func implementations() []string {
	var names []string
	for _, v := range variants {
		if v.supported {
			names = append(names, v.name)
		}
	}
	return append(names, "tables")
}

// only leaves one implementation in use for the rest of a test.
func only(t testing.TB, name string) {
	for _, v := range variants {
		was := *v.use
		*v.use = v.name == name
		t.Cleanup(func() { *v.use = was })
	}
	if got := Implementation(); got != name {
		t.Fatalf("%s is in use, want %s", got, name)
	}
}

// everyone runs a test with each implementation.
func everyone(t *testing.T, f func(t *testing.T)) {
	for _, name := range implementations() {
		t.Run("impl="+name, func(t *testing.T) {
			only(t, name)
			f(t)
		})
	}
}

// A variant that this machine should be able to run must be tried here.
func TestNoVariantGoesUntried(t *testing.T) {
	tried := implementations()
	t.Logf("tried: %v, in use: %s", tried, Implementation())
	for name := range strings.SplitSeq(os.Getenv(requireEnv), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		known := name == "all" || name == "tables"
		for _, v := range variants {
			known = known || v.name == name
			if (name == v.name || name == "all") && !v.supported {
				t.Errorf("%s requires %s, which needs CPU features %v", requireEnv, v.name, v.flags)
			}
		}
		if !known && len(variants) > 0 {
			t.Errorf("%s lists %q: not a variant of this build", requireEnv, name)
		}
	}
	if strings.Contains(os.Getenv("GODEBUG"), "cpu.") || runtime.GOOS != "linux" {
		t.Skip("CPU features are turned off by GODEBUG, or not told by this system")
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skipf("cannot tell which CPU this is: %v", err)
	}
	_, flags, _ := strings.Cut(string(info), "\nflags")
	flags, _, _ = strings.Cut(flags, "\n")
	has := strings.Fields(flags)
	for _, v := range variants {
		all := !slices.ContainsFunc(v.flags, func(f string) bool { return !slices.Contains(has, f) })
		require.Equal(t, all, v.supported, "%s needs %v; the CPU has %v", v.name, v.flags, has)
	}
}

// All sixteen results of Microsoft's suite come out of every implementation, at
// every place of a batch; without ports the input is zero there.
func TestRSS_001_MicrosoftVectorsBatched(t *testing.T) {
	everyone(t, func(t *testing.T) {
		for key, k := range map[string]Key{"default": DefaultKey, "symmetric": SymmetricKey} {
			h := New(k)
			for n := 1; n <= 67; n++ {
				var b4, b6 batch
				var want4, want6 []uint32
				for i := 0; len(want4) < n || len(want6) < n; i++ {
					v := verification[i/2%len(verification)]
					src, dst := netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst)
					ports, want := Ports(src.Port(), dst.Port()), v.withPorts
					switch {
					case key == "symmetric":
						want = v.symmetric
					case i%2 == 1:
						ports, want = 0, v.addrOnly
					}
					if src.Addr().Is4() {
						b4.src, b4.dst = append(b4.src, v4(src.Addr())), append(b4.dst, v4(dst.Addr()))
						b4.ports, want4 = append(b4.ports, ports), append(want4, want)
						continue
					}
					hi, lo := words(src.Addr())
					b6.srcHi, b6.srcLo = append(b6.srcHi, hi), append(b6.srcLo, lo)
					hi, lo = words(dst.Addr())
					b6.dstHi, b6.dstLo = append(b6.dstHi, hi), append(b6.dstLo, lo)
					b6.ports, want6 = append(b6.ports, ports), append(want6, want)
				}
				hash := make([]uint32, n)
				h.HashBatch4(hash, b4.src, b4.dst, b4.ports)
				require.Equal(t, want4[:n], hash)
				h.HashBatch6(hash, b6.srcHi, b6.srcLo, b6.dstHi, b6.dstLo, b6.ports)
				require.Equal(t, want6[:n], hash)
			}
		}
	})
}

// Every length up to two batches and some, at every offset from a vector's
// alignment, and nothing written around the result.
func TestBatchEqualsOneAtATime(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	sparse := Key{3: 0x80, 13: 0x10, 36: 1, 39: 1}
	b := randomBatch(r, 180)
	everyone(t, func(t *testing.T) {
		for _, key := range []Key{DefaultKey, SymmetricKey, sparse, {}} {
			h := New(key)
			for n := 0; n <= 150; n++ {
				at := 1 + r.IntN(28)
				if n < 20 {
					at = 1 + n
				}
				for _, f := range []struct {
					run  func(batch, *Toeplitz)
					want func(batch, *Toeplitz, int) uint32
				}{{batch.run4, batch.want4}, {batch.run6, batch.want6}} {
					for i := range b.hash {
						b.hash[i] = 0xdeadbeef
					}
					f.run(b.part(at, at+n), h)
					for i, got := range b.hash {
						if i < at || i >= at+n {
							require.EqualValues(t, uint32(0xdeadbeef), got, "%d of %d+%d was written", i, at, n)
							continue
						}
						require.Equal(t, f.want(b, h, i), got, "%d of %d+%d", i-at, at, n)
					}
				}
			}
		}
	})
}

func TestBatchInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	h := New(DefaultKey)
	everyone(t, func(t *testing.T) {
		for _, n := range []int{1, 3, 4, 5, 16, 17, 63, 64, 100} {
			for which := range 3 {
				b := randomBatch(r, n)
				want := make([]uint32, n)
				for i := range want {
					want[i] = b.want4(h, i)
				}
				in := [][]uint32{b.src, b.dst, b.ports}
				h.HashBatch4(in[which], in[0], in[1], in[2])
				require.Equal(t, want, in[which])
			}
			b := randomBatch(r, n)
			want := make([]uint32, n)
			for i := range want {
				want[i] = b.want6(h, i)
			}
			h.HashBatch6(b.ports, b.srcHi, b.srcLo, b.dstHi, b.dstLo, b.ports)
			require.Equal(t, want, b.ports)
		}
	})
}

func TestBatchRefusesShortInput(t *testing.T) {
	h, b := New(DefaultKey), randomBatch(rand.New(rand.NewPCG(17, 18)), 8)
	everyone(t, func(t *testing.T) {
		require.Panics(t, func() { h.HashBatch4(b.hash, b.src, b.dst[:7:7], b.ports) })
		require.Panics(t, func() { h.HashBatch6(b.hash, b.srcHi, b.srcLo, b.dstHi, b.dstLo[:7:7], b.ports) })
		h.HashBatch4(b.hash[:0], nil, nil, nil)
		h.HashBatch6(nil, nil, nil, nil, nil, nil)
	})
}

func TestBatchDoesNotAllocate(t *testing.T) {
	h := New(DefaultKey)
	everyone(t, func(t *testing.T) {
		require.Zero(t, testing.AllocsPerRun(100, func() {
			var hash, src, dst, ports [65]uint32 // not even by moving these to the heap
			var a, b, c, d [65]uint64
			src[1], a[1] = 1, 1
			h.HashBatch4(hash[:], src[:], dst[:], ports[:])
			h.HashBatch6(hash[:], a[:], b[:], c[:], d[:], ports[:])
			sink ^= hash[1]
		}))
	})
}

// FuzzBatch holds every implementation to the specification, for any key, any
// tuples, any length and any alignment.
func FuzzBatch(f *testing.F) {
	f.Add(DefaultKey[:], []byte("seed"), uint8(64), uint8(0))
	f.Add(SymmetricKey[:], []byte{0xff, 0x80}, uint8(65), uint8(3))
	f.Add([]byte{1}, []byte{}, uint8(4), uint8(1))
	f.Fuzz(func(t *testing.T, key, data []byte, n, at uint8) {
		var k Key
		copy(k[:], key)
		if len(key) > 0 && key[0]&7 == 7 { // else a fuzzer finds few keys that fold
			for i := range k {
				k[i] = k[i&1]
			}
		}
		h := New(k)
		from, to := int(at&31), int(at&31)+int(n)
		b := randomBatch(rand.New(rand.NewPCG(uint64(n), uint64(at))), to)
		for i := range data { // the data overwrites bytes of the tuples
			p := from + i/input6
			if p >= to {
				break
			}
			switch at, v := i%input6, data[i]; {
			case at < 4:
				b.ports[p] = b.ports[p]&^(0xff<<(8*at)) | uint32(v)<<(8*at)
			case at < 8:
				b.src[p] = b.src[p]&^(0xff<<(8*at-32)) | uint32(v)<<(8*at-32)
			case at < 12:
				b.dst[p] = b.dst[p]&^(0xff<<(8*at-64)) | uint32(v)<<(8*at-64)
			case at < 20:
				b.srcHi[p] = b.srcHi[p]<<8 | uint64(v)
			case at < 28:
				b.srcLo[p] = b.srcLo[p]<<8 | uint64(v)
			default:
				b.dstLo[p] = b.dstLo[p]<<8 | uint64(v)
			}
		}
		in := b.part(from, to)
		check := func(name string, run func(*Toeplitz), spec func(i int) []byte) {
			only(t, name)
			run(h)
			for i, got := range in.hash {
				if want := hashGeneric(k[:], spec(i)); i%7 == 0 && got != want {
					t.Fatalf("%s: tuple %d of %d: %#x, want %#x", name, i, n, got, want)
				}
			}
		}
		var hash4, hash6 []uint32
		for _, name := range implementations() {
			check(name, in.run4, func(i int) []byte {
				s := binary.BigEndian.AppendUint32(nil, in.src[i])
				return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(s, in.dst[i]), in.ports[i])
			})
			if hash4 == nil {
				hash4 = slices.Clone(in.hash)
			}
			require.Equal(t, hash4, in.hash, name)
			check(name, in.run6, func(i int) []byte {
				var s []byte
				for _, w := range []uint64{in.srcHi[i], in.srcLo[i], in.dstHi[i], in.dstLo[i]} {
					s = binary.BigEndian.AppendUint64(s, w)
				}
				return binary.BigEndian.AppendUint32(s, in.ports[i])
			})
			if hash6 == nil {
				hash6 = slices.Clone(in.hash)
			}
			require.Equal(t, hash6, in.hash, name)
		}
	})
}

func BenchmarkHashBatch(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for family, run := range []func(batch, *Toeplitz){4: batch.run4, 6: batch.run6} {
		for _, key := range []string{"default", "symmetric"} {
			h := New(DefaultKey)
			if key == "symmetric" {
				h = New(SymmetricKey)
			}
			for _, impl := range implementations() {
				for _, n := range []int{4, 16, 64} {
					if run == nil {
						continue
					}
					in := randomBatch(r, n)
					b.Run(fmt.Sprintf("family=%d/key=%s/impl=%s/batch=%d", family, key, impl, n), func(b *testing.B) {
						only(b, impl)
						for b.Loop() {
							run(in, h)
						}
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/hash")
					})
				}
			}
		}
	}
}
