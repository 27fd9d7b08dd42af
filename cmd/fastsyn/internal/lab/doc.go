// Package lab plays the scenarios of a textbook's chapter on the TCP handshake for real: fastsyn in
// one network namespace, a Linux kernel in another, a veth pair between them. Each scenario prints
// what happened as a trace and a ladder diagram, and checks it against what it says: frames as
// both ends captured them, counters of both ends, and the states that both report.
package lab
