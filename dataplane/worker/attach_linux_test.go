package worker

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/handshake"
)

// attachQueue notes what is called, on which thread and on how many CPUs that may run.
type attachQueue struct {
	*dptest.Queue
	err     error
	calls   []string
	threads map[int]bool
	cpus    map[int]bool
}

func (q *attachQueue) note(call string) {
	if n := len(q.calls); n == 0 || q.calls[n-1] != call {
		q.calls = append(q.calls, call)
	}
	q.threads[unix.Gettid()] = true
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		q.cpus[set.Count()] = true
	}
}

func (q *attachQueue) Attach() error { q.note("attach"); return q.err }

func (q *attachQueue) Detach() { q.note("detach") }

func (q *attachQueue) Rx(b *dataplane.Batch) int { q.note("poll"); return q.Queue.Rx(b) }

func (q *attachQueue) Blank(b *dataplane.Batch, n int) int {
	q.note("poll")
	return q.Queue.Blank(b, n)
}

func (q *attachQueue) Settle(b *dataplane.Batch) int { q.note("poll"); return q.Queue.Settle(b) }

// The thread that polls attaches first, after it was pinned, and detaches last.
func TestQueueIsAttachedToItsThread(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want []string
	}{
		"attached": {nil, []string{"attach", "poll", "detach"}},
		"refused":  {errors.New("no more threads"), []string{"attach", "poll"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, handshake.Config{MaxFlows: 64})
			q := &attachQueue{
				Queue: r.port.Queue(0).(*dptest.Queue), err: tc.err,
				threads: map[int]bool{}, cpus: map[int]bool{},
			}
			var log bytes.Buffer
			r.queue, r.log = q, slog.New(slog.NewTextHandler(&log, nil))
			r.cfg.Clock = func() int64 { return time.Now().UnixNano() }
			if cpus := AllowedCPUs(); len(cpus) > 0 {
				r.cfg.CPU = cpus[0]
			}
			go r.Run()
			for range 10 {
				require.NoError(t, r.Do(func() {}))
			}
			r.Stop()
			<-r.Done()
			require.Equal(t, tc.want, q.calls)
			require.Len(t, q.threads, 1)
			if r.cfg.CPU >= 0 {
				require.Equal(t, map[int]bool{1: true}, q.cpus)
			}
			if tc.err != nil {
				require.Contains(t, log.String(), tc.err.Error())
			} else {
				require.Empty(t, log.String())
			}
		})
	}
}
