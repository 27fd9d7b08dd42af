package handshake

import (
	"fmt"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// ECNMode says when ECN is negotiated (RFC 3168 §6.1.1).
type ECNMode uint8

// The modes.
const (
	// ECNPassive: a SYN that asks for ECN is answered in kind, ours do not ask
	// (Linux: tcp_ecn 2, its default).
	ECNPassive ECNMode = iota
	// ECNOff: no flow has ECN.
	ECNOff
	// ECNOn: our SYNs ask for it too (Linux: tcp_ecn 1).
	ECNOn
)

// ParseECNMode reads "passive", "off" or "on".
func ParseECNMode(s string) (ECNMode, error) {
	switch s {
	case "passive":
		return ECNPassive, nil
	case "off":
		return ECNOff, nil
	case "on":
		return ECNOn, nil
	}
	return 0, fmt.Errorf("handshake: ECN mode %q: want passive, off or on", s)
}

// String is the inverse of ParseECNMode.
func (m ECNMode) String() string {
	switch m {
	case ECNOff:
		return "off"
	case ECNOn:
		return "on"
	case ECNPassive:
	}
	return "passive"
}

// Codepoints in the low bits of TOS (RFC 3168 §5).
const (
	ecnMask = 3
	ect0    = 2
	ce      = 3
)

// ecnAsk is what a SYN that asks for ECN has set.
const ecnAsk = wire.FlagECE | wire.FlagCWR

// asksECN reports whether a SYN asks for ECN. One that asks for Accurate ECN
// (RFC 9768 §3.1.2) falls back to the classic kind when it is answered so. A classic
// one must be Not-ECT: a path that marks it has rewritten the field (ECN-001, ECN-002).
func asksECN(s *wire.Segment) bool {
	return s.Flags&ecnAsk == ecnAsk && (s.Flags&wire.FlagAE != 0 || s.TOS&ecnMask == 0)
}

// grantsECN reports whether the SYN-ACK of s has ECE.
func (e *Engine) grantsECN(s *wire.Segment) bool { return e.cfg.ECN != ECNOff && asksECN(s) }

// ecnAnswered takes the answer to our SYN, a SYN-ACK or a crossing SYN (ECN-004).
// A SYN that was repeated without the request may have been overtaken by the first.
func (r *record) ecnAnswered(s *wire.Segment) {
	if s.Flags&wire.FlagACK == 0 && asksECN(s) || s.Flags&(wire.FlagACK|ecnAsk) == wire.FlagACK|wire.FlagECE {
		r.shifts |= bitECN
	}
}

// ecnText takes the marks of text on a flow with ECN: ACKs have ECE from CE on until
// the peer's CWR (ECN-007, RFC 3168 §6.1.3).
func (r *record) ecnText(s *wire.Segment) {
	if s.Len == 0 {
		return
	}
	if s.Flags&wire.FlagCWR != 0 {
		r.shifts &^= bitCE
	}
	if s.TOS&ecnMask == ce {
		r.shifts |= bitCE
	}
}

// ecnSend marks a segment with new text; retransmissions stay Not-ECT (ECN-005).
// There is no window to halve, as one segment is under way at a time, but the
// peer repeats ECE until it is told (RFC 3168 §6.1.2).
func (r *record) ecnSend(s *wire.Segment) {
	s.TOS |= ect0
	if r.shifts&bitCWR != 0 {
		r.shifts &^= bitCWR
		s.Flags |= wire.FlagCWR
	}
}
