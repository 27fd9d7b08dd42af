package handshake

import (
	"math/bits"
	"unsafe"
)

const (
	bucketSlots = 12
	// recordsPerBucket is the load of a full table, two thirds of the slots: 8 bytes of
	// table for a record, and one bucket in 16 has entries that found no room in it.
	recordsPerBucket = 8
	// maxProbe bounds a chain in buckets. With hashes nobody can choose (FLD-009)
	// chains of a full table end long before; what would not fit counts as "table full".
	maxProbe = 64
)

// bucket is one cache line of the hash table. The 8-bit tags of its twelve slots
// are the lower bytes of meta, eight in the first word and four in the second; tag 0
// is an empty slot. The upper half of the second word counts the entries whose
// home is here or before and that had to move on, so that a lookup knows where
// to stop and a removal leaves no tombstone.
type bucket struct {
	meta [2]uint64
	idx  [bucketSlots]uint32
}

const (
	_ = uint(64 - unsafe.Sizeof(bucket{}))
	_ = uint(unsafe.Sizeof(bucket{}) - 64)
)

const (
	laneOnes = 0x0101_0101_0101_0101
	laneTops = laneOnes << 7
	overOne  = 1 << 32
)

// zeroLanes has the top bit of the lowest byte of x that is zero, and of no byte below it;
// above it a byte of 1 may be taken for a zero.
func zeroLanes(x uint64) uint64 { return (x - laneOnes) &^ x & laneTops }

// matches returns the slots whose tag is tag, as a set for slotOf, and perhaps
// others behind the first, none of them empty: whoever takes more than the first has to look. To find
// the first without a branch on which word it is in, byte k of word w is bit 8k+w.
func (b *bucket) matches(tag uint8) uint64 {
	t := uint64(tag) * laneOnes
	return zeroLanes(b.meta[0]^t)>>7 | uint64(uint32(zeroLanes(b.meta[1]^t)))>>6
}

// slotOf returns the first slot of a set from matches that is not empty. Clear
// the lowest bit for the next.
func slotOf(set uint64) int {
	p := bits.TrailingZeros64(set)
	return p&1<<3 | p>>3
}

// passed reports whether an entry moved on from here.
func (b *bucket) passed() bool { return b.meta[1] >= overOne }

// table maps the keyed 64-bit hash of a tuple to a record index. The hash is
// secret, so a peer cannot choose collisions (FLD-009). It is sized once for all
// records there can be and never grows, so that no burst pays for moving it. The
// home bucket comes from the upper bits of the hash, by multiplication, for any number
// of buckets; the tag from the lower ones.
type table struct {
	buckets []bucket
}

// tableBuckets is the bucket count for n records.
func tableBuckets(n int) int { return n/recordsPerBucket + 1 }

func (t *table) home(hash uint64) uint64 {
	hi, _ := bits.Mul64(hash, uint64(len(t.buckets)))
	return hi
}

// after is the bucket that entries of bucket i move on to.
func (t *table) after(i uint64) uint64 {
	if i++; i == uint64(len(t.buckets)) {
		return 0
	}
	return i
}

// tagOf never is 0, an empty slot, nor 1, for which matches could take one.
func tagOf(hash uint64) uint8 { return max(uint8(hash), 2) }

// candidate returns the first entry in the chain of hash with its tag, most
// likely the one of the tuple, without looking at records; 0 if there is none.
func (t *table) candidate(hash uint64) uint32 {
	tag, i := tagOf(hash), t.home(hash)
	for range maxProbe {
		b := &t.buckets[i]
		if set := b.matches(tag); set != 0 {
			return b.idx[slotOf(set)]
		}
		if !b.passed() {
			return 0
		}
		i = t.after(i)
	}
	return 0
}

// insert enters record idx. It reports false, having done nothing, when the chain would be too long.
func (t *table) insert(hash uint64, idx uint32) bool {
	tag, home := tagOf(hash), t.home(hash)
	i := home
	for range maxProbe {
		b := &t.buckets[i]
		if free := b.matches(0); free != 0 {
			k := slotOf(free)
			b.meta[k>>3] |= uint64(tag) << (k & 7 << 3)
			b.idx[k] = idx
			for ; home != i; home = t.after(home) {
				t.buckets[home].meta[1] += overOne
			}
			return true
		}
		i = t.after(i)
	}
	return false
}

// remove deletes the entry of record idx; the entry must exist.
func (t *table) remove(hash uint64, idx uint32) {
	tag, i := tagOf(hash), t.home(hash)
	for {
		b := &t.buckets[i]
		for set := b.matches(tag); set != 0; set &= set - 1 {
			if k := slotOf(set); b.idx[k] == idx {
				b.meta[k>>3] &^= 0xff << (k & 7 << 3)
				return
			}
		}
		// It moved on from here, and so is one of those counted here.
		b.meta[1] -= overOne
		i = t.after(i)
	}
}
