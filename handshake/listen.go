package handshake

import (
	"errors"
	"fmt"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// ErrListenerExists is returned by Listen for an address that is taken.
var ErrListenerExists = errors.New("handshake: address already has a listener")

type listener struct {
	addr      wire.Addr // zero: any
	app       uint16
	next      uint16 // in the chain of the port, 0 ends it
	fastOpen  uint16 // index into fastOpen.queues, 0: off
	autoClose bool
	used      bool
}

// listeners finds a listener by port without hashing: 65536 chain heads.
type listeners struct {
	byPort [65536]uint16
	all    []listener // index 0 is nil
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
	if len(l.all) > 65535 {
		return fmt.Errorf("handshake: more than 65535 listeners")
	}
	l.all = append(l.all, listener{addr: addr, app: app, next: l.byPort[port], autoClose: autoClose, used: true})
	l.byPort[port] = uint16(len(l.all) - 1)
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
		}
		return e.resetFor(s) // LSN-002
	}
	if l == nil {
		return e.resetFor(s) // LSN-001
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
