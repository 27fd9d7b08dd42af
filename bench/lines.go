package bench

import (
	"errors"
	"io"
	"time"
)

const (
	// lineQueue is how many lines wait for a slow reader before lines are left out.
	lineQueue = 256
	// linePatience is how long the end of a run waits for one.
	linePatience = 5 * time.Second
)

// errSlow ends lines that nobody reads.
var errSlow = errors.New("the reader is too slow: not all lines were written")

// lines writes lines on a goroutine of its own, so that who has them does not wait. One write per line:
// each is with the reader as soon as it is written. put and close belong to one goroutine.
type lines struct {
	queue   chan []byte
	done    chan struct{}
	failed  error // when done
	skipped uint64
}

func newLines(w io.Writer) *lines {
	l := &lines{queue: make(chan []byte, lineQueue), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for b := range l.queue {
			if l.failed == nil {
				_, l.failed = w.Write(b)
			}
		}
	}()
	return l
}

// put hands b over to be written. It is left out, and counted, when too many wait.
func (l *lines) put(b []byte) {
	select {
	case l.queue <- b:
		l.skipped = 0
	default:
		l.skipped++
	}
}

// close waits until all is written, as long as somebody reads.
func (l *lines) close(last []byte, patience time.Duration) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	if last != nil {
		select {
		case l.queue <- last:
		case <-t.C:
			return errSlow
		}
	}
	close(l.queue)
	select {
	case <-l.done:
		return l.failed
	case <-t.C:
		return errSlow
	}
}

// IntervalWriter writes the intervals of a run while it goes on. Nobody waits for who reads them: lines for which
// there is no room are left out, and the next one says how many.
type IntervalWriter interface {
	// Interval is for Config.OnInterval.
	Interval(v *Interval)
	// Close writes the rest and returns the first error of writing, or that of a reader who
	// does not take it for five seconds. r is nil if there is no report.
	Close(r *Report) error
}

// IntervalWriters are several as one, in the order they were made.
type IntervalWriters []IntervalWriter

// Interval implements IntervalWriter.
func (s IntervalWriters) Interval(v *Interval) {
	for _, r := range s {
		r.Interval(v)
	}
}

// Close implements IntervalWriter.
func (s IntervalWriters) Close(r *Report) error {
	var errs []error
	for _, x := range s {
		errs = append(errs, x.Close(r))
	}
	return errors.Join(errs...)
}
