package trace

import "github.com/fastsyn/fastsyn/dataplane/wire"

// Tracker remembers the initial sequence numbers of the flows seen last, so
// that Format can print relative numbers. It belongs to one goroutine.
type Tracker struct {
	flows map[flowKey]flowBase
	ring  []flowKey // keys in order of arrival; the oldest is at next
	next  int
	limit int
}

// flowKey is a tuple with the smaller endpoint first: one for both directions.
type flowKey struct {
	a, b   wire.Addr
	ap, bp uint16
}

// flowBase holds what reads as 0 for the segments of endpoint a and of b.
type flowBase struct{ a, b wire.Seq }

// NewTracker returns a Tracker that remembers at most flows flows, at least
// one, and forgets the oldest first.
func NewTracker(flows int) *Tracker {
	return &Tracker{flows: make(map[flowKey]flowBase), limit: max(1, flows)}
}

// bases returns what to subtract from the sequence numbers of the sender and
// the receiver of a segment. As tcpdump does, it learns from the first segment
// with ACK, and from each SYN-ACK, which it leaves absolute; segments without ACK
// are always absolute. It learns nothing if learn is false.
func (t *Tracker) bases(tup wire.Tuple, flags wire.Flags, seq, ack wire.Seq, learn bool) (sender, receiver wire.Seq) {
	if t == nil || flags&wire.FlagACK == 0 {
		return 0, 0
	}
	k := flowKey{tup.Remote, tup.Local, tup.RemotePort, tup.LocalPort}
	rev := less(k.b, k.bp, k.a, k.ap)
	if rev {
		k = flowKey{k.b, k.a, k.bp, k.ap}
	}
	base, known := t.flows[k]
	if known && flags&wire.FlagSYN == 0 {
		if rev {
			return base.b, base.a
		}
		return base.a, base.b
	}
	if !learn {
		return 0, 0
	}
	if !known {
		t.add(k)
	}
	if rev {
		t.flows[k] = flowBase{a: ack - 1, b: seq}
	} else {
		t.flows[k] = flowBase{a: seq, b: ack - 1}
	}
	return 0, 0
}

func (t *Tracker) add(k flowKey) {
	if len(t.ring) < t.limit {
		t.ring = append(t.ring, k)
		return
	}
	delete(t.flows, t.ring[t.next])
	t.ring[t.next] = k
	t.next = (t.next + 1) % t.limit
}

func less(a wire.Addr, ap uint16, b wire.Addr, bp uint16) bool {
	switch {
	case a.Hi != b.Hi:
		return a.Hi < b.Hi
	case a.Lo != b.Lo:
		return a.Lo < b.Lo
	}
	return ap < bp
}
