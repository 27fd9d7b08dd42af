package worker

import (
	"encoding/binary"
	"slices"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var (
	broadcastMAC = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodes     = wire.Addr{Hi: 0xff02 << 48, Lo: 1} // ff02::1
)

// controlFrame handles ARP and ICMP frames; frame i of w.rx may become its reply.
func (w *Worker) controlFrame(i int, frame []byte, p *wire.Packet) {
	why := numRxDrops
	switch p.Kind {
	case wire.KindARP:
		if !w.arp(i, frame, p) {
			why = dropARP
		}
	case wire.KindICMP4, wire.KindICMP6:
		why = w.icmp(i, frame, p)
	default:
		why = dropICMP
	}
	if why == numRxDrops {
		w.ctr.control++
	} else {
		w.ctr.rx[why]++
	}
}

func (w *Worker) link(dst [6]byte, p *wire.Packet) wire.Link {
	l := wire.Link{Dst: dst, Src: w.cfg.Net.MAC}
	if p.Tagged {
		l.VLAN = w.cfg.Net.tci(p.VLAN)
	}
	return l
}

func (w *Worker) reply(i int, frame []byte, n int) {
	if n > 0 {
		w.rx.Data[i] = frame[:n]
		w.rx.Verdict[i] = dataplane.Reply
	}
}

// arp is RFC 826 for our addresses (NET-001).
func (w *Worker) arp(i int, frame []byte, p *wire.Packet) bool {
	a, ok := wire.ParseARP(frame[p.L3:])
	if !ok {
		return false
	}
	net, sender, mac := w.cfg.Net, a.Sender(), a.SenderMAC()
	if net.Owns(sender) && !sender.IsZero() {
		if mac != net.MAC {
			w.log.Warn("address conflict: another host answers ARP for our address", "addr", sender, "mac", mac)
		}
		return false
	}
	switch a.Op() {
	case wire.ARPRequest:
		if !net.Owns(a.Target()) {
			// Gratuitous: only a known entry is updated.
			return sender == a.Target() && net.Neighbors.learn(sender, mac, false, w.now)
		}
		if !sender.IsZero() { // not a probe
			net.Neighbors.learn(sender, mac, net.onLink(sender), w.now)
		}
		l, target := w.link(mac, p), a.Target()
		b := frame[:cap(frame)]
		w.reply(i, b, wire.PutARP(b, &l, wire.ARPReply, net.MAC, target, mac, sender))
		return true
	case wire.ARPReply:
		return net.Neighbors.learn(sender, mac, false, w.now)
	}
	return false
}

// icmp answers echo and neighbour solicitations and takes errors.
func (w *Worker) icmp(i int, frame []byte, p *wire.Packet) drop {
	net := w.cfg.Net
	if p.Kind == wire.KindICMP6 {
		switch frame[p.L4] {
		case wire.ICMPv6NeighborSolicit:
			if w.solicit(i, frame, p) {
				return numRxDrops
			}
			return dropNDP
		case wire.ICMPv6NeighborAdvert:
			if w.advert(frame, p) {
				return numRxDrops
			}
			return dropNDP
		case wire.ICMPv6ListenerQuery:
			if group, ok := wire.ParseListenerQuery(frame, p); ok && (group.IsZero() || slices.Contains(net.groups, group)) {
				net.queried.Store(true) // answered within the second
				return numRxDrops
			}
			return dropNDP
		}
	}
	if !net.Owns(p.Seg.Local) || [6]byte(frame[:6]) != net.MAC {
		return dropForeignIP
	}
	if q, ok := wire.QuotedTCP(frame, p); ok {
		if !w.isRaw(q.Local) && net.Owns(q.Local) && w.engine.ICMPError(&q) {
			return numRxDrops
		}
		return dropICMP
	}
	if typ := frame[p.L4]; typ != wire.ICMPEcho && typ != wire.ICMPv6Echo {
		return dropICMP
	}
	if !w.echo.take(w.now) { // NET-012
		return dropICMPMax
	}
	b, ok := wire.EchoReply(frame, p)
	if !ok {
		return dropICMP
	}
	if p.Tagged { // in band, or for the driver to put back
		if p.L3 != wire.EthernetLen {
			binary.BigEndian.PutUint16(b[14:], net.tci(p.VLAN))
		} else {
			w.rx.Meta[i].VLAN = net.tci(p.VLAN)
		}
	}
	w.rx.Data[i], w.rx.Verdict[i] = b, dataplane.Reply
	return numRxDrops
}

// solicit answers a neighbour solicitation for an address of ours (NET-007).
func (w *Worker) solicit(i int, frame []byte, p *wire.Packet) bool {
	m, ok := wire.ParseNeighborSolicit(frame, p)
	net := w.cfg.Net
	if !ok || !net.Owns(m.Target()) {
		return false
	}
	src, target := p.Seg.Remote, m.Target()
	mac := [6]byte(frame[6:12])
	if src.IsZero() { // somebody's DAD for our address: tell everybody it is taken
		dst := allNodes
		l := w.link(wire.MulticastMAC(dst), p)
		b := frame[:cap(frame)]
		w.reply(i, b, wire.PutNeighborAdvert(b, &l, target, dst, target, wire.NDPOverride))
		return true
	}
	if opt, ok := m.LinkAddr(); ok {
		net.Neighbors.learn(src, opt, net.onLink(src), w.now)
		mac = opt
	}
	l := w.link(mac, p)
	b := frame[:cap(frame)]
	w.reply(i, b, wire.PutNeighborAdvert(b, &l, target, src, target, wire.NDPSolicited|wire.NDPOverride))
	return true
}

func (w *Worker) advert(frame []byte, p *wire.Packet) bool {
	m, ok := wire.ParseNeighborAdvert(frame, p)
	if !ok {
		return false
	}
	if w.cfg.Net.Owns(m.Target()) {
		if [6]byte(frame[6:12]) != w.cfg.Net.MAC {
			w.log.Warn("address conflict: another host advertises our address", "addr", m.Target())
		}
		return false
	}
	mac, ok := m.LinkAddr()
	if !ok {
		mac = [6]byte(frame[6:12])
	}
	return w.cfg.Net.Neighbors.learn(m.Target(), mac, false, w.now)
}

// announce tells the link about our addresses: gratuitous ARP (RFC 5227 §2.3) and, for
// IPv6, an unsolicited advertisement. With ask another host may have them, and is asked
// too; what is there already is then not overridden (RFC 4429 §3.1: optimistic).
func (w *Worker) announce(ask bool) {
	flags := uint8(wire.NDPOverride)
	if ask {
		flags = 0
	}
	net := w.cfg.Net
	w.listen(wire.MLDToExclude)
	for _, a := range net.first {
		if ask && !a.Is4() {
			w.probe(a)
		}
		w.control(func(b []byte) int {
			if a.Is4() {
				l := wire.Link{Dst: broadcastMAC, Src: net.MAC}
				return wire.PutARP(b, &l, wire.ARPRequest, net.MAC, a, [6]byte{}, a)
			}
			l := wire.Link{Dst: wire.MulticastMAC(allNodes), Src: net.MAC}
			return wire.PutNeighborAdvert(b, &l, a, allNodes, a, flags)
		})
	}
}

// listen tells switches and routers which groups we listen to (RFC 3810 §5.2;
// RFC 4862 §5.4.2 wants it before the first probe).
func (w *Worker) listen(record uint8) {
	net := w.cfg.Net
	var src wire.Addr
	for _, a := range net.first {
		if a.Hi>>54 == 0xfe80>>6 {
			src = a
		}
	}
	for groups := range slices.Chunk(net.groups, wire.MaxMLDGroups) {
		w.control(func(b []byte) int {
			l := wire.Link{Dst: wire.MulticastMAC(wire.MLDRouters), Src: net.MAC}
			return wire.PutMLDReport(b, &l, src, record, groups)
		})
	}
}

// followLink starts over with the neighbours when the link has come up.
func (w *Worker) followLink() {
	if w.linkCtr == nil {
		return
	}
	if ups := w.linkCtr.LinkUps(); ups != w.linkUps {
		w.linkUps = ups
		w.announce(true)
		w.cfg.Net.Neighbors.suspect(w.now)
	}
}

// refresh sends one request for a neighbour.
func (w *Worker) refresh(r refreshing) {
	net := w.cfg.Net
	src, ok := net.Source(r.addr)
	if !ok {
		return
	}
	w.control(func(b []byte) int {
		l := wire.Link{Dst: broadcastMAC, Src: net.MAC}
		if r.unicast {
			l.Dst = r.mac
		}
		if r.addr.Is4() {
			return wire.PutARP(b, &l, wire.ARPRequest, net.MAC, src, [6]byte{}, r.addr)
		}
		dst := r.addr
		if !r.unicast {
			dst = wire.SolicitedNode(r.addr)
			l.Dst = wire.MulticastMAC(dst)
		}
		return wire.PutNeighborSolicit(b, &l, src, dst, r.addr)
	})
}

// control sends one frame that put writes; without a free frame it is not sent,
// and whoever wanted it asks again.
func (w *Worker) control(put func(b []byte) int) {
	if w.queue.Blank(w.tx, 1) == 0 {
		return
	}
	b := w.tx.Data[0]
	b = b[:cap(b)]
	if n := put(b); n > 0 {
		w.tx.Data[0], w.tx.Verdict[0] = b[:n], dataplane.Reply
	}
	w.queue.Settle(w.tx)
}
