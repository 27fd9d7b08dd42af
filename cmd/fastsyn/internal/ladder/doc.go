// Package ladder draws the segments between two hosts as a ladder diagram: the client's
// lifeline on the left, the server's on the right, an arrow per segment, what time it was at
// either end, and the states that both went through (RFC 9293 §3.3.2).
//
//	   ms               client                                                    server
//	          CLOSED │                                                    │ LISTEN
//	0.000   SYN-SENT │── SYN  seq=C ─────────────────────────────────────▶│ SYN-RECEIVED     0.041
//
// Initial sequence numbers are named C and S, all others are relative to them. Everything
// here is a function from values to text: no clock, no terminal.
package ladder
