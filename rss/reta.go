package rss

import "fmt"

// MaxRETA is the largest redirection table handled here, twice that of the
// largest NIC known to us.
const MaxRETA = 4096

// RETA is a redirection table: queue = RETA[hash & (len-1)] (RSS-003). Its
// length is a power of two that the device dictates (128, 512, ...).
type RETA []uint16

// NewRETA returns a table of size entries that deals queues out round robin,
// as drivers do by default.
func NewRETA(size, queues int) (RETA, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if queues < 1 || queues > size {
		return nil, fmt.Errorf("rss: %d queues over a RETA of %d entries: want 1 to %d queues", queues, size, size)
	}
	r := make(RETA, size)
	for i := range r {
		r[i] = uint16(i % queues)
	}
	return r, nil
}

func checkSize(size int) error {
	if size < 1 || size > MaxRETA || size&(size-1) != 0 {
		return fmt.Errorf("rss: RETA of %d entries: want a power of two from 1 to %d", size, MaxRETA)
	}
	return nil
}

// Validate checks a table read from a device or a user: a power of two in
// length, at most MaxRETA, and queue numbers below queues.
func (r RETA) Validate(queues int) error {
	if err := checkSize(len(r)); err != nil {
		return err
	}
	for i, q := range r {
		if int(q) >= queues {
			return fmt.Errorf("rss: RETA entry %d is queue %d, but there are %d queues", i, q, queues)
		}
	}
	return nil
}

// Queue returns the queue of a frame with this hash. An empty table is a
// device with one queue.
func (r RETA) Queue(hash uint32) uint16 {
	if len(r) == 0 {
		return 0
	}
	return r[int(hash)&(len(r)-1)]
}

// queues returns one more than the highest queue named.
func (r RETA) queues() int {
	n := 0
	for _, q := range r {
		n = max(n, int(q)+1)
	}
	return n
}

// period returns the shortest prefix, a power of two in length, that r
// repeats: only that many low bits of the hash matter.
func (r RETA) period() RETA {
	for len(r) > 1 {
		half := len(r) / 2
		for i := range half {
			if r[i] != r[half+i] {
				return r
			}
		}
		r = r[:half]
	}
	return r
}
