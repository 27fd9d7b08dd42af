package flow

import "math/bits"

// Shape of a wheel: the levels have 256 slots, and a slot of a level is as long as the
// level below it, so four of them span the 32 bits of the clock.
const (
	wheelLevels = 4
	wheelBits   = 8
	wheelSlots  = 1 << wheelBits
	wheelMoves  = 64      // flows that one call of due moves to a lower level
	wheelIdle   = 1 << 30 // how far ahead it looks when nothing is armed
)

// headBit marks a link.prev that is the slot of which the flow is the first.
const headBit = 1 << 31

// link is the timer of a flow, one of a list of those in the same slot. The zero value is
// a timer that is not armed. 12 bytes.
type link struct {
	next uint32 // 0: the last
	prev uint32 // a flow, or headBit and a slot; 0: not armed
	at   uint32 // what it is armed for
}

// wheel has one timer for each flow of a core, in milliseconds of a clock that wraps:
// a hierarchical timing wheel (Varghese and Lauck 1987, scheme 7). Arming and
// disarming are O(1). A timer moves to a lower level when its slot there
// begins, at most three times in its life, and not at all if it is due within 255 ms
// or disarmed before: the usual fate of a retransmission timer.
//
// Time is skipped, not walked: bitmaps say which slot is the next that matters.
type wheel struct {
	now   uint32 // how far it has come; nothing that is armed lies before
	soon  uint32 // nothing happens before: no timer is due, none moves
	count uint32 // how many are armed
	links links
	busy  [wheelLevels]slotSet
	slots [wheelLevels * wheelSlots]uint32 // the first flow; 0: none
}

// newWheel makes a wheel for the flows that have these links, all zero. Flow 0 is none.
func newWheel(l links, now uint32) *wheel {
	return &wheel{links: l, now: now, soon: now + wheelIdle}
}

// arm starts the timer of flow i, or starts it anew, for the tick at, within 2^31 ms
// of the last call of due. What lies in the past is due at once.
func (w *wheel) arm(i, at uint32) {
	l := w.links.of(i)
	if l.prev != 0 {
		w.unlink(l)
	}
	l.at = at
	w.put(i, l)
}

// disarm stops the timer of flow i, if it is armed.
func (w *wheel) disarm(i uint32) {
	if l := w.links.of(i); l.prev != 0 {
		w.unlink(l)
	}
}

// armed returns what the timer of flow i is armed for.
func (w *wheel) armed(i uint32) (at uint32, ok bool) {
	l := w.links.of(i)
	return l.at, l.prev != 0
}

// due moves the wheel to now, which must not go back, and returns a flow whose timer is due and
// is disarmed thereby. It is called until it returns false: then nothing is due, or
// there was more to move than one call should, and next says 0.
//
// Flows come in order of their ticks, but for those armed when the wheel was past
// them already. A timer that is armed for the past between two calls is due in the second, so
// a caller who does that over and over has to count.
func (w *wheel) due(now uint32) (i uint32, ok bool) {
	if i := w.slots[w.now%wheelSlots]; i != 0 {
		w.unlink(w.links.of(i))
		return i, true
	}
	if int32(now-w.soon) >= 0 {
		return w.advance(now)
	}
	if int32(now-w.now) > 0 {
		w.now = now
	}
	return 0, false
}

// next returns how many milliseconds after now due is to be called, unless a
// timer is armed before: never after the first deadline, sometimes earlier. It
// returns false if no timer is armed.
func (w *wheel) next(now uint32) (in uint32, ok bool) {
	if w.slots[w.now%wheelSlots] != 0 {
		return 0, true
	}
	return uint32(max(int32(w.soon-now), 0)), w.count != 0
}

// advance is due when a slot begins.
func (w *wheel) advance(now uint32) (i uint32, ok bool) {
	for moves := 0; ; {
		level, slot, at := w.first()
		w.soon = at
		if int32(now-at) < 0 {
			if int32(now-w.now) > 0 {
				w.now = now
			}
			return 0, false
		}
		w.now = at
		if level < 0 {
			continue
		}
		i = w.slots[slot]
		if level == 0 {
			w.unlink(w.links.of(i))
			return i, true
		}
		for ; i != 0; moves++ {
			if moves == wheelMoves {
				return 0, false
			}
			l := w.links.of(i)
			w.unlink(l)
			w.put(i, l)
			i = w.slots[slot]
		}
	}
}

// first returns the slot with something in it that begins first, and when. If that is
// more than wheelIdle ahead, it returns a time before, and no level.
func (w *wheel) first() (level, slot int, at uint32) {
	level, at = -1, w.now+wheelIdle
	for v := range w.busy {
		shift := v * wheelBits
		here := w.now >> shift
		ahead, ok := w.busy[v].from(here % wheelSlots)
		if !ok {
			continue
		}
		begin := (here + ahead) << shift
		if ahead == 0 { // begun already
			begin = w.now
		}
		if begin-w.now < at-w.now {
			level, slot, at = v, v*wheelSlots+int((here+ahead)%wheelSlots), begin
		}
	}
	return level, slot, at
}

// put links flow i, whose link l is in no list, into the slot for l.at. On each
// level that is one of the 255 after the one that runs, so those of different turns
// do not mix.
func (w *wheel) put(i uint32, l *link) {
	at := l.at
	if int32(at-w.now) < 0 {
		at = w.now
	}
	v, begin := 0, at
	if at-w.now >= wheelSlots {
		for v = 1; ; v++ {
			shift := v * wheelBits
			// Both wrap with the clock: their distance has 32-shift bits.
			if ahead := at>>shift - w.now>>shift; ahead&(1<<(32-shift)-1) < wheelSlots {
				begin = at &^ (1<<shift - 1)
				break
			}
		}
	}
	n := at >> (v * wheelBits) % wheelSlots
	slot := uint32(v*wheelSlots) + n
	head := w.slots[slot]
	l.next, l.prev = head, headBit|slot
	if head != 0 {
		w.links.of(head).prev = i
	} else {
		w.busy[v].add(n)
	}
	w.slots[slot] = i
	w.count++
	if int32(begin-w.soon) < 0 {
		w.soon = begin
	}
}

// unlink takes the flow of l out of its list.
func (w *wheel) unlink(l *link) {
	if l.next != 0 {
		w.links.of(l.next).prev = l.prev
	}
	if l.prev&headBit == 0 {
		w.links.of(l.prev).next = l.next
	} else {
		slot := l.prev &^ headBit
		w.slots[slot] = l.next
		if l.next == 0 {
			w.busy[slot/wheelSlots].remove(slot % wheelSlots)
		}
	}
	l.prev = 0
	w.count--
}

// slotSet is a set of slots of one level.
type slotSet [wheelSlots / 64]uint64

func (s *slotSet) add(i uint32)    { s[i/64] |= 1 << (i % 64) }
func (s *slotSet) remove(i uint32) { s[i/64] &^= 1 << (i % 64) }

// from returns how far the first of the set is from slot i on, around the wheel.
func (s *slotSet) from(i uint32) (ahead uint32, ok bool) {
	if x := s[i/64] >> (i % 64); x != 0 {
		return uint32(bits.TrailingZeros64(x)), true
	}
	for q := uint32(1); q <= uint32(len(s)); q++ { // the last is the beginning of the first
		if x := s[(i/64+q)%uint32(len(s))]; x != 0 {
			return q*64 - i%64 + uint32(bits.TrailingZeros64(x)), true
		}
	}
	return 0, false
}
