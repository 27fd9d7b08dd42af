package ladder

import (
	"fmt"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Remark says what a segment means, in a sentence. Relate and Track have been called.
func (d *Diagram) Remark(s *Segment) string {
	left, right := d.roles()
	who, own, peer := left, "C", "S"
	if s.FromServer {
		who, own, peer = right, "S", "C"
	}
	text := d.meaning(s, who, own, peer)
	if s.Again {
		name := s.Name()
		if s.Len > 0 && s.Flags&wire.FlagSYN == 0 {
			name = "text"
		}
		text = fmt.Sprintf("the same %s again, %s after the last", name, span(s.After))
	}
	switch {
	case s.Lost:
		text += "; it is lost on the way"
	case s.Dropped:
		text += "; it is dropped where it arrives"
	}
	return text
}

func (d *Diagram) meaning(s *Segment, who, own, peer string) string {
	syn, ack := s.Flags&wire.FlagSYN != 0, s.Flags&wire.FlagACK != 0
	with := ""
	if s.Len > 0 {
		with = fmt.Sprintf(" and %d bytes of text", s.Len)
	}
	switch {
	case s.Flags&wire.FlagRST != 0 && s.Seq == 0:
		return fmt.Sprintf("the %s refuses: there is nobody at this port; what it refuses is the SYN with number %s", who, peer)
	case s.Flags&wire.FlagRST != 0:
		return fmt.Sprintf("the %s ends the connection at once", who)
	case syn && ack && s.ReceiverState == Established && s.SenderState == SynReceived, syn && ack && d.simultaneous():
		return fmt.Sprintf("the %s acknowledges the SYN that crossed its own, which it repeats: %s", who, own)
	case syn && ack:
		return fmt.Sprintf("the %s agrees: it has %s, expects %s next, and begins at %s = %d itself", who,
			d.acked(s, peer), d.number(s.Ack, peer), own, s.Seq)
	case syn && s.Len > 0:
		return fmt.Sprintf("the %s wants to connect, from %s = %d on, and sends %d bytes of its request with the SYN", who, own, s.Seq, s.Len)
	case syn:
		return fmt.Sprintf("the %s wants to connect; it numbers its bytes from %s = %d", who, own, s.Seq)
	case s.Flags&wire.FlagFIN != 0:
		return fmt.Sprintf("the %s has no more to send%s", who, with)
	case s.ReceiverState == Established && s.Len > 0:
		return fmt.Sprintf("%d bytes of text, whose acknowledgement of %s opens the connection at the other end too", s.Len, peer)
	case s.ReceiverState == Established:
		return fmt.Sprintf("the %s confirms: it has %s and expects %s next; the connection is open at both ends", who, peer, d.number(s.Ack, peer))
	case len(s.SACK) > 0 && !s.Ack.Less(s.SACK[0].Right):
		return fmt.Sprintf("the %s has all before %s, and has had %s before: a duplicate (D-SACK, RFC 2883)", who, d.number(s.Ack, peer), d.SACKText(s)[0][len("sack "):])
	case len(s.SACK) > 0:
		return fmt.Sprintf("the %s still expects %s, and has what lies behind the hole: %s", who, d.number(s.Ack, peer), strings.Join(d.SACKText(s), ", "))
	case s.Len > 0:
		return fmt.Sprintf("the %s sends %d bytes of text", who, s.Len)
	}
	return fmt.Sprintf("the %s has all before %s", who, d.number(s.Ack, peer))
}

// acked is what a SYN-ACK acknowledges.
func (d *Diagram) acked(s *Segment, peer string) string {
	c, sv, hasC, hasS := d.isns()
	base, known := sv, hasS
	if s.FromServer {
		base, known = c, hasC
	}
	if n := s.Ack - base - 1; known && n > 0 {
		return fmt.Sprintf("%s and %d bytes of text", peer, uint32(n))
	}
	return peer
}

// number is v relative to the initial number of the end called name.
func (d *Diagram) number(v wire.Seq, name string) string {
	c, s, hasC, hasS := d.isns()
	if name == "C" {
		return relative(v, c, name, hasC)
	}
	return relative(v, s, name, hasS)
}

// simultaneous reports whether both ends have sent a SYN without ACK.
func (d *Diagram) simultaneous() bool {
	var from [2]bool
	for _, it := range d.Items {
		if it.Segment != nil && it.Segment.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN {
			from[index(it.Segment.FromServer)] = true
		}
	}
	return from[0] && from[1]
}

// span is a time as people say it.
func span(d time.Duration) string {
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}
