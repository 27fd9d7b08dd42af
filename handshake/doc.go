// Package handshake is the TCP engine of fastsyn: the state machine of RFC 9293
// from LISTEN and SYN-SENT to a proven, established flow and its close, with its
// tables and timers, for one core.
//
// It is sans-I/O: there is no clock, socket, goroutine, lock or random source in
// it. The caller brings the time, the cookie keys and decoded segments; answers,
// events and segments to send come out. An Engine belongs to one goroutine, so it
// is lock-free by sharing nothing.
//
//	act := make([]handshake.Action, dataplane.BatchSize)
//	e.Handle(now, keys, segs, act)      // segs[i] became the answer where act[i] == Answer
//	for _, ev := range e.Events() { … } // run-to-completion callbacks: Send, Close, Abort
//	e.EndBurst()                        // closed flows are forgotten
//	e.Advance(now, budget)              // timers
//	for _, o := range e.Output() { … }  // segments the engine starts itself
//
// Within a burst all tuples are hashed first (package cookie), then all hash
// buckets are touched so that cache misses overlap, then cookies are verified in
// one call, then each segment is decided in order, then cookies are minted in one call.
//
// Section numbers in comments refer to RFC 9293; identifiers such as LSN-009 to
// the rows of docs/conformance.md.
package handshake
