package fastsyn

import (
	"fmt"
	"hash/maphash"
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// The source ports of dialled connections, the ephemeral range of Linux.
const firstEphemeral, lastEphemeral = 32768, 60999

// sourcePorts chooses where connections come from: ports whose replies the device brings to
// the queue of the worker that dials, in an order that begins elsewhere for each
// destination and that strangers cannot tell (RFC 6056 §3.3.4, the double hash).
type sourcePorts struct {
	picker *rss.Picker
	offset maphash.Seed
	index  maphash.Seed
	count  [256]atomic.Uint32
}

// destination is what a peer can see of a tuple that has no source port yet.
type destination struct {
	remote, local wire.Addr
	port          uint16
}

func newSourcePorts(info dataplane.Info) (*sourcePorts, error) {
	key, reta := rss.SymmetricKey, rss.RETA{0}
	if info.Queues > 1 {
		if len(info.RETA) == 0 || len(info.RSSKey) == 0 {
			return nil, fmt.Errorf("fastsyn: port %s has %d queues, and its driver does not say how it spreads frames over them; open it with one queue to dial", info.Name, info.Queues)
		}
		var err error
		if key, err = rss.NewKey(info.RSSKey); err != nil {
			return nil, fmt.Errorf("fastsyn: port %s: %w", info.Name, err)
		}
		reta = info.RETA
	}
	picker, err := rss.NewPicker(rss.New(key), reta, firstEphemeral, lastEphemeral)
	if err != nil {
		return nil, fmt.Errorf("fastsyn: port %s: %w", info.Name, err)
	}
	return &sourcePorts{picker: picker, offset: maphash.MakeSeed(), index: maphash.MakeSeed()}, nil
}

// walk returns the ports for d whose replies come to queue, in the order in which to try them.
func (s *sourcePorts) walk(d destination, queue int) rss.Walk {
	next := s.count[uint8(maphash.Comparable(s.index, d))].Add(1)
	start := uint32(maphash.Comparable(s.offset, d)) + next
	var set rss.PortSet
	if d.remote.Is4() {
		set = s.picker.Start4(d.remote.V4(), d.local.V4(), d.port)
	} else {
		set = s.picker.Start6(d.remote.Hi, d.remote.Lo, d.local.Hi, d.local.Lo, d.port)
	}
	return set.Walk(queue, start)
}
