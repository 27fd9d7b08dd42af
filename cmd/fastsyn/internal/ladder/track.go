package ladder

import (
	"math"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// The states, as RFC 9293 §3.3.2 names them.
const (
	Closed      = "CLOSED"
	Listen      = "LISTEN"
	SynSent     = "SYN-SENT"
	SynReceived = "SYN-RECEIVED"
	Established = "ESTABLISHED"
	FinWait1    = "FIN-WAIT-1"
	FinWait2    = "FIN-WAIT-2"
	CloseWait   = "CLOSE-WAIT"
	Closing     = "CLOSING"
	LastAck     = "LAST-ACK"
	TimeWait    = "TIME-WAIT"
)

// end is one end of the connection as its segments tell.
type end struct {
	state     string
	stateless bool
	iss, next wire.Seq // its SYN, and after what it has sent
	fin       wire.Seq // after its FIN, once sent
	hasFIN    bool
}

// Track fills in the states of both ends, which follow from the segments, and returns the
// last ones. Segments count in the order in which each end sends and receives them.
func (d *Diagram) Track() (client, server string) {
	ends := [2]*end{
		{state: d.Client.State, stateless: d.Client.Stateless},
		{state: d.Server.State, stateless: d.Server.Stateless},
	}
	var flying []*Segment // sent, and to be received later
	land := func(until time.Duration) {
		for len(flying) > 0 {
			first := 0
			for i, s := range flying {
				if s.Received < flying[first].Received {
					first = i
				}
			}
			s := flying[first]
			if s.Received > until {
				return
			}
			flying = append(flying[:first], flying[first+1:]...)
			if !s.Dropped {
				s.ReceiverState = ends[index(!s.FromServer)].receive(s)
			}
		}
	}
	for _, it := range d.Items {
		s := it.Segment
		if s == nil {
			land(it.At)
			if it.State != "" {
				ends[index(it.FromServer)].become(it.State)
			}
			continue
		}
		land(s.Sent)
		s.SenderState = ends[index(s.FromServer)].send(s)
		if !s.Lost {
			flying = append(flying, s)
		}
	}
	land(math.MaxInt64)
	return ends[0].state, ends[1].state
}

func index(server bool) int {
	if server {
		return 1
	}
	return 0
}

// send follows a segment out and returns the new state, if it is one.
func (e *end) send(s *Segment) string {
	next := s.Seq + wire.Seq(s.Len)
	if s.Flags&wire.FlagSYN != 0 {
		e.iss = s.Seq
		next++
	}
	to := e.state
	switch {
	case s.Flags&wire.FlagRST != 0:
		to = Closed
		if e.state == Listen {
			to = Listen
		}
	case s.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN && e.state == Closed:
		to = SynSent
	case s.Flags&wire.FlagFIN != 0:
		next++
		e.fin, e.hasFIN = next, true
		switch e.state {
		case Established, SynReceived:
			to = FinWait1
		case CloseWait:
			to = LastAck
		}
	}
	e.next = next
	return e.become(to)
}

// receive follows a segment in.
func (e *end) receive(s *Segment) string {
	ack := s.Flags&wire.FlagACK != 0
	if s.Flags&wire.FlagRST != 0 {
		switch e.state {
		case Listen, Closed, TimeWait:
			return ""
		case SynSent:
			if !ack || !e.iss.Less(s.Ack) {
				return ""
			}
		}
		return e.become(Closed)
	}
	to := e.state
	switch e.state {
	case Listen:
		switch {
		case s.Flags&wire.FlagSYN != 0 && !ack && !e.stateless:
			to = SynReceived
		case ack && s.Flags&wire.FlagSYN == 0 && e.stateless && s.Ack == e.next:
			to = Established // the cookie came back
		}
	case SynSent:
		switch {
		case s.Flags&wire.FlagSYN == 0:
		case !ack:
			to = SynReceived // simultaneous open
		case e.iss.Less(s.Ack):
			to = Established // and text with the SYN may be acknowledged or not
		}
	case SynReceived:
		if ack && e.iss.Less(s.Ack) && s.Ack.LessEq(e.next) {
			to = Established
		}
	case FinWait1:
		if ack && s.Ack == e.fin {
			to = FinWait2
		}
	case Closing:
		if ack && s.Ack == e.fin {
			to = TimeWait
		}
	case LastAck:
		if ack && s.Ack == e.fin {
			to = Closed
		}
	}
	if s.Flags&wire.FlagFIN != 0 {
		switch to {
		case Established, SynReceived:
			to = CloseWait
		case FinWait1:
			to = Closing
		case FinWait2:
			to = TimeWait
		}
	}
	return e.become(to)
}

func (e *end) become(state string) string {
	if state == e.state {
		return ""
	}
	e.state = state
	return state
}
