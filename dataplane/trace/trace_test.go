package trace

import (
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var (
	macA = [6]byte{2, 0, 0, 0, 0, 1}
	macB = [6]byte{2, 0, 0, 0, 0, 2}
	when = time.Date(2026, 11, 22, 14, 23, 15, 123456789, time.UTC)
	full = wire.Options{Has: wire.HasMSS | wire.HasSACKPermitted | wire.HasTimestamps | wire.HasWScale, MSS: 1460, WScale: 7, TSVal: 1234567}
	ts   = wire.Options{Has: wire.HasTimestamps, TSVal: 1234568, TSEcr: 99}
)

func addrOf(s string) wire.Addr { return wire.AddrFrom(netip.MustParseAddr(s)) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// seg is a segment from a to b; reversed by back.
func seg(a, b string, flags wire.Flags, seq, ack wire.Seq, o wire.Options) wire.Segment {
	return wire.Segment{
		Tuple: wire.Tuple{Remote: addrOf(b), Local: addrOf(a), RemotePort: 7777, LocalPort: 52431},
		Seq:   seq, Ack: ack, Flags: flags, Win: 65535, Opt: o,
	}
}

func back(s wire.Segment) wire.Segment {
	s.Remote, s.Local, s.RemotePort, s.LocalPort = s.Local, s.Remote, s.LocalPort, s.RemotePort
	return s
}

func frame(s wire.Segment, extra []byte, payload string) []byte {
	l := wire.Link{Dst: macB, Src: macA}
	b := make([]byte, 2048)
	n := wire.PutLink(b, &l, s.Local.EtherType())
	m := wire.PutTCPExtra(b[n:], &s, extra, []byte(payload))
	if m == 0 {
		panic("segment does not fit")
	}
	return b[:n+m]
}

// rawOptions is a SYN with option list opts.
func rawOptions(t testing.TB, opts string) []byte {
	return frame(seg("198.51.100.2", "192.0.2.1", wire.FlagSYN, 1000, 0, wire.Options{}), unhex(t, opts), "")
}

func ip4(proto uint8, payload []byte) []byte {
	b := make([]byte, 34+len(payload))
	wire.PutLink(b, &wire.Link{Dst: macB, Src: macA}, wire.EtherTypeIPv4)
	p := b[14:]
	p[0], p[8], p[9] = 0x45, 64, proto
	be.PutUint16(p[2:], uint16(len(p)))
	be.PutUint32(p[12:], addrOf("198.51.100.2").V4())
	be.PutUint32(p[16:], addrOf("192.0.2.1").V4())
	copy(p[20:], payload)
	be.PutUint16(p[10:], wire.Checksum(p[:20], 0))
	return b
}

func icmp4Frame(typ, code uint8, rest uint32, body []byte) []byte {
	m := make([]byte, 8+len(body))
	m[0], m[1] = typ, code
	be.PutUint32(m[4:], rest)
	copy(m[8:], body)
	be.PutUint16(m[2:], wire.Checksum(m, 0))
	return ip4(wire.ProtoICMP, m)
}

func ip6(next uint8, hops uint8, payload []byte) []byte {
	b := make([]byte, 54+len(payload))
	wire.PutLink(b, &wire.Link{Dst: macB, Src: macA}, wire.EtherTypeIPv6)
	p := b[14:]
	p[0], p[6], p[7] = 0x60, next, hops
	be.PutUint16(p[4:], uint16(len(payload)))
	src, dst := addrOf("2001:db8::2").As16(), addrOf("2001:db8::1").As16()
	copy(p[8:], src[:])
	copy(p[24:], dst[:])
	copy(p[40:], payload)
	return b
}

func icmp6Frame(typ, code uint8, rest uint32, body []byte) []byte {
	m := make([]byte, 8+len(body))
	m[0], m[1] = typ, code
	be.PutUint32(m[4:], rest)
	copy(m[8:], body)
	be.PutUint16(m[2:], wire.Checksum(m, wire.PseudoSum(addrOf("2001:db8::2"), addrOf("2001:db8::1"), wire.ProtoICMPv6, uint32(len(m)))))
	return ip6(wire.ProtoICMPv6, 255, m)
}

func line(f []byte, t *Tracker) string {
	s := string(Format(nil, when, f, t))
	return strings.TrimPrefix(s, "14:23:15.123456 ")
}

func TestFormatExample(t *testing.T) {
	s := seg("192.168.1.100", "93.184.216.34", wire.FlagSYN, 1823761425, 0, full)
	s.RemotePort = 80
	require.Equal(t, "14:23:15.123456 IP 192.168.1.100.52431 > 93.184.216.34.80: Flags [S], seq 1823761425, win 65535, options [mss 1460,sackOK,TS val 1234567 ecr 0,nop,wscale 7], length 0",
		string(Format(nil, when, frame(s, nil, ""), nil)))
	require.Equal(t, "> 14:23", string(Format([]byte("> "), when, nil, nil))[:7], "appends")
}

func TestFormatRelative(t *testing.T) {
	const c, s = "198.51.100.2", "192.0.2.1"
	var iss, irs wire.Seq = 0xfffffff0, 5000
	tr := NewTracker(4)
	blocks := make([]byte, 28)
	n := wire.PutSACK(blocks, []wire.SACKBlock{{Left: irs + 101, Right: irs + 201}}, 28)
	for _, x := range []struct {
		f    []byte
		want string
	}{
		{frame(seg(c, s, wire.FlagSYN, iss, 0, full), nil, ""), "Flags [S], seq 4294967280, win 65535, options [mss 1460,sackOK,TS val 1234567 ecr 0,nop,wscale 7], length 0"},
		{frame(back(seg(c, s, wire.FlagSYN|wire.FlagACK, irs, iss+1, wire.Options{})), nil, ""), "Flags [S.], seq 5000, ack 4294967281, win 65535, length 0"},
		{frame(seg(c, s, wire.FlagACK, iss+1, irs+1, wire.Options{}), nil, ""), "Flags [.], ack 1, win 65535, length 0"},
		{frame(seg(c, s, wire.FlagACK|wire.FlagPSH, iss+1, irs+1, ts), nil, "hello, world, over the edge"), "Flags [P.], seq 1:28, ack 1, win 65535, options [nop,nop,TS val 1234568 ecr 99], length 27"},
		{frame(back(seg(c, s, wire.FlagACK, irs+1, iss+28, wire.Options{})), nil, strings.Repeat("x", 100)), "Flags [.], seq 1:101, ack 28, win 65535, length 100"},
		{frame(seg(c, s, wire.FlagACK, iss+28, irs+1, ts), blocks[:n], ""), "Flags [.], ack 1, win 65535, options [nop,nop,TS val 1234568 ecr 99,nop,nop,sack 1 {101:201}], length 0"},
		{frame(back(seg(c, s, wire.FlagFIN|wire.FlagACK, irs+101, iss+28, wire.Options{})), nil, ""), "Flags [F.], seq 101, ack 28, win 65535, length 0"},
		{frame(seg(c, s, wire.FlagRST, iss+28, 0, wire.Options{}), nil, ""), "Flags [R], seq 12, win 65535, length 0"},
	} {
		got := line(x.f, tr)
		_, got, _ = strings.Cut(got, ": ")
		require.Equal(t, x.want, got)
	}
}

func TestTrackerIsBounded(t *testing.T) {
	tr := NewTracker(3)
	mk := func(i int) wire.Tuple {
		return wire.Tuple{Remote: wire.Addr4(uint32(i)), Local: wire.Addr4(99), RemotePort: 1, LocalPort: 2}
	}
	for i := range 1000 {
		tr.bases(mk(i), wire.FlagACK, 10, 20, true)
		require.LessOrEqual(t, len(tr.flows), 3)
		require.LessOrEqual(t, len(tr.ring), 3)
	}
	for i := 997; i < 1000; i++ {
		a, b := tr.bases(mk(i), wire.FlagACK, 11, 21, true)
		require.Equal(t, []wire.Seq{10, 19}, []wire.Seq{a, b})
	}
	// A new handshake on a known tuple replaces its bases and no other flow.
	tr.bases(mk(999), wire.FlagSYN|wire.FlagACK, 70, 80, true)
	a, b := tr.bases(mk(999), wire.FlagACK, 71, 81, true)
	require.Equal(t, []wire.Seq{70, 79}, []wire.Seq{a, b})
	require.Len(t, tr.flows, 3)
	require.Equal(t, 1, NewTracker(-1).limit)
}

func TestDamagedSegmentTeachesNothing(t *testing.T) {
	tr := NewTracker(4)
	f := frame(seg("198.51.100.2", "192.0.2.1", wire.FlagACK, 1000, 2000, wire.Options{}), nil, "")
	f[14+20+16]++
	require.Equal(t, "IP 198.51.100.2.52431 > 192.0.2.1.7777: Flags [.], ack 2000, win 65535, length 0 (bad_tcp_checksum)", line(f, tr))
	require.Empty(t, tr.flows)
	require.NotContains(t, string(FormatTrusted(nil, when, f, tr)), "(")
	require.Len(t, tr.flows, 1)
}

func TestFormatLines(t *testing.T) {
	b := make([]byte, 128)
	l := wire.Link{Dst: macB, Src: macA, VLAN: 0x6064}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
	s := seg("198.51.100.2", "192.0.2.1", wire.FlagSYN|wire.FlagECE|wire.FlagCWR|wire.FlagAE, 1, 0, wire.Options{})
	vlan := append([]byte(nil), b[:n+wire.PutTCP(b[n:], &s, nil)]...)
	l.VLAN = 0
	arp := append([]byte(nil), b[:wire.PutARP(b, &l, 9, macA, addrOf("198.51.100.2"), macB, addrOf("192.0.2.1"))]...)
	good := frame(seg("198.51.100.2", "192.0.2.1", wire.FlagSYN, 1, 0, wire.Options{}), nil, "")
	edit := func(i int, v byte) []byte {
		f := append([]byte(nil), good...)
		f[i] = v
		be.PutUint16(f[24:], 0)
		be.PutUint16(f[24:], wire.Checksum(f[14:34], 0))
		return f
	}
	const hosts = "IP 198.51.100.2 > 192.0.2.1: "
	const socks = "IP 198.51.100.2.52431 > 192.0.2.1.7777: "
	for _, c := range []struct {
		name string
		f    []byte
		want string
	}{
		{"VLAN", vlan, "vlan 100, p 3, " + socks + "Flags [SEWe], seq 1, win 65535, length 0"},
		{"null", frame(seg("198.51.100.2", "192.0.2.1", 0, 1, 0, wire.Options{}), nil, ""), socks + "Flags [none], win 65535, length 0"},
		{"ARP op", arp, "ARP, Unknown (9), length 28"},
		{"empty", nil, "Ethernet malformed, length 0 (short_ethernet)"},
		{"cut tag", vlan[:16], "Ethernet malformed, length 16 (short_ethernet)"},
		{"EtherType", append(append([]byte(nil), good[:12]...), 0x12, 0x34, 1), "02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype 0x1234, length 15 (unknown_ethertype)"},
		{"short ARP", arp[:30], "ARP malformed, length 16 (short_arp)"},
		{"bad IHL", edit(14, 0x44), "IP malformed, length 40 (bad_ihl)"},
		{"cut", good[:40], "IP malformed, length 26 (bad_ip_length)"},
		{"UDP", ip4(17, unhex(t, "15b3 1a0a 000c 0000 01020304")), "IP 198.51.100.2.5555 > 192.0.2.1.6666: UDP, length 4 (unknown_protocol)"},
		{"fragment", edit(20, 0x20), hosts + "fragment id 0, offset 0, more, proto 6, length 20 (fragment)"},
		{"later fragment", edit(21, 3), hosts + "fragment id 0, offset 24, proto 6, length 20 (fragment)"},
		{"protocol", edit(23, 250), hosts + "ip-proto-250, length 20 (unknown_protocol)"},
		{"short TCP", ip4(6, make([]byte, 12)), hosts + "tcp malformed, length 12 (short_tcp)"},
		{"data offset", edit(46, 0x40), hosts + "tcp malformed, length 20 (bad_data_offset)"},
		{"martian", edit(26, 127), "IP 127.51.100.2.52431 > 192.0.2.1.7777: Flags [S], seq 1, win 65535, length 0 (martian_source)"},
		{"short IPv6", ip6(6, 64, nil)[:50], "IP6 malformed, length 36 (short_ipv6)"},
		{"ESP", ip6(50, 64, make([]byte, 8)), "IP6 2001:db8::2 > 2001:db8::1: next header 50, length 8 (ipv6_ext_header)"},
		{"short ICMP", ip4(1, make([]byte, 4)), hosts + "ICMP malformed, length 4 (short_icmp)"},
		{"short ICMPv6", ip6(58, 64, make([]byte, 4)), "IP6 2001:db8::2 > 2001:db8::1: ICMP6 malformed, length 4 (short_icmp)"},
		{"no quote", icmp4Frame(3, 1, 0, nil), hosts + "ICMP unreachable - code 1, length 8"},
		{"options, bad length 0", rawOptions(t, "080a0000"), socks + "Flags [S], seq 1000, win 65535, options [[bad opt]], length 0"},
		{"options, bad tail", rawOptions(t, "01030307 05ff0000"), socks + "Flags [S], seq 1000, win 65535, options [nop,wscale 7,[bad opt]], length 0"},
		{"options, wrong lengths", rawOptions(t, "02030504 03000000"), socks + "Flags [S], seq 1000, win 65535, options [mss[len 3],sackOK[len 3],eol], length 0"},
		{"options, MD5", rawOptions(t, "1312000102030405060708090a0b0c0d0e0f0101"), socks + "Flags [S], seq 1000, win 65535, options [md5 000102030405060708090a0b0c0d0e0f,nop,nop], length 0"},
		{"options, TFO", rawOptions(t, "220a01020304050607080101 22020101 2204aabb fe020101"), socks + "Flags [S], seq 1000, win 65535, options [tfo cookie 0102030405060708,nop,nop,tfo cookiereq,nop,nop,tfo (invalid),exp (invalid),nop,nop], length 0"},
		{"options, SACK", rawOptions(t, "050b000000010000000201"+"01"), socks + "Flags [S], seq 1000, win 65535, options [sack malformed sack,nop], length 0"},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, line(c.f, nil)) })
	}
}

func FuzzFormat(f *testing.F) {
	for _, b := range corpus(f) {
		f.Add(b)
	}
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:len(b):len(b)]
		for _, tr := range []*Tracker{nil, NewTracker(1)} {
			for _, s := range [][]byte{Format(nil, when, b, tr), FormatTrusted(nil, when, b, tr)} {
				for _, c := range s {
					if c < ' ' || c > '~' {
						t.Fatalf("unprintable byte in %q", s)
					}
				}
			}
		}
	})
}

func BenchmarkFormat(b *testing.B) {
	f := frame(seg("198.51.100.2", "192.0.2.1", wire.FlagSYN, 1000, 0, full), nil, "")
	buf := make([]byte, 0, 256)
	for b.Loop() {
		Format(buf, when, f, nil)
	}
}
