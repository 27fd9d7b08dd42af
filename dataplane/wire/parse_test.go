package wire

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		require.Regexp(t, `^[a-z][a-z0-9_]*$`, r.String())
		require.False(t, seen[r.String()], r.String())
		seen[r.String()] = true
	}
	require.Equal(t, "reason_unknown", NumReasons.String())
	require.Equal(t, "reason_unknown", Reason(255).String())
}

func TestVAL_001_TCPChecksum(t *testing.T) {
	for _, frame := range [][]byte{
		syn4(unhex(t, optsLinux)), syn4(nil), syn4(unhex(t, optsBSD)), syn4(unhex(t, optsWindows)),
		eth(ip6(cli6, srv6, ProtoTCP, unhex(t, vecSYN6TCP))),
		eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK, unhex(t, optsAckTS), []byte("odd")))),
	} {
		p, r := parse(frame)
		require.Equal(t, OK, r)
		l3 := int(p.L3)
		addrs := l3 + 12
		if p.V6 {
			addrs = l3 + 8
		}
		for i := addrs; i < len(frame); i++ {
			if !p.V6 && i < int(p.L4) {
				continue // the IPv4 header has its own checksum, below
			}
			for bit := range 8 {
				bad := append([]byte(nil), frame...)
				bad[i] ^= 1 << bit
				p, r := parse(bad)
				require.NotEqual(t, OK, r, "byte %d bit %d", i, bit)
				require.Equal(t, KindNone, p.Kind)
			}
		}
		frame[p.L4+16] ^= 0xff
		_, r = parse(frame)
		require.Equal(t, ReasonBadTCPChecksum, r)
		require.Equal(t, OK, Parse(frame, true, &p), "the driver vouches")
	}
}

func TestVAL_002_ChecksumZeroIsOrdinary(t *testing.T) {
	// Choose the window so that the right checksum is 0x0000.
	seg := tcp(cli4, srv4, FlagSYN, nil, nil)
	be.PutUint16(seg[14:], 0)
	fixTCP(seg, cli4, srv4)
	be.PutUint16(seg[14:], be.Uint16(seg[16:]))
	fixTCP(seg, cli4, srv4)
	require.Zero(t, be.Uint16(seg[16:]))
	p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
	require.Equal(t, OK, r)

	// 0x0000 is not "absent".
	be.PutUint16(seg[14:], p.Seg.Win+1)
	_, r = parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
	require.Equal(t, ReasonBadTCPChecksum, r)

	// Neither is 0xffff another spelling of 0x0000 that fails: both sum to zero.
	be.PutUint16(seg[14:], p.Seg.Win)
	be.PutUint16(seg[16:], 0xffff)
	_, r = parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
	require.Equal(t, OK, r)
}

func TestVAL_004_IPHeader(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(ip []byte) []byte
		want Reason
	}{
		{"good", func(b []byte) []byte { return b }, OK},
		{"version 5", func(b []byte) []byte { b[0] = 0x55; fix4(b); return b }, ReasonBadVersion},
		{"version 6 in 0800", func(b []byte) []byte { b[0] = 0x65; fix4(b); return b }, ReasonBadVersion},
		{"IHL 4", func(b []byte) []byte { b[0] = 0x44; fix4(b); return b }, ReasonBadIHL},
		{"IHL past total", func(b []byte) []byte { b[3] = 56; b[0] = 0x4f; fix4(b); return b }, ReasonBadIHL},
		{"total past frame", func(b []byte) []byte { b[3]++; fix4(b); return b }, ReasonBadIPLength},
		{"total below header", func(b []byte) []byte { b[3] = 19; fix4(b); return b }, ReasonBadIHL},
		{"header checksum", func(b []byte) []byte { b[10] ^= 1; return b }, ReasonBadIPChecksum},
		{"19 bytes", func(b []byte) []byte { return b[:19] }, ReasonShortIPv4},
		{"no L3", func(b []byte) []byte { return b[:0] }, ReasonShortIPv4},
		{"UDP", func(b []byte) []byte { b[9] = 17; fix4(b); return b }, ReasonUnknownProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			ip := c.edit(unhex(t, vecSYN4))
			frame := eth(ip)
			be.PutUint16(frame[12:], EtherTypeIPv4)
			_, r := parse(frame)
			require.Equal(t, c.want, r)
		})
	}
	v6 := func(edit func(b []byte) []byte) Reason {
		frame := eth(edit(ip6(cli6, srv6, ProtoTCP, unhex(t, vecSYN6TCP))))
		be.PutUint16(frame[12:], EtherTypeIPv6)
		_, r := parse(frame)
		return r
	}
	require.Equal(t, OK, v6(func(b []byte) []byte { return b }))
	require.Equal(t, ReasonBadVersion, v6(func(b []byte) []byte { b[0] = 0x40; return b }))
	require.Equal(t, ReasonBadIPv6Length, v6(func(b []byte) []byte { b[5]++; return b }))
	require.Equal(t, ReasonShortIPv6, v6(func(b []byte) []byte { return b[:39] }))
	require.Equal(t, ReasonShortTCP, v6(func(b []byte) []byte { b[5] = 0; return b }))
	require.Equal(t, ReasonUnknownProtocol, v6(func(b []byte) []byte { b[6] = 17; return b }))
	require.Equal(t, ReasonUnknownProtocol, v6(func(b []byte) []byte { b[6] = 59; return b }))
}

func TestVAL_005_LengthFromIPHeader(t *testing.T) {
	frame := append(eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK, nil, nil))), 1, 2, 3, 4, 5, 6)
	require.Len(t, frame, 60)
	p, r := parse(frame)
	require.Equal(t, OK, r)
	require.Zero(t, p.Seg.Len)
	require.EqualValues(t, 54, p.Data)
	require.EqualValues(t, 54, p.End)

	frame = append(eth(ip6(cli6, srv6, ProtoTCP, tcp(cli6, srv6, FlagACK, nil, []byte("x")))), 9, 9)
	p, r = parse(frame)
	require.Equal(t, OK, r)
	require.EqualValues(t, 1, p.Seg.Len)
	require.Equal(t, "x", string(frame[p.Data:p.End]))
}

func TestVAL_006_Fragments(t *testing.T) {
	for _, c := range []struct {
		frag uint16
		want Reason
	}{
		{0, OK},
		{0x4000, OK},
		{0x8000, OK},
		{0xc000, OK},
		{0x2000, ReasonFragment},
		{0x6000, ReasonFragment},
		{0x0001, ReasonFragment},
		{0x1fff, ReasonFragment},
		{0x4001, ReasonFragment},
	} {
		ip := unhex(t, vecSYN4)
		be.PutUint16(ip[6:], c.frag)
		fix4(ip)
		_, r := parse(eth(ip))
		require.Equal(t, c.want, r, "%#x", c.frag)
	}
	for _, c := range []struct {
		frag uint16
		want Reason
	}{
		{0, OK}, {6, OK}, {1, ReasonFragment}, {8, ReasonFragment}, {0xfff8, ReasonFragment},
	} {
		h := make([]byte, 8)
		h[0] = ProtoTCP
		be.PutUint16(h[2:], c.frag)
		p, r := parse(eth(ip6(cli6, srv6, extFragment, append(h, unhex(t, vecSYN6TCP)...))))
		require.Equal(t, c.want, r, "%#x", c.frag)
		if r == OK {
			require.EqualValues(t, 14+48, p.L4)
			require.EqualValues(t, 0x01020304, p.Seg.Seq)
		}
	}
}

func TestVAL_007_DataOffset(t *testing.T) {
	for _, c := range []struct {
		doff byte
		want Reason
	}{{0, ReasonBadDataOffset}, {4, ReasonBadDataOffset}, {5, OK}, {6, OK}, {7, ReasonBadDataOffset}, {15, ReasonBadDataOffset}} {
		seg := tcp(cli4, srv4, FlagSYN, []byte{1, 1, 1, 1}, nil)
		seg[12] = c.doff << 4
		fixTCP(seg, cli4, srv4)
		p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
		require.Equal(t, c.want, r, "%d", c.doff)
		if r == OK {
			require.EqualValues(t, 24-4*int(c.doff), p.Seg.Len)
		}
	}
	for n := range TCPLen {
		seg := tcp(cli4, srv4, FlagSYN, nil, nil)[:n]
		_, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
		require.Equal(t, ReasonShortTCP, r)
	}
}

func TestVAL_012_ReservedBits(t *testing.T) {
	p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagSYN|0x0e00, nil, nil))))
	require.Equal(t, OK, r)
	require.Equal(t, FlagSYN, p.Seg.Flags)

	// AE, the bit below them, is a flag (RFC 9768).
	p, r = parse(eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagSYN|FlagAE|FlagCWR|FlagECE, nil, nil))))
	require.Equal(t, OK, r)
	require.Equal(t, FlagSYN|FlagAE|FlagCWR|FlagECE, p.Seg.Flags)

	s := p.Seg
	s.Flags |= 0xfe00
	b := make([]byte, 64)
	n := PutTCP(b, &s, nil)
	tv, ok := ParseTCP(b[IPv4Len:n])
	require.True(t, ok)
	require.Zero(t, tv.Reserved())
	require.Equal(t, FlagSYN|FlagAE|FlagCWR|FlagECE, tv.Flags())
}

func TestVAL_014_015_016_Addresses(t *testing.T) {
	for _, c := range []struct {
		src, dst string
		want     Reason
	}{
		{cli4, srv4, OK},
		{"1.0.0.0", srv4, OK},
		{"126.255.255.255", srv4, OK},
		{"128.0.0.1", srv4, OK},
		{"223.255.255.255", srv4, OK}, // its host part needs configuration
		{"169.254.1.1", srv4, OK},
		{srv4, srv4, ReasonLAND},
		{"0.0.0.0", srv4, ReasonMartianSource},
		{"0.255.0.1", srv4, ReasonMartianSource},
		{"127.0.0.1", srv4, ReasonMartianSource},
		{"224.0.0.1", srv4, ReasonMartianSource},
		{"239.255.255.255", srv4, ReasonMartianSource},
		{"240.0.0.1", srv4, ReasonMartianSource},
		{"255.255.255.255", srv4, ReasonMartianSource},
		{cli4, "224.0.0.1", ReasonMulticastDestination},
		{cli4, "255.255.255.255", ReasonMulticastDestination},
		{cli4, "0.0.0.0", ReasonMartianDestination},
		{cli4, "127.0.0.1", ReasonMartianDestination},
		{cli6, srv6, OK},
		{"fe80::1", srv6, OK},
		{"::2", srv6, OK},
		{srv6, srv6, ReasonLAND},
		{"::", srv6, ReasonMartianSource},
		{"::1", srv6, ReasonMartianSource},
		{"::ffff:198.51.100.2", srv6, ReasonMartianSource},
		{"ff02::1", srv6, ReasonMartianSource},
		{"ff00::", srv6, ReasonMartianSource},
		{cli6, "ff02::1", ReasonMulticastDestination},
		{cli6, "::", ReasonMartianDestination},
		{cli6, "::1", ReasonMartianDestination},
		{cli6, "::ffff:192.0.2.1", ReasonMartianDestination},
	} {
		t.Run(c.src+">"+c.dst, func(t *testing.T) {
			v6 := false
			for _, r := range c.src {
				v6 = v6 || r == ':'
			}
			var frame []byte
			if v6 {
				frame = eth(ip6(c.src, c.dst, ProtoTCP, tcp(c.src, c.dst, FlagSYN, nil, nil)))
			} else {
				frame = eth(ip4(c.src, c.dst, ProtoTCP, nil, tcp(c.src, c.dst, FlagSYN, nil, nil)))
			}
			_, r := parse(frame)
			require.Equal(t, c.want, r)
			var p Packet
			require.Equal(t, c.want, Parse(frame, true, &p))
		})
	}
	for _, frame := range [][]byte{syn4(nil), eth(ip6(cli6, srv6, ProtoTCP, unhex(t, vecSYN6TCP)))} {
		frame[0] |= 1
		_, r := parse(frame)
		require.Equal(t, ReasonGroupMAC, r, "VAL-016: only the MAC is a group")
		frame[0] &^= 1
		frame[6] |= 1
		_, r = parse(frame)
		require.Equal(t, ReasonGroupSourceMAC, r)
	}
}

func TestVAL_017_PortZero(t *testing.T) {
	seg := tcp(cli4, srv4, FlagSYN, nil, nil)
	be.PutUint32(seg, 80)
	fixTCP(seg, cli4, srv4)
	p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, seg)))
	require.Equal(t, OK, r)
	require.Zero(t, p.Seg.RemotePort)
	require.EqualValues(t, 80, p.Seg.LocalPort)
}

func TestVAL_018_IPv4Options(t *testing.T) {
	for _, c := range []struct {
		name, opts string
		want       Reason
	}{
		{"NOP", "01010101", OK},
		{"EOL and rubbish", "00ff0102", OK},
		{"record route", "0707040000000001", OK},
		{"timestamp", "440c050000000000 00000000", OK},
		{"router alert", "94040000", OK},
		{"LSRR", "8307040a00000101", ReasonSourceRoute},
		{"SSRR after NOP", "01890704 0a000001", ReasonSourceRoute},
		{"40 bytes of NOP", "01010101010101010101010101010101010101010101010101010101010101010101010101010101", OK},
		{"length 0", "07000000", ReasonBadIPOption},
		{"length 1", "07010000", ReasonBadIPOption},
		{"past header", "07050000", ReasonBadIPOption},
		{"no length", "01010107", ReasonBadIPOption},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := unhex(t, c.opts)
			p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, opts, tcp(cli4, srv4, FlagSYN, nil, []byte("hi")))))
			require.Equal(t, c.want, r)
			if r == OK {
				require.EqualValues(t, 34+len(opts), p.L4)
				require.EqualValues(t, 2, p.Seg.Len)
			}
		})
	}
}

func TestVAL_019_TTLIsReportedNotChecked(t *testing.T) {
	for _, ttl := range []byte{0, 1, 255} {
		ip := unhex(t, vecSYN4)
		ip[8] = ttl
		fix4(ip)
		p, r := parse(eth(ip))
		require.Equal(t, OK, r)
		require.Equal(t, ttl, p.TTL)
	}
}

func TestVAL_021_SeqComparison(t *testing.T) {
	require.True(t, Seq(0xffffffff).Less(0))
	require.True(t, Seq(0xffffffff).Less(0x7ffffffe))
	require.False(t, Seq(0).Less(0xffffffff))
	require.True(t, Seq(5).LessEq(5))
	require.True(t, Seq(2).InWindow(0xfffffffe, 5))
	require.False(t, Seq(3).InWindow(0xfffffffe, 5))
}

func TestVAL_022_NoAllocationNoStaleState(t *testing.T) {
	var dirty Packet
	for _, c := range benchFrames(t) {
		var p Packet
		require.Zero(t, testing.AllocsPerRun(100, func() { Parse(c.frame, false, &p) }))
		require.Equal(t, OK, Parse(c.frame, false, &dirty))
		require.Equal(t, p, dirty, "%s: depends on what p held before", c.name)
		// Any cut: no panic, and no field left from the frame before.
		for n := range c.frame {
			r := Parse(c.frame[:n:n], false, &dirty)
			require.NotEqual(t, OK, r)
			require.Equal(t, KindNone, dirty.Kind)
		}
	}
	// Random bytes behind a plausible start.
	rng := rand.New(rand.NewPCG(1, 2))
	seeds := benchFrames(t)
	for range 20000 {
		f := append([]byte(nil), seeds[rng.IntN(len(seeds))].frame[:54]...)
		for range 1 + rng.IntN(4) {
			f[rng.IntN(len(f))] = byte(rng.Uint32())
		}
		Parse(f[:rng.IntN(len(f)+1)], true, &dirty)
	}
}

func TestNET_005_VLAN(t *testing.T) {
	tag := func(frame []byte, tpid, tci uint16) []byte {
		b := append([]byte(nil), frame[:12]...)
		b = be.AppendUint16(be.AppendUint16(b, tpid), tci)
		return append(b, frame[12:]...)
	}
	plain := syn4(unhex(t, optsLinux))
	p0, _ := parse(plain)

	p, r := parse(tag(plain, 0x8100, 0x6064)) // PCP 3, VID 100
	require.Equal(t, OK, r)
	require.True(t, p.Tagged)
	require.EqualValues(t, 0x6064, p.VLAN)
	require.Equal(t, p0.Seg, p.Seg)
	require.Equal(t, p0.Data+4, p.Data)

	f := tag(plain, 0x8100, 0xa000) // PCP 5, VID 0
	p, r = parse(f)
	require.Equal(t, OK, r)
	require.False(t, p.Tagged)
	require.EqualValues(t, 0xa000, p.VLAN)
	require.Zero(t, ReplyLink(f, &p).VLAN)

	_, r = parse(tag(plain, 0x88a8, 100))
	require.Equal(t, ReasonQinQ, r)
	_, r = parse(tag(tag(plain, 0x8100, 7), 0x8100, 100))
	require.Equal(t, ReasonQinQ, r)
	_, r = parse(tag(tag(plain, 0x8100, 7), 0x88a8, 100))
	require.Equal(t, ReasonQinQ, r)
	_, r = parse(tag(plain, 0x8100, 1)[:17])
	require.Equal(t, ReasonShortEthernet, r)
	_, r = parse(tag(plain, 0x9100, 1))
	require.Equal(t, ReasonUnknownEtherType, r)
	_, r = parse(plain[:13])
	require.Equal(t, ReasonShortEthernet, r)

	// The reply carries the same tag.
	f = tag(plain, 0x8100, 0x6064)
	p, _ = parse(f)
	l := ReplyLink(f, &p)
	require.Equal(t, Link{Dst: macA, Src: macB, VLAN: 0x6064}, l)
	b := make([]byte, 128)
	n := PutLink(b, &l, EtherTypeIPv4)
	require.Equal(t, 18, n)
	n += PutTCP(b[n:], &p.Seg, nil)
	require.Equal(t, FrameLen(&l, &p.Seg, 0), n)
	q, r := parse(b[:n])
	require.Equal(t, OK, r)
	require.EqualValues(t, 0x6064, q.VLAN)
}

func TestNET_009_PseudoHeaderBehindExtension(t *testing.T) {
	// The next header in the pseudo-header is TCP, not the options header.
	h := append([]byte{ProtoTCP, 0, 1, 4, 0, 0, 0, 0}, unhex(t, vecSYN6TCP)...)
	p, r := parse(eth(ip6(cli6, srv6, extDstOptions, h)))
	require.Equal(t, OK, r)
	require.EqualValues(t, 0x01020304, p.Seg.Seq)
}

func TestNET_010_ExtensionHeaders(t *testing.T) {
	pad := func(next byte, words int) []byte {
		h := make([]byte, 8*words)
		h[0], h[1] = next, byte(words-1)
		if words > 32 {
			return h
		}
		h[2], h[3] = 1, byte(8*words-4)
		return h
	}
	cat := func(hs ...[]byte) (b []byte) {
		for _, h := range hs {
			b = append(b, h...)
		}
		return append(b, unhex(t, vecSYN6TCP)...)
	}
	rep := func(n int) (b []byte) {
		for i := range n {
			next := byte(extDstOptions)
			if i == n-1 {
				next = ProtoTCP
			}
			b = append(b, pad(next, 1)...)
		}
		return b
	}
	for _, c := range []struct {
		name  string
		first uint8
		b     []byte
		want  Reason
	}{
		{"hop-by-hop", extHopByHop, cat(pad(ProtoTCP, 1)), OK},
		{"hop-by-hop and destination", extHopByHop, cat(pad(extDstOptions, 2), pad(ProtoTCP, 3)), OK},
		{"atomic fragment between", extHopByHop, cat(pad(extFragment, 1), []byte{extDstOptions, 0, 0, 0, 1, 2, 3, 4}, pad(ProtoTCP, 1)), OK},
		{"hop-by-hop not first", extDstOptions, cat(pad(extHopByHop, 1), pad(ProtoTCP, 1)), ReasonIPv6ExtHeader},
		{"8 headers", extDstOptions, cat(rep(8)), OK},
		{"9 headers", extDstOptions, cat(rep(9)), ReasonIPv6ExtHeader},
		{"256 bytes", extDstOptions, cat(pad(ProtoTCP, 32)), OK},
		{"264 bytes", extDstOptions, cat(pad(extDstOptions, 32), pad(ProtoTCP, 1)), ReasonIPv6ExtHeader},
		{"RH0", extRouting, cat([]byte{ProtoTCP, 0, 0, 0, 0, 0, 0, 0}), ReasonSourceRoute},
		{"ESP", extESP, cat(pad(ProtoTCP, 1)), ReasonIPv6ExtHeader},
		{"AH", extAH, cat(pad(ProtoTCP, 1)), ReasonIPv6ExtHeader},
		{"mobility", extMobility, cat(pad(ProtoTCP, 1)), ReasonIPv6ExtHeader},
		{"past the packet", extDstOptions, []byte{ProtoTCP, 9, 1, 4, 0, 0, 0, 0}, ReasonIPv6ExtHeader},
		{"cut", extDstOptions, []byte{ProtoTCP, 0, 1, 4, 0}, ReasonIPv6ExtHeader},
		{"router alert skipped", extHopByHop, cat([]byte{ProtoTCP, 0, 5, 2, 0, 0, 0, 0}), OK},
		{"unknown option, discard", extHopByHop, cat([]byte{ProtoTCP, 0, 0x7e, 4, 0, 0, 0, 0}), ReasonIPv6ExtHeader},
		{"option past header", extHopByHop, cat([]byte{ProtoTCP, 0, 1, 5, 0, 0, 0, 0}), ReasonIPv6ExtHeader},
		{"UDP behind", extDstOptions, cat(pad(17, 1)), ReasonUnknownProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, r := parse(eth(ip6(cli6, srv6, c.first, c.b)))
			require.Equal(t, c.want, r)
			if r == OK {
				require.EqualValues(t, len(c.b)-40, int(p.L4)-54)
				require.EqualValues(t, 1440, p.Seg.Opt.MSS)
			}
		})
	}
}

func TestNET_014_FramesAboveMTU(t *testing.T) {
	// A GSO frame: 65535 bytes of IP behind a tag.
	data := make([]byte, maxIPv4-IPv4Len-TCPLen)
	for i := range data {
		data[i] = byte(i * 7)
	}
	f := eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK, nil, data)))
	p, r := parse(f)
	require.Equal(t, OK, r)
	require.EqualValues(t, len(data), p.Seg.Len)
	require.EqualValues(t, len(f), p.End)

	data = make([]byte, 65535-TCPLen)
	f = eth(ip6(cli6, srv6, ProtoTCP, tcp(cli6, srv6, FlagACK, nil, data)))
	p, r = parse(f)
	require.Equal(t, OK, r)
	require.EqualValues(t, len(data), p.Seg.Len)
}

func TestParseTOS(t *testing.T) {
	ip := unhex(t, vecSYN4)
	ip[1] = 0xb9
	fix4(ip)
	p, r := parse(eth(ip))
	require.Equal(t, OK, r)
	require.EqualValues(t, 0xb9, p.Seg.TOS)

	b := ip6(cli6, srv6, ProtoTCP, unhex(t, vecSYN6TCP))
	be.PutUint32(b, 0x6b9fffff)
	p, r = parse(eth(b))
	require.Equal(t, OK, r)
	require.EqualValues(t, 0xb9, p.Seg.TOS)
	require.True(t, p.V6)
}
