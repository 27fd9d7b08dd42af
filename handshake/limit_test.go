package handshake

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A bucket beside one in arithmetic of any size: steps small and big, bursts,
// idleness longer than the bucket is deep.
func TestTokenBucketIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		l := Limit{PerSecond: 1 + rng.IntN(1<<rng.IntN(30)), Burst: 1 + rng.IntN(1<<rng.IntN(20))}
		b := newTokenBucket(l)
		now := wrapTime
		b.last = now
		one, room := big.NewInt(1e9), new(big.Int).Mul(big.NewInt(int64(l.Burst)), big.NewInt(1e9))
		level := new(big.Int).Set(room)
		passed := 0
		for range 500 {
			step := rng.Int64N(1 << rng.IntN(40))
			now += step
			level.Add(level, new(big.Int).Mul(big.NewInt(step), big.NewInt(int64(l.PerSecond))))
			if level.Cmp(room) > 0 {
				level.Set(room)
			}
			want := level.Cmp(one) >= 0
			require.Equal(t, want, b.take(now), "%+v", l)
			if want {
				level.Sub(level, one)
				passed++
			}
		}
		require.Positive(t, passed)
	}
}

func TestLimitOverAnyTime(t *testing.T) {
	// 333 per second is no whole number of ns apart. Asked all the time, exactly
	// burst + rate·t pass, however long it goes on.
	b := newTokenBucket(Limit{PerSecond: 333, Burst: 5})
	passed := 0
	for ms := range 1000_000 {
		if b.take(wrapTime + int64(ms)*1e6) {
			passed++
		}
	}
	require.Equal(t, 5+333*1000-1, passed, "the millisecond before the end has not brought the last one yet")
	require.False(t, b.take(wrapTime), "time that goes back brings nothing")
	// The largest of everything does not overflow.
	b = newTokenBucket(Limit{PerSecond: maxLimit, Burst: maxLimit})
	for _, d := range []int64{0, 1, 1e9, 1 << 40, 1 << 60} {
		require.True(t, b.take(wrapTime+d))
	}
}

func TestLimitDefaults(t *testing.T) {
	l := Limit{PerSecond: 1000}
	require.NoError(t, l.withDefaults("x"))
	require.Equal(t, Limit{1000, 100}, l)
	l = Limit{PerSecond: 3}
	require.NoError(t, l.withDefaults("x"))
	require.Equal(t, 1, l.Burst)
	for _, bad := range []Limit{{-1, 0}, {0, 1}, {maxLimit + 1, 0}, {1, -1}, {1, maxLimit + 1}} {
		require.Error(t, bad.withDefaults("Flood.SYN"), "%+v", bad)
	}
	l = Limit{}
	require.NoError(t, l.withDefaults("x"))
	require.False(t, newTokenBucket(l).on)
	s := newSketch(l, 64, 24, 48)
	require.False(t, s.on())
}

// sketchHash stands for the keyed hash of prefix p.
func sketchHash(p uint64) uint64 {
	p = (p ^ p>>31) * 0x7fb5d329728ea185
	p = (p ^ p>>27) * 0x81dadef4bc2dd44d
	return p ^ p>>33
}

// No prefix ever gets more than its limit, whatever the others do: beside each
// prefix runs a bucket of its own, which must allow all that the sketch does.
func TestFLD_007_SketchNeverAllowsMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	l := Limit{PerSecond: 1000, Burst: 20}
	s := newSketch(l, 256, 24, 48)
	alone := map[uint64]*tokenBucket{}
	now, passed, refused := wrapTime, 0, 0
	for range 300_000 {
		now += rng.Int64N(20_000)
		p := uint64(rng.IntN(20)) // a few busy ones
		if rng.IntN(2) == 0 {
			p = uint64(rng.IntN(100_000)) // and many, to wear them out
		}
		if !s.take(sketchHash(p), now) {
			refused++
			continue
		}
		passed++
		b := alone[p]
		if b == nil {
			nb := newTokenBucket(l)
			b = &nb
			alone[p] = b
		}
		require.True(t, b.take(now), "prefix %d got more than its limit", p)
	}
	require.Positive(t, passed)
	require.Positive(t, refused)
}

// Honest prefixes under attack: of 20 000 that ask once, how many are refused
// while n others are far above the limit.
func TestFLD_007_SketchSparesOthers(t *testing.T) {
	for _, c := range []struct {
		busy, mostRefused int
	}{{0, 0}, {100, 0}, {1000, 4}, {4000, 160}} {
		s := newSketch(Limit{PerSecond: 100, Burst: 10}, 16384, 24, 48)
		now := wrapTime
		for range 20 { // 20 times the burst within 20 ms
			now += 1e6
			for p := range c.busy {
				for range 10 {
					s.take(sketchHash(uint64(p)), now)
				}
			}
		}
		refused := 0
		for p := range 20_000 {
			now += 100 // a time in which nothing is refilled
			refused += b2i(!s.take(sketchHash(uint64(1<<40+p)), now))
		}
		t.Logf("%d busy prefixes: %d of 20000 others refused", c.busy, refused)
		require.LessOrEqual(t, refused, c.mostRefused, "%d busy", c.busy)
	}
}

// A busy prefix cannot get its tokens back by sending from elsewhere too.
func TestFLD_007_SketchForgetsNothing(t *testing.T) {
	s := newSketch(Limit{PerSecond: 10, Burst: 10}, 64, 24, 48)
	now := wrapTime
	for range 10 {
		require.True(t, s.take(sketchHash(1), now))
	}
	for p := range uint64(100_000) {
		now += 100 // 10 ms in all
		s.take(sketchHash(p+2), now)
		require.False(t, s.take(sketchHash(1), now))
	}
	now += int64(100 * time.Millisecond)
	fresh := newSketch(Limit{PerSecond: 10, Burst: 10}, 64, 24, 48)
	require.True(t, fresh.take(sketchHash(1), now))
	// Rows are rounded up to a power of two, intervals so that no more than the limit passes.
	odd := newSketch(Limit{PerSecond: 3, Burst: 1}, 100, 24, 48)
	require.Len(t, odd.cells, 4*128)
	require.EqualValues(t, 333333334, odd.interval)
}
