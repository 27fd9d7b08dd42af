package cookie

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// sipBytes hashes a message of any length, word by word.
func sipBytes(k sipKey, msg []byte) uint64 {
	s, n := k.start(), len(msg)
	for ; len(msg) >= 8; msg = msg[8:] {
		s.word(binary.LittleEndian.Uint64(msg))
	}
	var last [8]byte
	copy(last[:], msg)
	return s.sum(binary.LittleEndian.Uint64(last[:]) | uint64(n)<<56)
}

// CONFORMANCE section 24, from the reference implementation of SipHash (vectors.h).
func TestSipHashVectors(t *testing.T) {
	k := newSipKey(&testKey)
	msg := make([]byte, 64)
	for i := range msg {
		msg[i] = byte(i)
	}
	for n, want := range map[int]uint64{
		0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5,
		16: 0x3f2acc7f57c29bdb, 63: 0x958a324ceb064572,
	} {
		require.Equal(t, want, sipBytes(k, msg[:n]), "n=%d", n)
	}
	w := func(i int) uint64 { return binary.LittleEndian.Uint64(msg[8*i:]) }
	require.Equal(t, sipBytes(k, msg[:16]), k.sum2(w(0), w(1)))
	require.Equal(t, sipBytes(k, msg[:32]), k.sum4(w(0), w(1), w(2), w(3)))
	require.Equal(t, sipBytes(k, msg[:40]), k.sum5(w(0), w(1), w(2), w(3), w(4)))
}

// CONFORMANCE section 24, ISN PRF example: lip, lport, rip, rport.
func TestISN_001_SipHashExample(t *testing.T) {
	k := newSipKey(&testKey)
	v4 := []byte{192, 0, 2, 1, 0, 80, 198, 51, 100, 2, 0x9c, 0x40}
	require.EqualValues(t, uint64(0x9dc6f8681f0d62b4), sipBytes(k, v4))
	v6 := unhex(t, "20010db8000000000000000000000001"+"0050"+"20010db8000000000000000000000002"+"9c40")
	require.EqualValues(t, uint64(0x0a25ab464cd10ac4), sipBytes(k, v6))
}

func testLinux() *Linux {
	var h1 [16]byte
	for i := range h1 {
		h1[i] = byte(16 + i)
	}
	return NewLinux(testKey, h1)
}

func linuxMint(l *Linux, in LinuxInput, count uint32) Minted {
	var dst [1]Minted
	l.Mint(dst[:], []LinuxInput{in}, count)
	return dst[0]
}

func linuxVerify(l *Linux, in LinuxAck, count uint32) Result {
	var dst [1]Result
	l.Verify(dst[:], []LinuxAck{in}, count)
	return dst[0]
}

// CONFORMANCE section 24, Cookies.
func TestCKI_001_LinuxVectors(t *testing.T) {
	l, v4, v6 := testLinux(), tupleN(40000, false), tupleN(40000, true)
	k := l.keys()
	require.EqualValues(t, 0x92c22f94, k[0].cookieHash(&v4, 0))
	require.EqualValues(t, 0xf8aed869, k[1].cookieHash(&v4, 1000))
	require.EqualValues(t, 0x947a6c76, k[1].cookieHash(&v4, 0x1000001))
	require.EqualValues(t, 0xb4aaa210, k[0].cookieHash(&v6, 0))
	require.EqualValues(t, 0x0573e9a1, k[1].cookieHash(&v6, 1000))
	for _, c := range []struct {
		tuple Tuple
		mss   uint16
		count uint32
		iss   uint32
		want  uint16
	}{
		{v4, 536, 1000, 0x7c730b01, 536},
		{v4, 1300, 1000, 0x7c730b02, 1300},
		{v4, 1440, 1000, 0x7c730b03, 1440},
		{v4, 1460, 1000, 0x7c730b04, 1460},
		{v4, 1460, 0x1000001, 0x953e9f11, 1460},
		{v6, 1220, 1000, 0x9e208eb5, 1220},
		{v6, 9000, 1000, 0x9e208eb8, 8940},
		// CKI-004 and CKI-005: the largest that fits, or the first.
		{v4, 1459, 1000, 0x7c730b03, 1440},
		{v4, 1299, 1000, 0x7c730b01, 536},
		{v4, 200, 1000, 0x7c730b01, 536},
	} {
		m := linuxMint(l, LinuxInput{Tuple: c.tuple, IRS: testIRS, MSS: c.mss, WScale: 7, Opts: HasWScale | SACK}, c.count)
		require.Equal(t, Minted{ISS: c.iss, MSS: c.want, OK: true}, m, "CKI-008: the MSS and nothing else")
		ack := LinuxAck{Tuple: c.tuple, Seq: testIRS + 1, Ack: c.iss + 1}
		require.Equal(t, Result{IRS: testIRS, ISS: c.iss, MSS: c.want, OK: true}, linuxVerify(l, ack, c.count))
	}
}

func TestCKI_003_LinuxAge(t *testing.T) {
	l, tuple := testLinux(), tupleN(40000, false)
	ack := LinuxAck{Tuple: tuple, Seq: testIRS + 1, Ack: 0x7c730b04 + 1}
	for count, ok := range map[uint32]bool{999: false, 1000: true, 1001: true, 1002: false, 1255: false, 1256: false} {
		require.Equal(t, ok, linuxVerify(l, ack, count).OK, "count %d", count)
	}
}

// What the encoding leaves open is decoded as the kernel does, on purpose.
func TestCKI_010_LinuxOffByOne(t *testing.T) {
	l, tuple := testLinux(), tupleN(40000, false)
	for d := range uint32(6) {
		r := linuxVerify(l, LinuxAck{Tuple: tuple, Seq: testIRS + 1 + d, Ack: 0x7c730b04 + 1}, 1000)
		require.Equal(t, d < 4, r.OK, "IRS+%d", d)
		if r.OK {
			require.Equal(t, linuxMSS4[3-d], r.MSS)
		}
	}
}

func TestCKI_009_LinuxOptionBitsAreOpen(t *testing.T) {
	l, tuple := testLinux(), tupleN(40000, false)
	in := LinuxInput{Tuple: tuple, IRS: testIRS, TSNow: 1_000_000, TSOff: 0xfedcba98, MSS: 1460, WScale: 7, Opts: HasWScale | SACK | TS}
	m := linuxMint(l, in, 1000)
	require.Equal(t, Minted{ISS: 0x7c730b04, TSVal: 999959 + in.TSOff, MSS: 1460, WScale: 7, Opts: in.Opts, OK: true}, m, "CKI-006")
	ack := LinuxAck{Tuple: tuple, Seq: testIRS + 1, Ack: m.ISS + 1, TSEcr: m.TSVal, TSNow: 1_000_020, TSOff: in.TSOff, HasTS: true}
	require.Equal(t, Result{IRS: testIRS, ISS: m.ISS, AgeMS: 61, MSS: 1460, WScale: 7, Opts: in.Opts, OK: true}, linuxVerify(l, ack, 1000))
	for bits := range uint32(64) {
		ack.TSEcr = (999959&^tsMask | bits) + in.TSOff
		r := linuxVerify(l, ack, 1000)
		require.True(t, r.OK)
		require.Equal(t, bits>>4&1 == 1, r.Opts&SACK != 0)
		require.Equal(t, bits>>5&1 == 1, r.Opts&ECN != 0)
		require.Equal(t, bits&15 != 15, r.Opts&HasWScale != 0)
		require.LessOrEqual(t, r.WScale, uint8(14))
	}
	ack.HasTS = false
	require.Equal(t, Result{IRS: testIRS, ISS: m.ISS, MSS: 1460, OK: true}, linuxVerify(l, ack, 1000), "CKI-011: taken without any")
}

// Four indices in two epochs: 8 of the 2^32 ACK numbers pass.
func TestCKI_019_LinuxValuesAccepted(t *testing.T) {
	l, values := testLinux(), map[uint32]bool{}
	for _, v6 := range []bool{false, true} {
		clear(values)
		tuple := tupleN(40000, v6)
		for count := uint32(999); count <= 1000; count++ {
			base := linuxMint(l, LinuxInput{Tuple: tuple, IRS: testIRS, MSS: 536}, count).ISS
			top := linuxMint(l, LinuxInput{Tuple: tuple, IRS: testIRS, MSS: 9000}, count).ISS
			require.Equal(t, base+3, top)
			for d := uint32(0); d < 1<<12; d++ { // around them nothing else passes
				iss := base - 1<<11 + d
				if linuxVerify(l, LinuxAck{Tuple: tuple, Seq: testIRS + 1, Ack: iss + 1}, 1000).OK {
					values[iss] = true
				}
			}
		}
		require.Len(t, values, 8)
	}
}

func TestLinuxNoAllocationAndLengths(t *testing.T) {
	l := testLinux()
	in, m := make([]LinuxInput, 64), make([]Minted, 64)
	acks, res := make([]LinuxAck, 64), make([]Result, 64)
	require.Zero(t, testing.AllocsPerRun(100, func() { l.Mint(m, in, 1); l.Verify(res, acks, 1) }))
	require.Panics(t, func() { l.Mint(m[:1], in, 1) })
	require.Panics(t, func() { l.Verify(res[:1], acks, 1) })
}

func FuzzLinux(f *testing.F) {
	f.Add(uint32(1), uint32(2), uint32(1000), uint32(5), uint16(1460), uint8(7), uint8(15), true)
	f.Fuzz(func(t *testing.T, n, irs, count, now uint32, mss uint16, shift, opts uint8, v6 bool) {
		l, tuple := testLinux(), tupleN(n, v6)
		in := LinuxInput{Tuple: tuple, IRS: irs, TSNow: now, TSOff: n, MSS: mss, WScale: shift, Opts: Opts(opts)}
		m := linuxMint(l, in, count)
		ack := LinuxAck{Tuple: tuple, Seq: irs + 1, Ack: m.ISS + 1, TSEcr: m.TSVal, TSNow: now, TSOff: n, HasTS: m.Opts&TS != 0}
		for age := range uint32(2) {
			r := linuxVerify(l, ack, count+age)
			want := Result{IRS: irs, ISS: m.ISS, AgeMS: r.AgeMS, MSS: m.MSS, WScale: m.WScale, Opts: m.Opts, OK: true}
			if r != want || r.AgeMS > tsMask {
				t.Fatalf("%+v, want %+v", r, want)
			}
		}
		if linuxVerify(l, ack, count+2).OK {
			t.Fatal("accepted after two epochs")
		}
	})
}
