package worker

import "github.com/fastsyn/fastsyn/handshake"

// deliver runs the callbacks for the events of the burst. A callback that panics
// loses its flow, not the worker (HND-006).
func (w *Worker) deliver() {
	evs := w.engine.Events()
	w.left = w.left[:0]
	timed := len(evs) > 0 && w.cfg.CallbackBudget > 0
	begin := int64(0)
	if timed {
		begin = w.cfg.Clock()
	}
	for i := 0; i < len(evs); {
		i = w.deliverFrom(evs, i)
	}
	if timed {
		end := w.cfg.Clock()
		if took := end - begin; took > int64(w.cfg.CallbackBudget) {
			w.ctr.overBudget++
			w.engine.HoldSYNs(end+min(took, maxHold), handshake.DropQueueFull)
		}
	}
	w.engine.EndBurst()
}

func (w *Worker) deliverFrom(evs []handshake.Event, i int) (next int) {
	defer func() {
		if r := recover(); r != nil {
			w.ctr.panics++
			w.log.Error("callback panicked; flow reset", "worker", w.cfg.ID, "panic", r)
			if evs[i].Kind == handshake.EventSegment { // it was not counted
				w.engine.Count(handshake.Consumed)
			}
			w.Abort(evs[i].Flow)
			next = i + 1
		}
	}()
	for ; i < len(evs); i++ {
		ev := &evs[i]
		cb := &w.apps[ev.App]
		w.flow.ev, w.flow.id = ev, ev.Flow
		switch ev.Kind {
		case handshake.EventSegment:
			w.segment(ev)
		case handshake.EventICMP:
			w.streams.ICMP(ev)
		case handshake.EventEstablished:
			if !cb.Bare {
				w.open(ev, cb)
			}
			if cb.Established != nil {
				cb.Established(&w.flow)
			}
		case handshake.EventConfirmed:
			if !cb.Bare {
				w.streams.Confirm(ev)
			}
			if cb.Confirmed != nil {
				cb.Confirmed(&w.flow)
			}
		case handshake.EventData:
			if cb.Data != nil && w.hears(ev.Flow, false) {
				j := w.at[ev.Seg]
				off := uint32(w.pk[j].Data) + ev.Off
				text := w.rx.Data[j][off : off+ev.Len : off+ev.Len]
				if cb.Bare {
					cb.Data(&w.flow, text)
				} else {
					w.streams.Early(ev, text)
				}
			}
		case handshake.EventAcked:
			if !w.engine.Sending(ev.Flow) { // else an earlier callback has replied once more
				w.texts.release(ev.Flow.Index())
			}
		case handshake.EventRepeated:
			if cb.Repeated != nil {
				cb.Repeated(&w.flow)
			}
		case handshake.EventAlive:
			if cb.Alive != nil && w.hears(ev.Flow, false) {
				cb.Alive(&w.flow)
			}
		case handshake.EventPeerClosed:
			if cb.PeerClosed != nil && w.hears(ev.Flow, false) {
				cb.PeerClosed(&w.flow)
			}
			// The engine closes passive flows with AutoClose itself; then this does nothing.
			if cb.PeerClosed == nil || cb.AutoClose {
				w.engine.CloseEvent(ev)
			}
		case handshake.EventClosed:
			w.texts.release(ev.Flow.Index())
			if !cb.Bare {
				w.streams.Forget(ev)
			}
			if cb.Closed != nil && w.hears(ev.Flow, true) {
				cb.Closed(&w.flow, ev.Reason)
			}
			w.values.clear(ev.Flow.Index())
		}
	}
	return i
}

// left is a flow that its application gave up in a callback, while events of the
// burst may still name it.
type left struct {
	id      handshake.FlowID
	aborted bool // rather than released
}

func (w *Worker) leave(id handshake.FlowID, aborted bool) {
	if len(w.engine.Events()) > 0 {
		w.left = append(w.left, left{id, aborted})
	}
}

// hears reports whether an event of id is still the application's: one of a
// released flow only if it tells the end of it.
func (w *Worker) hears(id handshake.FlowID, end bool) bool {
	for _, l := range w.left {
		if l.id == id && (l.aborted || !end) {
			return false
		}
	}
	return true
}
