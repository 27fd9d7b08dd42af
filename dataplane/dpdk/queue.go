//go:build dpdk && cgo && linux

package dpdk

/*
#cgo noescape fs_rx
#cgo nocallback fs_rx
#cgo noescape fs_settle
#cgo nocallback fs_settle
#cgo noescape fs_refill
#cgo nocallback fs_refill
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include "burst.h"
#include "ethdev.h"
*/
import "C"

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/fastsyn/fastsyn/dataplane"
)

// queue is one receive and one transmit queue of the device. Its bursts lie in
// C memory: Rx crosses into C once, Settle once, Blank only when its stock is short.
type queue struct {
	port   *Port
	num    int
	c      *C.struct_fs_queue // nil when closed
	caps   dataplane.Caps
	lane   *lane // nil: frames stay where they arrive
	st     dataplane.Stats
	pub    published
	closed error
	// attached: the thread was registered by us.
	attached bool
}

var (
	_ dataplane.Queue    = (*queue)(nil)
	_ dataplane.Attacher = (*queue)(nil)
)

// published is what Port.Stats and Port.Counters read.
type published struct {
	rxFrames, rxBytes, txFrames, txBytes, txFull, txErrors, noBlank atomic.Uint64
	copied, oversize                                                atomic.Uint64
}

// newQueue makes queue num of p, whose device has these offloads on.
func newQueue(p *Port, num int, f *ethFacts, rx, tx uint64) (*queue, error) {
	name := C.CString("fastsyn-queue")
	defer C.free(unsafe.Pointer(name))
	c := (*C.struct_fs_queue)(C.rte_zmalloc_socket(name, C.sizeof_struct_fs_queue, 64, f.numa))
	if c == nil {
		return nil, fmt.Errorf("dpdk: %s: queue %d: no memory for its bursts: %w", p.cfg.Device, num, syscall.ENOMEM)
	}
	c.port, c.id, c.pool, c.jumbo = p.id, C.uint16_t(num), p.pools[num], p.jumbo
	q := &queue{port: p, num: num, c: c}
	if p.isMemif() && C.fs_track(c) < 0 {
		C.rte_free(unsafe.Pointer(c))
		return nil, fmt.Errorf("dpdk: %s: queue %d: more than 1024 memif queues are open in this process", p.cfg.Device, num)
	}
	q.caps = dataplane.Caps{
		Burst: dataplane.BatchSize, ReplyRoom: replyRoom, FrameRoom: minRoom,
		RxCsum: rx&C.RTE_ETH_RX_OFFLOAD_TCP_CKSUM != 0,
		RxHash: rx&C.RTE_ETH_RX_OFFLOAD_RSS_HASH != 0 && (p.rss != "" || p.foreign),
		TxCsum: tx&txSums == txSums,
	}
	return q, nil
}

// Attach registers the calling thread with the EAL, which gives it caches of its
// own in the pools (rte_thread_register).
func (q *queue) Attach() error {
	if C.rte_lcore_id() != C.LCORE_ID_ANY {
		return nil // a thread of the EAL, which stays one
	}
	if C.rte_thread_register() < 0 {
		return fmt.Errorf("dpdk: %s: queue %d: registering the worker's thread: %w: %s", q.port.cfg.Device, q.num,
			syscall.Errno(C.fs_errno()), explain(takeLog()))
	}
	q.attached = true
	return nil
}

// Detach ends what Attach began.
func (q *queue) Detach() {
	if q.attached {
		C.rte_thread_unregister()
		q.attached = false
	}
}

// The end of a fs_frame has the layout of a Meta, and is copied as one word;
// these fail to compile otherwise.
const (
	_ = uint(unsafe.Offsetof(dataplane.Meta{}.VLAN) - (unsafe.Offsetof(C.struct_fs_frame{}.vlan) - unsafe.Offsetof(C.struct_fs_frame{}.hash)))
	_ = uint((unsafe.Offsetof(C.struct_fs_frame{}.flags) - unsafe.Offsetof(C.struct_fs_frame{}.hash)) - unsafe.Offsetof(dataplane.Meta{}.Flags))
	_ = uint(unsafe.Sizeof(C.struct_fs_frame{}) - unsafe.Offsetof(C.struct_fs_frame{}.hash) - unsafe.Sizeof(dataplane.Meta{}))
)

// Rx lends frames: those that other queues have received for this one, then the device's.
func (q *queue) Rx(b *dataplane.Batch) int {
	b.N = 0
	if q.c == nil {
		return 0
	}
	handed := 0
	if q.lane != nil {
		handed = q.lane.collect(unsafe.Slice((*uint64)(unsafe.Pointer(&q.c.rx[0])), C.FS_BURST))
	}
	n := int(C.fs_rx(q.c, C.uint32_t(handed)))
	if n == 0 {
		return 0
	}
	data, meta, verdict, handle := b.Data[:n], b.Meta[:n], b.Verdict[:n], b.Handle[:n]
	in := unsafe.Slice(&q.c.in[0], n)
	bytes := uint64(0)
	for i := range in {
		f := &in[i]
		data[i] = unsafe.Slice((*byte)(unsafe.Pointer(f.data)), int(f.cap))[:f.len]
		meta[i] = *(*dataplane.Meta)(unsafe.Pointer(&f.hash))
		handle[i] = uint64(f.mbuf)
		bytes += uint64(f.len)
	}
	clear(verdict)
	b.N = n
	if q.lane != nil && n > handed {
		bytes -= q.lane.deal(b, handed)
	}
	q.st.RxFrames += uint64(b.N)
	q.st.RxBytes += bytes
	q.publish()
	return b.N
}

// Settle sends, frees and leaves frames by their verdicts.
func (q *queue) Settle(b *dataplane.Batch) int {
	n := b.N
	if n == 0 {
		return 0
	}
	b.N = 0
	if q.c == nil {
		for _, h := range b.Handle[:n] {
			C.fs_free(C.uint64_t(h))
		}
		return 0
	}
	out := unsafe.Slice(&q.c.out[0], n)
	data, verdict, handle := b.Data[:n], b.Verdict[:n], b.Handle[:n]
	for i := range out {
		f := &out[i]
		f.mbuf = C.uint64_t(handle[i])
		switch verdict[i] {
		case dataplane.Reply:
			d := data[i]
			f.data, f.len, f.flags = (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(d))), C.uint32_t(len(d)), C.FS_SEND
			if m := &b.Meta[i]; m.Flags&(dataplane.MetaTxCsum|dataplane.MetaVLAN) != 0 {
				q.decorate(f, m)
			}
		case dataplane.Keep:
			f.flags = C.FS_KEEP
		default:
			f.flags = 0
			if raceEnabled {
				scrub(data[i])
			}
		}
	}
	sent := int(C.fs_settle(q.c, C.uint32_t(n)))
	q.st.TxFrames += uint64(sent)
	q.st.TxBytes = uint64(q.c.tx_bytes)
	q.st.TxFull, q.st.TxErrors = uint64(q.c.tx_full), uint64(q.c.tx_errors)
	q.publish()
	return sent
}

// decorate hands the meta data of a frame to the driver. A tag that the device has
// stripped is put back, unless the answer has one already.
func (q *queue) decorate(f *C.struct_fs_frame, m *dataplane.Meta) {
	if m.Flags&dataplane.MetaTxCsum != 0 && q.caps.TxCsum {
		f.flags |= C.FS_TX_CSUM
	}
	if m.Flags&dataplane.MetaVLAN != 0 {
		f.flags |= C.FS_TX_VLAN
		f.vlan = C.uint16_t(m.VLAN)
	}
}

// Blank lends empty frames from the stock, which Rx tops up.
func (q *queue) Blank(b *dataplane.Batch, n int) int {
	want := max(0, min(n, dataplane.BatchSize))
	b.N = 0
	if q.c == nil {
		return 0
	}
	if int(q.c.nstock) < want {
		C.fs_refill(q.c, C.FS_BURST)
	}
	have := int(q.c.nstock)
	n = min(want, have)
	stock := unsafe.Slice(&q.c.stock[0], have)
	for i := range n {
		f := &stock[have-1-i]
		b.Data[i] = unsafe.Slice((*byte)(unsafe.Pointer(f.data)), int(f.cap))[:0]
		b.Handle[i] = uint64(f.mbuf)
	}
	q.c.nstock -= C.uint32_t(n)
	clear(b.Meta[:n])
	clear(b.Verdict[:n])
	b.N = n
	if n < want {
		q.st.NoBlank += uint64(want - n)
		q.publish()
	}
	return n
}

// pollEvery is how often Wait lets the worker look: the device has no
// descriptor to sleep on.
const pollEvery = 50 * time.Microsecond

// Wait sleeps for a moment, which is too short to be worth a dataplane.Waker.
func (q *queue) Wait(max time.Duration) { time.Sleep(min(max, pollEvery)) }

// Caps is constant.
func (q *queue) Caps() dataplane.Caps { return q.caps }

// Err says when the device is gone or the port closed.
func (q *queue) Err() error {
	if q.closed != nil {
		return q.closed
	}
	if q.port.gone.Load() {
		return fmt.Errorf("dpdk: %s: %w: it was unplugged, or its interface deleted: close the port and open it again once it is back", q.port.cfg.Device, ErrDeviceGone)
	}
	return nil
}

// publish makes the counters visible; those that rarely change are compared first.
func (q *queue) publish() {
	s, p := &q.st, &q.pub
	set := func(a *atomic.Uint64, v uint64) {
		if a.Load() != v {
			a.Store(v)
		}
	}
	set(&p.rxFrames, s.RxFrames)
	set(&p.rxBytes, s.RxBytes)
	set(&p.txFrames, s.TxFrames)
	set(&p.txBytes, s.TxBytes)
	set(&p.txFull, s.TxFull)
	set(&p.txErrors, s.TxErrors)
	set(&p.noBlank, s.NoBlank)
	set(&p.copied, uint64(q.c.rx_copied))
	set(&p.oversize, uint64(q.c.rx_oversize))
}

// release frees the frames that wait in the queue. Nobody polls it any more.
func (q *queue) release() {
	if q.c == nil {
		return
	}
	C.fs_unstock(q.c)
	if q.lane != nil {
		q.lane.drain()
	}
	q.closed = fmt.Errorf("dpdk: %s: the port is closed", q.port.cfg.Device)
}

// free frees the queue itself, after the device has ended.
func (q *queue) free() {
	if q.c == nil {
		return
	}
	C.fs_untrack(q.c)
	C.rte_free(unsafe.Pointer(q.c))
	q.c = nil
}

// scrub overwrites what goes back, so that a later use of it shows.
func scrub(d []byte) {
	d = d[:cap(d)]
	for i := range d {
		d[i] = 0xdb
	}
}
