package bench

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// mob is a queue with a flood on it: the other user of the wire. Answers to the
// flood are taken out and verified before the worker that has the queue sees them.
type mob struct {
	dataplane.Queue
	flood *flood
	pace  pace // of a live flood, which is sent before receiving
	clock func() int64

	tx, in, drop *dataplane.Batch
	pk           []wire.Packet
	segs         []*wire.Segment
	asked, sent  uint64 // SYNs, and those that the wire took
	heard, bytes uint64 // answers to them
	more         bool   // the last Rx found something, perhaps nothing for the worker
}

// mobPort is the port with that queue as its first.
type mobPort struct {
	dataplane.Port
	q *mob
}

// Queue implements dataplane.Port.
func (p mobPort) Queue(i int) dataplane.Queue {
	if i > 0 {
		return p.Port.Queue(i)
	}
	return p.q
}

// Unwrap returns the port below.
func (p mobPort) Unwrap() dataplane.Port { return p.Port }

// Stats implements dataplane.Port: what the worker was lent.
func (p mobPort) Stats(i int) dataplane.Stats {
	s := p.Port.Stats(i)
	if i > 0 {
		return s
	}
	s.RxFrames -= p.q.heard
	s.RxBytes -= p.q.bytes
	return s
}

func newMob(tb testing.TB, q dataplane.Queue, own, server [6]byte, prefixes int, clock func() int64) *mob {
	tb.Helper()
	m := &mob{
		Queue: q, clock: clock, tx: dataplane.NewBatch(), in: dataplane.NewBatch(), drop: dataplane.NewBatch(),
		pk: make([]wire.Packet, dataplane.BatchSize), segs: make([]*wire.Segment, 0, dataplane.BatchSize),
	}
	to := wire.Addr4(siegeServer)
	j := &job{cfg: Config{Concurrency: 4096}, workers: 1, remote: to, port: serverPort, fail: make(chan error, 1)}
	var from pool
	from.add(wire.Addr4(siegeFlood), uint64(prefixes)<<8)
	m.flood = newFlood(j, 0, from, nil, 1)
	m.flood.link = wire.Link{Dst: server, Src: own}
	require.NoError(tb, m.flood.template())
	return m
}

// send has n SYNs go out.
func (m *mob) send(n int, now int64) {
	for n > 0 {
		k := m.Blank(m.tx, min(n, dataplane.BatchSize))
		if k == 0 {
			return
		}
		m.flood.Send(now, m.tx)
		m.asked += uint64(k)
		m.sent += uint64(m.Settle(m.tx))
		n -= k
	}
}

// Rx implements dataplane.Queue.
func (m *mob) Rx(b *dataplane.Batch) int {
	b.N = 0
	now := m.clock()
	if m.pace.on() {
		n := min(m.pace.due(now), 4*dataplane.BatchSize)
		m.pace.made(n)
		m.send(n, now)
	}
	m.more = m.Queue.Rx(m.in) > 0
	m.segs = m.segs[:0]
	for i, d := range m.in.Data[:m.in.N] {
		to := b
		if len(d) >= 34 && d[12] == 8 && d[13] == 0 && d[30] >= byte(siegeFlood>>24) {
			to = m.drop
			m.heard++
			m.bytes += uint64(len(d))
			p := &m.pk[len(m.segs)]
			if wire.Parse(d, false, p) == wire.OK && p.Kind == wire.KindTCP {
				m.segs = append(m.segs, &p.Seg)
			}
		}
		to.Data[to.N], to.Meta[to.N], to.Handle[to.N], to.Verdict[to.N] = d, m.in.Meta[i], m.in.Handle[i], dataplane.Drop
		to.N++
	}
	m.in.N = 0
	m.flood.Receive(now, m.segs)
	m.Settle(m.drop)
	return b.N
}
