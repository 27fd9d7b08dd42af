package worker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// lockedBox is what mailbox was chosen over: two slices under a mutex that take turns.
// The worker comes back when a poster has the lock.
type lockedBox struct {
	_       [64]byte
	n       atomic.Int32
	_       [64]byte
	mu      sync.Mutex
	in, out []Task
}

func (b *lockedBox) push(t Task) bool {
	b.mu.Lock()
	b.in = append(b.in, t)
	b.n.Store(int32(len(b.in)))
	b.mu.Unlock()
	return true
}

func (b *lockedBox) run(w *Worker) {
	if b.n.Load() == 0 || !b.mu.TryLock() {
		return
	}
	b.in, b.out = b.out[:0], b.in
	b.n.Store(0)
	b.mu.Unlock()
	for i, t := range b.out {
		b.out[i] = nil
		t.Run(w)
	}
}

// flight is the task of a poster with up to 64 of them on the way.
type flight struct{ n atomic.Int64 }

func (f *flight) Run(*Worker) { f.n.Add(-1) }

// BenchmarkPost is a post to a worker that is awake and does nothing else: four
// goroutines a core post as fast as it runs what they post, and one alone. An op is a task.
func BenchmarkPost(b *testing.B) {
	w := new(Worker)
	box := new(lockedBox)
	for _, kind := range []struct {
		name string
		push func(t Task) bool
		run  func()
	}{
		{"stack", w.Post, func() { _ = w.mail.pending() && w.runPosted() }},
		{"mutex", box.push, func() { box.run(w) }},
	} {
		b.Run("contended/"+kind.name, func(b *testing.B) {
			var stop atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() {
				for !stop.Load() {
					kind.run()
				}
				kind.run()
			})
			b.ReportAllocs()
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				f := new(flight)
				for pb.Next() {
					for f.n.Load() >= 64 {
						runtime.Gosched()
					}
					f.n.Add(1)
					kind.push(f)
				}
			})
			stop.Store(true)
			wg.Wait()
		})
		b.Run("alone/"+kind.name, func(b *testing.B) {
			n := new(count)
			b.ReportAllocs()
			for i := range b.N {
				kind.push(n)
				if i%64 == 63 {
					kind.run()
				}
			}
			kind.run()
		})
	}
}

// BenchmarkPostToSleeper is a post to a worker asleep on an in-memory wire: µs/run is
// from before the post until the task runs. An op has besides what it takes to hear
// of that over a channel, and for the worker to fall asleep again.
func BenchmarkPostToSleeper(b *testing.B) {
	w, _ := sleepy(b, Adaptive)
	ran := make(chan struct{}, 1)
	at, sum := int64(0), int64(0)
	task := do(func(*Worker) { at = realTime(); ran <- struct{}{} })
	b.ReportAllocs()
	for b.Loop() {
		untilAsleep(w)
		begin := realTime()
		w.Post(task)
		<-ran
		sum += at - begin
	}
	b.ReportMetric(float64(sum)/float64(b.N)/1e3, "µs/run")
}
