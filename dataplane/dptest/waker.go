package dptest

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// CheckWaker holds q to the contract of dataplane.Waker. It owns q meanwhile and
// drops what is received. A wake-up that is lost hangs it, for it sleeps an hour
// at a time.
func CheckWaker(t testing.TB, q dataplane.Queue) {
	t.Helper()
	w, ok := q.(dataplane.Waker)
	if !ok {
		t.Fatalf("dptest: %T is no dataplane.Waker", q)
	}
	b := dataplane.NewBatch()
	wait := func() {
		q.Wait(time.Hour)
		q.Rx(b)
		q.Settle(b)
	}
	w.Wake()
	w.Wake()
	wait() // was woken before

	const rounds = 2000
	var wg sync.WaitGroup
	turn := make(chan struct{})
	wg.Go(func() {
		for range turn {
			w.Wake()
		}
	})
	for range rounds {
		turn <- struct{}{}
		wait() // is woken before or meanwhile
	}
	close(turn)
	wg.Wait()

	// Work that comes at any time, also between the last look and the sleep, and
	// one call at most for each sleep.
	const posters = 3
	var asleep atomic.Bool
	var posted, done atomic.Int64
	for range posters {
		wg.Go(func() {
			for range rounds {
				mine := posted.Add(1)
				if asleep.CompareAndSwap(true, false) {
					w.Wake()
				}
				for done.Load() < mine {
					runtime.Gosched()
				}
			}
		})
	}
	for seen := int64(0); seen < posters*rounds; {
		asleep.Store(true)
		if posted.Load() == seen {
			wait()
		}
		asleep.Store(false)
		seen = posted.Load()
		done.Store(seen)
	}
	wg.Wait()
}
