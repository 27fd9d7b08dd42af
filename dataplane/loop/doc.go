// Package loop is an in-memory wire between two ports: the embedded default of
// fastsyn, which needs no privileges and no device. The first Open of
// "loop:NAME" is side a, the second side b; when both are closed the name is
// free again.
//
// Frames live in one arena and never move: what one side sends is what the
// other receives, in place. Every queue of one side has a single-producer
// single-consumer ring of frame references to every queue of the other, and
// publishes a ring once per Settle. Every frame has a home queue. A frame
// dropped at home goes to the local free list, elsewhere into a ring that leads
// home, so the frames of a wire are never lost, however traffic flows.
//
// Checksums are real and not vouched for (no MetaCsumGood). With two or more
// queues the sending side does what a NIC would: it steers TCP by the symmetric
// Toeplitz hash of its 4-tuple. It also does what a NIC cannot and steers ICMP errors to
// the queue of the flow they are about (package steer). Everything else goes to queue 0.
//
// Frames sent before the other side opens wait in the ring. After it closed,
// Err is ErrPeerClosed and frames sent count as TxErrors. Here TxErrors is
// part of TxFrames, so that TxFrames + TxFull is what Settle was asked to send;
// a frame shorter than 14 or longer than 1518 bytes is a TxError as well.
// RxMissed stays 0, because a full ring is the sender's TxFull.
package loop
