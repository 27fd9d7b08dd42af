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

// half is a flow's sending half, with an application that always has text.
type half struct {
	tb testing.TB
	sender
	p   *runPool
	now uint32
}

const iss = wire.Seq(math.MaxUint32 - 5*seg) // sequence numbers wrap soon

func newHalf(tb testing.TB, sack bool) *half {
	s := &half{tb: tb, p: newRunPool(1, 1000)}
	s.recovery.start(iss, sack)
	s.cc.start(seg, false, 0)
	return s
}

// send sends what it may of up to limit segments, and returns their numbers; r marks a retransmission.
func (s *half) send(limit int) (out []string) {
	for range limit {
		seq, n, allowed := s.next(s.p, seg, s.cc.cwnd)
		switch {
		case n != 0:
			s.sentAgain(s.p, seq, n, s.now)
			out = append(out, fmt.Sprintf("r%d", uint32(seq-iss)/seg))
		case allowed >= seg:
			out = append(out, fmt.Sprint(uint32(s.nxt-iss)/seg))
			s.sentNew(s.p, &s.cc, &s.rto, seg, seg, s.now)
		default:
			return out
		}
	}
	return out
}

// at is the sequence number of segment i.
func at(i int) wire.Seq { return iss + wire.Seq(i*seg) }

// ack takes an ACK for segment i and SACK blocks in segments.
func (s *half) ack(i int, sacks ...int) {
	a := ackOf{ack: at(i), now: s.now, pure: true}
	news, before := uint32(0), s.flight()-s.sacked
	defer func() { require.Equal(s.tb, before-(s.flight()-s.sacked), news) }()
	for k := 0; k < len(sacks); k += 2 {
		a.blocks = append(a.blocks, wire.SACKBlock{Left: at(sacks[k]), Right: at(sacks[k+1])})
	}
	news = s.acked(s.p, &s.cc, &s.rto, &a, seg)
}

// tick lets the timer expire if it is due, and returns what it was.
func (s *half) tick(ms uint32, fresh uint32) (timer, wire.Seq, uint32) {
	s.now += ms * msec
	return s.expired(s.p, &s.cc, &s.rto, fresh, seg, s.now)
}

// flying has a window of ten segments in flight on a path of 100 ms.
func flying(t *testing.T, sack bool) *half {
	s := newHalf(t, sack)
	require.Equal(t, []string{"0"}, s.send(1))
	s.now += 100 * msec
	s.ack(1)
	s.cc.cwnd = 10 * seg
	require.Len(t, s.send(100), 10)
	s.now += 100 * msec
	return s
}

func TestDAT_008_FastRetransmit(t *testing.T) {
	t.Run("SACK", func(t *testing.T) {
		s := flying(t, true) // 1 is lost
		s.ack(1, 2, 3)
		require.Equal(t, []string{"11"}, s.send(9), "limited transmit (RFC 3042)")
		s.ack(1, 2, 4)
		require.Equal(t, []string{"12"}, s.send(9))
		require.EqualValues(t, 10*seg, s.cc.cwnd)
		require.Equal(t, phaseOpen, s.phase)
		s.ack(1, 2, 5)
		require.Equal(t, phaseFast, s.phase)
		require.EqualValues(t, 10*seg*7/10, s.cc.ssthresh, "what limited transmit added does not count (RFC 5681 §3.2 step 2)")
		require.Equal(t, []string{"r1"}, s.send(9)[:1])
		require.Equal(t, at(13), s.point)
		s.now += 100 * msec
		s.ack(13)
		require.Equal(t, phaseOpen, s.phase)
		require.Equal(t, s.cc.ssthresh, s.cc.cwnd)
	})
	t.Run("NewReno", func(t *testing.T) {
		s := flying(t, false) // 1 and 4 are lost (RFC 6582)
		s.ack(1)
		require.Equal(t, []string{"11"}, s.send(9))
		s.ack(1)
		require.Equal(t, []string{"12"}, s.send(9))
		require.EqualValues(t, 10*seg, s.cc.cwnd)
		s.ack(1)
		require.Equal(t, phaseFast, s.phase)
		require.Equal(t, []string{"r1"}, s.send(9))
		for range 5 {
			s.ack(1)
		}
		s.now += 100 * msec
		s.ack(4) // partial
		require.Equal(t, "r4", s.send(9)[0])
		require.Equal(t, phaseFast, s.phase)
		s.now += 100 * msec
		s.ack(13)
		require.Equal(t, phaseOpen, s.phase)
		ssthresh := s.cc.ssthresh
		s = flying(t, false)
		for range 3 {
			s.ack(1)
		}
		s.send(1)
		s.ack(11)
		require.Equal(t, phaseOpen, s.phase)
		s.send(100)
		for range 5 { // answers to needless retransmissions (RFC 6582 §3.2 step 2)
			s.ack(11)
		}
		require.Equal(t, phaseOpen, s.phase)
		require.NotZero(t, ssthresh)
		s.ack(12)
		for range 3 {
			s.ack(12)
		}
		require.Equal(t, phaseFast, s.phase)
	})
	t.Run("once per window", func(t *testing.T) {
		s := flying(t, true)
		s.ack(1, 3, 6)
		require.Equal(t, phaseFast, s.phase)
		before := s.cc.cwnd
		s.ack(1, 8, 10, 3, 6)
		require.Equal(t, before, s.cc.cwnd)
		require.Equal(t, []string{"r1", "r2", "r6", "r7"}, s.send(9)[:4])
	})
	t.Run("a lost retransmission", func(t *testing.T) {
		s := flying(t, true)
		s.ack(1, 2, 6)
		require.Equal(t, []string{"r1", "11"}, s.send(2))
		before := s.cc.cwnd
		s.now += 100 * msec
		s.ack(1, 2, 11)
		require.Empty(t, s.lost)
		s.ack(1, 2, 12) // 11 was sent after it
		require.EqualValues(t, seg, s.lost)
		require.Equal(t, "r1", s.send(1)[0])
		require.Equal(t, before, s.cc.cwnd)
	})
}

// RFC 8985 §6.2: with less than three duplicates, what is missing is lost a quarter
// of a round trip late; and what proves to be reordered widens that.
func TestDAT_008_Reordering(t *testing.T) {
	s := flying(t, true)
	s.ack(1, 2, 3)
	due, what := s.deadline(&s.rto, seg)
	require.Equal(t, timerReorder, what)
	require.Equal(t, s.now+25*msec, due)
	k, _, _ := s.tick(24, 0)
	require.Equal(t, timerNone, k)
	s.ack(3) // the original
	require.True(t, s.reordering)
	require.Equal(t, phaseOpen, s.phase)
	require.False(t, s.reoArmed)
	s.ack(3, 4, 9) // now duplicates alone prove nothing
	require.Equal(t, phaseOpen, s.phase)
	k, _, _ = s.tick(25, 0)
	require.Equal(t, timerReorder, k)
	require.Equal(t, phaseFast, s.phase)
	require.Equal(t, []string{"r3"}, s.send(1))
	s.ack(9)
	s.ack(9, 3, 4) // duplicate SACK: it was needless
	require.EqualValues(t, 2, s.reoMult)
	s.ack(9, 3, 4)
	require.EqualValues(t, 2, s.reoMult, "once per round trip")
	require.EqualValues(t, 2*(s.minRTT/4), s.reorderWindow(&s.rto, seg))
}

func TestTailLossProbe(t *testing.T) {
	s := flying(t, true)
	s.ack(8)
	_, what := s.deadline(&s.rto, seg)
	require.Equal(t, timerProbe, what)
	k, _, _ := s.tick(199, 0)
	require.Equal(t, timerNone, k)
	k, seq, n := s.tick(2, 0)
	require.Equal(t, timerProbe, k)
	require.Equal(t, at(10), seq)
	require.EqualValues(t, seg, n)
	s.sentAgain(s.p, seq, n, s.now)
	_, what = s.deadline(&s.rto, seg)
	require.Equal(t, timerRetrans, what, "one probe")
	// The probe tells of 8 and 9: RACK repairs them.
	s.now += 100 * msec
	s.ack(8, 10, 11)
	require.Equal(t, phaseFast, s.phase)
	require.Equal(t, []string{"r8", "r9"}, s.send(2))

	// The last segment alone was lost: the window is reduced for it.
	s = flying(t, true)
	s.ack(10)
	k, _, _ = s.tick(401, 0) // 2·SRTT and the delay of an ACK
	require.Equal(t, timerRetrans, k, "the timeout is sooner")
	s = flying(t, true)
	s.ack(9)
	k, seq, n = s.tick(201, 0)
	require.Equal(t, timerProbe, k)
	s.sentAgain(s.p, seq, n, s.now)
	before := s.cc.cwnd
	s.ack(11)
	require.True(t, s.tlp)
	s.send(1)
	s.ack(12)
	require.False(t, s.tlp)
	require.Less(t, s.cc.cwnd, before)

	// Nothing was lost: original and probe are acknowledged.
	for _, dup := range [][]int{{10, 11}, nil} {
		s = flying(t, true)
		s.ack(9)
		_, seq, n = s.tick(201, 0)
		s.sentAgain(s.p, seq, n, s.now)
		s.ack(11)
		s.ack(11, dup...)
		require.False(t, s.tlp)
		before = s.cc.cwnd
		s.send(1)
		s.ack(12)
		require.GreaterOrEqual(t, s.cc.cwnd, before)
	}

	// New text is the better probe.
	s = flying(t, true)
	s.ack(9)
	k, _, n = s.tick(201, 1)
	require.Equal(t, timerProbe, k)
	require.Zero(t, n)
	s.sentNew(s.p, &s.cc, &s.rto, seg, seg, s.now)
	s.ack(12)
	require.False(t, s.tlp)
}

func TestDAT_007_Timeout(t *testing.T) {
	for _, sack := range []bool{false, true} {
		s := flying(t, sack)
		if sack {
			s.ack(1, 3, 4)
			s.ack(1, 3, 4, 5, 6) // which the peer forgets
			s.reoArmed = false
		}
		_, _, _ = s.tick(150, 0)
		k, _, _ := s.tick(160, 0)
		for k != timerRetrans { // the probe, and what it leads to, first
			k, _, _ = s.tick(100, 0)
		}
		require.EqualValues(t, seg, s.cc.cwnd, "DAT-009: one segment")
		require.EqualValues(t, 1, s.rto.timeouts())
		require.Equal(t, []string{"r1"}, s.send(9), "from SND.UNA")
		first := s.rto.timeout()
		k, _, _ = s.tick(first/msec-1, 0)
		require.Equal(t, timerNone, k)
		ssthresh := s.cc.ssthresh
		k, _, _ = s.tick(2, 0)
		require.Equal(t, timerRetrans, k)
		require.Equal(t, 2*first, s.rto.timeout())
		require.Equal(t, ssthresh, s.cc.ssthresh)
		require.Equal(t, []string{"r1"}, s.send(9))
		s.now += 100 * msec
		s.ack(2)
		require.Zero(t, s.rto.timeouts())
		require.Equal(t, []string{"r2", "r3"}, s.send(9), "slow start, also of what was reported")
		s.ack(2)
		s.ack(2)
		s.ack(2)
		require.Equal(t, phaseLoss, s.phase, "no fast retransmit after a timeout")
		s.ack(11)
		require.Equal(t, phaseOpen, s.phase)
	}
}

// RTX-006, DAT-007: a retransmitted segment gives no sample, unless timestamps tell which copy it was.
func TestRTX_006_NoSampleOfRetransmitted(t *testing.T) {
	s := newHalf(t, true)
	s.send(1)
	k, _, _ := s.tick(1000, 0)
	for k != timerRetrans {
		k, _, _ = s.tick(100, 0)
	}
	s.send(1)
	s.now += 50 * msec
	c := *s
	s.ack(1)
	require.False(t, s.rto.sampled())
	c.p = newRunPool(1, 10)
	c.p.runs[1], c.scoreboard.head, c.scoreboard.tail = run{end: at(1), at: c.now - 50*msec, flags: runRetrans}, 1, 1
	c.p.free.get()
	c.acked(c.p, &c.cc, &c.rto, &ackOf{ack: at(1), now: c.now, echo: c.now - 50*msec, hasEcho: true}, seg)
	require.EqualValues(t, 50*msec, c.rto.smoothed())
}

// A path that loses, repeats and reorders in both directions, and a naive receiver that
// remembers each byte, or forgets what it has out of order. Every byte arrives; nothing is
// sent beyond the window; the scoreboard stays sound.
func simulate(t *testing.T, seed uint64, sack bool, loss float64, runs int) {
	rng := rand.New(rand.NewPCG(seed, 3))
	const total, mss, wnd = 300_000, 1000, 64_000
	s := &half{p: newRunPool(1, runs)}
	s.now = rng.Uint32()
	s.recovery.start(iss, sack)
	s.cc.start(mss, false, s.now)
	type packet struct {
		due    uint32
		seq    wire.Seq
		n      uint32
		blocks []wire.SACKBlock
		data   bool
	}
	var net []packet
	carry := func(k packet) {
		for range 1 + rng.IntN(10)/9 {
			if rng.Float64() >= loss {
				k.due = s.now + 20*msec
				if rng.IntN(20) == 0 {
					k.due += rng.Uint32N(30 * msec)
				}
				net = append(net, k)
			}
		}
	}
	got := make([]bool, total) // of the receiver
	next := 0
	data := func(seq wire.Seq, n uint32) {
		off := uint32(seq - iss)
		require.LessOrEqual(t, off+n, uint32(total))
		require.LessOrEqual(t, uint32(seq-s.una)+n, uint32(wnd), "within the window")
		carry(packet{seq: seq, n: n, data: true})
	}
	newText := func() uint32 {
		return min(mss, total-uint32(s.nxt-iss), wnd-s.flight())
	}
	for step := 0; next < total || s.flight() > 0; step++ {
		require.Less(t, step, 2_000_000, "no progress")
		for range 64 {
			seq, n, allowed := s.next(s.p, mss, s.cc.cwnd)
			if n != 0 {
				data(seq, n)
				s.sentAgain(s.p, seq, n, s.now)
			} else if n = min(newText(), allowed); n != 0 && (n == mss || n == newText()) {
				data(s.nxt, n)
				s.sentNew(s.p, &s.cc, &s.rto, n, mss, s.now)
			} else {
				break
			}
			s.p.audit(t, &s.scoreboard)
		}
		// The next thing that happens.
		when, what := s.deadline(&s.rto, mss)
		first := -1
		for i := range net {
			if first < 0 || int32(net[i].due-net[first].due) < 0 {
				first = i
			}
		}
		if first >= 0 && (what == timerNone || int32(net[first].due-when) < 0) {
			k := net[first]
			net = slices.Delete(net, first, first+1)
			s.now = k.due
			if !k.data {
				s.acked(s.p, &s.cc, &s.rto, &ackOf{ack: k.seq, blocks: k.blocks, now: s.now, pure: true}, mss)
				s.p.audit(t, &s.scoreboard)
				require.LessOrEqual(t, uint32(s.una-iss), uint32(next))
				continue
			}
			off := int(uint32(k.seq - iss))
			dup := off+int(k.n) <= next
			for i := off; i < off+int(k.n); i++ {
				got[i] = true
			}
			for next < total && got[next] {
				next++
			}
			if rng.IntN(200) == 0 { // reneges
				clear(got[next:])
			}
			r := packet{seq: iss + wire.Seq(next)}
			if sack {
				if dup {
					r.blocks = append(r.blocks, wire.SACKBlock{Left: k.seq, Right: k.seq + wire.Seq(k.n)})
				}
				for i := next; i < total && len(r.blocks) < 3; i++ {
					if got[i] {
						l := i
						for i < total && got[i] {
							i++
						}
						r.blocks = append(r.blocks, wire.SACKBlock{Left: iss + wire.Seq(l), Right: iss + wire.Seq(i)})
					} else if i > next+wnd {
						break
					}
				}
			}
			carry(r)
			continue
		}
		require.NotEqual(t, timerNone, what, "text in flight without a timer")
		s.now = when
		what, seq, n := s.expired(s.p, &s.cc, &s.rto, newText(), mss, s.now)
		require.NotEqual(t, timerNone, what)
		if what == timerProbe {
			if n != 0 {
				data(seq, n)
				s.sentAgain(s.p, seq, n, s.now)
			} else {
				n = newText()
				data(s.nxt, n)
				s.sentNew(s.p, &s.cc, &s.rto, n, mss, s.now)
			}
		}
		s.p.audit(t, &s.scoreboard)
	}
	require.Zero(t, s.p.free.used)
	require.EqualValues(t, total, uint32(s.una-iss))
}

func TestEveryByteArrives(t *testing.T) {
	for _, sack := range []bool{false, true} {
		for _, loss := range []float64{0, 0.01, 0.05, 0.2, 0.4} {
			for _, runs := range []int{0, 5, 1000} {
				t.Run(fmt.Sprintf("sack=%t/loss=%v/runs=%d", sack, loss, runs), func(t *testing.T) {
					simulate(t, 7, sack, loss, runs)
				})
			}
		}
	}
}

func FuzzRecovery(f *testing.F) {
	f.Add(uint64(1), true, uint8(10), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, sack bool, loss, runs uint8) {
		simulate(t, seed, sack, float64(loss%50)/100, int(runs))
	})
}

func TestRecoveryAllocatesNothing(t *testing.T) {
	s := flying(t, true)
	a := ackOf{blocks: make([]wire.SACKBlock, 1), pure: true}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s.now += 100 * msec
		a.now, a.ack = s.now, s.una
		a.blocks[0] = wire.SACKBlock{Left: s.una + seg, Right: s.nxt}
		s.acked(s.p, &s.cc, &s.rto, &a, seg)
		for {
			seq, n, allowed := s.next(s.p, seg, s.cc.cwnd)
			if n != 0 {
				s.sentAgain(s.p, seq, n, s.now)
			} else if allowed >= seg {
				s.sentNew(s.p, &s.cc, &s.rto, seg, seg, s.now)
			} else {
				break
			}
		}
		a.ack = s.nxt
		s.acked(s.p, &s.cc, &s.rto, &a, seg)
	}))
}

// An ACK of two segments of a flow without loss, and the two it lets go.
func BenchmarkRecoveryInOrder(b *testing.B) {
	s := newHalf(b, true)
	s.cc.cwnd = 100 * seg
	s.cc.ssthresh = 50 * seg
	s.send(100)
	a := ackOf{pure: true}
	b.ReportAllocs()
	for b.Loop() {
		s.now += 100
		a.now, a.ack = s.now, s.una+2*seg
		s.acked(s.p, &s.cc, &s.rto, &a, seg)
		for {
			_, n, allowed := s.next(s.p, seg, s.cc.cwnd)
			if n != 0 || allowed < seg {
				break
			}
			s.sentNew(s.p, &s.cc, &s.rto, seg, seg, s.now)
		}
		s.cc.cwnd = 100 * seg
	}
}

// Whatever a peer acknowledges, the scoreboard stays sound, nothing is sent beyond what
// was sent, and text in flight has a timer.
func FuzzLyingPeer(f *testing.F) {
	f.Add(uint64(1), true, []byte("aaabbbcccdddAAABBBCCC"))
	f.Add(uint64(2), false, []byte("\x00\x10\x20\x30\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0"))
	f.Fuzz(func(t *testing.T, seed uint64, sack bool, script []byte) {
		if len(script) > 500 {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 4))
		s := &half{p: newRunPool(1, rng.IntN(300)), now: rng.Uint32()}
		s.recovery.start(iss, sack)
		s.cc.start(seg, seed&1 == 0, s.now)
		any := func() wire.Seq {
			if rng.IntN(8) == 0 {
				return wire.Seq(rng.Uint32())
			}
			return s.una + wire.Seq(rng.Uint32N(s.flight()+2000)) - 1000
		}
		for _, op := range script {
			s.now += rng.Uint32N(1 << (op & 15))
			una, nxt := s.una, s.nxt
			switch op >> 6 {
			case 0:
				for range 20 {
					seq, n, allowed := s.next(s.p, seg, s.cc.cwnd)
					if n != 0 {
						require.LessOrEqual(t, uint32(seq-s.una)+n, s.flight(), "only what was sent")
						require.True(t, s.fast || s.outstanding(seg) < s.cc.cwnd)
						s.sentAgain(s.p, seq, n, s.now)
					} else if n = min(allowed, 1+rng.Uint32N(seg)); n != 0 {
						s.sentNew(s.p, &s.cc, &s.rto, n, seg, s.now)
					} else {
						break
					}
				}
			case 1:
				at, what := s.deadline(&s.rto, seg)
				if what == timerNone {
					continue
				}
				if int32(at-s.now) > 0 {
					s.now = at
				}
				got, seq, n := s.expired(s.p, &s.cc, &s.rto, 0, seg, s.now)
				require.Equal(t, what, got)
				if got == timerProbe {
					s.sentAgain(s.p, seq, n, s.now)
				}
			default:
				a := ackOf{ack: any(), now: s.now, echo: s.now - rng.Uint32N(1<<20), hasEcho: op&1 != 0, pure: op&2 != 0}
				for range rng.IntN(5) {
					a.blocks = append(a.blocks, wire.SACKBlock{Left: any(), Right: any()})
				}
				s.acked(s.p, &s.cc, &s.rto, &a, seg)
				require.Equal(t, nxt, s.nxt)
				require.LessOrEqual(t, uint32(s.una-una), uint32(nxt-una))
			}
			s.p.audit(t, &s.scoreboard)
			require.GreaterOrEqual(t, s.cc.cwnd, uint32(seg))
			require.LessOrEqual(t, s.outstanding(seg), s.pipe())
			_, what := s.deadline(&s.rto, seg)
			require.Equal(t, s.flight() == 0, what == timerNone)
		}
	})
}

// start begins with nothing in flight.
func (r *recovery) start(nxt wire.Seq, sack bool) {
	*r = recovery{scoreboard: newScoreboard(nxt), minRTT: math.MaxUint32, phase: phaseOpen, reoMult: 1, sackOK: sack}
}
