package flow

// sendable decides how much to send now, in bytes; 0 is to wait. It is the sender's avoidance
// of silly windows (RFC 9293 §3.8.6.2.1, MUST-38) and Nagle's algorithm (§3.7.4,
// RFC 896); DAT-006.
//
// queued is text not yet sent, usable the room for it: what both the peer's window and
// congestion control leave. mss is the largest segment, see segmentLimit;
// maxWnd the largest window that the peer has offered. idle says that nothing is in flight, nagle
// that Nagle's algorithm is on for this text (not for text with a FIN behind it), and push that the
// application wants what is queued on its way.
//
// All that is sendable goes in segments of mss; a rest below that goes only if it may.
func sendable(queued, usable, mss, maxWnd uint32, idle, nagle, push bool) uint32 {
	n := min(queued, usable)
	if n == 0 {
		return 0
	}
	rest := n % mss
	if rest == 0 {
		return n
	}
	free := idle && n < mss || !nagle // Nagle: one segment of less than mss in flight at most
	switch {
	case push && n == queued && free: // (2)
		return n
	case rest >= (maxWnd+1)/2 && free: // (3), for peers with small buffers
		return n
	}
	return n - rest // (1)
}

// Delays of the timer that overrides sendable when it has returned 0 with usable
// room, nothing in flight, and no ACK that could change that (RFC 9293 §3.8.6.2.1 (4)): 0.1 to 1 s.
const (
	overrideMin = 100_000
	overrideMax = 1_000_000
)

// overrideDelay is the time in microseconds after which what sendable holds back is
// sent all the same.
func (r *rto) overrideDelay() uint32 { return min(max(r.base(), overrideMin), overrideMax) }

// minSegment is the least text of a segment that a small window brings about.
const minSegment = 48

// segmentLimit is the largest segment to send to a peer whose largest window was maxWnd: at most half of
// it, so that two are in flight and an ACK comes (WND-006°); all of it if the peer
// never had more than the default MSS, as Linux does.
func segmentLimit(mss, maxWnd uint32) uint32 {
	if maxWnd == 0 {
		return mss
	}
	if maxWnd > 536 {
		maxWnd /= 2
	}
	return min(mss, max(maxWnd, minSegment))
}
