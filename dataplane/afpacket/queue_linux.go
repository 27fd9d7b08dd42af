package afpacket

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

const (
	pollsPerTick = 1024                  // Rx calls between looks at the clock
	tickEvery    = 10 * time.Millisecond // least time between housekeeping calls
	retryWait    = time.Millisecond      // longest sleep while frames wait to be sent
)

// queue is one receive and one transmit socket with their rings.
type queue struct {
	port     *Port
	rx       rxRing
	tx       txRing
	pool     pool
	waker    waker
	v3       bool
	promisc  bool
	outgoing bool // lend what others send
	maxTx    int  // longest frame sent, without VLAN tag
	caps     dataplane.Caps
	err      error
	st       dataplane.Stats // this goroutine's counters
	noJumbo  uint64          // long frames lost for want of a buffer: part of RxMissed
	lost     uint64          // frames that found the kernel's ring full: the other part
	pub      published
	// Housekeeping.
	polls    int
	lastTick time.Time
	// Arguments of system calls, here so that they do not escape anew each time.
	pfds  [2]unix.PollFd // of the receiving socket and of the waker
	ts    unix.Timespec
	stats unix.TpacketStatsV3
	addr  unix.RawSockaddrLinklayer
}

var (
	_ dataplane.Queue = (*queue)(nil)
	_ dataplane.Waker = (*queue)(nil)
)

// published is what Port.Stats reads.
type published struct {
	rxFrames, rxBytes, txFrames, txBytes, txFull, txErrors, noBlank, noJumbo, lost atomic.Uint64
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
	set(&p.noJumbo, q.noJumbo)
	set(&p.lost, q.lost)
}

func (p *published) read() dataplane.Stats {
	return dataplane.Stats{
		RxFrames: p.rxFrames.Load(), RxBytes: p.rxBytes.Load(), TxFrames: p.txFrames.Load(), TxBytes: p.txBytes.Load(),
		TxFull: p.txFull.Load(), TxErrors: p.txErrors.Load(), RxMissed: p.lost.Load() + p.noJumbo.Load(), NoBlank: p.noBlank.Load(),
	}
}

// Rx lends received frames.
func (q *queue) Rx(b *dataplane.Batch) int {
	b.N = 0
	if q.rx.mem == nil { // closed
		return 0
	}
	if q.polls++; q.polls >= pollsPerTick {
		q.polls = 0
		q.tick(time.Now())
	}
	if q.tx.pending != 0 {
		q.kick()
		q.publish()
	}
	if q.v3 {
		b.N = q.rxV3(b)
	} else {
		b.N = q.rxV2(b)
	}
	if b.N != 0 {
		q.publish()
	}
	return b.N
}

// Settle sends, returns and leaves frames by their verdicts. Sending copies
// into the transmit ring, so every buffer but the kept ones is free at once.
func (q *queue) Settle(b *dataplane.Batch) int {
	n := b.N
	b.N = 0
	sent := 0
	for i := range n {
		switch b.Verdict[i] {
		case dataplane.Keep:
			continue
		case dataplane.Reply:
			if q.send(b.Data[i], &b.Meta[i]) {
				sent++
			}
		case dataplane.Drop:
		}
		q.pool.put(b.Handle[i])
	}
	if sent != 0 {
		q.st.TxFrames += uint64(sent)
		if q.tx.pending != 0 {
			q.kick()
		}
	}
	if n != 0 {
		q.publish()
	}
	return sent
}

// send puts one frame into the ring and reports whether it counts as handed to
// the device, be it to be refused there.
func (q *queue) send(f []byte, m *dataplane.Meta) bool {
	if len(f) < etherHdr || len(f) > q.maxTx+etherHdr && !(len(f) <= q.maxTx+etherHdr+vlanTag && tagged(f)) || q.err != nil {
		q.st.TxErrors++
		return true
	}
	if !q.tx.put(f, m) {
		q.st.TxFull++
		return false
	}
	q.st.TxBytes += uint64(len(f))
	return true
}

// Blank lends empty frames.
func (q *queue) Blank(b *dataplane.Batch, n int) int {
	n = min(n, dataplane.BatchSize)
	b.N = 0
	for b.N < n {
		buf, h, ok := q.pool.get()
		if !ok {
			q.st.NoBlank += uint64(n - b.N)
			q.publish()
			break
		}
		b.Data[b.N], b.Meta[b.N], b.Verdict[b.N], b.Handle[b.N] = buf[:0], dataplane.Meta{}, dataplane.Drop, h
		b.N++
	}
	return b.N
}

// Wait sleeps until a frame may be there, Wake is called or max has passed.
func (q *queue) Wait(max time.Duration) {
	if q.rx.mem == nil { // closed
		return
	}
	if q.tx.pending != 0 {
		if q.kick(); q.tx.pending != 0 {
			max = min(max, retryWait)
		}
		q.publish()
	}
	sock, wake := &q.pfds[0], &q.pfds[1]
	sock.Events = unix.POLLIN
	if len(q.pool.free) == 0 {
		sock.Events = 0 // Rx could not lend: wake for errors only
	} else if q.ready() {
		return
	}
	if max <= 0 {
		return
	}
	q.ts = unix.NsecToTimespec(int64(max))
	sock.Fd, sock.Revents = int32(q.rx.fd), 0
	wake.Fd, wake.Events, wake.Revents = int32(q.waker.fd), unix.POLLIN, 0
	pollFor(q.pfds[:], &q.ts)
	if wake.Revents != 0 {
		q.waker.clear()
	}
	if sock.Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
		// Reading the error clears it, so that the next Wait sleeps again:
		// ENETDOWN is told once, when the interface goes down or away.
		_, _ = unix.GetsockoptInt(q.rx.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		q.checkGone()
	}
	q.tick(time.Now())
}

// ready reports whether Rx would find a frame.
func (q *queue) ready() bool {
	r := &q.rx
	if !q.v3 {
		return loadStatus(r.mem, r.head*r.size)&unix.TP_STATUS_USER != 0
	}
	head := r.head
	if r.left != 0 {
		return true
	}
	if r.off != 0 { // the open block is used up and not yet returned
		if head++; head == r.n {
			head = 0
		}
	}
	return loadStatus(r.mem, head*r.size+blockStatus)&unix.TP_STATUS_USER != 0
}

// tick does now and then what is too dear for every burst.
func (q *queue) tick(now time.Time) {
	if now.Sub(q.lastTick) < tickEvery {
		return
	}
	q.lastTick = now
	q.checkGone()
	q.readLost()
	q.publish()
}

// readLost adds the kernel's count of frames that found the ring full.
func (q *queue) readLost() {
	if packetStats(q.rx.fd, &q.stats) == 0 {
		q.lost += uint64(q.stats.Drops)
	}
}

// checkGone makes the disappearance of the interface a sticky error.
func (q *queue) checkGone() {
	if q.err != nil {
		return
	}
	if ifindex, errno := boundTo(q.rx.fd, &q.addr); errno == 0 && ifindex > 0 {
		return
	}
	q.err = fmt.Errorf("afpacket: %s: %w: it was deleted or moved to another network namespace: close the port and open it again once the interface is back",
		q.port.cfg.Interface, ErrInterfaceGone)
}

// Wake implements dataplane.Waker.
func (q *queue) Wake() { q.waker.wake() }

// Caps is constant.
func (q *queue) Caps() dataplane.Caps { return q.caps }

// Err returns the sticky failure.
func (q *queue) Err() error { return q.err }

// close releases everything; what failed to open is skipped.
func (q *queue) close() error {
	if q.rx.mem != nil {
		q.readLost()
		q.publish()
	}
	var errs []error
	for _, s := range []struct {
		fd  *int
		mem *[]byte
	}{{&q.rx.fd, &q.rx.mem}, {&q.tx.fd, &q.tx.mem}} {
		if *s.mem != nil {
			errs = append(errs, unix.Munmap(*s.mem))
			*s.mem = nil
		}
		if *s.fd >= 0 {
			errs = append(errs, unix.Close(*s.fd))
			*s.fd = -1
		}
	}
	errs = append(errs, q.waker.close())
	q.tx.pending = 0
	if q.err == nil {
		q.err = fmt.Errorf("afpacket: %s: %w", q.port.cfg.Interface, net.ErrClosed)
	}
	return errors.Join(errs...)
}
