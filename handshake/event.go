package handshake

import (
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// EventKind says what happened to a flow.
type EventKind uint8

// The events, in the order a flow sees them: EventEstablished exactly once
// (HND-001), then any EventData, EventAcked, EventPeerClosed, then EventClosed once.
// EventConfirmed is among them if EventEstablished came early. An attempt that fails
// sees EventClosed alone.
const (
	// EventEstablished: the peer has proved its address. With Event.FastOpen a passive
	// flow comes before that: a cookie says that somebody could once receive there.
	EventEstablished EventKind = iota + 1
	// EventData: Event.Len bytes of text in order, at offset Event.Off of the
	// payload of segment Event.Seg of the burst.
	EventData
	// EventAcked: all text sent before this burst is acknowledged. Text sent since,
	// in answer to an event before this one, is not; Sending tells.
	EventAcked
	// EventPeerClosed: the peer's FIN.
	EventPeerClosed
	// EventClosed: the flow is gone, see Event.Reason.
	EventClosed
	// EventConfirmed: the peer of a flow that came early has acknowledged our SYN-ACK.
	EventConfirmed
	// EventSegment: segment Event.Seg of the burst is for a stream, see Streams.
	EventSegment
	// EventICMP: an ICMP error about a stream, quoting sequence number Event.ISS; Event.Len
	// is the path MTU that it reports, 0 if it is about something else.
	EventICMP
	// EventAlive: the first segment of the peer since a Probe.
	EventAlive
	// EventRepeated: the SYN of an attempt was sent again; see TellRepeats.
	EventRepeated
)

// Event is something an application wants to know. Events of a burst are valid
// until EndBurst.
type Event struct {
	Flow     FlowID
	Off, Len uint32   // EventEstablished of a stream: Len bytes of the text given to ConnectText are not acknowledged; Off is 1 if a SYN-ACK wants an ACK
	ISS, IRS wire.Seq // EventEstablished: both initial sequence numbers
	RTT      uint32   // EventEstablished, EventConfirmed: 64 ns ticks, 0 when there is no valid sample
	Seg      int16    // index into the burst, -1 for events from timers
	App      uint16   // as given to Listen or Connect
	Kind     EventKind
	Reason   CloseReason
	Active   bool
	FastOpen bool // EventEstablished: see Info.FastOpen
}

// Info is what is known about a flow when it is established (HND-003).
type Info struct {
	Tuple      wire.Tuple
	ISS, IRS   wire.Seq
	RTT        time.Duration // SYN-ACK to ACK (passive) or SYN to SYN-ACK (active); 0: no valid sample (RTX-006)
	RTO        time.Duration // the timeout that RFC 6298 has text begin with: from RTT, or a default
	IW         int           // how many segments of text may begin: 10 (RFC 6928), or 1 after a loss (RFC 5681 §3.1)
	OwnMSS     uint16        // what we announced
	MSS        uint16        // send MSS: the peer's, clamped to our MTU, option bytes not deducted (ENC-005)
	SndShift   uint8         // the peer's window scale
	RcvShift   uint8         // ours
	SndWnd     uint32        // bytes
	WScale     bool
	SACK       bool
	Timestamps bool
	ECN        bool // RFC 3168
	Active     bool
	Cookie     bool // proved by a SYN cookie
	Retrans    bool // a segment of the handshake was retransmitted
	// FastOpen of a passive flow: it came by its SYN, before the peer proved its address, and
	// may be a replay (TFO-019). Of an active one: the peer took text with our SYN.
	FastOpen bool
}

// Info returns the facts of the handshake behind an EventEstablished. It is
// valid until EndBurst, also when the flow died later in the same burst (HND-004).
func (e *Engine) Info(ev *Event) Info {
	r := &e.recs[ev.Flow.idx]
	i := Info{
		Tuple: e.tuple(ev.Flow.idx), ISS: ev.ISS, IRS: ev.IRS,
		RTT: time.Duration(ev.RTT) * 64, MSS: r.mss, OwnMSS: e.ownMSS(r.flags&flagV6 == 0), SndWnd: r.sndWnd(),
		WScale: r.flags&flagWScale != 0, SACK: r.flags&flagSACK != 0, Timestamps: r.flags&flagTS != 0,
		ECN:    r.shifts&bitECN != 0,
		Active: r.flags&flagActive != 0, Cookie: r.flags&(flagCookie|flagActive) == flagCookie && !ev.FastOpen, Retrans: r.flags&flagRetrans != 0,
		FastOpen: ev.FastOpen,
	}
	if r.handedOver() {
		i.SndWnd = uint32(e.slot(r).wnd)
	}
	i.RTO, i.IW = e.firstFlight(ev, &i)
	if i.WScale {
		i.SndShift, i.RcvShift = r.peerShift(), e.ownShift
	}
	return i
}

// Age returns the time since the first SYN or SYN-ACK of the flow, with 64 ns
// resolution; it wraps after 274 s. Valid until EndBurst.
func (e *Engine) Age(id FlowID) time.Duration {
	return time.Duration(e.now64-e.recs[id.idx].start) * 64
}

// Retransmitted reports whether a segment of the flow's handshake was sent again, as Info.Retrans does. Valid
// until EndBurst.
func (e *Engine) Retransmitted(id FlowID) bool { return e.recs[id.idx].flags&flagRetrans != 0 }

// All yields every flow there is, from half-open to TIME-WAIT, in no order. It looks at the whole table;
// between bursts only.
func (e *Engine) All(yield func(FlowID) bool) {
	for i := range e.recs {
		if e.recs[i].state > Closed && i > 0 && !yield(e.id(uint32(i))) {
			return
		}
	}
}

// Tuple returns the 4-tuple of a flow; valid until EndBurst after it closed.
func (e *Engine) Tuple(id FlowID) wire.Tuple { return e.tuple(id.idx) }

// State returns the state of a flow, Closed when id is stale.
func (e *Engine) State(id FlowID) State {
	if r := e.get(id); r != nil {
		return r.state
	}
	return Closed
}

// StateOf returns the state of a tuple, Closed when there is no record of it.
func (e *Engine) StateOf(t *wire.Tuple) State {
	if idx := e.lookup(e.sumTuple(t).Hash, t); idx != 0 {
		return e.recs[idx].state
	}
	return Closed
}

func (e *Engine) event(kind EventKind, idx uint32, seg int) *Event {
	r := &e.recs[idx]
	// Filled in place: a literal would be built on the stack and copied.
	n := len(e.events)
	if n == cap(e.events) {
		e.events = append(e.events, Event{})
	}
	e.events = e.events[:n+1]
	ev := &e.events[n]
	ev.Flow.idx, ev.Flow.gen = idx, r.gen
	ev.Off, ev.Len, ev.ISS, ev.IRS, ev.RTT = 0, 0, 0, 0, 0
	ev.Seg, ev.App, ev.Kind, ev.Reason = int16(seg), r.app, kind, ReasonNone
	ev.Active, ev.FastOpen = r.flags&flagActive != 0, false
	return ev
}

// ended removes a flow and tells its end.
func (e *Engine) ended(idx uint32, seg int, why CloseReason) {
	r := &e.recs[idx]
	switch r.state {
	case SynSent, SynRcvd: // only active ones: a passive half-open ends untold
		e.fastOpenUnanswered(r)
		e.opening--
		switch why {
		case ReasonRefused:
			e.ctr.Refused++
		case ReasonTimedOut:
			e.ctr.TimedOut++
		case ReasonUnreachable:
			e.ctr.Unreachable++
		default:
			e.ctr.AttemptAborted++
		}
	case TimeWait: // told when it entered TIME-WAIT
		e.remove(idx)
		return
	default:
		e.lost(why)
	}
	e.event(EventClosed, idx, seg).Reason = why
	if seg >= 0 {
		e.removeHashed(idx, e.sum[seg].Hash)
		return
	}
	e.remove(idx)
}
