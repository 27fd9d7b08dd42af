package loop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestWaker(t *testing.T) {
	a, _ := pair(t, Config{})
	dptest.CheckWaker(t, a.Queue(0))
}

// One Wait takes all wakes before it; then the queue sleeps again. A Wait that has
// no need to sleep leaves them to the next.
func TestWakeIsTakenOnce(t *testing.T) {
	a, b := pair(t, Config{})
	q := a.queues[0]
	for range 3 {
		q.Wake()
	}
	q.Wait(time.Hour)
	require.Empty(t, q.wake)

	send(t, b.Queue(0), 1, syn)
	q.Wake()
	q.Wait(time.Hour) // there is a frame
	require.Len(t, q.wake, 1)
	batch := dataplane.NewBatch()
	require.Equal(t, 1, q.Rx(batch))
	q.Settle(batch)
	q.Wait(time.Hour)
	require.Empty(t, q.wake)

	require.NoError(t, a.Close())
	q.Wake()
	require.NoError(t, b.Close())
}

func TestWakeAllocatesNothing(t *testing.T) {
	a, _ := pair(t, Config{})
	q := a.queues[0]
	turn := func() {
		q.Wake()
		q.Wait(time.Hour)
	}
	turn() // Wait makes its timer once
	require.Zero(t, testing.AllocsPerRun(100, turn))
}
