package cookie

// Opts says which options a handshake uses.
type Opts uint8

// The options a cookie can stand for.
const (
	HasWScale Opts = 1 << iota // Window Scale; the shift is in WScale
	SACK                       // SACK-Permitted
	ECN                        // ECN setup (RFC 3168 §6.1.1); survives only together with TS (CKI-021)
	TS                         // Timestamps; selects form T
)

// Input is one SYN to be answered by a cookie. Host order.
type Input struct {
	Sum    Sum    // of the tuple, from the Hasher all nodes share
	IRS    uint32 // SEG.SEQ of the SYN
	TSNow  uint32 // timestamp clock, ms, no offset; read only with TS
	MSS    uint16 // as the peer sent it; without the option 536 for IPv4, 1220 for IPv6
	WScale uint8  // the peer's shift, with HasWScale; above 14 counts as 14 (RFC 7323 §2.3)
	Opts   Opts   // what the SYN offered and this endpoint is willing to use
	V6     bool
}

// Minted is what the SYN-ACK must say. MSS, WScale and Opts are what the cookie
// remembers, which is what Verify will return: offer no option missing in Opts.
type Minted struct {
	ISS    uint32
	TSVal  uint32 // complete option value, offset added; set only with TS
	MSS    uint16 // for sending to the peer, at most what it announced
	WScale uint8  // the peer's shift, at most what it announced
	Opts   Opts
	OK     bool // false: MSS below MinMSS, nothing else is set; drop the SYN (CKI-005)
}

// VerifyInput is one ACK that belongs to no known flow. Host order. The caller has
// checked that it carries ACK and neither SYN nor RST (CKI-012).
type VerifyInput struct {
	Sum   Sum
	Seq   uint32 // SEG.SEQ; IRS is Seq-1
	Ack   uint32 // SEG.ACK; ISS is Ack-1
	TSEcr uint32 // as on the wire, with HasTS
	TSNow uint32 // timestamp clock, ms, no offset; read only with HasTS
	HasTS bool   // the segment carries the Timestamps option
	V6    bool
}

// Reason says why Verify refused, for one counter each.
type Reason uint8

// The reasons.
const (
	ReasonNone    Reason = iota // accepted
	ReasonMAC                   // not our cookie: forged, altered, of another tuple, or expired with its key
	ReasonFuture                // the echoed time is still to come
	ReasonExpired               // the echoed time is more than two epochs ago
)

// String names r as counters do.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonMAC:
		return "mac"
	case ReasonFuture:
		return "ts-future"
	case ReasonExpired:
		return "ts-expired"
	}
	return "invalid"
}

// Result is what Verify found out. Unless OK only Reason is set.
type Result struct {
	IRS, ISS uint32
	AgeMS    uint32 // with TS: since Mint, up to 63 ms too long (CKI-020); 0 within the clock skew
	MSS      uint16
	WScale   uint8
	Opts     Opts
	Reason   Reason
	OK       bool
}

// Keys holds the cookie keys of two neighbouring epochs. It is immutable: any
// number of goroutines may use one, and a core loads it once per burst.
type Keys struct {
	redacted
	slot   [2]prf // by parity of the epoch
	epoch  int64
	early  bool   // the other slot holds epoch+1 instead of epoch-1
	maxAge uint32 // ms: two epochs and what rounding TSval down takes
	skew   uint32 // ms

	fastOpen *FastOpen
}

// FastOpen returns what makes and checks the cookies of Fast Open in this epoch.
func (k *Keys) FastOpen() *FastOpen { return k.fastOpen }

// Epoch returns the number of the epoch whose key Mint uses, counted from 1970 UTC.
func (k *Keys) Epoch() int64 { return k.epoch }

// What the MAC covers beside tuple and IRS. Bits 0-5 in form T are what TSval
// carries (CKI-006); in form N bits 0-3 hold the index of the window scale.
const (
	dataSACK = 1 << 4
	dataECN  = 1 << 5
	dataTS   = 1 << 6
	dataV6   = 1 << 7
	dataMSS  = 8 // shift

	tsBits = 6
	tsMask = 1<<tsBits - 1
)

// cover returns the block of the package comment.
func (s *Sum) cover(irs, data uint32) (lo, hi uint64) {
	return s.Hash, uint64(s.ISN^irs) | uint64(s.TSOff^data)<<32
}

// mac returns the bits that an ISS takes its MAC from.
func (b *block) mac() uint32 { return uint32(b.lo()) }

// lowBits returns how many low bits of an ISS are data in the form that o selects:
// 4 in form T, 8 in form N. The MAC takes the others.
func (o Opts) lowBits() uint32 { return 8 - uint32(o&TS)/uint32(TS)*4 }

// Mint writes the cookie for in[i] to dst[i]. The slices must have equal lengths,
// any length, and it panics if they do not. Both stay the caller's.
func (k *Keys) Mint(dst []Minted, in []Input) {
	if len(dst) != len(in) {
		panic("cookie: Keys.Mint: dst and in differ in length")
	}
	if k.slot[k.epoch&1]().mintWide(dst, in, uint32(k.epoch)&1) {
		return
	}
	if len(in) < few {
		c := k.slot[k.epoch&1]()
		for i := range in {
			v := &in[i]
			data := encode(&dst[i], v, uint32(k.epoch)&1)
			lo, _ := c.encryptOne(v.Sum.cover(v.IRS, data))
			dst[i].seal(uint32(lo))
		}
		return
	}
	var b [lanes]block
	for len(in) > 0 {
		n := min(len(in), lanes)
		k.mint(dst[:n], in[:n], b[:n])
		dst, in = dst[n:], in[n:]
	}
}

// mint does one chunk; the slices have equal lengths.
func (k *Keys) mint(dst []Minted, in []Input, b []block) {
	parity := uint32(k.epoch) & 1
	for i := range b {
		data := encode(&dst[i], &in[i], parity)
		b[i].put(in[i].Sum.cover(in[i].IRS, data))
	}
	k.slot[parity]().encrypt(b)
	for i := range b {
		dst[i].seal(b[i].mac())
	}
}

// seal adds the MAC to what encode wrote.
func (m *Minted) seal(mac uint32) {
	if m.OK {
		n := m.Opts.lowBits()
		h := mac >> n << n
		m.ISS ^= h | h>>(32-n)
	}
}

// encode fills all of m but the MAC, and returns the data the MAC is to cover.
func encode(m *Minted, in *Input, parity uint32) (data uint32) {
	table := mssTable(in.V6)
	idx := mssIndex(table, in.MSS)
	if idx < 0 {
		*m = Minted{}
		return 0
	}
	data = uint32(idx) << dataMSS
	if in.V6 {
		data |= dataV6
	}
	opts := in.Opts & (HasWScale | SACK | TS)
	if opts&SACK != 0 {
		data |= dataSACK
	}
	var shift uint8
	if opts&HasWScale != 0 {
		shift = min(in.WScale, maxShift)
	}
	if opts&TS == 0 {
		var ws uint32
		if opts&HasWScale != 0 {
			ws = uint32(wscaleIndex[shift&15])
			shift = wscales[ws&7]
		}
		low := uint32(idx)<<5 | ws<<2 | (data&dataSACK)>>3 | parity
		m.ISS, m.TSVal = low, 0 // by field: a literal would be copied from the stack
		m.MSS, m.WScale, m.Opts, m.OK = table[idx], shift, opts, true
		return data | ws
	}
	data |= dataTS
	if opts&HasWScale != 0 {
		data |= uint32(shift)
	} else {
		data |= noShift
	}
	if in.Opts&ECN != 0 {
		data |= dataECN
		opts |= ECN
	}
	m.ISS = uint32(idx)<<1 | parity
	m.TSVal = packTS(in.TSNow, data&tsMask) + in.Sum.TSOff
	m.MSS, m.WScale, m.Opts, m.OK = table[idx], shift, opts, true
	return data
}

// packTS returns the latest time not after now whose low bits are bits (CKI-006).
// It may wrap below zero; time is modulo 2^32 everywhere.
func packTS(now, bits uint32) uint32 { return now - (now-bits)&tsMask }

// Verify checks the ACK in[i] and writes what its cookie remembers to dst[i], at
// one AES block per segment. The slices must have equal lengths, any length, and
// it panics if they do not. Both stay the caller's.
func (k *Keys) Verify(dst []Result, in []VerifyInput) {
	if len(dst) != len(in) {
		panic("cookie: Keys.Verify: dst and in differ in length")
	}
	if k.slot[0]().verifyWide(k.slot[1](), dst, in, k.maxAge, k.skew) {
		return
	}
	if len(in) < few {
		for i := range in {
			r, v := &dst[i], &in[i]
			data := k.decode(r, v)
			lo, _ := k.slot[r.parity()]().encryptOne(v.Sum.cover(v.Seq-1, data))
			r.judge(uint32(lo))
		}
		return
	}
	var b [lanes]block
	for len(in) > 0 {
		n := min(len(in), lanes)
		k.verify(dst[:n], in[:n], b[:n])
		dst, in = dst[n:], in[n:]
	}
}

// verify does one chunk; the slices have equal lengths. Blocks for the even key fill b
// from the front, blocks for the odd one from the back.
func (k *Keys) verify(dst []Result, in []VerifyInput, b []block) {
	var at [lanes]uint8
	even, odd := 0, len(b)
	for i := range b {
		r, v := &dst[i], &in[i]
		data := k.decode(r, v)
		pos := even
		if r.parity() != 0 {
			odd--
			pos = odd
		} else {
			even++
		}
		at[i&(lanes-1)] = uint8(pos)
		b[pos].put(v.Sum.cover(v.Seq-1, data))
	}
	k.slot[0]().encrypt(b[:even])
	k.slot[1]().encrypt(b[even:])
	for i := range dst {
		dst[i].judge(b[at[i&(lanes-1)]].mac())
	}
}

// judge refuses what decode took to be good if the MAC is another.
func (r *Result) judge(mac uint32) {
	if r.OK && (mac^r.ISS)>>r.Opts.lowBits() != 0 {
		*r = Result{Reason: ReasonMAC}
	}
}

// decode fills r as if the cookie were good, and returns the data its MAC covers.
func (k *Keys) decode(r *Result, in *VerifyInput) (data uint32) {
	if in.HasTS {
		return k.decodeT(r, in)
	}
	return decodeN(r, in)
}

// parity returns that of the epoch a cookie claims.
func (r *Result) parity() uint32 {
	return (r.ISS ^ r.ISS>>(32-r.Opts.lowBits())) & 1
}

// decodeN is decode for form N.
func decodeN(r *Result, in *VerifyInput) (data uint32) {
	iss := in.Ack - 1
	low := (iss ^ iss>>24) & 0xff
	idx, ws, sack := low>>5, low>>2&7, low>>1&1
	data = idx<<dataMSS | sack<<4 | ws
	if in.V6 {
		data |= dataV6
	}
	opts := Opts(sack) * SACK
	if ws != 0 {
		opts |= HasWScale
	}
	r.IRS, r.ISS, r.AgeMS = in.Seq-1, iss, 0 // by field: a literal would be copied from the stack
	r.MSS, r.WScale, r.Opts = mssTable(in.V6)[idx&7], wscales[ws&7], opts
	r.Reason, r.OK = ReasonNone, true
	return data
}

// decodeT is decode for form T; it refuses an impossible time before any AES.
func (k *Keys) decodeT(r *Result, in *VerifyInput) (data uint32) {
	ts := in.TSEcr - in.Sum.TSOff
	age := in.TSNow - ts
	if int32(age) < 0 {
		if -age > k.skew {
			*r = Result{Reason: ReasonFuture}
			return 0
		}
		age = 0
	}
	if age > k.maxAge {
		*r = Result{Reason: ReasonExpired}
		return 0
	}
	iss := in.Ack - 1
	idx := (iss ^ iss>>28) & 0xf >> 1
	data = idx<<dataMSS | dataTS | ts&tsMask
	if in.V6 {
		data |= dataV6
	}
	opts := TS
	if data&dataSACK != 0 {
		opts |= SACK
	}
	if data&dataECN != 0 {
		opts |= ECN
	}
	shift := uint8(data & 15)
	if shift == noShift {
		shift = 0
	} else {
		opts |= HasWScale
	}
	r.IRS, r.ISS, r.AgeMS = in.Seq-1, iss, age
	r.MSS, r.WScale, r.Opts = mssTable(in.V6)[idx&7], shift, opts
	r.Reason, r.OK = ReasonNone, true
	return data
}
