package worker

import (
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	maxPendingPerHop = 3 // NET-002
	maxPending       = 64
)

// pending is a segment that waits for the MAC address of its next hop.
type pending struct {
	hop wire.Addr
	out handshake.Out
}

// flush sends what the engine has queued, and returns how many frames went out.
func (w *Worker) flush() int {
	sent := 0
	if len(w.pending) > 0 {
		if v := w.cfg.Net.Neighbors.version.Load(); v != w.neighV || w.parked {
			w.neighV, w.parked = v, false
			sent += w.flushPending()
		}
	}
	for {
		out := w.engine.Output()
		if len(out) == 0 {
			return sent
		}
		n := w.queue.Blank(w.tx, min(len(out), dataplane.BatchSize))
		if n == 0 {
			return sent // no frames free: they stay queued
		}
		for i := range n {
			w.put(i, &out[i])
		}
		w.engine.Sent(n)
		sent += w.settle(w.tx)
	}
}

// put writes out into blank frame i, or parks it until its next hop is known.
func (w *Worker) put(i int, out *handshake.Out) {
	to, ok := w.paths.get(out.Seg.Path)
	if !ok {
		if to, ok = w.resolve(out); !ok {
			return
		}
	}
	w.encode(i, to, out)
}

func (w *Worker) encode(i int, to path, out *handshake.Out) {
	b := w.tx.Data[i]
	b = b[:cap(b)]
	var text []byte
	if out.Payload {
		if text = w.texts.tail(out.Flow.Index(), out.Text); text == nil {
			return // the flow ended since
		}
		text = text[:out.Seg.Len]
	}
	v4 := out.Seg.Local.Is4()
	n := to.put(b, w.mac, v4)
	m := 0
	if w.shape != nil {
		m = w.putShaped(b[n:], &out.Seg, text, &w.tx.Meta[i])
	} else if w.caps.TxCsum {
		m = wire.PutTCPOffload(b[n:], &out.Seg, text)
		w.tx.Meta[i].Flags |= dataplane.MetaTxCsum
	} else {
		m = wire.PutTCP(b[n:], &out.Seg, text)
	}
	if m == 0 {
		return
	}
	if !v4 {
		w.labels.put(b[n:], &out.Seg.Tuple)
	}
	if out.Seg.Flags&(wire.FlagSYN|wire.FlagACK) == wire.FlagSYN|wire.FlagACK {
		w.ctr.unprovenOut += uint64(n + m)
	}
	w.tx.Data[i], w.tx.Verdict[i] = b[:n+m], dataplane.Reply
}

// resolve finds the MAC address for out. When it is not known yet, out waits.
func (w *Worker) resolve(out *handshake.Out) (path, bool) {
	net := w.cfg.Net
	hop, ok := net.NextHop(out.Seg.Remote)
	if !ok {
		w.ctr.tx[txNoRoute]++
		return path{}, false
	}
	// Load generators send millions of SYNs to one next hop: remember the last.
	v := net.Neighbors.version.Load()
	if v == w.lastV && hop == w.lastHop {
		return path{mac: w.lastMAC}, true
	}
	if mac, ok := net.Neighbors.Lookup(hop); ok {
		w.lastV, w.lastHop, w.lastMAC = v, hop, bitsOf(mac)
		return path{mac: w.lastMAC}, true
	}
	n := 0
	for i := range w.pending {
		if w.pending[i].hop == hop {
			n++
		}
	}
	if n >= maxPendingPerHop || len(w.pending) >= maxPending {
		w.ctr.tx[txNeighborWait]++
		return path{}, false
	}
	w.pending = append(w.pending, pending{hop, *out})
	w.parked = w.parked || n == 0
	return path{}, false
}

// flushPending sends the segments whose next hop has become known, drops those
// whose next hop failed and has the others asked for.
func (w *Worker) flushPending() int {
	net := w.cfg.Net
	sent := 0
	keep := w.pending[:0]
	for _, p := range w.pending {
		if mac, ok := net.Neighbors.Lookup(p.hop); ok {
			if w.queue.Blank(w.tx, 1) == 0 {
				keep = append(keep, p)
				continue
			}
			w.encode(0, path{mac: bitsOf(mac)}, &p.out)
			sent += w.settle(w.tx)
			continue
		}
		switch net.Neighbors.want(p.hop, w.now) {
		case probeAsk:
			w.refresh(refreshing{addr: p.hop})
			keep = append(keep, p)
		case probeNone:
			keep = append(keep, p)
		case probeFailed:
			w.ctr.tx[txNeighborFailed]++
			w.engine.ICMP(p.out.Seg.Tuple, p.out.Seg.Seq, handshake.ICMPSoft) // host unreachable
		case probeFull:
			w.ctr.tx[txNeighborFull]++
		}
	}
	w.pending = keep
	if len(w.engine.Events()) > 0 {
		w.deliver()
	}
	return sent
}

// Resolve asks for the next hop of remote and reports whether it is known. A
// Source calls it until it is, before it opens flows in bulk.
func (w *Worker) Resolve(remote wire.Addr) (known, failed bool, err error) {
	net := w.cfg.Net
	hop, ok := net.NextHop(remote)
	if !ok {
		return false, false, ErrNoRoute
	}
	if _, ok := net.Neighbors.Lookup(hop); ok {
		return true, false, nil
	}
	switch net.Neighbors.want(hop, w.now) {
	case probeAsk:
		w.refresh(refreshing{addr: hop})
	case probeFailed, probeFull:
		return false, true, nil
	case probeNone:
	}
	return false, false, nil
}
