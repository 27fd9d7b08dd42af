package worker

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/handshake"
)

// sleeper counts polls and sleeps.
type sleeper struct {
	*dptest.Queue
	polls, waits atomic.Uint64
}

func (q *sleeper) Rx(b *dataplane.Batch) int { q.polls.Add(1); return q.Queue.Rx(b) }

func (q *sleeper) Wait(max time.Duration) { q.waits.Add(1); q.Queue.Wait(max) }

// Auto sleeps where a queue can, and never elsewhere; an explicit choice stands.
func TestPolling(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg    Polling
		polled bool
		want   Polling
	}{
		"auto, can sleep":           {Auto, false, Adaptive},
		"auto, cannot":              {Auto, true, Busy},
		"busy, can sleep":           {Busy, false, Busy},
		"adaptive, cannot (really)": {Adaptive, true, Adaptive},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRigOn(t, dptest.PortConfig{Polled: tc.polled}, Config{Engine: handshake.Config{MaxFlows: 64}, Polling: tc.cfg})
			require.Equal(t, tc.want, r.Polling())
			q := &sleeper{Queue: r.port.Queue(0).(*dptest.Queue)}
			r.queue = q
			r.cfg.Clock = func() int64 { return time.Now().UnixNano() }
			start := time.Now()
			go r.Run()
			// Long enough to be tempted.
			done := func() bool { return q.polls.Load() > 1000 && time.Since(start) > 10*time.Duration(spinTime) }
			if tc.want == Adaptive {
				done = func() bool { return q.waits.Load() > 0 }
			}
			require.Eventually(t, done, time.Minute, time.Millisecond)
			r.Stop()
			<-r.Done()
			if tc.want == Busy {
				require.Zero(t, q.waits.Load())
			}
		})
	}
}

// nothing is a task that does nothing.
type nothing struct{}

func (nothing) Run(*Worker) {}

// A worker spins before it sleeps; but not where goroutines that post to it have nothing
// else to run on.
func TestSpinLeavesRoomForPosters(t *testing.T) {
	const spin = spinTime / int64(time.Microsecond)
	for name, tc := range map[string]struct {
		procs int
		post  bool
		polls int64 // before each sleep but the first
	}{
		"nobody posts":         {1, false, 1}, // no work came: there is nothing to be patient for
		"posters have room":    {4, true, spin},
		"posters have no room": {1, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(tc.procs))
			r := newRigOn(t, dptest.PortConfig{}, Config{Engine: handshake.Config{MaxFlows: 64}})
			q := &napper{Queue: r.port.Queue(0).(*dptest.Queue), t: t, post: tc.post, w: r.Worker, now: r.now}
			r.queue, r.cfg.Clock = q, func() int64 { q.now += int64(time.Microsecond); return q.now }
			r.Run()
			require.Len(t, q.spun, 20)
			require.InDelta(t, spin, q.spun[0], 5, "nobody has posted yet")
			for _, n := range q.spun[1:] {
				require.InDelta(t, tc.polls, n, 5)
			}
		})
	}
}

// napper notes how many rounds come before each sleep, in which somebody may post.
type napper struct {
	*dptest.Queue
	t     *testing.T
	w     *Worker
	post  bool
	now   int64
	polls int
	spun  []int
}

func (q *napper) Rx(b *dataplane.Batch) int { q.polls++; return q.Queue.Rx(b) }

func (q *napper) Wait(time.Duration) {
	q.spun, q.polls = append(q.spun, q.polls), 0
	if q.post {
		require.True(q.t, q.w.Post(nothing{}))
	}
	if len(q.spun) == 20 {
		q.w.Stop()
	}
}
