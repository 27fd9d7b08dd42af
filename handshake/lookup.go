package handshake

import "github.com/fastsyn/fastsyn/dataplane/wire"

// shallowFlows is how many flows, with their part of the table, surely lie in a cache.
const shallowFlows = 1 << 13

// madeWords is the size of a filter of the flows that a burst makes.
const madeWords = 16

// find looks up the whole burst, whose sums are ready, before anything of it is
// decided, and leaves in cand the record of each segment, 0 for none.
func (e *Engine) find(segs []*wire.Segment) {
	e.made, e.reused = [madeWords]uint64{}, false
	if e.flows > shallowFlows {
		e.findDeep(segs)
		return
	}
	sum, cand := e.sum[:len(segs)], e.cand[:len(segs)]
	for i := range sum {
		cand[i] = e.lookup(sum[i].Hash, &segs[i].Tuple)
	}
}

// findDeep is find for a table of millions of flows, which answers each from memory.
// It goes in steps of which each does all loads of one kind, so that what is asked
// for at once arrives at once, and has all that decide reads or writes of a
// record in the cache.
func (e *Engine) findDeep(segs []*wire.Segment) {
	sum, cand := e.sum[:len(segs)], e.cand[:len(segs)]
	sink, v6 := uint64(0), uint64(0)
	for i := range sum {
		sink += e.tab.buckets[e.tab.home(sum[i].Hash)].meta[0]
	}
	for i := range sum {
		// The first entry with the right tag is nearly always the one.
		b := &e.tab.buckets[e.tab.home(sum[i].Hash)]
		idx := uint32(0)
		if set := b.matches(tagOf(sum[i].Hash)); set != 0 {
			idx = b.idx[slotOf(set)]
		} else if b.passed() {
			idx = e.tab.candidate(sum[i].Hash)
		}
		cand[i] = idx
		v6 |= e.tup[i].RemoteHi
	}
	// Nothing but loads: a CPU looks ahead a number of instructions, not of misses.
	for _, idx := range cand {
		sink += uint64(e.recs[idx].remote4)
	}
	if v6 != 0 {
		for i, idx := range cand {
			if e.tup[i].RemoteHi != 0 {
				sink += e.addr6[idx].remote.Lo
			}
		}
	}
	for i, idx := range cand {
		// Stopping a timer writes to its neighbours in the FIFO. Of a flow without
		// one both are record 0.
		r := &e.recs[idx]
		sink += uint64(e.recs[r.prev].next) + uint64(e.recs[r.next].prev)
		if idx != 0 && !e.is(idx, &segs[i].Tuple) {
			cand[i] = e.lookup(sum[i].Hash, &segs[i].Tuple)
		}
	}
	e.sink += sink
}

// lookup returns the record of t, whose hash is given, 0 for none.
func (e *Engine) lookup(hash uint64, t *wire.Tuple) uint32 {
	tag, i := tagOf(hash), e.tab.home(hash)
	for range maxProbe {
		b := &e.tab.buckets[i]
		for set := b.matches(tag); set != 0; set &= set - 1 {
			if idx := b.idx[slotOf(set)]; e.is(idx, t) {
				return idx
			}
		}
		if !b.passed() {
			return 0
		}
		i = e.tab.after(i)
	}
	return 0
}

// note enters the hash of a flow into the filter of those made since find.
func (e *Engine) note(hash uint64) { e.made[hash>>6%madeWords] |= 1 << (hash & 63) }

// current returns the record that segment i of the burst belongs to by now, 0
// for none: segments before it may have made it, removed it or taken its place.
func (e *Engine) current(i int, t *wire.Tuple) uint32 {
	idx, hash := e.cand[i], e.sum[i].Hash
	if idx == 0 {
		if e.made[hash>>6%madeWords]&(1<<(hash&63)) == 0 {
			return 0
		}
	} else if e.recs[idx].state > Closed && !e.reused {
		return idx
	}
	return e.lookup(hash, t)
}
