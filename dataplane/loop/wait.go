package loop

import "time"

// Wait implements dataplane.Queue. It announces that it sleeps, looks once
// more, and blocks until a sender, Wake or Close wakes it or max has passed.
// Senders pay one load per burst while nobody sleeps.
func (q *queue) Wait(max time.Duration) {
	if max <= 0 || q.pending() || q.newlyClosed() {
		return
	}
	q.waiting.Store(1)
	if q.pending() || q.newlyClosed() {
		q.waiting.Store(0)
		return
	}
	if q.timer == nil {
		q.timer = time.NewTimer(max)
	} else {
		q.timer.Reset(max)
	}
	select {
	case <-q.wake:
	case <-q.timer.C:
	}
	q.timer.Stop()
	q.waiting.Store(0)
}

// pending reports whether a frame waits in an input.
func (q *queue) pending() bool {
	for _, r := range q.in {
		if r.avail(1) != 0 {
			return true
		}
	}
	return false
}

// newlyClosed reports, once each, that the other side or this one was closed,
// so that a Close just before Wait is not slept through.
func (q *queue) newlyClosed() bool {
	now := [2]bool{q.peer.closed.Load(), q.self.closed.Load()}
	if now == q.closed {
		return false
	}
	q.closed = now
	return true
}

// wakeUp ends the sleep of q's owner. Any goroutine. A token that comes too
// late makes the next Wait return at once, which is allowed.
func (q *queue) wakeUp() {
	if q.waiting.CompareAndSwap(1, 0) {
		q.Wake()
	}
}

// Wake implements dataplane.Waker: whoever sleeps takes the token, now or later.
// Where one lies already, it will do for this call as well.
func (q *queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
