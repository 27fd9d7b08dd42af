package handshake

import "fmt"

// places checks those of Fast Open: each is free or belongs to one record, and
// each listener counts its own and those that resets hold.
func (x *walker) places(e *Engine) string {
	f := &e.fast
	if len(f.slots) == 0 && f.sending == 0 {
		return ""
	}
	x.passed = append(x.passed[:0], make([]uint32, max(len(f.slots), len(f.queues)))...)
	free := 0
	for n := f.free; n != 0; n = f.slots[n].next {
		if x.passed[n]++; x.passed[n] > 1 {
			return fmt.Sprintf("fast open: place %d is free twice", n)
		}
		free++
	}
	pending, sending := 0, 0
	for idx := uint32(1); idx < e.fresh; idx++ {
		r := &e.recs[idx]
		switch {
		case x.place[idx] != inTable:
		case r.handedOver():
			if r.wnd == 0 || int(r.wnd) >= len(f.slots) || x.passed[r.wnd] != 0 {
				return fmt.Sprintf("fast open: place %d of record %d is not its own", r.wnd, idx)
			}
			x.passed[r.wnd]++
			pending++
		case r.state == SynSent && r.sndNxt != r.sndUna+1:
			sending++
		}
	}
	if pending != f.pending || free+pending != max(len(f.slots)-1, 0) || sending != f.sending {
		return fmt.Sprintf("fast open: %d places used (%d counted), %d free of %d, %d texts on SYNs (%d counted)",
			pending, f.pending, free, len(f.slots)-1, sending, f.sending)
	}
	clear(x.passed)
	for idx := uint32(1); idx < e.fresh; idx++ {
		if r := &e.recs[idx]; x.place[idx] == inTable && r.handedOver() {
			x.passed[f.slots[r.wnd].queue]++
		}
	}
	for n := range f.queues {
		if q := &f.queues[n]; q.pending != int(x.passed[n])+q.waiting || q.waiting > len(q.resets) {
			return fmt.Sprintf("fast open: queue %d has %d flows and %d resets, %d counted", n, x.passed[n], q.waiting, q.pending)
		}
	}
	return ""
}

// gates checks what the gates count, of listeners that have one.
func (x *walker) gates(e *Engine) string {
	l := &e.listeners
	for k := range l.all {
		g := &l.all[k]
		if !g.gate.on {
			continue
		}
		half, queued := 0, 0
		for idx := uint32(1); idx < e.fresh; idx++ {
			r := &e.recs[idx]
			if x.place[idx] != inTable || !r.gated() || r.app != g.app {
				continue
			}
			if t := e.tuple(idx); l.find(&t) != g {
				continue
			}
			if r.flags2&flagHalfOpen != 0 {
				half++
			} else {
				queued++
			}
		}
		if half != g.halfOpen || queued != g.queued {
			return fmt.Sprintf("gate of listener %d: %d half-open, %d counted; %d queued, %d counted", k, half, g.halfOpen, queued, g.queued)
		}
	}
	return ""
}
