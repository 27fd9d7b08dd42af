package dptest

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fastsyn/fastsyn/dataplane"
)

// PortConfig is the shape of a Port. Zero fields take the defaults.
type PortConfig struct {
	Queues int // default 1
	Frames int // frames of each queue, default 1024
	Room   int // capacity of each frame in bytes, default 2048
	MTU    int // default 1500
	MAC    net.HardwareAddr
	// RSSKey, RETA and CPUs are reported by Info and used for nothing here.
	RSSKey []byte
	RETA   []uint16
	CPUs   []int
	Polled bool           // Caps().Blocking is false
	Caps   dataplane.Caps // Burst, ReplyRoom, FrameRoom and Blocking are filled in
}

// Port is a port without a wire: a test injects what is received and collects
// what was sent. Its queues hold their user to the contract of
// dataplane.Queue: every settled frame is overwritten, and the test fails when
// a frame is settled twice, is not of this port, was resliced beyond its
// buffer, asks for checksums that the port does not complete or has not what that takes,
// or is still lent when the test ends. Queues belong to their goroutine as usual; the
// methods of Port may be used from any.
type Port struct {
	t      testing.TB
	c      PortConfig
	queues []*Queue

	mu     sync.Mutex
	down   bool
	ups    uint64
	closed bool
}

// NewPort returns a port and checks at the end of the test that no frame is lent.
func NewPort(t testing.TB, c PortConfig) *Port {
	t.Helper()
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Frames == 0 {
		c.Frames = 1024
	}
	if c.Room == 0 {
		c.Room = 2048
	}
	if c.MTU == 0 {
		c.MTU = 1500
	}
	if c.MAC == nil {
		c.MAC = net.HardwareAddr{0x02, 0x66, 0x73, 0, 0, 9}
	}
	p := &Port{t: t, c: c}
	for i := range c.Queues {
		q := &Queue{p: p, num: i, wake: make(chan struct{}, 1), refuse: -1}
		for j := range c.Frames {
			q.frames = append(q.frames, make([]byte, c.Room))
			q.free = append(q.free, c.Frames-1-j)
		}
		q.lent = make([]bool, c.Frames)
		p.queues = append(p.queues, q)
	}
	t.Cleanup(func() {
		for i := range p.queues {
			if n := p.Lent(i); n != 0 {
				t.Errorf("dptest: queue %d ends with %d frames lent and not settled", i, n)
			}
		}
	})
	return p
}

// Info implements dataplane.Port.
func (p *Port) Info() dataplane.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return dataplane.Info{
		Driver: "dptest", Name: p.t.Name(), MAC: p.c.MAC, MTU: p.c.MTU, Queues: p.c.Queues,
		Up: !p.down, RSSKey: p.c.RSSKey, RETA: p.c.RETA, CPUs: p.c.CPUs,
	}
}

// Queue implements dataplane.Port.
func (p *Port) Queue(i int) dataplane.Queue { return p.queues[i] }

// Stats implements dataplane.Port.
func (p *Port) Stats(i int) dataplane.Stats {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.st
}

// Close implements dataplane.Port. Closing twice fails the test.
func (p *Port) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		p.t.Errorf("dptest: port closed twice")
	}
	p.closed = true
	return nil
}

// Closed reports whether Close was called.
func (p *Port) Closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// SetUp sets the link state in Info.
func (p *Port) SetUp(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if up && p.down {
		p.ups++
	}
	p.down = !up
}

// LinkUps implements dataplane.LinkCounter.
func (p *Port) LinkUps() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ups
}

// Inject queues a copy of frame for queue i to receive and wakes Wait. It
// panics when the frame is longer than a buffer: that is a mistake in the test.
func (p *Port) Inject(i int, frame []byte, meta dataplane.Meta) {
	if len(frame) > p.c.Room {
		panic(fmt.Sprintf("dptest: frame of %d bytes into buffers of %d", len(frame), p.c.Room))
	}
	q := p.queues[i]
	q.mu.Lock()
	q.rx = append(q.rx, injected{bytes.Clone(frame), meta})
	q.mu.Unlock()
	q.Wake()
}

// Pending returns the number of injected frames that were not received yet.
func (p *Port) Pending(i int) int {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.rx)
}

// Sent returns copies of the frames that queue i sent since the last call, in order.
func (p *Port) Sent(i int) [][]byte {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.sent
	q.sent = nil
	return s
}

// Completed returns the number of frames whose checksums queue i completed.
func (p *Port) Completed(i int) int {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.completed
}

// Refuse lets queue i take n more frames; what it is asked to send after that is TxFull. A
// negative n ends this.
func (p *Port) Refuse(i, n int) {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = n
}

// Fail makes Err of queue i return err from now on, and wakes Wait.
func (p *Port) Fail(i int, err error) {
	q := p.queues[i]
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	q.Wake()
}

// Lent returns the number of frames of queue i that are with its user.
func (p *Port) Lent(i int) int {
	q := p.queues[i]
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, l := range q.lent {
		if l {
			n++
		}
	}
	return n
}

type injected struct {
	data []byte
	meta dataplane.Meta
}

// Queue is a queue of a Port.
type Queue struct {
	p    *Port
	num  int
	wake chan struct{}

	mu     sync.Mutex
	frames [][]byte
	free   []int
	lent   []bool
	rx     []injected
	sent   [][]byte
	refuse int // frames still taken; negative: no limit
	err    error
	st     dataplane.Stats

	completed int // frames with MetaTxCsum
}

var (
	_ dataplane.Port  = (*Port)(nil)
	_ dataplane.Queue = (*Queue)(nil)
	_ dataplane.Waker = (*Queue)(nil)
)

// Caps implements dataplane.Queue.
func (q *Queue) Caps() dataplane.Caps {
	c := q.p.c.Caps
	c.Burst, c.ReplyRoom, c.FrameRoom, c.Blocking = dataplane.BatchSize, q.p.c.Room, q.p.c.Room, !q.p.c.Polled
	return c
}

// Err implements dataplane.Queue.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// lend puts a free frame at the end of b; false when there is none.
func (q *Queue) lend(b *dataplane.Batch) bool {
	if len(q.free) == 0 {
		return false
	}
	h := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.lent[h] = true
	b.Data[b.N], b.Meta[b.N], b.Verdict[b.N], b.Handle[b.N] = q.frames[h][:0], dataplane.Meta{}, dataplane.Drop, uint64(h)
	b.N++
	return true
}

// Rx implements dataplane.Queue.
func (q *Queue) Rx(b *dataplane.Batch) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.N = 0
	for b.N < dataplane.BatchSize && len(q.rx) > 0 && q.lend(b) {
		in, i := q.rx[0], b.N-1
		q.rx = q.rx[1:]
		b.Data[i], b.Meta[i] = append(b.Data[i], in.data...), in.meta
		q.st.RxFrames++
		q.st.RxBytes += uint64(len(in.data))
	}
	return b.N
}

// Blank implements dataplane.Queue.
func (q *Queue) Blank(b *dataplane.Batch, n int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = max(0, min(n, dataplane.BatchSize))
	b.N = 0
	for b.N < n && q.lend(b) {
	}
	q.st.NoBlank += uint64(n - b.N)
	return b.N
}

// Settle implements dataplane.Queue.
func (q *Queue) Settle(b *dataplane.Batch) int {
	q.p.t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := 0
	for i := range b.N {
		h := b.Handle[i]
		if h >= uint64(len(q.frames)) || !q.lent[h] {
			q.p.t.Errorf("dptest: queue %d: frame %d settled twice, or not of this queue", q.num, h)
			continue
		}
		v := b.Verdict[i]
		if v == dataplane.Keep {
			continue
		}
		if v == dataplane.Reply && q.transmit(b.Data[i], q.frames[h], b.Meta[i].Flags&dataplane.MetaTxCsum != 0) {
			taken++
		}
		for j := range q.frames[h] {
			q.frames[h][j] = 0xdb
		}
		q.lent[h] = false
		q.free = append(q.free, int(h))
		b.Data[i] = nil
	}
	b.N = 0
	return taken
}

// transmit collects one frame, its checksums completed if so asked, and reports whether it was taken.
func (q *Queue) transmit(d, frame []byte, complete bool) bool {
	switch {
	case q.refuse == 0:
		q.st.TxFull++
		return false
	case q.refuse > 0:
		q.refuse--
	}
	// A slice of the buffer ends where the buffer ends.
	if cap(d) == 0 || cap(d) > len(frame) || &d[:cap(d)][cap(d)-1] != &frame[len(frame)-1] {
		q.p.t.Errorf("dptest: queue %d: a frame was sent from another buffer than the one lent", q.num)
	}
	d = bytes.Clone(d)
	if complete {
		if !q.p.c.Caps.TxCsum {
			q.p.t.Errorf("dptest: queue %d: a frame was sent with MetaTxCsum on a queue without Caps.TxCsum", q.num)
		} else if err := CompleteChecksums(d); err != nil {
			q.p.t.Errorf("dptest: queue %d: a frame was sent with MetaTxCsum: %v: %x", q.num, err, d)
		}
		q.completed++
	}
	q.sent = append(q.sent, d)
	q.st.TxFrames++
	q.st.TxBytes += uint64(len(d))
	return true
}

// Wait implements dataplane.Queue.
func (q *Queue) Wait(max time.Duration) {
	q.mu.Lock()
	ready := len(q.rx) > 0
	q.mu.Unlock()
	if ready || max <= 0 {
		return
	}
	timer := time.NewTimer(max)
	defer timer.Stop()
	select {
	case <-q.wake:
	case <-timer.C:
	}
}

// Wake implements dataplane.Waker.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
