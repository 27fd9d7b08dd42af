package cookie

import (
	"crypto/cipher"
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
	var b [lanes]block
	for len(in) > 0 {
		n := min(len(in), lanes)
		h.sum(dst[:n], in[:n], b[:n])
		dst, in = dst[n:], in[n:]
	}
}

// SumOne returns the Sum of one tuple.
func (h *Hasher) SumOne(t *Tuple) Sum {
	if t.Is4() {
		var b block
		b.put4(t)
		b.encrypt(h.prf())
		return b.sum()
	}
	var dst [1]Sum
	var b [1]block
	in := [1]Tuple{*t}
	h.sum(dst[:], in[:], b[:])
	return dst[0]
}

// put4 lays out the block of an IPv4 tuple.
func (b *block) put4(t *Tuple) {
	b.put(t.RemoteLo&0xffffffff|t.LocalLo<<32, uint64(t.RemotePort)|uint64(t.LocalPort)<<16|domain4<<32)
}

func (b *block) sum() Sum {
	hi := b.hi()
	return Sum{Hash: b.lo(), ISN: uint32(hi), TSOff: uint32(hi >> 32)}
}

// sum does one chunk; the slices have equal lengths.
func (h *Hasher) sum(dst []Sum, in []Tuple, b []block) {
	aes, v6 := h.prf(), false
	for i := range b {
		t := &in[i]
		if t.Is4() {
			b[i].put4(t)
		} else {
			b[i].put(0, uint64(t.RemotePort)|uint64(t.LocalPort)<<16|domain6<<32)
			v6 = true
		}
	}
	for i := range b {
		b[i].encrypt(aes)
	}
	if v6 {
		chain(aes, in, b)
	}
	for i := range b {
		dst[i] = b[i].sum()
	}
}

// chain adds the two address blocks of each IPv6 tuple.
func chain(aes cipher.Block, in []Tuple, b []block) {
	for i := range b {
		if t := &in[i]; !t.Is4() {
			b[i].put(b[i].lo()^t.RemoteHi, b[i].hi()^t.RemoteLo)
		}
	}
	for i := range b {
		if !in[i].Is4() {
			b[i].encrypt(aes)
		}
	}
	for i := range b {
		if t := &in[i]; !t.Is4() {
			b[i].put(b[i].lo()^t.LocalHi, b[i].hi()^t.LocalLo)
		}
	}
	for i := range b {
		if !in[i].Is4() {
			b[i].encrypt(aes)
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
