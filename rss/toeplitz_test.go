package rss

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// verification is Microsoft's "Verifying the RSS Hash Calculation", all rows
// (CONFORMANCE VEC), and the symmetric key over the same tuples.
var verification = []struct {
	src, dst            string
	withPorts, addrOnly uint32
	symmetric           uint32
}{
	{"66.9.149.187:2794", "161.142.100.80:1766", 0x51ccc178, 0x323e8fc2, 0x9fcc9fcc},
	{"199.92.111.2:14230", "65.69.140.83:4739", 0xc626b0ea, 0xd718262a, 0x60d760d7},
	{"24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b394a, 0xd2d0a5de, 0x3a3e3a3e},
	{"38.27.205.30:48228", "209.142.163.6:2217", 0xafc7327f, 0x82989176, 0xd26ed26e},
	{"153.39.163.191:44251", "202.188.127.2:1303", 0x10e828a2, 0x5d1809c5, 0xf23ef23e},
	{"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x40207d3d, 0x2cc18cd5, 0x13eb13eb},
	{"[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0xdde51bbf, 0x0f0c461c, 0x36913691},
	{"[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251", "[fe80::200:f8ff:fe21:67cf]:38024", 0x02d1feef, 0x4b61e985, 0x08090809},
}

func words(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func v4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// hashPair hashes src to dst as received, with and without ports.
func hashPair(t *Toeplitz, src, dst netip.AddrPort) (withPorts, addrOnly uint32) {
	if src.Addr().Is4() {
		s, d := v4(src.Addr()), v4(dst.Addr())
		return t.Hash4(s, d, src.Port(), dst.Port()), t.Hash4IP(s, d)
	}
	sh, sl := words(src.Addr())
	dh, dl := words(dst.Addr())
	return t.Hash6(sh, sl, dh, dl, src.Port(), dst.Port()), t.Hash6IP(sh, sl, dh, dl)
}

// input lays a tuple out as RSS-002 says, straight from the address bytes.
func input(src, dst netip.AddrPort, ports bool) []byte {
	b := append(src.Addr().AsSlice(), dst.Addr().AsSlice()...)
	if ports {
		b = binary.BigEndian.AppendUint16(b, src.Port())
		b = binary.BigEndian.AppendUint16(b, dst.Port())
	}
	return b
}

func TestRSS_001_MicrosoftVectors(t *testing.T) {
	h := New(DefaultKey)
	require.Equal(t, DefaultKey, h.Key())
	for _, v := range verification {
		src, dst := netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst)
		ports, addrs := hashPair(h, src, dst)
		require.Equal(t, v.withPorts, ports, "%s > %s", v.src, v.dst)
		require.Equal(t, v.addrOnly, addrs, "%s > %s without ports", v.src, v.dst)
		require.Equal(t, v.withPorts, hashGeneric(DefaultKey[:], input(src, dst, true)), "generic, %s > %s", v.src, v.dst)
		require.Equal(t, v.addrOnly, hashGeneric(DefaultKey[:], input(src, dst, false)), "generic, %s > %s without ports", v.src, v.dst)
	}
}

func TestRSS_002_LongKeyUsesFirst40(t *testing.T) {
	long := append(DefaultKey[:], make([]byte, 12)...)
	for i := range 12 {
		long[40+i] = byte(0xa5 + i)
	}
	for n := KeySize; n <= maxKeySize; n++ {
		k, err := NewKey(long[:n])
		require.NoError(t, err)
		require.Equal(t, DefaultKey, k)
	}
	// The specification itself, given all 52 bytes, agrees.
	for _, v := range verification {
		src, dst := netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst)
		require.Equal(t, v.withPorts, hashGeneric(long, input(src, dst, true)))
	}
	for _, n := range []int{0, 1, 16, 39, 53, 64} {
		_, err := NewKey(make([]byte, n))
		require.ErrorContains(t, err, "want 40 to 52", "%d bytes", n)
	}
	_, err := NewKey(nil)
	require.Error(t, err)
}

func TestNewKeyCopies(t *testing.T) {
	b := append([]byte(nil), DefaultKey[:]...)
	k, err := NewKey(b)
	require.NoError(t, err)
	b[0] ^= 0xff
	require.Equal(t, DefaultKey, k)
}

func TestRSS_004_SymmetricKey(t *testing.T) {
	require.True(t, SymmetricKey.Symmetric())
	require.False(t, DefaultKey.Symmetric())
	h := New(SymmetricKey)
	for _, v := range verification {
		src, dst := netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst)
		there, thereIP := hashPair(h, src, dst)
		back, backIP := hashPair(h, dst, src)
		require.Equal(t, v.symmetric, there, "%s > %s", v.src, v.dst)
		require.Equal(t, v.symmetric, back, "%s > %s", v.dst, v.src)
		require.Equal(t, thereIP, backIP)
	}
}

func TestRSS_004_AnyPeriod16KeyIsSymmetric(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 16))
	for range 50 {
		var k Key
		w := uint16(r.Uint32())
		for i := 0; i < len(k); i += 2 {
			binary.BigEndian.PutUint16(k[i:], w)
		}
		require.True(t, k.Symmetric())
		h := New(k)
		a, b, p, q := r.Uint32(), r.Uint32(), uint16(r.Uint32()), uint16(r.Uint32())
		require.Equal(t, h.Hash4(a, b, p, q), h.Hash4(b, a, q, p))
		c, d, e, f := r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()
		require.Equal(t, h.Hash6(c, d, e, f, p, q), h.Hash6(e, f, c, d, q, p))
		k[17] ^= 1
		require.False(t, k.Symmetric())
	}
}

func TestRSS_005_SymmetricHashHas16Bits(t *testing.T) {
	h := New(SymmetricKey)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		v := h.Hash4(r.Uint32(), r.Uint32(), uint16(r.Uint32()), uint16(r.Uint32()))
		require.Equal(t, v>>16, v&0xffff)
	}
}

func TestToeplitzIsLinear(t *testing.T) {
	h := New(DefaultKey)
	r := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		a, b, c, d := r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()
		p, q := uint16(r.Uint32()), uint16(r.Uint32())
		require.Equal(t, h.Hash4(a^c, b^d, p^q, p), h.Hash4(a, b, p, p)^h.Hash4(c, d, q, 0))
		require.Equal(t, h.Hash4IP(a, b), h.Hash4(a, b, 0, 0))
	}
	require.Zero(t, h.Hash6(0, 0, 0, 0, 0, 0))
}

// Tuples of a real test, one client and one server and every port, spread over
// the queues about evenly.
func TestToeplitzDistribution(t *testing.T) {
	for _, key := range []Key{DefaultKey, SymmetricKey} {
		h := New(key)
		for _, queues := range []int{2, 3, 4, 7, 16} {
			reta, err := NewRETA(128, queues)
			require.NoError(t, err)
			got := make([]int, queues)
			const n = 1 << 16
			for p := range n {
				got[reta.Queue(h.Hash4(0xc6336402, 0xc0000201, uint16(p), 80))]++
			}
			for q, c := range got {
				// One RETA entry more or less per queue is 1/128 of all.
				require.InDelta(t, n/queues, c, n/128+1, "queue %d of %d", q, queues)
			}
		}
	}
	// Random tuples flip each hash bit about half of the time.
	h, r := New(DefaultKey), rand.New(rand.NewPCG(5, 6))
	var ones [32]int
	for range 1 << 14 {
		for v := h.Hash6(r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), 1, 2); v != 0; v &= v - 1 {
			ones[bits.TrailingZeros32(v)]++
		}
	}
	for b, n := range ones {
		require.InDelta(t, 1<<13, n, 1<<10, "bit %d", b)
	}
}

func TestToeplitzDoesNotAllocate(t *testing.T) {
	h := New(DefaultKey)
	reta, err := NewRETA(512, 5)
	require.NoError(t, err)
	var sink uint32
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sink ^= h.Hash4(1, 2, 3, 4) ^ h.Hash6(1, 2, 3, 4, 5, 6) ^ uint32(reta.Queue(sink))
	}))
}

// FuzzToeplitz holds the tables to the specification for any key and input.
func FuzzToeplitz(f *testing.F) {
	for _, v := range verification {
		f.Add(DefaultKey[:], input(netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst), true))
	}
	f.Add(SymmetricKey[:], make([]byte, input6))
	f.Add([]byte{}, []byte{0xff})
	f.Fuzz(func(t *testing.T, key, in []byte) {
		var k Key
		copy(k[:], key)
		var b [input6]byte
		copy(b[:], in)
		h := New(k)
		u32, u64, u16 := binary.BigEndian.Uint32, binary.BigEndian.Uint64, binary.BigEndian.Uint16
		require.Equal(t, hashGeneric(k[:], b[:8]), h.Hash4IP(u32(b[:]), u32(b[4:])))
		require.Equal(t, hashGeneric(k[:], b[:12]), h.Hash4(u32(b[:]), u32(b[4:]), u16(b[8:]), u16(b[10:])))
		require.Equal(t, hashGeneric(k[:], b[:32]), h.Hash6IP(u64(b[:]), u64(b[8:]), u64(b[16:]), u64(b[24:])))
		require.Equal(t, hashGeneric(k[:], b[:36]), h.Hash6(u64(b[:]), u64(b[8:]), u64(b[16:]), u64(b[24:]), u16(b[32:]), u16(b[34:])))
	})
}

var sink uint32

func BenchmarkHash(b *testing.B) {
	for _, key := range []struct {
		name string
		key  Key
	}{{"default", DefaultKey}, {"symmetric", SymmetricKey}} {
		h := New(key.key)
		b.Run("family=4/key="+key.name, func(b *testing.B) {
			i := uint32(0)
			for b.Loop() {
				i += 0x9e3779b1
				sink ^= h.Hash4(i, 0xc0000201, uint16(i), 80)
			}
		})
		b.Run("family=6/key="+key.name, func(b *testing.B) {
			i := uint64(0)
			for b.Loop() {
				i += 0x9e3779b97f4a7c15
				sink ^= h.Hash6(0x20010db800000000, i, 0x20010db800000000, 1, uint16(i), 80)
			}
		})
	}
	b.Run("family=4/impl=generic", func(b *testing.B) {
		var in [input4]byte
		for b.Loop() {
			in[3]++
			sink ^= hashGeneric(DefaultKey[:], in[:])
		}
	})
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		sink ^= New(DefaultKey).tab[0][1]
	}
}
