package impair

import "sync/atomic"

// Counts are what impair did on one queue.
type Counts struct{ Tx, Rx DirCounts }

// DirCounts are what happened to the frames of one queue in one direction. They close:
//
//	Seen + Duplicated = Passed + Refused + Lost + StoreFull + Unsent + Held
//
// A direction that is not impaired counts nothing.
type DirCounts struct {
	Seen       uint64 // frames to decide about
	Passed     uint64 // handed on, at once or when due, with duplicates
	Refused    uint64 // handed on at once, but the device had no room: TxFull of Stats
	Lost       uint64 // dropped by loss
	Duplicated uint64 // copies wanted
	Reordered  uint64 // held to be overtaken, or let overtake
	Delayed    uint64 // held for the delay
	Corrupted  uint64 // one bit flipped
	StoreFull  uint64 // dropped, or not duplicated, for lack of room in the store
	Unsent     uint64 // held, then refused by the device when due, or discarded by Close
	Held       uint64 // in the store now
}

// Add adds o to c.
func (c *DirCounts) Add(o DirCounts) {
	a, b := c.fields(), o.fields()
	for i := range a {
		*a[i] += *b[i]
	}
}

const numCounts = 11

func (c *DirCounts) fields() [numCounts]*uint64 {
	return [numCounts]*uint64{
		&c.Seen, &c.Passed, &c.Refused, &c.Lost, &c.Duplicated, &c.Reordered,
		&c.Delayed, &c.Corrupted, &c.StoreFull, &c.Unsent, &c.Held,
	}
}

// published is DirCounts for other goroutines to read; one goroutine stores.
type published [numCounts]atomic.Uint64

func (p *published) store(c *DirCounts) {
	for i, f := range c.fields() {
		if p[i].Load() != *f {
			p[i].Store(*f)
		}
	}
}

func (p *published) load() (c DirCounts) {
	for i, f := range c.fields() {
		*f = p[i].Load()
	}
	return c
}
