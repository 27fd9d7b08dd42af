package worker

import (
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// TapData is how much of a frame a Recording keeps: all headers with all options.
const TapData = 160

// TapFrame is a frame of a flow that is watched.
type TapFrame struct {
	At    int64 // Config.Clock, when it was received, or just before it went to the device
	Out   bool
	State handshake.State // of the flow behind it: once it was taken and answered, before the application did anything
	Size  int             // of the frame
	Data  [TapData]byte   // its beginning; with checksum offload its checksums are not filled in
	burst uint64          // in which it was received
}

// Recording is what Watch keeps of a flow: its first frames, as many as Frames has room for.
type Recording struct {
	Flow   handshake.FlowID
	Tuple  wire.Tuple
	Frames []TapFrame
	More   int // frames that there was no room for

	stream bool // the flow has one, or had
}

// tap is what the worker looks at while flows are watched.
type tap struct {
	ports [1 << 16 / 64]uint64 // their local ports; one too many costs a comparison
	list  []*Recording
	// Recordings whose last frame came in this burst and is not handled yet, or was just handled.
	fresh []*Recording
}

// Watch records the frames of a flow in r from now on; r belongs to the worker until Unwatch. At a burst's end one comparison
// tells that nobody is watched; while somebody is, the ports of all frames are compared. It allocates the first time.
func (w *Worker) Watch(id handshake.FlowID, r *Recording) {
	if w.taps == nil {
		w.taps = &tap{list: make([]*Recording, 0, 64), fresh: make([]*Recording, 0, dataplane.BatchSize)}
	}
	w.tap = w.taps
	r.Flow, r.Tuple, r.Frames, r.More, r.stream = id, w.engine.Tuple(id), r.Frames[:0], 0, false
	w.tap.list = append(w.tap.list, r)
	w.tap.ports[r.Tuple.LocalPort/64] |= 1 << (r.Tuple.LocalPort % 64)
}

// Unwatch ends what Watch began.
func (w *Worker) Unwatch(r *Recording) {
	t := w.taps
	if t == nil {
		return
	}
	t.ports = [len(t.ports)]uint64{}
	keep := t.list[:0]
	for _, x := range t.list {
		if x != r {
			keep = append(keep, x)
			t.ports[x.Tuple.LocalPort/64] |= 1 << (x.Tuple.LocalPort % 64)
		}
	}
	t.list = keep
	if len(keep) == 0 {
		w.tap = nil
	}
}

// find returns the recording of a tuple.
func (t *tap) find(tuple *wire.Tuple) *Recording {
	for _, r := range t.list {
		if r.Tuple == *tuple {
			return r
		}
	}
	return nil
}

func (t *tap) has(port uint16) bool { return t.ports[port/64]>>(port%64)&1 != 0 }

func (r *Recording) add(at int64, out bool, frame []byte) *TapFrame {
	n := len(r.Frames)
	if n == cap(r.Frames) {
		r.More++
		return nil
	}
	r.Frames = r.Frames[:n+1]
	f := &r.Frames[n]
	f.At, f.Out, f.State, f.Size = at, out, handshake.Closed, len(frame)
	clear(f.Data[copy(f.Data[:], frame):])
	return f
}

// received looks at the k segments of a burst, before the engine does.
func (t *tap) received(w *Worker, k int) {
	t.fresh = t.fresh[:0]
	for j, s := range w.segs[:k] {
		if !t.has(s.LocalPort) {
			continue
		}
		r := t.find(&s.Tuple)
		if r == nil {
			continue
		}
		if f := r.add(w.cfg.Clock(), false, w.rx.Data[w.at[j]]); f != nil {
			f.burst = w.ctr.bursts
			t.fresh = append(t.fresh, r)
		}
	}
}

// handled notes the states that the segments of this burst have led to, before callbacks change them.
func (t *tap) handled(w *Worker) { t.note(w, false) }

// delivered does so for flows with a stream, which takes their segments when they are delivered. What the application
// has closed since is closed.
func (t *tap) delivered(w *Worker) { t.note(w, true) }

func (t *tap) note(w *Worker, streams bool) {
	for _, r := range t.fresh {
		r.stream = r.stream || w.streams != nil && w.streams.Has(r.Flow)
		if streams && !r.stream {
			continue
		}
		state := w.engine.State(r.Flow)
		for i := len(r.Frames) - 1; i >= 0 && r.Frames[i].burst == w.ctr.bursts && !r.Frames[i].Out; i-- {
			r.Frames[i].State = state
		}
	}
}

// settle ends the loan of the frames in b, which the queue sends or takes back.
func (w *Worker) settle(b *dataplane.Batch) int {
	if w.tap != nil {
		w.tap.sending(w, b)
	}
	return w.queue.Settle(b)
}

// sending looks at the frames of b that are about to be sent. An answer goes with the state that the
// segment it answers has led to.
func (t *tap) sending(w *Worker, b *dataplane.Batch) {
	for i, frame := range b.Data[:b.N] {
		if b.Verdict[i] != dataplane.Reply {
			continue
		}
		port, ok := sourcePort(frame)
		if !ok || !t.has(port) {
			continue
		}
		var p wire.Packet
		if wire.Parse(frame, true, &p) != wire.OK || p.Kind != wire.KindTCP {
			continue
		}
		out := wire.Tuple{Remote: p.Seg.Local, RemotePort: p.Seg.LocalPort, Local: p.Seg.Remote, LocalPort: p.Seg.RemotePort}
		r := t.find(&out)
		if r == nil {
			continue
		}
		f := r.add(w.cfg.Clock(), true, frame)
		if f == nil {
			continue
		}
		f.State = w.engine.State(r.Flow)
		if last := len(r.Frames) - 2; b == w.rx && !r.stream && last >= 0 && !r.Frames[last].Out && r.Frames[last].burst == w.ctr.bursts {
			f.State = r.Frames[last].State
		}
	}
}

// sourcePort is that of a TCP segment of ours.
func sourcePort(frame []byte) (uint16, bool) {
	be := binary.BigEndian
	if len(frame) < wire.EthernetLen+wire.IPv4Len+2 {
		return 0, false
	}
	at := wire.EthernetLen
	typ := be.Uint16(frame[12:])
	if typ == wire.EtherTypeVLAN {
		typ, at = be.Uint16(frame[16:]), at+4
	}
	switch typ {
	case wire.EtherTypeIPv4:
		at += wire.IPv4Len // ours have no options
	case wire.EtherTypeIPv6:
		at += wire.IPv6Len // nor extension headers
	default:
		return 0, false
	}
	if len(frame) < at+2 {
		return 0, false
	}
	return be.Uint16(frame[at:]), true
}
