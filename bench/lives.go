package bench

import "github.com/fastsyn/fastsyn/handshake"

// lives keeps when flows are to end: a wheel of lists of flow indices, one list for each tick
// of time and, again, for each lap later. Adding and removing cost O(1).
type lives struct {
	tick int64
	slot []uint32 // first of each list; 0: none
	life []life   // by flow index
	next int64    // number of the tick that is not walked yet
	n    int
	// Where a walk stopped that was too long for once.
	rest uint32
}

type life struct {
	id         handshake.FlowID
	next, prev uint32 // 0: none; prev 0: first of its list
	since, due int64
	is         lifeStage
}

type lifeStage uint8

const (
	lifeNone lifeStage = iota
	lifeOn
	lifeClosing
)

const livesSlots = 1 << 13

// newLives is for flows with indices up to flows that live for about mean ns.
func newLives(flows int, mean int64) lives {
	return lives{
		tick: min(max(mean/4096, 10e3), 1e6),
		slot: make([]uint32, livesSlots), life: make([]life, flows+1),
	}
}

// head is the list of a flow that is due then: of the first tick that is not before.
func (l *lives) head(due int64) *uint32 { return &l.slot[(due+l.tick-1)/l.tick%livesSlots] }

// add has flow id, of index i, end at due.
func (l *lives) add(i uint32, id handshake.FlowID, now, due int64) {
	x := &l.life[i]
	first := l.next // that will be walked from its beginning
	if l.rest != 0 {
		first++
	}
	*x = life{id: id, since: now, due: max(due, first*l.tick), is: lifeOn}
	head := l.head(x.due)
	if x.next = *head; x.next != 0 {
		l.life[x.next].prev = i
	}
	*head = i
	l.n++
}

// remove takes a flow out that lives.
func (l *lives) remove(i uint32) {
	x := &l.life[i]
	switch {
	case x.prev != 0:
		l.life[x.prev].next = x.next
	default:
		*l.head(x.due) = x.next
	}
	if x.next != 0 {
		l.life[x.next].prev = x.prev
	}
	if l.rest == i {
		l.rest = x.next
	}
	x.next, x.prev, x.is = 0, 0, lifeNone
	l.n--
}

// ended walks the ticks that are over by now, and calls end for each flow that is due, which has to
// remove it; at most n of them. It reports whether there may be more.
func (l *lives) ended(now int64, n int, end func(i uint32)) (more bool) {
	if l.n == 0 {
		l.next = max(l.next, now/l.tick+1)
	}
	for ; l.next*l.tick <= now; l.next++ {
		if l.rest == 0 {
			l.rest = l.slot[l.next%livesSlots]
		}
		for i := l.rest; i != 0; i = l.rest {
			if l.life[i].due > now {
				l.rest = l.life[i].next // of another lap
				continue
			}
			if n == 0 {
				return true
			}
			n--
			end(i)
		}
	}
	return false
}
