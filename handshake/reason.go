package handshake

// Outcome says what became of one received segment. Every segment ends in
// exactly one outcome, so the counters by outcome add up to the segments in.
type Outcome uint8

// The outcomes. Consumed and Answered… did something; the others name why a
// segment was dropped.
const (
	// Consumed: it did its work and needed no answer.
	Consumed Outcome = iota
	// Answered: it did its work and was answered in place (SYN-ACK, ACK, FIN).
	Answered
	// AnsweredCookie: a SYN answered by a cookie; nothing is remembered.
	AnsweredCookie
	// AnsweredReset: no such connection or an unacceptable ACK: RST.
	AnsweredReset
	// AnsweredChallenge: out of window, SYN in a synchronized state, RST not exact: ACK (RFC 5961).
	AnsweredChallenge
	// DropRateLimited: a challenge or duplicate answer within 500 ms of the last.
	DropRateLimited
	// DropRST: a RST that may not act: no such flow, or outside the window.
	DropRST
	// DropBadFlags: SYN+FIN, or no flag that means anything in this state.
	DropBadFlags
	// DropNoACK: a segment without ACK where one is required (VAL-020).
	DropNoACK
	// DropTableFull: a SYN met a full table and cookies are off.
	DropTableFull
	// DropFlowsFull: a valid cookie met a full table (CKI-022).
	DropFlowsFull
	// DropMSS: the peer's MSS is too small for a cookie to carry (CKI-005).
	DropMSS
	// DropSigned: a SYN with TCP-MD5 or TCP-AO and no key here (OPT-014).
	DropSigned
	// DropOutOfOrder: text or FIN beyond RCV.NXT, not held.
	DropOutOfOrder
	numOutcomes
)

// NumOutcomes is the length of Counters.Outcome.
const NumOutcomes = int(numOutcomes)

var outcomeNames = [numOutcomes]string{
	"consumed", "answered", "answered_cookie", "answered_reset", "answered_challenge",
	"rate_limited", "rst_ignored", "bad_flags", "no_ack", "syn_table_full", "flow_table_full",
	"mss_too_small", "signed_without_key", "out_of_order",
}

// String returns the counter name of o in snake_case.
func (o Outcome) String() string {
	if o < numOutcomes {
		return outcomeNames[o]
	}
	return "unknown"
}

// Dropped reports whether a segment with outcome o was dropped for a reason
// worth a line in a report, as opposed to having done its work.
func (o Outcome) Dropped() bool { return o >= DropRateLimited }

// CloseReason says how a flow or an attempt ended.
type CloseReason uint8

// The reasons.
const (
	// ReasonNone is the zero value.
	ReasonNone CloseReason = iota
	// ReasonDone: both sides closed by FIN.
	ReasonDone
	// ReasonRefused: RST in answer to our SYN.
	ReasonRefused
	// ReasonTimedOut: the retries ran out.
	ReasonTimedOut
	// ReasonReset: RST on an established flow.
	ReasonReset
	// ReasonUnreachable: an ICMP error ended the attempt, or was heard before the attempt or the flow timed out.
	ReasonUnreachable
	// ReasonAborted: this side reset a flow that was Released when its peer went on.
	ReasonAborted
	numCloseReasons
)

var closeNames = [numCloseReasons]string{
	"none", "done", "refused", "timed out", "reset", "unreachable", "aborted",
}

// String returns a short English name.
func (r CloseReason) String() string {
	if r < numCloseReasons {
		return closeNames[r]
	}
	return "unknown"
}
