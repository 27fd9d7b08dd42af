package fastsyn

import (
	"net"
	"syscall"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// core is what the Conns of one worker have in common. But for conns after the end of the
// worker, all of it belongs to the worker.
type core struct {
	w         *Worker
	app       uint16
	known     bool  // app is valid
	window    int64 // receive window of a flow
	memory    int64 // how much unread text is too much
	unread    int64 // received text that flows have not been told to be read
	listeners map[listenKey]*listener
	dials     map[FlowID]*attempt // not established yet
	conns     *Conn
}

type listenKey struct {
	local wire.Addr // zero: any
	port  uint16
}

// firstWindow is the receive window of a flow, in bytes, until its application has read
// something, and while the worker holds too much that is unread: what all peers may send
// together is more than anybody has memory for. A SYN-ACK cannot promise more anyway.
const firstWindow = 65535

func newCore(w *Worker, cfg Config) *core {
	window, memory := cfg.Engine.RcvWindow, cfg.ReadMemory
	if window == 0 {
		window = handshake.DefaultRcvWindow
	}
	if cfg.Engine.NoWScale {
		window = min(window, 65535)
	}
	if memory == 0 {
		memory = defaultReadMemory
	}
	return &core{w: w, window: int64(window), memory: int64(memory), listeners: map[listenKey]*listener{}, dials: map[FlowID]*attempt{}}
}

// register has the worker call k, and returns the number of the application.
func (k *core) register() (uint16, error) {
	if k.known {
		return k.app, nil
	}
	app, err := k.w.AddApp(Callbacks{
		Established: k.established, Data: k.data, Writable: k.writable,
		PeerClosed: k.peerClosed, Closed: k.closed,
	})
	k.app, k.known = app, err == nil
	return app, err
}

func (k *core) established(f *Flow) {
	if f.Active() {
		a := k.dials[f.ID()]
		if a == nil { // cannot be: every attempt that was given up is aborted
			f.Abort()
			return
		}
		delete(k.dials, f.ID())
		a.conn = k.adopt(f)
		a.finish(nil)
		return
	}
	t := f.Tuple()
	l := k.listeners[listenKey{t.Local, t.LocalPort}]
	if l == nil {
		l = k.listeners[listenKey{port: t.LocalPort}]
	}
	if l == nil {
		f.Abort()
		return
	}
	c := k.adopt(f)
	if !l.push(c) {
		k.forget(c)
		f.Abort()
	}
}

// adopt makes the Conn of f.
func (k *core) adopt(f *Flow) *Conn {
	c := newConn(k, f.ID(), f.Info())
	f.SetValue(c)
	f.SetNoDelay(true)
	f.SetKeepAlive(true)
	if c.next = k.conns; c.next != nil {
		c.next.prev = c
	}
	k.conns = c
	c.press(f)
	return c
}

// forget ends the worker's business with c.
func (k *core) forget(c *Conn) {
	if c.gone {
		return
	}
	c.gone = true
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		k.conns = c.next
	}
	c.prev, c.next = nil, nil
	c.out.free()
	k.unread -= c.held
	c.held = 0
}

func (k *core) data(f *Flow, p []byte) {
	c, ok := f.Value().(*Conn)
	if !ok {
		return
	}
	c.mu.Lock()
	switch {
	case c.closed: // nobody will read it: so the peer shall know
		c.mu.Unlock()
		k.forget(c)
		f.Abort()
		return
	case c.rshut:
		c.mu.Unlock()
		return
	}
	c.rx.add(p)
	c.unread.Add(int64(len(p)))
	c.mu.Unlock()
	c.readable.Signal()
	f.Hold(len(p))
	c.held += int64(len(p))
	k.unread += int64(len(p))
	if k.unread > k.memory {
		c.press(f)
	}
	c.credit(f)
}

// press makes the window of c the first one again.
func (c *Conn) press(f *Flow) {
	if more := c.core.window - firstWindow; more > 0 && c.pressed == 0 {
		c.pressed = more
		f.Hold(int(more))
	}
}

// credit tells the flow what was read.
func (c *Conn) credit(f *Flow) {
	n := c.freed.Swap(0)
	if n == 0 {
		return
	}
	k := c.core
	c.held -= n
	k.unread -= n
	if c.pressed != 0 && k.unread <= k.memory/2 {
		n += c.pressed
		c.pressed = 0
	}
	f.Consumed(int(n))
}

func (k *core) writable(f *Flow) {
	if c, ok := f.Value().(*Conn); ok {
		c.step(f)
	}
}

func (k *core) peerClosed(f *Flow) {
	c, ok := f.Value().(*Conn)
	if !ok {
		return
	}
	c.mu.Lock()
	c.eof = true
	c.mu.Unlock()
	c.readable.Broadcast()
}

func (k *core) closed(f *Flow, why CloseReason) {
	if a := k.dials[f.ID()]; a != nil {
		delete(k.dials, f.ID())
		a.finish(dialError(why))
		return
	}
	c, ok := f.Value().(*Conn)
	if !ok {
		return
	}
	k.forget(c)
	c.mu.Lock()
	switch c.errno = flowError(why); {
	case why != handshake.ReasonDone:
	case c.eof:
		c.errno = syscall.EPIPE
	default:
		c.errno = syscall.ETIMEDOUT // the peer's FIN never came
	}
	c.end(c.errno)
}

// flowError is the end of an established flow as a socket reports it.
func flowError(why CloseReason) syscall.Errno {
	switch why {
	case handshake.ReasonTimedOut:
		return syscall.ETIMEDOUT
	case handshake.ReasonUnreachable:
		return syscall.EHOSTUNREACH
	case handshake.ReasonAborted:
		return syscall.ECONNABORTED
	case handshake.ReasonRefused:
		return syscall.ECONNREFUSED
	case handshake.ReasonReset, handshake.ReasonDone, handshake.ReasonNone:
	}
	return syscall.ECONNRESET
}

// end marks that there is no flow any more. The caller holds the mutex, which end lets go.
func (c *Conn) end(err error) {
	if c.err == nil {
		c.err = err
	}
	c.tx.free()
	c.queued, c.full = 0, false
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.mu.Unlock()
	c.leaveQueue()
}

// orphan ends all Conns after their worker, with err for the calls that still come.
func (k *core) orphan(err error) {
	for k.conns != nil {
		c := k.conns
		k.forget(c)
		c.mu.Lock()
		c.end(err)
	}
}

// connTask is a Conn as the worker's task.
type connTask Conn

// Run does on the worker what the Conn has to do there.
func (t *connTask) Run(w *Worker) {
	c := (*Conn)(t)
	if c.gone {
		return
	}
	c.step(w.Flow(c.id))
}

// postAndUnlock has step run on the worker, unless it is about to anyway, and lets the
// mutex go.
func (c *Conn) postAndUnlock() {
	post := !c.posted && c.err == nil
	c.posted = c.posted || post
	c.mu.Unlock()
	if post {
		c.core.w.Post((*connTask)(c)) // when it has ended, so has c or will
	}
}

// step moves text from c to its flow, and does what c asks for.
func (c *Conn) step(f *Flow) {
	c.mu.Lock()
	c.posted = false
	do := c.ops
	c.ops = 0
	c.out.take(&c.tx)
	c.mu.Unlock()
	if do != 0 && !c.perform(f, do) {
		return
	}
	c.credit(f)
	took := 0
	for c.out.n > 0 {
		p := c.out.front()
		n := f.Write(p)
		took += n
		if n > 0 {
			c.out.drop(n)
		}
		if n < len(p) {
			break
		}
	}
	c.mu.Lock()
	c.queued -= took
	wake := c.full && c.queued <= c.wbuf/2
	if wake {
		c.full = false
	}
	release, fin := c.closed && c.queued == 0, c.wshut && c.queued == 0
	c.mu.Unlock()
	if wake {
		c.writable.Signal()
	}
	switch {
	case release && !c.released:
		c.released, c.sentFIN = true, true
		f.Release()
	case fin && !c.sentFIN:
		c.sentFIN = true
		f.Close()
	}
}

// perform does what was asked for, and reports whether there is still a flow.
func (c *Conn) perform(f *Flow, do ops) bool {
	if do&opAbort != 0 {
		c.core.forget(c)
		f.Abort()
		c.mu.Lock()
		c.end(net.ErrClosed)
		return false
	}
	if do&opTake != 0 {
		c.core.w.Take(c.id)
	}
	if do&(opNoDelay|opNagle) != 0 {
		f.SetNoDelay(do&opNoDelay != 0)
	}
	if do&(opKeepAlive|opNoKeepAlive) != 0 {
		f.SetKeepAlive(do&opKeepAlive != 0)
	}
	return true
}
