package fastsyn

import (
	"sync"
	"time"
)

// deadline is a moment after which calls fail. Its owner's mutex guards it, and
// those who wait do so on a condition that expire signals.
type deadline struct {
	at     time.Time // zero: never
	passed bool
	timer  *time.Timer // nil until the first that is in the future
}

// set moves the deadline to t. When it passes, expire is called on a goroutine of its own.
func (d *deadline) set(t time.Time, mu *sync.Mutex, waiting *sync.Cond) {
	left := time.Until(t)
	d.at, d.passed = t, !t.IsZero() && left <= 0
	switch {
	case d.passed:
		waiting.Broadcast()
		fallthrough
	case t.IsZero():
		d.stop()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, func() {
			mu.Lock()
			defer mu.Unlock()
			d.expire(waiting)
		})
	default:
		d.timer.Reset(left)
	}
}

// expire looks whether the deadline has passed: it may have been moved since the timer
// fired, and a deadline without a monotonic reading goes by a clock that is set at times.
func (d *deadline) expire(waiting *sync.Cond) {
	if d.at.IsZero() || d.passed {
		return
	}
	if left := time.Until(d.at); left > 0 {
		d.timer.Reset(left)
		return
	}
	d.passed = true
	waiting.Broadcast()
}

// stop ends the timer.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}
