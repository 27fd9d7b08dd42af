package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func icmp4(typ, code uint8, rest uint32, body []byte) []byte {
	m := make([]byte, 8+len(body))
	m[0], m[1] = typ, code
	be.PutUint32(m[4:], rest)
	copy(m[8:], body)
	be.PutUint16(m[2:], Checksum(m, 0))
	return m
}

func icmp6(src, dst string, typ, code uint8, rest uint32, body []byte) []byte {
	m := make([]byte, 8+len(body))
	m[0], m[1] = typ, code
	be.PutUint32(m[4:], rest)
	copy(m[8:], body)
	be.PutUint16(m[2:], Checksum(m, PseudoSum(addr(src), addr(dst), ProtoICMPv6, uint32(len(m)))))
	return m
}

func TestParseICMP(t *testing.T) {
	f := eth(ip4(cli4, srv4, ProtoICMP, nil, icmp4(ICMPEcho, 0, 7<<16|1, []byte("abcde"))))
	p, r := parse(f)
	require.Equal(t, OK, r)
	require.Equal(t, KindICMP4, p.Kind)
	require.Equal(t, addr(cli4), p.Seg.Remote)
	require.Equal(t, addr(srv4), p.Seg.Local)
	m, ok := ParseICMPv4(f[p.L4:p.End])
	require.True(t, ok)
	require.True(t, m.ChecksumOK())
	require.EqualValues(t, 7<<16|1, m.Rest())
	require.Equal(t, "abcde", string(m.Body()))

	f[p.Data]++
	require.Equal(t, ReasonBadICMPChecksum, Parse(f, true, &p), "summed whatever the driver says")
	_, r = parse(eth(ip4(cli4, srv4, ProtoICMP, nil, make([]byte, 7))))
	require.Equal(t, ReasonShortICMP, r)
	_, r = parse(eth(ip4(cli4, srv4, ProtoICMPv6, nil, make([]byte, 8))))
	require.Equal(t, ReasonUnknownProtocol, r)
	_, r = parse(eth(ip6(cli6, srv6, ProtoICMP, make([]byte, 8))))
	require.Equal(t, ReasonUnknownProtocol, r)

	g := eth(ip6(cli6, srv6, ProtoICMPv6, icmp6(cli6, srv6, ICMPv6Echo, 0, 1, nil)))
	p, r = parse(g)
	require.Equal(t, OK, r)
	require.Equal(t, KindICMP6, p.Kind)
	g[p.L4+7]++
	_, r = parse(g)
	require.Equal(t, ReasonBadICMPChecksum, r)

	// An echo request to a group is not answered (VAL-016).
	_, r = parse(eth(ip4(cli4, "224.0.0.1", ProtoICMP, nil, icmp4(ICMPEcho, 0, 1, nil))))
	require.Equal(t, ReasonMulticastDestination, r)
}

func TestNET_012_EchoReply(t *testing.T) {
	for _, f := range [][]byte{
		append(eth(ip4(cli4, srv4, ProtoICMP, nil, icmp4(ICMPEcho, 0, 0xbeef0001, []byte("ping!")))), 0, 0, 0),
		eth(ip6(cli6, srv6, ProtoICMPv6, icmp6(cli6, srv6, ICMPv6Echo, 0, 0xbeef0001, []byte("ping!")))),
	} {
		p, r := parse(f)
		require.Equal(t, OK, r)
		if p.V6 {
			f[p.L3+7] = 3
		} else {
			f[p.L3+8] = 3
			fix4(f[p.L3:])
		}
		p, r = parse(f)
		require.Equal(t, OK, r)
		out, ok := EchoReply(f, &p)
		require.True(t, ok)
		q, r := parse(out)
		require.Equal(t, OK, r, "checksums updated")
		require.Equal(t, p.Seg.Remote, q.Seg.Local)
		require.Equal(t, p.Seg.Local, q.Seg.Remote)
		require.EqualValues(t, DefaultTTL, q.TTL)
		require.Equal(t, "ping!", string(out[q.Data:q.End]))
		require.EqualValues(t, 0xbeef0001, be.Uint32(out[q.L4+4:]))
		require.Contains(t, []byte{ICMPEchoReply, ICMPv6EchoReply}, out[q.L4])
		e, _ := ParseEthernet(out)
		require.Equal(t, macA, e.Dst())
		require.Equal(t, macB, e.Src())

		_, ok = EchoReply(out, &q)
		require.False(t, ok, "a reply is not answered")
	}
	refuse := func(f []byte) {
		t.Helper()
		p, r := parse(f)
		require.Equal(t, OK, r)
		_, ok := EchoReply(f, &p)
		require.False(t, ok)
	}
	refuse(syn4(nil))
	refuse(eth(ip4(cli4, srv4, ProtoICMP, nil, icmp4(ICMPEcho, 1, 0, nil))))
	refuse(eth(ip4(cli4, srv4, ProtoICMP, []byte{1, 1, 1, 1}, icmp4(ICMPEcho, 0, 0, nil))))
	refuse(eth(ip6(cli6, "ff02::1", ProtoICMPv6, icmp6(cli6, "ff02::1", ICMPv6Echo, 0, 0, nil))))
	refuse(eth(ip6("::", srv6, ProtoICMPv6, icmp6("::", srv6, ICMPv6Echo, 0, 0, nil))))
	var zero Packet
	_, ok := EchoReply(nil, &zero)
	require.False(t, ok)
}

func TestMTU_009_QuotedTCP(t *testing.T) {
	sent := benchSegments()[0].s // from srv4 to cli4
	sent.Seq = 0xfedcba98
	b := make([]byte, 128)
	full := b[:PutTCP(b, &sent, nil)]
	const router = "203.0.113.9"

	quote := func(typ, code uint8, rest uint32, q []byte) (Quote, bool) {
		t.Helper()
		f := eth(ip4(router, srv4, ProtoICMP, nil, icmp4(typ, code, rest, q)))
		p, r := parse(f)
		require.Equal(t, OK, r)
		return QuotedTCP(f, &p)
	}
	want := Quote{Tuple: sent.Tuple, Seq: sent.Seq, MTU: 1400, Type: ICMPUnreachable, Code: ICMPFragNeeded}
	got, ok := quote(ICMPUnreachable, ICMPFragNeeded, 1400, full[:28])
	require.True(t, ok, "8 bytes of TCP are enough")
	require.Equal(t, want, got)
	got, ok = quote(ICMPUnreachable, ICMPFragNeeded, 0xffff0000|1400, full)
	require.True(t, ok)
	require.Equal(t, want, got)
	for _, typ := range []uint8{ICMPUnreachable, ICMPSourceQuench, ICMPTimeExceeded, ICMPParamProblem} {
		got, ok = quote(typ, 1, 1400, full)
		require.True(t, ok)
		require.Zero(t, got.MTU)
		require.Equal(t, typ, got.Type)
	}
	for n := range 28 {
		_, ok = quote(ICMPUnreachable, 1, 0, full[:n])
		require.False(t, ok, "quote cut to %d", n)
	}
	_, ok = quote(ICMPEcho, 0, 0, full)
	require.False(t, ok)
	_, ok = quote(ICMPEchoReply, 0, 0, full)
	require.False(t, ok)
	bad := func(edit func(q []byte)) {
		t.Helper()
		q := append([]byte(nil), full...)
		edit(q)
		_, ok := quote(ICMPUnreachable, 1, 0, q)
		require.False(t, ok)
	}
	bad(func(q []byte) { q[9] = 17 })
	bad(func(q []byte) { q[0] = 0x44 })
	bad(func(q []byte) { q[0] = 0x4f })                                      // header past the quote
	bad(func(q []byte) { q[0] = 0x65 })                                      // version
	bad(func(q []byte) { q[7] = 1 })                                         // a later fragment has no TCP header
	bad(func(q []byte) { q[15]++ })                                          // not sent by the address it came to
	bad(func(q []byte) { copy(q[12:20], append(q[16:20:20], q[12:16]...)) }) // our answer's peer quoted as source

	// A quoted header with options.
	q := ip4(srv4, cli4, ProtoTCP, []byte{1, 1, 1, 1}, full[20:28])
	got, ok = quote(ICMPUnreachable, 3, 0, q)
	require.True(t, ok)
	require.Equal(t, sent.Tuple, got.Tuple)

	// IPv6.
	sent6 := benchSegments()[1].s
	full6 := append([]byte(nil), b[:PutTCP(b, &sent6, nil)]...)
	quote6 := func(typ, code uint8, rest uint32, q []byte) (Quote, bool) {
		t.Helper()
		f := eth(ip6("2001:db8::99", srv6, ProtoICMPv6, icmp6("2001:db8::99", srv6, typ, code, rest, q)))
		p, r := parse(f)
		require.Equal(t, OK, r)
		return QuotedTCP(f, &p)
	}
	got, ok = quote6(ICMPv6PacketTooBig, 0, 1280, full6)
	require.True(t, ok)
	require.Equal(t, Quote{Tuple: sent6.Tuple, Seq: sent6.Seq, MTU: 1280, Type: ICMPv6PacketTooBig}, got)
	got, ok = quote6(ICMPv6Unreachable, 4, 1280, full6[:48])
	require.True(t, ok)
	require.Zero(t, got.MTU)
	for n := range 48 {
		_, ok = quote6(ICMPv6Unreachable, 4, 0, full6[:n])
		require.False(t, ok)
	}
	for _, typ := range []uint8{0, 5, ICMPv6Echo, ICMPv6NeighborSolicit} {
		_, ok = quote6(typ, 0, 0, full6)
		require.False(t, ok)
	}
	full6[6] = 17
	_, ok = quote6(ICMPv6Unreachable, 4, 0, full6)
	require.False(t, ok)
	var zero Packet
	_, ok = QuotedTCP(nil, &zero)
	require.False(t, ok)
}
