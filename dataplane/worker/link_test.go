package worker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// advert is a neighbour advertisement of peerHW for target.
func advert(target wire.Addr) []byte {
	b := make([]byte, 128)
	l := wire.Link{Dst: wire.MulticastMAC(allNodes), Src: peerHW}
	return b[:wire.PutNeighborAdvert(b, &l, target, allNodes, target, wire.NDPOverride)]
}

// solicitation is a question of peerHW about target, from source.
func solicitation(source, target wire.Addr) []byte {
	b := make([]byte, 128)
	dst := wire.SolicitedNode(target)
	l := wire.Link{Dst: wire.MulticastMAC(dst), Src: peerHW}
	return b[:wire.PutNeighborSolicit(b, &l, source, dst, target)]
}

// detecting is a rig whose clock runs by itself, 50 ms a look.
func detecting(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, handshake.Config{MaxFlows: 64})
	r.cfg.Clock = func() int64 { r.now += int64(50 * time.Millisecond); return r.now }
	return r
}

// Before an address is used the link is asked for it, by a probe that claims
// nothing; the first claim of somebody else ends the attempt, and so does a
// simultaneous probe for the same address (RFC 4862 §5.4.3, RFC 5227 §2.1.1).
func TestNET_007_DuplicateAddressDetection(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		r := detecting(t)
		r.port.Inject(0, tcpFrame(r, syn(own4, peer4, 80), 0), dataplane.Meta{})                        // nobody is here yet
		r.port.Inject(0, solicitation(peer6, own6), dataplane.Meta{})                                   // nor for the curious
		r.port.Inject(0, arpFrame(wire.ARPRequest, broadcastMAC, peer4, own4), dataplane.Meta{})        // of either family
		r.port.Inject(0, advert(peer6), dataplane.Meta{})                                               // and others have theirs
		r.port.Inject(0, append([]byte{}, solicitation(peer6, own6)[:60]...), dataplane.Meta{})         // cut
		r.port.Inject(0, arpFrame(wire.ARPReply, r.hw, wire.Addr4(0x0a000055), own4), dataplane.Meta{}) // of somebody
		begin := r.now
		require.NoError(t, Detect([]*Worker{r.Worker}, time.Second))
		require.GreaterOrEqual(t, r.now-begin, sec)
		out := r.port.Sent(0)
		require.Len(t, out, 3, "one probe for each address, no answer to anybody")
		require.EqualValues(t, wire.ICMPv6ListenerReportV2, out[0][62], "the group is joined first")
		out = out[1:]
		a, ok := wire.ParseARP(out[0][14:])
		require.True(t, ok)
		require.Equal(t, broadcastMAC, [6]byte(out[0][:6]))
		require.EqualValues(t, wire.ARPRequest, a.Op())
		require.True(t, a.Sender().IsZero(), "claims nothing")
		require.Equal(t, own4, a.Target())
		p := parse(t, out[1])
		ns, ok := wire.ParseNeighborSolicit(out[1], &p)
		require.True(t, ok)
		require.Equal(t, own6, ns.Target())
		require.True(t, p.Seg.Remote.IsZero())
		require.Equal(t, wire.SolicitedNode(own6), p.Seg.Local)
		require.Equal(t, wire.MulticastMAC(wire.SolicitedNode(own6)), [6]byte(out[1][:6]))
		require.EqualValues(t, 5, r.drops()["address_tentative"])
		require.EqualValues(t, 1, r.drops()["bad_ipv6_length"])
		s := r.snapshot()
		require.Empty(t, s.Check())
		require.Empty(t, r.cfg.Net.Neighbors.tab)

		// From here on the addresses are ours.
		r.cfg.Clock = func() int64 { return r.now }
		require.Len(t, r.send(t, tcpFrame(r, syn(own4, peer4, 80), 0)), 1)
		require.Len(t, r.send(t, solicitation(peer6, own6)), 1)
	})
	probe4 := arpFrame(wire.ARPRequest, broadcastMAC, wire.Addr4(0), own4)
	for name, tc := range map[string]struct {
		frame []byte
		addr  string
	}{
		"ARP answer":                   {arpFrame(wire.ARPReply, [6]byte{2, 0x66, 0x73, 0, 0, 9}, own4, wire.Addr4(0)), "10.0.0.2"},
		"ARP request from our address": {arpFrame(wire.ARPRequest, broadcastMAC, own4, peer4), "10.0.0.2"},
		"ARP probe at the same time":   {probe4, "10.0.0.2"},
		"advertisement":                {advert(own6), "2001:db8::2"},
		"NDP probe at the same time":   {solicitation(wire.Addr{}, own6), "2001:db8::2"},
	} {
		t.Run(name, func(t *testing.T) {
			r := detecting(t)
			r.port.Inject(0, tcpFrame(r, syn(own4, peer4, 80), 0), dataplane.Meta{})
			r.port.Inject(0, tc.frame, dataplane.Meta{})
			err := Detect([]*Worker{r.Worker}, time.Second)
			require.ErrorIs(t, err, ErrAddressInUse)
			require.ErrorContains(t, err, tc.addr)
			require.ErrorContains(t, err, "02:00:00:00:00:09 has it")
			s := r.snapshot()
			require.Empty(t, s.Check())
		})
	}
	t.Run("on another queue", func(t *testing.T) {
		r := newRigOn(t, dptest.PortConfig{Queues: 2}, Config{Engine: handshake.Config{MaxFlows: 64}})
		r.cfg.Clock = func() int64 { r.now += int64(50 * time.Millisecond); return r.now }
		c := r.cfg
		c.ID = 1
		second, err := New(c)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, second.Free()) })
		r.port.Inject(1, advert(own6), dataplane.Meta{})
		require.ErrorIs(t, Detect([]*Worker{r.Worker, second}, time.Second), ErrAddressInUse)
	})
	t.Run("our own frames", func(t *testing.T) { // a switch, or a test, that sends them back
		r := detecting(t)
		l := wire.Link{Dst: broadcastMAC, Src: r.hw}
		b := make([]byte, 64)
		r.port.Inject(0, b[:wire.PutARP(b, &l, wire.ARPRequest, r.hw, wire.Addr4(0), [6]byte{}, own4)], dataplane.Meta{})
		f := solicitation(wire.Addr{}, own6)
		copy(f[6:12], r.hw[:])
		r.port.Inject(0, f, dataplane.Meta{})
		require.NoError(t, Detect([]*Worker{r.Worker}, time.Second))
	})
	t.Run("a link that is never silent", func(t *testing.T) {
		r := detecting(t)
		r.cfg.Clock = func() int64 {
			r.now += int64(10 * time.Millisecond)
			r.port.Inject(0, tcpFrame(r, syn(own4, peer4, 80), 0), dataplane.Meta{})
			return r.now
		}
		require.NoError(t, Detect([]*Worker{r.Worker}, time.Second))
		require.EqualValues(t, 100, r.drops()["address_tentative"])
	})
	t.Run("device failure", func(t *testing.T) {
		r := detecting(t)
		r.port.Fail(0, dataplane.ErrUnknownDriver)
		require.ErrorIs(t, Detect([]*Worker{r.Worker}, time.Second), dataplane.ErrUnknownDriver)
	})
}

// Without Detect an address is announced while it is asked for, and not forced
// onto those who know it otherwise; after it, it is.
func TestNET_007_Announcement(t *testing.T) {
	for _, asked := range []bool{true, false} {
		r := newRig(t, handshake.Config{MaxFlows: 64})
		r.announce(!asked)
		var adverts, probes int
		for _, f := range r.port.Sent(0) {
			p := parse(t, f)
			if p.Kind == wire.KindARP {
				continue
			}
			if na, ok := wire.ParseNeighborAdvert(f, &p); ok {
				adverts++
				require.Equal(t, own6, na.Target())
				require.Equal(t, asked, na.Flags()&wire.NDPOverride != 0)
				require.Zero(t, na.Flags()&wire.NDPSolicited)
			}
			if _, ok := wire.ParseNeighborSolicit(f, &p); ok {
				probes++
			}
		}
		require.Equal(t, 1, adverts)
		require.Equal(t, map[bool]int{true: 0, false: 1}[asked], probes)
	}
}

// Who asks which groups we listen to hears of the groups of our addresses, within
// a second, and nobody else's question is answered.
func TestNET_007_ListenerReports(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	groups := func(frames [][]byte) (all []wire.Addr) {
		for _, f := range frames {
			p := parse(t, f)
			require.EqualValues(t, wire.ICMPv6ListenerReportV2, f[p.L4])
			require.EqualValues(t, 1, p.TTL)
			require.Equal(t, wire.MulticastMAC(wire.MLDRouters), [6]byte(f[:6]))
			for b := f[p.L4+8 : p.End]; len(b) > 0; b = b[20:] {
				require.EqualValues(t, wire.MLDIsExclude, b[0])
				all = append(all, wire.Addr16((*[16]byte)(b[4:20])))
			}
		}
		return all
	}
	router, solicited := wire.Addr{Hi: 0xfe80 << 48, Lo: 1}, wire.SolicitedNode(own6)
	query := func(from, group wire.Addr) []byte {
		g := group.As16()
		return icmp6Frame(wire.MulticastMAC(allNodes), 1, from, allNodes, wire.ICMPv6ListenerQuery, append([]byte{3, 0xe8, 0, 0}, g[:]...))
	}
	r.step(t, sec)
	for _, group := range []wire.Addr{{}, solicited} {
		require.Empty(t, r.send(t, query(router, group)))
		require.Equal(t, []wire.Addr{solicited}, groups(r.step(t, sec)))
		require.Empty(t, r.step(t, sec), "once")
	}
	require.Zero(t, r.drops()["ndp_ignored"])
	require.Empty(t, r.send(t, query(router, wire.SolicitedNode(wire.Addr{Lo: 0x123456}))))
	require.Empty(t, r.send(t, query(peer6, wire.Addr{})), "not from this link")
	require.Empty(t, r.step(t, sec))
	require.EqualValues(t, 2, r.drops()["ndp_ignored"])
}

// icmp6Frame is an ICMPv6 message of peerHW, whose body follows type, code and
// checksum.
func icmp6Frame(dst [6]byte, hops uint8, from, to wire.Addr, typ uint8, body []byte) []byte {
	b := make([]byte, 14+40+4+len(body))
	l := wire.Link{Dst: dst, Src: peerHW}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv6)
	ip, m := b[n:], b[n+40:]
	ip[0], ip[5], ip[6], ip[7] = 0x60, byte(len(m)), wire.ProtoICMPv6, hops
	src, to16 := from.As16(), to.As16()
	copy(ip[8:], src[:])
	copy(ip[24:], to16[:])
	m[0] = typ
	copy(m[4:], body)
	sum := wire.Checksum(m, wire.PseudoSum(from, to, wire.ProtoICMPv6, uint32(len(m))))
	m[2], m[3] = byte(sum>>8), byte(sum)
	return b
}

// What only a router of this link may say is not believed from afar, and
// redirects and router advertisements not at all: the next hops are configured.
func TestNET_008_AdvertisementsAndRedirects(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	n := r.cfg.Net.Neighbors
	n.want(peer6, r.now)
	other := [6]byte{2, 0, 0, 0, 0, 0x77}
	body := func(target wire.Addr) []byte {
		b := make([]byte, 4+16+8)
		b[0] = wire.NDPOverride | wire.NDPSolicited
		t16 := target.As16()
		copy(b[4:], t16[:])
		b[20], b[21] = 2, 1
		copy(b[22:], other[:])
		return b
	}
	drops := r.drops
	for i, hops := range []uint8{0, 1, 64, 254} {
		require.Empty(t, r.send(t, icmp6Frame(r.hw, hops, peer6, own6, wire.ICMPv6NeighborAdvert, body(peer6))))
		require.EqualValues(t, i+1, drops()["ndp_ignored"])
	}
	_, ok := n.Lookup(peer6)
	require.False(t, ok)
	require.Empty(t, r.send(t, icmp6Frame(r.hw, 255, peer6, own6, wire.ICMPv6NeighborAdvert, body(peer6))))
	mac, ok := n.Lookup(peer6)
	require.True(t, ok)
	require.Equal(t, other, mac)

	gw, far := wire.Addr{Hi: 0xfe80 << 48, Lo: 1}, wire.Addr{Hi: 0x2001_0db9 << 32, Lo: 1}
	redirect := make([]byte, 4+32+8)
	gw16, far16 := gw.As16(), far.As16()
	copy(redirect[4:], gw16[:])
	copy(redirect[20:], far16[:])
	redirect[36], redirect[37] = 2, 1
	copy(redirect[38:], other[:])
	ra := make([]byte, 12)
	ra[2], ra[3] = 0xff, 0xff // lifetime
	before := len(n.tab)
	require.Empty(t, r.send(t, icmp6Frame(r.hw, 255, gw, own6, wire.ICMPv6Redirect, redirect)))
	require.Empty(t, r.send(t, icmp6Frame(r.hw, 255, gw, own6, wire.ICMPv6RouterAdvert, ra)))
	require.EqualValues(t, 2, drops()["icmp_ignored"])
	require.Empty(t, r.send(t, icmp6Frame(wire.MulticastMAC(allNodes), 255, gw, allNodes, wire.ICMPv6RouterAdvert, ra)))
	require.EqualValues(t, 1, drops()["foreign_ip"])
	require.Len(t, n.tab, before)
	_, ok = r.cfg.Net.NextHop(far)
	require.False(t, ok, "no route has come of it")

	// ICMP redirect for IPv4 (RFC 792): to 192.0.2.1 by way of 10.0.0.77.
	sent := r.send(t, tcpFrame(r, syn(own4, peer4, 80), 0))
	require.Len(t, sent, 1)
	f := unreachable(r.hw, sent[0])
	f[34], f[35] = 5, 1
	copy(f[38:42], []byte{10, 0, 0, 77})
	f[36], f[37] = 0, 0
	sum := wire.Checksum(f[34:], 0)
	f[36], f[37] = byte(sum>>8), byte(sum)
	require.Empty(t, r.send(t, f))
	require.EqualValues(t, 3, drops()["icmp_ignored"])
	hop, ok := r.cfg.Net.NextHop(wire.Addr4(0xc0000201))
	require.True(t, ok)
	require.Equal(t, wire.Addr4(0x0a0000fe), hop)
}

// What is not on the link goes to the gateway; an answer goes back the way the
// question came, from the address that it was for.
func TestNET_004_GatewayAndSource(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64, Cookies: handshake.CookiesNever})
	second := wire.Addr4(0x0a000003)
	net, err := NewNet(r.hw, prefixes("10.0.0.2/24", "10.0.0.3/24", "2001:db8::2/64", "2001:db8::3/64"), nil,
		[]netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("2001:db8::fe")})
	require.NoError(t, err)
	r.cfg.Net = net
	app, err := r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))

	router, gwHW := peerHW, [6]byte{2, 0, 0, 0, 0, 0xfe}
	net.Neighbors.want(wire.Addr4(0x0a0000fe), r.now)
	net.Neighbors.learn(wire.Addr4(0x0a0000fe), gwHW, false, r.now)
	gw6 := wire.Addr{Hi: own6.Hi, Lo: 0xfe}
	net.Neighbors.want(gw6, r.now)
	net.Neighbors.learn(gw6, gwHW, false, r.now)
	far4, far6 := wire.Addr4(0xc0000201), wire.Addr{Hi: 0x2001_0db9 << 32, Lo: 1}

	for _, tc := range []struct{ local, far wire.Addr }{{second, far4}, {wire.Addr{Hi: own6.Hi, Lo: 3}, far6}} {
		// The SYN came through another router than our gateway: asymmetric, and fine.
		out := r.send(t, tcpFrame(r, syn(tc.local, tc.far, 80), 0))
		require.Len(t, out, 1)
		p := parse(t, out[0])
		require.Equal(t, wire.FlagSYN|wire.FlagACK, p.Seg.Flags)
		require.Equal(t, tc.local, p.Seg.Remote, "from the address the SYN was for, not our first")
		require.Equal(t, router, [6]byte(out[0][:6]))
		again := r.step(t, int64(1100*time.Millisecond))
		require.Len(t, again, 1, "and so does the one the timer sends")
		p = parse(t, again[0])
		require.Equal(t, tc.local, p.Seg.Remote)
		require.Equal(t, router, [6]byte(again[0][:6]))

		_, err = r.Connect(&wire.Tuple{Remote: tc.far, Local: tc.local, RemotePort: 443, LocalPort: 50000}, app)
		require.NoError(t, err)
		out = r.step(t, 1)
		require.Len(t, out, 1)
		p = parse(t, out[0])
		require.Equal(t, wire.FlagSYN, p.Seg.Flags)
		require.Equal(t, tc.far, p.Seg.Local)
		require.Equal(t, gwHW, [6]byte(out[0][:6]))
		r.engine.ICMP(wire.Tuple{Remote: tc.far, Local: tc.local, RemotePort: 443, LocalPort: 50000}, p.Seg.Seq, handshake.ICMPHard)
		r.engine.ICMP(wire.Tuple{Remote: tc.far, Local: tc.local, RemotePort: 40000, LocalPort: 80}, 0, handshake.ICMPSoft)
		r.deliver()
	}
}

// A next hop that does not answer is a host that is unreachable: a half-open
// connection ends, an attempt says so when it has used up its tries.
func TestNET_002_HostUnreachable(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64, SYNRetries: 3})
	var ended []handshake.CloseReason
	app, err := r.AddApp(Callbacks{Bare: true, Closed: func(_ *Flow, why handshake.CloseReason) { ended = append(ended, why) }})
	require.NoError(t, err)
	_, err = r.Connect(&wire.Tuple{Remote: peer4, Local: own4, RemotePort: 80, LocalPort: 2000}, app)
	require.NoError(t, err)
	arps := 0
	for i := range 100 {
		for _, f := range r.step(t, int64(200*time.Millisecond)) {
			require.Equal(t, wire.KindARP, kindOf(t, f))
			arps++
		}
		if i == 30 {
			require.Equal(t, 3, arps, "three tries, one a second")
			require.EqualValues(t, 3, r.snapshot().TxDrops["tx_neighbor_unreachable"], "the SYNs of 0, 1 and 3 s")
			require.EqualValues(t, 3, r.Engine().SoftErrors)
			require.Empty(t, ended)
		}
	}
	require.Equal(t, []handshake.CloseReason{handshake.ReasonUnreachable}, ended)
}

func kindOf(t *testing.T, f []byte) wire.Kind {
	p := parse(t, f)
	return p.Kind
}

// A second tag behind one that the device has stripped is one too many, and a
// stripped priority tag is none.
func TestNET_005_StrippedTags(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	for _, tci := range []uint16{43, 0x6000} {
		for _, inner := range []uint16{42, 0xa000} {
			r.port.Inject(0, tcpFrame(r, syn(own4, peer4, 80), inner), dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: tci})
			require.Empty(t, r.step(t, 1))
		}
	}
	require.EqualValues(t, 4, r.drops()["qinq"])
	for _, f := range [][]byte{
		tcpFrame(r, syn(own4, peer4, 80), 0),
		echoRequest(r),
		arpFrame(wire.ARPRequest, broadcastMAC, peer4, own4),
	} {
		r.port.Inject(0, f, dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: 0x6000})
		out := r.step(t, 1)
		require.Len(t, out, 1)
		p := parse(t, out[0])
		require.False(t, p.Tagged)
	}
}

// echoRequest is a ping of peerHW.
func echoRequest(r *rig) []byte {
	ping := []byte{0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2, 8, 0, 0, 0, 0, 7, 0, 1}
	sum := wire.Checksum(ping[:20], 0)
	ping[10], ping[11] = byte(sum>>8), byte(sum)
	sum = wire.Checksum(ping[20:], 0)
	ping[22], ping[23] = byte(sum>>8), byte(sum)
	b := make([]byte, 64)
	l := wire.Link{Dst: r.hw, Src: peerHW}
	n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
	return b[:n+copy(b[n:], ping)]
}

// The priority of answers is that of the question, or the one configured; VID
// and DEI stay.
func TestNET_005_Priority(t *testing.T) {
	const tci = 3<<13 | 1<<12 | 42
	tag := func(f []byte) []byte {
		b := append([]byte{}, f[:12]...)
		b = append(b, 0x81, 0, tci>>8, tci&0xff)
		return append(b, f[12:]...)
	}
	for _, tc := range []struct {
		set  bool
		pcp  uint8
		want uint16
	}{{false, 0, tci}, {true, 0, 1<<12 | 42}, {true, 6, 6<<13 | 1<<12 | 42}} {
		r := newRig(t, handshake.Config{MaxFlows: 64, Cookies: handshake.CookiesNever})
		if tc.set {
			r.cfg.Net.SetPriority(tc.pcp)
		}
		app, err := r.AddApp(Callbacks{Bare: true})
		require.NoError(t, err)
		require.NoError(t, r.Listen(wire.Addr{}, 80, app))
		for _, f := range [][]byte{
			tcpFrame(r, syn(own4, peer4, 80), 0),
			tcpFrame(r, syn(own6, peer6, 81), 0),
			echoRequest(r),
			arpFrame(wire.ARPRequest, broadcastMAC, peer4, own4),
			solicitation(peer6, own6),
		} {
			out := r.send(t, tag(f))
			require.Len(t, out, 1)
			p := parse(t, out[0])
			require.True(t, p.Tagged)
			require.Equal(t, tc.want, p.VLAN)
		}
		out := r.step(t, int64(1100*time.Millisecond))
		require.Len(t, out, 1, "the SYN-ACK again")
		p := parse(t, out[0])
		require.Equal(t, tc.want, p.VLAN)

		// In place with a stripped tag: the driver puts back what Meta says.
		r.port.Inject(0, echoRequest(r), dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: tci})
		require.Len(t, r.step(t, 1), 1)
		require.Equal(t, tc.want, r.rx.Meta[0].VLAN)
	}
}

// All segments of an IPv6 flow, of whatever state and role, carry the same flow
// label, other flows others; a received label means nothing, and IPv4 has none.
func TestNET_011_FlowLabel(t *testing.T) {
	label := func(f []byte) uint32 {
		ip, ok := wire.ParseIPv6(f[14:])
		require.True(t, ok)
		return ip.FlowLabel()
	}
	r := newRig(t, handshake.Config{MaxFlows: 4096, Cookies: handshake.CookiesNever})
	app, err := r.AddApp(Callbacks{Bare: true, Established: func(f *Flow) { f.Abort() }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := syn(own6, peer6, 80)
	f := tcpFrame(r, s, 0)
	wire.IPv6(f[14:]).SetFlowLabel(0xabcde)
	out := r.send(t, f)
	require.Len(t, out, 1)
	want := label(out[0])
	require.NotZero(t, want)
	require.NotEqual(t, uint32(0xabcde), want)
	p := parse(t, out[0])
	again := r.step(t, int64(1100*time.Millisecond))
	require.Len(t, again, 1)
	require.Equal(t, want, label(again[0]), "retransmitted SYN-ACK")
	s.Flags, s.Seq, s.Ack = wire.FlagACK, 1001, p.Seg.Seq+1
	out = r.send(t, tcpFrame(r, s, 0))
	require.Len(t, out, 1)
	require.Equal(t, want, label(out[0]), "RST of an abort")
	out = r.send(t, tcpFrame(r, s, 0))
	require.Len(t, out, 1)
	require.Equal(t, want, label(out[0]), "reset without a record")

	// Many flows: labels spread over 20 bits, as those of a random function do.
	seen := map[uint32]bool{}
	const flows = 2000
	for i := range uint16(flows) {
		s := syn(own6, peer6, 80)
		s.RemotePort = 1024 + i
		out := r.send(t, tcpFrame(r, s, 0))
		require.Len(t, out, 1)
		seen[label(out[0])] = true
	}
	require.Greater(t, len(seen), flows-10, "about 2 of 2000 collide by chance")

	// Active, with another key another label.
	r.cfg.Net.Neighbors.want(peer6, r.now)
	r.cfg.Net.Neighbors.learn(peer6, peerHW, false, r.now)
	tuple := wire.Tuple{Remote: peer6, Local: own6, RemotePort: 443, LocalPort: 50000}
	_, err = r.Connect(&tuple, app)
	require.NoError(t, err)
	out = r.step(t, 1)
	require.NotEmpty(t, out)
	require.Equal(t, r.labels.of(&tuple), label(out[0]))
	require.NotZero(t, label(out[0]))
	for name, change := range map[string]func(t *wire.Tuple){
		"remote prefix": func(t *wire.Tuple) { t.Remote.Hi ^= 1 },
		"remote host":   func(t *wire.Tuple) { t.Remote.Lo ^= 1 },
		"local prefix":  func(t *wire.Tuple) { t.Local.Hi ^= 1 },
		"local host":    func(t *wire.Tuple) { t.Local.Lo ^= 1 },
		"remote port":   func(t *wire.Tuple) { t.RemotePort ^= 1 },
		"local port":    func(t *wire.Tuple) { t.LocalPort ^= 1 },
	} {
		other := tuple
		change(&other)
		require.NotEqual(t, r.labels.of(&tuple), r.labels.of(&other), name)
	}
	l := labels{a: r.labels.a + 1, b: r.labels.b}
	require.NotEqual(t, r.labels.of(&tuple), l.of(&tuple))
	require.Zero(t, testing.AllocsPerRun(100, func() { l.put(out[0][14:], &tuple) }))
}
