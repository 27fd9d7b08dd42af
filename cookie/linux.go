package cookie

import "math/bits"

// Linux makes and checks SYN cookies in the exact encoding of the Linux kernel
// (net/ipv4/syncookies.c and net/ipv6/syncookies.c, since 4.13): SipHash-2-4 under two keys,
//
//	ISS = H0(tuple) + IRS + count<<24 + (H1(tuple, count) + index) & 0xffffff
//
// with H the low 32 bits of the hash, count the epoch and index that of the MSS. It
// exists to understand and to interoperate with such hosts, and as the yardstick of
// the benchmarks. Nothing in this module answers with it by default, because it leaves
// open what [Keys] closes:
//
//   - Of the 2^32 ACK numbers of a segment 8 pass, as 4 indices and 2 epochs do, and a
//     sequence number off by 1 to 3 passes as another index (CKI-010).
//   - Window scale, SACK and ECN come from the low six bits of the echoed timestamp and
//     are not covered: the peer may change them, or add the option (CKI-009).
//   - A peer that leaves the option out afterwards is taken without window scale,
//     although the SYN-ACK offered one (CKI-011).
//   - A peer whose MSS is below the first entry is sent 536 or 1220 all the same (CKI-005).
//
// It is immutable and safe for concurrent use.
type Linux struct {
	redacted
	keys func() *linuxKeys // a closure, see prf
}

// NewLinux returns the codec for the kernel's two keys (syncookie_secret), as the bytes
// lie in memory on a little-endian machine.
func NewLinux(h0, h1 [16]byte) *Linux {
	keys := &linuxKeys{newSipKey(&h0), newSipKey(&h1)}
	return &Linux{keys: func() *linuxKeys { return keys }}
}

// LinuxEpoch is how long a count lasts, in seconds (TCP_SYNCOOKIE_PERIOD). A host counts
// from its boot, a fleet may count from 1970.
const LinuxEpoch = 60

// linuxMaxAge is how many counts a cookie lives (MAX_SYNCOOKIE_AGE).
const linuxMaxAge = 2

// The MSS tables of the kernel (CKI-004).
var (
	linuxMSS4 = [4]uint16{536, 1300, 1440, 1460}
	linuxMSS6 = [4]uint16{1220, 1420, 1440, 8940}
)

func linuxTable(v6 bool) *[4]uint16 {
	if v6 {
		return &linuxMSS6
	}
	return &linuxMSS4
}

// LinuxInput is one SYN to be answered by a cookie. Host order.
type LinuxInput struct {
	Tuple  Tuple  // Remote is the client
	IRS    uint32 // SEG.SEQ of the SYN
	TSNow  uint32 // timestamp clock, ms, no offset; read only with TS
	TSOff  uint32 // offset the host adds for this tuple; read only with TS
	MSS    uint16
	WScale uint8
	Opts   Opts
}

// LinuxAck is one ACK that belongs to no known flow. Host order.
type LinuxAck struct {
	Tuple Tuple
	Seq   uint32
	Ack   uint32
	TSEcr uint32 // as on the wire, with HasTS
	TSNow uint32
	TSOff uint32
	HasTS bool
}

// Mint writes the cookie for in[i] of the epoch count to dst[i]. The slices must have
// equal lengths, any length, and it panics if they do not. OK is always set. Opts is what a
// host that offers all options and gets its timestamps back will remember.
func (l *Linux) Mint(dst []Minted, in []LinuxInput, count uint32) {
	if len(dst) != len(in) {
		panic("cookie: Linux.Mint: dst and in differ in length")
	}
	k := l.keys()
	for i := range in {
		k.mint(&dst[i], &in[i], count)
	}
}

// Verify checks the ACK in[i] in the epoch count and writes what its cookie remembers to
// dst[i]. The slices must have equal lengths, any length, and it panics if they do not.
func (l *Linux) Verify(dst []Result, in []LinuxAck, count uint32) {
	if len(dst) != len(in) {
		panic("cookie: Linux.Verify: dst and in differ in length")
	}
	k := l.keys()
	for i := range in {
		k.verify(&dst[i], &in[i], count)
	}
}

// linuxKeys are H0 and H1.
type linuxKeys [2]sipKey

func (k *linuxKeys) mint(m *Minted, in *LinuxInput, count uint32) {
	table := linuxTable(!in.Tuple.Is4())
	idx := len(table) - 1
	for idx > 0 && in.MSS < table[idx] {
		idx--
	}
	h0, h1 := k[0].cookieHash(&in.Tuple, 0), k[1].cookieHash(&in.Tuple, count)
	m.ISS = h0 + in.IRS + count<<24 + (h1+uint32(idx))&0xffffff
	m.TSVal, m.MSS, m.WScale, m.Opts, m.OK = 0, table[idx], 0, 0, true
	if in.Opts&TS == 0 {
		return // nothing but the MSS is remembered (CKI-008)
	}
	low := uint32(noShift)
	if in.Opts&HasWScale != 0 {
		m.WScale = min(in.WScale, maxShift)
		low = uint32(m.WScale)
	}
	if in.Opts&SACK != 0 {
		low |= dataSACK
	}
	if in.Opts&ECN != 0 {
		low |= dataECN
	}
	m.TSVal = packTS(in.TSNow, low) + in.TSOff
	m.Opts = in.Opts & (HasWScale | SACK | ECN | TS)
}

func (k *linuxKeys) verify(r *Result, in *LinuxAck, count uint32) {
	table := linuxTable(!in.Tuple.Is4())
	irs, iss := in.Seq-1, in.Ack-1
	x := iss - k[0].cookieHash(&in.Tuple, 0) - irs
	age := (count - x>>24) & 0xff // CKI-003
	if age >= linuxMaxAge {
		*r = Result{Reason: ReasonMAC}
		return
	}
	idx := (x - k[1].cookieHash(&in.Tuple, count-age)) & 0xffffff
	if idx >= uint32(len(table)) {
		*r = Result{Reason: ReasonMAC}
		return
	}
	r.IRS, r.ISS, r.AgeMS = irs, iss, 0
	r.MSS, r.WScale, r.Opts = table[idx&3], 0, 0
	r.Reason, r.OK = ReasonNone, true
	if !in.HasTS {
		return
	}
	ts := in.TSEcr - in.TSOff
	r.AgeMS = in.TSNow - ts
	r.Opts = TS | Opts(ts>>4&1)*SACK | Opts(ts>>5&1)*ECN
	if ts&0xf != noShift {
		r.WScale, r.Opts = min(uint8(ts&0xf), maxShift), r.Opts|HasWScale
	}
}

// cookieHash is cookie_hash of the kernel: the low 32 bits of SipHash over client, host, their
// ports as they are on the wire, host's first, and the count; for IPv6 (CKI-023) the
// count comes before the ports, and the client's port is first.
func (k *sipKey) cookieHash(t *Tuple, count uint32) uint32 {
	remote, local := uint64(bits.ReverseBytes16(t.RemotePort)), uint64(bits.ReverseBytes16(t.LocalPort))
	if t.Is4() {
		addrs := uint64(bits.ReverseBytes32(uint32(t.RemoteLo))) | uint64(bits.ReverseBytes32(uint32(t.LocalLo)))<<32
		return uint32(k.sum2(addrs, local|remote<<16|uint64(count)<<32))
	}
	return uint32(k.sum5(bits.ReverseBytes64(t.RemoteHi), bits.ReverseBytes64(t.RemoteLo),
		bits.ReverseBytes64(t.LocalHi), bits.ReverseBytes64(t.LocalLo),
		uint64(count)|remote<<32|local<<48))
}
