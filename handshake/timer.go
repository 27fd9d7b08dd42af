package handshake

import "time"

// A timer class is a fixed delay, and a class is a FIFO of records linked by
// index: equal delays expire in the order they were armed, so arming, cancelling
// and expiring cost O(1) without a heap or a wheel (dperf's idea).
const (
	// Classes 0..backoffClasses-1 are InitialRTO << class, capped by MaxRTO.
	backoffClasses = 24
	classTimeWait  = backoffClasses
	classFinWait2  = backoffClasses + 1
	// Half-opens whose peer has not answered have the same delays in FIFOs of their
	// own, whose heads are therefore the oldest (Engine.evictOldest).
	classSynAck = backoffClasses + 2
	numClasses  = classSynAck + backoffClasses
)

type fifo struct{ head, tail uint32 }

type timers struct {
	fifo  [numClasses]fifo
	delay [numClasses]uint32 // ms
	armed int
}

func (t *timers) init(c *Config) {
	for k := range backoffClasses {
		d := c.MaxRTO
		if k < 20 { // beyond, the shift would only overflow
			d = min(c.InitialRTO<<k, c.MaxRTO)
		}
		t.delay[k], t.delay[classSynAck+k] = ms(d), ms(d)
	}
	t.delay[classTimeWait] = ms(max(c.TimeWait, 0))
	t.delay[classFinWait2] = ms(c.FinWait2)
}

func ms(d time.Duration) uint32 { return uint32((d + time.Millisecond - 1) / time.Millisecond) }

// backoff is the class of the delay after n retransmissions.
func backoff(n uint8) int { return min(int(n), backoffClasses-1) }

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
	for class := range t.fifo {
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
