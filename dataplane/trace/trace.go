package trace

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var be = binary.BigEndian

// Format appends the line for frame, without a newline, to dst and returns the
// extended slice. ts is printed as the time of day in its own location. Sequence
// numbers are relative to what t remembers, absolute if t is nil. Checksums are
// verified: see FormatTrusted for frames from a device that has not filled them in.
func Format(dst []byte, ts time.Time, frame []byte, t *Tracker) []byte {
	return format(dst, ts, frame, false, t)
}

// FormatTrusted is Format that takes IPv4 header and TCP checksums as good, for
// frames with dataplane.MetaCsumGood.
func FormatTrusted(dst []byte, ts time.Time, frame []byte, t *Tracker) []byte {
	return format(dst, ts, frame, true, t)
}

func format(dst []byte, ts time.Time, frame []byte, csumGood bool, t *Tracker) []byte {
	var p wire.Packet
	r := wire.Parse(frame, csumGood, &p)
	dst = ts.AppendFormat(dst, "15:04:05.000000 ")
	dst = ethernet(dst, frame, r, t)
	if r != wire.OK {
		dst = append(dst, " ("...)
		dst = append(dst, r.String()...)
		dst = append(dst, ')')
	}
	return dst
}

// ethernet prints frame by its views, which go further than Parse does with a
// frame it rejects.
func ethernet(b, frame []byte, r wire.Reason, t *Tracker) []byte {
	e, ok := wire.ParseEthernet(frame)
	if !ok {
		return length(append(b, "Ethernet malformed"...), len(frame))
	}
	if tci, ok := e.Tag(); ok {
		b = num(append(b, "vlan "...), tci&0xfff)
		b = num(append(b, ", p "...), tci>>13)
		b = append(b, ", "...)
	}
	l3 := e.Payload()
	switch e.EtherType() {
	case wire.EtherTypeARP:
		if a, ok := wire.ParseARP(l3); ok {
			return arp(b, a, len(l3))
		}
		return length(append(b, "ARP malformed"...), len(l3))
	case wire.EtherTypeIPv4:
		if ip, ok := wire.ParseIPv4(l3); ok {
			return ipv4(append(b, "IP "...), ip, r, t)
		}
		return length(append(b, "IP malformed"...), len(l3))
	case wire.EtherTypeIPv6:
		if ip, ok := wire.ParseIPv6(l3); ok {
			return ipv6(append(b, "IP6 "...), ip, r, t)
		}
		return length(append(b, "IP6 malformed"...), len(l3))
	}
	b = mac(b, e.Src())
	b = mac(append(b, " > "...), e.Dst())
	b = append(b, ", ethertype 0x"...)
	return length(appendHex(b, frame[e.HeaderLen()-2:e.HeaderLen()]), len(frame))
}

func arp(b []byte, a wire.ARP, n int) []byte {
	switch a.Op() {
	case wire.ARPRequest:
		b = addr(append(b, "ARP, Request who-has "...), a.Target())
		if m := a.TargetMAC(); m != ([6]byte{}) {
			b = append(mac(append(b, " ("...), m), ')')
		}
		b = addr(append(b, " tell "...), a.Sender())
	case wire.ARPReply:
		b = addr(append(b, "ARP, Reply "...), a.Sender())
		b = mac(append(b, " is-at "...), a.SenderMAC())
	default:
		b = append(num(append(b, "ARP, Unknown ("...), a.Op()), ')')
	}
	return length(b, n)
}

func ipv4(b []byte, ip wire.IPv4, r wire.Reason, t *Tracker) []byte {
	src, dst := ip.Src(), ip.Dst()
	if f := ip.Frag(); f&0x3fff != 0 {
		b = hosts(b, src, dst)
		b = num(append(b, "fragment id "...), ip.ID())
		b = num(append(b, ", offset "...), f<<3)
		if f&0x2000 != 0 {
			b = append(b, ", more"...)
		}
		b = num(append(b, ", proto "...), ip.Proto())
		return length(b, len(ip.Payload()))
	}
	if ip.Proto() == wire.ProtoICMP {
		return icmp4(hosts(b, src, dst), ip.Payload())
	}
	return upper(b, src, dst, ip.Proto(), ip.Payload(), r, t)
}

func ipv6(b []byte, ip wire.IPv6, r wire.Reason, t *Tracker) []byte {
	src, dst := ip.Src(), ip.Dst()
	proto, l4, bad := ip.UpperLayer()
	if bad != wire.OK {
		b = num(append(hosts(b, src, dst), "next header "...), proto)
		return length(b, len(l4))
	}
	if proto == wire.ProtoICMPv6 {
		return icmp6(hosts(b, src, dst), l4)
	}
	return upper(b, src, dst, proto, l4, r, t)
}

// upper prints what is the same over both versions of IP.
func upper(b []byte, src, dst wire.Addr, proto uint8, l4 []byte, r wire.Reason, t *Tracker) []byte {
	const udp, udpLen = 17, 8
	switch {
	case proto == wire.ProtoTCP:
		if seg, ok := wire.ParseTCP(l4); ok {
			return tcp(b, src, dst, seg, r, t)
		}
		return length(append(hosts(b, src, dst), "tcp malformed"...), len(l4))
	case proto == udp && len(l4) >= udpLen:
		b = sockets(b, src, dst, be.Uint16(l4), be.Uint16(l4[2:]))
		return length(append(b, "UDP"...), len(l4)-udpLen)
	}
	b = num(append(hosts(b, src, dst), "ip-proto-"...), proto)
	return length(b, len(l4))
}

func hosts(b []byte, src, dst wire.Addr) []byte {
	b = append(addr(b, src), " > "...)
	return append(addr(b, dst), ": "...)
}

func sockets(b []byte, src, dst wire.Addr, sport, dport uint16) []byte {
	b = append(num(append(addr(b, src), '.'), sport), " > "...)
	return append(num(append(addr(b, dst), '.'), dport), ": "...)
}

func length(b []byte, n int) []byte { return num(append(b, ", length "...), n) }

func addr(b []byte, a wire.Addr) []byte { return a.Netip().AppendTo(b) }

func num[T ~int | ~uint8 | ~uint16 | ~uint32](b []byte, v T) []byte {
	return strconv.AppendUint(b, uint64(v), 10)
}

const digits = "0123456789abcdef"

func appendHex(b, v []byte) []byte {
	for _, c := range v {
		b = append(b, digits[c>>4], digits[c&15])
	}
	return b
}

func mac(b []byte, m [6]byte) []byte {
	for i := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = appendHex(b, m[i:i+1])
	}
	return b
}
