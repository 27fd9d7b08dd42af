package impair

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// lane is one direction of one queue: decisions, held frames, counts.
type lane struct {
	c      *Config
	rng    *rand.PCG
	held   *store
	n      DirCounts
	pub    published
	passed uint64 // frames handed on at once

	lose, corrupt, dup, reorder uint64 // thresholds
}

// newLane returns nil when nothing can happen in this direction.
func newLane(c *Config, queue int, dir Dir, slotSize int) *lane {
	if !c.acts() || c.Dir != dir && c.Dir != DirBoth {
		return nil
	}
	l := &lane{
		c: c, rng: rand.NewPCG(c.Seed, uint64(queue)<<1|uint64(dir)),
		lose: threshold(c.Loss), corrupt: threshold(c.Corrupt), dup: threshold(c.Dup), reorder: threshold(c.Reorder),
	}
	slots := 0
	if c.holds() {
		slots = c.Store
	}
	l.held = newStore(slots, slotSize)
	return l
}

// fate is what is drawn for one frame.
type fate struct {
	lose, corrupt, dup, reorder bool
	delay                       time.Duration
	bit                         uint64
}

// draw decides about one frame. It always draws three values, so that the
// sequence does not depend on what was decided before.
func (l *lane) draw() (f fate) {
	a, b, c := l.rng.Uint64(), l.rng.Uint64(), l.rng.Uint64()
	f.lose = a>>32 < l.lose
	f.corrupt = a&math.MaxUint32 < l.corrupt
	f.dup = b>>32 < l.dup
	f.reorder = b&math.MaxUint32 < l.reorder
	f.delay = l.c.Delay + time.Duration((float64(c>>32)*0x1p-31-1)*float64(l.c.Jitter))
	f.bit = c & math.MaxUint32
	return f
}

// threshold is what 32 random bits stay below with probability p.
func threshold(p float64) uint64 { return uint64(math.Round(p * (1 << 32))) }

// decide applies the lane to frame d, in place, and reports whether it goes on
// now; otherwise it is lost, or held as a copy. Now is ns since the port was made.
func (l *lane) decide(d []byte, meta *dataplane.Meta, now int64) bool {
	l.n.Seen++
	f := l.draw()
	if f.lose {
		l.n.Lost++
		return false
	}
	if f.corrupt {
		l.n.Corrupted++
		corrupt(d, f.bit)
		meta.Flags &^= dataplane.MetaCsumGood
	}
	it := item{due: now, meta: *meta}
	hold := false
	switch {
	case l.c.Delay > 0 && !f.reorder:
		l.n.Delayed++
		it.due, hold = now+int64(f.delay), true
	case f.reorder:
		l.n.Reordered++
		if l.c.Delay == 0 {
			it.due, it.pass, hold = now+int64(ReorderHold), l.passed+1, true
		}
	}
	if hold && !l.held.put(d, it) {
		l.n.StoreFull++
	}
	if f.dup {
		l.n.Duplicated++
		if !l.held.put(d, it) {
			l.n.StoreFull++
		}
	}
	if !hold {
		l.passed++
	}
	return !hold
}

const etherLen = 14

// corrupt flips one bit after the Ethernet header.
func corrupt(d []byte, r uint64) {
	if len(d) <= etherLen {
		return
	}
	bit := r % uint64((len(d)-etherLen)*8)
	d[etherLen+bit/8] ^= 1 << (bit % 8)
}

// publish makes the counts visible to other goroutines.
func (l *lane) publish() {
	l.n.Held = uint64(l.held.len())
	l.pub.store(&l.n)
}
