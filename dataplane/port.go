package dataplane

import (
	"net"
	"time"
)

// Queue is one receive/transmit pair of a port. All methods belong to one
// goroutine, except Stats of the Port, which reads what the queue published.
//
// Ownership: Rx and Blank lend frames, Settle ends the loan. Between the two
// the caller may read and rewrite Data[i] within its capacity and reslice it.
// A batch passed to Rx or Blank must have been settled (its N is overwritten).
type Queue interface {
	// Rx lends received frames: sets b.N (also returned, 0..BatchSize), Data,
	// Meta and Handle, and resets Verdict to Drop. It polls and never blocks.
	// Data[i] has at least Caps.ReplyRoom bytes of capacity unless the frame
	// is longer than that.
	Rx(b *Batch) int
	// Settle ends the loan of every frame in b: sends those with verdict Reply
	// in order, returns those with Drop, leaves those with Keep to the caller.
	// It returns the number of frames handed to the device, sets b.N to 0 and never
	// blocks: what does not fit the transmit ring is returned to the driver and
	// counted as TxFull (peers retransmit).
	Settle(b *Batch) int
	// Blank lends up to n empty frames for traffic we start: Data[i] has length
	// 0 and capacity of at least Caps.FrameRoom, Meta is zero, the verdict is preset to Drop.
	// It sets and returns b.N, which is less than n when frames ran out.
	Blank(b *Batch, n int) int
	// Wait blocks until a frame may be waiting or max has passed. It is how a
	// worker sleeps in adaptive polling; spurious returns are allowed. See Waker.
	Wait(max time.Duration)
	// Caps is constant after Open.
	Caps() Caps
	// Err is the sticky failure of the device (interface gone, peer gone), nil
	// while it works. An interface that is only down is not a failure: Rx
	// returns 0 and Info().Up says so. Read it between bursts.
	Err() error
}

// Caps is what a queue can do.
type Caps struct {
	Burst     int  // largest burst that Rx returns
	ReplyRoom int  // capacity guaranteed for a received frame
	FrameRoom int  // capacity guaranteed for a blank frame
	RxCsum    bool // Meta carries a checksum verdict on (some) received frames
	RxHash    bool // Meta.Hash is set on received TCP frames
	TxCsum    bool // frames with MetaTxCsum leave with their checksums completed
	Blocking  bool // Wait really sleeps; busy polling is wasteful on this driver
}

// Info describes a port. Safe from any goroutine.
type Info struct {
	Driver string           // "loop", "afpacket", ...
	Name   string           // interface or wire name
	MAC    net.HardwareAddr // own address, 6 bytes
	MTU    int              // bytes of L3
	Queues int
	Up     bool // link state
	// Kernel says that the kernel sees the frames too, and so would answer them
	// with resets if it had our addresses (NET-013).
	Kernel bool
	// RSSKey and RETA describe how received frames are spread over queues:
	// Toeplitz with this key, queue = RETA[hash & (len-1)]. Empty: one queue, or unknown.
	RSSKey []byte
	RETA   []uint16
	// CPUs, if not empty, are where the driver wants its workers: that of queue
	// i on CPUs[i].
	CPUs []int
}

// Attacher is implemented by queues whose driver keeps state per thread. The
// thread that polls the queue, to which its goroutine is locked, calls Attach
// before the first Rx and Detach after the last Settle. A queue that is never
// attached works, but slower. Decorators pass both on.
type Attacher interface {
	Attach() error
	Detach()
}

// Waker is implemented by queues whose Wait other goroutines can end, so that
// something else than a frame may be waited for in it. Who has left work for the
// owner of the queue calls Wake after that; the owner says first that it will
// sleep, then looks for work once more, then calls Wait, and no work is slept
// through. A queue whose Wait is but a short pause has no need of it. Decorators
// pass it on; if the queue below is none it does nothing.
type Waker interface {
	// Wake ends the present Wait, or else the next one that would sleep. Several
	// calls may end one Wait. Any goroutine; it never blocks, makes one system call
	// at most, and does nothing once the port is closed.
	Wake()
}

// LinkCounter is implemented by ports that notice when their link comes up, so
// that addresses are announced and neighbours asked for again: there may be
// somebody else at the other end. Safe from any goroutine.
type LinkCounter interface {
	// LinkUps is how often the link has come up since it was opened.
	LinkUps() uint64
}

// CounterReporter is implemented by ports whose device keeps counters of its
// own, such as the extended statistics of DPDK. Safe from any goroutine.
type CounterReporter interface {
	// Counters returns them by the names the device gives them. The map belongs to the caller.
	Counters() map[string]uint64
}

// Stats are the frame counters of a port or of one queue. They close:
// everything lent was settled, and TxFrames + TxFull is what Settle was asked to send.
type Stats struct {
	RxFrames, RxBytes uint64 // lent by Rx
	TxFrames, TxBytes uint64 // handed to the device
	TxFull            uint64 // not sent: the transmit ring was full
	TxErrors          uint64 // refused by the device (counted inside TxFrames by some drivers: see the driver)
	RxMissed          uint64 // lost before Rx: kernel ring or wire full
	NoBlank           uint64 // frames that Blank could not lend
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.RxFrames += o.RxFrames
	s.RxBytes += o.RxBytes
	s.TxFrames += o.TxFrames
	s.TxBytes += o.TxBytes
	s.TxFull += o.TxFull
	s.TxErrors += o.TxErrors
	s.RxMissed += o.RxMissed
	s.NoBlank += o.NoBlank
}

// Port is an opened device.
type Port interface {
	// Info is safe from any goroutine.
	Info() Info
	// Queue returns queue i, 0 ≤ i < Info().Queues. It belongs to the
	// goroutine that polls it.
	Queue(i int) Queue
	// Stats returns the counters of queue i as last published (once per
	// burst); safe from any goroutine.
	Stats(i int) Stats
	// Close releases the device after the last use of its queues, and undoes
	// what Open changed on the host.
	Close() error
}
