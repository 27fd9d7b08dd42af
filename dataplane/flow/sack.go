package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// SACK stores the blocks of a SACK option into dst, of which it uses the first
// room: 4 as a rule, 3 beside timestamps. It returns how many there are, 0 to room.
//
// dup comes first if it is not empty: the duplicate that the segment had which this
// ACK answers, reported once (RFC 2883 §4). Then come the span that changed last
// and those before it (RFC 2018 §4), and then, where spans that the flow told of
// have merged, others from the left, which the peer needs first. A FIN that is held counts as a sequence
// number like any other.
func (r *Reassembler) SACK(h Held, dup wire.SACKBlock, dst *[recentSpans]wire.SACKBlock, room int) int {
	n := 0
	if dup.Left != dup.Right && room != 0 {
		dst[0] = dup
		n++
	}
	if h == 0 {
		return n
	}
	q := &r.holdings[h]
	named := 0
	for ; named < recentSpans && q.recent[named] != 0 && n < room; named++ {
		dst[n] = r.block(q.recent[named])
		n++
	}
	if int(q.spans) == named {
		return n
	}
	for i := q.first; i != 0 && n < room; i = r.spans[i].next {
		if !q.isRecent(i) {
			dst[n] = r.block(i)
			n++
		}
	}
	return n
}

func (r *Reassembler) block(i uint32) wire.SACKBlock {
	s := &r.spans[i]
	return wire.SACKBlock{Left: s.left, Right: s.right}
}

func (q *holding) isRecent(i uint32) bool {
	return q.recent[0] == i || q.recent[1] == i || q.recent[2] == i || q.recent[3] == i
}
