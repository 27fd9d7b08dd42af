// Package worker is one core of an endpoint: a goroutine locked to a thread that
// polls one queue, parses the burst, answers ARP, NDP and ICMP echo for its own
// addresses, runs the handshake engine and the application's callbacks to completion,
// fires timers and sends.
//
// Everything a worker touches per frame is its own. Other goroutines reach it by
// Do, which runs a function between two bursts. The neighbour table alone is
// shared; it is read through an atomic pointer and written when an answer arrives.
package worker
