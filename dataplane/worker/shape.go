package worker

import (
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// putShaped writes segment s with text to b in the shape of Config.Shape.
func (w *Worker) putShaped(b []byte, s *wire.Segment, text []byte, meta *dataplane.Meta) (n int) {
	offload := w.caps.TxCsum
	switch {
	case s.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN:
		n = w.shape.PutSYN(b, s, text, offload)
	case offload:
		n = wire.PutTCPOffload(b, s, text)
	default:
		n = wire.PutTCP(b, s, text)
	}
	if offload {
		meta.Flags |= dataplane.MetaTxCsum
	}
	if n > 0 {
		w.mark(b)
	}
	return n
}

// mark gives the IP packet at the start of b the header fields of Config.Shape.
func (w *Worker) mark(b []byte) {
	if w.ids++; w.ids == 0 { // 0 is that of packets without
		w.ids = 1
	}
	w.shape.Mark(b, w.ids, w.caps.TxCsum)
}
