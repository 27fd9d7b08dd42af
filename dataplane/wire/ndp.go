package wire

// NDP is a neighbor solicitation or advertisement (RFC 4861 §4.3, §4.4).
type NDP []byte

const (
	ndpLen     = 24 // fixed part: header, flags, target
	ndpLinkLen = 8  // source or target link-layer address option
	ndpHops    = 255

	ndpOptSource = 1
	ndpOptTarget = 2
)

// Flags of a neighbor advertisement.
const (
	NDPRouter    = 0x80
	NDPSolicited = 0x40
	NDPOverride  = 0x20
)

// ParseNeighborSolicit returns the neighbor solicitation that Parse found in
// frame, false if it is none or fails a check of RFC 4861 §7.1.1 (NET-007).
// Parse has verified the checksum.
func ParseNeighborSolicit(frame []byte, p *Packet) (NDP, bool) {
	m, ok := parseNDP(frame, p, ICMPv6NeighborSolicit)
	if !ok {
		return nil, false
	}
	if p.Seg.Remote.IsZero() {
		if _, has := m.linkAddr(ndpOptSource); has || p.Seg.Local != SolicitedNode(m.Target()) {
			return nil, false
		}
	}
	return m, true
}

// ParseNeighborAdvert returns the neighbor advertisement that Parse found in
// frame, false if it is none or fails a check of RFC 4861 §7.1.2 (NET-008).
// Parse has verified the checksum.
func ParseNeighborAdvert(frame []byte, p *Packet) (NDP, bool) {
	m, ok := parseNDP(frame, p, ICMPv6NeighborAdvert)
	if !ok || p.Seg.Local.IsMulticast() && m.Flags()&NDPSolicited != 0 || p.Seg.Remote.IsZero() {
		return nil, false
	}
	return m, true
}

func parseNDP(frame []byte, p *Packet, typ uint8) (NDP, bool) {
	if p.Kind != KindICMP6 || p.TTL != ndpHops || p.L4-p.L3 != IPv6Len || p.End > int32(len(frame)) || p.End-p.L4 < ndpLen {
		return nil, false
	}
	m := NDP(frame[p.L4:p.End])
	if m[0] != typ || m[1] != 0 || m.Target().IsMulticast() {
		return nil, false
	}
	for o := m[ndpLen:]; len(o) > 0; {
		if len(o) < 8 || o[1] == 0 || int(o[1])*8 > len(o) {
			return nil, false
		}
		o = o[int(o[1])*8:]
	}
	return m, true
}

// Type returns ICMPv6NeighborSolicit or ICMPv6NeighborAdvert.
func (m NDP) Type() uint8 { return m[0] }

// Flags returns the flags of an advertisement.
func (m NDP) Flags() uint8 { return m[4] }

// Target returns the target address.
func (m NDP) Target() Addr { return Addr16((*[16]byte)(m[8:24])) }

// LinkAddr returns the link-layer address the message carries: of the source
// in a solicitation, of the target in an advertisement.
func (m NDP) LinkAddr() ([6]byte, bool) {
	if m[0] == ICMPv6NeighborSolicit {
		return m.linkAddr(ndpOptSource)
	}
	return m.linkAddr(ndpOptTarget)
}

func (m NDP) linkAddr(typ uint8) (mac [6]byte, ok bool) {
	for o := m[ndpLen:]; len(o) >= 8 && o[1] != 0 && int(o[1])*8 <= len(o); o = o[int(o[1])*8:] {
		if o[0] == typ && o[1] == 1 {
			return [6]byte(o[2:8]), true
		}
	}
	return mac, false
}

// IsMulticast reports whether a is a group address, IPv4 or IPv6.
func (a Addr) IsMulticast() bool {
	return a.Hi>>56 == 0xff || a.Is4() && a.V4()>>28 == 0xe
}

// SolicitedNode returns the solicited-node group of IPv6 address a (RFC 4291 §2.7.1).
func SolicitedNode(a Addr) Addr {
	return Addr{Hi: 0xff02 << 48, Lo: 0x1_ff00_0000 | a.Lo&0xffffff}
}

// MulticastMAC returns the group MAC of a multicast address: 33:33 and the low
// 32 bits of IPv6 (RFC 2464 §7), 01:00:5e and the low 23 bits of IPv4 (RFC 1112 §6.4).
func MulticastMAC(a Addr) [6]byte {
	lo := uint32(a.Lo)
	if a.Is4() {
		return [6]byte{0x01, 0x00, 0x5e, byte(lo>>16) & 0x7f, byte(lo >> 8), byte(lo)}
	}
	return [6]byte{0x33, 0x33, byte(lo >> 24), byte(lo >> 16), byte(lo >> 8), byte(lo)}
}

// PutARP writes a whole ARP frame and returns its length without padding, 0 if
// b is too short. A request asks for target with targetMAC zero and l.Dst
// broadcast; a gratuitous announcement has sender = target.
func PutARP(b []byte, l *Link, op uint16, senderMAC [6]byte, sender Addr, targetMAC [6]byte, target Addr) int {
	n := l.Len() + ARPLen
	if len(b) < n {
		return 0
	}
	a := b[PutLink(b, l, EtherTypeARP):n]
	be.PutUint64(a, 0x0001_0800_0604<<16|uint64(op))
	copy(a[8:14], senderMAC[:])
	be.PutUint32(a[14:], sender.V4())
	copy(a[18:24], targetMAC[:])
	be.PutUint32(a[24:], target.V4())
	return n
}

// PutNeighborSolicit writes a whole frame asking dst about target and returns
// its length, 0 if b is too short. dst is SolicitedNode(target), with l.Dst its
// MulticastMAC, or target itself for a unicast probe. l.Src goes along as source
// link-layer address unless src is unspecified (DAD).
func PutNeighborSolicit(b []byte, l *Link, src, dst, target Addr) int {
	opt := uint8(ndpOptSource)
	if src.IsZero() {
		opt = 0
	}
	return putNDP(b, l, src, dst, target, ICMPv6NeighborSolicit, 0, opt)
}

// PutNeighborAdvert writes a whole frame saying that target is at l.Src, with
// flags of NDPRouter, NDPSolicited and NDPOverride, and returns its length, 0
// if b is too short.
func PutNeighborAdvert(b []byte, l *Link, src, dst, target Addr, flags uint8) int {
	return putNDP(b, l, src, dst, target, ICMPv6NeighborAdvert, flags, ndpOptTarget)
}

func putNDP(b []byte, l *Link, src, dst, target Addr, typ, flags, opt uint8) int {
	size := ndpLen
	if opt != 0 {
		size += ndpLinkLen
	}
	n := l.Len() + IPv6Len + size
	if len(b) < n {
		return 0
	}
	p := b[PutLink(b, l, EtherTypeIPv6):n]
	putIPv6(p, src, dst, 0, ProtoICMPv6, size, ndpHops)
	m := p[IPv6Len:]
	m[0], m[1], m[2], m[3] = typ, 0, 0, 0
	be.PutUint32(m[4:], uint32(flags)<<24)
	be.PutUint64(m[8:], target.Hi)
	be.PutUint64(m[16:], target.Lo)
	if opt != 0 {
		m[24], m[25] = opt, 1
		copy(m[26:32], l.Src[:])
	}
	be.PutUint16(m[2:], Checksum(m, PseudoSum(src, dst, ProtoICMPv6, uint32(size))))
	return n
}
