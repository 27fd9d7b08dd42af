package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

func TestNET_001_ARP(t *testing.T) {
	b := make([]byte, 64)
	l := Link{Dst: broadcast, Src: macA, VLAN: 5}
	n := PutARP(b, &l, ARPRequest, macA, addr(cli4), [6]byte{}, addr(srv4))
	require.Equal(t, 46, n)
	require.Zero(t, PutARP(b[:45], &l, ARPRequest, macA, addr(cli4), [6]byte{}, addr(srv4)))
	p, r := parse(b) // with padding
	require.Equal(t, OK, r)
	require.Equal(t, KindARP, p.Kind)
	require.EqualValues(t, 46, p.End)
	require.True(t, p.Tagged)
	a, ok := ParseARP(b[p.L3:p.End])
	require.True(t, ok)
	require.EqualValues(t, ARPRequest, a.Op())
	require.Equal(t, macA, a.SenderMAC())
	require.Equal(t, addr(cli4), a.Sender())
	require.Zero(t, a.TargetMAC())
	require.Equal(t, addr(srv4), a.Target())
	require.Equal(t, unhex(t, "0001080006040001 020000000001 c6336402 000000000000 c0000201"), []byte(a))

	// A probe has sender 0.0.0.0 (RFC 5227 §1.1).
	PutARP(b, &l, ARPRequest, macA, Addr4(0), [6]byte{}, addr(srv4))
	p, r = parse(b)
	require.Equal(t, OK, r)
	a, _ = ParseARP(b[p.L3:p.End])
	require.True(t, a.Sender().IsZero())

	for _, off := range []int{0, 1, 2, 3, 4, 5} {
		bad := append([]byte(nil), b[:46]...)
		bad[18+off]++
		_, r = parse(bad)
		require.Equal(t, ReasonBadARP, r)
	}
	_, r = parse(b[:45])
	require.Equal(t, ReasonShortARP, r)
}

func TestNET_007_NeighborDiscovery(t *testing.T) {
	b := make([]byte, 128)
	target, group := addr(srv6), SolicitedNode(addr(srv6))
	l := Link{Dst: MulticastMAC(group), Src: macA}
	n := PutNeighborSolicit(b, &l, addr(cli6), group, target)
	require.Equal(t, 14+40+32, n)
	require.Zero(t, PutNeighborSolicit(b[:n-1], &l, addr(cli6), group, target))
	solicit := append([]byte(nil), b[:n]...)
	p, r := parse(solicit)
	require.Equal(t, OK, r)
	m, ok := ParseNeighborSolicit(solicit, &p)
	require.True(t, ok)
	require.Equal(t, target, m.Target())
	mac, ok := m.LinkAddr()
	require.True(t, ok)
	require.Equal(t, macA, mac)
	_, ok = ParseNeighborAdvert(solicit, &p)
	require.False(t, ok)

	// DAD: unspecified source, no link-layer option.
	n = PutNeighborSolicit(b, &l, Addr{}, group, target)
	require.Equal(t, 14+40+24, n)
	p, r = parse(b[:n])
	require.Equal(t, OK, r)
	m, ok = ParseNeighborSolicit(b[:n], &p)
	require.True(t, ok)
	_, ok = m.LinkAddr()
	require.False(t, ok)

	l = Link{Dst: macA, Src: macB, VLAN: 9}
	n = PutNeighborAdvert(b, &l, target, addr(cli6), target, NDPSolicited|NDPOverride)
	p, r = parse(b[:n])
	require.Equal(t, OK, r)
	m, ok = ParseNeighborAdvert(b[:n], &p)
	require.True(t, ok)
	require.EqualValues(t, NDPSolicited|NDPOverride, m.Flags())
	require.Equal(t, target, m.Target())
	mac, ok = m.LinkAddr()
	require.True(t, ok)
	require.Equal(t, macB, mac)
	require.EqualValues(t, 255, p.TTL)

	// Each check of RFC 4861 §7.1.1.
	bad := func(name string, edit func(f []byte) []byte) {
		t.Helper()
		f := edit(append([]byte(nil), solicit...))
		ip := f[14:]
		be.PutUint16(ip[4:], uint16(len(ip)-40))
		src, dst := IPv6(ip).Src(), IPv6(ip).Dst()
		ip[42], ip[43] = 0, 0
		be.PutUint16(ip[42:], Checksum(ip[40:], PseudoSum(src, dst, ProtoICMPv6, uint32(len(ip)-40))))
		p, r := parse(f)
		require.Equal(t, OK, r, name)
		_, ok := ParseNeighborSolicit(f, &p)
		require.False(t, ok, name)
	}
	bad("hop limit", func(f []byte) []byte { f[21] = 254; return f })
	bad("code", func(f []byte) []byte { f[55] = 1; return f })
	bad("length 23", func(f []byte) []byte { return f[:54+23] })
	bad("target multicast", func(f []byte) []byte { f[62] = 0xff; return f })
	bad("option length 0", func(f []byte) []byte { f[54+25] = 0; return f })
	bad("option past end", func(f []byte) []byte { f[54+25] = 2; return f })
	bad("half an option", func(f []byte) []byte { return f[:len(f)-4] })
	bad("unspecified source with link address", func(f []byte) []byte { clear(f[22:38]); return f })
	bad("unspecified source to unicast", func(f []byte) []byte {
		clear(f[22:38])
		a := target.As16()
		copy(f[38:54], a[:])
		return f[:54+24]
	})

	// Not even an atomic fragment (RFC 6980 §5).
	f := append(append([]byte(nil), solicit[:54]...), ProtoICMPv6, 0, 0, 0, 0, 0, 0, 1)
	f = append(f, solicit[54:]...)
	f[20] = extFragment
	be.PutUint16(f[18:], uint16(len(f)-54))
	p, r = parse(f)
	require.Equal(t, OK, r)
	_, ok = ParseNeighborSolicit(f, &p)
	require.False(t, ok)

	// A solicited advertisement to a group (RFC 4861 §7.1.2).
	all := addr("ff02::1")
	l.Dst = MulticastMAC(all)
	n = PutNeighborAdvert(b, &l, target, all, target, NDPSolicited)
	p, r = parse(b[:n])
	require.Equal(t, OK, r)
	_, ok = ParseNeighborAdvert(b[:n], &p)
	require.False(t, ok)
	n = PutNeighborAdvert(b, &l, target, all, target, NDPOverride)
	p, _ = parse(b[:n])
	_, ok = ParseNeighborAdvert(b[:n], &p)
	require.True(t, ok)
}
