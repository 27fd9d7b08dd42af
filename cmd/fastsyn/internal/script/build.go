package script

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var be = binary.BigEndian

// Ports of a script where it names none: the peer connects from PeerPort to
// EndpointPort; the endpoint connects from ActivePort to ServerPort.
const (
	PeerPort     = 40000
	EndpointPort = 80
	ActivePort   = 50000
	ServerPort   = 9000
)

// Link is the wire between the two: an Ethernet link with one address of each
// family at each end, IPv4 in a /24 and IPv6 in a /64.
type Link struct {
	EndpointMAC, PeerMAC [6]byte
	Endpoint, Peer       [2]wire.Addr // by Family
}

// DefaultLink is what both runs use.
var DefaultLink = Link{
	EndpointMAC: [6]byte{0x02, 0x66, 0x73, 0xab, 0, 1},
	PeerMAC:     [6]byte{0x02, 0x66, 0x73, 0xab, 0, 2},
	Endpoint:    [2]wire.Addr{wire.Addr4(0xc0000201), {Hi: 0x20010db8 << 32, Lo: 1}}, // 192.0.2.1, 2001:db8::1
	Peer:        [2]wire.Addr{wire.Addr4(0xc0000202), {Hi: 0x20010db8 << 32, Lo: 2}},
}

// addr is the address that a word of addrWords means.
func (l *Link) addr(word string, fam Family) (wire.Addr, error) {
	v4 := map[string]uint32{
		"stranger": 0xc0000209, "loopback": 0x7f000001, "unspecified": 0, "broadcast": 0xffffffff,
		"subnet-broadcast": 0xc00002ff, "subnet-zero": 0xc0000200, "multicast": 0xe0000001, "class-e": 0xf0000001,
	}
	v6 := map[string]wire.Addr{
		"stranger": {Hi: 0x20010db8 << 32, Lo: 9}, "loopback": {Lo: 1}, "unspecified": {},
		"multicast": {Hi: 0xff02 << 48, Lo: 1},
	}
	switch word {
	case "peer":
		return l.Peer[fam], nil
	case "endpoint":
		return l.Endpoint[fam], nil
	}
	if fam == V4 {
		if a, ok := v4[word]; ok {
			return wire.Addr4(a), nil
		}
	} else if a, ok := v6[word]; ok {
		return a, nil
	}
	return wire.Addr{}, fmt.Errorf("there is no address %q in %v; add \"family:\" to the script", word, fam)
}

// text is the byte at place n of a stream, counted from the first byte of text,
// by which both sides know what the other must have got.
func text(n uint32) byte { return byte('a' + n%26) }

// outgoing is a segment with all numbers resolved.
type outgoing struct {
	src, dst     wire.Addr
	sport, dport uint16
	seq, ack     uint32
	first        uint32 // place of its text in the stream
	ecr          uint32
	blocksFrom   uint32 // the ISS that blocks count from
	cookie       []byte // of Fast Open, for the peer's address
	seg          *Segment
	fam          Family
}

// frame writes the Ethernet frame of o.
func (o *outgoing) frame(l *Link) ([]byte, error) {
	s := o.seg
	opts, err := o.options()
	if err != nil {
		return nil, err
	}
	n := int(s.value("len", o.fam, 0))
	doff := (wire.TCPLen + len(opts)) / 4
	t := make([]byte, wire.TCPLen+len(opts)+n)
	be.PutUint16(t, o.sport)
	be.PutUint16(t[2:], o.dport)
	be.PutUint32(t[4:], o.seq)
	be.PutUint32(t[8:], o.ack)
	t[12] = byte(s.value("doff", o.fam, int64(doff)))<<4 | byte(s.value("reserved", o.fam, 0))<<1 | byte(s.Flags>>8)
	t[13] = byte(s.Flags)
	be.PutUint16(t[14:], uint16(s.value("win", o.fam, 65535)))
	be.PutUint16(t[18:], uint16(s.value("urg", o.fam, 0)))
	copy(t[wire.TCPLen:], opts)
	for i := range n {
		t[wire.TCPLen+len(opts)+i] = text(o.first + uint32(i))
	}
	pseudo := wire.PseudoSum(o.src, o.dst, wire.ProtoTCP, uint32(len(t)))
	if s.word("sum") == "zero" {
		// The urgent pointer, which means nothing without URG, makes up what is missing.
		be.PutUint16(t[18:], wire.Checksum(t, pseudo))
	}
	be.PutUint16(t[16:], wire.Checksum(t, pseudo))
	if s.word("sum") == "bad" {
		t[16] ^= 0x55
	}
	return o.packet(l, wire.ProtoTCP, t)
}

// options writes the options in the order of the script and pads them by NOP.
func (o *outgoing) options() ([]byte, error) {
	var b []byte
	for i := range o.seg.Fields {
		f := &o.seg.Fields[i]
		v := f.V[o.fam]
		switch f.Name {
		case "mss":
			b = append(b, 2, 4, byte(v>>8), byte(v))
		case "ws":
			b = append(b, 3, 3, byte(v))
		case "sack":
			b = append(b, 4, 2)
		case "ts":
			b = append(b, 8, 10)
			b = be.AppendUint32(b, uint32(v))
			b = be.AppendUint32(b, o.ecr)
		case "tfo":
			c := f.Bytes
			if f.Word != "" {
				if c = slices.Clone(o.cookie); len(c) == 0 {
					return nil, fmt.Errorf("tfo=%s: the endpoint has sent no cookie yet", f.Word)
				}
				if f.Word == "other" {
					c[0] ^= 0xff
				}
			}
			b = append(append(b, wire.OptFastOpen, byte(2+len(c))), c...)
		case "blocks":
			b = append(b, wire.OptSACK, byte(2+8*len(f.Blocks)))
			for _, r := range f.Blocks {
				b = be.AppendUint32(b, o.blocksFrom+uint32(r[0]))
				b = be.AppendUint32(b, o.blocksFrom+uint32(r[1]))
			}
		case "nop":
			b = append(b, 1)
		case "eol":
			b = append(b, 0)
		case "opt":
			b = append(b, f.Bytes...)
		}
	}
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	if len(b) > wire.MaxOptionsLen {
		return nil, fmt.Errorf("%d bytes of options; a TCP header has room for %d", len(b), wire.MaxOptionsLen)
	}
	return b, nil
}

// packet puts the IP and Ethernet headers before l4.
func (o *outgoing) packet(l *Link, proto byte, l4 []byte) ([]byte, error) {
	s := o.seg
	delta := int(s.value("iplen", o.fam, 0))
	tos, ttl := byte(s.value("tos", o.fam, 0)), byte(s.value("ttl", o.fam, wire.DefaultTTL))
	eth := wire.Link{Dst: l.EndpointMAC, Src: l.PeerMAC}
	switch s.word("dmac") {
	case "broadcast":
		eth.Dst = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case "multicast":
		eth.Dst = [6]byte{0x01, 0x00, 0x5e, 0, 0, 1}
	case "other":
		eth.Dst = [6]byte{0x02, 0x66, 0x73, 0xab, 0, 0x77}
	}
	var ip []byte
	etherType := uint16(wire.EtherTypeIPv4)
	if o.fam == V4 {
		var opt []byte
		if f, ok := s.find("ipopt"); ok {
			opt = f.Bytes
		}
		ip = make([]byte, wire.IPv4Len+len(opt))
		ip[0] = byte(s.value("version", o.fam, 4))<<4 | byte(s.value("ihl", o.fam, int64(len(ip)/4)))
		ip[1] = tos
		be.PutUint16(ip[2:], uint16(len(ip)+len(l4)+delta))
		be.PutUint16(ip[4:], 1)
		be.PutUint16(ip[6:], map[string]uint16{"": 0x4000, "more": 0x2000, "offset": 0x0001, "reserved": 0xc000}[s.word("frag")])
		ip[8], ip[9] = ttl, proto
		be.PutUint32(ip[12:], o.src.V4())
		be.PutUint32(ip[16:], o.dst.V4())
		copy(ip[wire.IPv4Len:], opt)
		be.PutUint16(ip[10:], wire.Checksum(ip, 0))
		if s.word("ipsum") == "bad" {
			ip[10] ^= 0x55
		}
	} else {
		for _, name := range []string{"ihl", "ipopt", "ipsum", "frag"} {
			if _, ok := s.find(name); ok {
				return nil, fmt.Errorf("%s= is of IPv4; add \"family: v4\" to the script", name)
			}
		}
		etherType = wire.EtherTypeIPv6
		ip = make([]byte, wire.IPv6Len)
		be.PutUint32(ip, uint32(s.value("version", o.fam, 6))<<28|uint32(tos)<<20)
		be.PutUint16(ip[4:], uint16(len(l4)+delta))
		ip[6], ip[7] = proto, ttl
		src, dst := o.src.As16(), o.dst.As16()
		copy(ip[8:], src[:])
		copy(ip[24:], dst[:])
	}
	f := make([]byte, wire.EthernetLen, wire.EthernetLen+len(ip)+len(l4))
	wire.PutLink(f, &eth, etherType)
	f = append(append(f, ip...), l4...)
	for pad := int(s.value("pad", o.fam, 0)); len(f) < pad; {
		f = append(f, 0xee)
	}
	return f, nil
}
