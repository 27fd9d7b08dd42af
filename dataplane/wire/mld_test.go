package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What Linux 6.18 sends when 2001:db8::1:2:3 is added to an interface without other
// IPv6 addresses (tcpdump).
const vecMLD = "333300000016 020000000001 86dd" +
	"60000000 0024 00 01 00000000000000000000000000000000 ff020000000000000000000000000016" +
	"3a00 0502 0000 0100" +
	"8f00 6f85 0000 0001" +
	"04000000 ff0200000000000000000001ff020003"

func TestNET_007_ListenerReport(t *testing.T) {
	want := unhex(t, vecMLD)
	l := Link{Dst: MulticastMAC(MLDRouters), Src: macA}
	b := make([]byte, 2048)
	group := SolicitedNode(addr("2001:db8::1:2:3"))
	n := PutMLDReport(b, &l, Addr{}, MLDToExclude, []Addr{group})
	require.Equal(t, want, b[:n])
	for m := range n {
		require.Zero(t, PutMLDReport(make([]byte, m), &l, Addr{}, MLDToExclude, []Addr{group}))
	}

	groups := make([]Addr, MaxMLDGroups)
	for i := range groups {
		groups[i] = SolicitedNode(Addr{Lo: uint64(i)})
	}
	n = PutMLDReport(b, &l, addr("fe80::1"), MLDIsExclude, groups)
	require.LessOrEqual(t, n, 14+1280)
	require.Greater(t, n, 14+1280-mldRecordLen)
	p, r := parse(b[:n])
	require.Equal(t, OK, r, "with its checksum")
	require.EqualValues(t, 1, p.TTL)
	require.EqualValues(t, ICMPv6ListenerReportV2, b[p.L4])
	require.Zero(t, PutMLDReport(b, &l, Addr{}, MLDIsExclude, append(groups, group)))
}

func TestNET_007_ListenerQuery(t *testing.T) {
	query := func(src string, hops uint8, typ uint8, group Addr, extra int) ([]byte, Packet) {
		body := make([]byte, 16+extra)
		be.PutUint64(body, group.Hi)
		be.PutUint64(body[8:], group.Lo)
		m := icmp6(src, "ff02::1", typ, 0, 1000<<16, body)
		f := eth(ip6(src, "ff02::1", 0, append([]byte{ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0}, m...)))
		copy(f, []byte{0x33, 0x33, 0, 0, 0, 1})
		f[14+7] = hops
		p, r := parse(f)
		require.Equal(t, OK, r)
		return f, p
	}
	for _, extra := range []int{0, 4, 20} { // version 1, version 2, version 2 with a source
		f, p := query("fe80::9", 1, ICMPv6ListenerQuery, Addr{}, extra)
		g, ok := ParseListenerQuery(f, &p)
		require.True(t, ok)
		require.True(t, g.IsZero())
	}
	want := SolicitedNode(addr(srv6))
	f, p := query("febf::9", 1, ICMPv6ListenerQuery, want, 4)
	g, ok := ParseListenerQuery(f, &p)
	require.True(t, ok)
	require.Equal(t, want, g)
	for name, bad := range map[string]func() ([]byte, Packet){
		"from afar":     func() ([]byte, Packet) { return query("fe80::9", 2, ICMPv6ListenerQuery, want, 4) },
		"not on link":   func() ([]byte, Packet) { return query(cli6, 1, ICMPv6ListenerQuery, want, 4) },
		"site-local":    func() ([]byte, Packet) { return query("fec0::1", 1, ICMPv6ListenerQuery, want, 4) },
		"another type":  func() ([]byte, Packet) { return query("fe80::9", 1, ICMPv6ListenerQuery+1, want, 4) },
		"not an ICMPv6": func() ([]byte, Packet) { f := syn4(nil); p, _ := parse(f); return f, p },
		"no group": func() ([]byte, Packet) {
			f := eth(ip6("fe80::9", "ff02::1", ProtoICMPv6, icmp6("fe80::9", "ff02::1", ICMPv6ListenerQuery, 0, 0, make([]byte, 15))))
			f[14+7] = 1
			p, _ := parse(f)
			return f, p
		},
	} {
		f, p := bad()
		_, ok := ParseListenerQuery(f, &p)
		require.False(t, ok, name)
	}
	var zero Packet
	_, ok = ParseListenerQuery(nil, &zero)
	require.False(t, ok)
}
