package handshake

import (
	"fmt"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// What the rules demand of a cell, written from their text and not from the code.
// It is a second opinion: slow, without records, and each answer names its rule.

// Answers.
const (
	silently  = "silent"
	plainAck  = "A seq=SND.NXT ack=RCV.NXT"
	resetAck  = "R seq=SEG.ACK"
	resetSeq  = "RA seq=0 ack=SEG.SEQ+SEG.LEN"
	newSynAck = "SA seq=new ISS ack=SEG.SEQ+1"
	ourSynAck = "SA seq=ISS ack=SEG.SEQ+1"
)

func (c *cell) demanded() verdict {
	switch c.st.state {
	case Closed, Listen:
		return c.closedOrListen()
	case SynSent:
		return c.inSynSent()
	case SynRcvd:
		return c.inSynReceived()
	case TimeWait:
		return c.inTimeWait()
	case Established, FinWait1, FinWait2, CloseWait, Closing, LastAck, StateInvalid:
	}
	return c.inSynchronized()
}

// stay is an answer without a change of state.
func (c *cell) stay(answer, rule string) verdict {
	state := c.st.state
	if state == Listen {
		state = Closed // no record
	}
	return verdict{state: state.String(), answer: answer, rule: rule}
}

func (c *cell) closedOrListen() verdict {
	switch {
	case c.has(wire.FlagRST):
		return c.stay(silently, "VAL-009")
	case c.has(wire.FlagACK):
		return c.stay(resetAck, "LSN-002")
	case c.st.state == Closed && (c.text > 0 || c.flags != wire.FlagSYN):
		return c.stay(resetSeq, "VAL-011")
	case c.st.state == Closed:
		return c.stay(resetSeq, "LSN-001")
	case c.has(wire.FlagSYN) && c.has(wire.FlagFIN):
		return c.stay(silently, "VAL-008")
	case !c.has(wire.FlagSYN):
		return c.stay(silently, "VAL-010")
	case c.text > 0:
		return verdict{state: "SYN-RECEIVED", answer: newSynAck, rule: "LSN-005"}
	}
	return verdict{state: "SYN-RECEIVED", answer: newSynAck, rule: "LSN-004"}
}

func (c *cell) inSynSent() verdict {
	syn, ack, more := c.has(wire.FlagSYN), c.has(wire.FlagACK), c.text > 0 || c.has(wire.FlagFIN)
	switch {
	case c.has(wire.FlagRST) && c.ack == "nxt" && syn:
		return verdict{state: "CLOSED", answer: silently, events: "closed: refused", rule: "ACT-008"}
	case c.has(wire.FlagRST) && c.ack == "nxt":
		return verdict{state: "CLOSED", answer: silently, events: "closed: refused", rule: "ACT-004"}
	case c.has(wire.FlagRST):
		return c.stay(silently, "ACT-005")
	case ack && c.ack != "nxt":
		return c.stay(resetAck+" & S seq=ISS", "ACT-003")
	case !syn:
		return c.stay(silently, "ACT-006")
	case ack && c.stamps == wrongEcho:
		return c.stay(resetAck, "ACT-009")
	case ack && more:
		return verdict{state: "ESTABLISHED", answer: "A seq=SND.NXT ack=SEG.SEQ+1", events: "established", rule: "ACT-007"}
	case ack:
		return verdict{state: "ESTABLISHED", answer: "A seq=SND.NXT ack=SEG.SEQ+1", events: "established", rule: "ACT-002"}
	case more:
		return verdict{state: "SYN-RECEIVED", answer: ourSynAck, rule: "SIM-006"}
	}
	return verdict{state: "SYN-RECEIVED", answer: ourSynAck, rule: "SIM-001"}
}

// role picks the rule of the passive or of the active SYN-RECEIVED.
func (c *cell) role(passive, active string) string {
	return either(c.st.active, active, passive)
}

// either is a if first, else b.
func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (c *cell) inSynReceived() verdict {
	active := c.st.active
	inside := 0 <= c.d && c.d < c.wnd
	switch {
	case c.has(wire.FlagRST) && c.d == 0 && active:
		return verdict{state: "CLOSED", answer: silently, events: "closed: refused", rule: "SIM-005"}
	case c.has(wire.FlagRST) && c.d == 0:
		return verdict{state: "CLOSED", answer: silently, rule: "LSN-011"}
	case c.has(wire.FlagRST) && inside:
		return c.stay(plainAck, "LSN-012")
	case c.has(wire.FlagRST):
		return c.stay(silently, "LSN-012")

	case c.has(wire.FlagSYN) && c.has(wire.FlagACK) && c.ack != "nxt":
		return c.stay(resetAck, c.role("LSN-017", "SIM-005"))
	case c.has(wire.FlagSYN) && c.has(wire.FlagACK) && c.stamps == old:
		return c.stay(plainAck, "TSP-007")
	case c.has(wire.FlagSYN) && c.has(wire.FlagACK) && active && c.d == -1 && c.stamps == wrongEcho:
		return c.stay(plainAck, "LSN-018")
	case c.has(wire.FlagSYN) && c.has(wire.FlagACK) && active && c.d == -1:
		return verdict{state: "ESTABLISHED", answer: plainAck, events: "established", rule: "SIM-002"}
	case c.has(wire.FlagSYN) && c.has(wire.FlagACK) && !active && inside:
		return verdict{state: "CLOSED", answer: silently, rule: "LSN-017"}
	case c.has(wire.FlagSYN) && c.has(wire.FlagACK):
		return c.stay(plainAck, c.role("LSN-017", "SIM-003"))
	case c.has(wire.FlagSYN) && active:
		return c.stay(plainAck, "SIM-003")
	case c.has(wire.FlagSYN) && c.stamps == old:
		return c.stay(plainAck, either(c.d == -1, "LSN-008", "TSP-007"))
	case c.has(wire.FlagSYN) && c.has(wire.FlagFIN):
		return c.stay(plainAck, "LSN-010") // no SYN that anyone sends
	case c.has(wire.FlagSYN) && c.d == -1:
		return c.stay(ourSynAck, "LSN-006")
	case c.has(wire.FlagSYN) && inside:
		return c.stay(newSynAck, "LSN-009")
	case c.has(wire.FlagSYN):
		return c.stay(plainAck, "LSN-010")

	case !c.has(wire.FlagACK):
		return c.stay(silently, "VAL-020")
	case c.ack != "nxt":
		return c.stay(resetAck, c.role("LSN-013", "SIM-005"))
	case c.stamps == wrongEcho:
		return c.stay(plainAck, "LSN-018")
	case c.stamps == old:
		return c.stay(plainAck, "LSN-019")
	case !c.acceptable():
		return c.stay(plainAck, "LSN-014")
	}
	rule := "LSN-004"
	switch {
	case c.d > 0:
		rule = "LSN-015"
	case c.text > 0 || c.has(wire.FlagFIN):
		rule = "LSN-016"
	case active:
		rule = "SIM-002"
	case c.stamps == missing:
		rule = "LSN-020"
	}
	v := c.take(Established, []string{"established"})
	v.rule = rule
	return v
}

// inSynchronized is ESTABLISHED to LAST-ACK.
func (c *cell) inSynchronized() verdict {
	st := c.st.state
	theirFIN := st == CloseWait || st == Closing || st == LastAck
	bye := "closed: reset"
	if st == Closing || st == LastAck {
		bye = "closed: done"
	}
	switch {
	case c.has(wire.FlagRST) && c.d == 0:
		return verdict{state: "CLOSED", answer: silently, events: bye, rule: "RST-001"}
	case c.has(wire.FlagRST) && c.d == -1 && theirFIN:
		return verdict{state: "CLOSED", answer: silently, events: bye, rule: "RST-004"}
	case c.has(wire.FlagRST) && 0 < c.d && c.d <= c.wnd:
		return c.stay(plainAck, "RST-002")
	case c.has(wire.FlagRST):
		return c.stay(silently, "RST-003")

	case c.has(wire.FlagSYN) && c.has(wire.FlagACK):
		return c.stay(plainAck, "SYN-003")
	case c.has(wire.FlagSYN) && st == FinWait2 && c.st.released && c.d >= 0 && c.stamps != old:
		return verdict{state: "CLOSED", answer: resetSeq, events: "closed: aborted", rule: "SYN-004"}
	case c.has(wire.FlagSYN):
		return c.stay(plainAck, "SYN-002")

	case !c.has(wire.FlagACK):
		return c.stay(silently, "VAL-020")
	case c.stamps == old:
		return c.stay(plainAck, "TSP-007")
	case !c.acceptable():
		return c.stay(plainAck, "RST-008")
	case c.ack == "after":
		return c.stay(plainAck, "RST-006")
	case c.ack == "old", c.ack == "before" && !c.st.acked:
		return c.stay(plainAck, "RST-007")
	}

	// An ACK of our FIN, or of the text that is under way in ESTABLISHED.
	var events []string
	rule := "§3.10.7.4"
	if c.ack == "nxt" && c.st.una != c.st.nxt {
		switch st {
		case Established:
			events = append(events, "acked")
		case FinWait1:
			st, rule = FinWait2, "DAT-010"
		case Closing:
			st, rule = TimeWait, "DAT-010"
			events = append(events, "closed: done")
		case LastAck:
			return verdict{state: "CLOSED", answer: silently, events: "closed: done", rule: "DAT-011"}
		case StateInvalid, Closed, Listen, SynSent, SynRcvd, FinWait2, CloseWait, TimeWait:
		}
	}
	if c.st.released && c.d+int32(c.text) > 0 && c.text > 0 {
		return verdict{state: "CLOSED", answer: resetAck, events: "closed: aborted", rule: "RST-014"}
	}
	v := c.take(st, events)
	v.rule = rule
	if c.text > 0 || c.has(wire.FlagFIN) {
		switch {
		case theirFIN:
			v.rule = "DAT-011"
		case c.d > 0:
			v.rule = "DAT-002"
		case c.text > 0:
			v.rule = "DAT-001"
		default:
			v.rule = "DAT-010"
		}
	}
	return v
}

// take is steps seven and eight in state st: text and FIN of an acceptable segment
// with a good ACK. What is ahead of RCV.NXT is not held, but asked for.
func (c *cell) take(st State, events []string) verdict {
	fin, answer, next := c.has(wire.FlagFIN), silently, int32(0)
	if c.text > 0 || fin {
		answer = plainAck
	}
	reads := st == Established || st == FinWait1 || st == FinWait2
	if c.d <= 0 && reads {
		if fresh := c.d + int32(c.text); c.text > 0 && fresh > 0 {
			events = append(events, fmt.Sprintf("data %d+%d", -c.d, fresh))
			next = fresh
		}
		if fin {
			next++
			if !c.st.released {
				events = append(events, "peer closed")
			}
			switch st {
			case Established:
				st = CloseWait
			case FinWait1:
				st = Closing
			case FinWait2:
				st = TimeWait
				events = append(events, "closed: done")
			case StateInvalid, Closed, Listen, SynSent, SynRcvd, CloseWait, Closing, LastAck, TimeWait:
			}
		}
	}
	if next > 0 {
		answer = fmt.Sprintf("%s+%d", plainAck, next)
	}
	return verdict{state: st.String(), answer: answer, events: strings.Join(events, ", ")}
}

func (c *cell) inTimeWait() verdict {
	both := c.stamps == fresh || c.stamps == old
	rule := either(both, "TWT-003", "TWT-004")
	switch {
	case c.has(wire.FlagRST) && c.d == 0:
		return verdict{state: "CLOSED", answer: silently, rule: "TWT-007"}
	case c.has(wire.FlagRST):
		return c.stay(silently, "TWT-007")
	case c.flags&(wire.FlagSYN|wire.FlagACK|wire.FlagFIN) == wire.FlagSYN && c.st.listen && (c.stamps == fresh || !both && c.d > 0):
		return verdict{state: "SYN-RECEIVED", answer: newSynAck, rule: rule}
	case c.flags&(wire.FlagSYN|wire.FlagACK|wire.FlagFIN) == wire.FlagSYN:
		return c.stay(plainAck, rule)
	case c.flags&(wire.FlagSYN|wire.FlagACK) == 0:
		return c.stay(silently, "VAL-020")
	case c.flags&^wire.FlagPSH == wire.FlagACK && c.text == 0 && c.d == 0 && c.ack != "after" && c.stamps != old:
		return c.stay(silently, "TWT-002")
	}
	return c.stay(plainAck, "TWT-002")
}
