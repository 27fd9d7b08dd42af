package wire

// ICMPLen is the length of the fixed part of ICMP and ICMPv6 messages.
const ICMPLen = 8

// ICMP types (RFC 792).
const (
	ICMPEchoReply    = 0
	ICMPUnreachable  = 3
	ICMPSourceQuench = 4
	ICMPEcho         = 8
	ICMPTimeExceeded = 11
	ICMPParamProblem = 12
)

// ICMPv6 types (RFC 4443, RFC 4861).
const (
	ICMPv6Unreachable     = 1
	ICMPv6PacketTooBig    = 2
	ICMPv6TimeExceeded    = 3
	ICMPv6ParamProblem    = 4
	ICMPv6Echo            = 128
	ICMPv6EchoReply       = 129
	ICMPv6RouterSolicit   = 133
	ICMPv6RouterAdvert    = 134
	ICMPv6NeighborSolicit = 135
	ICMPv6NeighborAdvert  = 136
	ICMPv6Redirect        = 137
)

// ICMPFragNeeded is the code of ICMPUnreachable that reports a path MTU (RFC 1191 §4).
const ICMPFragNeeded = 4

// ICMPv4 is an ICMP message of at least 8 bytes.
type ICMPv4 []byte

// ParseICMPv4 checks the length. Parse has verified the checksum.
func ParseICMPv4(b []byte) (ICMPv4, bool) { return b, len(b) >= ICMPLen }

// Type returns the message type.
func (m ICMPv4) Type() uint8 { return m[0] }

// Code returns the message code.
func (m ICMPv4) Code() uint8 { return m[1] }

// Rest returns the type-specific second word.
func (m ICMPv4) Rest() uint32 { return be.Uint32(m[4:]) }

// Body returns what follows the 8 fixed bytes.
func (m ICMPv4) Body() []byte { return m[ICMPLen:] }

// ChecksumOK verifies the checksum.
func (m ICMPv4) ChecksumOK() bool { return Checksum(m, 0) == 0 }

// ICMPv6 is an ICMPv6 message of at least 8 bytes.
type ICMPv6 []byte

// ParseICMPv6 checks the length. Parse has verified the checksum.
func ParseICMPv6(b []byte) (ICMPv6, bool) { return b, len(b) >= ICMPLen }

// Type returns the message type.
func (m ICMPv6) Type() uint8 { return m[0] }

// Code returns the message code.
func (m ICMPv6) Code() uint8 { return m[1] }

// Rest returns the type-specific second word.
func (m ICMPv6) Rest() uint32 { return be.Uint32(m[4:]) }

// Body returns what follows the 8 fixed bytes.
func (m ICMPv6) Body() []byte { return m[ICMPLen:] }

// ChecksumOK verifies the checksum of the message between src and dst.
func (m ICMPv6) ChecksumOK(src, dst Addr) bool {
	return Checksum(m, PseudoSum(src, dst, ProtoICMPv6, uint32(len(m)))) == 0
}

// Quote is an ICMP error about a TCP segment that we sent.
type Quote struct {
	Tuple             // Local is the quoted source, our side
	Seq        Seq    // sequence number of the quoted segment
	MTU        uint32 // next-hop MTU of frag-needed and packet-too-big (0: not given)
	Type, Code uint8  // as in the message; Tuple.Local.Is4 tells ICMP from ICMPv6
}

// QuotedTCP decodes the TCP segment quoted in the ICMP error that Parse found
// in frame. ok is false (be silent: MTU-009) when the message is no error, its
// quote is cut before the first 8 bytes of TCP, is not TCP or not the first
// fragment, or was not sent from the address the error came to (RFC 5927 §4).
func QuotedTCP(frame []byte, p *Packet) (q Quote, ok bool) {
	if p.End > int32(len(frame)) || p.Data < ICMPLen || p.Data > p.End {
		return q, false
	}
	m := frame[p.Data-ICMPLen : p.End]
	q.Type, q.Code = m[0], m[1]
	b := m[ICMPLen:]
	switch p.Kind {
	case KindICMP4:
		switch q.Type {
		case ICMPUnreachable:
			if q.Code == ICMPFragNeeded {
				q.MTU = be.Uint32(m[4:]) & 0xffff
			}
		case ICMPSourceQuench, ICMPTimeExceeded, ICMPParamProblem:
		default:
			return q, false
		}
		if len(b) < IPv4Len || b[0]>>4 != 4 {
			return q, false
		}
		ihl := int(b[0]&15) * 4
		if ihl < IPv4Len || ihl > len(b) || b[9] != ProtoTCP || be.Uint16(b[6:])&0x1fff != 0 {
			return q, false
		}
		q.Local, q.Remote = Addr4(be.Uint32(b[12:])), Addr4(be.Uint32(b[16:]))
		b = b[ihl:]
	case KindICMP6:
		if q.Type < ICMPv6Unreachable || q.Type > ICMPv6ParamProblem {
			return q, false
		}
		if q.Type == ICMPv6PacketTooBig {
			q.MTU = be.Uint32(m[4:])
		}
		if len(b) < IPv6Len || b[0]>>4 != 6 {
			return q, false
		}
		q.Local, q.Remote = IPv6(b).Src(), IPv6(b).Dst()
		next, n, r := skipExtHeaders(b[6], b[IPv6Len:])
		if r != OK || next != ProtoTCP {
			return q, false
		}
		b = b[IPv6Len+n:]
	default:
		return q, false
	}
	if len(b) < 8 || q.Local != p.Seg.Local {
		return q, false
	}
	q.LocalPort, q.RemotePort = be.Uint16(b), be.Uint16(b[2:])
	q.Seq = Seq(be.Uint32(b[4:]))
	return q, true
}

// EchoReply turns the echo request that Parse accepted from frame into its
// reply, in place, and returns the frame cut to the reply (NET-012). It returns
// false and leaves frame alone if the packet is no echo request, carries IP
// options or extension headers, or was sent to a group.
func EchoReply(frame []byte, p *Packet) ([]byte, bool) {
	if p.End > int32(len(frame)) || p.L4 < EthernetLen || p.L4+ICMPLen > p.End {
		return nil, false
	}
	var request, reply uint8 = ICMPEcho, ICMPEchoReply
	l3 := int32(IPv4Len)
	switch p.Kind {
	case KindICMP4:
	case KindICMP6:
		request, reply, l3 = ICMPv6Echo, ICMPv6EchoReply, IPv6Len
	default:
		return nil, false
	}
	ip, m := frame[p.L3:p.End], frame[p.L4:p.End]
	if m[0] != request || m[1] != 0 || p.L4-p.L3 != l3 ||
		frame[0]&1 != 0 || p.Seg.Local.Hi>>56 == 0xff || p.Seg.Remote.IsZero() {
		return nil, false
	}
	dst, src := [6]byte(frame[0:6]), [6]byte(frame[6:12])
	copy(frame[0:6], src[:])
	copy(frame[6:12], dst[:])
	if p.Kind == KindICMP4 {
		s, d := be.Uint32(ip[12:]), be.Uint32(ip[16:])
		be.PutUint32(ip[12:], d)
		be.PutUint32(ip[16:], s)
		IPv4(ip).SetTTL(DefaultTTL)
	} else {
		s, d := [16]byte(ip[8:24]), [16]byte(ip[24:40])
		copy(ip[8:24], d[:])
		copy(ip[24:40], s[:])
		IPv6(ip).SetHopLimit(DefaultTTL)
	}
	// Swapped addresses leave both sums as they are.
	be.PutUint16(m[2:], UpdateChecksum(be.Uint16(m[2:]), uint16(request)<<8, uint16(reply)<<8))
	m[0] = reply
	return frame[:p.End], true
}
