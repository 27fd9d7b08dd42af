package wire

import (
	"errors"
	"fmt"
)

// Shape is how a host writes its segments where RFC 9293 leaves it free: the order and the padding of the
// options of its SYNs, and what its IPv4 header says besides. It is what fingerprints of p0f and others tell hosts by.
type Shape struct {
	// TTL, or hop limit, of all segments; 0: DefaultTTL.
	TTL uint8
	// NoDF leaves the don't-fragment flag out (IPv4).
	NoDF bool
	// Identified numbers the IPv4 packets; else their identification is 0, as RFC 6864 allows with DF.
	Identified bool

	layout [MaxOptionsLen]uint8 // kinds in order, NOP and EOL among them
	n      int
	size   int // bytes, padding included
}

// optionLen is the length of the options that a layout may have, 0 of others.
func optionLen(kind uint8) int {
	switch kind {
	case OptEOL, OptNOP:
		return 1
	case OptMSS:
		return 4
	case OptWScale:
		return 3
	case OptSACKPermitted:
		return 2
	case OptTimestamps:
		return 10
	}
	return 0
}

// NewShape returns a shape whose SYNs have these kinds of options in this order, each at most once but
// for NOP, and nothing but EOL after the first EOL. What is missing to whole words is padded with EOL.
func NewShape(kinds ...uint8) (*Shape, error) {
	s := &Shape{}
	seen := map[uint8]bool{}
	for i, k := range kinds {
		n := optionLen(k)
		switch {
		case n == 0:
			return nil, fmt.Errorf("option kind %d has no place in a layout", k)
		case seen[k] && k != OptNOP && k != OptEOL:
			return nil, fmt.Errorf("option kind %d comes twice", k)
		case seen[OptEOL] && k != OptEOL:
			return nil, errors.New("an option behind the end of the list")
		case s.size+n > MaxOptionsLen:
			return nil, fmt.Errorf("%d bytes of options, and a header has room for %d", s.size+n, MaxOptionsLen)
		}
		seen[k] = true
		s.layout[i] = k
		s.n, s.size = i+1, s.size+n
	}
	s.size = (s.size + 3) &^ 3
	return s, nil
}

// Kinds returns the layout, as NewShape got it.
func (s *Shape) Kinds() []uint8 { return s.layout[:s.n] }

// Has returns the options that the layout has.
func (s *Shape) Has() (has OptionSet) {
	for _, k := range s.Kinds() {
		switch k {
		case OptMSS:
			has |= HasMSS
		case OptWScale:
			has |= HasWScale
		case OptSACKPermitted:
			has |= HasSACKPermitted
		case OptTimestamps:
			has |= HasTimestamps
		}
	}
	return has
}

// options writes those of o in the order of s, behind them Fast Open if it fits.
func (s *Shape) options(b *[MaxOptionsLen]byte, o *Options) []byte {
	n := 0
	for _, k := range s.Kinds() {
		p := b[n:]
		p[0] = k
		switch k {
		case OptMSS:
			p[1] = 4
			be.PutUint16(p[2:], o.MSS)
		case OptWScale:
			p[1], p[2] = 3, min(o.WScale, 14)
		case OptSACKPermitted:
			p[1] = 2
		case OptTimestamps:
			p[1] = 10
			be.PutUint32(p[2:], o.TSVal)
			be.PutUint32(p[6:], o.TSEcr)
		}
		n += optionLen(k)
	}
	if s.n > 0 && s.layout[s.n-1] == OptEOL {
		return b[:s.size] // nothing counts behind it
	}
	l := fastOpenLen(o, MaxOptionsLen-s.size)
	if l == 0 {
		return b[:s.size] // the rest is EOL
	}
	for ; n < s.size; n++ {
		b[n] = OptNOP
	}
	putFastOpen(b[n:n+l], o)
	return b[:n+l]
}

// PutSYN is PutTCP with the options that s lays out, whatever o.Opt.Has says but for Fast Open; with
// offload it is PutTCPOffload. What Mark does is not done.
func (s *Shape) PutSYN(b []byte, o *Segment, payload []byte, offload bool) int {
	var room [MaxOptionsLen]byte
	list := s.options(&room, &o.Opt)
	bare := *o
	bare.Opt = Options{}
	if offload {
		return PutTCPOffloadExtra(b, &bare, list, payload)
	}
	return PutTCPExtra(b, &bare, list, payload)
}

// Mark gives the IP packet at the start of b, as PutTCP and the like have written it, what s has in its header.
// id is its identification, if s has them. With offload the checksum is left to the device.
func (s *Shape) Mark(b []byte, id uint16, offload bool) {
	ttl := s.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if b[0]>>4 == 6 {
		b[7] = ttl
		return
	}
	ip, hc := IPv4(b), be.Uint16(b[10:])
	ip.SetTTL(ttl)
	if s.Identified {
		ip.SetID(id)
	}
	if s.NoDF {
		ip.setWord(6, 0)
	}
	if offload {
		be.PutUint16(b[10:], hc)
	}
}
