package script

import (
	"maps"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// icmpKinds are type and code of the ICMP messages by name, IPv4 and IPv6.
var icmpKinds = map[string][2][2]byte{
	"net-unreachable":      {{3, 0}, {1, 0}},
	"host-unreachable":     {{3, 1}, {1, 3}},
	"protocol-unreachable": {{3, 2}, {4, 1}}, // IPv6: unrecognized next header
	"port-unreachable":     {{3, 3}, {1, 4}},
	"too-big":              {{3, 4}, {2, 0}},
	"source-quench":        {{4, 0}, {0, 0}},
	"time-exceeded":        {{11, 0}, {3, 0}},
	"parameter-problem":    {{12, 0}, {4, 0}},
	"admin-prohibited":     {{3, 13}, {1, 1}},
}

func icmpNames() string { return strings.Join(slices.Sorted(maps.Keys(icmpKinds)), " ") }

// icmpError writes the frame of an ICMP error of the peer that quotes the segment
// with sequence number o.seq which the endpoint sent: o's tuple turned around.
func (o *outgoing) icmpError(l *Link, name string) ([]byte, error) {
	kind := icmpKinds[name][o.fam]
	tcp := make([]byte, 60)
	be.PutUint16(tcp, o.dport)
	be.PutUint16(tcp[2:], o.sport)
	be.PutUint32(tcp[4:], o.seq)
	tcp[12], tcp[13] = 15<<4, byte(wire.FlagSYN)
	tcp = tcp[:o.seg.value("quoted", o.fam, 8)]

	quoted := outgoing{src: o.dst, dst: o.src, seg: &Segment{}, fam: o.fam}
	q, err := quoted.packet(l, wire.ProtoTCP, tcp)
	if err != nil {
		return nil, err
	}
	m := append([]byte{kind[0], kind[1], 0, 0, 0, 0, 0, 0}, q[wire.EthernetLen:]...)
	be.PutUint32(m[4:], uint32(o.seg.value("mtu", o.fam, 0)))
	return o.icmp(l, m)
}

// echo writes an echo request.
func (o *outgoing) echo(l *Link, id, seq uint16) ([]byte, error) {
	m := []byte{wire.ICMPEcho, 0, 0, 0, byte(id >> 8), byte(id), byte(seq >> 8), byte(seq)}
	if o.fam == V6 {
		m[0] = wire.ICMPv6Echo
	}
	return o.icmp(l, m)
}

func (o *outgoing) icmp(l *Link, m []byte) ([]byte, error) {
	if o.fam == V4 {
		be.PutUint16(m[2:], wire.Checksum(m, 0))
		return o.packet(l, wire.ProtoICMP, m)
	}
	be.PutUint16(m[2:], wire.Checksum(m, wire.PseudoSum(o.src, o.dst, wire.ProtoICMPv6, uint32(len(m)))))
	return o.packet(l, wire.ProtoICMPv6, m)
}
