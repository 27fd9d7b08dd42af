package trace

import "github.com/fastsyn/fastsyn/dataplane/wire"

// unreachable4 describes the codes of ICMP type 3 around the destination D of
// the quoted packet (RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
var unreachable4 = [...]struct{ before, after string }{
	0:  {"net ", " unreachable"},
	1:  {"host ", " unreachable"},
	5:  {"", " unreachable - source route failed"},
	6:  {"net ", " unreachable - unknown"},
	7:  {"host ", " unreachable - unknown"},
	9:  {"net ", " unreachable - admin prohibited"},
	10: {"host ", " unreachable - admin prohibited"},
	11: {"net ", " unreachable - tos prohibited"},
	12: {"host ", " unreachable - tos prohibited"},
	13: {"host ", " unreachable - admin prohibited filter"},
	14: {"host ", " unreachable - host precedence violation"},
	15: {"host ", " unreachable - precedence cutoff"},
}

func icmp4(b, l4 []byte) []byte {
	m, ok := wire.ParseICMPv4(l4)
	if !ok {
		return length(append(b, "ICMP malformed"...), len(l4))
	}
	b = append(b, "ICMP "...)
	switch m.Type() {
	case wire.ICMPEcho:
		b = echo(b, "echo request", m.Rest())
	case wire.ICMPEchoReply:
		b = echo(b, "echo reply", m.Rest())
	case wire.ICMPUnreachable:
		b = icmp4Unreachable(b, m)
	case wire.ICMPSourceQuench:
		b = append(b, "source quench"...)
	case wire.ICMPTimeExceeded:
		switch m.Code() {
		case 0:
			b = append(b, "time exceeded in-transit"...)
		case 1:
			b = append(b, "ip reassembly time exceeded"...)
		default:
			b = num(append(b, "time exceeded-#"...), m.Code())
		}
	case wire.ICMPParamProblem:
		b = append(b, "parameter problem"...)
		if m.Code() == 0 {
			b = num(append(b, " - octet "...), m.Rest()>>24)
		} else {
			b = num(append(b, " - code "...), m.Code())
		}
	default:
		b = num(append(b, "type-#"...), m.Type())
	}
	return length(b, len(m))
}

func icmp4Unreachable(b []byte, m wire.ICMPv4) []byte {
	const proto, port, frag = 2, 3, wire.ICMPFragNeeded
	q := m.Body()
	if len(q) < wire.IPv4Len || q[0]>>4 != 4 {
		return num(append(b, "unreachable - code "...), m.Code())
	}
	dst := wire.Addr4(be.Uint32(q[16:]))
	switch c := m.Code(); {
	case c == proto:
		b = append(addr(b, dst), " protocol "...)
		return append(num(b, q[9]), " unreachable"...)
	case c == port:
		b = append(addr(b, dst), ' ')
		return append(quotedPort(b, q[9], q[min(len(q), int(q[0]&15)*4):]), " unreachable"...)
	case c == frag:
		b = append(addr(b, dst), " unreachable - need to frag"...)
		if mtu := m.Rest() & 0xffff; mtu != 0 {
			b = append(num(append(b, " (mtu "...), mtu), ')')
		}
		return b
	case int(c) < len(unreachable4) && unreachable4[c].after != "":
		b = addr(append(b, unreachable4[c].before...), dst)
		return append(b, unreachable4[c].after...)
	default:
		return num(append(addr(b, dst), " unreachable - #"...), c)
	}
}

// quotedPort prints the destination port of a quoted packet of protocol proto.
func quotedPort(b []byte, proto uint8, l4 []byte) []byte {
	switch proto {
	case wire.ProtoTCP:
		b = append(b, "tcp port "...)
	case 17:
		b = append(b, "udp port "...)
	default:
		b = append(num(append(b, "protocol "...), proto), " port "...)
	}
	if len(l4) < 4 {
		return append(b, '?')
	}
	return num(b, be.Uint16(l4[2:]))
}

func echo(b []byte, name string, rest uint32) []byte {
	b = append(b, name...)
	b = num(append(b, ", id "...), rest>>16)
	return num(append(b, ", seq "...), rest&0xffff)
}

func icmp6(b, l4 []byte) []byte {
	m, ok := wire.ParseICMPv6(l4)
	if !ok {
		return length(append(b, "ICMP6 malformed"...), len(l4))
	}
	b = append(b, "ICMP6, "...)
	target := func(b []byte, what string) []byte {
		if len(m) < 24 {
			return append(b, "malformed"...)
		}
		return addr(append(b, what...), wire.Addr16((*[16]byte)(m[8:24])))
	}
	switch m.Type() {
	case wire.ICMPv6Echo:
		b = echo(b, "echo request", m.Rest())
	case wire.ICMPv6EchoReply:
		b = echo(b, "echo reply", m.Rest())
	case wire.ICMPv6Unreachable:
		b = icmp6Unreachable(append(b, "destination unreachable, "...), m)
	case wire.ICMPv6PacketTooBig:
		b = num(append(b, "packet too big, mtu "...), m.Rest())
	case wire.ICMPv6TimeExceeded:
		if m.Code() == 1 {
			b = append(b, "time exceeded in-transit (reassembly)"...)
		} else {
			b = append(b, "time exceeded in-transit"...)
			if q := m.Body(); len(q) >= wire.IPv6Len {
				b = addr(append(b, " for "...), wire.IPv6(q).Dst())
			}
		}
	case wire.ICMPv6ParamProblem:
		b = append(b, "parameter problem, "...)
		switch m.Code() {
		case 0:
			b = append(b, "erroneous"...)
		case 1:
			b = append(b, "next header"...)
		case 2:
			b = append(b, "option"...)
		default:
			b = num(append(b, "code "...), m.Code())
		}
		b = num(append(b, " - octet "...), m.Rest())
	case wire.ICMPv6RouterSolicit:
		b = append(b, "router solicitation"...)
	case wire.ICMPv6RouterAdvert:
		b = append(b, "router advertisement"...)
	case wire.ICMPv6NeighborSolicit:
		b = target(append(b, "neighbor solicitation, "...), "who has ")
	case wire.ICMPv6NeighborAdvert:
		b = target(append(b, "neighbor advertisement, "...), "tgt is ")
	default:
		b = num(append(b, "type-#"...), m.Type())
	}
	return length(b, len(m))
}

func icmp6Unreachable(b []byte, m wire.ICMPv6) []byte {
	q := m.Body()
	if len(q) < wire.IPv6Len || q[0]>>4 != 6 {
		return num(append(b, "code "...), m.Code())
	}
	ip := wire.IPv6(q)
	switch m.Code() {
	case 0:
		b = append(b, "unreachable route "...)
	case 1:
		b = append(b, "unreachable prohibited "...)
	case 2:
		b = addr(append(b, "beyond scope "...), ip.Dst())
		return addr(append(b, ", source address "...), ip.Src())
	case 3:
		b = append(b, "unreachable address "...)
	case 4:
		b = append(addr(append(b, "unreachable port, "...), ip.Dst()), ' ')
		proto, l4, r := ip.UpperLayer()
		if r != wire.OK {
			return append(b, "malformed"...)
		}
		return quotedPort(b, proto, l4)
	default:
		b = append(num(append(b, "code "...), m.Code()), ' ')
	}
	return addr(b, ip.Dst())
}
