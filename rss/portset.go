package rss

// PortSet holds the local ports for one (local, remote, remotePort), split by
// the queue that replies arrive on. A value without memory of its own: keep
// it, copy it, or make it again for the price of one hash. Make it with
// Picker.Start4 or Start6; the zero value is not usable.
type PortSet struct {
	p    *Picker
	c    *classes
	base uint32 // h(0), all 32 bits
}

// Hash returns the hash of the reply to port: what the NIC reports for it.
func (s PortSet) Hash(port uint16) uint32 {
	pos := input4 - 2
	if s.c == &s.p.v6 {
		pos = input6 - 2
	}
	return s.base ^ s.p.t.portHash(pos, port)
}

// Queue returns the queue on which replies to port arrive, for any port, in
// the range or not.
func (s PortSet) Queue(port uint16) uint16 { return s.p.reta.Queue(s.Hash(port)) }

// Count returns how many ports of the range belong to queue: the number of
// connections it can have open at once to this destination (TWT-010). 0 for a
// queue that the table does not name. The counts of all queues add up to the range.
func (s PortSet) Count(queue int) int {
	if uint(queue) >= uint(s.p.queues) {
		return 0
	}
	return int(s.c.count[int(s.base&s.p.mask)*s.p.queues+queue])
}

// At returns port number i of queue, 0 <= i < Count(queue), and each port
// of the queue for exactly one i. Outside of that it returns 0, which is never a port.
//
// An active opener needs no state per destination: a keyed offset per
// destination plus a counter, modulo Count, is RFC 6056 algorithm 3 or 4
// confined to one queue. Walk does the modulo.
//
// O(1): classes are dealt out in turn down to the length of the shortest. The
// few ports beyond that are searched along the RETA entries of the queue.
func (s PortSet) At(queue, i int) uint16 {
	if uint(i) >= uint(s.Count(queue)) {
		return 0
	}
	return s.at(queue, uint32(i))
}

// at is At for a queue and a number known to be good.
func (s PortSet) at(queue int, k uint32) uint16 {
	o, c := &s.p.owned[queue], s.c
	row := uint32(uint64(k) * o.recip >> 32)
	if row >= c.least {
		return s.ragged(o, k)
	}
	return c.port[c.off[s.base&s.p.mask^uint32(s.p.entry[o.first+k-row*o.n])]+row]
}

// ragged is at for the numbers beyond the length of the shortest class.
func (s PortSet) ragged(o *owned, k uint32) uint16 {
	p, c := s.p, s.c
	k -= o.n * c.least
	for _, e := range p.entry[o.first : o.first+o.n] {
		class := s.base&p.mask ^ uint32(e)
		from, to := c.off[class]+c.least, c.off[class+1]
		if k < to-from {
			return c.port[from+k]
		}
		k -= to - from
	}
	return 0
}

// Pick returns port number start modulo Count of queue, and false when the range
// has none for it. The source port of a new connection in one call:
//
//	port, ok := p.Start4(remote, local, remotePort).Pick(queue, offset+counter)
//
// A caller that has to skip ports in use takes a Walk.
func (s PortSet) Pick(queue int, start uint32) (port uint16, ok bool) {
	n := uint32(s.Count(queue))
	if n == 0 {
		return 0, false
	}
	return s.at(queue, start%n), true
}

// Walk returns one lap over the ports of queue, beginning at number start
// modulo Count: pass a keyed offset, or offset plus counter, as At says.
func (s PortSet) Walk(queue int, start uint32) Walk {
	n := uint32(s.Count(queue))
	return Walk{p: s.p, c: s.c, base: s.base, queue: queue, next: start % max(n, 1), count: n, left: n}
}

// Walk visits each port of a queue exactly once. It belongs to one goroutine.
type Walk struct {
	// The fields of a PortSet, written once: cheaper than building and copying one.
	p                 *Picker
	c                 *classes
	base              uint32
	queue             int
	next, count, left uint32
}

// Next returns the next port, and false when the lap is over: the destination
// is exhausted for this queue if none of the ports was free.
func (w *Walk) Next() (port uint16, ok bool) {
	if w.left == 0 {
		return 0, false
	}
	port = PortSet{w.p, w.c, w.base}.at(w.queue, w.next)
	w.left--
	if w.next++; w.next == w.count {
		w.next = 0
	}
	return port, true
}

// Left returns how many ports Next has yet to visit.
func (w *Walk) Left() int { return int(w.left) }
