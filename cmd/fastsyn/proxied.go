package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/fastsyn/fastsyn"
)

// handover passes chunks from one goroutine to another, without a lock that one of them
// could hold while it is preempted. Whoever swaps the list out owns it: the sender to append
// to it, the receiver to keep it.
type handover struct {
	first atomic.Pointer[chunk]
	last  *chunk // the sender's; means something while first is not nil
}

// add appends text, for the sender, in chunks of pool. False: there are not enough of them, and some of
// text may be appended.
func (h *handover) add(pool *chunkPool, text []byte) bool {
	l := h.begin()
	ok := l.add(pool, text)
	h.end(l)
	return ok
}

// push appends chunks, for the sender.
func (h *handover) push(first, last *chunk) {
	l := h.begin()
	if l.last == nil {
		l.first = first
	} else {
		l.last.next = first
	}
	l.last = last
	h.end(l)
}

func (h *handover) begin() chunkList {
	if first := h.first.Swap(nil); first != nil {
		return chunkList{first, h.last}
	}
	return chunkList{}
}

func (h *handover) end(l chunkList) {
	h.last = l.last
	h.first.Store(l.first)
}

// take returns all chunks, for the receiver, oldest first.
func (h *handover) take() *chunk { return h.first.Swap(nil) }

// proxied is a flow with its backend. The worker has the flow, two goroutines have the
// connection: run, which dials and then writes, and read.
type proxied struct {
	app    *proxyApp
	core   *proxyCore
	worker *fastsyn.Worker
	id     fastsyn.FlowID
	header []byte // goes first, nil for none
	conn   *net.TCPConn
	ctx    context.Context // done: the connection is reset
	cancel context.CancelFunc

	// From the client: the worker adds, run writes, and gives the chunks back.
	up    handover
	upEOF atomic.Bool   // the FIN is behind up
	kick  chan struct{} // there is something in up, or upEOF
	spent handover
	taken takenTask

	// From the backend: read adds, the worker writes to the flow.
	down    handover
	downEOF atomic.Bool
	ahead   atomic.Int32  // chunks in down and queue
	credit  chan struct{} // ahead has become less
	arrived arrivedTask
	queue   chunkList // the worker's: what the flow did not take yet
	closed  bool      // the worker's: our FIN is behind all of it
	left    bool      // the worker's: the flow is gone, other than by FINs

	failed failedTask
	broken atomic.Bool  // it did not end by FINs both ways
	lost   atomic.Bool  // and that was the backend, not the client
	halves atomic.Int32 // goroutines that have ended
	first  [1024]byte   // what an idle backend is read into, so that a chunk is taken when there is text for it
}

// The tasks of the worker. Of each one at a time is posted; posted is cleared before it looks at what it was
// posted for.
type (
	takenTask   struct{ flowTask }
	arrivedTask struct{ flowTask }
	failedTask  struct{ flowTask }
	flowTask    struct {
		p      *proxied
		posted atomic.Bool
	}
)

func (p *proxied) post(k *flowTask, t fastsyn.Task) {
	if k.posted.CompareAndSwap(false, true) {
		p.worker.Post(t) // a worker that has ended has no flows
	}
}

// run dials, and writes what the client sends.
func (p *proxied) run() {
	a := p.app
	c, err := a.dialer.DialContext(p.ctx, "tcp", a.backend)
	switch {
	case p.ctx.Err() != nil:
		a.ctr.gone.Add(1)
		if err == nil {
			_ = c.Close()
		}
		p.giveBack(p.up.take())
		return
	case err != nil:
		a.dialFailed(err)
		p.post(&p.failed.flowTask, &p.failed)
		p.giveBack(p.up.take())
		return
	}
	a.ctr.connected.Add(1)
	p.conn = c.(*net.TCPConn)
	stop := context.AfterFunc(p.ctx, func() {
		_ = p.conn.SetLinger(0) // the peer is to see a reset, as we did
		_ = p.conn.Close()
	})
	a.running.Go(func() { p.ended(p.read(), stop) })
	p.ended(p.write(), stop)
}

// ended is called by each of the two goroutines. The second one closes the connection and says how it
// ended; an error does so at once.
func (p *proxied) ended(err error, stop func() bool) {
	a := p.app
	if err != nil {
		p.broken.Store(true)
		if p.ctx.Err() == nil && p.lost.CompareAndSwap(false, true) {
			p.post(&p.failed.flowTask, &p.failed)
		}
		p.cancel()
	}
	if p.halves.Add(1) < 2 {
		return
	}
	switch {
	case p.lost.Load():
		a.ctr.backendLost.Add(1)
	case p.broken.Load():
		a.ctr.clientLost.Add(1)
	default:
		a.ctr.done.Add(1)
	}
	if stop() {
		_ = p.conn.Close()
		p.cancel()
	}
}

// write passes on what the client sends, until its FIN.
func (p *proxied) write() error {
	if p.header != nil {
		if _, err := p.conn.Write(p.header); err != nil {
			return err
		}
	}
	var space [16][]byte
	for {
		eof := p.upEOF.Load() // before the look at up: then that is all there will be
		first := p.up.take()
		if first == nil {
			if eof {
				return p.conn.CloseWrite()
			}
			select {
			case <-p.kick:
			case <-p.ctx.Done():
				return p.ctx.Err()
			}
			continue
		}
		bufs := net.Buffers(space[:0])
		for c := first; c != nil; c = c.next {
			bufs = append(bufs, c.text[c.from:c.to])
		}
		n, err := bufs.WriteTo(p.conn)
		p.app.ctr.toBackend.Add(uint64(n))
		p.giveBack(first)
		if err != nil {
			p.giveBack(p.up.take())
			return err
		}
	}
}

// giveBack returns chunks to the worker, which opens the window by what was in them.
func (p *proxied) giveBack(first *chunk) {
	if first == nil {
		return
	}
	last := first
	for last.next != nil {
		last = last.next
	}
	p.spent.push(first, last)
	p.post(&p.taken.flowTask, &p.taken)
}

// read passes on what the backend sends, until it closes.
func (p *proxied) read() error {
	a := p.app
	bulk := false
	for {
		if p.ahead.Load() >= maxAhead {
			select {
			case <-p.credit:
			case <-p.ctx.Done():
				return p.ctx.Err()
			}
			continue
		}
		n, err := 0, error(nil)
		if !bulk {
			if n, err = p.conn.Read(p.first[:]); n == 0 {
				if err != nil {
					return p.readEnds(err)
				}
				continue
			}
		}
		select {
		case a.down <- struct{}{}:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
		c := a.chunks.Get().(*chunk)
		c.next, c.from, c.to = nil, 0, copy(c.text[:], p.first[:n])
		if bulk {
			if c.to, err = p.readBulk(c.text[:]); errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
		}
		// What fills its buffer is followed by more.
		bulk = c.to == chunkSize || !bulk && n == len(p.first)
		if c.to == 0 {
			a.recycle(c)
		} else {
			a.ctr.fromBackend.Add(uint64(c.to))
			p.ahead.Add(1)
			p.down.push(c, c)
			p.post(&p.arrived.flowTask, &p.arrived)
		}
		if err != nil {
			return p.readEnds(err)
		}
	}
}

// readBulk reads, for idleAfter at most.
func (p *proxied) readBulk(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(idleAfter)); err != nil {
		return 0, err
	}
	n, err := p.conn.Read(b)
	return n, errors.Join(err, p.conn.SetReadDeadline(time.Time{}))
}

// readEnds says what an error of reading means.
func (p *proxied) readEnds(err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	p.downEOF.Store(true)
	p.post(&p.arrived.flowTask, &p.arrived)
	return nil
}

// recycle takes back a chunk of a backend.
func (a *proxyApp) recycle(c *chunk) {
	a.chunks.Put(c)
	<-a.down
}

// Run has the flow's window opened by what its backend has taken.
func (t *takenTask) Run(w *fastsyn.Worker) {
	p := t.p
	t.posted.Store(false)
	n := 0
	for c := p.spent.take(); c != nil; {
		next := c.next
		n += c.to - c.from
		p.core.pool.put(c)
		c = next
	}
	w.Flow(p.id).Consumed(n)
}

// Run passes on what its backend has sent.
func (t *arrivedTask) Run(w *fastsyn.Worker) {
	t.posted.Store(false)
	t.p.pump(w.Flow(t.p.id))
}

// Run resets the flow, for its backend has failed.
func (t *failedTask) Run(w *fastsyn.Worker) {
	w.Flow(t.p.id).Abort()
	t.p.leave()
}

// pump has the flow take what the backend has sent.
func (p *proxied) pump(f *fastsyn.Flow) {
	eof := p.downEOF.Load() // before the look at down
	for c := p.down.take(); c != nil; {
		next := c.next
		c.next = nil
		p.queue.push(c)
		c = next
	}
	if p.left {
		p.drain()
		return
	}
	for c := p.queue.first; c != nil; c = p.queue.first {
		n := f.Write(c.text[c.from:c.to])
		p.core.written += uint64(n)
		if c.from += n; c.from < c.to {
			return // until Writable
		}
		if p.queue.first = c.next; c.next == nil {
			p.queue.last = nil
		}
		p.recycle(c)
	}
	if eof && !p.closed {
		p.closed = true
		f.Close()
	}
}

// recycle takes back a chunk of down.
func (p *proxied) recycle(c *chunk) {
	p.app.recycle(c)
	p.ahead.Add(-1)
	wake(p.credit)
}

func (p *proxied) drain() {
	for c := p.queue.first; c != nil; {
		next := c.next
		p.recycle(c)
		c = next
	}
	p.queue = chunkList{}
}

// leave ends what belongs to a flow that is gone: the backend is reset. What its goroutines still pass on
// is thrown away. On the worker.
func (p *proxied) leave() {
	if p.left {
		return
	}
	p.left = true
	p.cancel()
	for c := p.up.take(); c != nil; {
		next := c.next
		p.core.pool.put(c)
		c = next
	}
	p.pump(nil)
}
