package dataplane

// BatchSize is the number of frames a Batch holds, and the largest burst of any
// driver.
const BatchSize = 64

// Verdict says what Settle does with a frame. The zero value is Drop, so that a
// frame nobody decided about goes back to the driver and cannot leak.
type Verdict uint8

// The verdicts.
const (
	// Drop returns the frame to the driver.
	Drop Verdict = iota
	// Reply sends the buffer as it stands in Data[i]: rewritten in place and
	// resliced within its capacity. For a frame lent by Blank it means "send".
	Reply
	// Keep moves the frame to the application, which frees it exactly once by
	// putting it into a later batch with verdict Drop or Reply.
	Keep
)

// MetaFlags qualify a frame.
type MetaFlags uint8

// What a driver may say about a received frame.
const (
	// MetaHash: Meta.Hash is the Toeplitz hash that the queue was chosen by.
	MetaHash MetaFlags = 1 << iota
	// MetaCsumGood: the driver vouches for the IP and TCP checksums. A peer's
	// offload that has not filled them in yet (TP_STATUS_CSUMNOTREADY) is good too.
	MetaCsumGood
	// MetaCsumBad: the device found a wrong checksum (VAL-001).
	MetaCsumBad
	// MetaVLAN: the device stripped an 802.1Q tag, Meta.VLAN is its TCI.
	MetaVLAN
	// MetaTruncated: the frame was longer than the buffer and is cut.
	MetaTruncated
	// MetaTxCsum, set by the caller on a frame with verdict Reply: the device
	// completes the IPv4 header checksum and the TCP checksum, whose field holds
	// the sum of the pseudo-header (VAL-003). Only on queues with Caps.TxCsum.
	MetaTxCsum
)

// Meta travels beside a frame. Host order.
type Meta struct {
	Hash  uint32
	VLAN  uint16
	Flags MetaFlags
}

// Batch is a burst of up to BatchSize frames as a struct of arrays. It is made
// once per use and belongs to one goroutine; slices all have length BatchSize
// and entries at or above N are undefined.
type Batch struct {
	N       int
	Data    [][]byte // the frame, from the destination MAC on, without FCS
	Meta    []Meta
	Verdict []Verdict
	// Handle is the driver's own reference to each frame. Only drivers and
	// decorators touch it.
	Handle []uint64
}

// NewBatch returns an empty batch.
func NewBatch() *Batch {
	return &Batch{
		Data:    make([][]byte, BatchSize),
		Meta:    make([]Meta, BatchSize),
		Verdict: make([]Verdict, BatchSize),
		Handle:  make([]uint64, BatchSize),
	}
}
