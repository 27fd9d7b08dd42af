package fastsyn

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// waiter is what has a deadline.
type waiter struct {
	mu   sync.Mutex
	cond sync.Cond
	d    deadline
}

func newWaiter() *waiter {
	w := &waiter{}
	w.cond.L = &w.mu
	return w
}

func (w *waiter) set(t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.d.set(t, &w.mu, &w.cond)
}

// wait returns when the deadline has passed.
func (w *waiter) wait() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.d.passed {
		w.cond.Wait()
	}
	return time.Now()
}

func (w *waiter) passed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.d.passed
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, start := newWaiter(), time.Now()
		require.False(t, w.passed())
		w.set(start.Add(time.Second))
		require.Equal(t, time.Second, w.wait().Sub(start))
		// It stays so, until it is moved.
		time.Sleep(time.Minute)
		require.True(t, w.passed())
		w.set(time.Now().Add(time.Hour))
		require.False(t, w.passed())
		// Moved forward and back before it passes: the last word counts.
		w.set(time.Now().Add(time.Second))
		w.set(time.Now().Add(time.Minute))
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.False(t, w.passed())
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, w.passed())
		// Now, and in the past, are at once.
		w.set(time.Time{})
		require.False(t, w.passed())
		w.set(time.Now())
		require.True(t, w.passed())
		w.set(time.Time{})
		w.set(time.Unix(1, 0))
		require.True(t, w.passed())
		w.set(time.Time{})
		time.Sleep(time.Hour)
		synctest.Wait()
		require.False(t, w.passed(), "the zero time is never")
		// All that wait are woken, by a call as by the clock.
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { w.wait() })
		}
		synctest.Wait()
		w.set(time.Now().Add(time.Second))
		all.Wait()
		w.set(time.Time{})
		for range 3 {
			all.Go(func() { w.wait() })
		}
		synctest.Wait()
		w.set(time.Unix(1, 0))
		all.Wait()
	})
}

// A timer that fires although the deadline has been moved meanwhile does nothing but
// set itself again.
func TestDeadlineStaleTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWaiter()
		stale := func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.d.expire(&w.cond)
		}
		w.set(time.Now().Add(time.Minute))
		stale()
		require.False(t, w.passed())
		time.Sleep(time.Minute)
		synctest.Wait()
		require.True(t, w.passed())
		w.set(time.Time{})
		stale()
		require.False(t, w.passed())
	})
}
