package cookie

import (
	"crypto/aes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachKernel runs f as a subtest for every kernel this machine can run, with new
// keys made for it.
func eachKernel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, k := range kernels() {
		t.Run(k.String(), func(t *testing.T) { onKernel(k, func() { f(t) }) })
	}
}

// FASTSYN_REQUIRE_CPU lists kernels: vaes512, vaes256, aesni (FASTSYN_REQUIRE is for the needs of
// package dptest, which refuses names it does not know).
// CI on a machine that has them sets it, so that no kernel goes untried.
func TestKernelsRequired(t *testing.T) {
	list := kernels()
	t.Logf("tried: %v; new keys use %s", list, Kernel())
	require.Equal(t, kernelGeneric, list[0])
	require.Equal(t, list[len(list)-1].String(), Kernel())
	for need := range strings.SplitSeq(os.Getenv("FASTSYN_REQUIRE_CPU"), ",") {
		if need = strings.TrimSpace(need); need == "" {
			continue
		}
		known := false
		for k := range numKernels {
			known = known || need == k.String()
			if need == k.String() && !slices.Contains(list, k) {
				t.Errorf("FASTSYN_REQUIRE_CPU lists %s: this machine, build (purego) or GODEBUG (cpu.*=off) does not offer it", need)
			}
		}
		if !known {
			t.Errorf("FASTSYN_REQUIRE_CPU lists %q, which is not known (known: generic, aesni, vaes256, vaes512)", need)
		}
	}
	require.Equal(t, "invalid", numKernels.String())
}

// FIPS-197 appendix A.1.
func TestKeyExpansion(t *testing.T) {
	var rk roundKeys
	rk.expand((*[16]byte)(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c")))
	for i, w := range map[int]string{4: "a0fafe17", 7: "2a6c7605", 9: "7a96b943", 10: "5935807a", 23: "11f915bc", 36: "ac7766f3", 40: "d014f9a8", 43: "b6630ca6"} {
		require.Equal(t, unhex(t, w), rk[4*i:4*i+4], "w[%d]", i)
	}
	require.Equal(t, byte(0x63), subByte(0))
	require.Equal(t, byte(0xed), subByte(0x53), "FIPS-197 §5.1.1")
	seen := map[byte]bool{}
	for x := range 256 {
		seen[subByte(byte(x))] = true
	}
	require.Len(t, seen, 256)
}

// NIST SP 800-38A F.1.1, ECB-AES128.Encrypt.
func TestAESBatchVectors(t *testing.T) {
	in := []string{"6bc1bee22e409f96e93d7e117393172a", "ae2d8a571e03ac9c9eb76fac45af8e51", "30c81c46a35ce411e5fbc1191a0a52ef", "f69f2445df4f9b17ad2b417be66c3710"}
	out := []string{"3ad77bb40d7a3660a89ecaf32466ef97", "f5d3d58503b9699de785895a96fdbaaf", "43b1cd7f598ece23881b00e3ed030688", "7b0c785e27e8ad3f8223207104725dd4"}
	eachKernel(t, func(t *testing.T) {
		c := newPRF([16]byte(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c")))()
		for n := range 67 {
			b := make([]block, n)
			for i := range b {
				b[i] = block(unhex(t, in[i%4]))
			}
			c.encrypt(b)
			for i := range b {
				require.Equal(t, block(unhex(t, out[i%4])), b[i], "n=%d i=%d", n, i)
			}
		}
	})
}

// encryptEqual compares every kernel with crypto/aes on n blocks that begin at an
// address which is off bytes past a 64-byte line, and sees that no other byte changes.
func encryptEqual(t *testing.T, key [16]byte, n, off int, seed uint64) {
	t.Helper()
	std, err := aes.NewCipher(key[:])
	require.NoError(t, err)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	start := make([]byte, 16*n+256)
	_, _ = rng.Read(start)
	want := slices.Clone(start)
	for i := range n {
		std.Encrypt(want[off+16*i:], want[off+16*i:])
	}
	for _, k := range kernels() {
		got := slices.Clone(start)
		newPRFOn(key, k)().encrypt(blocksAt(got, off, n))
		if !slices.Equal(got, want) {
			t.Fatalf("%v: n=%d off=%d differs from crypto/aes", k, n, off)
		}
	}
}

func TestEncryptLengthsAndAlignments(t *testing.T) {
	for n := range 131 {
		for off := range 64 {
			if n < 20 || off%7 == n%7 {
				encryptEqual(t, testKey, n, off, uint64(n))
			}
		}
	}
}

func FuzzEncrypt(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(64), uint8(1), uint64(1))
	f.Add([]byte("fedcba9876543210"), uint8(3), uint8(63), uint64(2))
	f.Fuzz(func(t *testing.T, key []byte, n, off uint8, seed uint64) {
		if len(key) < 16 {
			t.Skip()
		}
		encryptEqual(t, [16]byte(key), int(n)%80, int(off)%64, seed)
	})
}

// randomTuple mixes the families and what only looks like IPv4.
func randomTuple(rng *rand.Rand) Tuple {
	t := Tuple{rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64(), uint16(rng.Uint32()), uint16(rng.Uint32())}
	if kind := rng.IntN(12); kind < 8 {
		t.RemoteHi, t.LocalHi = 0, 0
		t.RemoteLo, t.LocalLo = t.RemoteLo&0xffffffff|0xffff<<32, t.LocalLo&0xffffffff|0xffff<<32
		switch kind {
		case 0:
			t.RemoteHi = 1 << rng.IntN(64)
		case 1:
			t.LocalHi = 1 << rng.IntN(64)
		case 2:
			t.RemoteLo ^= 1 << (32 + rng.IntN(32))
		case 3:
			t.LocalLo ^= 1 << (32 + rng.IntN(32))
		}
	}
	return t
}

// batchEqual compares Sum, Mint and Verify of every kernel with the generic one.
func batchEqual(t *testing.T, rng *rand.Rand, n int, mix, ts bool) {
	t.Helper()
	in := make([]Tuple, n)
	syn, ack := make([]Input, n), make([]VerifyInput, n)
	for i := range in {
		in[i] = randomTuple(rng)
		if !mix {
			in[i] = tupleN(rng.Uint32(), n%2 == 1)
		}
	}
	var want []Sum
	var wantMint []Minted
	var wantVerify []Result
	for _, k := range kernels() {
		onKernel(k, func() {
			h := NewHasher(testKey)
			sums := make([]Sum, n)
			for i := range sums {
				sums[i] = Sum{1, 2, 3} // what was there must not matter
			}
			h.Sum(sums, in)
			keys := testRing(t, 2e9).Load()
			if k == kernelGeneric {
				want = sums
				for i := range in {
					one := h.SumOne(&in[i])
					require.Equal(t, one, sums[i], "n=%d i=%d", n, i)
					syn[i] = Input{
						Sum: one, IRS: rng.Uint32(), TSNow: rng.Uint32(), MSS: uint16(rng.IntN(1700)),
						WScale: uint8(rng.Uint32()), Opts: Opts(rng.Uint32()), V6: !in[i].Is4(),
					}
					if rng.IntN(16) == 0 {
						syn[i].MSS = uint16(rng.Uint32())
					}
					if !mix {
						syn[i].Opts = HasWScale | SACK
						if ts {
							syn[i].Opts |= TS
						}
					}
				}
			}
			require.Equal(t, want, sums, "%v: Sum, n=%d", k, n)
			minted := make([]Minted, n)
			for i := range minted {
				minted[i] = Minted{1, 2, 3, 4, 0xff, true}
			}
			keys.Mint(minted, syn)
			if k == kernelGeneric {
				wantMint = minted
				for i := range ack {
					ack[i] = ackFor(&syn[i], &minted[i], rng.Uint32N(130_000))
					switch rng.IntN(8) {
					case 0:
						ack[i].Ack ^= 1 << rng.IntN(32)
					case 1:
						ack[i].TSEcr = rng.Uint32()
					case 2:
						ack[i].HasTS = !ack[i].HasTS
					case 3:
						ack[i].TSNow = syn[i].TSNow - rng.Uint32N(4000)
					case 4:
						ack[i].V6 = !ack[i].V6
					}
				}
			}
			require.Equal(t, wantMint, minted, "%v: Mint, n=%d", k, n)
			results := make([]Result, n)
			for i := range results {
				results[i] = Result{1, 2, 3, 4, 5, 0xff, 7, true}
			}
			keys.Verify(results, ack)
			if k == kernelGeneric {
				wantVerify = results
			}
			require.Equal(t, wantVerify, results, "%v: Verify, n=%d", k, n)
		})
	}
}

func TestKernelsAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 12))
	for n := range 131 {
		batchEqual(t, rng, n, true, false)
		batchEqual(t, rng, n, false, n%4 < 2)
	}
}

func FuzzKernelsAgree(f *testing.F) {
	for _, n := range []uint8{0, 1, 3, 4, 15, 16, 17, 31, 32, 63, 64} {
		f.Add(uint64(n), n, n%2 == 0, n%3 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8, mix, ts bool) {
		batchEqual(t, rand.New(rand.NewPCG(seed, 1)), int(n)%100, mix, ts)
	})
}

// Every value of the fields that tables and halving depend on.
func TestMintWideEveryField(t *testing.T) {
	var syn []Input
	for _, v6 := range []bool{false, true} {
		for mss := range 1 << 16 {
			syn = append(syn, testInputAt(mss, v6, TS*Opts(mss%2)))
		}
		for opts := range Opts(255) {
			for ws := range 256 {
				in := testInputAt(1460, v6, opts)
				in.WScale = uint8(ws)
				syn = append(syn, in)
			}
		}
	}
	var want, got []Minted
	onKernel(kernelGeneric, func() { want = make([]Minted, len(syn)); testRing(t, 0).Load().Mint(want, syn) })
	eachKernel(t, func(t *testing.T) {
		got = make([]Minted, len(syn))
		testRing(t, 0).Load().Mint(got, syn)
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%+v: %+v, want %+v", syn[i], got[i], want[i])
			}
		}
	})
}

func testInputAt(mss int, v6 bool, opts Opts) Input {
	return Input{
		Sum: Sum{uint64(mss) * 0x9e3779b97f4a7c15, uint32(mss) * 0x85ebca6b, uint32(mss) * 0xc2b2ae35},
		IRS: testIRS, TSNow: uint32(mss) * 77, MSS: uint16(mss), WScale: uint8(mss), Opts: opts | HasWScale*Opts(mss>>1&1), V6: v6,
	}
}

func ExampleKernel() {
	fmt.Println(Kernel() != "")
	// Output: true
}

// A kernel that this CPU claims and gets wrong is passed over.
func TestFastestIsCorrect(t *testing.T) {
	list := []kernel{kernelGeneric, kernelAESNI, kernelVAES256, kernelVAES512}
	require.Equal(t, kernelVAES512, fastest(list, func(kernel) bool { return true }))
	require.Equal(t, kernelAESNI, fastest(list, func(k kernel) bool { return k <= kernelAESNI }))
	require.Equal(t, kernelGeneric, fastest(list, func(kernel) bool { return false }))
	require.Equal(t, kernelGeneric, fastest(list[:1], func(kernel) bool { return false }))
	for _, k := range kernels() {
		require.True(t, correct(k), k)
	}
}
