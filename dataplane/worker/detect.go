package worker

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// ErrAddressInUse is wrapped by what Detect returns when another host has an address of ours.
var ErrAddressInUse = errors.New("address in use by another host on the link")

// detectPoll is how long Detect sleeps between looks at queues that cannot sleep.
const detectPoll = 100 * time.Microsecond

// Detect asks the link whether another host has an address of the endpoint, and
// waits for an objection: duplicate address detection with one probe (RFC 4862
// §5.4), for IPv4 by an ARP probe (RFC 5227 §2.1). The addresses are not used
// meanwhile: whatever else is received is dropped and counted. Pools are not asked for.
//
// ws are all workers of a port, which must not run yet: Detect uses their queues.
func Detect(ws []*Worker, wait time.Duration) error {
	w := ws[0]
	w.now = w.cfg.Clock()
	until := w.now + int64(wait)
	w.listen(wire.MLDToExclude)
	for _, a := range w.cfg.Net.first {
		w.probe(a)
	}
	w.asked = true
	for {
		busy := false
		for _, q := range ws {
			n, err := q.objections()
			if err != nil {
				return err
			}
			busy = busy || n > 0
		}
		left := until - w.cfg.Clock()
		switch {
		case left <= 0:
			return nil
		case busy:
		case w.caps.Blocking:
			w.queue.Wait(time.Duration(min(left, maxSleep)))
		default:
			time.Sleep(detectPoll)
		}
	}
}

// probe asks who has a, without saying that we do.
func (w *Worker) probe(a wire.Addr) {
	mac := w.cfg.Net.MAC
	w.control(func(b []byte) int {
		if a.Is4() {
			l := wire.Link{Dst: broadcastMAC, Src: mac}
			return wire.PutARP(b, &l, wire.ARPRequest, mac, wire.Addr4(0), [6]byte{}, a)
		}
		dst := wire.SolicitedNode(a)
		l := wire.Link{Dst: wire.MulticastMAC(dst), Src: mac}
		return wire.PutNeighborSolicit(b, &l, wire.Addr{}, dst, a)
	})
}

// objections receives a burst of n frames, and fails by the first claim of another
// host to an address of ours.
func (w *Worker) objections() (n int, err error) {
	if err := w.queue.Err(); err != nil {
		return 0, fmt.Errorf("worker %d: %w", w.cfg.ID, err)
	}
	n = w.queue.Rx(w.rx)
	for i, frame := range w.rx.Data[:n] {
		p := &w.pk[i]
		w.ctr.frames++
		if r := wire.Parse(frame, false, p); r != wire.OK {
			w.ctr.parse[r]++
			continue
		}
		w.ctr.rx[dropTentative]++
		if a, mac, ok := claim(frame, p); ok && mac != w.cfg.Net.MAC && w.cfg.Net.Owns(a) && err == nil {
			err = fmt.Errorf("worker: %v: %w: %v has it; give it up there, or choose another address",
				a, ErrAddressInUse, net.HardwareAddr(mac[:]))
		}
	}
	if n > 0 {
		w.queue.Settle(w.rx)
	}
	return n, err
}

// claim returns the address that the sender of a frame has, or is about to take,
// and by which MAC address.
func claim(frame []byte, p *wire.Packet) (a wire.Addr, mac [6]byte, ok bool) {
	if p.Kind == wire.KindARP {
		m, ok := wire.ParseARP(frame[p.L3:])
		if !ok {
			return a, mac, false
		}
		if m.Sender().IsZero() && m.Op() == wire.ARPRequest { // a probe, like ours
			return m.Target(), m.SenderMAC(), true
		}
		return m.Sender(), m.SenderMAC(), true
	}
	mac = [6]byte(frame[6:12])
	if m, ok := wire.ParseNeighborAdvert(frame, p); ok {
		if opt, ok := m.LinkAddr(); ok {
			mac = opt
		}
		return m.Target(), mac, true
	}
	if m, ok := wire.ParseNeighborSolicit(frame, p); ok && p.Seg.Remote.IsZero() {
		return m.Target(), mac, true
	}
	return a, mac, false
}
