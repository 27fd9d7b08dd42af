package worker

import (
	"net/netip"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// share is what a Raw needs that does not have the queue for itself.
type share struct {
	base, mask wire.Addr // of the addresses that are its own
	segs       []*wire.Segment
}

func newShare(p netip.Prefix) *share {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	base := wire.AddrFrom(p.Addr())
	mask := wire.Addr{Hi: ^uint64(0) << max(0, 64-bits), Lo: ^uint64(0) << min(64, 128-bits)}
	base.Hi &= mask.Hi
	base.Lo &= mask.Lo
	return &share{base: base, mask: mask, segs: make([]*wire.Segment, dataplane.BatchSize)}
}

func (s *share) has(a wire.Addr) bool {
	return a.Hi&s.mask.Hi == s.base.Hi && a.Lo&s.mask.Lo == s.base.Lo
}

// isRaw reports whether segments to our address a are for Raw.
func (w *Worker) isRaw(a wire.Addr) bool {
	return w.cfg.Raw != nil && (w.share == nil || w.share.has(a))
}

// receiveRaw gives Raw its part of the k segments of a burst, and returns how many are left for
// the engine, at the beginning of w.segs.
func (w *Worker) receiveRaw(k int) (left int) {
	s := w.share
	if s == nil {
		if k > 0 {
			w.cfg.Raw.Receive(w.now, w.segs[:k])
		}
		return 0
	}
	n := 0
	for i, seg := range w.segs[:k] {
		if s.has(seg.Local) {
			s.segs[n] = seg
			n++
			continue
		}
		w.segs[left], w.at[left] = seg, w.at[i]
		left++
	}
	if n > 0 {
		w.cfg.Raw.Receive(w.now, s.segs[:n])
	}
	return left
}

// raw lends blank frames to the raw sender, and returns how many it sent.
func (w *Worker) raw() (sent int, next int64) {
	n, next := w.cfg.Raw.Want(w.now)
	for n > 0 {
		k := w.queue.Blank(w.tx, min(n, dataplane.BatchSize))
		if k == 0 {
			return sent, w.now
		}
		w.cfg.Raw.Send(w.now, w.tx)
		sent += w.queue.Settle(w.tx)
		n -= k
	}
	return sent, next
}
