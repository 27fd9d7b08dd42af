package worker

import (
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
		l.VLAN = p.VLAN
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
	case 1:
		if !net.Owns(a.Target()) {
			// Gratuitous: only a known entry is updated.
			return sender == a.Target() && net.Neighbors.learn(sender, mac, false, w.now)
		}
		if !sender.IsZero() { // not a probe
			net.Neighbors.learn(sender, mac, net.onLink(sender), w.now)
		}
		l, target := w.link(mac, p), a.Target()
		b := frame[:cap(frame)]
		w.reply(i, b, wire.PutARP(b, &l, 2, net.MAC, target, mac, sender))
		return true
	case 2:
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
		}
	}
	if !net.Owns(p.Seg.Local) || [6]byte(frame[:6]) != net.MAC {
		return dropForeignIP
	}
	if q, ok := wire.QuotedTCP(frame, p); ok {
		if w.cfg.Raw == nil && net.Owns(q.Local) && w.engine.ICMPError(&q) {
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
// IPv6, a DAD probe and an unsolicited advertisement (RFC 4429: optimistic).
func (w *Worker) announce() {
	net := w.cfg.Net
	for _, a := range net.first {
		w.control(func(b []byte) int {
			if a.Is4() {
				l := wire.Link{Dst: broadcastMAC, Src: net.MAC}
				return wire.PutARP(b, &l, 1, net.MAC, a, [6]byte{}, a)
			}
			dst := wire.SolicitedNode(a)
			l := wire.Link{Dst: wire.MulticastMAC(dst), Src: net.MAC}
			return wire.PutNeighborSolicit(b, &l, wire.Addr{}, dst, a)
		})
		if !a.Is4() {
			w.control(func(b []byte) int {
				l := wire.Link{Dst: wire.MulticastMAC(allNodes), Src: net.MAC}
				return wire.PutNeighborAdvert(b, &l, a, allNodes, a, wire.NDPOverride)
			})
		}
	}
}

// followLink starts over with the neighbours when the link has come up.
func (w *Worker) followLink() {
	if w.linkCtr == nil {
		return
	}
	if ups := w.linkCtr.LinkUps(); ups != w.linkUps {
		w.linkUps = ups
		w.announce()
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
			return wire.PutARP(b, &l, 1, net.MAC, src, [6]byte{}, r.addr)
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
