package flow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// twin is a flow twice: a is awake all the time, b rests whenever nothing is queued or in flight. Both
// are told the same. a is changed at these moments as memory documents, in what it does not keep.
type twin struct {
	t       *testing.T
	a       sender
	pa, pb  *runPool
	senders *senders
	i       uint32 // b, 0 at rest
	m       memory
	nxt     wire.Seq // of b at rest
	now     uint64   // µs, does not wrap
	sack    bool
	rests   int
	seen    struct{ reordered, careful, epoch int }
}

const twinMSS = 1000

func newTwin(t *testing.T, senders *senders, now uint64, sack bool, runs int) *twin {
	w := &twin{t: t, pa: newRunPool(1, runs), pb: newRunPool(1, runs), senders: senders, nxt: iss, now: now, sack: sack}
	w.m.start(twinMSS, false, 20*msec, false)
	w.a.recovery.start(iss, sack)
	w.a.cc.start(twinMSS, false, w.us())
	w.a.rto.sample(20*msec, 1)
	w.a.minRTT = roundDown(20 * msec).value()
	return w
}

func (w *twin) us() uint32 { return uint32(w.now) }
func (w *twin) ms() uint32 { return uint32(w.now / msec) }

func (w *twin) wake() {
	if w.i == 0 {
		w.i = w.senders.get()
		w.senders.at(w.i).wake(&w.m, w.nxt, w.sack, w.us(), w.ms())
	}
}

// rest puts b to rest if it can.
func (w *twin) rest(queued bool) {
	if w.i == 0 || queued || w.a.flight() != 0 {
		return
	}
	b := w.senders.at(w.i)
	w.nxt = b.nxt
	b.rest(&w.m, w.us(), w.ms())
	b.poison() // what wake does not set must not matter
	w.senders.put(w.i)
	w.i = 0
	w.rests++
	c := &w.a.cc
	if c.inEpoch {
		w.seen.epoch++
	}
	c.inEpoch, c.ssthresh, c.wMax, c.prior = false, roundDown(c.ssthresh).value(), roundDown(c.wMax).value(), 0
	if c.ssthresh != cubicMaxWindow {
		c.prior = c.reduced()
	}
	if w.a.minRTT != math.MaxUint32 {
		w.a.minRTT = roundDown(w.a.minRTT).value()
	}
	for _, k := range []struct {
		bit uint8
		n   *int
	}{{memReordered, &w.seen.reordered}, {memCareful, &w.seen.careful}} {
		if w.m.bits&k.bit != 0 {
			*k.n++
		}
	}
}

// twinState is what decides on what a sender does next.
type twinState struct {
	una, nxt                  wire.Seq
	sacked, lost, runs        uint32
	cwnd, ssthresh, wMax      uint32
	prior, k, origin          uint32
	inEpoch, timedOut         bool
	rto                       rto
	phase                     phase
	dupAcks, reoMult, persist uint8
	reordering, tlp, careful  bool
	minRTT, at                uint32
	what                      timer
}

func stateOf(s *sender) twinState {
	x := twinState{
		una: s.una, nxt: s.nxt, sacked: s.sacked, lost: s.lost, runs: s.runs,
		cwnd: s.cc.cwnd, ssthresh: s.cc.ssthresh, wMax: s.cc.wMax, prior: s.cc.prior, inEpoch: s.cc.inEpoch, timedOut: s.cc.timedOut,
		rto: s.rto, phase: s.phase, dupAcks: s.dupAcks, reoMult: s.reoMult, persist: s.recovery.persist,
		reordering: s.reordering, tlp: s.tlp, careful: s.hasPoint && s.point == s.una, minRTT: s.minRTT,
	}
	if x.inEpoch {
		x.k, x.origin = s.cc.k, s.cc.origin
	}
	x.at, x.what = s.deadline(&s.rto, twinMSS)
	return x
}

func (w *twin) check() {
	if w.i != 0 {
		b := w.senders.at(w.i)
		if x, y := stateOf(&w.a), stateOf(b); x != y {
			require.Equal(w.t, x, y, "after %d rests", w.rests)
		}
		w.pb.audit(w.t, &b.scoreboard)
	}
}

// next is what to send.
func (w *twin) next() (seq wire.Seq, n, allowed uint32) {
	w.wake()
	b := w.senders.at(w.i)
	if w.a.flight() == 0 {
		w.a.cc.resume(twinMSS, w.a.rto.timeout(), w.us())
		b.cc.resume(twinMSS, b.rto.timeout(), w.us())
	}
	seq, n, allowed = w.a.next(w.pa, twinMSS, w.a.cc.cwnd)
	bSeq, bN, bAllowed := b.next(w.pb, twinMSS, b.cc.cwnd)
	require.Equal(w.t, [3]uint32{uint32(seq), n, allowed}, [3]uint32{uint32(bSeq), bN, bAllowed})
	w.check()
	return seq, n, allowed
}

func (w *twin) sentNew(n uint32) {
	b := w.senders.at(w.i)
	w.a.sentNew(w.pa, &w.a.cc, &w.a.rto, n, twinMSS, w.us())
	b.sentNew(w.pb, &b.cc, &b.rto, n, twinMSS, w.us())
	w.check()
}

func (w *twin) sentAgain(seq wire.Seq, n uint32) {
	w.a.sentAgain(w.pa, seq, n, w.us())
	w.senders.at(w.i).sentAgain(w.pb, seq, n, w.us())
	w.check()
}

func (w *twin) acked(ack wire.Seq, blocks []wire.SACKBlock) {
	a := ackOf{ack: ack, blocks: blocks, now: w.us(), pure: true}
	if ack.Less(w.a.una) {
		a.ack, a.pure = w.a.una, false
	}
	n := w.a.acked(w.pa, &w.a.cc, &w.a.rto, &a, twinMSS)
	if w.i == 0 {
		if w.m.bits&memProbed != 0 {
			w.m.repeated(a.ack, w.nxt, blocks, a.pure)
		}
		require.Zero(w.t, n)
		return
	}
	b := w.senders.at(w.i)
	require.Equal(w.t, n, b.acked(w.pb, &b.cc, &b.rto, &a, twinMSS))
	w.check()
}

func (w *twin) expired(fresh uint32) (what timer, seq wire.Seq, n uint32) {
	b := w.senders.at(w.i)
	what, seq, n = w.a.expired(w.pa, &w.a.cc, &w.a.rto, fresh, twinMSS, w.us())
	bWhat, bSeq, bN := b.expired(w.pb, &b.cc, &b.rto, fresh, twinMSS, w.us())
	require.Equal(w.t, [3]uint32{uint32(what), uint32(seq), n}, [3]uint32{uint32(bWhat), uint32(bSeq), bN})
	w.check()
	return what, seq, n
}

// exchange carries texts of random length over a path that loses, repeats and reorders, with a
// pause after each, and returns the twin that sent them.
func exchange(t *testing.T, senders *senders, seed uint64, sack bool, loss float64, texts int) *twin {
	rng := rand.New(rand.NewPCG(seed, 8))
	w := newTwin(t, senders, rng.Uint64()>>20, sack, 1000)
	type packet struct {
		due    uint64
		seq    wire.Seq
		n      uint32 // of text, 0: an ACK
		blocks []wire.SACKBlock
	}
	var net []packet
	carry := func(k packet) {
		for range 1 + rng.IntN(20)/19 {
			if rng.Float64() >= loss {
				k.due = w.now + 20*msec
				switch rng.IntN(100) {
				case 0, 1, 2, 3, 4:
					k.due += rng.Uint64N(30 * msec)
				case 5:
					k.due += rng.Uint64N(150 * msec)
				}
				net = append(net, k)
			}
		}
	}
	end, more := iss, w.now // of the text there is; when there is more
	got, next := map[wire.Seq]uint32{}, iss
	queued := func() uint32 { return uint32(end - w.a.nxt) }
	data := func(k packet) {
		dup := k.seq.Less(next)
		got[k.seq] = k.n
		for n := got[next]; n != 0; n = got[next] {
			delete(got, next)
			next += wire.Seq(n)
		}
		r := packet{seq: next}
		if sack && dup {
			r.blocks = append(r.blocks, wire.SACKBlock{Left: k.seq, Right: k.seq + wire.Seq(k.n)})
		}
		if sack && next.Less(k.seq) {
			r.blocks = append(r.blocks, wire.SACKBlock{Left: k.seq, Right: k.seq + wire.Seq(k.n)})
		}
		carry(r)
	}
	for steps := 0; texts > 0 || w.a.flight() != 0 || queued() != 0; steps++ {
		require.Less(t, steps, 1_000_000, "no progress")
		idle := w.a.flight() == 0 && queued() == 0
		if idle && w.now >= more {
			end += wire.Seq(1 + rng.Uint32N(twinMSS<<rng.IntN(7)))
			texts--
		}
		for range 200 {
			if w.a.flight() == 0 && queued() == 0 {
				break
			}
			seq, n, allowed := w.next()
			if n != 0 {
				carry(packet{seq: seq, n: n})
				w.sentAgain(seq, n)
			} else if n = min(queued(), allowed, twinMSS); n != 0 && (n == twinMSS || n == queued()) {
				carry(packet{seq: w.a.nxt, n: n})
				w.sentNew(n)
			} else {
				break
			}
		}
		// The next thing that happens.
		when := uint64(math.MaxUint64)
		if at, what := w.a.deadline(&w.a.rto, twinMSS); what != timerNone {
			when = w.now + uint64(max(int32(at-w.us()), 0))
		} else if queued() == 0 {
			when = more
		}
		first := -1
		for i := range net {
			if net[i].due <= when && (first < 0 || net[i].due < net[first].due) {
				first = i
			}
		}
		if first >= 0 {
			k := net[first]
			net = slices.Delete(net, first, first+1)
			w.now = k.due
			if k.n != 0 {
				data(k)
				continue
			}
			before := w.a.flight()
			w.acked(k.seq, k.blocks)
			if before != 0 && w.a.flight() == 0 && queued() == 0 {
				// The next text comes at once, within the timeout, or after it, but not where a
				// millisecond decides which.
				pause := rng.Uint64N(60_000 * msec)
				switch out := uint64(w.a.rto.timeout()); rng.IntN(4) {
				case 0:
					pause = 0
				case 1, 2:
					pause = rng.Uint64N(out - 3*msec)
				default:
					pause += out + 3*msec
				}
				more = uint64(int64(w.now)-int64(int32(w.us()-w.a.cc.last))) + pause
				more = max(more, w.now)
			}
			w.rest(queued() != 0)
			continue
		}
		w.now = max(w.now, when)
		if w.a.flight() == 0 {
			continue
		}
		what, seq, n := w.expired(queued())
		if what == timerProbe {
			if n == 0 {
				n = min(queued(), twinMSS)
				carry(packet{seq: w.a.nxt, n: n})
				w.sentNew(n)
			} else {
				carry(packet{seq: seq, n: n})
				w.sentAgain(seq, n)
			}
		}
	}
	require.Zero(t, w.i, "at rest")
	require.Zero(t, w.pb.free.used)
	return w
}

// DAT-007 to DAT-009: a flow that rests between its texts sends, retransmits and waits as one that does not, but for what memory
// leaves out on purpose.
func TestDAT_007to009_RestChangesNothing(t *testing.T) {
	senders := newTestSenders(t, 3)
	for _, sack := range []bool{false, true} {
		var all twin
		for _, loss := range []float64{0, 0.01, 0.05, 0.2} {
			t.Run(fmt.Sprintf("sack=%t/loss=%v", sack, loss), func(t *testing.T) {
				for seed := range uint64(8) {
					w := exchange(t, senders, seed, sack, loss, 50)
					all.rests += w.rests
					all.seen.reordered += w.seen.reordered
					all.seen.careful += w.seen.careful
					all.seen.epoch += w.seen.epoch
				}
			})
		}
		// The cases that the memory is for have occurred.
		require.Greater(t, all.rests, 1000)
		require.NotZero(t, all.seen.epoch)
		require.NotZero(t, all.seen.careful)
		if sack {
			require.NotZero(t, all.seen.reordered)
		}
		t.Logf("sack=%t: %d rests, %+v", sack, all.rests, all.seen)
	}
	require.Zero(t, senders.inUse())
}

// resting is a flow whose only segment was sent again by the probe timer, and then acknowledged.
func resting(t *testing.T) (m memory, runs *runPool) {
	runs = newRunPool(1, 0)
	m.start(seg, false, 100*msec, false)
	var s sender
	s.wake(&m, iss, true, 0, 0)
	s.sentNew(runs, &s.cc, &s.rto, 2*seg, seg, 0)
	what, seq, n := s.expired(runs, &s.cc, &s.rto, 0, seg, 200*msec)
	require.Equal(t, timerProbe, what)
	s.sentAgain(runs, seq, n, 200*msec)
	s.acked(runs, &s.cc, &s.rto, &ackOf{ack: at(2), now: 210 * msec, pure: true}, seg)
	require.Zero(t, s.flight())
	s.rest(&m, 210*msec, 210)
	return m, runs
}

// RFC 8985 §7.4.2: a probe that was acknowledged once has repaired a loss, if nothing tells of the
// original before something else is acknowledged. That can be while the flow rests, or not.
func TestDAT_008_ProbeAnsweredAtRest(t *testing.T) {
	dsack := []wire.SACKBlock{{Left: at(1), Right: at(2)}}
	for _, c := range []struct {
		name   string
		answer func(m *memory)
		lost   bool
		mult   uint8
	}{
		{"nothing", func(*memory) {}, true, 1},
		{"an old ACK", func(m *memory) { m.repeated(at(1), at(2), nil, true) }, true, 1},
		{"a window update", func(m *memory) { m.repeated(at(2), at(2), nil, false) }, true, 1},
		{"a lie", func(m *memory) { m.repeated(at(2), at(2), []wire.SACKBlock{{Left: at(1), Right: at(3)}}, true) }, true, 1},
		{"a duplicate", func(m *memory) { m.repeated(at(2), at(2), nil, true) }, false, 1},
		{"D-SACK", func(m *memory) { m.repeated(at(2), at(2), dsack, true) }, false, 2},
		{"D-SACK with text", func(m *memory) { m.repeated(at(2), at(2), dsack, false) }, false, 2},
	} {
		t.Run("RFC 8985 7.4.2 "+c.name, func(t *testing.T) {
			m, runs := resting(t)
			require.NotZero(t, m.bits&memProbed)
			c.answer(&m)
			var s sender
			s.wake(&m, at(2), true, 300*msec, 300)
			require.Equal(t, c.mult, s.reoMult)
			require.Equal(t, c.mult > 1, s.recovery.persist == reoPersist)
			before := s.cc.cwnd
			s.sentNew(runs, &s.cc, &s.rto, seg, seg, 300*msec)
			s.acked(runs, &s.cc, &s.rto, &ackOf{ack: at(3), now: 400 * msec, pure: true}, seg)
			require.Equal(t, c.lost, s.cc.cwnd < before)
			require.False(t, s.tlp)
		})
	}
}

// RFC 9438 §4.2: without its epoch a window grows on along the same curve before the plateau, more
// slowly beyond it, and nowhere faster than both that curve and what Reno adds.
func TestDAT_009_EpochEndsWithRest(t *testing.T) {
	const rtt = 100 * msec
	grow := func(c *cubic, now, rounds uint32) uint32 {
		for range rounds {
			now += rtt
			for n := c.cwnd / (2 * seg); n > 0; n-- {
				c.acked(2*seg, seg, true, rtt, now)
			}
		}
		return now
	}
	for _, rounds := range []uint32{5, 20, 40, 70, 90, 120, 200} { // K is 9 s
		var s sender
		m := memory{cwnd: 1000 * seg, ssthresh: roundDown(1000 * seg), srtt: rtt << rtoShift}
		s.wake(&m, iss, true, 0, 0)
		s.cc.congested(1000*seg, seg)
		at := grow(&s.cc, 0, rounds)
		awake := s.cc
		s.rest(&m, at, at/msec)
		s.wake(&m, iss, true, at, at/msec)
		s.cc.resume(seg, s.rto.timeout(), at)
		require.Equal(t, awake.cwnd, s.cc.cwnd)
		grow(&awake, at, 50)
		grow(&s.cc, at, 50)
		reno := m.cwnd + 50*seg
		require.LessOrEqual(t, float64(s.cc.cwnd), 1.005*float64(max(awake.cwnd, reno)), "rested after %d round trips", rounds)
		switch {
		case rounds > 120:
			require.Less(t, s.cc.cwnd, awake.cwnd)
		case rounds <= 40:
			require.GreaterOrEqual(t, float64(s.cc.cwnd), 0.98*float64(awake.cwnd), "rested after %d round trips", rounds)
		}
	}
}

// DAT-009: a pause is measured although the clock of the flow wraps each 71 minutes.
func TestDAT_009_LongRest(t *testing.T) {
	start := uint64(1<<32*msec - 5*msec) // ms wrap soon as well
	for _, pause := range []uint64{0, 100, 198, 203, 1000, 34 * 60_000, 1<<32/1000 - 3, 1<<32/1000 + 50, 10 * 3600_000, 20 * 86400_000} {
		var m memory
		m.start(seg, false, 10*msec, false)
		m.cwnd = 100 * seg
		var s sender
		s.wake(&m, iss, true, uint32(start), uint32(start/msec))
		s.cc.last = uint32(start)
		out := s.rto.timeout() // 200 ms
		s.rest(&m, uint32(start), uint32(start/msec))
		now := start + pause*msec
		s.wake(&m, iss, true, uint32(now), uint32(now/msec))
		s.cc.resume(seg, out, uint32(now))
		want := uint32(100 * seg)
		if pause > 200 {
			want = 10 * seg
		}
		require.Equal(t, want, s.cc.cwnd, "after %d ms", pause)
	}
}

func TestMemoryStart(t *testing.T) {
	var m memory
	var s sender
	m.start(1460, false, 30*msec, true) // the repeated SYN-ACK was told apart by timestamps
	s.wake(&m, iss, true, 0, 0)
	require.EqualValues(t, 14600, s.cc.cwnd)
	require.EqualValues(t, cubicMaxWindow, s.cc.ssthresh)
	require.EqualValues(t, 30*msec, s.rto.smoothed())
	require.InDelta(t, 30*msec, s.minRTT, 30)
	m.start(1460, true, 0, true) // RTX-004
	s.wake(&m, iss, true, 0, 0)
	require.EqualValues(t, 1460, s.cc.cwnd)
	require.EqualValues(t, rtoSYNLost, s.rto.timeout())
	require.EqualValues(t, math.MaxUint32, s.minRTT)
	s.rest(&m, 0, 0)
	s.wake(&m, iss, true, 0, 0)
	require.EqualValues(t, rtoSYNLost, s.rto.timeout())
	require.EqualValues(t, math.MaxUint32, s.minRTT)
}

func TestRounded(t *testing.T) {
	for _, x := range []uint32{0, 1, 2047, 2048, 2049, 14600, 1 << 20, 1<<30 - 1, cubicMaxWindow, math.MaxUint32} {
		r := roundDown(x)
		require.LessOrEqual(t, r.value(), x)
		require.LessOrEqual(t, x-r.value(), x>>10)
		require.Equal(t, r, roundDown(r.value()))
	}
	require.EqualValues(t, cubicMaxWindow, roundDown(cubicMaxWindow).value())
}
