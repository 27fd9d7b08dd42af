package handshake

import "github.com/fastsyn/fastsyn/dataplane/wire"

// find looks up the whole burst, whose sums are ready, before anything of it is
// decided. It goes in steps of which each does all loads of one kind: a table of
// millions of flows answers each from memory, and what is asked for at
// once arrives at once. It leaves in cand the record of each segment, 0 for none,
// with all that decide reads or writes of it in the cache.
func (e *Engine) find(segs []*wire.Segment) {
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
	e.found, e.reused = e.tab.inserts, false
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

// current returns the record that segment i of the burst belongs to by now, 0
// for none: segments before it may have made it, removed it or taken its place.
func (e *Engine) current(i int, t *wire.Tuple) uint32 {
	idx := e.cand[i]
	if idx == 0 {
		if e.found == e.tab.inserts {
			return 0
		}
	} else if e.recs[idx].state > Closed && !e.reused {
		return idx
	}
	return e.lookup(e.sum[i].Hash, t)
}
