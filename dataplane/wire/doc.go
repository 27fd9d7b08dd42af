// Package wire reads and writes the headers fastsyn speaks: Ethernet with
// 802.1Q, ARP, IPv4, IPv6, ICMP, ICMPv6 with NDP, TCP and its options.
//
// There are two tiers. Views (type IPv4 []byte and so on) are made by checked
// constructors, after which no accessor can panic. Values (Segment, Options)
// hold no pointers and can only say meaningful things; Parse makes them in one
// pass from a frame and Segment encoders write them back. Malformed input is a
// Reason, never an error value or a panic, and nothing here allocates.
package wire
