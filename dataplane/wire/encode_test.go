package wire

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPutTCPRoundTrip(t *testing.T) {
	for _, c := range benchSegments() {
		t.Run(c.name, func(t *testing.T) {
			l := Link{Dst: macA, Src: macB}
			b := make([]byte, 2048)
			c.s.TOS = 0x2a
			n := PutLink(b, &l, c.s.Local.EtherType())
			n += PutTCP(b[n:], &c.s, c.payload)
			require.Equal(t, FrameLen(&l, &c.s, len(c.payload)), n)
			p, r := parse(b[:n])
			require.Equal(t, OK, r)
			want := c.s
			want.Remote, want.Local = want.Local, want.Remote
			want.RemotePort, want.LocalPort = want.LocalPort, want.RemotePort
			want.Len = uint32(len(c.payload))
			require.Equal(t, want, p.Seg)
			require.EqualValues(t, DefaultTTL, p.TTL)
			require.Zero(t, testing.AllocsPerRun(100, func() { PutTCP(b, &c.s, c.payload) }))
		})
	}
}

// DF and ID 0 on every segment over IPv4, whatever writes it and at whatever
// length: nothing of ours may be fragmented, so the ID means nothing (RFC 6864 §4.1).
func TestMTU_003_NET_006_DontFragment(t *testing.T) {
	b, all := make([]byte, 1600), HasMSS|HasSACKPermitted|HasTimestamps|HasWScale
	n := 0
	for _, flags := range []Flags{FlagSYN, FlagSYN | FlagACK, FlagACK, FlagACK | FlagPSH, FlagACK | FlagFIN, FlagRST, FlagRST | FlagACK} {
		for _, has := range []OptionSet{0, HasMSS, HasTimestamps, all} {
			for _, text := range [][]byte{nil, make([]byte, 1), make([]byte, 1460)} {
				s := benchSegments()[0].s
				s.Flags, s.Opt.Has = flags, has
				require.True(t, s.Local.Is4())
				for name, put := range map[string]func() int{
					"PutTCP":        func() int { return PutTCP(b, &s, text) },
					"PutTCPExtra":   func() int { return PutTCPExtra(b, &s, []byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}, text) },
					"PutTCPOffload": func() int { return PutTCPOffload(b, &s, text) },
				} {
					if has == all && name == "PutTCPExtra" && flags&FlagSYN != 0 {
						continue // no SYN of ours has SACK blocks
					}
					ip, ok := ParseIPv4(b[:put()])
					require.True(t, ok, name)
					require.EqualValues(t, 0x4000, ip.Frag(), "%s %v", name, s)
					require.Zero(t, ip.ID(), "%s %v", name, s)
					n++
				}
			}
		}
	}
	require.Equal(t, 7*4*3*3-2*3, n)
}

func TestPutTCPBounds(t *testing.T) {
	for _, c := range benchSegments() {
		b := make([]byte, 2048)
		n := PutTCP(b, &c.s, c.payload)
		require.NotZero(t, PutTCP(b[:n], &c.s, c.payload))
		for m := range n {
			require.Zero(t, PutTCP(b[:m], &c.s, c.payload), "%s in %d bytes", c.name, m)
		}
	}
	// The IP length field is the limit: total for IPv4, payload for IPv6.
	b := make([]byte, 70000)
	s4, s6 := benchSegments()[2].s, benchSegments()[1].s
	require.Equal(t, 65535, PutTCP(b, &s4, make([]byte, 65535-40)))
	require.Zero(t, PutTCP(b, &s4, make([]byte, 65535-39)))
	require.Equal(t, 40+65535, PutTCP(b, &s6, make([]byte, 65535-40)))
	require.Zero(t, PutTCP(b, &s6, make([]byte, 65535-39)))
	require.Zero(t, PutLink(b[:13], &Link{}, EtherTypeIPv4))
	require.Zero(t, PutLink(b[:17], &Link{VLAN: 1}, EtherTypeIPv4))
}

func TestPutTCPPayloadInPlace(t *testing.T) {
	const text = "GET / HTTP/1.1\r\n"
	s := benchSegments()[3].s
	hl := IPLen(&s) + TCPHeaderLen(&s)
	for at := 0; at <= hl+40; at++ {
		b := make([]byte, 256)
		copy(b[at:], text)
		n := PutTCP(b, &s, b[at:at+len(text)])
		require.Equal(t, hl+len(text), n)
		require.Equal(t, text, string(b[hl:n]), "payload at %d", at)
		_, r := parse(eth(b[:n]))
		require.Equal(t, OK, r)
	}
}

// VAL-003: setters keep the checksum right.
func TestVAL_003_Setters(t *testing.T) {
	s := benchSegments()[0].s
	b := make([]byte, 128)
	b = b[:PutTCP(b, &s, nil)]
	ip, ok := ParseIPv4(b)
	require.True(t, ok)
	ip.SetTTL(1)
	ip.SetTOS(0xff)
	ip.SetID(0xbeef)
	require.True(t, ip.ChecksumOK())
	tv, ok := ParseTCP(ip.Payload())
	require.True(t, ok)
	tv.SetSeq(0xffffffff)
	tv.SetAck(0)
	tv.SetWindow(0xabcd)
	tv.SetFlags(FlagAE | FlagFIN)
	require.True(t, tv.ChecksumOK(ip.Src(), ip.Dst()))
	require.Equal(t, Seq(0xffffffff), tv.Seq())
	require.Equal(t, Seq(0), tv.Ack())
	require.EqualValues(t, 0xabcd, tv.Window())
	require.Equal(t, FlagAE|FlagFIN, tv.Flags())
	require.Equal(t, 40, tv.HeaderLen())
	require.EqualValues(t, 0xff, ip.TOS())
	require.EqualValues(t, 1, ip.TTL())
	require.EqualValues(t, 0xbeef, ip.ID())

	s6 := benchSegments()[1].s
	c := make([]byte, 128)
	c = c[:PutTCP(c, &s6, nil)]
	ip6, ok := ParseIPv6(c)
	require.True(t, ok)
	ip6.SetFlowLabel(0xfffffff)
	require.EqualValues(t, 0xfffff, ip6.FlowLabel())
	require.Zero(t, ip6.TrafficClass())
	proto, up, r := ip6.UpperLayer()
	require.Equal(t, OK, r)
	require.EqualValues(t, ProtoTCP, proto)
	tv, ok = ParseTCP(up)
	require.True(t, ok)
	require.True(t, tv.ChecksumOK(ip6.Src(), ip6.Dst()))
	_, r = parse(eth(c))
	require.Equal(t, OK, r)
}

func TestViewsRejectShort(t *testing.T) {
	good := syn4(unhex(t, optsLinux))
	for n := range len(good) {
		b := good[:n]
		if e, ok := ParseEthernet(b); ok {
			e.EtherType()
			e.Payload()
		}
		if n >= 14 {
			_, ok := ParseIPv4(b[14:])
			require.False(t, ok)
		}
		if n >= 34 {
			_, ok := ParseTCP(b[34:])
			require.False(t, ok)
		}
	}
	_, ok := ParseIPv6(good[14:])
	require.False(t, ok)
	_, ok = ParseICMPv4(make([]byte, 7))
	require.False(t, ok)
	_, ok = ParseICMPv6(make([]byte, 7))
	require.False(t, ok)
}

func TestViews(t *testing.T) {
	s := benchSegments()[4].s
	l := Link{Dst: macA, Src: macB, VLAN: 0x6064}
	b := make([]byte, 2048)
	n := PutLink(b, &l, EtherTypeIPv4)
	b = b[:n+PutTCP(b[n:], &s, []byte("text"))]
	e, ok := ParseEthernet(b)
	require.True(t, ok)
	tci, ok := e.Tag()
	require.True(t, ok)
	require.EqualValues(t, 0x6064, tci)
	require.Equal(t, 18, e.HeaderLen())
	require.EqualValues(t, EtherTypeIPv4, e.EtherType())
	e.SetDst(macB)
	e.SetSrc(macA)
	require.Equal(t, macB, e.Dst())
	require.Equal(t, macA, e.Src())
	ip, ok := ParseIPv4(e.Payload())
	require.True(t, ok)
	require.EqualValues(t, ProtoTCP, ip.Proto())
	require.Empty(t, ip.Options())
	tv, ok := ParseTCP(ip.Payload())
	require.True(t, ok)
	require.Equal(t, s.LocalPort, tv.SrcPort())
	require.Equal(t, s.RemotePort, tv.DstPort())
	require.Zero(t, tv.Urgent())
	require.Equal(t, "text", string(tv.Payload()))
	require.Equal(t, "198.51.100.2:40000 > 192.0.2.1:80", s.Tuple.String())

	b = ip6(cli6, srv6, ProtoICMPv6, icmp6(cli6, srv6, ICMPv6Echo, 3, 0x00070001, []byte("x")))
	ip6v, ok := ParseIPv6(b)
	require.True(t, ok)
	require.EqualValues(t, ProtoICMPv6, ip6v.NextHeader())
	require.EqualValues(t, 64, ip6v.HopLimit())
	m, ok := ParseICMPv6(ip6v.Payload())
	require.True(t, ok)
	require.True(t, m.ChecksumOK(ip6v.Src(), ip6v.Dst()))
	require.EqualValues(t, ICMPv6Echo, m.Type())
	require.EqualValues(t, 3, m.Code())
	require.EqualValues(t, 0x00070001, m.Rest())
	require.Equal(t, "x", string(m.Body()))
	_, ok = ParseIPv6(b[:len(b)-1])
	require.False(t, ok)
}

// What PutTCP writes at places known beforehand is what the general code writes,
// for every set of options and buffers around the length that it takes.
func TestPutTCPLayoutsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200000 {
		s := Segment{
			Tuple: Tuple{Remote: Addr4(r.Uint32()), Local: Addr4(r.Uint32()), RemotePort: uint16(r.Uint32()), LocalPort: uint16(r.Uint32())},
			Seq:   Seq(r.Uint32()), Ack: Seq(r.Uint32()), Flags: Flags(r.Uint32()), Win: uint16(r.Uint32()), TOS: uint8(r.Uint32()), Len: r.Uint32(),
			Opt: Options{Has: OptionSet(r.Uint32()), MSS: uint16(r.Uint32()), WScale: uint8(r.Uint32()), TSVal: r.Uint32(), TSEcr: r.Uint32()},
		}
		if r.IntN(2) == 0 {
			s.Opt.Has = HasMSS | HasSACKPermitted | HasTimestamps | HasWScale
		}
		if r.IntN(2) == 0 {
			s.Remote, s.Local = Addr{Hi: 1<<61 | r.Uint64()>>3, Lo: r.Uint64()}, Addr{Hi: 1<<61 | r.Uint64()>>3, Lo: r.Uint64()}
		}
		got, want := bytes.Repeat([]byte{0xaa}, 120), bytes.Repeat([]byte{0xaa}, 120)
		size := 30 + r.IntN(91)
		n := PutTCP(got[:size], &s, nil)
		require.Equal(t, PutTCPExtra(want[:size], &s, nil, nil), n)
		require.Equal(t, want, got, "%+v", s)
	}
}

// Every IPv4 segment has DF and is no fragment, whatever it carries, with and
// without checksum offload.
func TestMTU_003_DontFragment(t *testing.T) {
	put := map[string]func(b []byte, s *Segment, payload []byte) int{"PutTCP": PutTCP, "PutTCPOffload": PutTCPOffload}
	for name, put := range put {
		for flags := range Flags(512) {
			for _, text := range []string{"", "text"} {
				s := benchSegments()[0].s
				s.Flags, s.TOS = flags, uint8(flags)
				b := make([]byte, 128)
				n := put(b, &s, []byte(text))
				ip, ok := ParseIPv4(b[:n])
				require.True(t, ok)
				require.EqualValues(t, 0x4000, ip.Frag(), "%s flags %x", name, flags)
				require.Equal(t, s.TOS, ip.TOS())
				tcp, ok := ParseTCP(ip.Payload())
				require.True(t, ok)
				require.Equal(t, flags, tcp.Flags(), "AE, CWR and ECE as well")
				require.Zero(t, tcp.Reserved())
			}
		}
	}
}
