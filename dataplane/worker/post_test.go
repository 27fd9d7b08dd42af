package worker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// do is a Task.
type do func(w *Worker)

func (f do) Run(w *Worker) { f(w) }

// count is the Task that adds one.
type count int

func (c *count) Run(*Worker) { *c++ }

func realTime() int64 { return time.Now().UnixNano() }

// sound is a Source that calls itself.
type sound func(w *Worker)

func (f sound) Poll(w *Worker, _ int64) int64 { f(w); return Never }

// Tasks run in the order of posting, after what was received and before the
// Source, and what they queue leaves in the same round.
func TestPostRunsInStep(t *testing.T) {
	var order []string
	r := newRigOn(t, dptest.PortConfig{}, Config{
		Engine: handshake.Config{MaxFlows: 64},
		Source: sound(func(*Worker) { order = append(order, "source") }),
	})
	app, err := r.AddApp(Callbacks{})
	require.NoError(t, err)
	r.send(t, arpFrame(1, broadcastMAC, peer4, own4)) // teaches the way to the peer
	order = nil

	note := func(s string) do { return func(*Worker) { order = append(order, s) } }
	require.True(t, r.Post(note("a")))
	require.True(t, r.Post(do(func(w *Worker) {
		order = append(order, "connect")
		_, err := w.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40001}, app)
		require.NoError(t, err)
		require.True(t, w.Post(note("next")))
	})))
	require.True(t, r.Post(note("b")))
	require.Empty(t, order)
	require.True(t, r.Step())
	require.Equal(t, []string{"a", "connect", "b", "source"}, order)
	out := r.port.Sent(0)
	require.Len(t, out, 1)
	p := parse(t, out[0])
	require.Equal(t, wire.FlagSYN, p.Seg.Flags)

	order = nil
	require.True(t, r.Step(), "a task is something that happens")
	require.Equal(t, []string{"next", "source"}, order, "posted by a task")
	require.False(t, r.Step())
	require.Empty(t, r.port.Sent(0))
}

// Many tasks are spread over rounds, in order.
func TestPostIsBoundedPerRound(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	var got []int
	for i := range 2*maxTasks + 10 {
		require.True(t, r.Post(do(func(*Worker) { got = append(got, i) })))
	}
	for _, want := range []int{maxTasks, 2 * maxTasks, 2*maxTasks + 10} {
		require.True(t, r.Step())
		require.Len(t, got, want)
		r.Post(do(func(*Worker) { got = append(got, -1) })) // behind all of them
	}
	require.True(t, r.Step())
	for i := range 2*maxTasks + 10 {
		require.Equal(t, i, got[i])
	}
	require.Equal(t, []int{-1, -1, -1}, got[2*maxTasks+10:])
}

func TestPostAllocatesNothing(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector has sync.Pool lose things")
	}
	r := newRig(t, handshake.Config{MaxFlows: 64})
	n := new(count)
	turn := func() {
		for range 100 {
			r.Post(n)
		}
		r.round()
	}
	turn()
	require.Zero(t, testing.AllocsPerRun(1000, turn))
	require.Equal(t, 1002*100, int(*n))
}

// counted counts what wakes a queue.
type counted struct {
	dataplane.Waker
	n atomic.Uint64
}

func (c *counted) Wake() { c.n.Add(1); c.Waker.Wake() }

// sleepy is a worker on a wire without traffic that sleeps for an hour when nobody wakes
// it: a lost wake-up hangs the test.
func sleepy(t testing.TB, polling Polling) (*Worker, *counted) {
	w := newPair(t, handshake.Config{MaxFlows: 64}, nil).server
	w.cfg.Clock, w.cfg.Polling, w.maxSleep = realTime, polling, int64(time.Hour)
	c := &counted{Waker: w.mail.waker}
	require.NotNil(t, c.Waker)
	w.mail.waker = c
	go w.Run()
	t.Cleanup(func() { // also when it sleeps
		w.Stop()
		<-w.Done()
		require.NoError(t, w.Err())
	})
	return w, c
}

func untilAsleep(w *Worker) {
	for !w.mail.asleep.Load() {
		runtime.Gosched()
	}
}

func TestPostWakesASleeper(t *testing.T) {
	w, wakes := sleepy(t, Adaptive)
	ran := make(chan int)
	for i := range 200 {
		untilAsleep(w)
		require.True(t, w.Post(do(func(*Worker) { ran <- i })))
		require.Equal(t, i, <-ran)
	}
	require.LessOrEqual(t, wakes.n.Load(), uint64(200))
	require.Positive(t, wakes.n.Load())
	untilAsleep(w)
	s := w.Stats()
	require.Empty(t, s.Check())
	untilAsleep(w) // and Stop wakes it
}

// drowsy is a queue that does something between its owner's last look and the sleep.
type drowsy struct {
	*dptest.Queue
	last func()
}

func (q *drowsy) Wait(max time.Duration) { q.last(); q.Queue.Wait(max) }

// A worker about to sleep notices what came just before.
func TestPostJustBeforeItSleeps(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	q := &drowsy{Queue: r.port.Queue(0).(*dptest.Queue), last: func() { t.Error("sleeps") }}
	r.queue = q
	n := new(count)
	require.True(t, r.Post(n))
	r.sleep(time.Hour) // looks once more
	for range maxTasks {
		r.Post(n)
	}
	require.True(t, r.Step())
	r.sleep(time.Hour) // one is left for another round
	require.True(t, r.Step())

	q.last = func() { r.Post(n) }
	r.sleep(time.Hour) // is woken
	q.last = nil
	require.True(t, r.Step())
	require.Equal(t, maxTasks+2, int(*n))

	q.last = r.Stop
	r.sleep(time.Hour)
	q.last = func() { t.Error("sleeps") }
	r.sleep(time.Hour) // is stopped
	require.False(t, r.mail.asleep.Load())
}

// The same with a worker that runs, at any time around the end of its spinning.
func TestPostWhileItFallsAsleep(t *testing.T) {
	w, _ := sleepy(t, Adaptive)
	ran := make(chan struct{})
	task := do(func(*Worker) { ran <- struct{}{} })
	for i := range 500 {
		for end := realTime() + spinTime - 10e3 + int64(i%100)*400; realTime() < end; {
			runtime.Gosched()
		}
		require.True(t, w.Post(task))
		<-ran
	}
}

func TestPostToAnAwakeWorkerWakesNobody(t *testing.T) {
	w, wakes := sleepy(t, Busy)
	for range 100 {
		require.NoError(t, w.Do(func() {}))
	}
	require.Zero(t, wakes.n.Load())
}

// deaf is a queue that cannot be woken.
type deaf struct{ dataplane.Port }

func (p deaf) Queue(i int) dataplane.Queue { return struct{ dataplane.Queue }{p.Port.Queue(i)} }

// On a queue that cannot be woken a task waits for the end of a sleep.
func TestPostWithoutWaker(t *testing.T) {
	w := newPairOn(t, handshake.Config{MaxFlows: 64}, nil, func(p dataplane.Port) dataplane.Port { return deaf{p} }).server
	w.cfg.Clock = realTime
	go w.Run()
	for range 5 {
		untilAsleep(w)
		require.NoError(t, w.Do(func() {}))
	}
	w.Stop()
	<-w.Done()
}

// poster numbers its tasks and checks, on the worker, that they come in order.
type poster struct {
	t     *testing.T
	tasks []numbered
	next  int // the worker's
}

type numbered struct {
	p   *poster
	num int
}

func (n *numbered) Run(*Worker) {
	if n.p.next != n.num {
		n.p.t.Errorf("task %d ran, want %d", n.num, n.p.next)
	}
	n.p.next = n.num + 1
}

// Many goroutines post while the worker sleeps, wakes and stops: each task that
// was accepted runs once, in its poster's order, and none of the others.
func TestPostFromManyGoroutines(t *testing.T) {
	const posters, each = 16, 1000
	for name, stopEarly := range map[string]bool{"all": false, "stopped meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			w, _ := sleepy(t, Adaptive)
			var wg sync.WaitGroup
			var total atomic.Int64
			ps := make([]*poster, posters)
			accepted := make([]int, posters)
			for i := range ps {
				p := &poster{t: t, tasks: make([]numbered, each)}
				ps[i] = p
				wg.Go(func() {
					for j := range p.tasks {
						p.tasks[j] = numbered{p, j}
						if !w.Post(&p.tasks[j]) {
							return
						}
						accepted[i]++
						if total.Add(1) == posters*each/2 && stopEarly {
							w.Stop()
						}
						if j%64 == 0 { // let it sleep now and then
							untilIdle(w)
						}
					}
				})
			}
			wg.Wait()
			w.Stop()
			<-w.Done()
			sum := 0
			for i, p := range ps {
				require.Equal(t, accepted[i], p.next, "poster %d", i)
				sum += accepted[i]
			}
			if !stopEarly {
				require.Equal(t, posters*each, sum)
			}
			require.False(t, w.Post(new(count)), "it has ended")
			require.ErrorIs(t, w.Do(func() { t.Error("ran after the end") }), ErrStopped)
		})
	}
}

// untilIdle returns when w is asleep or has ended.
func untilIdle(w *Worker) {
	for !w.mail.asleep.Load() {
		select {
		case <-w.Done():
			return
		default:
			runtime.Gosched()
		}
	}
}

// What was accepted before the end runs, also when it had to wait for a round of
// its own, and what it sends leaves, if there is still a device.
func TestPostBeforeTheEnd(t *testing.T) {
	for name, fail := range map[string]error{"stopped": nil, "device failed": dataplane.ErrUnknownDriver} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, handshake.Config{MaxFlows: 64})
			app, err := r.AddApp(Callbacks{})
			require.NoError(t, err)
			r.send(t, arpFrame(1, broadcastMAC, peer4, own4))
			n := new(count)
			connect := do(func(w *Worker) {
				_, err := w.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 40001}, app)
				require.NoError(t, err)
			})
			refused := true
			last := do(func(w *Worker) { refused = !w.Post(n) })
			r.Post(do(func(w *Worker) { // in the last round
				w.Stop()
				w.err = fail
				for range maxTasks {
					w.Post(n)
				}
				w.Post(connect)
				w.Post(last)
			}))
			r.Run()
			require.Equal(t, maxTasks, int(*n))
			require.True(t, refused, "a task after the last round cannot post")
			syns := 0
			for _, f := range r.port.Sent(0) {
				if p := parse(t, f); p.Kind == wire.KindTCP {
					syns++
				}
			}
			want := 1
			if fail != nil {
				want = 0
			}
			require.Equal(t, want, syns)
		})
	}
}

// The same for what is written to a stream.
func TestWriteBeforeTheEnd(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	var id handshake.FlowID
	app, err := r.AddApp(Callbacks{Established: func(f *Flow) { id = f.ID() }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := syn(own4, peer4, 80)
	p := parse(t, r.send(t, tcpFrame(r, s, 0))[0])
	s.Seq, s.Ack, s.Flags, s.Opt.Has = 1001, p.Seg.Seq+1, wire.FlagACK, 0
	require.Empty(t, r.send(t, tcpFrame(r, s, 0)))

	r.Post(do(func(w *Worker) {
		w.Stop()
		w.Post(do(func(w *Worker) {
			require.Equal(t, 3, w.Flow(id).Write([]byte("bye")))
			w.Flow(id).Close()
		}))
	}))
	r.Run()
	out := r.port.Sent(0)
	last := out[len(out)-1]
	p = parse(t, last)
	require.Equal(t, "bye", string(last[p.Data:p.End]))
	require.NotZero(t, p.Seg.Flags&wire.FlagFIN)
}

// A function that ends the worker's goroutine does not leave its caller hanging.
func TestDoThatExits(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	r.cfg.Clock = realTime
	go r.Run()
	require.ErrorIs(t, r.Do(runtime.Goexit), ErrStopped)
	<-r.Done()
}
