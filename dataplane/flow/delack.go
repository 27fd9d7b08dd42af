package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// MaxAckDelay is the longest delay of an ACK in µs (§3.8.6.3: less than 0.5 s).
const MaxAckDelay = 499_000

// AckWhen says when received text is to be acknowledged.
type AckWhen uint8

// The times.
const (
	AckInvalid AckWhen = iota
	AckNow             // with this segment, or with the last of the burst (DAT-015)
	AckLater           // when Due says so, or with whatever is sent before
)

// DelAck decides when one flow acknowledges text: every second full segment at once,
// less than that after a delay in which text of our own may take the ACK along (DAT-003).
type DelAck struct {
	Last  wire.Seq // Last.ACK.sent (RFC 7323 §4.3)
	due   uint32   // µs, on the clock of the caller, which wraps
	mss   uint16   // the largest that the peer may send
	full  uint16   // what the peer's segments have when they are full
	prev  uint16   // text of the segment before
	armed bool
}

// NewDelAck returns the state of a flow that has acknowledged nxt, whose peer sends
// segments of mss bytes at most.
func NewDelAck(nxt wire.Seq, mss uint16) DelAck { return DelAck{Last: nxt, mss: mss} }

// start is NewDelAck in place.
func (d *DelAck) start(nxt wire.Seq, mss uint16) {
	d.Last, d.mss, d.full, d.prev, d.armed = nxt, mss, 0, 0, false
}

// Arrived takes note of a segment with n bytes of text, after which RCV.NXT is nxt,
// and says when to send the ACK. prompt asks for it at once, see Arrival.Prompt. now and
// delay are in µs; a delay of 0 switches delaying off, one above MaxAckDelay is cut.
func (d *DelAck) Arrived(now, delay uint32, nxt wire.Seq, n uint32, prompt bool) AckWhen {
	// What a path lets through is found out by looking: a new largest size, or one
	// that came twice in a row. A receive offload may have merged segments.
	size := uint16(min(n, uint32(d.mss)))
	if size > d.full || size == d.prev && size != 0 {
		d.full = size
	}
	d.prev = size
	if prompt || delay == 0 || uint32(nxt-d.Last) >= 2*uint32(d.full) {
		return AckNow
	}
	if !d.armed {
		d.armed, d.due = true, now+min(delay, MaxAckDelay)
	}
	return AckLater
}

// Sent takes note that a segment went out which acknowledges nxt.
func (d *DelAck) Sent(nxt wire.Seq) { d.Last, d.armed = nxt, false }

// Due reports whether a delayed ACK has waited long enough at now, in µs.
func (d *DelAck) Due(now uint32) bool { return d.armed && int32(now-d.due) >= 0 }

// Deadline returns when Due becomes true, false if no ACK waits.
func (d *DelAck) Deadline() (at uint32, ok bool) { return d.due, d.armed }
