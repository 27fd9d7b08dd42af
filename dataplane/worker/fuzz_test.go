package worker

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// FuzzBurst feeds bursts of frames to a worker: frames of each kind it knows, in
// the state it is in, then changed in some bytes. Nothing may panic, each frame
// must end in one counter, and what goes out must be a good frame.
func FuzzBurst(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0x80, 1, 0, 0x80, 2, 0, 0x80, 4, 0, 0xff}) // open, text, FIN
	f.Add([]byte{0, 5, 0, 6, 0, 7, 0, 8, 0, 0xff})                   // control frames
	f.Add([]byte{0, 0, 0x10, 0, 0x14, 0x30, 0x80, 9, 0, 0xff, 10, 0xff})
	f.Add([]byte{0x40, 0, 0x21, 14, 0x45, 26, 1, 0x61, 30, 2, 31, 3, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) { (&burstFuzz{t: t, in: in}).run() })
}

type burstFuzz struct {
	t    *testing.T
	in   []byte
	r    *rig
	last wire.Segment // what the worker said last
	n    int
}

func (z *burstFuzz) next() byte {
	if len(z.in) == 0 {
		return 0
	}
	b := z.in[0]
	z.in = z.in[1:]
	return b
}

// run reads an operation from each byte: its low half picks a frame, two bits how
// many bytes of it change, one bit whether the checksums are made to fit, and the
// top bit ends the burst. The byte behind it holds the flags of the device.
func (z *burstFuzz) run() {
	conf := z.next()
	z.r = newRigOn(z.t, dptest.PortConfig{Frames: 160, Room: 512}, Config{Engine: handshake.Config{
		MaxFlows: 3 + int(conf>>4), Cookies: handshake.CookiePolicy(conf % 3), TimeWait: time.Duration(-int(conf>>2&1)) * time.Second,
	}})
	calls := 0
	app, err := z.r.AddApp(Callbacks{
		Bare: true,
		Established: func(f *Flow) {
			if calls++; conf&8 != 0 && calls%3 == 0 {
				f.Abort()
			}
		},
		Data:      func(f *Flow, p []byte) { f.Reply(p[:min(len(p), f.Room())], calls%2 == 0) },
		AutoClose: conf&1 != 0,
	})
	require.NoError(z.t, err)
	require.NoError(z.t, z.r.Listen(wire.Addr{}, 80, app))
	z.last = wire.Segment{Tuple: syn(own4, peer4, 80).Tuple}
	for len(z.in) > 0 {
		op := z.next()
		if op == 0xff {
			z.settle(int64(z.next()) * int64(50*time.Millisecond))
			continue
		}
		frame := z.frame(op & 15)
		for range op >> 4 & 3 {
			frame[int(z.next())%len(frame)] ^= z.next()
		}
		if op&0x40 != 0 {
			fit(frame)
		}
		flags := z.next()
		meta := dataplane.Meta{VLAN: uint16(flags), Flags: dataplane.MetaFlags(flags) & (dataplane.MetaCsumGood | dataplane.MetaVLAN)}
		if flags >= 0xf0 {
			meta.Flags |= dataplane.MetaFlags(flags<<2) & (dataplane.MetaCsumBad | dataplane.MetaTruncated)
		}
		z.r.port.Inject(0, frame, meta)
		if z.n++; z.n == dataplane.BatchSize || op&0x80 != 0 {
			z.settle(1000)
		}
	}
	z.settle(1000)
	for range 40 { // the table forgets all but idle flows
		z.settle(int64(10 * time.Second))
	}
	s := z.r.snapshot()
	require.Zero(z.t, s.CallbackPanics)
	require.Zero(z.t, s.Engine.HalfOpen+s.Engine.Opening)
}

// settle runs a round and looks at what comes out.
func (z *burstFuzz) settle(ns int64) {
	z.n = 0
	for _, b := range z.r.step(z.t, ns) {
		var p wire.Packet
		require.Equal(z.t, wire.OK, wire.Parse(b, false, &p), "%x", b)
		require.Equal(z.t, z.r.hw, [6]byte(b[6:12]))
		if p.Kind != wire.KindTCP {
			continue
		}
		require.True(z.t, z.r.Net().Owns(p.Seg.Remote))
		p.Seg.Remote, p.Seg.Local = p.Seg.Local, p.Seg.Remote
		p.Seg.RemotePort, p.Seg.LocalPort = p.Seg.LocalPort, p.Seg.RemotePort
		z.last = p.Seg
	}
	require.LessOrEqual(z.t, len(z.r.texts.busy), z.r.cfg.Engine.MaxFlows)
}

// frame is a good frame of a kind; TCP answers what the worker said last.
func (z *burstFuzz) frame(kind byte) []byte {
	r, last := z.r, &z.last
	b := make([]byte, 256)
	l := wire.Link{Dst: r.hw, Src: peerHW}
	s := wire.Segment{Tuple: last.Tuple, Seq: last.Ack, Ack: last.Seq + wire.Seq(last.SegLen()), Flags: wire.FlagACK, Win: 1000}
	switch kind {
	case 0, 1: // a new flow, IPv4 or IPv6
		s = syn(own4, peer4, 80)
		if kind == 1 {
			s = syn(own6, peer6, 80)
		}
		s.RemotePort += uint16(z.next() & 7)
		s.Opt.Has, s.Opt.MSS, s.Opt.TSVal = wire.HasMSS|wire.HasTimestamps, 1460, 1
		if s.RemotePort&1 != 0 {
			s.Opt.Has = 0
		}
	case 2:
		s.Flags |= wire.FlagPSH
	case 3:
		s.Flags |= wire.FlagFIN
	case 4:
		s.Flags = wire.FlagRST
	case 5:
		return arpFrame(1+uint16(z.next()&1), r.hw, peer4, own4)
	case 6:
		n := wire.PutNeighborSolicit(b, &l, peer6, own6, own6)
		return b[:n]
	case 7: // an echo request
		n := wire.PutLink(b, &l, wire.EtherTypeIPv4)
		copy(b[n:], []byte{0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2, 8, 0, 0, 0, 1, 2, 3, 4})
		fit(b[:n+36])
		return b[:n+36]
	case 8: // an error about what was said last
		said := wire.Segment{Tuple: last.Tuple, Seq: last.Seq, Ack: last.Ack, Flags: last.Flags}
		q := make([]byte, 128)
		n := wire.PutTCP(q[wire.EthernetLen:], &said, nil)
		if !said.Local.Is4() || n == 0 {
			return arpFrame(1, r.hw, peer4, own4)
		}
		return unreachable(r.hw, q[:wire.EthernetLen+wire.IPv4Len+8])
	case 9:
		l.VLAN = uint16(z.next()) + 1
	case 10: // no frame of any kind
		b = b[:1+int(z.next())]
		for i := range b {
			b[i] = byte(i) * z.next()
		}
		return b
	case 11:
		s.Flags = wire.FlagSYN | wire.FlagACK
	case 12:
		s.Seq += wire.Seq(int8(z.next()))
		s.Ack += wire.Seq(int8(z.next()))
	case 13:
		l.Dst = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	case 14:
		s.Local = peer4
	default:
		s.Flags = wire.Flags(z.next())
	}
	if last.Opt.Has&wire.HasTimestamps != 0 && s.Flags&wire.FlagSYN == 0 {
		s.Opt.Has, s.Opt.TSVal, s.Opt.TSEcr = wire.HasTimestamps, last.Opt.TSEcr, last.Opt.TSVal
	}
	s.Remote, s.Local = s.Local, s.Remote
	s.RemotePort, s.LocalPort = s.LocalPort, s.RemotePort
	var text []byte
	if s.Flags&wire.FlagPSH != 0 {
		text = []byte("GET / HTTP/1.0\r\n\r\n")
	}
	n := wire.PutLink(b, &l, s.Local.EtherType())
	return b[:n+wire.PutTCP(b[n:], &s, text)]
}

// fit makes the checksums of an IPv4 or IPv6 frame right, if it has the length.
func fit(b []byte) {
	if len(b) < wire.EthernetLen+wire.IPv6Len+wire.TCPLen {
		return
	}
	ip := b[wire.EthernetLen:]
	var src, dst wire.Addr
	n, proto := wire.IPv6Len, ip[6]
	if ip[0]>>4 == 4 {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], wire.Checksum(ip[:wire.IPv4Len], 0))
		n, proto = wire.IPv4Len, ip[9]
		src, dst = wire.Addr4(binary.BigEndian.Uint32(ip[12:])), wire.Addr4(binary.BigEndian.Uint32(ip[16:]))
	} else {
		src, dst = wire.Addr16((*[16]byte)(ip[8:])), wire.Addr16((*[16]byte)(ip[24:]))
	}
	l4, at := ip[n:], 16
	sum := wire.PseudoSum(src, dst, proto, uint32(len(l4)))
	switch proto {
	case wire.ProtoICMP:
		at, sum = 2, 0
	case wire.ProtoICMPv6:
		at = 2
	}
	l4[at], l4[at+1] = 0, 0
	binary.BigEndian.PutUint16(l4[at:], wire.Checksum(l4, sum))
}
