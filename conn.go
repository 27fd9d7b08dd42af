package fastsyn

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// defaultWriteBuffer is what a Conn takes from Write before the flow has taken it, in bytes.
const defaultWriteBuffer = 64 << 10

// Conn is a flow as a net.Conn, with the semantics of *net.TCPConn: what
// Endpoint.DialContext returns, and Accept of the listeners of Endpoint.Listen. Its
// methods may be called from any goroutine, also from several at once.
//
// Text is copied twice each way: between the caller and blocks that the Conn owns, and
// between those and the frames, or the send buffer, of the worker. Received text that is
// not read yet counts against the receive window (Config.Engine.RcvWindow), so that a
// Conn holds at most a window of it; written text is bounded by SetWriteBuffer.
//
// As with package net, Nagle's algorithm is off and keep-alive is on to begin with.
type Conn struct {
	core         *core // of the worker that owns the flow
	id           FlowID
	info         Info
	laddr, raddr net.TCPAddr
	worth        int64 // how much room in the window the worker should hear of at once

	rmu sync.Mutex // one Read at a time: owns in
	in  text       // on its way to readers

	wmu sync.Mutex // one Write at a time, so that each is in one piece

	unread atomic.Int64 // bytes received that no Read has returned
	freed  atomic.Int64 // bytes read whose room the flow has not been told of

	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	rx       text // received, not in in
	tx       text // written, not in out
	queued   int  // bytes in tx and out
	wbuf     int  // bound of queued
	full     bool // a Write waits for room
	eof      bool // the peer has closed
	rshut    bool // CloseRead
	wshut    bool // CloseWrite
	closed   bool // Close
	reset    bool // Close is to reset, or has (SetLinger)
	posted   bool // step is on its way to the worker
	ops      ops
	err      error         // why the flow has ended
	errno    syscall.Errno // the same as a socket has it, 0 if none does
	linger   int
	rdl, wdl deadline

	// Of the accept queue, guarded by its mutex.
	queue        *listener // nil when not in it
	qprev, qnext *Conn

	// Of the worker.
	accept     *listener // whose accept queue c has been in
	out        text      // taken from tx, not yet by the flow
	held       int64     // of the receive window, by unread text
	pressed    int64     // and by press
	sentFIN    bool
	released   bool
	gone       bool  // no flow any more
	prev, next *Conn // in core.conns
}

// ops is what a Conn wants done by its worker.
type ops uint8

const (
	opTake    ops = 1 << iota // accepted
	opAbort                   // reset
	opNoDelay                 // Nagle off
	opNagle                   // and on
	opKeepAlive
	opNoKeepAlive
)

var _ net.Conn = (*Conn)(nil)

func newConn(k *core, id FlowID, info Info) *Conn {
	c := &Conn{
		core: k, id: id, info: info, worth: min(k.window, firstWindow) / 4, wbuf: defaultWriteBuffer, linger: -1,
		laddr: tcpAddr(info.Tuple.Local, info.Tuple.LocalPort), raddr: tcpAddr(info.Tuple.Remote, info.Tuple.RemotePort),
	}
	c.readable.L, c.writable.L = &c.mu, &c.mu
	return c
}

func tcpAddr(a wire.Addr, port uint16) net.TCPAddr {
	return net.TCPAddr{IP: a.Netip().AsSlice(), Port: int(port)}
}

// Info returns the facts of the handshake.
func (c *Conn) Info() Info { return c.info }

// LocalAddr returns our end, a *net.TCPAddr.
func (c *Conn) LocalAddr() net.Addr { return &c.laddr }

// RemoteAddr returns the peer's end, a *net.TCPAddr.
func (c *Conn) RemoteAddr() net.Addr { return &c.raddr }

// opError is err as package net reports it.
func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: &c.laddr, Addr: &c.raddr, Err: err}
}

// ended is why there is no flow any more, as call reports it.
func (c *Conn) ended(call string) error {
	if c.errno != 0 {
		return os.NewSyscallError(call, c.errno)
	}
	return c.err
}

// Read returns received text: at least one byte unless p is empty. After the peer's FIN
// it returns io.EOF, and when the flow has broken the reason, such as ECONNRESET, in both
// cases behind all text that came before.
func (c *Conn) Read(p []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	if err := c.awaitText(len(p) == 0); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, err
		}
		return 0, c.opError("read", err)
	}
	n := c.in.read(p)
	c.consumed(n)
	return n, nil
}

// WriteTo writes text to w as it comes, until the peer's FIN; io.Copy uses it.
func (c *Conn) WriteTo(w io.Writer) (n int64, err error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	for {
		if err := c.awaitText(false); err != nil {
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			return n, c.opError("read", err)
		}
		for c.in.n > 0 {
			k, err := w.Write(c.in.front())
			n += int64(k)
			c.in.drop(k)
			c.consumed(k)
			if err != nil {
				return n, err
			}
		}
	}
}

// awaitText waits until there is text in c.in, or something says that there will not be.
// The caller holds rmu.
func (c *Conn) awaitText(dontWait bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case c.rdl.passed:
			return os.ErrDeadlineExceeded
		case c.in.n > 0 || dontWait:
			return nil
		case c.rx.n > 0:
			c.in.take(&c.rx)
			return nil
		case c.eof, c.rshut:
			return io.EOF
		case c.err != nil:
			return c.ended("read")
		}
		c.readable.Wait()
	}
}

// consumed counts n bytes as read. The worker is told when that has made much room, and
// otherwise learns of it when it has to do with the flow anyway.
func (c *Conn) consumed(n int) {
	if n == 0 {
		return
	}
	c.unread.Add(int64(-n))
	if free := c.freed.Add(int64(n)); free >= c.worth && free-int64(n) < c.worth {
		c.mu.Lock()
		c.postAndUnlock()
	}
}

// Write queues p for the peer, and waits while the write buffer is full. What it returns
// says nothing about what the peer has received.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.mu.Lock()
	for {
		if err = c.writeError(); err != nil || len(p) == 0 {
			break
		}
		if room := c.wbuf - c.queued; room > 0 && !c.full {
			// In pieces, so that the worker does not wait for long.
			k := min(room, len(p)-n, blockText)
			c.tx.add(p[n : n+k])
			c.queued += k
			if n += k; n == len(p) {
				break
			}
			c.mu.Unlock()
			c.mu.Lock()
			continue
		}
		c.full = true
		c.postAndUnlock()
		c.mu.Lock()
		if c.full && c.writeError() == nil {
			c.writable.Wait()
		}
	}
	c.full = false
	if n > 0 {
		c.postAndUnlock()
	} else {
		c.mu.Unlock()
	}
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// writeError is why nothing can be written, nil if it can.
func (c *Conn) writeError() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.wdl.passed:
		return os.ErrDeadlineExceeded
	case c.wshut, c.eof && c.errno == syscall.ECONNRESET:
		return os.NewSyscallError("write", syscall.EPIPE)
	case c.err != nil:
		return c.ended("write")
	}
	return nil
}

// Close ends both directions. What was written is still sent, in the background; text
// that was received and not read makes it a reset, as in Linux, and so does SetLinger(0).
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return c.opError("close", net.ErrClosed)
	}
	c.close(c.linger == 0 || c.unread.Load() > 0)
	return nil
}

// close is Close with the mutex held, which it lets go.
func (c *Conn) close(reset bool) {
	c.closed = true
	c.rdl.stop()
	c.wdl.stop()
	if reset {
		c.reset = true
		c.ops |= opAbort
	}
	c.readable.Broadcast()
	c.writable.Broadcast()
	c.postAndUnlock()
}

// abort resets the flow of a Conn that nobody has been given.
func (c *Conn) abort() {
	c.mu.Lock()
	c.close(true)
}

// CloseWrite sends our FIN after what was written; reading goes on.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	if err := c.shutError(); err != nil {
		c.mu.Unlock()
		return err
	}
	c.wshut = true
	c.writable.Broadcast()
	c.postAndUnlock()
	return nil
}

// CloseRead ends reading: what has been received can still be read, what comes later is
// acknowledged and thrown away.
func (c *Conn) CloseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.shutError(); err != nil {
		return err
	}
	c.rshut = true
	c.readable.Broadcast()
	return nil
}

func (c *Conn) shutError() error {
	switch {
	case c.closed:
		return c.opError("close", net.ErrClosed)
	case c.err != nil:
		return c.opError("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	return nil
}

// set changes something of a Conn that is open, and lets its worker know if do says so.
func (c *Conn) set(do func() (post bool)) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return &net.OpError{Op: "set", Net: "tcp", Addr: &c.laddr, Err: net.ErrClosed}
	}
	if do() {
		c.postAndUnlock()
		return nil
	}
	c.mu.Unlock()
	return nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.set(func() bool {
		c.rdl.set(t, &c.mu, &c.readable)
		c.wdl.set(t, &c.mu, &c.writable)
		return false
	})
}

// SetReadDeadline has Reads fail with os.ErrDeadlineExceeded from t on, also those that
// wait already. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.set(func() bool { c.rdl.set(t, &c.mu, &c.readable); return false })
}

// SetWriteDeadline is SetReadDeadline for Writes, which may have queued a part by then.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.set(func() bool { c.wdl.set(t, &c.mu, &c.writable); return false })
}

// SetLinger says what Close does with written text that is not sent yet: 0 drops it and
// resets the connection; any other number, as the default, sends it in the background.
func (c *Conn) SetLinger(sec int) error {
	return c.set(func() bool { c.linger = sec; return false })
}

// SetWriteBuffer bounds what Write takes without waiting, in bytes; 64 KiB to begin with.
// The flow has a send buffer of its own behind that.
func (c *Conn) SetWriteBuffer(bytes int) error {
	return c.set(func() bool { c.wbuf = max(bytes, 1); return false })
}

// SetNoDelay switches Nagle's algorithm off (true, the default) or on.
func (c *Conn) SetNoDelay(noDelay bool) error {
	return c.set(func() bool { c.choose(noDelay, opNoDelay, opNagle); return true })
}

// SetKeepAlive says whether an idle connection is probed, which is so to begin with.
func (c *Conn) SetKeepAlive(keepalive bool) error {
	return c.set(func() bool { c.choose(keepalive, opKeepAlive, opNoKeepAlive); return true })
}

func (c *Conn) choose(on bool, yes, no ops) {
	if !on {
		yes, no = no, yes
	}
	c.ops = c.ops&^no | yes
}
