package worker

import (
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// streamOut is scratch for the segments of streams.
type streamOut struct {
	out    flow.Out
	blocks [4]wire.SACKBlock
	ahead  int // segments beyond one per flow that the last round had
}

// maxFlush is how many segments streams send in one round, about: rings are no deeper.
const maxFlush = 256

// memoryHold is for how long SYNs are dropped when there is no memory for text, and then looked again.
const memoryHold = int64(10 * time.Millisecond)

// carry makes the flows of app streams.
func (w *Worker) carry(app uint16) error {
	if w.streams == nil {
		t, err := flow.New(w.cfg.Flow, w.engine, handler{w}, w.now)
		if err != nil {
			return err
		}
		w.streams = t
	}
	w.engine.Streams(app)
	return nil
}

// open has the flow of an EventEstablished carried.
func (w *Worker) open(ev *handshake.Event, cb *Callbacks) {
	w.values.clear(ev.Flow.Index())
	var text []byte // of ConnectText
	if ev.Len != 0 {
		text = w.texts.tail(ev.Flow.Index(), ev.Len)
	}
	w.streams.Open(ev, cb.AutoClose || cb.PeerClosed == nil, text)
	if ev.Active {
		w.texts.release(ev.Flow.Index())
	}
}

// segment hands on a segment of a stream.
func (w *Worker) segment(ev *handshake.Event) {
	s, j := w.segs[ev.Seg], w.at[ev.Seg]
	p := &w.pk[j]
	text := w.rx.Data[j][p.Data:][:s.Len:s.Len]
	n := 0
	if s.Opt.Has&wire.HasSACK != 0 {
		n = wire.SACKBlocks(w.rx.Data[j][p.L4+wire.TCPLen:p.Data], &w.blocks)
	}
	w.streams.Segment(ev, s, text, w.blocks[:n])
}

// handler runs the callbacks of streams. One that panics loses its flow, not the worker
// (HND-006).
type handler struct{ w *Worker }

func (h handler) Data(id handshake.FlowID, app uint16, text []byte) {
	w := h.w
	if cb := &w.apps[app]; cb.Data != nil {
		defer w.guard(id)
		w.flow.id = id
		cb.Data(&w.flow, text)
	}
}

func (h handler) Writable(id handshake.FlowID, app uint16) {
	w := h.w
	if cb := &w.apps[app]; cb.Writable != nil {
		defer w.guard(id)
		w.flow.id = id
		cb.Writable(&w.flow)
	}
}

func (h handler) PeerClosed(id handshake.FlowID, app uint16) {
	w := h.w
	if cb := &w.apps[app]; cb.PeerClosed != nil {
		defer w.guard(id)
		w.flow.id = id
		cb.PeerClosed(&w.flow)
	}
}

func (h handler) Closed(id handshake.FlowID, app uint16, why handshake.CloseReason) {
	w := h.w
	if cb := &w.apps[app]; cb.Closed != nil {
		defer w.guard(id)
		w.flow.id = id
		cb.Closed(&w.flow, why)
	}
	w.values.clear(id.Index())
}

// guard, deferred, ends a panic of a callback with the flow it was about.
func (w *Worker) guard(id handshake.FlowID) {
	if r := recover(); r != nil {
		w.ctr.panics++
		w.log.Error("callback panicked; flow reset", "worker", w.cfg.ID, "panic", r)
		w.Flow(id).Abort()
	}
}

// answerStreams sends what streams have to say over the frames that were received.
func (w *Worker) answerStreams() {
	for {
		seg, ok := w.streams.Answer(&w.out)
		if !ok {
			return
		}
		i := int(w.at[seg])
		frame, p := w.rx.Data[i], &w.pk[i]
		b := frame[:cap(frame)]
		back := path{mac: srcOf(frame)}
		if p.Tagged {
			back.vlan = p.VLAN
		}
		if n := w.encodeStream(b, back, &w.rx.Meta[i]); n != 0 {
			w.rx.Data[i], w.rx.Verdict[i] = b[:n], dataplane.Reply
			continue
		}
		// A frame shorter than what we may send: it needs another one.
		if w.queue.Blank(w.tx, 1) == 0 {
			continue // lost, like a segment on the wire
		}
		b = w.tx.Data[0]
		b = b[:cap(b)]
		if n := w.encodeStream(b, back, &w.tx.Meta[0]); n != 0 {
			w.tx.Data[0], w.tx.Verdict[0] = b[:n], dataplane.Reply
		}
		w.settle(w.tx)
	}
}

// flushStreams sends what streams have to say in frames of our own, and returns how many.
func (w *Worker) flushStreams() int {
	sent := 0
	for {
		pending := w.streams.Pending()
		if pending == 0 {
			w.streams.Output(&w.out) // forgets what is settled
			return sent
		}
		n := w.queue.Blank(w.tx, min(pending+w.ahead, dataplane.BatchSize))
		if n == 0 {
			return sent // no frames free: they stay queued
		}
		k := 0
		for k < n && w.streams.Output(&w.out) {
			k++
			to, ok := w.paths.get(w.out.Seg.Path)
			if !ok {
				if to, ok = w.neighbor(&w.out.Seg); !ok {
					continue // it is sent again
				}
			}
			b := w.tx.Data[k-1]
			b = b[:cap(b)]
			if m := w.encodeStream(b, to, &w.tx.Meta[k-1]); m != 0 {
				w.tx.Data[k-1], w.tx.Verdict[k-1] = b[:m], dataplane.Reply
			}
		}
		sent += w.settle(w.tx)
		if sent >= maxFlush { // frames that came in the meantime have their turn
			return sent
		}
		// Flows that send in bulk have more than one segment each.
		w.ahead = min(max(k-pending, 0)*2, dataplane.BatchSize)
		if k == n {
			w.ahead = max(w.ahead, 8)
		} else {
			return sent
		}
	}
}

// neighbor is resolve for streams, whose peers have been heard: it drops what it cannot send.
func (w *Worker) neighbor(s *wire.Segment) (path, bool) {
	if hop, ok := w.cfg.Net.NextHop(s.Remote); ok {
		if mac, ok := w.cfg.Net.Neighbors.Lookup(hop); ok {
			return path{mac: bitsOf(mac)}, true
		}
		_, _, _ = w.Resolve(s.Remote)
		w.ctr.tx[txNeighborWait]++
		return path{}, false
	}
	w.ctr.tx[txNoRoute]++
	return path{}, false
}

// encodeStream writes the frame of w.out to b and returns its length, 0 if b is too short.
func (w *Worker) encodeStream(b []byte, to path, meta *dataplane.Meta) int {
	o := &w.out
	v4 := o.Seg.Local.Is4()
	if len(b) < wire.EthernetLen+wire.VLANLen+len(o.Extra)+wire.PacketLen(&o.Seg, int(o.Seg.Len)) {
		return 0
	}
	n := to.put(b, w.mac, v4)
	text := o.Head
	if uint32(len(text)) != o.Seg.Len {
		// It lies in pieces: they are put together where they belong.
		at := n + wire.PacketLen(&o.Seg, 0) + len(o.Extra)
		text = b[at : at+int(o.Seg.Len)]
		if k := copy(text, o.Head); k+len(o.Tail) == len(text) {
			copy(text[k:], o.Tail)
		} else {
			w.streams.Text(o, text)
		}
	}
	m := 0
	if o.Seg.Len == 0 && o.Extra == nil && !w.caps.TxCsum {
		m = wire.PutTCP(b[n:], &o.Seg, nil)
	} else if w.caps.TxCsum {
		m = wire.PutTCPOffloadExtra(b[n:], &o.Seg, o.Extra, text)
		meta.Flags |= dataplane.MetaTxCsum
	} else {
		m = wire.PutTCPExtra(b[n:], &o.Seg, o.Extra, text)
	}
	if m == 0 {
		return 0
	}
	if w.shape != nil {
		w.mark(b[n:])
	}
	if !v4 {
		w.labels.put(b[n:], &o.Seg.Tuple)
	}
	return n + m
}
