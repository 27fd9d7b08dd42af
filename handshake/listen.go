package handshake

import (
	"errors"
	"fmt"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Errors of Listen, for an address that is taken, and of Unlisten.
var (
	ErrListenerExists = errors.New("handshake: address already has a listener")
	ErrNoListener     = errors.New("handshake: nobody listens on that address")
)

type listener struct {
	addr      wire.Addr // zero: any
	app       uint16
	next      uint16 // in the chain of the port or of free ones, 0 ends it
	fastOpen  uint16 // index into fastOpen.queues; its limit is 0 when off
	autoClose bool
	guarded   bool // a SYN passes admit, a cookie admitCookie
	gate      gate
	halfOpen  int // half-opens, if the gate is set
	queued    int // flows established and not taken, if it bounds them
}

// listeners finds a listener by port without hashing: 65536 chain heads.
type listeners struct {
	byPort [65536]uint16
	all    []listener // index 0 is nil
	free   uint16     // first of those that Unlisten left
}

// Listen accepts connections to port at addr, or at any address when addr is
// zero (:: or 0.0.0.0). app comes back in events. With autoClose the engine answers
// a FIN with its own at once, in the same segment. An exact address wins over
// any (LSN-022).
func (e *Engine) Listen(addr wire.Addr, port, app uint16, autoClose bool) error {
	if port == 0 {
		return fmt.Errorf("handshake: port 0 cannot be listened on; name a port from 1 to 65535")
	}
	l := &e.listeners
	if len(l.all) == 0 {
		l.all = make([]listener, 1, 8)
	}
	if addr.IsZero() {
		addr = wire.Addr{}
	}
	for i := l.byPort[port]; i != 0; i = l.all[i].next {
		if l.all[i].addr == addr {
			return fmt.Errorf("%w: port %d", ErrListenerExists, port)
		}
	}
	n := l.free
	switch {
	case n != 0:
		l.free = l.all[n].next
	case len(l.all) > 65535:
		return fmt.Errorf("handshake: more than 65535 listeners")
	default:
		n = uint16(len(l.all))
		l.all = append(l.all, listener{})
	}
	l.all[n] = listener{addr: addr, app: app, next: l.byPort[port], autoClose: autoClose, guarded: e.guarded, fastOpen: l.all[n].fastOpen}
	l.byPort[port] = n
	return nil
}

// at returns the listener that was given just this address, nil if there is none.
func (l *listeners) at(addr wire.Addr, port uint16) *listener {
	for i := l.byPort[port]; i != 0; i = l.all[i].next {
		if l.all[i].addr == addr {
			return &l.all[i]
		}
	}
	return nil
}

// Unlisten ends the listener of addr and port, which are as given to Listen. Its
// half-opens are dropped without a reset (LSN-023): what such a peer sends next
// meets a closed port. Established flows live on. A table of millions is swept by
// and by, in Advance; half-opens it has not come to are gone for their peers already.
func (e *Engine) Unlisten(addr wire.Addr, port uint16) error {
	if addr.IsZero() {
		addr = wire.Addr{}
	}
	l := &e.listeners
	for at := &l.byPort[port]; *at != 0; at = &l.all[*at].next {
		n := *at
		if l.all[n].addr != addr {
			continue
		}
		*at = l.all[n].next
		e.fast.shut(l.all[n].fastOpen)
		l.all[n] = listener{next: l.free, fastOpen: l.all[n].fastOpen} // its places are for the next one here
		l.free = n
		e.sweepAt = 1
		e.sweep()
		return nil
	}
	return fmt.Errorf("%w: port %d", ErrNoListener, port)
}

// sweepStep is how many records one call of sweep looks at: some 10 µs.
const sweepStep = 4096

// sweep goes on dropping the half-opens of listeners that are gone.
func (e *Engine) sweep() {
	var t wire.Tuple
	for end := min(e.sweepAt+sweepStep, e.fresh); e.sweepAt < end; e.sweepAt++ {
		r := &e.recs[e.sweepAt]
		if r.state != SynRcvd || r.flags2&flagHalfOpen == 0 {
			continue
		}
		e.putTuple(e.sweepAt, &t)
		e.dropUnlistened(e.sweepAt, &t)
	}
	if e.sweepAt >= e.fresh || e.halfOpen == 0 {
		e.sweepAt = 0
	}
}

// dropUnlistened drops record idx, with tuple t, if it is a half-open whose listener
// is gone, and reports whether it was one.
func (e *Engine) dropUnlistened(idx uint32, t *wire.Tuple) bool {
	r := &e.recs[idx]
	if r.flags2&flagHalfOpen == 0 {
		return false
	}
	if l := e.listeners.find(t); l != nil && l.app == r.app {
		return false
	}
	e.ctr.HalfOpenClosed++
	e.remove(idx)
	return true
}

func (l *listeners) find(t *wire.Tuple) *listener {
	i := l.byPort[t.LocalPort]
	var any *listener
	for i != 0 {
		p := &l.all[i]
		if p.addr == t.Local {
			return p
		}
		if p.addr == (wire.Addr{}) {
			any = p
		}
		i = p.next
	}
	return any
}

// noRecord is CLOSED and LISTEN: §3.10.7.1, §3.10.7.2.
func (e *Engine) noRecord(s *wire.Segment, i int, v *cookie.Result) Action {
	l := e.listeners.find(&s.Tuple)
	if s.Flags&wire.FlagRST != 0 { // first: RST is never answered (VAL-009, RST-011)
		return e.count(DropRST)
	}
	if s.Flags&wire.FlagACK != 0 {
		if l != nil && s.Flags&wire.FlagSYN == 0 && v != nil {
			if v.OK {
				return e.acceptCookie(l, s, i, v)
			}
			if e.cfg.Flood.SilentBadCookies { // CKI-013
				return e.count(DropBadCookie)
			}
		}
		return e.resetStranger(s) // LSN-002
	}
	if l == nil {
		return e.resetStranger(s) // LSN-001
	}
	if s.Flags&wire.FlagSYN == 0 || s.Flags&wire.FlagFIN != 0 {
		return e.count(DropBadFlags) // VAL-008, VAL-010
	}
	return e.passiveOpen(l, s, i)
}

// resetFor rewrites s into the reset that answers it: §3.10.7.1, LSN-001..003.
func (e *Engine) resetFor(s *wire.Segment) Action {
	e.ctr.ResetsSent++
	if s.Flags&wire.FlagACK != 0 {
		s.Seq, s.Ack, s.Flags = s.Ack, 0, wire.FlagRST
	} else {
		s.Seq, s.Ack, s.Flags = 0, s.Seq+wire.Seq(s.SegLen()), wire.FlagRST|wire.FlagACK
	}
	s.Win, s.Len = 0, 0
	s.TOS &^= 3
	s.Opt.Has = 0
	return e.answer(AnsweredReset)
}
