// Package rss computes in software what a NIC does for receive side scaling:
// the Toeplitz hash of a TCP tuple, the redirection table (RETA) from hash to
// queue, and from both the source ports whose replies come back to a chosen
// queue.
//
// The hash input is source address, destination address, source port and
// destination port of a frame as received, in network byte order: 12 bytes for
// IPv4, 36 for IPv6; 8 and 32 for the variants without ports. Arguments here
// are host-order values of those network-order words, so 192.0.2.1 is
// 0xc0000201. Definition and test vectors: Microsoft, "RSS Hashing Functions"
// and "Verifying the RSS Hash Calculation".
//
// Everything is immutable once built and may be shared by all goroutines.
package rss
