package flow

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

const seg = 1460

func started(segments uint32) cubic {
	var c cubic
	c.start(seg, false, 0)
	c.cwnd = segments * seg
	return c
}

func TestDAT_009_InitialWindow(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(cubic{}), uintptr(48))
	for _, v := range []struct{ mss, want uint32 }{ // RFC 6928 §2
		{536, 5360}, {1220, 12200}, {1440, 14400}, {1448, 14480}, {1460, 14600}, {1461, 14600}, {8960, 17920}, {65495, 130990},
	} {
		require.Equal(t, v.want, initialWindow(v.mss, false), v.mss)
		require.Equal(t, v.mss, initialWindow(v.mss, true), "RTX-004")
	}
	var c cubic
	c.start(seg, true, 0)
	require.EqualValues(t, seg, c.cwnd)
	require.True(t, c.slowStart())
}

func TestDAT_009_SlowStart(t *testing.T) {
	c := started(10)
	c.acked(2*seg, seg, true, 50*msec, 0)
	require.EqualValues(t, 12*seg, c.cwnd)
	c.acked(100*seg, seg, true, 50*msec, 0)
	require.EqualValues(t, 20*seg, c.cwnd, "eight segments by one ACK")
	c.acked(2*seg, seg, false, 50*msec, 0)
	require.EqualValues(t, 20*seg, c.cwnd, "limited by the application")
	c.ssthresh = 21 * seg
	c.acked(2*seg, seg, true, 50*msec, 0)
	require.GreaterOrEqual(t, c.cwnd, uint32(21*seg))
	require.Less(t, c.cwnd, uint32(22*seg))
	require.False(t, c.slowStart())
	require.True(t, c.inEpoch)
}

func TestDAT_009_Reduction(t *testing.T) {
	c := started(100)
	c.congested(100*seg, seg)
	require.EqualValues(t, 70*seg, c.cwnd)
	require.EqualValues(t, 70*seg, c.ssthresh)
	require.EqualValues(t, 100*seg, c.wMax)
	// Fast convergence: W_max = cwnd·(1+β)/2.
	c.congested(70*seg, seg)
	require.EqualValues(t, 49*seg, c.cwnd)
	require.EqualValues(t, 70*seg*85/100, c.wMax)
	require.EqualValues(t, 70*seg, c.prior)
	// A flow that does not fill its window is reduced from what it has in flight.
	c = started(100)
	c.congested(10*seg, seg)
	require.EqualValues(t, 7*seg, c.cwnd)
	// Never below two segments, but one after a timeout.
	c.congested(seg, seg)
	require.EqualValues(t, 2*seg, c.cwnd)

	c = started(100)
	c.timeout(100*seg, seg, false)
	require.EqualValues(t, seg, c.cwnd)
	require.EqualValues(t, 70*seg, c.ssthresh)
	c.timeout(seg, seg, true)
	require.EqualValues(t, 70*seg, c.ssthresh)
	c.acked(8*seg, seg, true, 50*msec, 0)
	require.EqualValues(t, 2*seg, c.cwnd, "one segment by one ACK after a timeout")
	c.recovered()
	c.acked(8*seg, seg, true, 50*msec, 0)
	require.EqualValues(t, 10*seg, c.cwnd)
	for range 100 {
		c.acked(8*seg, seg, true, 50*msec, 0)
	}
	require.True(t, c.inEpoch)
	require.Zero(t, c.k, "RFC 9438 §4.8: K is 0 after a timeout")
	require.EqualValues(t, c.ssthresh, c.origin)
}

// TestCubicTable compares with W_cubic(t) = C·(t−K)³ + W_max, K = ∛((W_max−cwnd_epoch)/C)
// of RFC 9438 §4.2, C = 0.4, in segments. For W_max = 100: K = ∛75 = 4.217 s.
func TestCubicTable(t *testing.T) {
	c := started(100)
	c.congested(100*seg, seg)
	c.begin(seg, 7)
	require.InDelta(t, math.Cbrt(75), float64(c.k)/(1<<cubicTime), 0.0002)
	for _, v := range []struct{ sec, window float64 }{
		{0, 70},
		{0.1, 72.0839},
		{1, 86.6808},
		{2, 95.6403},
		{4.2172, 100},
		{5, 100.1919},
		{8, 121.6527},
		{10, 177.3540},
		{20, 1672.5888},
	} {
		got := float64(c.window(uint32(v.sec*1e6), seg)) / seg
		require.InDelta(t, v.window, got, 0.001+v.window*0.0001, "at %v s", v.sec)
	}
}

func TestCubicAgainstFormula(t *testing.T) {
	rng := rand.New(rand.NewPCG(9438, 1))
	for range 20_000 {
		mss := 48 + rng.Uint32N(65488)
		c := cubic{cwnd: mss * (1 + rng.Uint32N(cubicMaxWindow/mss))}
		c.wMax = c.cwnd + rng.Uint32N(cubicMaxWindow-c.cwnd+1)
		c.begin(mss, 0)
		k := math.Cbrt(float64(c.wMax-c.cwnd) / float64(mss) / 0.4)
		require.InDelta(t, min(k, 128), float64(c.k)/(1<<cubicTime), 0.0002)
		if k > 127 {
			continue
		}
		at := rng.Uint32N(uint32(k*2e6) + 1)
		d := min(max(float64(at)/1e6-k, -128), 128)
		want := 0.4*d*d*d*float64(mss) + float64(c.wMax)
		// The times are rounded to 2^-13 s: that much of the slope.
		slack := 2 + 1.2*d*d*float64(mss)/(1<<(cubicTime-1)) + float64(mss)/1000
		require.InDelta(t, min(want, cubicMaxWindow), float64(c.window(at, mss)), slack)
	}
	for _, x := range []uint64{0, 1, 7, 8, 26, 27, 1<<60 - 1, 1 << 60, math.MaxUint64} {
		r := uint64(cubeRoot(x))
		require.LessOrEqual(t, r*r*r, x)
		if r < 2642245 {
			require.Greater(t, (r+1)*(r+1)*(r+1), x)
		}
	}
	require.EqualValues(t, 2642245, cubeRoot(math.MaxUint64))
}

// rounds lets a window-limited flow run for so many round trips, an ACK for each second segment.
func (c *cubic) rounds(n int, rtt uint32, now *uint32) {
	for range n {
		acks := max(c.cwnd/(2*seg), 1)
		for range acks {
			*now += rtt / acks
			c.acked(2*seg, seg, true, rtt, *now)
		}
	}
}

// On a long path the window follows the cubic; on a short one it follows W_est,
// which is a Reno flow's (RFC 9438 §4.3).
func TestCubicRegions(t *testing.T) {
	t.Run("cubic", func(t *testing.T) {
		c, now := started(1000), uint32(math.MaxUint32-500*msec) // across the wrap of the clock
		c.congested(1000*seg, seg)
		c.last = now
		for range 100 {
			c.rounds(1, 100*msec, &now)
			sec := float64(now-c.epoch) / 1e6
			k := math.Cbrt(300 / 0.4)
			require.InEpsilon(t, 1000+0.4*math.Pow(sec-k, 3), float64(c.cwnd)/seg, 0.01)
		}
	})
	t.Run("Reno", func(t *testing.T) {
		c, now := started(20), uint32(0)
		c.congested(20*seg, seg)
		require.EqualValues(t, 14*seg, c.cwnd)
		c.rounds(8, 5*msec, &now)
		require.InDelta(t, 14+8*9.0/17, float64(c.cwnd)/seg, 0.5, "α segments per round trip")
		for c.cwnd < 20*seg {
			c.rounds(1, 5*msec, &now)
		}
		before := c.cwnd
		c.rounds(10, 5*msec, &now)
		require.InDelta(t, 10, float64(c.cwnd-before)/seg, 0.7, "one segment per round trip from cwnd_prior on")
	})
}

func TestCubicIdle(t *testing.T) {
	a, b := started(1000), started(1000)
	for _, c := range []*cubic{&a, &b} {
		c.congested(1000*seg, seg)
		now := uint32(0)
		c.rounds(5, 100*msec, &now)
	}
	// A pause, and ACKs while the application holds back, stop the clock of the cubic.
	now := a.last
	a.resume(seg, 2_000*msec, now+1_000*msec)
	require.Equal(t, b.cwnd, a.cwnd)
	a.acked(2*seg, seg, false, 100*msec, now+1_500*msec)
	require.Equal(t, b.cwnd, a.cwnd)
	a.acked(2*seg, seg, true, 100*msec, now+1_600*msec)
	b.acked(2*seg, seg, true, 100*msec, now+100*msec)
	require.Equal(t, b.cwnd, a.cwnd)

	now = a.last // RFC 5681 §4.1
	a.resume(seg, 1_000*msec, now+1_000*msec)
	require.Equal(t, b.cwnd, a.cwnd)
	a.resume(seg, 1_000*msec, now+2_000*msec+1)
	require.EqualValues(t, 10*seg, a.cwnd)
	require.True(t, a.slowStart())
	a.cwnd = 3 * seg
	a.resume(seg, 1_000*msec, now+9_000*msec)
	require.EqualValues(t, 3*seg, a.cwnd, "never more than it was")
}

// Whatever comes, the window stays between one segment and the largest, and
// does not shrink by an ACK.
func FuzzCubic(f *testing.F) {
	f.Add(uint64(1), []byte("aaaaaaaaLaaaaaaTaaaaaaIaaaaaa"))
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		rng := rand.New(rand.NewPCG(seed, 0))
		mss, now := 48+rng.Uint32N(65488), rng.Uint32()
		var c cubic
		c.start(mss, seed&1 != 0, now)
		for _, op := range script {
			now += rng.Uint32N(1 << (op & 31))
			before := c.cwnd
			switch op >> 5 {
			case 0:
				c.congested(rng.Uint32N(cubicMaxWindow), mss)
				require.Equal(t, c.ssthresh, c.cwnd)
			case 1:
				c.timeout(rng.Uint32N(cubicMaxWindow), mss, op&1 != 0)
				require.Equal(t, mss, c.cwnd)
			case 2:
				c.resume(mss, rng.Uint32N(rtoMax), now)
				require.LessOrEqual(t, c.cwnd, before)
			case 3:
				c.recovered()
			default:
				c.acked(1+rng.Uint32N(cubicMaxWindow), mss, op&1 != 0, rng.Uint32N(rtoMax), now)
				require.GreaterOrEqual(t, c.cwnd, before)
				require.LessOrEqual(t, c.cwnd, max(before+before/2+cubicBurst*mss, c.ssthresh+c.ssthresh/2))
			}
			require.GreaterOrEqual(t, c.cwnd, mss)
			require.LessOrEqual(t, c.cwnd, uint32(cubicMaxWindow))
		}
	})
}

func BenchmarkCubicAcked(b *testing.B) {
	b.Run("slow start", func(b *testing.B) {
		c := started(10)
		for b.Loop() {
			c.acked(2*seg, seg, true, 10*msec, 0)
			c.cwnd = 10 * seg
		}
	})
	b.Run("avoidance", func(b *testing.B) {
		c, now := started(1000), uint32(0)
		c.congested(1000*seg, seg)
		for b.Loop() {
			now++
			c.acked(2*seg, seg, true, 10*msec, now)
		}
	})
}
