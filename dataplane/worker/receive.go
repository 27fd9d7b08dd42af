package worker

import (
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// receive handles the n frames in w.rx: parse all, let the engine decide all
// segments, run the callbacks while the frames still hold their text, then
// write the answers over them.
func (w *Worker) receive(n int) {
	w.ctr.frames += uint64(n)
	w.touch(n)
	k := 0
	for i := range n {
		meta, p := &w.rx.Meta[i], &w.pk[i]
		if meta.Flags&(dataplane.MetaCsumBad|dataplane.MetaTruncated) != 0 {
			if meta.Flags&dataplane.MetaCsumBad != 0 {
				w.ctr.rx[dropDeviceChecksum]++ // VAL-001
			} else {
				w.ctr.rx[dropTruncated]++
			}
			continue
		}
		frame := w.rx.Data[i]
		if r := wire.Parse(frame, meta.Flags&dataplane.MetaCsumGood != 0, p); r != wire.OK {
			w.ctr.parse[r]++
			continue
		}
		if meta.Flags&dataplane.MetaVLAN != 0 && !w.stripped(meta, p) {
			w.ctr.parse[wire.ReasonQinQ]++
			continue
		}
		if p.Kind != wire.KindTCP {
			w.controlFrame(i, frame, p)
			continue
		}
		if dstOf(frame) != w.mac {
			w.ctr.rx[dropForeignMAC]++ // VAL-016
			continue
		}
		if !w.cfg.Net.Owns(p.Seg.Local) {
			w.ctr.rx[dropForeignIP]++
			continue
		}
		if w.cfg.Net.badSource(p.Seg.Remote) {
			w.ctr.rx[dropBroadcastSource]++ // VAL-015
			continue
		}
		back := path{mac: srcOf(frame)}
		if p.Tagged {
			p.VLAN = w.cfg.Net.tci(p.VLAN)
			back.vlan = p.VLAN
		}
		p.Seg.Path = w.paths.handle(back)
		w.segs[k] = &p.Seg
		w.at[k] = uint8(i)
		k++
	}
	w.ctr.segments += uint64(k)
	if w.cfg.Raw != nil {
		k = w.receiveRaw(k)
	}
	if k == 0 {
		if len(w.engine.Events()) > 0 { // of an ICMP error
			w.deliver()
		}
		return
	}
	if w.tap != nil {
		w.tap.received(w, k)
	}
	w.engine.Handle(w.now, w.cfg.Ring.Load(), w.segs[:k], w.act)
	if w.tap != nil {
		w.tap.handled(w)
	}
	w.deliver()
	if w.tap != nil {
		w.tap.delivered(w)
	}
	for j := range k {
		if w.act[j] == handshake.Answer {
			w.answer(int(w.at[j]), w.segs[j])
		}
	}
	if w.streams != nil {
		w.answerStreams()
	}
}

// answer writes s over received frame i, back to where it came from.
func (w *Worker) answer(i int, s *wire.Segment) {
	frame, p := w.rx.Data[i], &w.pk[i]
	b := frame[:cap(frame)]
	back := path{mac: srcOf(frame)}
	if p.Tagged {
		back.vlan = p.VLAN
	}
	v4 := s.Local.Is4()
	n := back.put(b, w.mac, v4)
	m := 0
	if w.caps.TxCsum {
		m = wire.PutTCPOffload(b[n:], s, nil)
		w.rx.Meta[i].Flags |= dataplane.MetaTxCsum
	} else {
		m = wire.PutTCP(b[n:], s, nil)
	}
	if m == 0 {
		return // no reply room: a driver's fault; the verdict stays Drop
	}
	if w.shape != nil {
		w.mark(b[n:])
	}
	if !v4 {
		w.labels.put(b[n:], &s.Tuple)
	}
	if s.Flags&(wire.FlagSYN|wire.FlagRST) != 0 {
		w.ctr.unprovenIn += uint64(len(frame))
		w.ctr.unprovenOut += uint64(n + m)
	}
	w.rx.Data[i] = b[:n+m]
	w.rx.Verdict[i] = dataplane.Reply
}

// stripped takes a tag that the device removed as if it had come in band
// (NET-005). It reports false when another one is behind it.
func (w *Worker) stripped(meta *dataplane.Meta, p *wire.Packet) bool {
	switch {
	case p.L3 != wire.EthernetLen:
		return false
	case meta.VLAN&0xfff != 0:
		p.VLAN, p.Tagged = meta.VLAN, true
	default:
		meta.Flags &^= dataplane.MetaVLAN // a priority tag, which an answer does not have
	}
	return true
}

// touch loads the text of a burst, which is summed one frame after the other, so that the cache
// misses overlap: who wrote the frames may have been another core. Headers alone overlap anyway.
func (w *Worker) touch(n int) {
	x := byte(0)
	for _, b := range w.rx.Data[:n] {
		if len(b) > 256 {
			for ; len(b) > 64; b = b[64:] {
				x ^= b[0]
			}
		}
	}
	w.sink = x
}
