package handshake

import (
	"errors"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Exported is what an engine keeps of a stream: a value, for the engine of another
// worker (HND-007).
type Exported struct {
	Tuple wire.Tuple
	rec   record
}

// ExportStream takes a stream out of the engine, without an event and without a segment. It returns
// false if id is no stream, or one whose peer has not acknowledged our SYN-ACK (Fast Open).
func (e *Engine) ExportStream(id FlowID) (x Exported, ok bool) {
	r := e.get(id)
	if r == nil || r.flags2&flagStream == 0 || r.handedOver() {
		return x, false
	}
	x = Exported{e.tuple(id.idx), *r}
	e.established--
	e.ctr.Exported++
	e.removeHashed(id.idx, e.hashOf(id.idx))
	return x, true
}

// errNotStream refuses a flow whose application takes no streams here.
var errNotStream = errors.New("handshake: the flow to import is of an application without streams: call Streams first")

// ImportStream enters a stream that another engine exported, whose secret, clock and
// configuration must be the same: then its timestamps go on, and what its peer knows of it stays true. path is
// that of its segments here, 0 for the route of the peer's address. Other errors are ErrTupleInUse and
// ErrTableFull.
func (e *Engine) ImportStream(x *Exported, path uint16) (FlowID, error) {
	if !e.isStream(&x.rec) {
		return FlowID{}, errNotStream
	}
	m := &e.many
	gather(&m.tup[0], &x.Tuple)
	m.sum[0] = e.hasher.SumOne(&m.tup[0])
	hash := m.sum[0].Hash
	if e.lookup(hash, &x.Tuple) != 0 {
		return FlowID{}, ErrTupleInUse
	}
	idx := e.alloc(&x.Tuple, hash)
	if idx == 0 {
		return FlowID{}, ErrTableFull
	}
	r := &e.recs[idx]
	gen := r.gen
	*r = x.rec
	r.gen, r.path, r.timer, r.next, r.prev = gen, path, 0, 0, 0
	e.established++
	e.ctr.Imported++
	return e.id(idx), nil
}
