//go:build dpdk && cgo && linux

package dpdk

/*
#include "burst.h"
*/
import "C"

import (
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/steer"
)

// steerer moves frames to the queue whose worker owns their flow: where RSS
// cannot, or does not, put them.
type steerer struct {
	table  *steer.Table
	lanes  []*lane
	device bool // the device promises to do it: what arrives elsewhere is counted as wrong
}

// laneSlots is how many frames wait between two queues: a few bursts.
const laneSlots = 1024

// lane is the part of a steerer that belongs to one queue.
type lane struct {
	s     *steerer
	num   uint16
	in    []*ring // from each queue; nil from itself
	turn  int
	burst steer.Burst
	pub   laneCounters
}

// laneCounters are of the frames of one queue.
type laneCounters struct {
	checked atomic.Uint64 // TCP segments whose queue was compared with the one they belong to
	wrong   atomic.Uint64 // of these, how many came to another, although the device has RSS
	steered atomic.Uint64 // frames handed to another queue
	full    atomic.Uint64 // frames lost because that queue's worker does not keep up
	differs atomic.Uint64 // segments whose hash is not the one that the device says
}

func newSteerer(table *steer.Table, queues int, device bool) *steerer {
	s := &steerer{table: table, device: device}
	for i := range queues {
		l := &lane{s: s, num: uint16(i)}
		for j := range queues {
			var r *ring
			if j != i {
				r = newRing(laneSlots)
			}
			l.in = append(l.in, r)
		}
		s.lanes = append(s.lanes, l)
	}
	return s
}

// collect takes frames that other queues have received for this one.
func (l *lane) collect(to []uint64) (n int) {
	for range l.in {
		if l.turn++; l.turn == len(l.in) {
			l.turn = 0
		}
		if r := l.in[l.turn]; r != nil {
			n += r.pop(to[n:])
		}
	}
	return n
}

// deal hands the frames of b from first on that belong to other queues to
// these, and closes the gaps. It returns the bytes that left.
func (l *lane) deal(b *dataplane.Batch, first int) (left uint64) {
	n := b.N
	ok := l.s.table.Burst(&l.burst, b.Data[first:n], 0)
	k, wrong, steered, full, differs, checked := first, uint64(0), uint64(0), uint64(0), uint64(0), uint64(0)
	for i := first; i < n; i++ {
		j := i - first
		if ok>>j&1 != 0 {
			m := &b.Meta[i]
			if m.Flags&dataplane.MetaHash != 0 && m.Hash != l.burst.Hash[j] && isTCP(b.Data[i]) {
				differs++
			}
			checked++
			if to := l.burst.Queue[j]; to != l.num {
				left += uint64(len(b.Data[i]))
				if isTCP(b.Data[i]) {
					wrong++ // errors about a flow cannot be told by a device
				}
				if l.s.lanes[to].in[l.num].push(b.Handle[i]) {
					steered++
				} else {
					full++
					C.fs_free(C.uint64_t(b.Handle[i]))
				}
				continue
			}
		}
		if k != i {
			b.Data[k], b.Meta[k], b.Handle[k] = b.Data[i], b.Meta[i], b.Handle[i]
		}
		k++
	}
	b.N = k
	add := func(a *atomic.Uint64, v uint64) {
		if v != 0 {
			a.Store(a.Load() + v)
		}
	}
	add(&l.pub.checked, checked)
	if l.s.device {
		add(&l.pub.wrong, wrong)
	}
	add(&l.pub.steered, steered)
	add(&l.pub.full, full)
	add(&l.pub.differs, differs)
	if steered != 0 {
		for _, o := range l.s.lanes {
			if r := o.in[l.num]; r != nil {
				r.publish()
			}
		}
	}
	return left
}

// drain frees what nobody collects any more.
func (l *lane) drain() {
	var h [64]uint64
	for n := l.collect(h[:]); n > 0; n = l.collect(h[:]) {
		for _, m := range h[:n] {
			C.fs_free(C.uint64_t(m))
		}
	}
}

// isTCP reports whether a frame that belongs somewhere carries TCP itself, and
// not an error about it.
func isTCP(d []byte) bool {
	at := 12
	if d[12] == 0x81 && d[13] == 0 {
		at = 16
	}
	if d[at] == 0x08 {
		return d[at+2+9] == 6
	}
	return d[at+2+6] == 6
}

// ring is a single-producer single-consumer queue of frames.
type ring struct {
	slot []uint64
	_    [128]byte
	tail atomic.Uint64 // published by the producer
	next uint64        // producer's own, ahead of tail
	seen uint64        // producer's copy of head
	_    [128]byte
	head atomic.Uint64 // published by the consumer
	_    [128]byte
}

func newRing(size int) *ring { return &ring{slot: make([]uint64, size)} }

// push adds h for a later publish; false when the ring is full. Producer only.
func (r *ring) push(h uint64) bool {
	size := uint64(len(r.slot))
	if r.next-r.seen == size {
		if r.seen = r.head.Load(); r.next-r.seen == size {
			return false
		}
	}
	r.slot[r.next&(size-1)] = h
	r.next++
	return true
}

// publish shows the consumer all that was pushed. Producer only.
func (r *ring) publish() {
	if r.tail.Load() != r.next {
		r.tail.Store(r.next)
	}
}

// pop moves up to len(to) frames to to. Consumer only.
func (r *ring) pop(to []uint64) int {
	head := r.head.Load()
	n := int(min(r.tail.Load()-head, uint64(len(to))))
	for i := range n {
		to[i] = r.slot[(head+uint64(i))&uint64(len(r.slot)-1)]
	}
	if n > 0 {
		r.head.Store(head + uint64(n))
	}
	return n
}
