package rss

import (
	"encoding/binary"
	"math/bits"
)

const (
	input4 = 12 // bytes hashed for IPv4 with ports
	input6 = 36 // bytes hashed for IPv6 with ports
)

// Toeplitz is a key made ready for hashing: for each input byte position the
// hash of each byte value there, 36 KiB of which IPv4 touches the first 12. The hash of an input
// is the exclusive or of one entry per byte, because the function is linear.
type Toeplitz struct {
	tab  [input6][256]uint32
	simd simd // 64 bytes aligned: the tables are a multiple, as is the allocation
	key  Key
	// folds says that the key repeats every 16 bits: all 16-bit words of an
	// input see the same windows, so they can be added up before the first look.
	folds bool
}

// New builds the tables of key, about 60 µs of work. Build once, share freely.
func New(key Key) *Toeplitz {
	t := &Toeplitz{key: key, folds: key.Symmetric()}
	for pos := range t.tab {
		// The key bits that input byte pos sees: its bit j from the right is
		// answered by the 32-bit window that ends j+1 bits before theirs do.
		seen := uint64(binary.BigEndian.Uint32(key[pos:]))<<8 | uint64(key[pos+4])
		tab := &t.tab[pos]
		for v := 1; v < len(tab); v++ {
			j := bits.TrailingZeros8(uint8(v))
			tab[v] = tab[v&(v-1)] ^ uint32(seen>>(j+1))
		}
	}
	t.simd.init(&t.key, &t.tab)
	return t
}

// Key returns the key that t was built from.
func (t *Toeplitz) Key() Key { return t.key }

// Hash4 hashes an IPv4 TCP tuple as received. Host-order values.
func (t *Toeplitz) Hash4(src, dst uint32, srcPort, dstPort uint16) uint32 {
	if t.folds {
		return t.fold(src ^ dst ^ uint32(srcPort^dstPort))
	}
	return t.Hash4IP(src, dst) ^
		t.tab[8][srcPort>>8] ^ t.tab[9][srcPort&0xff] ^
		t.tab[10][dstPort>>8] ^ t.tab[11][dstPort&0xff]
}

// Hash4IP hashes an IPv4 address pair: fragments, and devices that ignore ports.
func (t *Toeplitz) Hash4IP(src, dst uint32) uint32 {
	return t.tab[0][src>>24] ^ t.tab[1][src>>16&0xff] ^
		t.tab[2][src>>8&0xff] ^ t.tab[3][src&0xff] ^
		t.tab[4][dst>>24] ^ t.tab[5][dst>>16&0xff] ^
		t.tab[6][dst>>8&0xff] ^ t.tab[7][dst&0xff]
}

// Hash6 hashes an IPv6 TCP tuple as received. Hi and Lo are the first and last
// eight bytes of an address as host-order values.
func (t *Toeplitz) Hash6(srcHi, srcLo, dstHi, dstLo uint64, srcPort, dstPort uint16) uint32 {
	if t.folds {
		x := srcHi ^ srcLo ^ dstHi ^ dstLo
		return t.fold(uint32(x) ^ uint32(x>>32) ^ uint32(srcPort^dstPort))
	}
	return t.Hash6IP(srcHi, srcLo, dstHi, dstLo) ^
		t.tab[32][srcPort>>8] ^ t.tab[33][srcPort&0xff] ^
		t.tab[34][dstPort>>8] ^ t.tab[35][dstPort&0xff]
}

// fold hashes an input under a key that folds, whose 32-bit words add up to x:
// two looks instead of 12 or 36.
func (t *Toeplitz) fold(x uint32) uint32 {
	x ^= x >> 16
	return t.tab[0][x>>8&0xff] ^ t.tab[1][x&0xff]
}

// Hash6IP hashes an IPv6 address pair.
func (t *Toeplitz) Hash6IP(srcHi, srcLo, dstHi, dstLo uint64) uint32 {
	return word((*[8][256]uint32)(t.tab[0:8]), srcHi) ^
		word((*[8][256]uint32)(t.tab[8:16]), srcLo) ^
		word((*[8][256]uint32)(t.tab[16:24]), dstHi) ^
		word((*[8][256]uint32)(t.tab[24:32]), dstLo)
}

// word hashes eight input bytes with their tables.
func word(tab *[8][256]uint32, w uint64) uint32 {
	return tab[0][w>>56] ^ tab[1][w>>48&0xff] ^ tab[2][w>>40&0xff] ^ tab[3][w>>32&0xff] ^
		tab[4][w>>24&0xff] ^ tab[5][w>>16&0xff] ^ tab[6][w>>8&0xff] ^ tab[7][w&0xff]
}
