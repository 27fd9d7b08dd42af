package wire

// EtherTypes.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8
)

// Sizes of link headers in bytes.
const (
	EthernetLen = 14
	VLANLen     = 4
)

// Link is what an Ethernet header needs: addresses and the 802.1Q TCI (host
// order, 0 for an untagged frame).
type Link struct {
	Dst, Src [6]byte
	VLAN     uint16
}

// Len is the length of the header that PutLink writes.
func (l *Link) Len() int {
	if l.VLAN != 0 {
		return EthernetLen + VLANLen
	}
	return EthernetLen
}

// EtherType returns the EtherType of an IP packet from a to any peer.
func (a Addr) EtherType() uint16 {
	if a.Is4() {
		return EtherTypeIPv4
	}
	return EtherTypeIPv6
}

// PutLink writes the Ethernet header, with a tag if l.VLAN is not 0, and
// returns its length. It returns 0 if b is too short.
func PutLink(b []byte, l *Link, etherType uint16) int {
	n := l.Len()
	if len(b) < n {
		return 0
	}
	copy(b[0:6], l.Dst[:])
	copy(b[6:12], l.Src[:])
	if l.VLAN != 0 {
		be.PutUint16(b[12:], EtherTypeVLAN)
		be.PutUint16(b[14:], l.VLAN)
	}
	be.PutUint16(b[n-2:], etherType)
	return n
}

// ReplyLink returns the link header for an answer to frame, which Parse
// accepted into p: MACs swapped, same VLAN tag (NET-005). If the frame went to
// a group MAC the caller must put its own address into Src.
func ReplyLink(frame []byte, p *Packet) Link {
	var l Link
	e, ok := ParseEthernet(frame)
	if !ok {
		return l
	}
	l.Dst, l.Src = e.Src(), e.Dst()
	if p.Tagged {
		l.VLAN = p.VLAN
	}
	return l
}
