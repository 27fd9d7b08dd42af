package wire

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Frames of CONFORMANCE §24 from the IP header on: 198.51.100.2:40000 and
// 192.0.2.1:80, IRS 01020304.
const (
	vecSYN4    = "4500003c0001400040064e84c6336402c00002019c4000500102030400000000a002faf0bc590000020405b40402080a000003e80000000001030307"
	vecReset4  = "450000280001400040064e98c0000201c633640200509c4000000000010203055014000023020000"
	vecSYN6TCP = "9c4000500102030400000000a002fd204b000000020405a00402080a000003e80000000001030307"
	vecCookie4 = "4500003c0001400040064e84c0000201c633640200509c407c730b0401020305a012fe88ef120000020405b40402080a000f4217000003e801030307"
)

// Option lists of real stacks.
const (
	optsLinux   = "020405b40402080a000003e80000000001030307"
	optsBSD     = "020405b4010303060101080a3b9aca000000000004020000" // FreeBSD and macOS order
	optsWindows = "020405b40103030801010402"
	optsAckTS   = "0101080a000003e9000f4217"
)

var (
	macA = [6]byte{2, 0, 0, 0, 0, 1}
	macB = [6]byte{2, 0, 0, 0, 0, 2}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

// eth puts an untagged Ethernet header for dst macB in front of an IP packet.
func eth(ip []byte) []byte {
	b := make([]byte, EthernetLen+len(ip))
	et := uint16(EtherTypeIPv4)
	if len(ip) > 0 && ip[0]>>4 == 6 {
		et = EtherTypeIPv6
	}
	PutLink(b, &Link{Dst: macB, Src: macA}, et)
	copy(b[EthernetLen:], ip)
	return b
}

// ip4 builds an IPv4 packet with options and a good header checksum.
func ip4(src, dst string, proto uint8, opts, payload []byte) []byte {
	hl := IPv4Len + len(opts)
	b := make([]byte, hl+len(payload))
	b[0], b[8], b[9] = 0x40|byte(hl/4), 64, proto
	be.PutUint16(b[2:], uint16(len(b)))
	be.PutUint16(b[6:], 0x4000)
	be.PutUint32(b[12:], addr(src).V4())
	be.PutUint32(b[16:], addr(dst).V4())
	copy(b[20:], opts)
	copy(b[hl:], payload)
	fix4(b)
	return b
}

// fix4 recomputes the header checksum of IPv4 packet b.
func fix4(b []byte) {
	b[10], b[11] = 0, 0
	be.PutUint16(b[10:], Checksum(b[:int(b[0]&15)*4], 0))
}

func ip6(src, dst string, next uint8, payload []byte) []byte {
	b := make([]byte, IPv6Len+len(payload))
	putIPv6(b, addr(src), addr(dst), 0, next, len(payload), 64)
	copy(b[IPv6Len:], payload)
	return b
}

// tcp builds a segment of 40000 > 80 with a good checksum between src and dst.
func tcp(src, dst string, flags Flags, opts, payload []byte) []byte {
	hl := TCPLen + len(opts)
	b := make([]byte, hl+len(payload))
	be.PutUint16(b, 40000)
	be.PutUint16(b[2:], 80)
	be.PutUint32(b[4:], 0x01020304)
	be.PutUint16(b[12:], uint16(hl/4)<<12|uint16(flags))
	be.PutUint16(b[14:], 64240)
	copy(b[20:], opts)
	copy(b[hl:], payload)
	fixTCP(b, src, dst)
	return b
}

func fixTCP(b []byte, src, dst string) {
	b[16], b[17] = 0, 0
	be.PutUint16(b[16:], Checksum(b, PseudoSum(addr(src), addr(dst), ProtoTCP, uint32(len(b)))))
}

const (
	cli4, srv4 = "198.51.100.2", "192.0.2.1"
	cli6, srv6 = "2001:db8::2", "2001:db8::1"
)

func syn4(opts []byte) []byte {
	return eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagSYN, opts, nil)))
}

func parse(frame []byte) (Packet, Reason) {
	var p Packet
	r := Parse(frame, false, &p)
	return p, r
}
