package cookie

import (
	"fmt"
	"log/slog"
)

// Tuple is a TCP 4-tuple seen from this endpoint, in host-order words: Remote is
// the source of a received segment. An IPv4 address is held IPv6-mapped
// (::ffff:a.b.c.d: Hi 0, Lo>>32 0xffff). The layout equals that of wire.Tuple.
type Tuple struct {
	RemoteHi, RemoteLo, LocalHi, LocalLo uint64
	RemotePort, LocalPort                uint16
}

// Is4 reports whether both addresses are IPv4; any other tuple is hashed as IPv6.
func (t *Tuple) Is4() bool {
	return t.RemoteHi|t.LocalHi == 0 && t.RemoteLo>>32 == 0xffff && t.LocalLo>>32 == 0xffff
}

// Sum is the 16-byte PRF output of a tuple. In bytes it is Hash, ISN, TSOff, each
// little-endian, where E is AES-128 and w0|w1 a block of two little-endian words:
//
//	ports = RemotePort | LocalPort<<16
//	IPv4: E(remote32 | local32<<32, ports | domain4<<32)
//	IPv6: E(E(E(0, ports | domain6<<32) xor RemoteHi|RemoteLo) xor LocalHi|LocalLo)
//
// A Sum prints, logs and marshals as "[redacted]": whoever learns it can predict
// sequence numbers of the tuple for the life of the key.
type Sum struct {
	Hash  uint64 // for tables; must never leave the machine, cookies rest on it
	ISN   uint32 // base of the ISS, see the function ISN
	TSOff uint32 // timestamp offset, see TSVal
}

// The domain words that keep IPv4 and IPv6 messages apart.
const (
	domain4 = uint64('f') | 's'<<8 | 'v'<<16 | '4'<<24
	domain6 = uint64('f') | 's'<<8 | 'v'<<16 | '6'<<24
)

// Hasher computes Sums under one key, which must live as long as tuples may be
// reused (ISN-003): the process, or the fleet. It is immutable and safe for
// concurrent use.
type Hasher struct {
	redacted
	prf prf
}

// NewHasher returns a Hasher for a 128-bit key from a CSPRNG. Most callers want
// Secret.Hasher, which never shows them the key.
func NewHasher(key [16]byte) *Hasher { return &Hasher{prf: newPRF(key)} }

// Sum writes the Sum of in[i] to dst[i]. The slices must have equal lengths, any
// length, and it panics if they do not. Both stay the caller's.
func (h *Hasher) Sum(dst []Sum, in []Tuple) {
	if len(dst) != len(in) {
		panic("cookie: Hasher.Sum: dst and in differ in length")
	}
	c := h.prf()
	if c.sumWide(dst, in) {
		return
	}
	if len(in) < few {
		for i := range in {
			c.sumOne(&dst[i], &in[i])
		}
		return
	}
	var b [lanes]block
	for len(in) > 0 {
		n := min(len(in), lanes)
		c.sum(dst[:n], in[:n], b[:n])
		dst, in = dst[n:], in[n:]
	}
}

// SumOne returns the Sum of one tuple.
func (h *Hasher) SumOne(t *Tuple) (s Sum) {
	h.prf().sumOne(&s, t)
	return s
}

func (c *cipherKey) sumOne(s *Sum, t *Tuple) {
	ports := uint64(t.RemotePort) | uint64(t.LocalPort)<<16
	var lo, hi uint64
	if t.Is4() {
		lo, hi = c.encryptOne(t.RemoteLo&0xffffffff|t.LocalLo<<32, ports|domain4<<32)
	} else {
		lo, hi = c.encryptOne(0, ports|domain6<<32)
		lo, hi = c.encryptOne(lo^t.RemoteHi, hi^t.RemoteLo)
		lo, hi = c.encryptOne(lo^t.LocalHi, hi^t.LocalLo)
	}
	s.Hash, s.ISN, s.TSOff = lo, uint32(hi), uint32(hi>>32)
}

// sum does one chunk; the slices have equal lengths.
func (c *cipherKey) sum(dst []Sum, in []Tuple, b []block) {
	v6 := false
	for i := range b {
		t := &in[i]
		ports := uint64(t.RemotePort) | uint64(t.LocalPort)<<16
		if t.Is4() {
			b[i].put(t.RemoteLo&0xffffffff|t.LocalLo<<32, ports|domain4<<32)
		} else {
			b[i].put(0, ports|domain6<<32)
			v6 = true
		}
	}
	c.encrypt(b)
	for i := range b {
		lo, hi := b[i].lo(), b[i].hi()
		dst[i].Hash, dst[i].ISN, dst[i].TSOff = lo, uint32(hi), uint32(hi>>32)
	}
	if v6 {
		c.chain(dst, in, b)
	}
}

// chain adds the two address blocks of each IPv6 tuple; the results of the others
// are in dst and stay.
func (c *cipherKey) chain(dst []Sum, in []Tuple, b []block) {
	for i := range b {
		b[i].put(b[i].lo()^in[i].RemoteHi, b[i].hi()^in[i].RemoteLo)
	}
	c.encrypt(b)
	for i := range b {
		b[i].put(b[i].lo()^in[i].LocalHi, b[i].hi()^in[i].LocalLo)
	}
	c.encrypt(b)
	for i := range b {
		if !in[i].Is4() {
			lo, hi := b[i].lo(), b[i].hi()
			dst[i].Hash, dst[i].ISN, dst[i].TSOff = lo, uint32(hi), uint32(hi>>32)
		}
	}
}

// Format implements fmt.Formatter: "[redacted]" for every verb.
func (Sum) Format(f fmt.State, verb rune) { redacted{}.Format(f, verb) }

// String returns "[redacted]".
func (Sum) String() string { return redactedText }

// GoString returns "[redacted]".
func (Sum) GoString() string { return redactedText }

// LogValue implements slog.LogValuer: "[redacted]".
func (Sum) LogValue() slog.Value { return redacted{}.LogValue() }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Sum) MarshalJSON() ([]byte, error) { return redacted{}.MarshalJSON() }

// MarshalText returns "[redacted]".
func (Sum) MarshalText() ([]byte, error) { return redacted{}.MarshalText() }
