// Package bench measures handshakes, and the frames under them: scenarios,
// pacing, histograms, and a report whose sums are checked.
//
// Run opens the port that Config names and drives a scenario:
//
//   - "handshake": complete opens, each closed at once by RST or FIN. By default
//     client and server are both ours, at the two ends of an in-memory wire that
//     carries real frames; with Config.Connect the peer is whoever listens there.
//   - "http": transactions: open, GET, a response that is verified, again for as many
//     requests as the connection is for, close by FIN. The peer is as in handshake.
//   - "syn-flood": SYNs from invented sources, answers verified without state.
//   - "echo": frames of minimum size to a reflector, verified when they return.
//     No TCP is involved, so no other scenario can be faster on that port.
//
// Reflect is the other end of an echo: it answers every frame with itself.
//
// # What is measured
//
// The sending time starts with the first SYN, after the next hop was resolved.
// It ends when Config.Duration has passed, or, when Config.Count ends the run, when
// the last attempt has ended or a Config.Drain that was given has passed since it
// began. Rates are what happened within the sending time, divided by it; what
// completes while a run with a duration drains is in the totals, not in the rate.
//
// Latency is from the SYN handed to the engine to the flow established, by the
// clock that a worker reads once per burst: how long a SYN and its answer wait in
// queues is in it. In http that is one of three, with the time to the first byte of a
// response and to the end of the transaction. With a rate, opens have intended times, and the response time
// also counts how long an open was late, so that a peer that stalls the load
// generator cannot hide it (coordinated omission).
package bench
