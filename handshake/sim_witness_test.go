package handshake

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// witness stands between an application and its engine. It makes the calls, sees
// what comes back, keeps books of its own and compares. The simulation and the
// fuzz targets share it: what holds in one must hold in the other.
type witness struct {
	tb    testing.TB
	e     *Engine
	flows map[FlowID]*seenFlow
	late  map[FlowID]*seenFlow   // aborted in this burst
	syns  map[streamKey]struct{} // SYNs and SYN-ACKs sent; nil: another node may have sent them
	book  Counters               // the fields that can be known from outside
	walker
	due    int // work since the last walk
	bursts int
	keys   *cookie.Keys // of the last burst
	before [MaxBurst]wire.Segment
}

// seenFlow is what is known about an attempt or a flow that has not ended.
type seenFlow struct {
	tup                    wire.Tuple
	iss, irs               wire.Seq
	next                   wire.Seq // of the text or FIN to come
	ts                     uint32   // last TSval that was acted on in order; 0: none known
	active, up, peerClosed bool
	ecn                    bool
	text                   int     // given to ConnectText
	early, confirmed       bool    // handed over by its SYN; acknowledged since
	released               int     // the burst in which it was, 0: not
	app                    *simApp // of the simulation
}

func newWitness(tb testing.TB, e *Engine) *witness {
	return &witness{tb: tb, e: e, flows: map[FlowID]*seenFlow{}, late: map[FlowID]*seenFlow{}, syns: map[streamKey]struct{}{}, bursts: 1}
}

func (x *witness) fail(format string, args ...any) {
	x.tb.Helper()
	require.Fail(x.tb, fmt.Sprintf(format, args...))
}

// handle is Engine.Handle; it checks what must hold for any answer.
func (x *witness) handle(now Time, keys *cookie.Keys, segs []*wire.Segment, act []Action) {
	for i, s := range segs {
		x.before[i] = *s
	}
	x.keys = keys
	x.e.Handle(now, keys, segs, act)
	x.book.Segments += uint64(len(segs))
	x.due += len(segs)
	for i, s := range segs {
		if act[i] == Silent {
			continue
		}
		in := &x.before[i]
		x.sent(s)
		switch {
		case s.Tuple != in.Tuple:
			x.fail("the answer to %s goes elsewhere: %s", tellSegment(in), tellSegment(s))
		case s.Len != 0:
			x.fail("an answer with text: %s", tellSegment(s))
		case in.Flags&wire.FlagRST != 0 && s.Flags&wire.FlagRST != 0:
			x.fail("a reset for a reset: %s, %s", tellSegment(in), tellSegment(s))
		case in.Flags&wire.FlagRST != 0 && s.Flags&^wire.FlagECE != wire.FlagACK:
			x.fail("a reset was answered by more than a challenge: %s, %s", tellSegment(in), tellSegment(s))
		}
	}
}

// sent takes note of a segment that leaves.
func (x *witness) sent(s *wire.Segment) {
	if bad := malformed(s); bad != "" {
		x.fail("%s: %s", bad, tellSegment(s))
	}
	if s.Flags&wire.FlagRST != 0 {
		x.book.ResetsSent++
	}
	if s.Flags&wire.FlagSYN != 0 && x.syns != nil {
		x.syns[streamKey{s.Tuple, s.Seq}] = struct{}{}
	}
}

// tellSegment prints s; its tuple alone would be printed otherwise.
func tellSegment(s *wire.Segment) string {
	return fmt.Sprintf("%v %s seq %d ack %d len %d win %d tos %#x opt %+v", s.Tuple, flagString(s.Flags), s.Seq, s.Ack, s.Len, s.Win, s.TOS, s.Opt)
}

// output is Engine.Output, seen.
func (x *witness) output() []Out {
	out := x.e.Output()
	if len(out) > maxOutput {
		x.fail("Output holds %d segments", len(out))
	}
	return out
}

func (x *witness) connect(t wire.Tuple, app uint16) (FlowID, error) {
	id, err := x.e.Connect(&t, app, 0)
	return x.connected(t, id, 0, err)
}

// connectText is Engine.ConnectText.
func (x *witness) connectText(t wire.Tuple, app uint16, n int) (FlowID, error) {
	id, err := x.e.ConnectText(&t, app, 0, n)
	return x.connected(t, id, n, err)
}

func (x *witness) connected(t wire.Tuple, id FlowID, n int, err error) (FlowID, error) {
	if err != nil {
		return id, err
	}
	if x.flows[id] != nil {
		x.fail("FlowID %v came back", id)
	}
	x.book.Attempted++
	x.flows[id] = &seenFlow{tup: t, active: true, text: n}
	return id, nil
}

// aborted returns the flow of ev if the application has aborted it since the burst was
// decided: it is told no more. The text that is skipped has been delivered all the same.
func (x *witness) aborted(ev *Event) *seenFlow {
	f := x.late[ev.Flow]
	if f == nil {
		return nil
	}
	if ev.Kind == EventEstablished || ev.Kind == EventClosed {
		x.fail("aborted, and yet %+v", *ev)
	}
	x.book.PayloadBytes += uint64(ev.Len)
	return f
}

// endBurst is Engine.EndBurst.
func (x *witness) endBurst() {
	clear(x.late)
	x.bursts++
	x.e.EndBurst()
}

// event takes note of ev and returns its flow, for the last time if it closed.
func (x *witness) event(ev *Event) *seenFlow {
	f := x.flows[ev.Flow]
	if ev.Kind == EventEstablished {
		return x.established(ev, f)
	}
	if f == nil || !f.up && ev.Kind != EventClosed {
		x.fail("event %+v of a flow that is not up", *ev)
	}
	if ev.Active != f.active {
		x.fail("event %+v has the other role", *ev)
	}
	x.fresh(ev, f)
	if f.early && !f.confirmed && (ev.Kind == EventAcked || ev.Kind == EventPeerClosed) {
		x.fail("%+v of a flow that came early and is not confirmed", *ev)
	}
	if f.released != 0 && f.released != x.bursts && (ev.Kind == EventData || ev.Kind == EventPeerClosed) {
		x.fail("%+v of a flow that was released", *ev)
	}
	switch ev.Kind {
	case EventConfirmed:
		x.confirmed(ev, f)
	case EventData:
		if ev.Len == 0 || ev.Seg < 0 || f.peerClosed {
			x.fail("text from nowhere or behind a FIN: %+v", *ev)
		}
		in := &x.before[ev.Seg]
		first := in.Seq
		if in.Flags&wire.FlagSYN != 0 {
			first++
		}
		if first+wire.Seq(ev.Off) != f.next || ev.Off+ev.Len > in.Len {
			x.fail("text of %s at %d+%d, want sequence number %d", tellSegment(in), ev.Off, ev.Len, f.next)
		}
		f.next += wire.Seq(ev.Len)
		x.book.PayloadBytes += uint64(ev.Len)
	case EventPeerClosed:
		if f.peerClosed {
			x.fail("the peer closed twice: %+v", *ev)
		}
		f.peerClosed = true
		f.next++
	case EventClosed:
		x.closed(ev, f)
	case EventAcked, EventEstablished:
	default:
		x.fail("unknown event %+v", *ev)
	}
	return f
}

// fresh holds TSP-007: nothing old is acted on, a reset excepted (RST-005).
func (x *witness) fresh(ev *Event, f *seenFlow) {
	if ev.Seg < 0 || f.ts == 0 {
		return
	}
	in := &x.before[ev.Seg]
	if in.Opt.Has&wire.HasTimestamps == 0 || in.Flags&wire.FlagRST != 0 {
		return
	}
	if int32(in.Opt.TSVal-f.ts) < 0 {
		x.fail("TSval %d after %d: %+v of %s", in.Opt.TSVal, f.ts, *ev, tellSegment(in))
	}
	if in.Seq.LessEq(f.next) {
		f.ts = in.Opt.TSVal
	}
}

func (x *witness) established(ev *Event, f *seenFlow) *seenFlow {
	info := x.e.Info(ev)
	switch {
	case ev.Active && (f == nil || f.up || f.tup != info.Tuple):
		x.fail("established twice or unasked: %+v, %v", *ev, info.Tuple)
	case ev.Active:
		x.book.Connected++
	case f != nil:
		x.fail("established twice: %+v, %v", *ev, info.Tuple)
	default:
		x.book.Accepted++
		f = &seenFlow{tup: info.Tuple, early: ev.FastOpen}
		x.flows[ev.Flow] = f
	}
	if info.Active != ev.Active || info.ISS != ev.ISS || info.IRS != ev.IRS || info.MSS < 48 {
		x.fail("event and facts differ: %+v, %+v", *ev, info)
	}
	f.up, f.iss, f.irs, f.next = true, ev.ISS, ev.IRS, ev.IRS+1
	if ev.Seg < 0 {
		x.fail("established by nothing: %+v", *ev)
	}
	x.proof(ev, f)
	if in := &x.before[ev.Seg]; info.Timestamps && in.Opt.Has&wire.HasTimestamps != 0 && in.Seq.LessEq(f.next) {
		f.ts = in.Opt.TSVal
	}
	if _, ok := x.syns[streamKey{f.tup, ev.ISS}]; !ok && x.syns != nil && !info.Cookie {
		x.fail("ISS %d was never sent: %+v", ev.ISS, info)
	}
	return f
}

// proof holds the segment behind an EventEstablished to what may be one: an ACK of
// our SYN and, of text that stood on it, a part; or a SYN that brings a cookie.
func (x *witness) proof(ev *Event, f *seenFlow) {
	in := &x.before[ev.Seg]
	bad := in.Tuple != f.tup
	switch {
	case f.early:
		bad = bad || in.Flags&(wire.FlagSYN|wire.FlagACK|wire.FlagRST|wire.FlagFIN) != wire.FlagSYN ||
			in.Opt.Has&wire.HasFastOpen == 0 || in.Seq != ev.IRS || x.cookieOf(in) == cookie.FastOpenRefused
	case in.Flags&wire.FlagACK == 0:
		bad = true
	case f.active:
		bad = bad || uint32(in.Ack-ev.ISS-1) > uint32(f.text) || ev.FastOpen != (in.Ack != ev.ISS+1)
	default:
		bad = bad || in.Ack != ev.ISS+1
	}
	if bad {
		x.fail("%s does not prove ISS %d: %+v", tellSegment(in), ev.ISS, *ev)
	}
}

// cookieOf is the verdict on the Fast Open cookie of a SYN.
func (x *witness) cookieOf(s *wire.Segment) cookie.FastOpenVerdict {
	var t cookie.Tuple
	gather(&t, &s.Tuple)
	return x.keys.FastOpen().Check(&t, s.Opt.TFO[:s.Opt.TFOLen])
}

// confirmed takes note that a flow which came early is like any other from now on.
func (x *witness) confirmed(ev *Event, f *seenFlow) {
	if !f.early || f.confirmed || ev.Seg < 0 {
		x.fail("confirmed without need: %+v", *ev)
	}
	f.confirmed = true
	in := &x.before[ev.Seg]
	if in.Flags&(wire.FlagACK|wire.FlagRST|wire.FlagSYN) != wire.FlagACK || !f.iss.Less(in.Ack) {
		x.fail("%s does not confirm ISS %d", tellSegment(in), f.iss)
	}
}

func (x *witness) closed(ev *Event, f *seenFlow) {
	delete(x.flows, ev.Flow)
	switch {
	case f.up && ev.Reason == ReasonDone:
		x.book.Done++
	case f.up && ev.Reason == ReasonReset:
		x.book.Reset++
		in := &x.before[ev.Seg]
		behind := f.peerClosed && in.Seq == f.next-1                   // RST-004
		if in.Flags&wire.FlagRST == 0 || in.Seq != f.next && !behind { // RST-001
			x.fail("reset by %s, want sequence number %d", tellSegment(in), f.next)
		}
	case f.up && ev.Reason == ReasonTimedOut:
		x.book.Broken++
	case f.up && ev.Reason == ReasonUnreachable: // timed out, and an ICMP error says why
		x.book.Broken++
		if ev.Seg >= 0 {
			x.fail("MTU-008: an ICMP error ended a flow that is up")
		}
	case f.up && ev.Reason == ReasonAborted && f.released != 0:
		x.book.Aborted++
	case !f.up && ev.Reason == ReasonRefused:
		x.book.Refused++
	case !f.up && ev.Reason == ReasonTimedOut:
		x.book.TimedOut++
	case !f.up && ev.Reason == ReasonUnreachable:
		x.book.Unreachable++
	default:
		x.fail("a flow (up: %v) closed for %v", f.up, ev.Reason)
	}
}

// check compares the books, and now and then walks the structures: a walk costs
// as much as the engine is large, so it is due after as much work.
func (x *witness) check() {
	c := x.e.Counters()
	if bad := c.Check(); bad != "" {
		x.fail("%s: %+v", bad, c)
	}
	b := &x.book
	for _, p := range [...]struct {
		name      string
		got, want uint64
	}{
		{"segments", c.Segments, b.Segments},
		{"attempted", c.Attempted, b.Attempted},
		{"connected", c.Connected, b.Connected},
		{"accepted", c.Accepted, b.Accepted},
		{"refused", c.Refused, b.Refused},
		{"timed out", c.TimedOut, b.TimedOut},
		{"unreachable", c.Unreachable, b.Unreachable},
		{"attempts aborted", c.AttemptAborted, b.AttemptAborted},
		{"done", c.Done, b.Done},
		{"reset", c.Reset, b.Reset},
		{"broken", c.Broken, b.Broken},
		{"aborted", c.Aborted, b.Aborted},
		{"text", c.PayloadBytes, b.PayloadBytes},
		{"flows told about", c.Opening + c.EstablishedNow, uint64(len(x.flows))},
	} {
		if p.got != p.want {
			x.fail("%s: the engine counts %d, its application %d", p.name, p.got, p.want)
		}
	}
	if x.due > int(x.e.fresh)+len(x.e.tab.buckets)/4 {
		x.look()
	}
}

// look walks the structures now.
func (x *witness) look() {
	x.due = 0
	if bad := x.walk(x.e); bad != "" {
		x.fail("%s", bad)
	}
}

// empty is check for an engine that should hold nothing any more.
func (x *witness) empty() {
	x.look()
	x.check()
	c := x.e.Counters()
	if len(x.e.Output()) == 0 && c.ResetsSent != x.book.ResetsSent {
		x.fail("%d resets counted, %d sent", c.ResetsSent, x.book.ResetsSent)
	}
	if c.Flows+c.HalfOpen+c.Opening+c.EstablishedNow+c.Queued+c.FastOpen.Pending+c.FastOpen.Sending != 0 || len(x.flows) != 0 || x.e.timers.armed != 0 {
		x.fail("something is left: %d flows, %d half-open, %d opening, %d established, %d queued, %d early, %d texts on SYNs, %d timers",
			c.Flows, c.HalfOpen, c.Opening, c.EstablishedNow, c.Queued, c.FastOpen.Pending, c.FastOpen.Sending, x.e.timers.armed)
	}
}
