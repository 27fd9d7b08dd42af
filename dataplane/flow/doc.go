// Package flow is the data phase of a TCP connection: what happens to text between
// the handshake and the close, for one core.
//
// It is sans-I/O like package handshake: time and segments come in, decisions go
// out, and nothing is allocated per segment. Text lives in the blocks of a Pool,
// which is bounded in total; what a flow keeps of its own is pointer-free and refers
// to the pool by index.
//
// The parts are here, each tested by itself; the connection that joins them is not
// yet, so nothing imports this package and handshake.Engine carries the short
// exchanges of today.
//
// Section numbers in comments refer to RFC 9293; identifiers such as DAT-001 to
// the rows of docs/conformance.md.
package flow
