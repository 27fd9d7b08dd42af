package afpacket

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestWaker(t *testing.T) {
	l := newLab(t)
	for _, ring := range []Ring{RingV2, RingV3} {
		t.Run(ring.String(), func(t *testing.T) { dptest.CheckWaker(t, l.open(Config{Ring: ring}).Queue(0)) })
	}
}

// One Wait takes all wakes before it, also when there are frames to wake for or no
// buffers to receive into; then the queue sleeps again.
func TestWakeIsTakenOnce(t *testing.T) {
	l := newLab(t)
	q := l.open(Config{}).queues[0]
	b := dataplane.NewBatch()
	awake := func() bool {
		fds := []unix.PollFd{{Fd: int32(q.waker.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		require.NoError(t, err)
		return n == 1
	}
	sleep := func() { // frames of the kernel's own may end a Wait first
		for awake() {
			q.Rx(b)
			q.Settle(b)
			q.Wait(time.Hour)
		}
	}
	for range 3 {
		q.Wake()
	}
	require.True(t, awake())
	sleep()
	require.False(t, awake())

	free := q.pool.free
	q.pool.free = nil
	q.Wake()
	q.Wait(time.Hour)
	require.False(t, awake())
	q.pool.free = free

	require.Zero(t, testing.AllocsPerRun(100, func() {
		q.Wake()
		sleep()
	}))
}

// Once closed, the descriptor's number may be another's, and nobody writes to it.
func TestWakeAfterClose(t *testing.T) {
	l := newLab(t)
	p := l.open(Config{})
	q := p.queues[0]
	was := q.waker.fd
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					q.Wake()
				}
			}
		})
	}
	require.NoError(t, p.Close())
	require.Equal(t, -1, q.waker.fd)
	heir := -1
	for heir != was { // the lowest free number is given out
		var err error
		heir, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		require.NoError(t, err)
		fd := heir
		t.Cleanup(func() { require.NoError(t, unix.Close(fd)) })
		require.LessOrEqual(t, heir, was+3, "taken by somebody else")
	}
	for range 100 {
		q.Wake()
	}
	_, err := unix.Read(heir, make([]byte, 8))
	require.ErrorIs(t, err, unix.EAGAIN, "nobody wrote")
	close(stop)
	wg.Wait()
	q.Wait(time.Hour) // a closed queue does not sleep
}
