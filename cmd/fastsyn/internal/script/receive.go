package script

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// next returns the next segment of the endpoint, nil when there is none. It
// answers ARP and NDP on the way, and stops at the answer to our echo request.
func (r *runner) next(wait time.Duration) (*answer, error) {
	end := time.Now().Add(wait)
	for {
		frame, err := r.sub.Receive(time.Until(end))
		if frame == nil || err != nil {
			return nil, err
		}
		var p wire.Packet
		why := wire.Parse(frame, false, &p)
		if why == wire.ReasonGroupMAC { // Linux answers directed broadcast addresses so (VAL-015)
			r.note("    (to a group MAC)")
			copy(frame, r.link.PeerMAC[:])
			why = wire.Parse(frame, false, &p)
		}
		if why != wire.OK {
			// Multicast of a kernel's own, such as MLD, is not about TCP.
			if why == wire.ReasonUnknownProtocol || why == wire.ReasonIPv6ExtHeader || why == wire.ReasonMulticastDestination {
				continue
			}
			return nil, fmt.Errorf("the endpoint sent a frame that is not valid: %v: % x", why, frame)
		}
		switch p.Kind {
		case wire.KindTCP:
			a, err := readAnswer(frame, &p, &r.link)
			if err != nil {
				return nil, fmt.Errorf("the endpoint sent %s: %w", a.show(nil), err)
			}
			return a, nil
		case wire.KindARP, wire.KindICMP6, wire.KindICMP4:
			if reply := r.neighbor(frame, &p); reply != nil {
				if err := r.sub.Inject(reply); err != nil {
					return nil, err
				}
				continue
			}
			typ := frame[p.L4]
			if p.Kind != wire.KindARP && (typ == wire.ICMPEchoReply && !p.V6 || typ == wire.ICMPv6EchoReply) &&
				be.Uint16(frame[p.L4+4:]) == echoID && be.Uint16(frame[p.L4+6:]) == r.echo {
				return nil, errEcho
			}
		case wire.KindNone:
		}
	}
}

// errEcho says that the echo reply came, and with it all that was sent before.
var errEcho = errors.New("echo reply")

// neighbor answers a question for an address of the peer's side.
func (r *runner) neighbor(frame []byte, p *wire.Packet) []byte {
	b := make([]byte, 128)
	l := wire.Link{Dst: r.link.EndpointMAC, Src: r.link.PeerMAC}
	if p.Kind == wire.KindARP {
		q, ok := wire.ParseARP(frame[p.L3:])
		if !ok || q.Op() != 1 || q.Target() == r.link.Endpoint[V4] {
			return nil
		}
		return b[:wire.PutARP(b, &l, 2, r.link.PeerMAC, q.Target(), r.link.EndpointMAC, q.Sender())]
	}
	q, ok := wire.ParseNeighborSolicit(frame, p)
	if !ok || q.Target() == r.link.Endpoint[V6] || p.Seg.Remote.IsZero() {
		return nil
	}
	return b[:wire.PutNeighborAdvert(b, &l, q.Target(), p.Seg.Remote, q.Target(), wire.NDPSolicited|wire.NDPOverride)]
}

// quiet asks for an echo and takes what comes before its reply: there must be
// no segment. Whatever an earlier frame caused is sent by then.
func (r *runner) quiet() error {
	extra, err := r.answers()
	if err == nil && extra != nil {
		err = fmt.Errorf("want silence, got %s", strings.Join(extra, " & "))
	}
	return err
}

// answers asks for an echo and returns the segments that come before its reply.
func (r *runner) answers() (segments []string, err error) {
	r.echo++
	o := outgoing{src: r.link.Peer[r.fam], dst: r.link.Endpoint[r.fam], seg: &Segment{}, fam: r.fam}
	frame, err := o.echo(&r.link, echoID, r.echo)
	if err != nil {
		return nil, err
	}
	if err := r.sub.Inject(frame); err != nil {
		return nil, err
	}
	for {
		a, err := r.next(patience)
		switch {
		case errors.Is(err, errEcho):
			return segments, nil
		case err != nil:
			return segments, err
		case a == nil:
			return segments, fmt.Errorf("no reply to an echo request within %v", patience)
		case r.repeated(a):
		default:
			segments = append(segments, r.take(a))
		}
	}
}

// repeated reports whether a is a retransmission that only a slow machine makes visible.
func (r *runner) repeated(a *answer) bool {
	if !r.sub.WallClock() {
		return false
	}
	least := again
	if a.flags&^wire.FlagPSH == wire.FlagSYN {
		least = 0 // two clock ticks behind a segment with a bad ACK or a reset (tcp_rcv_synsent_state_process)
	}
	for _, h := range r.heard {
		if h.a.same(a) && time.Since(h.at) >= least {
			r.take(a)
			r.note("    (that was a retransmission)")
			return true
		}
	}
	return false
}

// take enters a into the books and returns how it reads.
func (r *runner) take(a *answer) string {
	f := r.flow(key{a.dst, a.src, a.dport, a.sport})
	if a.flags&wire.FlagSYN != 0 && !f.known {
		f.iss, f.known = a.seq, true
	}
	show := a.show(f)
	r.note("<-- %s", show)
	r.heard = append(r.heard, heard{a, time.Now()})
	if len(a.tfo) > 0 {
		r.tfo[a.dst] = a.tfo
	}
	if ts, ok := a.opt["ts"]; ok {
		if !f.heardTS {
			f.tsFirst, f.heardTS = ts, true
		}
		f.tsLast = ts
	}
	return show
}
