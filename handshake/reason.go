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
	// DropTableFull: a SYN met a full table or the bound of its listener, and cookies are off.
	DropTableFull
	// DropFlowsFull: a valid cookie met a full flow table (CKI-022).
	DropFlowsFull
	// DropMSS: the peer's MSS is too small for a cookie to carry (CKI-005).
	DropMSS
	// DropSigned: a SYN with TCP-MD5 or TCP-AO and no key here (OPT-014).
	DropSigned
	// DropOutOfOrder: text or FIN beyond RCV.NXT, not held.
	DropOutOfOrder
	// DropSYNLimit: a SYN above Flood.SYN.
	DropSYNLimit
	// DropSourceLimit: a SYN above Flood.Source for its source prefix (FLD-007).
	DropSourceLimit
	// DropQueueFull: a SYN to a listener whose Backlog is full (FLD-004).
	DropQueueFull
	// DropQueueFullACK: the final ACK, or a valid cookie, met a full Backlog (FLD-005, CKI-022).
	DropQueueFullACK
	// DropDeferred: an ACK without text to a listener with Gate.Defer; its peer is remembered (FLD-006).
	DropDeferred
	// DropBadCookie: an ACK that no flow and no cookie explains, with Flood.SilentBadCookies (CKI-013).
	DropBadCookie
	// DropCookieLimit: a valid cookie above Flood.CookieAccepts (CKI-019).
	DropCookieLimit
	// DropResetLimit: a reset that Flood.Resets did not allow (RST-017).
	DropResetLimit
	// DropNoMemory: a SYN while there is no memory for the text of flows.
	DropNoMemory
	numOutcomes
)

// NumOutcomes is the length of Counters.Outcome.
const NumOutcomes = int(numOutcomes)

var outcomeNames = [numOutcomes]string{
	"consumed", "answered", "answered_cookie", "answered_reset", "answered_challenge",
	"rate_limited", "rst_ignored", "bad_flags", "no_ack", "syn_table_full", "flow_table_full",
	"mss_too_small", "signed_without_key", "out_of_order", "syn_limit", "source_limit", "accept_queue_full",
	"accept_queue_full_ack", "deferred_accept", "bad_cookie", "cookie_limit", "reset_limit",
	"no_memory",
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
