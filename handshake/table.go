package handshake

import (
	"math/bits"
	"unsafe"
)

const bucketSlots = 7

// bucket is one cache line of the hash table: tags, record indices (0 is an
// empty slot) and how many entries whose home is here or before had to move on.
type bucket struct {
	tag  [bucketSlots]uint32
	idx  [bucketSlots]uint32
	over uint32
	_    uint32
}

const (
	_ = uint(64 - unsafe.Sizeof(bucket{}))
	_ = uint(unsafe.Sizeof(bucket{}) - 64)
)

// table maps the keyed 64-bit hash of a tuple to a record index. The hash is
// secret, so a peer cannot choose collisions (FLD-009). It never grows: with as
// many slots as twice the records, chains beyond one bucket are rare.
type table struct {
	buckets []bucket
	mask    uint64
}

// tableBuckets is the bucket count for n records.
func tableBuckets(n int) int {
	want := uint(n)*2/bucketSlots + 1
	return 1 << bits.Len(want-1)
}

func (t *table) init(b []bucket) {
	t.buckets = b
	t.mask = uint64(len(b) - 1)
}

// touch loads the home bucket of hash, so that the misses of a burst overlap.
func (t *table) touch(hash uint64) uint32 { return t.buckets[hash&t.mask].over }

func (t *table) insert(hash uint64, idx uint32) {
	tag := uint32(hash >> 32)
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for k := range b.idx {
			if b.idx[k] == 0 {
				b.idx[k], b.tag[k] = idx, tag
				return
			}
		}
		b.over++
	}
}

// remove deletes the entry of record idx; the entry must exist.
func (t *table) remove(hash uint64, idx uint32) {
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		b := &t.buckets[i]
		for k := range b.idx {
			if b.idx[k] == idx {
				b.idx[k] = 0
				return
			}
		}
		// It moved on from here, and so is one of those counted here.
		b.over--
	}
}
