package steer

import (
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

var be = binary.BigEndian

// Table is a key and a redirection table. It is immutable; goroutines may share it.
type Table struct {
	hash *rss.Toeplitz
	reta rss.RETA
	mask uint32 // of entries
}

// New makes the table of a port, about 60 µs of work. The length of reta is a power of
// two (see rss.RETA.Validate); an empty one stands for a port with one queue. Later
// changes of reta are not seen.
func New(key rss.Key, reta rss.RETA) *Table {
	t := &Table{hash: rss.New(key), reta: append(rss.RETA(nil), reta...)}
	if len(t.reta) == 0 {
		t.reta = rss.RETA{0}
	}
	t.mask = uint32(len(t.reta) - 1)
	return t
}

// Key returns the key.
func (t *Table) Key() rss.Key { return t.hash.Key() }

// RETA returns a copy of the redirection table; it has one entry or more.
func (t *Table) RETA() rss.RETA { return append(rss.RETA(nil), t.reta...) }

// Queue returns the queue of frames with a hash.
func (t *Table) Queue(hash uint32) uint16 { return t.reta[hash&t.mask] }

// Frame returns the queue that frame d (from the destination MAC on, without FCS)
// belongs to, and the Toeplitz hash of its tuple as received, that of an ICMP
// error being the one of the flow it is about. Without such a tuple ok is false
// and the other results are 0. Any d is fine. It does not allocate.
func (t *Table) Frame(d []byte) (queue uint16, hash uint32, ok bool) {
	if plain(d) {
		hash = t.hash.Hash4(be.Uint32(d[26:]), be.Uint32(d[30:]), be.Uint16(d[34:]), be.Uint16(d[36:]))
		return t.Queue(hash), hash, true
	}
	k, a, p := locate(d)
	switch k {
	case none:
		return 0, 0, false
	case tcp4, quoted4:
		a, p := d[a:a+8], d[p:p+4]
		src, dst, sp, dp := be.Uint32(a), be.Uint32(a[4:]), be.Uint16(p), be.Uint16(p[2:])
		if k == quoted4 {
			src, dst, sp, dp = dst, src, dp, sp
		}
		hash = t.hash.Hash4(src, dst, sp, dp)
	case tcp6, quoted6:
		a, p := d[a:a+32], d[p:p+4]
		src, dst := a[:16], a[16:]
		sp, dp := be.Uint16(p), be.Uint16(p[2:])
		if k == quoted6 {
			src, dst, sp, dp = dst, src, dp, sp
		}
		hash = t.hash.Hash6(be.Uint64(src), be.Uint64(src[8:]), be.Uint64(dst), be.Uint64(dst[8:]), sp, dp)
	}
	return t.Queue(hash), hash, true
}

// kind is what a frame's tuple was found in.
type kind uint8

const (
	none    kind = iota
	tcp4         // addresses of 4 bytes each
	tcp6         // addresses of 16 bytes each
	quoted4      // as tcp4, source and destination swapped
	quoted6      // as tcp6, source and destination swapped
)

// plain reports whether d is what nearly all frames are: an untagged TCP segment
// in IPv4 without options that is no fragment. Its addresses are at 26, its ports at 34.
func plain(d []byte) bool {
	return len(d) >= 38 && be.Uint32(d[12:])>>8 == wire.EtherTypeIPv4<<8|0x45 && be.Uint32(d[20:])&0x3fff00ff == wire.ProtoTCP
}

// locate finds the tuple of any frame: the offset of its addresses, source
// first, and of its ports. All of it is inside d unless the kind is none.
func locate(d []byte) (k kind, addrs, ports int) {
	if len(d) < wire.EthernetLen {
		return none, 0, 0
	}
	l3, et := wire.EthernetLen, be.Uint16(d[12:])
	if et == wire.EtherTypeVLAN && len(d) >= wire.EthernetLen+wire.VLANLen {
		l3, et = l3+wire.VLANLen, be.Uint16(d[16:])
	}
	p := d[l3:]
	switch et {
	case wire.EtherTypeIPv4:
		if len(p) < wire.IPv4Len || p[0]>>4 != 4 || be.Uint16(p[6:])&0x3fff != 0 { // MF or an offset
			return none, 0, 0
		}
		ihl := int(p[0]&15) * 4
		switch {
		case ihl < wire.IPv4Len:
		case p[9] == wire.ProtoTCP && len(p) >= ihl+4:
			return tcp4, l3 + 12, l3 + ihl
		case p[9] == wire.ProtoICMP:
			return quote4(d, l3+ihl, l3+int(be.Uint16(p[2:])))
		}
	case wire.EtherTypeIPv6:
		if len(p) < wire.IPv6Len || p[0]>>4 != 6 {
			return none, 0, 0
		}
		switch {
		case p[6] == wire.ProtoTCP && len(p) >= wire.IPv6Len+4:
			return tcp6, l3 + 8, l3 + wire.IPv6Len
		case p[6] == wire.ProtoICMPv6:
			return quote6(d, l3+wire.IPv6Len, l3+wire.IPv6Len+int(be.Uint16(p[4:])))
		default:
			if n := behindExt(p); n != 0 && len(p) >= n+4 {
				return tcp6, l3 + 8, l3 + n
			}
		}
	}
	return none, 0, 0
}

// maxExt is how many extension headers are skipped, as by package wire.
const maxExt = 8

// behindExt returns the offset of the TCP header that extension headers of IPv6
// packet p lead to, 0 if there is none: hop-by-hop options at the front,
// destination options, and fragment headers of what is no fragment (RFC 6946).
// What is in the options is for the worker to judge.
func behindExt(p []byte) int {
	next, at := p[6], wire.IPv6Len
	for i := 0; next != wire.ProtoTCP; i++ {
		if i == maxExt || len(p) < at+8 {
			return 0
		}
		size := 8
		switch {
		case next == 0 && i == 0, next == 60:
			size += 8 * int(p[at+1])
		case next == 44 && be.Uint16(p[at+2:])&0xfff9 == 0:
		default:
			return 0
		}
		next, at = p[at], at+size
	}
	return at
}

// minQuote is how much of TCP an error quotes at least (RFC 792).
const minQuote = 8

// quote4 finds the tuple of the segment that the ICMP message d[at:end] quotes.
func quote4(d []byte, at, end int) (k kind, addrs, ports int) {
	ip := at + wire.ICMPLen
	if end > len(d) || end < ip+wire.IPv4Len+minQuote {
		return none, 0, 0
	}
	switch d[at] {
	case wire.ICMPUnreachable, wire.ICMPSourceQuench, wire.ICMPTimeExceeded, wire.ICMPParamProblem:
	default:
		return none, 0, 0
	}
	q := d[ip:end]
	ihl := int(q[0]&15) * 4
	if q[0]>>4 != 4 || q[9] != wire.ProtoTCP || be.Uint16(q[6:])&0x1fff != 0 || ihl < wire.IPv4Len || len(q) < ihl+minQuote {
		return none, 0, 0
	}
	return quoted4, ip + 12, ip + ihl
}

// quote6 finds the tuple of the segment that the ICMPv6 message d[at:end] quotes.
func quote6(d []byte, at, end int) (k kind, addrs, ports int) {
	ip := at + wire.ICMPLen
	if end > len(d) || end < ip+wire.IPv6Len+minQuote || d[at] < wire.ICMPv6Unreachable || d[at] > wire.ICMPv6ParamProblem {
		return none, 0, 0
	}
	if q := d[ip:]; q[0]>>4 != 6 || q[6] != wire.ProtoTCP {
		return none, 0, 0
	}
	return quoted6, ip + 8, ip + wire.IPv6Len
}
