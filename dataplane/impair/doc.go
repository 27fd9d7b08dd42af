// Package impair is a decorator that makes a good wire bad: loss, duplication,
// reordering, delay with jitter, corruption, and a capture of what passed.
//
//	impair(loss=1%,dup=0.5%,reorder=2%,delay=10ms,jitter=2ms,corrupt=0.1%,seed=7,pcap=f.pcap,dir=tx):loop:demo
//
// It works over any driver and impairs transmitted frames, unless dir says
// otherwise; decorating both ends impairs both ways. Decisions come from a PCG
// seeded by seed, queue and direction, and each frame draws the same number of
// values, so frame n of a queue always meets the same fate. Ends that
// are decorated with the same seed decide alike; give them different seeds.
//
// What happens to a frame, in this order:
//
//   - loss: it is dropped;
//   - corrupt: one random bit after the Ethernet header is flipped;
//   - dup: a copy follows it;
//   - reorder without delay: it is held until another frame of the queue went
//     past, or ReorderHold has passed; with delay: it skips the delay and so
//     overtakes (as in netem);
//   - delay: it is held for delay ± jitter, uniform. Jitter reorders when it is
//     larger than the gap between frames.
//
// Held frames are copies in a store of bounded size (store=, per queue and
// direction). A frame that does not fit is dropped, a duplicate not made, and
// either is counted as StoreFull. Held frames are sent through Blank and Settle
// of the decorated queue when they are due; that happens inside Rx, Settle and Wait, so
// the queue must be polled.
//
// # Counters
//
// Stats of the decorated port close as they do for any port: TxFrames + TxFull
// is what Settle was asked to send. A frame that was lost or held counts as
// TxFrames, for it was handed to the (bad) wire; TxFull is what the device
// below refused at once. RxFrames counts what Rx lent; what
// was lost on the way in is only in Counts. TxErrors and RxMissed are those of
// the port below. Counts itself closes too, see DirCounts.
//
// # Capture
//
// The capture (pcap, nanosecond time stamps) shows the device's side: received
// frames before their impairment, transmitted ones after it, when they are
// handed to the device, whether or not its ring has room for them. It is a debug mode: all
// queues share one writer.
package impair
