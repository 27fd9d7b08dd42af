package flow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/hugepages"
)

func newTestSenders(tb testing.TB, n int) *senders {
	p, err := newSenders(n, hugepages.Options{NoTHP: true})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, p.free()) })
	return p
}

// transaction is a flight of one segment that is acknowledged, from rest to rest.
func transaction(senders *senders, runs *runPool, m *memory, nxt wire.Seq, us uint32) wire.Seq {
	i := senders.get()
	s := senders.at(i)
	s.wake(m, nxt, true, us, us/msec)
	s.cc.resume(seg, s.rto.timeout(), us)
	_, n, allowed := s.next(runs, seg, s.cc.cwnd)
	if n != 0 || allowed < 200 {
		panic("cannot send")
	}
	s.sentNew(runs, &s.cc, &s.rto, 200, seg, us)
	us += 50
	a := ackOf{ack: nxt + 200, now: us, pure: true}
	s.acked(runs, &s.cc, &s.rto, &a, seg)
	if s.flight() != 0 {
		panic("not acknowledged")
	}
	s.rest(m, us, us/msec)
	senders.put(i)
	return nxt + 200
}

func TestSenders(t *testing.T) {
	p := newTestSenders(t, 3)
	a, b, c := p.get(), p.get(), p.get()
	require.NotContains(t, []uint32{a, b, c}, uint32(0))
	require.Zero(t, p.get(), "all are out")
	require.Equal(t, 3, p.inUse())
	p.at(b).una = 77
	p.put(a)
	p.put(b)
	require.Panics(t, func() { p.put(b) })
	require.Equal(t, b, p.get(), "the last one returned first")
	require.Equal(t, a, p.get())
	require.Equal(t, 3, p.inUse())
	_, err := newSenders(-2, hugepages.Options{})
	require.ErrorContains(t, err, "flow: memory for -2 senders: ")
}

func TestTransactionAllocatesNothing(t *testing.T) {
	senders, runs := newTestSenders(t, 2), newRunPool(2, 2)
	var m memory
	m.start(seg, false, 100, false)
	nxt, us := iss, uint32(0)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		nxt = transaction(senders, runs, &m, nxt, us)
		us += 100
	}))
	require.EqualValues(t, 10*seg, m.cwnd, "a window that is not used does not grow")
	require.Zero(t, senders.inUse())
	require.Zero(t, runs.free.used)
}

func BenchmarkTransaction(b *testing.B) {
	senders, runs := newTestSenders(b, 100), newRunPool(100, 100)
	var m memory
	m.start(seg, false, 100, false)
	nxt, us := iss, uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		nxt = transaction(senders, runs, &m, nxt, us)
		us += 100
	}
}

// The same without wake and rest, to see what they cost.
func BenchmarkTransactionAwake(b *testing.B) {
	runs := newRunPool(100, 100)
	var m memory
	m.start(seg, false, 100, false)
	us := uint32(0)
	s := &sender{}
	s.wake(&m, iss, true, us, 0)
	for b.Loop() {
		s.cc.resume(seg, s.rto.timeout(), us)
		_, n, allowed := s.next(runs, seg, s.cc.cwnd)
		if n != 0 || allowed < 200 {
			b.Fatal("cannot send")
		}
		s.sentNew(runs, &s.cc, &s.rto, 200, seg, us)
		us += 50
		a := ackOf{ack: s.nxt, now: us, pure: true}
		s.acked(runs, &s.cc, &s.rto, &a, seg)
		us += 50
	}
}
