package main

import (
	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
)

// httpIdle ends the flows of a worker whose peers do nothing.
type httpIdle struct {
	*idleList
	server *http1.Server
	closed uint64 // between requests
	reset  uint64 // within one, within a response, or they did not close after us
}

// source is what looks after idle flows.
func (a *httpApp) source(worker int) fastsyn.Source {
	if a.idle == nil {
		return nil
	}
	return a.idle[worker]
}

// Poll implements fastsyn.Source.
func (h *httpIdle) Poll(w *fastsyn.Worker, now int64) (next int64) {
	for range maxIdle {
		s, next := h.due(now)
		if s == nil {
			return next
		}
		h.end(w, s, now)
	}
	return now
}

// maxIdle is how many flows are ended in one round.
const maxIdle = 256

// end closes a flow that waits for its next request, and resets one that is stuck. A peer that takes
// some of what is on its way is slow, not stuck.
func (h *httpIdle) end(w *fastsyn.Worker, s *idleSlot, now int64) {
	id := s.id
	f := w.Flow(id)
	c, busy := f.Value().(*http1.Conn)
	left := uint32(f.Unacked())
	switch {
	case !f.Alive(): // it is gone, without Closed: reset by the server
		h.forget(id)
	case left != 0 && left != s.left:
		h.rest(id.Index(), left, now)
	case left == 0 && !busy && !s.closed:
		h.closed++
		s.closed = true
		h.rest(id.Index(), 0, now)
		f.Release()
	default:
		h.reset++
		if c != nil {
			h.server.Closed(f)
		}
		f.Abort()
		h.forget(id)
	}
}
