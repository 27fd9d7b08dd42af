package flow

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// audit checks what holds for every scoreboard.
func (p *runPool) audit(tb testing.TB, s *scoreboard) {
	tb.Helper()
	at, runs, sacked, lost, high := s.una, uint32(0), uint32(0), uint32(0), s.una
	last := uint32(0)
	for i := s.head; i != 0; i = p.runs[i].next {
		r := &p.runs[i]
		require.True(tb, at.Less(r.end), "an empty run")
		n := uint32(r.end - at)
		if r.flags&runSacked != 0 {
			require.Zero(tb, r.flags&runLost)
			sacked += n
			high = r.end
		}
		if r.flags&runLost != 0 {
			lost += n
		}
		at, last = r.end, i
		runs++
	}
	require.Equal(tb, s.nxt, at, "the runs end at SND.NXT")
	require.Equal(tb, s.tail, last)
	require.Equal(tb, s.runs, runs)
	require.LessOrEqual(tb, runs, uint32(maxRuns))
	require.Equal(tb, s.sacked, sacked)
	require.Equal(tb, s.lost, lost)
	require.Equal(tb, s.high, high)
	require.LessOrEqual(tb, s.pipe(), s.flight(), "pipe is not negative")
}

// show renders the runs as lengths in segments of 100 bytes: s sacked, l lost, r sent again.
func (p *runPool) show(s *scoreboard) string {
	out, at := "", s.una
	for i := s.head; i != 0; i = p.runs[i].next {
		r := &p.runs[i]
		for ; at.Less(r.end); at += 100 {
			c := "."
			switch {
			case r.flags&runSacked != 0:
				c = "s"
			case r.flags&runLost != 0:
				c = "l"
			case r.flags&runRetrans != 0:
				c = "r"
			}
			out += c
		}
	}
	return out
}

func blocksOf(seqs ...wire.Seq) (b []wire.SACKBlock) {
	for i := 0; i < len(seqs); i += 2 {
		b = append(b, wire.SACKBlock{Left: seqs[i], Right: seqs[i+1]})
	}
	return b
}

func TestDAT_008_Scoreboard(t *testing.T) {
	require.EqualValues(t, 16, unsafe.Sizeof(run{}))
	require.LessOrEqual(t, unsafe.Sizeof(scoreboard{}), uintptr(36))
	p := newRunPool(1, 20)
	s := newScoreboard(math.MaxUint32 - 299)
	una := s.una
	var d delivery
	p.sent(&s, 500, 10, 0)
	p.sent(&s, 500, 20, 0)
	require.EqualValues(t, 2, s.runs)
	require.EqualValues(t, 1000, s.pipe())
	require.False(t, p.sack(&s, una, blocksOf(una+200, una+300, una+400, una+700), &d))
	require.Equal(t, "..s.sss...", p.show(&s))
	require.EqualValues(t, 400, d.bytes)
	require.EqualValues(t, 20, d.at)
	require.Equal(t, una+700, d.end)
	require.EqualValues(t, 10, d.first)
	require.EqualValues(t, 600, s.pipe())
	p.audit(t, &s)

	d = delivery{} // once is enough
	p.sack(&s, una, blocksOf(una+200, una+300, una+400, una+700), &d)
	require.Zero(t, d)
	p.mark(&s, una, una+400, runLost, 0, runSacked, nil)
	require.Equal(t, "llslsss...", p.show(&s))
	require.EqualValues(t, 300, s.pipe())
	for _, want := range []wire.Seq{0, 100, 300} {
		seq, n := p.nextLost(&s, 100)
		require.Equal(t, una+want, seq)
		require.EqualValues(t, 100, n)
		p.resent(&s, seq, n, 50)
		p.audit(t, &s)
	}
	require.Equal(t, "rrsrsss...", p.show(&s))
	require.EqualValues(t, 600, s.pipe())
	_, n := p.nextLost(&s, 100)
	require.Zero(t, n)

	d = delivery{now: 60, minRTT: 5}
	p.acked(&s, una+250, &d)
	require.Equal(t, "srsss...", p.show(&scoreboard{una: s.una - 50, nxt: s.nxt, head: s.head}))
	require.EqualValues(t, 200, d.bytes)
	require.EqualValues(t, 50, d.at)
	require.True(t, d.ambiguous)
	require.False(t, d.hasFirst, "Karn")
	p.audit(t, &s)
	p.acked(&s, s.nxt+1, &d)
	p.acked(&s, s.una-1, &d)
	require.Equal(t, una+250, s.una)

	p.timeout(&s) // what was reported may be forgotten by the peer
	require.EqualValues(t, 1, s.runs)
	require.Zero(t, s.pipe())
	seq, n := p.nextLost(&s, 2000)
	require.Equal(t, una+250, seq)
	require.EqualValues(t, 750, n)
	p.audit(t, &s)
	p.acked(&s, s.nxt, &d)
	require.Zero(t, s.runs)
	require.Zero(t, s.head)
	require.Zero(t, p.free.used)
	require.Equal(t, 20, p.extra)
}

func TestSelectiveAcknowledgmentsOfALiar(t *testing.T) {
	p := newRunPool(1, 20)
	s := newScoreboard(1000)
	p.sent(&s, 1000, 0, 0)
	var d delivery
	for _, b := range [][]wire.SACKBlock{
		blocksOf(900, 1100), blocksOf(1900, 2001), blocksOf(1500, 1500), blocksOf(1500, 1400),
		blocksOf(3000, 4000), blocksOf(1500, 1500+1<<31), blocksOf(1500+1<<31, 1500),
	} {
		require.False(t, p.sack(&s, 1000, b, &d), b)
		require.Zero(t, d)
		require.Equal(t, "..........", p.show(&s))
	}
	// RFC 2883 §4: a duplicate below the ACK, or within the second block.
	require.True(t, p.sack(&s, 1000, blocksOf(500, 1000), &d))
	require.True(t, p.sack(&s, 1000, blocksOf(1500, 1600, 1400, 1700), &d))
	require.Equal(t, "....sss...", p.show(&s))
	require.False(t, p.sack(&s, 1000, blocksOf(1400, 1700, 1800, 1900), &d))
	require.False(t, p.sack(&s, 1000, blocksOf(1000, 2000), &d))
	require.Equal(t, "ssssssssss", p.show(&s))
	require.EqualValues(t, 1, s.runs)
	p.clear(&s)
	require.Zero(t, p.free.used)

	// A report of every second byte takes no more runs than there are for it, and
	// leaves those of other flows alone.
	s = newScoreboard(0)
	other := newScoreboard(7)
	p = newRunPool(2, 30)
	p.sent(&s, 10_000, 0, 0)
	for b := wire.Seq(1); b < 9999; b += 2 {
		p.sack(&s, 0, blocksOf(b, b+1), &d)
	}
	require.EqualValues(t, 31, s.runs)
	p.audit(t, &s)
	p.sent(&other, 100, 1, 0)
	p.sent(&other, 100, 2, 0) // joins
	require.EqualValues(t, 1, other.runs)
	p.audit(t, &other)
	p.sent(&s, 100, 3, 0)
	p.audit(t, &s)
	p.acked(&other, other.nxt, &d)
	p.timeout(&s)
	require.Equal(t, 30, p.extra)
	p = newRunPool(1, 2*maxRuns)
	s = newScoreboard(0)
	p.sent(&s, 10_000, 0, 0)
	for b := wire.Seq(1); b < 9999; b += 2 {
		p.sack(&s, 0, blocksOf(b, b+1), &d)
	}
	require.EqualValues(t, maxRuns-1, s.runs, "a block takes two")
}

// byteState is what the twin knows of one byte in flight.
type byteState struct {
	at                    uint32
	sacked, lost, retrans bool
}

// The scoreboard against a twin that remembers each byte. With enough runs both agree; with
// few the scoreboard knows less, and nothing wrong.
func FuzzScoreboard(f *testing.F) {
	f.Add(uint64(1), []byte("sssKKLLrrrAAsKKtrrrKA"))
	f.Add(uint64(3), []byte("ssssssssKKKKLLLLrrrrAAAAssssKKKKttttrrrrKKKKAAAA"))
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		if len(script) > 300 {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 2))
		scarce := seed&1 == 0
		p := newRunPool(1, 200)
		if scarce {
			p = newRunPool(1, int(seed>>1&7))
		}
		s := newScoreboard(wire.Seq(rng.Uint32()))
		var twin []byteState
		now := rng.Uint32()
		span := func() (int, int) {
			a, b := rng.IntN(len(twin)+1), rng.IntN(len(twin)+1)
			return min(a, b), max(a, b)
		}
		for _, op := range script {
			d := delivery{now: now}
			want := uint32(0)
			switch op % 8 {
			case 0, 1, 2: // send
				now += rng.Uint32N(3)
				n := 1 + rng.IntN(20)
				p.sent(&s, uint32(n), now, 0)
				for range n {
					twin = append(twin, byteState{at: now})
				}
			case 3: // SACK
				a, b := span()
				p.sack(&s, s.una, blocksOf(s.una+wire.Seq(a), s.una+wire.Seq(b)), &d)
				for i := a; i < b; i++ {
					if !twin[i].sacked {
						want++
					}
					twin[i].sacked, twin[i].lost = true, false
				}
			case 4: // lost
				a, b := span()
				p.mark(&s, s.una+wire.Seq(a), s.una+wire.Seq(b), runLost, 0, runSacked, nil)
				for i := a; i < b; i++ {
					twin[i].lost = !twin[i].sacked
				}
			case 5: // send again
				now += rng.Uint32N(3)
				seq, n := p.nextLost(&s, 1+rng.Uint32N(30))
				if n > 0 {
					if !scarce {
						require.True(t, twin[seq-s.una].lost)
					}
					p.resent(&s, seq, n, now)
					for i := uint32(seq - s.una); n > 0; i, n = i+1, n-1 {
						twin[i] = byteState{at: now, retrans: true, sacked: twin[i].sacked}
					}
				}
			case 6: // cumulative
				n := rng.IntN(len(twin) + 1)
				for i := range n {
					if !twin[i].sacked {
						want++
					}
				}
				p.acked(&s, s.una+wire.Seq(n), &d)
				twin = twin[n:]
			case 7:
				p.timeout(&s)
				for i := range twin {
					twin[i].sacked, twin[i].lost, twin[i].retrans = false, true, true
				}
			}
			p.audit(t, &s)
			require.EqualValues(t, len(twin), s.flight())
			if scarce {
				continue
			}
			require.Equal(t, want, d.bytes, "each byte is news once")
			at := s.una
			for i := s.head; i != 0; i = p.runs[i].next {
				r := &p.runs[i]
				for ; at != r.end; at++ {
					b := twin[at-s.una]
					require.Equal(t, b.sacked, r.flags&runSacked != 0)
					require.Equal(t, b.lost, r.flags&runLost != 0)
					if !b.sacked {
						require.Equal(t, b.retrans, r.flags&runRetrans != 0)
						if !b.lost {
							require.Equal(t, b.at, r.at)
						}
					}
				}
			}
		}
		p.clear(&s)
		require.Zero(t, p.free.used)
	})
}

func BenchmarkScoreboard(b *testing.B) {
	b.Run("in order", func(b *testing.B) {
		p := newRunPool(1, 100)
		s := newScoreboard(0)
		b.ReportAllocs()
		for b.Loop() {
			p.sent(&s, 1460, 1, 0)
			var d delivery
			p.acked(&s, s.nxt, &d)
		}
	})
	b.Run("loss", func(b *testing.B) { // one segment of ten
		p := newRunPool(1, 100)
		s := newScoreboard(0)
		var blocks [1]wire.SACKBlock
		b.ReportAllocs()
		for b.Loop() {
			p.sent(&s, 14600, 1, 0)
			var d delivery
			for n := wire.Seq(2920); n <= 14600; n += 2920 {
				blocks[0] = wire.SACKBlock{Left: s.una + 1460, Right: s.una + n}
				p.sack(&s, s.una, blocks[:], &d)
			}
			p.mark(&s, s.una, s.una+1460, runLost, 0, runSacked, nil)
			seq, n := p.nextLost(&s, 1460)
			p.resent(&s, seq, n, 2)
			p.acked(&s, s.nxt, &d)
		}
	})
}
