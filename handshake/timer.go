package handshake

import "time"

// A timer class is a fixed delay, and a class is a FIFO of records linked by
// index: equal delays expire in the order they were armed, so arming, cancelling
// and expiring cost O(1) without a heap or a wheel (dperf's idea).
const (
	classTimeWait = iota
	classFinWait2
	classSynAck // of the first wait; the schedules share those from here on
	maxClasses  = 160
)

// waits gives the class of the wait after n retransmissions, 0 ≤ n ≤ 31. Beyond the
// schedule the last wait doubles, up to 120 s, as for a deferred accept (FLD-006).
type waits [maxRetries + 2]uint8

func (w *waits) class(n uint8) int { return int(w[n&31]) }

type fifo struct{ head, tail uint32 }

type timers struct {
	armed   int
	classes int // in use
	// Half-opens whose peer has not answered are in classSynAck..synAckEnd-1 alone,
	// whose heads are therefore the oldest (Engine.evictOldest).
	synAckEnd int
	fifo      [maxClasses]fifo
	delay     [maxClasses]uint32 // ms

	syn, synAck, data waits
	proved            waits // as synAck, when the peer has answered and is not let in yet, or is let in early
	slow              waits // as data, without an RTT sample (RTX-004)
}

func (t *timers) init(c *Config) {
	t.delay[classTimeWait] = ms(max(c.TimeWait, 0))
	t.delay[classFinWait2] = ms(c.FinWait2)
	t.classes = classSynAck
	t.synAck = t.schedule(classSynAck, c.Retry.SYNACK)
	own := t.classes
	t.synAckEnd = own
	t.proved = t.schedule(own, c.Retry.SYNACK)
	t.syn = t.schedule(own, c.Retry.SYN)
	t.data = t.schedule(own, Backoff(c.InitialRTO, c.MaxRTO, maxRetries))
	t.slow = t.schedule(own, Backoff(3*c.InitialRTO, max(3*c.InitialRTO, c.MaxRTO), maxRetries))
}

// schedule finds or makes classes, from number from on, for the waits of s.
func (t *timers) schedule(from int, s Schedule) (w waits) {
	const longestWait = 120_000
	var d uint32
	for n := range w {
		if n < len(s) {
			d = ms(s[n])
		} else {
			d = min(2*d, max(d, longestWait))
		}
		class := from
		for class < t.classes && t.delay[class] != d {
			class++
		}
		if class == t.classes {
			t.classes++
		}
		t.delay[class], w[n] = d, uint8(class)
	}
	return w
}

func ms(d time.Duration) uint32 { return uint32((d + time.Millisecond - 1) / time.Millisecond) }

// arm (re)starts the timer of record idx. One millisecond is added because
// nowMS is rounded down: a timer must not fire early.
func (t *timers) arm(recs []record, idx uint32, class int, nowMS uint32) {
	t.disarm(recs, idx)
	r := &recs[idx]
	f := &t.fifo[class]
	r.deadline = nowMS + t.delay[class] + 1
	r.timer = uint8(class + 1)
	r.prev, r.next = f.tail, 0
	if f.tail != 0 {
		recs[f.tail].next = idx
	} else {
		f.head = idx
	}
	f.tail = idx
	t.armed++
}

func (t *timers) disarm(recs []record, idx uint32) {
	r := &recs[idx]
	if r.timer == 0 {
		return
	}
	f := &t.fifo[r.timer-1]
	if r.prev != 0 {
		recs[r.prev].next = r.next
	} else {
		f.head = r.next
	}
	if r.next != 0 {
		recs[r.next].prev = r.prev
	} else {
		f.tail = r.prev
	}
	r.timer, r.prev, r.next = 0, 0, 0
	t.armed--
}

// armedAt is the time in ms at which the running timer of r was started.
func (t *timers) armedAt(r *record) uint32 {
	if r.timer == 0 {
		return r.deadline
	}
	return r.deadline - 1 - t.delay[r.timer-1]
}

// due returns the first record of class whose deadline has passed, or 0.
func (t *timers) due(recs []record, class int, nowMS uint32) uint32 {
	idx := t.fifo[class].head
	if idx == 0 || int32(nowMS-recs[idx].deadline) < 0 {
		return 0
	}
	return idx
}

// next returns the time in ms until the first timer is due, and false when none is armed.
func (t *timers) next(recs []record, nowMS uint32) (uint32, bool) {
	best, any := uint32(0), false
	for class := range t.classes {
		idx := t.fifo[class].head
		if idx == 0 {
			continue
		}
		left := int32(recs[idx].deadline - nowMS)
		if left < 0 {
			left = 0
		}
		if !any || uint32(left) < best {
			best, any = uint32(left), true
		}
	}
	return best, any
}
