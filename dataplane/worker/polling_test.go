package worker

import (
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
