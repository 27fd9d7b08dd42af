//go:build dpdk && cgo && linux

package dpdk

/*
#include "ethdev.h"
*/
import "C"

import (
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane"
)

// Stats returns the counters of queue i as last published. RxMissed is what the
// device lost for all queues together (imissed, and receive buffers it could not get), of which it
// knows no more; queue 0 bears it. It lags by up to 100 ms. TxErrors are inside TxFrames.
func (p *Port) Stats(i int) dataplane.Stats {
	c := &p.queues[i].pub
	s := dataplane.Stats{
		RxFrames: c.rxFrames.Load(), RxBytes: c.rxBytes.Load(), TxFrames: c.txFrames.Load(), TxBytes: c.txBytes.Load(),
		TxFull: c.txFull.Load(), TxErrors: c.txErrors.Load(), NoBlank: c.noBlank.Load(), RxMissed: c.oversize.Load(),
	}
	if i == 0 {
		s.RxMissed += p.missed.Load() + p.noMbuf.Load()
	}
	if p.steerer != nil {
		s.RxMissed += p.steerer.lanes[i].pub.full.Load()
	}
	return s
}

// Drops implements dataplane.DropReporter: what RxMissed is made of, and the
// errors that the device counts for itself.
func (p *Port) Drops(i int) map[string]uint64 {
	m := map[string]uint64{"dpdk_rx_oversize": p.queues[i].pub.oversize.Load()}
	if i == 0 {
		m["dpdk_rx_missed"] = p.missed.Load()
		m["dpdk_rx_no_mbuf"] = p.noMbuf.Load()
		m["dpdk_rx_errors"] = p.rxErrors.Load()
		m["dpdk_tx_errors"] = p.txErrors.Load()
	}
	if p.steerer != nil {
		m["dpdk_steer_full"] = p.steerer.lanes[i].pub.full.Load()
	}
	return m
}

// Counters implements dataplane.CounterReporter: the extended statistics of the
// device that are not zero, since it was opened, and our own about it:
//
//	rss_checked      segments whose queue was compared with the predicted one
//	wrong_queue      of these, how many a device with RSS put onto another
//	rss_hash_differs segments with another hash than the device says
//	steered          frames moved to the queue they belong to
//	rx_copied        frames of several buffers, copied into one
//	link_up          1 or 0
//	restarts         connections that a memif client made after the first attempt
//	mbufs, mbufs_free  frames, and those at home
func (p *Port) Counters() map[string]uint64 {
	m := map[string]uint64{}
	p.mu.Lock()
	if !p.closed {
		p.xstats(m)
	}
	p.mu.Unlock()
	free, all := p.Mbufs()
	m["mbufs"], m["mbufs_free"] = uint64(all), uint64(free)
	m["link_up"], m["restarts"] = 0, p.restarts.Load()
	if p.up.Load() {
		m["link_up"] = 1
	}
	for _, q := range p.queues {
		m["rx_copied"] += q.pub.copied.Load()
	}
	if p.steerer != nil {
		for _, l := range p.steerer.lanes {
			m["rss_checked"] += l.pub.checked.Load()
			m["steered"] += l.pub.steered.Load()
			m["rss_hash_differs"] += l.pub.differs.Load()
			if p.steerer.device {
				m["wrong_queue"] += l.pub.wrong.Load()
			}
		}
	}
	return m
}

// xstats adds the extended statistics of the device. p.mu is held.
func (p *Port) xstats(m map[string]uint64) {
	n := C.fs_xstats(p.id, nil, nil, 0)
	if n <= 0 {
		return
	}
	names, values := make([]byte, 64*n), make([]uint64, n)
	n = C.fs_xstats(p.id, (*C.char)(unsafe.Pointer(&names[0])), (*C.uint64_t)(unsafe.Pointer(&values[0])), n)
	for i := range int(max(n, 0)) {
		if v := values[i]; v != 0 {
			m[C.GoString((*C.char)(unsafe.Pointer(&names[64*i])))] = v
		}
	}
}
