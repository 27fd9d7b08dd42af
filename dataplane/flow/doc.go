// Package flow is the data phase of a TCP connection: what happens to text between
// the handshake and the close, for one core.
//
// It is sans-I/O like package handshake: time and segments come in, decisions go
// out, and nothing is allocated per segment. Text lives in the blocks of a Pool,
// which is bounded in total; what a flow keeps of its own is pointer-free and refers
// to the pool by index.
//
// A Table has the flows of a core that handshake.Engine has established and handed
// over as streams (adr 0020):
//
//	t.SetClock(now)
//	for each event of the engine's burst {
//		EventEstablished: t.Open(ev, …)
//		EventSegment:     t.Segment(ev, seg, text, blocks) // calls the Handler, which may call Write, Close, …
//	}
//	for t.Answer(&out) { … }  // what goes out in the frames that were received
//	t.Advance(budget)         // timers
//	for t.Output(&out) { … }  // the rest
//
// Each flow speaks once per burst, when its events are over: an ACK rides on text. A connection
// is a conn, which is all that an idle flow costs; a sender (recovery, congestion control, send
// buffer) is lent to it while something is queued or in flight. Text that arrives in order goes to the
// application from the frame, other text waits in a Reassembler.
//
// Section numbers in comments refer to RFC 9293; identifiers such as DAT-001 to
// the rows of docs/conformance.md.
package flow
