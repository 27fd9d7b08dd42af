package loop

import (
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Census says where the frames of a wire are.
type Census struct {
	Total int // frames of the wire, both sides
	Home  int // in free lists, or in a ring that leads to one
	Wire  int // sent and not yet received
	Lent  int // with callers of either side: received or blank, and not settled, or kept
}

// Audit counts the frames of the wire that p belongs to, both sides together.
// The queues of both sides must be idle. The error says that frames are missing
// or counted twice, which would be a bug here or a frame settled twice; it also
// refuses a port that is not of this driver. Decorators with a method Unwrap are looked through.
func Audit(p dataplane.Port) (Census, error) {
	for {
		d, ok := p.(interface{ Unwrap() dataplane.Port })
		if !ok {
			break
		}
		p = d.Unwrap()
	}
	side, ok := p.(*port)
	if !ok {
		return Census{}, fmt.Errorf("loop: audit: the port is a %T, not one that loop opened", p)
	}
	w := side.w
	c := Census{Total: 2 * w.cfg.Queues * w.cfg.Frames}
	seen := make([]bool, c.Total)
	doubled := 0
	see := func(idx uint32) {
		if seen[idx] {
			doubled++
		}
		seen[idx] = true
	}
	for _, s := range w.side {
		for _, q := range s.queues {
			for _, idx := range q.free {
				see(idx)
			}
			c.Home += len(q.free)
			for _, r := range q.take {
				c.Home += r.each(func(e uint64) { see(uint32(e)) })
			}
			for _, r := range q.in {
				c.Wire += r.each(func(e uint64) { see(uint32(e >> lenBits & idxMask)) })
			}
			c.Lent += q.lent
		}
	}
	if doubled > 0 || c.Home+c.Wire+c.Lent != c.Total {
		return c, fmt.Errorf("loop: %q: %d frames, but %d home + %d on the wire + %d lent, %d seen twice: a frame was settled twice or lost",
			w.name, c.Total, c.Home, c.Wire, c.Lent, doubled)
	}
	return c, nil
}
