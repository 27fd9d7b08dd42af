package worker

import (
	"math/bits"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// labels gives each IPv6 flow its flow label (RFC 6437 §3): a keyed hash of its
// tuple, not 0, so that all segments of a flow have the same one, also those of
// different workers and of the nodes of a fleet, and strangers cannot tell it
// beforehand. What it decides is which of several links a router takes: two
// multiplications are strong enough for that.
type labels struct{ a, b uint64 }

// newLabels derives the keys from what sequence numbers are made of, by messages
// that no tuple is: both addresses are multicast.
func newLabels(h *cookie.Hasher) labels {
	t := cookie.Tuple{RemoteHi: 0xff<<56 | 'f', LocalHi: 0xff<<56 | 'l'}
	a := h.SumOne(&t).Hash
	t.LocalLo = 1
	return labels{a: a, b: h.SumOne(&t).Hash}
}

func (l *labels) of(t *wire.Tuple) uint32 {
	h := fold(l.a^t.Remote.Hi, l.b^t.Remote.Lo)
	h = fold(h^t.Local.Hi, l.b^t.Local.Lo)
	h = fold(h^uint64(t.RemotePort)<<16^uint64(t.LocalPort), l.b)
	return max(1, uint32(h>>44))
}

// put writes the label of t into the IPv6 packet at the start of b. No checksum covers it.
func (l *labels) put(b []byte, t *wire.Tuple) { wire.IPv6(b).SetFlowLabel(l.of(t)) }

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
