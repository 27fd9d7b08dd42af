package wire

// Flags are the control bits of a TCP header as one word: the low byte is the
// flags byte, FlagAE the bit above it (RFC 9293 §3.1, RFC 9768).
type Flags uint16

// The control bits.
const (
	FlagFIN Flags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
	FlagAE
)

// OptionSet says which options a segment carries in well-formed shape.
type OptionSet uint16

// The options that Options holds.
const (
	HasMSS OptionSet = 1 << iota
	HasWScale
	HasSACKPermitted
	HasTimestamps
	HasSACK       // one or more SACK blocks; the blocks themselves stay in the frame
	HasFastOpen   // kind 34, or 254 with magic 0xF989; see Options.TFOLen
	HasMD5        // kind 19
	HasAO         // kind 29
	FastOpenExp   // the Fast Open option came in its experimental form
	WScaleClamped // the shift on the wire was above 14 (OPT-010)
	OptMalformed  // the list ended early: bad length or past the header (OPT-006)
)

// Options is the outcome of decoding a TCP option list in one pass, and the
// input for encoding one. It holds no pointers. Of a repeated option the last
// well-formed one wins (OPT-004).
type Options struct {
	TSVal, TSEcr uint32 // host order
	Has          OptionSet
	MSS          uint16
	WScale       uint8 // 0..14
	TFOLen       uint8 // 0: cookie request
	TFO          [16]byte
}

// Segment is one TCP segment, decoded; pointer-free. The same type describes a
// received segment (Remote is the source) and one to send (Local is the source).
type Segment struct {
	Tuple
	Seq, Ack Seq
	Len      uint32 // payload bytes, from the IP length (VAL-005)
	Flags    Flags
	Win      uint16 // window field as on the wire, unscaled
	TOS      uint8  // IPv4 TOS or IPv6 traffic class
	Path     uint16 // next-hop handle of the worker; opaque to the engine, not on the wire
	Opt      Options
}

// SegLen is SEG.LEN of RFC 9293: payload plus one each for SYN and FIN.
func (s *Segment) SegLen() uint32 {
	n := s.Len
	if s.Flags&FlagSYN != 0 {
		n++
	}
	if s.Flags&FlagFIN != 0 {
		n++
	}
	return n
}
