package worker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Task is work that another goroutine has for a worker; see Worker.Post.
type Task interface {
	// Run is called once, on the worker, between two bursts; it may use all
	// methods of w. What it queues leaves in the same round. The worker does nothing
	// else meanwhile, and unlike that of a callback a panic here is not caught.
	Run(w *Worker)
}

// maxTasks bounds the tasks of one round, so that many of them neither starve
// receiving nor fill the engine's output.
const maxTasks = 256

// mailbox holds what was posted to a worker. Posting pushes to a stack without a
// lock, so that nobody, least of all the worker, waits for a poster that was
// preempted: under contention three times as fast as a slice under a mutex
// (BenchmarkPost). The worker takes the stack as a whole and turns it round; since
// nobody else pops, there is no ABA problem.
type mailbox struct {
	_      [64]byte               // the words below are written by other cores
	top    atomic.Pointer[letter] // newest first; &sealed when the worker takes no more
	asleep atomic.Bool            // the worker sleeps or is about to: who clears this wakes it
	_      [64]byte
	todo   *letter         // taken and not run yet, oldest first: the worker's own
	waker  dataplane.Waker // nil: what is posted is found when the queue's Wait ends by itself
}

// letter is one post. Letters are recycled: posting allocates nothing once warm.
type letter struct {
	next *letter
	task Task
}

var (
	letters = sync.Pool{New: func() any { return new(letter) }}
	sealed  letter
)

// pending reports whether a task waits: one atomic load in a round without any.
func (m *mailbox) pending() bool { return m.top.Load() != nil || m.todo != nil }

// push adds t; false when the worker takes no more.
func (m *mailbox) push(t Task) bool {
	l := letters.Get().(*letter)
	l.task = t
	for {
		top := m.top.Load()
		if top == &sealed {
			l.recycle()
			return false
		}
		l.next = top
		if m.top.CompareAndSwap(top, l) {
			return true
		}
	}
}

// replace takes all that was posted, oldest first, and leaves top: nil or &sealed.
func (m *mailbox) replace(top *letter) (first *letter) {
	for l := m.top.Swap(top); l != nil; {
		l, l.next, first = l.next, first, l
	}
	return first
}

// rouse ends the worker's sleep. Of several goroutines that find it asleep one
// makes the call.
func (m *mailbox) rouse() {
	if m.asleep.Load() && m.asleep.CompareAndSwap(true, false) && m.waker != nil {
		m.waker.Wake()
	}
}

// Post has t run on the worker, soon: a worker that sleeps is woken if its queue
// is a dataplane.Waker, as those of loop and afpacket are, and else looks after
// 10 ms at the latest. Any goroutine. It never blocks, allocates nothing
// once warm, and makes one system call at most, none while the worker is awake.
// Tasks run in the order of posting; one posted by a task runs in the next round.
//
// False says that the worker has ended, or is about to, and that t will not run.
// After true t runs exactly once, also when the worker is stopped: then before
// Done is closed. A worker that is neither run nor stepped runs nothing.
//
// Nothing bounds how much may wait. A caller bounds it by posting a task of its
// own again only after that has run.
func (w *Worker) Post(t Task) bool {
	if !w.mail.push(t) {
		return false
	}
	w.mail.rouse()
	return true
}

func (l *letter) recycle() {
	l.next, l.task = nil, nil
	letters.Put(l)
}

// Do runs fn on the worker as Post does, and waits for it.
func (w *Worker) Do(fn func()) error {
	c := &call{fn, make(chan struct{})}
	if !w.Post(c) {
		<-w.done // what the worker has can be read now
		return ErrStopped
	}
	select {
	case <-c.ran:
	case <-w.done: // after the last task, unless fn has ended the goroutine (runtime.Goexit)
		select {
		case <-c.ran:
		default:
			return ErrStopped
		}
	}
	return nil
}

// call is the task of Do.
type call struct {
	fn  func()
	ran chan struct{}
}

// Run implements Task.
func (c *call) Run(*Worker) {
	c.fn()
	close(c.ran)
}

// runPosted runs tasks, maxTasks at most, and reports whether there were any. What is
// posted meanwhile is for the next round.
func (w *Worker) runPosted() bool {
	m := &w.mail
	if m.todo == nil {
		m.todo = m.replace(nil)
	}
	n := 0
	for ; m.todo != nil && n < maxTasks; n++ {
		w.runNext()
	}
	return n > 0
}

func (w *Worker) runNext() {
	l := w.mail.todo
	w.mail.todo = l.next
	t := l.task
	l.recycle()
	t.Run(w)
}

// endPosts runs what was posted so far, sends what that has queued, and refuses the rest.
func (w *Worker) endPosts() {
	m := &w.mail
	last := m.replace(&sealed)
	ran := m.todo != nil || last != nil
	for m.todo != nil { // taken before
		w.runNext()
	}
	for m.todo = last; m.todo != nil; {
		w.runNext()
	}
	if ran && w.err == nil {
		w.flush()
		if w.streams != nil {
			w.flushStreams()
		}
	}
}

// sleep waits for a frame, a post or Stop, max at most. It announces that it
// sleeps and then looks once more, as posters post and then look whether it
// sleeps: one sees the other.
func (w *Worker) sleep(max time.Duration) {
	m := &w.mail
	m.asleep.Store(true)
	if !m.pending() && !w.stop.Load() {
		w.queue.Wait(max)
	}
	m.asleep.Store(false)
}
