// Package steer says to which queue of a port a frame belongs: the software twin
// of a NIC's receive side scaling, for wires and devices that have none, or whose
// choice is to be checked.
//
// A TCP segment belongs to RETA[Toeplitz of its tuple]. It is found like a NIC
// does, no deeper than it must: behind one 802.1Q tag or none, in IPv4 with
// options or without but no fragment, in IPv6 also behind options and atomic fragment
// headers, which a NIC may be at a loss with: a flow has to stay where it is. Lengths
// are checked as far as they are read, checksums are not.
//
// An ICMP or ICMPv6 error about a TCP segment belongs where the flow it is about
// belongs. It quotes a segment that we sent, so the tuple as received is the
// quoted one reversed. The types are those that wire.QuotedTCP takes; the quote
// must have the first 8 bytes of TCP and, in IPv6, no extension headers: we
// send none. A NIC knows nothing of that and spreads errors by their addresses or not at all.
//
// Everything else belongs to no queue in particular.
package steer
