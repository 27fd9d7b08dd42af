package wire

// ICMPv6 types of multicast listener discovery (RFC 2710, RFC 3810).
const (
	ICMPv6ListenerQuery    = 130
	ICMPv6ListenerReportV2 = 143
)

// MLDRouters is the group that reports go to, ff02::16 (RFC 3810 §5.2.14).
var MLDRouters = Addr{Hi: 0xff02 << 48, Lo: 0x16}

// Record types of a report (RFC 3810 §5.2.12), with no source listed.
const (
	MLDIsExclude = 2 // the answer to a query: listening to the group, whoever sends
	MLDToExclude = 4 // from now on listening
)

const (
	mldLen       = 8 // type, code, checksum, reserved, number of records
	mldRecordLen = 20

	// MaxMLDGroups is how many groups fit into a report within the least MTU of IPv6.
	MaxMLDGroups = (1280 - IPv6Len - 8 - mldLen) / mldRecordLen
)

// PutMLDReport writes a whole frame that reports listening to groups, with a
// record of typ for each, and returns its length, 0 if b is too short or there are
// more than MaxMLDGroups. src is a link-local address of ours, or unspecified
// (RFC 3590). l.Dst is the MulticastMAC of MLDRouters. Switches that snoop pass
// a group only to those who report it, solicited-node groups included (RFC 4541 §3).
func PutMLDReport(b []byte, l *Link, src Addr, typ uint8, groups []Addr) int {
	size := mldLen + mldRecordLen*len(groups)
	n := l.Len() + IPv6Len + 8 + size
	if len(b) < n || len(groups) > MaxMLDGroups {
		return 0
	}
	p := b[PutLink(b, l, EtherTypeIPv6):n]
	putIPv6(p, src, MLDRouters, 0, extHopByHop, 8+size, 1)
	// Router alert 0 is MLD (RFC 2711), and padding.
	be.PutUint64(p[IPv6Len:], ProtoICMPv6<<56|0x00_0502_0000_0100)
	m := p[IPv6Len+8:]
	be.PutUint64(m, ICMPv6ListenerReportV2<<56|uint64(len(groups)))
	for i, g := range groups {
		r := m[mldLen+mldRecordLen*i:]
		be.PutUint32(r, uint32(typ)<<24)
		be.PutUint64(r[4:], g.Hi)
		be.PutUint64(r[12:], g.Lo)
	}
	be.PutUint16(m[2:], Checksum(m, PseudoSum(src, MLDRouters, ProtoICMPv6, uint32(size))))
	return n
}

// ParseListenerQuery reports whether frame, which Parse accepted into p, is a query for
// listeners (RFC 3810 §5.1.14): from a link-local address, with hop limit 1 and
// room for a group. group is unspecified in a general query. A node without timers of
// its own may answer versions 1 and 2 alike.
func ParseListenerQuery(frame []byte, p *Packet) (group Addr, ok bool) {
	if p.Kind != KindICMP6 || p.TTL != 1 || p.Seg.Remote.Hi>>54 != 0xfe80>>6 || p.End > int32(len(frame)) || p.L4 < 0 || p.End-p.L4 < ndpLen {
		return Addr{}, false
	}
	m := frame[p.L4:p.End]
	if m[0] != ICMPv6ListenerQuery || m[1] != 0 {
		return Addr{}, false
	}
	return Addr16((*[16]byte)(m[8:24])), true
}
