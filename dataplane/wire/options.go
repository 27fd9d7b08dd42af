package wire

// TCP option kinds (IANA TCP parameters).
const (
	OptEOL           = 0
	OptNOP           = 1
	OptMSS           = 2
	OptWScale        = 3
	OptSACKPermitted = 4
	OptSACK          = 5
	OptTimestamps    = 8
	OptMD5           = 19
	OptAO            = 29
	OptFastOpen      = 34
	OptExperimental  = 254
)

// MagicFastOpen is the experiment ID of Fast Open in option 254 (RFC 7413 §4.1.1).
const MagicFastOpen = 0xf989

// MaxOptionsLen is the room for options in a TCP header.
const MaxOptionsLen = 40

// ParseOptions decodes option list b into o, which it overwrites. syn says
// whether the segment has SYN set: MSS, window scale, SACK-permitted and Fast
// Open count only there (OPT-011), SACK blocks only elsewhere (OPT-013).
//
// A malformed tail sets OptMalformed and keeps what came before (OPT-006); a
// known kind with a wrong length is skipped (OPT-005). MSS 0 counts as absent
// (OPT-002); other values are as on the wire, bounds are the engine's business.
func ParseOptions(b []byte, syn bool, o *Options) {
	*o = Options{}
	parseOptions(b, syn, o)
}

// parseOptions is ParseOptions into a zero o.
func parseOptions(b []byte, syn bool, o *Options) {
	for len(b) > 0 {
		kind := b[0]
		if kind == OptNOP {
			b = b[1:]
			continue
		}
		if kind == OptEOL {
			return
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			o.Has |= OptMalformed
			return
		}
		n := int(b[1])
		v := b[2:n]
		b = b[n:]
		switch kind {
		case OptTimestamps:
			if len(v) == 8 {
				o.Has |= HasTimestamps
				o.TSVal, o.TSEcr = be.Uint32(v), be.Uint32(v[4:])
			}
		case OptMSS:
			if syn && len(v) == 2 && v[0]|v[1] != 0 {
				o.Has |= HasMSS
				o.MSS = be.Uint16(v)
			}
		case OptWScale:
			if syn && len(v) == 1 {
				o.Has = o.Has&^WScaleClamped | HasWScale
				o.WScale = v[0]
				if v[0] > 14 {
					o.Has |= WScaleClamped
					o.WScale = 14
				}
			}
		case OptSACKPermitted:
			if syn && len(v) == 0 {
				o.Has |= HasSACKPermitted
			}
		case OptSACK:
			if !syn && len(v) >= 8 && len(v)&7 == 0 {
				o.Has |= HasSACK
			}
		case OptMD5:
			if len(v) == 16 {
				o.Has |= HasMD5
			}
		case OptAO:
			if len(v) >= 2 {
				o.Has |= HasAO
			}
		case OptFastOpen:
			if syn {
				o.setFastOpen(v, 0)
			}
		case OptExperimental:
			if syn && len(v) >= 2 && be.Uint16(v) == MagicFastOpen {
				o.setFastOpen(v[2:], FastOpenExp)
			}
		}
	}
}

// setFastOpen takes a cookie request (no bytes) or an even-sized cookie of 4 to
// 16 bytes (RFC 7413 §4.1.1); anything else is a wrong length.
func (o *Options) setFastOpen(cookie []byte, exp OptionSet) {
	if !validCookieLen(len(cookie)) {
		return
	}
	o.Has = o.Has&^FastOpenExp | HasFastOpen | exp
	o.TFO = [16]byte{}
	o.TFOLen = uint8(copy(o.TFO[:], cookie))
}

func validCookieLen(n int) bool { return n == 0 || n >= 4 && n <= 16 && n&1 == 0 }

// Option is one option as it stands on the wire.
type Option struct {
	Kind uint8
	Len  uint8  // length on the wire; 1 for EOL and NOP, which have no length byte
	Data []byte // bytes after the length byte, lent from the list
}

// OptionIter walks an option list in wire order, NOP and EOL included, for
// printing. The zero value is at its end.
type OptionIter struct {
	rest []byte
	bad  bool
}

// NewOptionIter returns an iterator over option list b, which must stay valid.
func NewOptionIter(b []byte) OptionIter { return OptionIter{rest: b} }

// Next returns the next option; false at the end of the list, after EOL, or
// where the list is malformed (see Malformed).
func (it *OptionIter) Next() (Option, bool) {
	b := it.rest
	if len(b) == 0 || it.bad {
		return Option{}, false
	}
	switch {
	case b[0] == OptEOL:
		it.rest = nil
		return Option{Kind: OptEOL, Len: 1}, true
	case b[0] == OptNOP:
		it.rest = b[1:]
		return Option{Kind: OptNOP, Len: 1}, true
	case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
		it.bad = true
		return Option{}, false
	}
	n := b[1]
	it.rest = b[n:]
	return Option{Kind: b[0], Len: n, Data: b[2:n]}, true
}

// Malformed reports whether Next stopped at a bad length; Rest is then the
// undecoded tail.
func (it *OptionIter) Malformed() bool { return it.bad }

// Rest returns the part of the list not yet returned by Next.
func (it *OptionIter) Rest() []byte { return it.rest }

// SACKBlock is a received range [Left, Right) (RFC 2018 §3).
type SACKBlock struct{ Left, Right Seq }

// SACKBlocks stores the blocks of the last well-formed SACK option of list b
// into dst and returns how many there are (0..4).
func SACKBlocks(b []byte, dst *[4]SACKBlock) int {
	n := 0
	for it := NewOptionIter(b); ; {
		o, ok := it.Next()
		if !ok {
			return n
		}
		if o.Kind != OptSACK || len(o.Data) < 8 || len(o.Data)&7 != 0 {
			continue
		}
		// 40 bytes of options hold at most four blocks.
		for n = 0; n < len(dst) && n*8 < len(o.Data); n++ {
			d := o.Data[n*8 : n*8+8]
			dst[n] = SACKBlock{Seq(be.Uint32(d)), Seq(be.Uint32(d[4:]))}
		}
	}
}
