package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// pawsIdle is how long TS.Recent stands for something, in s: a peer whose
// timestamps tick every ms wraps their sign bit in 24.8 days (RFC 7323 §5.5).
const pawsIdle = 24 * 24 * 3600

// TSRecent is the timestamp of the peer that we echo and measure others by
// (RFC 7323 §4.3). Clocks here are in seconds since any moment, and wrap.
type TSRecent struct {
	Val uint32 // TS.Recent; 0 stands for none
	At  uint32 // s, when it was set
}

// trusted reports whether there is a TS.Recent, set within the last 24 days.
func (t *TSRecent) trusted(now uint32) bool { return t.Val != 0 && now-t.At <= pawsIdle }

// Old reports whether a segment with this TSval is a duplicate from the past
// (TSP-007): it is dropped and answered by an ACK. Not for segments with RST
// (RST-005).
func (t *TSRecent) Old(tsval, now uint32) bool {
	return int32(tsval-t.Val) < 0 && t.trusted(now)
}

// Take makes tsval the new TS.Recent if the segment, which begins at seq and is
// acceptable (TSP-006), is not newer than the last ACK that we sent: so
// that with delayed ACKs the earliest segment is echoed, and no segment behind a hole (TSP-005).
func (t *TSRecent) Take(tsval uint32, seq, lastAck wire.Seq, now uint32) {
	if lastAck.Less(seq) || t.Old(tsval, now) {
		return
	}
	t.Val, t.At = tsval, now
}
