package wire

// Ethernet is a frame that has a whole Ethernet header, tag included.
type Ethernet []byte

// ParseEthernet checks that b holds an Ethernet header and, if the EtherType is
// 802.1Q, the tag.
func ParseEthernet(b []byte) (Ethernet, bool) {
	if len(b) < EthernetLen || be.Uint16(b[12:]) == EtherTypeVLAN && len(b) < EthernetLen+VLANLen {
		return nil, false
	}
	return b, true
}

// Dst returns the destination MAC.
func (e Ethernet) Dst() [6]byte { return [6]byte(e[0:6]) }

// Src returns the source MAC.
func (e Ethernet) Src() [6]byte { return [6]byte(e[6:12]) }

// SetDst sets the destination MAC.
func (e Ethernet) SetDst(m [6]byte) { copy(e[0:6], m[:]) }

// SetSrc sets the source MAC.
func (e Ethernet) SetSrc(m [6]byte) { copy(e[6:12], m[:]) }

// Tag returns the TCI of an 802.1Q tag, false if there is none.
func (e Ethernet) Tag() (tci uint16, ok bool) {
	if be.Uint16(e[12:]) != EtherTypeVLAN {
		return 0, false
	}
	return be.Uint16(e[14:]), true
}

// HeaderLen is 14, or 18 with a tag.
func (e Ethernet) HeaderLen() int {
	if be.Uint16(e[12:]) == EtherTypeVLAN {
		return EthernetLen + VLANLen
	}
	return EthernetLen
}

// EtherType returns the type of the payload, behind a tag if there is one.
func (e Ethernet) EtherType() uint16 { return be.Uint16(e[e.HeaderLen()-2:]) }

// Payload returns what follows the header, padding included.
func (e Ethernet) Payload() []byte { return e[e.HeaderLen():] }

// ARP is an ARP packet for IPv4 over Ethernet (RFC 826).
type ARP []byte

// ARP operations.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ParseARP checks length, hardware type 1, protocol type IPv4 and address sizes.
func ParseARP(b []byte) (ARP, bool) {
	if len(b) < ARPLen || be.Uint64(b)>>16 != 0x0001_0800_0604 {
		return nil, false
	}
	return b[:ARPLen], true
}

// Op returns the operation.
func (a ARP) Op() uint16 { return be.Uint16(a[6:]) }

// SenderMAC returns the sender hardware address.
func (a ARP) SenderMAC() [6]byte { return [6]byte(a[8:14]) }

// Sender returns the sender protocol address.
func (a ARP) Sender() Addr { return Addr4(be.Uint32(a[14:])) }

// TargetMAC returns the target hardware address.
func (a ARP) TargetMAC() [6]byte { return [6]byte(a[18:24]) }

// Target returns the target protocol address.
func (a ARP) Target() Addr { return Addr4(be.Uint32(a[24:])) }

// IPv4 is an IPv4 packet cut to its total length.
type IPv4 []byte

// ParseIPv4 checks version, IHL and total length against b and cuts b to the
// total length. The header checksum is not part of the check: see ChecksumOK.
func ParseIPv4(b []byte) (IPv4, bool) {
	if len(b) < IPv4Len || b[0]>>4 != 4 {
		return nil, false
	}
	ihl, total := int(b[0]&15)*4, int(be.Uint16(b[2:]))
	if ihl < IPv4Len || ihl > total || total > len(b) {
		return nil, false
	}
	return b[:total], true
}

// HeaderLen is the length of the header with options, 20..60.
func (p IPv4) HeaderLen() int { return int(p[0]&15) * 4 }

// TOS returns the type-of-service byte.
func (p IPv4) TOS() uint8 { return p[1] }

// ID returns the identification.
func (p IPv4) ID() uint16 { return be.Uint16(p[4:]) }

// Frag returns the flags and fragment offset word.
func (p IPv4) Frag() uint16 { return be.Uint16(p[6:]) }

// TTL returns the time to live.
func (p IPv4) TTL() uint8 { return p[8] }

// Proto returns the protocol number.
func (p IPv4) Proto() uint8 { return p[9] }

// Checksum returns the header checksum field.
func (p IPv4) Checksum() uint16 { return be.Uint16(p[10:]) }

// Src returns the source address.
func (p IPv4) Src() Addr { return Addr4(be.Uint32(p[12:])) }

// Dst returns the destination address.
func (p IPv4) Dst() Addr { return Addr4(be.Uint32(p[16:])) }

// Options returns the option bytes.
func (p IPv4) Options() []byte { return p[IPv4Len:p.HeaderLen()] }

// Payload returns what follows the header.
func (p IPv4) Payload() []byte { return p[p.HeaderLen():] }

// ChecksumOK verifies the header checksum.
func (p IPv4) ChecksumOK() bool { return Checksum(p[:p.HeaderLen()], 0) == 0 }

// SetTOS sets the type of service and updates the header checksum.
func (p IPv4) SetTOS(v uint8) { p.setWord(0, uint16(p[0])<<8|uint16(v)) }

// SetTTL sets the time to live and updates the header checksum.
func (p IPv4) SetTTL(v uint8) { p.setWord(8, uint16(v)<<8|uint16(p[9])) }

// SetID sets the identification and updates the header checksum.
func (p IPv4) SetID(v uint16) { p.setWord(4, v) }

func (p IPv4) setWord(off int, v uint16) {
	be.PutUint16(p[10:], UpdateChecksum(p.Checksum(), be.Uint16(p[off:]), v))
	be.PutUint16(p[off:], v)
}

// IPv6 is an IPv6 packet cut to its payload length.
type IPv6 []byte

// ParseIPv6 checks version and payload length against b and cuts b to it.
func ParseIPv6(b []byte) (IPv6, bool) {
	if len(b) < IPv6Len || b[0]>>4 != 6 {
		return nil, false
	}
	n := IPv6Len + int(be.Uint16(b[4:]))
	if n > len(b) {
		return nil, false
	}
	return b[:n], true
}

// TrafficClass returns the traffic class.
func (p IPv6) TrafficClass() uint8 { return uint8(be.Uint16(p) >> 4) }

// FlowLabel returns the 20-bit flow label.
func (p IPv6) FlowLabel() uint32 { return be.Uint32(p) & 0xfffff }

// SetFlowLabel sets the flow label, which no checksum covers (NET-011).
func (p IPv6) SetFlowLabel(v uint32) {
	be.PutUint32(p, be.Uint32(p)&^0xfffff|v&0xfffff)
}

// NextHeader returns the type of the header that follows.
func (p IPv6) NextHeader() uint8 { return p[6] }

// HopLimit returns the hop limit.
func (p IPv6) HopLimit() uint8 { return p[7] }

// SetHopLimit sets the hop limit.
func (p IPv6) SetHopLimit(v uint8) { p[7] = v }

// Src returns the source address.
func (p IPv6) Src() Addr { return Addr16((*[16]byte)(p[8:24])) }

// Dst returns the destination address.
func (p IPv6) Dst() Addr { return Addr16((*[16]byte)(p[24:40])) }

// Payload returns what follows the fixed header, extension headers included.
func (p IPv6) Payload() []byte { return p[IPv6Len:] }

// UpperLayer skips extension headers as Parse does and returns the protocol
// and bytes of the upper layer; the Reason says why there is none.
func (p IPv6) UpperLayer() (proto uint8, b []byte, r Reason) {
	proto, n, r := skipExtHeaders(p.NextHeader(), p.Payload())
	return proto, p[IPv6Len+n:], r
}

// TCP is a segment whose header, options included, is inside the slice.
type TCP []byte

// ParseTCP checks the data offset against b, which is cut to the IP length.
func ParseTCP(b []byte) (TCP, bool) {
	if len(b) < TCPLen {
		return nil, false
	}
	if n := int(b[12]>>4) * 4; n < TCPLen || n > len(b) {
		return nil, false
	}
	return b, true
}

// SrcPort returns the source port.
func (t TCP) SrcPort() uint16 { return be.Uint16(t) }

// DstPort returns the destination port.
func (t TCP) DstPort() uint16 { return be.Uint16(t[2:]) }

// Seq returns the sequence number.
func (t TCP) Seq() Seq { return Seq(be.Uint32(t[4:])) }

// Ack returns the acknowledgment number, meaningful with FlagACK.
func (t TCP) Ack() Seq { return Seq(be.Uint32(t[8:])) }

// HeaderLen is the length of the header with options, 20..60.
func (t TCP) HeaderLen() int { return int(t[12]>>4) * 4 }

// Flags returns the nine control bits.
func (t TCP) Flags() Flags { return Flags(be.Uint16(t[12:])) & 0x1ff }

// Reserved returns the three reserved bits.
func (t TCP) Reserved() uint8 { return t[12] >> 1 & 7 }

// Window returns the window field, unscaled.
func (t TCP) Window() uint16 { return be.Uint16(t[14:]) }

// Checksum returns the checksum field.
func (t TCP) Checksum() uint16 { return be.Uint16(t[16:]) }

// Urgent returns the urgent pointer.
func (t TCP) Urgent() uint16 { return be.Uint16(t[18:]) }

// Options returns the option bytes.
func (t TCP) Options() []byte { return t[TCPLen:t.HeaderLen()] }

// Payload returns what follows the header.
func (t TCP) Payload() []byte { return t[t.HeaderLen():] }

// ChecksumOK verifies the checksum of the segment between src and dst.
func (t TCP) ChecksumOK(src, dst Addr) bool {
	return Checksum(t, PseudoSum(src, dst, ProtoTCP, uint32(len(t)))) == 0
}

// SetSeq sets the sequence number and updates the checksum.
func (t TCP) SetSeq(v Seq) { t.setWord(4, uint32(v)) }

// SetAck sets the acknowledgment number and updates the checksum.
func (t TCP) SetAck(v Seq) { t.setWord(8, uint32(v)) }

// SetWindow sets the window field and updates the checksum.
func (t TCP) SetWindow(v uint16) { t.setWord(12, be.Uint32(t[12:])&^0xffff|uint32(v)) }

// SetFlags sets the nine control bits and updates the checksum.
func (t TCP) SetFlags(f Flags) { t.setWord(12, be.Uint32(t[12:])&^(0x1ff<<16)|uint32(f&0x1ff)<<16) }

func (t TCP) setWord(off int, v uint32) {
	be.PutUint16(t[16:], UpdateChecksum32(t.Checksum(), be.Uint32(t[off:]), v))
	be.PutUint32(t[off:], v)
}
