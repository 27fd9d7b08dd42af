package handshake

import (
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// tooBig refuses a frame that is longer than the path takes and says so, if that
// report is not lost in turn.
func (w *simWorld) tooBig(from *simNode, b []byte) bool {
	mtu, kind := w.c.pathMTU, 4
	if b[12] != wire.EtherTypeIPv4>>8 {
		mtu, kind = max(mtu, minPathMTU6), 3
	}
	if w.c.pathMTU == 0 || len(b)-wire.EthernetLen <= mtu {
		return false
	}
	w.ctr.TooBig++
	if !w.chance(w.c.loss) {
		w.deliver(from, simFrame{b: w.putICMPError(from, b[wire.EthernetLen:], kind, mtu)})
	}
	return true
}

// routeECN is what routers do to ECN: they mark, and of some flows they clear the
// field, mark what must not be, or clear the flags of SYNs.
func (w *simWorld) routeECN(b []byte) {
	l4 := tcpAt(b)
	if l4 == 0 {
		return
	}
	ports := binary.BigEndian.Uint32(b[l4:])
	how := uint8(ports>>16^ports) >> 1 & 3
	if !w.c.bleach {
		how = 0
	}
	ecn, shift := b[15]&ecnMask, 0
	if b[12] != wire.EtherTypeIPv4>>8 {
		ecn, shift = b[15]>>4&ecnMask, 4
	}
	to := ecn
	switch {
	case how == 1:
		to = 0
	case how == 2:
		to = ect0
	case how == 3 && b[l4+13]&byte(wire.FlagSYN) != 0:
		b[l4+13] &^= byte(ecnAsk)
		refit(b, l4)
		w.ctr.Bleached++
	case ecn != 0 && w.chance(w.c.congested):
		to = ce
		w.ctr.Marked++
	}
	if to == ecn {
		return
	}
	if how != 0 {
		w.ctr.Bleached++
	}
	b[15] = b[15]&^(ecnMask<<shift) | to<<shift
	if shift == 0 {
		b[24], b[25] = 0, 0
		binary.BigEndian.PutUint16(b[24:], wire.Checksum(b[wire.EthernetLen:l4], 0))
	}
}

// checkECN holds what was negotiated to what the sides are set to (ECN-001..004).
func (d *simNode) checkECN(ev *Event, info *Info) {
	c := &d.w.c
	asks, other := c.ecn[min(d.id, 1)], c.ecn[1-min(d.id, 1)]
	if !ev.Active {
		asks, other = other, asks
	}
	able := asks == ECNOn && other != ECNOff
	if info.ECN {
		d.w.ctr.ECN++
	}
	sure := c.clean() && !c.bleach && c.pathMTU == 0 && c.engine.Cookies == CookiesNever && !info.Retrans
	if info.ECN && !able || sure && able != info.ECN {
		d.wit.fail("ECN is %v between %v and %v: %+v", info.ECN, asks, other, *info)
	}
}
