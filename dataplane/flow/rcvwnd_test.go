package flow

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// The table of §3.10.7.4 around the window [100, 110), and around a closed one.
func TestDAT_001_Acceptability(t *testing.T) {
	for _, c := range []struct {
		name string
		wnd  uint32
		seq  wire.Seq
		n    uint32
		fin  bool
		ok   bool
	}{
		{"DAT-001 no text, closed window, next", 0, 100, 0, false, true},
		{"DAT-001 no text, closed window, before", 0, 99, 0, false, false},
		{"DAT-001 no text, closed window, behind", 0, 101, 0, false, false},
		{"DAT-001 no text, next", 10, 100, 0, false, true},
		{"DAT-001 no text, last of the window", 10, 109, 0, false, true},
		{"DAT-001 no text, right edge", 10, 110, 0, false, true},
		{"DAT-001 no text, behind the right edge", 10, 111, 0, false, false},
		{"DAT-001 no text, before", 10, 99, 0, false, false},
		{"DAT-001 text, closed window", 0, 100, 1, false, false},
		{"DAT-001 FIN, closed window", 0, 100, 1, true, true},
		{"DAT-001 text and FIN, closed window", 0, 100, 2, true, false},
		{"DAT-001 FIN behind a closed window", 0, 101, 1, true, false},
		{"DAT-001 text, next", 10, 100, 5, false, true},
		{"DAT-001 text into the window", 10, 95, 6, false, true},
		{"DAT-001 text up to the window", 10, 95, 5, false, false},
		{"DAT-001 text across the right edge", 10, 109, 5, false, true},
		{"DAT-001 text behind the right edge", 10, 110, 5, false, false},
		{"DAT-001 text that covers the window", 10, 95, 6 + 9, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, by := range []wire.Seq{0, ^wire.Seq(0) - 99, ^wire.Seq(0) - 104, 1<<31 - 105} {
				require.Equal(t, c.ok, Acceptable(100+by, c.wnd, c.seq+by, c.n, c.fin))
			}
		})
	}
}

func TestWND_001_005_Window(t *testing.T) {
	const mss = 1460
	t.Run("WND-001 the window of a SYN is not scaled", func(t *testing.T) {
		w := NewRcvWindow(100, 65160, 10)
		require.Equal(t, uint32(65160), w.Left(100))
		// 65160>>10 in the ACK that follows: the buffer has room for no more.
		require.Equal(t, uint16(63), w.Field(100, 65160, 65160, mss))
		require.Equal(t, uint32(65160), w.Left(100), "what was promised on the SYN stays")
	})
	t.Run("WND-005 unsigned and large", func(t *testing.T) {
		w := NewRcvWindow(100, 65535, 14)
		require.Equal(t, uint16(65535), w.Field(100, 1<<31, 1<<31, mss))
		require.Equal(t, uint32(65535<<14), w.Left(100))
		require.Equal(t, uint16(40000), new(RcvWindow{Edge: 40100}).Field(100, 0, 40000, mss))
	})
	t.Run("WND-005 a buffer that gets smaller breaks no promise", func(t *testing.T) {
		w := NewRcvWindow(100, 10000, 0)
		require.Equal(t, uint16(10000), w.Field(100, 0, 20000, mss))
		require.Equal(t, uint16(4000), w.Field(6100, 500, 20000, mss))
		require.Equal(t, uint16(0), w.Field(10100, 0, 20000, mss))
		require.Equal(t, uint16(0), w.Field(10101, 0, 20000, mss), "and a FIN behind it")
		require.Zero(t, w.Left(10101))
		require.Equal(t, uint16(5000), w.Field(10101, 5000, 20000, mss))
	})
	t.Run("WND-005 rounding up keeps the edge where there is room", func(t *testing.T) {
		w := NewRcvWindow(0, 65535, 7)
		require.Equal(t, uint16(1000), w.Field(0, 128000, 1<<17, mss))
		require.Equal(t, uint16(1000), w.Field(1, 128000, 1<<17, mss), "127999 bytes and one more")
		require.Equal(t, uint32(128000), w.Left(1))
		require.Equal(t, uint16(999), w.Field(2, 127999, 1<<17, mss), "no room for one more")
		require.Equal(t, uint32(127999), w.Left(2))
	})
	t.Run("DAT-006 no step that is not worth a segment", func(t *testing.T) {
		w := NewRcvWindow(0, 10000, 0)
		require.Equal(t, uint16(0), w.Field(10000, 0, 10000, mss))
		require.Equal(t, uint16(0), w.Field(10000, 1459, 10000, mss), "one byte less than a segment")
		require.Equal(t, uint16(1460), w.Field(10000, 1460, 10000, mss))
		require.Equal(t, uint16(1460), w.Field(10000, 2919, 10000, mss))
		require.Equal(t, uint16(2920), w.Field(10000, 2920, 10000, mss))
	})
	t.Run("DAT-006 half of a small buffer is a step", func(t *testing.T) {
		w := NewRcvWindow(0, 1000, 0)
		require.Equal(t, uint16(0), w.Field(1000, 499, 1000, mss))
		require.Equal(t, uint16(500), w.Field(1000, 500, 1000, mss))
		require.Equal(t, uint16(0), new(RcvWindow{}).Field(0, 0, 0, mss), "no buffer")
		require.False(t, new(RcvWindow{}).Update(0, 0, 0, mss))
	})
	for _, c := range []struct {
		name            string
		left, room, buf uint32
		shift           uint8
		want            bool
	}{
		{"DAT-003 the window opens by two segments", 10000, 12920, 60000, 0, true},
		{"DAT-003 by less", 10000, 12919, 60000, 0, false},
		{"DAT-003 by half the buffer", 2000, 4000, 4000, 0, true},
		{"DAT-003 not at all", 10000, 10000, 60000, 0, false},
		{"DAT-003 there is less room than was promised", 10000, 500, 60000, 0, false},
		{"DAT-003 a closed window opens by a segment", 0, 1460, 60000, 0, true},
		{"DAT-003 a closed window opens by less", 0, 1459, 60000, 0, false},
		{"DAT-003 a window too small for a segment", 1459, 2919, 60000, 0, true},
		{"DAT-003 a window that seems closed by rounding", 1000, 3072, 60000, 10, true},
		{"DAT-003 a window too small for a segment by rounding", 1500, 3072, 60000, 10, true},
		{"DAT-003 two segments that rounding hides", 10240, 13311, 60000, 10, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := RcvWindow{Edge: 100 + wire.Seq(c.left), Shift: c.shift}
			require.Equal(t, c.want, w.Update(100, c.room, c.buf, mss))
		})
	}
}

// A sender that uses every byte it was ever promised, in segments of any size,
// and an application that reads now and then, or never.
func TestWND_005_DAT_006_WindowAgainstABuffer(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		buf := uint32(1 + rnd.IntN(300000))
		if seed%4 == 0 {
			buf = uint32(1 + rnd.IntN(3000))
		}
		shift := uint8(0)
		for buf>>shift > 65535 {
			shift++
		}
		shift = min(shift+uint8(rnd.IntN(3)), 14)
		mss := uint32(100 + rnd.IntN(9000))
		nxt := wire.Seq(rnd.Uint32())
		w := NewRcvWindow(nxt, uint16(min(buf, 65535)), shift)
		unread, seen := uint32(0), nxt+wire.Seq(min(buf, 65535)) // seen: the right edge in the last ACK
		stalled := 0
		for range 400 {
			if left := w.Left(nxt); left != 0 && rnd.IntN(3) != 0 {
				n := uint32(rnd.IntN(int(min(left, 3*mss)))) + 1
				nxt += wire.Seq(n)
				unread += n
			}
			require.LessOrEqual(t, unread, buf, "more was promised than there is room for")
			if unread != 0 && rnd.IntN(3) == 0 && seed%5 != 0 {
				unread -= uint32(rnd.IntN(int(unread))) + 1
			}
			room, edge := buf-unread, w.Edge
			update := w.Update(nxt, room, buf, mss)
			require.Equal(t, edge, w.Edge, "a question changes nothing")
			field := uint32(w.Field(nxt, room, buf, mss)) << shift
			require.False(t, w.Edge.Less(edge), "the right edge moved to the left")
			require.LessOrEqual(t, uint32(w.Edge-edge), room)
			if w.Edge != edge {
				require.LessOrEqual(t, w.Left(nxt), room)
				require.Equal(t, field, w.Left(nxt))
				grown := uint32(w.Edge - edge)
				require.True(t, grown >= min(mss, max(buf/2, 1)) || grown < 1<<shift, "a silly step of %d", grown)
			}
			require.LessOrEqual(t, field, w.Left(nxt))
			require.Less(t, w.Left(nxt)-field, uint32(1)<<shift)
			if back := int32(seen - (nxt + wire.Seq(field))); back > 0 {
				require.Less(t, back, int32(1)<<shift, "more than rounding")
				require.Less(t, room, field+1<<shift, "there was room to round up")
			}
			seen = nxt + wire.Seq(field)
			if update {
				require.NotEqual(t, edge, w.Edge, "an update that tells nothing new")
				require.NotZero(t, field)
			} else if room == buf && field < min(mss, buf/2) && buf>>shift != 0 {
				stalled++
			}
		}
		require.Zero(t, stalled, "seed %d: an empty buffer of %d, and the peer cannot send", seed, buf)
	}
}

func BenchmarkWindow(b *testing.B) {
	w := NewRcvWindow(0, 65535, 4)
	nxt := wire.Seq(0)
	b.ReportAllocs()
	for b.Loop() {
		nxt += 1460
		if w.Update(nxt, 1<<20, 1<<20, 1460) {
			w.Field(nxt, 1<<20, 1<<20, 1460)
		}
	}
}
