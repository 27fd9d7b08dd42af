package wire

import "math/bits"

// DefaultTTL is the TTL or hop limit of what we send, as in Linux.
const DefaultTTL = 64

const maxIPv4 = 65535

// OptionsLen is the number of bytes PutOptions writes: a multiple of 4, at most 40.
func OptionsLen(o *Options, syn bool) int {
	n := 0
	if o.Has&HasTimestamps != 0 {
		n = 12
	}
	if !syn {
		return n
	}
	if o.Has&HasMSS != 0 {
		n += 4
	}
	if o.Has&(HasSACKPermitted|HasTimestamps) == HasSACKPermitted {
		n += 4
	}
	if o.Has&HasWScale != 0 {
		n += 4
	}
	return n + fastOpenLen(o, MaxOptionsLen-n)
}

// fastOpenLen is the padded length of the Fast Open option, 0 if there is none,
// its cookie has no legal size, or it does not fit into room (ENC-004).
func fastOpenLen(o *Options, room int) int {
	if o.Has&HasFastOpen == 0 || !validCookieLen(int(o.TFOLen)) {
		return 0
	}
	n := 2 + int(o.TFOLen)
	if o.Has&FastOpenExp != 0 {
		n += 2
	}
	if n = (n + 3) &^ 3; n > room {
		return 0
	}
	return n
}

// TCPHeaderLen is the length of the TCP header with options that PutTCP writes for s.
func TCPHeaderLen(s *Segment) int {
	return TCPLen + OptionsLen(&s.Opt, s.Flags&FlagSYN != 0)
}

// IPLen is the length of the IP header that PutTCP writes for s: 20 or 40.
func IPLen(s *Segment) int {
	if s.Local.Is4() {
		return IPv4Len
	}
	return IPv6Len
}

// PacketLen is the length of the IP packet that PutTCP writes for s with
// payload bytes of text.
func PacketLen(s *Segment, payload int) int { return IPLen(s) + TCPHeaderLen(s) + payload }

// FrameLen is PacketLen and the link header.
func FrameLen(l *Link, s *Segment, payload int) int { return l.Len() + PacketLen(s, payload) }

// PutOptions writes the options of o in the order and with the padding of
// Linux tcp_options_write and returns their length, a multiple of 4 and at most
// 40; 0 if b is shorter than that. On SYN segments: MSS, SACK-permitted and
// timestamps, window scale, Fast Open (dropped if it does not fit). Elsewhere only
// timestamps. SACK blocks are not in Options: see PutSACK; MD5 and AO are never sent.
func PutOptions(b []byte, o *Options, syn bool) int {
	if len(b) < OptionsLen(o, syn) {
		return 0
	}
	n, _ := putOptions(b, o, syn)
	return n
}

// putOptions is PutOptions with room checked; it also returns the sum of what
// it wrote.
func putOptions(b []byte, o *Options, syn bool) (n int, sum uint64) {
	has := o.Has
	if syn && has&HasMSS != 0 {
		w := OptMSS<<24 | 4<<16 | uint32(o.MSS)
		be.PutUint32(b, w)
		sum += uint64(w)
		n = 4
	}
	if has&HasTimestamps != 0 {
		w := uint32(0x0101080a)
		if syn && has&HasSACKPermitted != 0 {
			w = 0x0402080a
		}
		t := b[n : n+12]
		be.PutUint32(t, w)
		be.PutUint32(t[4:], o.TSVal)
		be.PutUint32(t[8:], o.TSEcr)
		sum += uint64(w) + uint64(o.TSVal) + uint64(o.TSEcr)
		n += 12
	} else if syn && has&HasSACKPermitted != 0 {
		be.PutUint32(b[n:], 0x01010402)
		sum += 0x01010402
		n += 4
	}
	if !syn {
		return n, sum
	}
	if has&HasWScale != 0 {
		w := 0x01030300 | uint32(min(o.WScale, 14))
		be.PutUint32(b[n:], w)
		sum += uint64(w)
		n += 4
	}
	if has&HasFastOpen != 0 {
		if l := fastOpenLen(o, MaxOptionsLen-n); l > 0 {
			putFastOpen(b[n:n+l], o)
			sum += uint64(Sum(b[n : n+l]))
			n += l
		}
	}
	return n, sum
}

// putFastOpen fills b, whose length is that of the padded option.
func putFastOpen(b []byte, o *Options) {
	n := 2
	b[0], b[1] = OptFastOpen, 2+o.TFOLen
	if o.Has&FastOpenExp != 0 {
		b[0], b[1] = OptExperimental, 4+o.TFOLen
		be.PutUint16(b[2:], MagicFastOpen)
		n = 4
	}
	n += copy(b[n:], o.TFO[:o.TFOLen])
	for ; n < len(b); n++ {
		b[n] = OptNOP
	}
}

// PutSACK writes a SACK option 01 01 05 len with as many blocks as fit into
// room bytes (40, or 28 beside timestamps: 4 and 3 blocks; ENC-002) and returns
// its length, 0 if there is nothing to write or b is too short.
func PutSACK(b []byte, blocks []SACKBlock, room int) int {
	blocks = blocks[:min(len(blocks), max(0, (min(room, MaxOptionsLen)-4)/8))]
	n := 4 + 8*len(blocks)
	if len(blocks) == 0 || len(b) < n {
		return 0
	}
	be.PutUint32(b, 0x01010500|uint32(n-2))
	for i, s := range blocks {
		be.PutUint32(b[4+8*i:], uint32(s.Left))
		be.PutUint32(b[8+8*i:], uint32(s.Right))
	}
	return n
}

// PutTCP writes s from Local to Remote as an IPv4 packet (DF, ID 0) or IPv6
// packet at the start of b: IP header with TTL 64 and s.TOS, TCP header, options,
// payload, both checksums. It returns the length of the packet, 0 if b is too
// short or the packet exceeds the length field of IP. s.Len and s.Path are
// ignored, the urgent pointer and reserved bits are 0, and payload may be nil, or
// lie anywhere in b: it is moved before anything is written.
func PutTCP(b []byte, s *Segment, payload []byte) int {
	if len(payload) == 0 {
		switch v4 := s.Local.Is4(); {
		case v4 && len(b) >= IPv4Len+TCPLen+20:
			if n := putCommon4(b, s); n != 0 {
				return n
			}
		case !v4 && len(b) >= IPv6Len+TCPLen+20:
			if n := putCommon6(b, s); n != 0 {
				return n
			}
		}
	}
	return PutTCPExtra(b, s, nil, payload)
}

// putCommon4 is PutTCP without text over IPv4 for the three layouts of options of
// which a handshake consists, the same as those that parseTCP reads in
// registers: all words are written whole, at places known beforehand. It returns
// 0 for any other. b has room for the longest.
func putCommon4(b []byte, s *Segment) int {
	opt, sum, ok := putCommonOptions((*[20]byte)(b[IPv4Len+TCPLen:]), s)
	if !ok {
		return 0
	}
	return putHeaders4((*[IPv4Len + TCPLen]byte)(b), s, opt, sum)
}

// putCommon6 is putCommon4 over IPv6.
func putCommon6(b []byte, s *Segment) int {
	opt, sum, ok := putCommonOptions((*[20]byte)(b[IPv6Len+TCPLen:]), s)
	if !ok {
		return 0
	}
	return putHeaders6((*[IPv6Len + TCPLen]byte)(b), s, opt, sum)
}

// putCommonOptions writes one of the three layouts to p and returns its length and
// sum, or false if it has to be another.
func putCommonOptions(p *[20]byte, s *Segment) (n uint32, sum uint64, ok bool) {
	o := &s.Opt
	ts := uint64(o.TSVal)<<32 | uint64(o.TSEcr)
	if s.Flags&FlagSYN != 0 {
		const all = HasMSS | HasSACKPermitted | HasTimestamps | HasWScale
		if o.Has&(all|HasFastOpen) != all {
			return 0, 0, false
		}
		mss, ws := uint64(OptMSS<<24|4<<16|uint32(o.MSS))<<32|0x0402080a, 0x01030300|uint32(min(o.WScale, 14))
		be.PutUint64(p[0:8], mss)
		be.PutUint64(p[8:16], ts)
		be.PutUint32(p[16:20], ws)
		return 20, mss>>32 + mss&0xffffffff + ts>>32 + ts&0xffffffff + uint64(ws), true
	}
	if o.Has&HasTimestamps != 0 {
		be.PutUint32(p[0:4], 0x0101080a)
		be.PutUint64(p[4:12], ts)
		return 12, 0x0101080a + ts>>32 + ts&0xffffffff, true
	}
	return 0, 0, true
}

// putHeaders4 writes the headers of a segment without text and with opt bytes of
// options, whose sum is osum, and returns the length of the packet.
func putHeaders4(p *[IPv4Len + TCPLen]byte, s *Segment, opt uint32, osum uint64) int {
	n := IPv4Len + TCPLen + opt
	src, dst := s.Local.V4(), s.Remote.V4()
	addrs := uint64(src) + uint64(dst)
	w0, w2 := 0x4500_0000|uint32(s.TOS)<<16|n, uint32(DefaultTTL<<24|ProtoTCP<<16)
	w2 |= uint32(^fold64(addrs + uint64(w0) + 0x4000 + uint64(w2)))
	be.PutUint64(p[0:8], uint64(w0)<<32|0x4000)
	be.PutUint64(p[8:16], uint64(w2)<<32|uint64(src))
	ports := uint32(s.LocalPort)<<16 | uint32(s.RemotePort)
	be.PutUint64(p[16:24], uint64(dst)<<32|uint64(ports))
	ctl := (TCPLen+opt)<<26 | uint32(s.Flags&0x1ff)<<16 | uint32(s.Win)
	be.PutUint64(p[24:32], uint64(s.Seq)<<32|uint64(s.Ack))
	osum += addrs + uint64(ports) + uint64(s.Seq) + uint64(s.Ack) + uint64(ctl) + uint64(ProtoTCP+TCPLen+opt)
	be.PutUint64(p[32:40], uint64(ctl)<<32|uint64(^fold64(osum))<<16)
	return int(n)
}

// putHeaders6 is putHeaders4 over IPv6.
func putHeaders6(p *[IPv6Len + TCPLen]byte, s *Segment, opt uint32, osum uint64) int {
	l4 := TCPLen + opt
	osum += putIPv6(p[:IPv6Len], s.Local, s.Remote, s.TOS, ProtoTCP, int(l4), DefaultTTL)
	ports := uint32(s.LocalPort)<<16 | uint32(s.RemotePort)
	be.PutUint32(p[40:44], ports)
	be.PutUint64(p[44:52], uint64(s.Seq)<<32|uint64(s.Ack))
	ctl := l4<<26 | uint32(s.Flags&0x1ff)<<16 | uint32(s.Win)
	osum += uint64(ports) + uint64(s.Seq) + uint64(s.Ack) + uint64(ctl) + uint64(ProtoTCP+l4)
	be.PutUint64(p[52:60], uint64(ctl)<<32|uint64(^fold64(osum))<<16)
	return int(IPv6Len + l4)
}

// PutTCPExtra is PutTCP with extra option bytes (from PutSACK) after those of
// s.Opt. Their length must be a multiple of 4 and fit, else it returns 0.
func PutTCPExtra(b []byte, s *Segment, extra, payload []byte) int {
	syn := s.Flags&FlagSYN != 0
	hl := TCPLen + OptionsLen(&s.Opt, syn) + len(extra)
	l3 := IPLen(s)
	l4 := hl + len(payload)
	n := l3 + l4
	if n > len(b) || hl > TCPLen+MaxOptionsLen || len(extra)&3 != 0 || l4 > maxIPv4-(IPv6Len-l3) {
		return 0
	}
	b = b[:n]
	if len(payload) > 0 {
		copy(b[l3+hl:], payload)
	}
	var sum uint64
	if l3 == IPv4Len {
		sum = putIPv4(b, s.Local.V4(), s.Remote.V4(), s.TOS, ProtoTCP, n)
	} else {
		sum = putIPv6(b, s.Local, s.Remote, s.TOS, ProtoTCP, l4, DefaultTTL)
	}
	t := b[l3:]
	_ = t[19]
	ports := uint32(s.LocalPort)<<16 | uint32(s.RemotePort)
	ctl := uint32(hl)<<26 | uint32(s.Flags&0x1ff)<<16 | uint32(s.Win)
	be.PutUint32(t, ports)
	be.PutUint32(t[4:], uint32(s.Seq))
	be.PutUint32(t[8:], uint32(s.Ack))
	be.PutUint32(t[12:], ctl)
	sum += uint64(ports) + uint64(s.Seq) + uint64(s.Ack) + uint64(ctl) + ProtoTCP + uint64(l4)
	if hl > TCPLen {
		on, osum := putOptions(t[TCPLen:hl], &s.Opt, syn)
		sum += osum
		if len(extra) > 0 {
			copy(t[TCPLen+on:hl], extra)
			sum += uint64(Sum(extra))
		}
	}
	if len(payload) > 0 {
		sum += uint64(Sum(t[hl:]))
	}
	// The sum came from the values just written, not from memory.
	be.PutUint32(t[16:], uint32(^fold64(sum))<<16)
	return n
}

// putIPv4 writes a header for a packet of total bytes with ID 0 and DF, and
// returns the sum of both addresses.
func putIPv4(b []byte, src, dst uint32, tos, proto uint8, total int) (addrs uint64) {
	_ = b[19]
	addrs = uint64(src) + uint64(dst)
	w0 := 0x4500_0000 | uint32(tos)<<16 | uint32(total)
	w2 := DefaultTTL<<24 | uint32(proto)<<16
	be.PutUint32(b, w0)
	be.PutUint32(b[4:], 0x4000)
	be.PutUint32(b[8:], w2|uint32(^fold64(addrs+uint64(w0)+0x4000+uint64(w2))))
	be.PutUint32(b[12:], src)
	be.PutUint32(b[16:], dst)
	return addrs
}

// putIPv6 writes a header for payload bytes with flow label 0, and returns the
// sum of both addresses.
func putIPv6(b []byte, src, dst Addr, tos, proto uint8, payload int, hops uint8) (addrs uint64) {
	_ = b[39]
	be.PutUint64(b, 6<<60|uint64(tos)<<52|uint64(payload)<<16|uint64(proto)<<8|uint64(hops))
	be.PutUint64(b[8:], src.Hi)
	be.PutUint64(b[16:], src.Lo)
	be.PutUint64(b[24:], dst.Hi)
	be.PutUint64(b[32:], dst.Lo)
	acc, c := bits.Add64(src.Hi, src.Lo, 0)
	acc, c = bits.Add64(acc, dst.Hi, c)
	acc, c = bits.Add64(acc, dst.Lo, c)
	return acc>>32 + acc&0xffffffff + c
}
