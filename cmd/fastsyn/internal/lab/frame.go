package lab

import (
	"slices"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// frame is one that went past a capture point.
type frame struct {
	at   time.Time
	out  bool // sent by the host of the capture point
	lost bool // it was not delivered
	data []byte
	pkt  wire.Packet // decoded; Kind is KindNone for what is malformed
}

// newFrame copies and decodes a frame.
func newFrame(at time.Time, out bool, d []byte) frame {
	f := frame{at: at, out: out, data: slices.Clone(d)}
	if wire.Parse(f.data, false, &f.pkt) != wire.OK {
		f.pkt.Kind = wire.KindNone
	}
	return f
}
