// Package afpacket is the driver for any Linux Ethernet interface: AF_PACKET
// sockets with memory-mapped rings, in pure Go. Importing it registers
//
//	afpacket:IFACE?queues=N&ring=v2&...
//
// with the parameters
//
//	queues=1          1 to 64 receive/transmit pairs
//	ring=v2           v2 or v3: layout of the receive rings, see below
//	rx-ring=8M        bytes of each receive ring
//	tx-ring=1M        bytes of each transmit ring
//	offloads=keep     off: switch checksum offloads, TSO, GSO, GRO, LRO of IFACE off until Close
//	promisc=off       on: all frames on the wire, also those for other hosts
//	outgoing=off      on: also what other stacks send through the interface, for tracing
//	rss-key=symmetric or microsoft: the Toeplitz key that spreads TCP over the queues
//
// It needs CAP_NET_RAW (CAP_NET_ADMIN for offloads=off) and Linux 4.20 or later.
//
// # Receiving
//
// One socket per queue. Frames are copied out of the ring into buffers of the
// queue, which costs little next to a system call and buys three things: room
// for a longer reply, a slot that is free at once, and frames that can be kept.
// Frames of up to 64 KiB from a peer with TSO arrive whole. A checksum that the
// sending kernel has left to its device (TP_STATUS_CSUMNOTREADY), or that ours
// has verified (TP_STATUS_CSUM_VALID), is vouched for by MetaCsumGood, the IPv4
// header checksum being verified here. Nothing that this host itself sends on
// the interface is received. Multicast is received whatever groups the kernel
// has joined (PACKET_MR_ALLMULTI), as an IPv6 address of ours needs.
//
// # TPACKET_V2 or V3
//
// TPACKET_V3 hands over a block when it is full or 1 ms old, the least that can
// be configured; the frames in a block that is still open cannot be read. Before
// Linux 6.18 the timer goes by ticks: over 8 ms were seen at HZ=250 (commit
// f7460d2989fa, "Use hrtimer to do the retire operation"). V2 hands over each
// frame. A round trip over veth that we answer once, and our time per 64-byte
// frame at full rate (2 shared vCPUs, Linux 6.18, BenchmarkPingPong and
// BenchmarkRx, the lower of repeated runs):
//
//	         round trip   receive and drop   receive and reply
//	ring=v2       9 µs         58 ns               730 ns
//	ring=v3    1000 µs         32 ns               750 ns
//
// A handshake has one such round trip at each end, and the frame rate is
// decided by sending, so the default is v2. With v3 a steady trickle also uses
// up a block per millisecond: the 64 blocks of 8 MiB bridge a pause of 64 ms,
// where v2 holds 4096 frames whenever they came. It pays for pure sinks.
//
// # Sending
//
// Frames are copied into a TPACKET_V2 transmit ring on a second socket, and one
// sendto per Settle has the kernel send them past the queueing discipline
// (PACKET_QDISC_BYPASS). So tcpdump on the interface shows what we receive, not
// what we send: look at the other end. What the device cannot take for now is
// sent at the next Settle, Rx or Wait; what the kernel refuses counts as
// TxErrors, inside TxFrames. When a frame still has MetaVLAN set and no 802.1Q
// tag in it, the tag is put back, so a frame answered in place answers on its VLAN.
//
// # Queues
//
// With more than one queue the receiving sockets form a fanout group, and a
// classic BPF program picks the queue: RETA[Toeplitz(4-tuple) & 127], dealt round
// robin, as Info tells. That holds for TCP over IPv4, with options or without, and
// over IPv6, behind up to eight options headers or none, behind one VLAN tag or none, and for ICMP errors
// about such a flow, whose tuple is the quoted one reversed. Everything
// else goes to queue 0. While an interface goes down or comes up, frames may
// reach another queue than predicted, for the kernel takes the sockets out of the
// group and puts them back one by one.
//
// # Failures
//
// An interface that is down is not a failure: Rx returns 0, Info().Up is false,
// what is sent counts as TxErrors, and all goes on once it is up. When it was
// deleted or moved to another namespace, Err wraps ErrInterfaceGone; that is
// noticed within about 10 ms of polling or at the next send.
package afpacket
