package flow

import "github.com/fastsyn/fastsyn/dataplane/wire"

// Acceptable is the table of §3.10.7.4 step 1 (DAT-001) for a segment of n sequence
// numbers, FIN included, where nxt is RCV.NXT and wnd RCV.WND. A FIN without
// text at RCV.NXT is acceptable with a closed window too: it needs no room. So is an ACK without
// text at the right edge (as in Linux): a peer whose text, which is lost, fills
// the window acknowledges ours from there, and if nobody listened ours would stop as well.
func Acceptable(nxt wire.Seq, wnd uint32, seq wire.Seq, n uint32, fin bool) bool {
	if seq == nxt && (n == 0 || n == 1 && fin) || n == 0 && seq == nxt+wire.Seq(wnd) {
		return true
	}
	if wnd == 0 {
		return false
	}
	return seq.InWindow(nxt, wnd) || n != 0 && (seq+wire.Seq(n)-1).InWindow(nxt, wnd)
}

// RcvWindow is the receive window of one flow: how far the peer may send. Its
// right edge never moves to the left (WND-005), and moves to the right by steps that
// are worth a segment (DAT-006).
//
// With window scaling the field can only say multiples of 1<<Shift. Where the buffer has
// room the window is rounded up to one, else down, so that the peer may see the edge
// go back by less than that; Left stays what was promised (RFC 7323 §2.4).
type RcvWindow struct {
	Edge  wire.Seq // the farthest RCV.NXT + RCV.WND promised
	Shift uint8    // our window scale, 0 to 14
}

// NewRcvWindow returns the window that our SYN or SYN-ACK promised: wnd bytes from nxt, not
// scaled (WND-001).
func NewRcvWindow(nxt wire.Seq, wnd uint16, shift uint8) RcvWindow {
	return RcvWindow{Edge: nxt + wire.Seq(wnd), Shift: shift}
}

// Left is RCV.WND: how many bytes from nxt on the peer may still send.
func (w *RcvWindow) Left(nxt wire.Seq) uint32 {
	if w.Edge.LessEq(nxt) { // less when a FIN came behind it
		return 0
	}
	return uint32(w.Edge - nxt)
}

// floor rounds n down to what the window field can say.
func (w *RcvWindow) floor(n uint32) uint32 { return min(n>>w.Shift, 65535) << w.Shift }

// Field returns the window field of a segment that acknowledges nxt, and takes
// the promise that goes with it. room is how many bytes from nxt on there is memory for,
// of a buffer of buf bytes; less than before does not break former promises.
// The segments of the peer have mss bytes.
func (w *RcvWindow) Field(nxt wire.Seq, room, buf, mss uint32) uint16 {
	have, want := w.Left(nxt), w.floor(room)
	switch up := w.floor(have + (1<<w.Shift - 1)); {
	case want > have && want-have >= step(buf, mss):
		have = want
	case up > have && up <= want: // the peer is not to see the edge go back
		have = up
	default:
		return uint16(w.floor(have) >> w.Shift)
	}
	w.Edge = nxt + wire.Seq(have)
	return uint16(have >> w.Shift)
}

// Update reports whether the window should be announced without another reason to
// send: when it opens by two segments or half the buffer (DAT-003), or
// by one step where what is left is less than that and the peer may be waiting.
func (w *RcvWindow) Update(nxt wire.Seq, room, buf, mss uint32) bool {
	have, want := w.Left(nxt), w.floor(room)
	if want <= have {
		return false
	}
	one := step(buf, mss)
	if w.floor(have) < one {
		return want-have >= one
	}
	return want-have >= step(buf, 2*mss)
}

// step is the least growth that is worth telling (§3.8.6.2.2).
func step(buf, mss uint32) uint32 { return max(min(buf/2, mss), 1) }
