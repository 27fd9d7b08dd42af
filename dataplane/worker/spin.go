package worker

import (
	"runtime"
	"sync/atomic"
	"time"
)

// spinTime is how long a worker without work looks for some before it sleeps.
const spinTime = int64(50 * time.Microsecond)

// taskTime is how long after a task a worker takes it that more will be posted.
const taskTime = int64(10 * time.Millisecond)

// spinners counts the workers of this process that run and are Adaptive.
var spinners atomic.Int32

// patience is how long to spin. Whoever posts tasks is a goroutine, which has to run for
// there to be work again: where the workers of the process together occupy all that
// goroutines run on, spinning only keeps it from that.
func (w *Worker) patience() int64 {
	if w.now-w.lastTask < taskTime && int(spinners.Load()) >= runtime.GOMAXPROCS(0) {
		return 0
	}
	return spinTime
}
