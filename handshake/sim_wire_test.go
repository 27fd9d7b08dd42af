package handshake

import (
	"bytes"
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// carry takes a frame from a node to another, or loses, copies, delays, damages
// or rewrites it on the way.
func (w *simWorld) carry(from, to *simNode, f simFrame) {
	w.ctr.Frames++
	if w.c.strip && w.rng.IntN(2) == 0 {
		w.stripOptions(f.b)
	}
	if from != nil && w.tooBig(from, f.b) {
		w.free(f.b)
		return
	}
	if w.c.bleach || w.c.congested > 0 {
		w.routeECN(f.b)
	}
	copies := 1
	if w.chance(w.c.dup) {
		copies = 2
		w.ctr.Copies++
	}
	for i := range copies {
		if w.chance(w.c.loss) {
			w.ctr.Lost++
			if from != nil && w.chance(w.c.icmp) {
				w.icmpError(from, f.b)
			}
			if i == copies-1 {
				w.free(f.b)
			}
			continue
		}
		g := f
		if i < copies-1 {
			g.b = append(w.blank()[:0], f.b...)
		}
		switch {
		case w.chance(w.c.corrupt):
			w.damage(&g)
		case w.chance(w.c.rewrite):
			w.rewrite(&g)
		}
		w.deliver(to, g)
	}
}

func (w *simWorld) deliver(to *simNode, f simFrame) {
	delay := 1
	if w.c.maxDelay > 1 {
		delay += w.rng.IntN(w.c.maxDelay)
	}
	if w.chance(w.c.late) {
		delay += w.rng.IntN(simMaxLate)
	}
	at := (w.now/1e6 + int64(delay)) % simWheel
	to.wheel[at] = append(to.wheel[at], f)
	to.flying++
}

func (w *simWorld) blank() []byte {
	if n := len(w.spare); n > 0 {
		b := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return b
	}
	return make([]byte, 2048)
}

func (w *simWorld) free(b []byte) {
	if cap(b) == 2048 {
		w.spare = append(w.spare, b[:2048])
	}
}

// damage changes one byte of a frame, or its length. No checksum can miss one
// byte; what it does not cover must not matter.
func (w *simWorld) damage(f *simFrame) {
	w.ctr.Damaged++
	f.original = append(w.blank()[:0], f.b...)
	switch w.rng.IntN(8) {
	case 0:
		f.b = f.b[:w.rng.IntN(len(f.b))]
	case 1: // padding, as Ethernet adds it
		f.b = f.b[:len(f.b)+1+w.rng.IntN(40)]
	default:
		f.b[w.rng.IntN(len(f.b))] ^= byte(1 + w.rng.IntN(255))
	}
}

// rewrite is a middlebox that changes a byte of TCP and corrects the checksum.
func (w *simWorld) rewrite(f *simFrame) {
	l4 := tcpAt(f.b)
	if l4 == 0 {
		return
	}
	w.ctr.Rewritten++
	f.original = append(w.blank()[:0], f.b...)
	f.b[l4+w.rng.IntN(len(f.b)-l4)] ^= byte(1 + w.rng.IntN(255))
	refit(f.b, l4)
}

// tcpAt is where the TCP header of a frame of ours begins, 0 if there is none.
func tcpAt(b []byte) int {
	if b[12] == wire.EtherTypeIPv4>>8 {
		if b[23] != wire.ProtoTCP {
			return 0
		}
		return wire.EthernetLen + wire.IPv4Len
	}
	if b[20] != wire.ProtoTCP {
		return 0
	}
	return wire.EthernetLen + wire.IPv6Len
}

// refit makes the TCP checksum of a frame right again.
func refit(b []byte, l4 int) {
	t := b[l4:]
	t[16], t[17] = 0, 0
	src, dst := addrsOf(b)
	binary.BigEndian.PutUint16(t[16:], wire.Checksum(t, wire.PseudoSum(src, dst, wire.ProtoTCP, uint32(len(t)))))
}

func addrsOf(b []byte) (src, dst wire.Addr) {
	ip := b[wire.EthernetLen:]
	if ip[0]>>4 == 4 {
		return wire.Addr4(binary.BigEndian.Uint32(ip[12:])), wire.Addr4(binary.BigEndian.Uint32(ip[16:]))
	}
	return wire.Addr16((*[16]byte)(ip[8:])), wire.Addr16((*[16]byte)(ip[24:]))
}

// stripOptions is a middlebox that overwrites options of SYNs and SYN-ACKs by NOPs
// and clamps the MSS. Which, depends on the flow, so that copies fare alike.
func (w *simWorld) stripOptions(b []byte) {
	l4 := tcpAt(b)
	if l4 == 0 || b[l4+13]&byte(wire.FlagSYN) == 0 {
		return
	}
	t := b[l4:]
	ports := binary.BigEndian.Uint32(t)
	which := uint8(ports>>16^ports) * 37
	opts := t[wire.TCPLen : t[12]>>4*4]
	for len(opts) > 0 {
		kind, n := opts[0], 1
		if kind > 1 {
			n = int(opts[1])
		}
		gone := kind == wire.OptMSS && which&3 == 3
		switch kind {
		case wire.OptMSS:
			if which&1 != 0 && !gone {
				binary.BigEndian.PutUint16(opts[2:], min(binary.BigEndian.Uint16(opts[2:]), 1000))
			}
		case wire.OptWScale:
			gone = which&4 != 0
		case wire.OptSACKPermitted:
			gone = which&8 != 0
		case wire.OptTimestamps:
			gone = which&16 != 0
		}
		if gone {
			for i := range n {
				opts[i] = wire.OptNOP
			}
		}
		opts = opts[n:]
	}
	w.ctr.Stripped++
	refit(b, l4)
}

// judge compares a frame that was changed on the way, and accepted, with what was
// sent. If it means something else, no promise holds for the flows concerned.
func (w *simWorld) judge(f *simFrame, got *wire.Packet) {
	was := &w.pkt
	if bad := wire.Parse(f.original, false, was); bad != wire.OK {
		w.tb.Fatalf("the original is bad: %v", bad)
	}
	a, b := was.Seg, got.Seg
	a.TOS, b.TOS = 0, 0 // not under the checksum of IPv6
	if was.Kind == got.Kind && a == b && bytes.Equal(f.original[was.L4:was.End], f.b[got.L4:got.End]) {
		return
	}
	w.ctr.Misread++
	w.taint(a.Tuple)
	w.taint(b.Tuple)
}

// icmpError is what a router sends that cannot deliver b.
func (w *simWorld) icmpError(to *simNode, b []byte) {
	if tcpAt(b) == 0 {
		return
	}
	w.ctr.ICMP++
	w.deliver(to, simFrame{b: w.putICMPError(to, b[wire.EthernetLen:], w.rng.IntN(16), 1280)})
}

// putICMPError quotes the packet ip, v4 or v6, in an error of a kind.
func (w *simWorld) putICMPError(to *simNode, ip []byte, kind, mtu int) []byte {
	v4 := []struct{ typ, code byte }{{3, 0}, {3, 1}, {3, 3}, {3, 2}, {3, 4}, {11, 0}, {12, 0}, {4, 0}}
	v6 := []struct{ typ, code byte }{{1, 0}, {1, 3}, {1, 4}, {2, 0}, {3, 0}, {4, 0}, {1, 1}, {1, 5}}
	f := w.blank()
	copy(f, to.mac[:])
	copy(f[6:], []byte{2, 0, 0, 0, 0, 0xff})
	m, e := 0, v4[kind%len(v4)]
	quote := min(len(ip), wire.IPv4Len+8)
	if ip[0]>>4 == 4 {
		binary.BigEndian.PutUint16(f[12:], wire.EtherTypeIPv4)
		h := f[wire.EthernetLen:]
		m = wire.EthernetLen + wire.IPv4Len
		clear(h[:wire.IPv4Len])
		h[0], h[8], h[9] = 0x45, 64, wire.ProtoICMP
		binary.BigEndian.PutUint16(h[2:], uint16(wire.IPv4Len+wire.ICMPLen+quote))
		copy(h[12:], []byte{198, 51, 100, 1}) // a router
		copy(h[16:20], ip[12:16])
		binary.BigEndian.PutUint16(h[10:], wire.Checksum(h[:wire.IPv4Len], 0))
	} else {
		e = v6[kind%len(v6)]
		quote = min(len(ip), wire.IPv6Len+20)
		binary.BigEndian.PutUint16(f[12:], wire.EtherTypeIPv6)
		h := f[wire.EthernetLen:]
		m = wire.EthernetLen + wire.IPv6Len
		clear(h[:wire.IPv6Len])
		h[0], h[6], h[7] = 0x60, wire.ProtoICMPv6, 64
		binary.BigEndian.PutUint16(h[4:], uint16(wire.ICMPLen+quote))
		copy(h[8:], []byte{0x20, 1, 0xd, 0xb8, 15: 0xfe})
		copy(h[24:40], ip[8:24])
	}
	icmp := f[m : m+wire.ICMPLen+quote]
	clear(icmp[:wire.ICMPLen])
	icmp[0], icmp[1] = e.typ, e.code
	binary.BigEndian.PutUint16(icmp[6:], uint16(mtu))
	copy(icmp[wire.ICMPLen:], ip[:quote])
	f = f[:m+len(icmp)]
	sum := uint32(0)
	if ip[0]>>4 == 6 {
		src, dst := addrsOf(f)
		sum = wire.PseudoSum(src, dst, wire.ProtoICMPv6, uint32(len(icmp)))
	}
	binary.BigEndian.PutUint16(icmp[2:], wire.Checksum(icmp, sum))
	return f
}
