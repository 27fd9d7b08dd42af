package cookie

import (
	"encoding/binary"
	"math/bits"
)

// sipKey is a key of SipHash-2-4 (Aumasson and Bernstein, 2012) as two words, the
// bytes of the key read little-endian.
type sipKey struct{ k0, k1 uint64 }

func newSipKey(key *[16]byte) sipKey {
	return sipKey{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// sipState is between words of the message.
type sipState struct{ v0, v1, v2, v3 uint64 }

func (k *sipKey) start() sipState {
	return sipState{k.k0 ^ 0x736f6d6570736575, k.k1 ^ 0x646f72616e646f6d, k.k0 ^ 0x6c7967656e657261, k.k1 ^ 0x7465646279746573}
}

func (s *sipState) round() {
	v0, v1, v2, v3 := s.v0, s.v1, s.v2, s.v3
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	s.v0, s.v1, s.v2, s.v3 = v0, v1, v2, v3
}

// word takes in eight bytes of the message, read little-endian.
func (s *sipState) word(m uint64) {
	s.v3 ^= m
	s.round()
	s.round()
	s.v0 ^= m
}

// sum takes in the last word, which holds the rest of the message and in its top byte
// the length, and returns the hash.
func (s *sipState) sum(last uint64) uint64 {
	s.word(last)
	s.v2 ^= 0xff
	s.round()
	s.round()
	s.round()
	s.round()
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3
}

// sum2 hashes the 16 bytes of two words, sum4 32 bytes, sum5 40.
func (k *sipKey) sum2(a, b uint64) uint64 {
	s := k.start()
	s.word(a)
	s.word(b)
	return s.sum(16 << 56)
}

func (k *sipKey) sum4(a, b, c, d uint64) uint64 {
	s := k.start()
	s.word(a)
	s.word(b)
	s.word(c)
	s.word(d)
	return s.sum(32 << 56)
}

func (k *sipKey) sum5(a, b, c, d, e uint64) uint64 {
	s := k.start()
	s.word(a)
	s.word(b)
	s.word(c)
	s.word(d)
	s.word(e)
	return s.sum(40 << 56)
}
