package handshake

import "fmt"

// buckets recomputes the tag and the home of every entry, and how many entries
// passed over each bucket.
func (x *walker) buckets(e *Engine) string {
	t := &e.tab
	entries := 0
	x.passed = append(x.passed[:0], make([]uint32, len(t.buckets))...)
	for i := range t.buckets {
		b := &t.buckets[i]
		for k, idx := range b.idx {
			tag := uint8(b.meta[k>>3] >> (k & 7 << 3))
			if tag == 0 {
				continue
			}
			entries++
			if idx == 0 || idx >= e.fresh || x.place[idx] != inTable {
				return fmt.Sprintf("table: record %d does not belong there", idx)
			}
			hash := e.hashOf(idx)
			if tag != tagOf(hash) {
				return fmt.Sprintf("table: record %d has the tag of another", idx)
			}
			for j := t.home(hash); j != uint64(i); j = t.after(j) {
				x.passed[j]++
			}
		}
	}
	for i := range t.buckets {
		if n := uint32(t.buckets[i].meta[1] >> 32); n != x.passed[i] {
			return fmt.Sprintf("table: bucket %d was passed by %d entries and counts %d", i, x.passed[i], n)
		}
	}
	if entries != e.flows {
		return fmt.Sprintf("table: %d entries of %d flows", entries, e.flows)
	}
	return ""
}
