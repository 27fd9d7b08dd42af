package loop

import (
	"sync/atomic"

	"github.com/fastsyn/fastsyn/dataplane"
)

// published are the counters of a queue as other goroutines see them. One
// goroutine writes, so it may skip what did not change.
type published struct {
	rxFrames, rxBytes, txFrames, txBytes, txFull, txErrors, noBlank atomic.Uint64
	last                                                            dataplane.Stats // the writer's
}

func (p *published) store(s *dataplane.Stats) {
	if s.RxFrames != p.last.RxFrames {
		p.rxFrames.Store(s.RxFrames)
		p.rxBytes.Store(s.RxBytes)
	}
	if s.TxFrames != p.last.TxFrames {
		p.txFrames.Store(s.TxFrames)
		p.txBytes.Store(s.TxBytes)
	}
	if s.TxFull != p.last.TxFull {
		p.txFull.Store(s.TxFull)
	}
	if s.TxErrors != p.last.TxErrors {
		p.txErrors.Store(s.TxErrors)
	}
	if s.NoBlank != p.last.NoBlank {
		p.noBlank.Store(s.NoBlank)
	}
	p.last = *s
}

func (p *published) load() dataplane.Stats {
	return dataplane.Stats{
		RxFrames: p.rxFrames.Load(),
		RxBytes:  p.rxBytes.Load(),
		TxFrames: p.txFrames.Load(),
		TxBytes:  p.txBytes.Load(),
		TxFull:   p.txFull.Load(),
		TxErrors: p.txErrors.Load(),
		NoBlank:  p.noBlank.Load(),
	}
}
