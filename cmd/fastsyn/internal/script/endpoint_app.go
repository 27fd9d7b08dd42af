package script

import (
	"errors"
	"fmt"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// What the application of an Endpoint does and sees.

// Listen implements Subject.
func (e *Endpoint) Listen(port uint16) error { return e.w.Listen(wire.Addr{}, port, e.app) }

// Unlisten implements Subject.
func (e *Endpoint) Unlisten(port uint16) error {
	if err := e.w.Unlisten(wire.Addr{}, port); err != nil {
		return err
	}
	return e.settle()
}

// Connect implements Subject.
func (e *Endpoint) Connect(local, remote uint16) error {
	id, err := e.w.Connect(&wire.Tuple{
		Remote: e.link.Peer[e.fam], Local: e.link.Endpoint[e.fam], RemotePort: remote, LocalPort: local,
	}, e.app)
	if err != nil {
		return err
	}
	e.cur = &appFlow{id: id}
	e.flows[id] = e.cur
	return e.settle()
}

// Accept implements Subject.
func (e *Endpoint) Accept() (bool, error) {
	if len(e.accepted) == 0 {
		return false, nil
	}
	e.cur, e.accepted = e.accepted[0], e.accepted[1:]
	return true, nil
}

var errNoFlow = errors.New("there is no flow; connect or accept one first")

// Progress implements Subject.
func (e *Endpoint) Progress() (string, error) {
	a := e.cur
	switch {
	case a == nil:
		return "", errNoFlow
	case !a.closed && !a.up:
		return Connecting, nil
	case a.peerClosed && len(a.text) == 0 && (!a.closed || a.why == handshake.ReasonDone):
		return EOF, nil
	case !a.closed:
		return Open, nil
	}
	switch a.why {
	case handshake.ReasonRefused:
		return ErrRefused, nil
	case handshake.ReasonReset:
		return ErrReset, nil
	case handshake.ReasonTimedOut:
		return ErrTimedOut, nil
	case handshake.ReasonUnreachable:
		return ErrUnreachable, nil
	default:
		return a.why.String(), nil
	}
}

// Send implements Subject.
func (e *Endpoint) Send(p []byte) error {
	if e.cur == nil {
		return errNoFlow
	}
	if !e.w.Send(e.cur.id, p, false) {
		return fmt.Errorf("fastsyn did not take %d bytes", len(p))
	}
	return e.settle()
}

// Read implements Subject.
func (e *Endpoint) Read(n int) ([]byte, error) {
	if e.cur == nil {
		return nil, errNoFlow
	}
	n = min(n, len(e.cur.text))
	p := e.cur.text[:n]
	e.cur.text = e.cur.text[n:]
	if e.hold && n > 0 {
		e.w.Flow(e.cur.id).Consumed(n)
		return p, e.settle()
	}
	return p, nil
}

// Hold implements Subject.
func (e *Endpoint) Hold() error {
	e.hold = true
	return nil
}

// KeepAlive implements Subject.
func (e *Endpoint) KeepAlive() error {
	return e.stream(func(f *worker.Flow) { f.SetKeepAlive(true) })
}

// UserTimeout implements Subject.
func (e *Endpoint) UserTimeout(d time.Duration) error {
	return e.stream(func(f *worker.Flow) { f.SetUserTimeout(d) })
}

// Nagle implements Subject.
func (e *Endpoint) Nagle() error {
	return e.stream(func(f *worker.Flow) { f.SetNoDelay(false) })
}

// stream does something with the current flow.
func (e *Endpoint) stream(do func(f *worker.Flow)) error {
	if e.cur == nil {
		return errNoFlow
	}
	do(e.w.Flow(e.cur.id))
	return e.settle()
}

// Close implements Subject.
func (e *Endpoint) Close() error { return e.end(e.w.Release) }

// Shutdown implements Subject: the application reads on in any case.
func (e *Endpoint) Shutdown() error { return e.end(e.w.Close) }

// Abort implements Subject.
func (e *Endpoint) Abort() error { return e.end(e.w.Abort) }

func (e *Endpoint) end(f func(handshake.FlowID)) error {
	if e.cur == nil {
		return errNoFlow
	}
	f(e.cur.id)
	return e.settle()
}
