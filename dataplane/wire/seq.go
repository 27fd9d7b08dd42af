package wire

// Seq is a TCP sequence number. Comparison is signed 32-bit modular arithmetic
// (RFC 9293 §3.4; VAL-021).
type Seq uint32

// Less reports whether a comes before b.
func (a Seq) Less(b Seq) bool { return int32(a-b) < 0 }

// LessEq reports whether a is b or comes before it.
func (a Seq) LessEq(b Seq) bool { return int32(a-b) <= 0 }

// InWindow reports whether a lies in [first, first+size).
func (a Seq) InWindow(first Seq, size uint32) bool { return uint32(a-first) < size }
