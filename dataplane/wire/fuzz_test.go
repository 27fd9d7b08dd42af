package wire

import (
	"bytes"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
)

func seedFrames(t testing.TB) [][]byte {
	v6 := unhex(t, vecSYN6TCP)
	text := func(opts string, payload string) []byte {
		return eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, FlagACK|FlagPSH, unhex(t, opts), []byte(payload))))
	}
	tagged := syn4(unhex(t, optsLinux))
	tagged = append(append(append([]byte(nil), tagged[:12]...), 0x81, 0, 0x60, 0x64), tagged[12:]...)
	arp, ns := make([]byte, 60), make([]byte, 86)
	PutARP(arp, &Link{Dst: broadcast, Src: macA}, ARPRequest, macA, addr(cli4), [6]byte{}, addr(srv4))
	PutNeighborSolicit(ns, &Link{Dst: macB, Src: macA}, addr(cli6), SolicitedNode(addr(srv6)), addr(srv6))
	return [][]byte{
		eth(unhex(t, vecSYN4)), eth(unhex(t, vecReset4)), eth(unhex(t, vecCookie4)),
		syn4(unhex(t, optsLinux)), syn4(unhex(t, optsBSD)), syn4(unhex(t, optsWindows)), syn4(nil),
		text(optsAckTS, ""), text(optsAckTS, "GET / HTTP/1.1\r\n\r\n"), text("0101050a0000000100000002", ""),
		text("", ""), syn4(unhex(t, "0204057808000303")),
		eth(ip6(cli6, srv6, ProtoTCP, v6)), tagged, arp, ns,
		eth(ip6(cli6, srv6, extFragment, append([]byte{ProtoTCP, 0, 0, 0, 0, 0, 0, 1}, v6...))),
		eth(ip6(cli6, srv6, extHopByHop, append([]byte{ProtoTCP, 0, 1, 4, 0, 0, 0, 0}, v6...))),
		eth(ip4(cli4, srv4, ProtoTCP, []byte{7, 4, 5, 0}, tcp(cli4, srv4, FlagSYN, nil, nil))),
		eth(ip4(cli4, srv4, ProtoICMP, nil, icmp4(ICMPUnreachable, 4, 1400, unhex(t, vecCookie4)))),
		eth(ip6(cli6, srv6, ProtoICMPv6, icmp6(cli6, srv6, ICMPv6Echo, 0, 1, []byte("x")))),
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range seedFrames(f) {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, frame []byte, good bool) {
		orig := append([]byte(nil), frame...)
		frame = frame[:len(frame):len(frame)] // a read behind the frame would panic
		var p Packet
		r := Parse(frame, good, &p)
		require.Less(t, r, NumReasons)
		require.True(t, bytes.Equal(orig, frame), "Parse wrote into the frame")
		if r != OK {
			require.Equal(t, KindNone, p.Kind)
			return
		}
		require.NotEqual(t, KindNone, p.Kind)
		require.GreaterOrEqual(t, p.L3, int32(EthernetLen))
		require.GreaterOrEqual(t, p.L4, p.L3)
		require.GreaterOrEqual(t, p.Data, p.L4)
		require.GreaterOrEqual(t, p.End, p.Data)
		require.LessOrEqual(t, p.End, int32(len(frame)))

		ParseNeighborSolicit(frame, &p)
		ParseNeighborAdvert(frame, &p)
		QuotedTCP(frame, &p)
		if p.Kind == KindTCP {
			agreeWithGopacket(t, frame, &p, good)
			return
		}
		if out, ok := EchoReply(frame, &p); ok && !good {
			require.Equal(t, OK, Parse(out, false, &p))
		}
	})
}

// agreeWithGopacket compares p with an independent decoding of frame.
func agreeWithGopacket(t *testing.T, frame []byte, p *Packet, good bool) {
	eq := func(want, got any, what string) {
		t.Helper()
		if want != got {
			t.Fatalf("%s: gopacket %v, Parse %v; frame %x", what, want, got, frame)
		}
	}
	pk := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	s := &p.Seg
	if l := pk.Layer(layers.LayerTypeDot1Q); l != nil {
		q := l.(*layers.Dot1Q)
		eq(q.VLANIdentifier, p.VLAN&0xfff, "VID")
		eq(q.VLANIdentifier != 0, p.Tagged, "Tagged")
	} else {
		eq(uint16(0), p.VLAN, "VLAN")
	}
	var src, dst net.IP
	if p.V6 {
		ip := pk.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		src, dst = ip.SrcIP, ip.DstIP
		eq(ip.TrafficClass, s.TOS, "traffic class")
		eq(ip.HopLimit, p.TTL, "hop limit")
	} else {
		ip := pk.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		src, dst = ip.SrcIP, ip.DstIP
		eq(ip.TOS, s.TOS, "TOS")
		eq(ip.TTL, p.TTL, "TTL")
		eq(int(ip.IHL)*4, int(p.L4-p.L3), "IHL")
		if !good {
			eq(uint32(0xffff), naiveSum(frame[p.L3:p.L4]), "IPv4 header sum")
		}
	}
	eq(src.String(), s.Remote.String(), "source")
	eq(dst.String(), s.Local.String(), "destination")

	// gopacket leaves segments behind atomic fragments undecoded, so hand it the
	// segment.
	var th layers.TCP
	require.NoError(t, th.DecodeFromBytes(frame[p.L4:p.End], gopacket.NilDecodeFeedback))
	hl := int(p.Data - p.L4)
	if !hasMultipath(frame[p.L4+TCPLen : p.Data]) {
		agreeOnOptions(t, &th, s)
	}
	eq(uint16(th.SrcPort), s.RemotePort, "source port")
	eq(uint16(th.DstPort), s.LocalPort, "destination port")
	eq(Seq(th.Seq), s.Seq, "seq")
	eq(Seq(th.Ack), s.Ack, "ack")
	eq(th.Window, s.Win, "window")
	eq(len(th.Payload), int(s.Len), "payload length")
	eq(int(th.DataOffset)*4, hl, "data offset")
	var fl Flags
	for i, on := range []bool{th.FIN, th.SYN, th.RST, th.PSH, th.ACK, th.URG, th.ECE, th.CWR, th.NS} {
		if on {
			fl |= 1 << i
		}
	}
	eq(fl, s.Flags, "flags")
	if !good {
		tv := TCP(frame[p.L4:p.End])
		eq(true, tv.ChecksumOK(s.Remote, s.Local), "TCP checksum")
	}
}

// hasMultipath tells lists with kind 30, whose content gopacket decodes further
// and may refuse, which ends its list.
func hasMultipath(b []byte) bool {
	for it := NewOptionIter(b); ; {
		if o, ok := it.Next(); !ok || o.Kind == 30 {
			return ok
		}
	}
}

// agreeOnOptions derives Options from gopacket's list by the rules of OPT-001
// to OPT-013 and compares.
func agreeOnOptions(t *testing.T, th *layers.TCP, s *Segment) {
	var want Options
	for _, o := range th.Options {
		d := o.OptionData
		switch uint8(o.OptionType) {
		case OptMSS:
			if th.SYN && len(d) == 2 && be.Uint16(d) != 0 {
				want.Has, want.MSS = want.Has|HasMSS, be.Uint16(d)
			}
		case OptWScale:
			if th.SYN && len(d) == 1 {
				want.Has, want.WScale = want.Has&^WScaleClamped|HasWScale, min(d[0], 14)
				if d[0] > 14 {
					want.Has |= WScaleClamped
				}
			}
		case OptSACKPermitted:
			if th.SYN && len(d) == 0 {
				want.Has |= HasSACKPermitted
			}
		case OptSACK:
			if !th.SYN && len(d) >= 8 && len(d)%8 == 0 {
				want.Has |= HasSACK
			}
		case OptTimestamps:
			if len(d) == 8 {
				want.Has, want.TSVal, want.TSEcr = want.Has|HasTimestamps, be.Uint32(d), be.Uint32(d[4:])
			}
		}
	}
	got := s.Opt
	got.Has &^= HasMD5 | HasAO | HasFastOpen | FastOpenExp | OptMalformed
	got.TFO, got.TFOLen = [16]byte{}, 0
	require.Equal(t, want, got)
}

func FuzzOptions(f *testing.F) {
	for _, s := range []string{
		"", optsLinux, optsBSD, optsWindows, optsAckTS, "0204057808000303", "22020101", "220a01020304050607080101",
		"fe04f989", "fe0cf9890102030405060708", "0101050a0000000100000002", "03030f01", "1312000102030405060708090a0b0c0d0e0f0000",
	} {
		f.Add(unhex(f, s), true)
		f.Add(unhex(f, s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, syn bool) {
		b = b[:min(len(b), MaxOptionsLen)]
		var o, q Options
		ParseOptions(b, syn, &o)
		if o.Has&HasWScale != 0 && o.WScale > 14 || o.Has&HasMSS != 0 && o.MSS == 0 || o.TFOLen > 16 {
			t.Fatalf("%x: %+v", b, o)
		}
		// The iterator covers the list and agrees on where it ends.
		n, eol := 0, false
		it := NewOptionIter(b)
		for {
			op, ok := it.Next()
			if !ok {
				break
			}
			n += int(op.Len)
			eol = op.Kind == OptEOL
		}
		require.Equal(t, o.Has&OptMalformed != 0, it.Malformed())
		if !it.Malformed() && !eol {
			require.Equal(t, len(b), n)
		}
		var blocks [4]SACKBlock
		require.Equal(t, o.Has&HasSACK != 0 && !syn, SACKBlocks(b, &blocks) > 0 && !syn)

		// Parse, which has fast paths for known layouts, agrees.
		padded := append(append([]byte(nil), b...), OptNOP, OptNOP, OptNOP)[:(len(b)+3)&^3]
		flags := FlagACK
		if syn {
			flags = FlagSYN
		}
		p, r := parse(eth(ip4(cli4, srv4, ProtoTCP, nil, tcp(cli4, srv4, flags, padded, []byte("odd")))))
		require.Equal(t, OK, r)
		ParseOptions(padded, syn, &q)
		require.Equal(t, q, p.Seg.Opt)

		// What was understood survives encoding, in canonical form.
		var buf [MaxOptionsLen]byte
		m := PutOptions(buf[:], &o, syn)
		require.Zero(t, m%4)
		require.Equal(t, OptionsLen(&o, syn), m)
		ParseOptions(buf[:m], syn, &q)
		o.Has &^= HasSACK | HasMD5 | HasAO | WScaleClamped | OptMalformed
		require.Equal(t, o, q)
		var again [MaxOptionsLen]byte
		require.Equal(t, m, PutOptions(again[:], &q, syn))
		require.Equal(t, buf, again)
	})
}

func FuzzPutTCP(f *testing.F) {
	f.Add(unhex(f, "c6336402c0000201"), uint32(0x9c400050), uint32(0x01020304), uint32(0), uint16(FlagSYN), uint16(64240), uint8(0), unhex(f, optsLinux), []byte(nil), uint16(0), uint16(0))
	f.Add(unhex(f, "20010db8000000000000000000000002 20010db8000000000000000000000001"), uint32(0x9c400050), uint32(1), uint32(2), uint16(FlagACK|FlagPSH), uint16(1), uint8(3), unhex(f, optsAckTS), []byte("text"), uint16(5), uint16(11))
	f.Add(unhex(f, "c6336402c0000201"), uint32(1), uint32(0xffffffff), uint32(0xffffffff), uint16(0x1ff), uint16(0xffff), uint8(0xff), unhex(f, "220a01020304050607080101"), bytes.Repeat([]byte{0xff}, 1460), uint16(40), uint16(0x64))
	f.Fuzz(func(t *testing.T, ips []byte, ports, seq, ack uint32, flags, win uint16, tos uint8, opts, payload []byte, at, vlan uint16) {
		s := Segment{Seq: Seq(seq), Ack: Seq(ack), Flags: Flags(flags & 0x1ff), Win: win, TOS: tos}
		s.RemotePort, s.LocalPort = uint16(ports>>16), uint16(ports)
		if len(ips) >= 32 {
			s.Remote, s.Local = Addr16((*[16]byte)(ips)), Addr16((*[16]byte)(ips[16:]))
		} else if len(ips) >= 8 {
			s.Remote, s.Local = Addr4(be.Uint32(ips)), Addr4(be.Uint32(ips[4:]))
		}
		if s.Remote.Is4() != s.Local.Is4() {
			return
		}
		syn := s.Flags&FlagSYN != 0
		ParseOptions(opts[:min(len(opts), MaxOptionsLen)], syn, &s.Opt)
		s.Opt.Has &^= HasSACK | HasMD5 | HasAO | WScaleClamped | OptMalformed // never encoded
		payload = payload[:min(len(payload), 60000)]

		l := Link{Dst: macB, Src: macA, VLAN: vlan}
		buf := make([]byte, FrameLen(&l, &s, len(payload))+int(at))
		n := PutLink(buf, &l, s.Local.EtherType())
		// The payload may already lie anywhere in the buffer.
		in := buf[min(n+int(at), len(buf)-len(payload)):][:len(payload)]
		copy(in, payload)
		off := bytes.Clone(buf)
		m := PutTCP(buf[n:], &s, in)
		require.Equal(t, PacketLen(&s, len(payload)), m)
		frame := buf[:n+m]
		require.Equal(t, m, PutTCPOffload(off[n:], &s, off[min(n+int(at), len(buf)-len(payload)):][:len(payload)]))
		complete(t, off[n:n+m])
		require.True(t, bytes.Equal(frame, off[:n+m]), "completed by the device: %x", off[:n+m])

		var p Packet
		r := Parse(frame, false, &p)
		switch r {
		case OK:
		case ReasonMartianSource, ReasonMartianDestination, ReasonMulticastDestination, ReasonLAND:
			return // the addresses are the fuzzer's; checksums are not
		case ReasonQinQ:
			return
		default:
			t.Fatalf("%v: %x", r, frame)
		}
		want := s
		want.Len = uint32(len(payload))
		want.Remote, want.Local, want.RemotePort, want.LocalPort = s.Local, s.Remote, s.LocalPort, s.RemotePort
		require.Equal(t, want, p.Seg)
		require.True(t, bytes.Equal(payload, frame[p.Data:p.End]))
		require.EqualValues(t, DefaultTTL, p.TTL)
		agreeWithGopacket(t, frame, &p, false)

		pk := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
		th, ok := pk.Layer(layers.LayerTypeTCP).(*layers.TCP)
		require.True(t, ok, "gopacket does not see TCP")
		require.NoError(t, th.SetNetworkLayerForChecksum(pk.NetworkLayer()))
		// ComputeChecksum sums the field as it stands, so a right one gives 0.
		c, err := th.ComputeChecksum()
		require.NoError(t, err)
		require.Zero(t, c)
	})
}
