package handshake

import (
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// walker visits everything an engine holds: each record must be in exactly one
// place, each list whole, each gauge the number of records it stands for. Its
// scratch is kept, since the simulation walks thousands of times.
type walker struct {
	place  []uint8
	passed []uint32
}

// The places of a record.
const (
	nowhere uint8 = iota
	inFree
	inLimbo
	inTable
)

// walk returns what is wrong with the structures of e, or "".
func (x *walker) walk(e *Engine) string {
	x.place = append(x.place[:0], make([]uint8, e.fresh)...)
	if bad := x.list(e, "free", e.free, inFree); bad != "" {
		return bad
	}
	if bad := x.list(e, "limbo", e.limbo, inLimbo); bad != "" {
		return bad
	}
	if bad := x.table(e); bad != "" {
		return bad
	}
	if bad := x.timers(e); bad != "" {
		return bad
	}
	if bad := x.records(e); bad != "" {
		return bad
	}
	if bad := x.places(e); bad != "" {
		return bad
	}
	return x.gates(e)
}

func (x *walker) list(e *Engine, name string, idx uint32, place uint8) string {
	for ; idx != 0; idx = e.recs[idx].next {
		switch {
		case idx >= e.fresh:
			return fmt.Sprintf("%s list: record %d was never used", name, idx)
		case x.place[idx] != nowhere:
			return fmt.Sprintf("%s list: record %d is in two places", name, idx)
		case e.recs[idx].state > Closed:
			return fmt.Sprintf("%s list: record %d is in %v", name, idx, e.recs[idx].state)
		case e.recs[idx].timer != 0:
			return fmt.Sprintf("%s list: record %d has a timer", name, idx)
		}
		x.place[idx] = place
	}
	return ""
}

// table looks every record up: those alive are found, by no other's tuple, and
// those that are not are not.
func (x *walker) table(e *Engine) string {
	for idx := uint32(1); idx < e.fresh; idx++ {
		if e.recs[idx].state == StateInvalid && x.place[idx] != nowhere {
			continue // made for a flow that found no place in the table
		}
		hash, tup := e.hashOf(idx), e.tuple(idx)
		found := e.lookup(hash, &tup)
		switch {
		case e.recs[idx].state <= Closed && found == idx:
			return fmt.Sprintf("table: record %d is found in %v", idx, e.recs[idx].state)
		case e.recs[idx].state <= Closed:
			continue
		case x.place[idx] != nowhere:
			return fmt.Sprintf("table: record %d is in two places", idx)
		case found != idx:
			return fmt.Sprintf("table: record %d is not found, or another has its tuple %v", idx, tup)
		}
		x.place[idx] = inTable
	}
	return x.buckets(e)
}

// timers checks the links, the order and the number of the armed ones.
func (x *walker) timers(e *Engine) string {
	armed := 0
	for class := range e.timers.fifo {
		f := &e.timers.fifo[class]
		prev := uint32(0)
		for idx := f.head; idx != 0; idx = e.recs[idx].next {
			r := &e.recs[idx]
			switch {
			case int(idx) >= len(x.place) || x.place[idx] != inTable:
				return fmt.Sprintf("timer class %d: record %d is not alive", class, idx)
			case int(r.timer) != class+1 || r.prev != prev:
				return fmt.Sprintf("timer class %d: the links of record %d are broken", class, idx)
			case prev != 0 && int32(r.deadline-e.recs[prev].deadline) < 0:
				return fmt.Sprintf("timer class %d: record %d is due before the one ahead of it", class, idx)
			case int32(r.deadline-e.nowMS) > int32(e.timers.delay[class])+1:
				return fmt.Sprintf("timer class %d: record %d is due in %d ms", class, idx, int32(r.deadline-e.nowMS))
			}
			prev = idx
			armed++
		}
		if f.tail != prev {
			return fmt.Sprintf("timer class %d: the tail is not the last", class)
		}
	}
	if armed != e.timers.armed {
		return fmt.Sprintf("timers: %d armed, %d counted", armed, e.timers.armed)
	}
	return ""
}

// records checks each live record by itself, and the gauges by all of them.
func (x *walker) records(e *Engine) string {
	var flows, half, opening, established, armed int
	for idx := uint32(1); idx < e.fresh; idx++ {
		r := &e.recs[idx]
		switch {
		case x.place[idx] == nowhere:
			return fmt.Sprintf("record %d is lost in %v", idx, r.state)
		case x.place[idx] != inTable:
			continue
		case r.gen == 0 && r.state == StateInvalid:
			return fmt.Sprintf("record %d is in the table and was never used", idx)
		}
		flows++
		if r.timer != 0 {
			armed++
		}
		if r.flags2&flagHalfOpen != 0 {
			half++
		}
		switch r.state {
		case SynSent, SynRcvd:
			switch {
			case r.flags&flagActive != 0:
				opening++
			case r.handedOver():
				established++
			}
		case Established, FinWait1, FinWait2, CloseWait, Closing, LastAck:
			established++
		case TimeWait, StateInvalid, Closed, Listen:
		}
		if bad := recordFault(r); bad != "" {
			return fmt.Sprintf("record %d in %v: %s: %+v", idx, r.state, bad, *r)
		}
	}
	switch {
	case flows != e.flows:
		return fmt.Sprintf("%d flows, %d counted", flows, e.flows)
	case half != e.halfOpen:
		return fmt.Sprintf("%d half-open, %d counted", half, e.halfOpen)
	case opening != e.opening:
		return fmt.Sprintf("%d opening, %d counted", opening, e.opening)
	case established != e.established:
		return fmt.Sprintf("%d established, %d counted", established, e.established)
	case armed != e.timers.armed:
		return fmt.Sprintf("%d records with timers, %d armed", armed, e.timers.armed)
	}
	return ""
}

// recordFault says how the fields of a live record contradict its state.
func recordFault(r *record) string {
	active, half, fin := r.flags&flagActive != 0, r.flags2&flagHalfOpen != 0, r.flags&flagFINSent != 0
	backingOff := r.timer != 0 && int(r.timer) != classTimeWait+1 && int(r.timer) != classFinWait2+1
	idle := r.sndUna == r.sndNxt
	if r.sndNxt.Less(r.sndUna) {
		return "SND.UNA is beyond SND.NXT"
	}
	if r.mss < 48 && r.state != SynSent {
		return "the peer's MSS is below the least"
	}
	if (r.flags2&flagText != 0) != (textUnderWay(r) > 0) {
		return "text under way and its flag differ"
	}
	if r.handedOver() {
		if half || !backingOff {
			return "handed over, and half-open or without a timer"
		}
		return ""
	}
	switch r.state {
	case SynSent, SynRcvd:
		switch {
		case r.sndNxt != r.sndUna+1 && (r.flags&flagFastOpen == 0 || uint32(r.sndNxt-r.sndUna-1) > textUnderWay(r)):
			return "more than the SYN and its text is under way"
		case !backingOff:
			return "no retransmission timer"
		case half == active || r.state == SynSent && !active || fin:
			return "flags of another state"
		}
		return ""
	case Established, CloseWait:
		if fin || backingOff == idle {
			return "a FIN, or a timer without text, or text without a timer"
		}
	case FinWait1, Closing, LastAck:
		if !fin || idle || !backingOff {
			return "no FIN under way, or no timer"
		}
	case FinWait2:
		if !fin || !idle || int(r.timer) != classFinWait2+1 {
			return "the FIN is not acknowledged, or no timer"
		}
	case TimeWait:
		if !fin || !idle || int(r.timer) != classTimeWait+1 {
			return "the FIN is not acknowledged, or no timer"
		}
	case StateInvalid, Closed, Listen:
		return "no state for a record"
	}
	if half {
		return "counted as half-open"
	}
	return ""
}

// textUnderWay is how much text that the application gave is not acknowledged.
func textUnderWay(r *record) uint32 {
	switch {
	case r.state >= Established:
		return r.outstanding()
	case r.handedOver():
		return r.outstanding() - 1
	case r.flags&flagFastOpen != 0:
		return uint32(r.wnd)
	}
	return 0
}

// malformed says what no segment of the engine may look like, or "".
func malformed(s *wire.Segment) string {
	has := func(f wire.Flags) bool { return s.Flags&f == f }
	switch {
	case s.Flags&(wire.FlagSYN|wire.FlagACK|wire.FlagRST) == 0:
		return "neither SYN, ACK nor RST"
	case !has(wire.FlagACK) && s.Ack != 0:
		return "an acknowledgment number without ACK"
	case has(wire.FlagSYN|wire.FlagFIN) || has(wire.FlagSYN|wire.FlagRST) || has(wire.FlagFIN|wire.FlagRST):
		return "flags that exclude each other"
	case has(wire.FlagRST) && (s.Win != 0 || s.Len != 0 || s.Opt.Has&^wire.HasTimestamps != 0 || s.TOS&3 != 0):
		return "a reset that carries something"
	case !has(wire.FlagSYN) && s.Opt.Has&(wire.HasMSS|wire.HasWScale|wire.HasSACKPermitted|wire.HasFastOpen) != 0:
		return "an option of a SYN"
	case has(wire.FlagSYN|wire.FlagACK) && (s.Len != 0 || s.Flags&(wire.FlagCWR|wire.FlagAE) != 0):
		return "a SYN-ACK with text, CWR or AE"
	case has(wire.FlagSYN) && s.Len != 0 && (s.Opt.Has&wire.HasFastOpen == 0 || s.Opt.TFOLen == 0):
		return "a SYN with text and without a cookie" // TFO-014
	case s.TOS&ecnMask != 0 && (s.TOS&ecnMask != ect0 || s.Len == 0 || has(wire.FlagSYN)):
		return "marked ECN-capable without new text" // ECN-005
	case s.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN && s.Opt.Has&wire.HasMSS == 0:
		return "a SYN without MSS"
	}
	return ""
}
