package loop

import (
	"bytes"
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane"
)

// poisonByte fills a frame that was settled.
const poisonByte = 0xdb

var poisonSlot = bytes.Repeat([]byte{poisonByte}, slotSize)

// frameState is who holds a frame, tracked only while poisoning.
type frameState uint8

const (
	atHome frameState = iota // in a free list, or on its way there
	onWire
	withCaller
)

// lend notes that frames go to the caller.
func (q *queue) lend(handles []uint64) {
	for _, h := range handles {
		q.w.state[h] = withCaller
	}
}

// inspect checks that the caller holds what it settles.
func (q *queue) inspect(b *dataplane.Batch, n int) {
	for i := range n {
		h := b.Handle[i]
		if h >= uint64(len(q.w.state)) || q.w.state[h] != withCaller {
			panic(fmt.Sprintf("loop: %q: frame %d was settled twice, or never lent", q.w.name, h))
		}
		if b.Verdict[i] == dataplane.Reply {
			q.w.state[h] = onWire
		}
	}
}

// scrub overwrites a frame that goes home.
func (q *queue) scrub(idx uint32) {
	if q.w.state[idx] == atHome {
		panic(fmt.Sprintf("loop: %q: frame %d was settled twice in one batch", q.w.name, idx))
	}
	q.w.state[idx] = atHome
	copy(q.w.frame(idx), poisonSlot)
}
