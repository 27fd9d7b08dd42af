package rssprobe

import (
	"fmt"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Verdict is how the measurement relates to the prediction.
type Verdict uint8

// The verdicts.
const (
	// Inconclusive: too few test frames arrived to say.
	Inconclusive Verdict = iota
	// Matches: every frame that arrived was on the predicted queue.
	Matches
	// NoSpread: everything arrived on one queue, though more were predicted.
	NoSpread
	// Differs: no better than chance. Another key, input or RETA.
	Differs
	// Partly: right for one family and not the other, or far better than chance.
	Partly
)

// String returns the verdict in words.
func (v Verdict) String() string {
	switch v {
	case Matches:
		return "matches"
	case NoSpread:
		return "does not spread"
	case Differs:
		return "different key or RETA"
	case Partly:
		return "matches partly"
	default:
		return "inconclusive"
	}
}

// Family counts the test frames of one IP version.
type Family struct{ Sent, Arrived, Agree int }

// Mismatch is a test frame that arrived on another queue than predicted.
type Mismatch struct {
	Tuple           wire.Tuple // as received: Remote is the source
	Hash            uint32     // predicted
	Predicted, Real int        // queues
}

// String returns the mismatch as a line of a report.
func (m Mismatch) String() string {
	return fmt.Sprintf("%v: hash %08x, queue %d predicted, queue %d real", m.Tuple, m.Hash, m.Predicted, m.Real)
}

// Result is what a probe found. The counts close: Sent = Arrived + Missing,
// Arrived = Agree + len(Mismatches), IPv4 and IPv6 add up to the whole.
type Result struct {
	Queues     int
	Sent       int // test frames that the sender took
	Arrived    int // of these, on any queue
	Missing    int // of these, on none
	Agree      int // arrived as predicted
	Duplicates int // further copies of a test frame
	Foreign    int // other frames, dropped
	IPv4, IPv6 Family
	PerQueue   []int // test frames that arrived, by queue
	// Hashed counts the arrived frames that came with a hash of the device,
	// HashAgree those whose hash is the predicted one.
	Hashed, HashAgree int
	Mismatches        []Mismatch // in the order of sending
	// Assumed: the driver names no key or table, so common ones were compared with.
	Assumed  bool
	TimedOut bool // Config.Timeout ended the probe
	Verdict  Verdict
	// Suggestion is one sentence: what it means and what to do.
	Suggestion string
}

// OK reports whether source ports and flow placement may rely on the prediction.
func (r *Result) OK() bool { return r.Verdict == Matches }

// String returns the verdict, the counts and the suggestion in a few lines.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "RSS %v: %d of %d test frames arrived, %d as predicted (IPv4 %d of %d, IPv6 %d of %d)",
		r.Verdict, r.Arrived, r.Sent, r.Agree, r.IPv4.Agree, r.IPv4.Arrived, r.IPv6.Agree, r.IPv6.Arrived)
	if r.Foreign > 0 {
		fmt.Fprintf(&b, ", %d frames of others dropped", r.Foreign)
	}
	fmt.Fprintf(&b, "; per queue %v", r.PerQueue)
	if r.Hashed > 0 {
		fmt.Fprintf(&b, "; %d of %d hashes of the device are as computed", r.HashAgree, r.Hashed)
	}
	fmt.Fprintf(&b, "\n%s", r.Suggestion)
	return b.String()
}
