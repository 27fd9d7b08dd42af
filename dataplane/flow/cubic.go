package flow

import "math/bits"

// Constants of CUBIC (RFC 9438 §4.6, §4.1, §4.3) as fractions.
const (
	cubicBetaNum, cubicBetaDen   = 7, 10 // β: what a loss leaves of the window
	cubicCNum, cubicCDen         = 2, 5  // C, in segments/s³
	cubicAlphaNum, cubicAlphaDen = 9, 17 // α = 3·(1−β)/(1+β)

	cubicTime      = 13        // cubic computes with 2^-13 s: a span of 128 s has 20 bits and a cube 60
	cubicSpan      = 1<<20 - 1 // the longest span it looks at
	cubicEstFrac   = 16        // bits of fraction of wEst
	cubicBurst     = 8         // segments by which one ACK opens the window in slow start (RFC 9406 §4.2)
	cubicMaxWindow = 1 << 30   // as large as a scaled window gets (RFC 7323 §2.3)
)

// cubic is the congestion control of a flow: slow start and avoidance by CUBIC
// (RFC 9438, RFC 5681), from an initial window of ten segments (RFC 6928). It knows nothing of what is
// lost or in flight but what it is told; all sizes are bytes, and mss is the
// largest segment that the flow sends, which may change.
//
// The cubic is evaluated at the time since the epoch began, in integers, so it
// neither drifts nor depends on the machine. 48 bytes, pointer-free.
type cubic struct {
	wEst     uint64 // W_est << cubicEstFrac: the window of a Reno flow (§4.3)
	cwnd     uint32
	ssthresh uint32
	wMax     uint32 // W_max: where the last reduction happened; 0: none to return to
	prior    uint32 // cwnd_prior: cwnd before it
	origin   uint32 // the plateau of this epoch
	epoch    uint32 // when the epoch began, less the time that the flow had nothing to send
	k        uint32 // K: from the epoch to the plateau, in 2^-cubicTime s
	last     uint32 // when the last ACK came
	inEpoch  bool   // in congestion avoidance, and epoch, origin, k, wEst are set
	timedOut bool   // recovering from a timeout
}

// initialWindow is the window that a flow begins with: ten segments, but not more
// than 14600 bytes unless they are two (RFC 6928 §2), or one if a SYN or SYN-ACK was
// lost (RFC 5681 §3.1; RTX-004).
func initialWindow(mss uint32, synLost bool) uint32 {
	if synLost {
		return mss
	}
	return min(10*mss, max(2*mss, 14600))
}

// start begins slow start with the initial window.
func (c *cubic) start(mss uint32, synLost bool, now uint32) {
	*c = cubic{cwnd: initialWindow(mss, synLost), ssthresh: cubicMaxWindow, last: now}
}

// slowStart reports whether the window grows by what is acknowledged.
func (c *cubic) slowStart() bool { return c.cwnd < c.ssthresh }

// acked takes an ACK of n bytes of new data, outside of fast recovery. limited says
// that the window, not the application or the peer's window, held the flow back:
// otherwise it does not grow (RFC 9438 §5.8, RFC 7661 §4.4), and the cubic's
// clock stands still. srtt and now are in microseconds.
func (c *cubic) acked(n, mss uint32, limited bool, srtt, now uint32) {
	since := now - c.last
	c.last = now
	if !limited {
		c.epoch += since
		return
	}
	if c.cwnd < c.ssthresh {
		// Appropriate byte counting (RFC 3465): after a timeout an ACK may cover
		// what arrived before it, and counts for one segment (§2.3).
		room := uint32(cubicBurst)
		if c.timedOut {
			room = 1
		}
		n = min(n, room*mss)
		left := c.ssthresh - c.cwnd
		if n <= left {
			c.cwnd += n
			return
		}
		n -= left
		c.cwnd = c.ssthresh
	}
	c.avoid(min(n, c.cwnd), mss, srtt, now)
}

// avoid is congestion avoidance (RFC 9438 §4.2 to §4.5) for n ≤ cwnd bytes.
func (c *cubic) avoid(n, mss, srtt, now uint32) {
	if !c.inEpoch {
		c.begin(mss, now)
	}
	// W_est grows by α segments in each round trip, by one once it has
	// reached where the flow was (§4.3).
	gain := uint64(mss) << cubicEstFrac * uint64(n)
	if c.wEst>>cubicEstFrac < uint64(c.prior) {
		gain = gain / cubicAlphaDen * cubicAlphaNum
	}
	c.wEst = min(c.wEst+gain/uint64(c.cwnd), cubicMaxWindow<<cubicEstFrac)
	est := uint32(c.wEst >> cubicEstFrac)

	t := now - c.epoch
	if c.window(t, mss) < est { // Reno-friendly region (§4.3)
		c.cwnd = max(c.cwnd, est)
		return
	}
	// Concave and convex region (§4.4, §4.5): towards where the cubic is a round trip later.
	target := min(max(c.window(t+srtt, mss), c.cwnd), c.cwnd+c.cwnd/2)
	c.cwnd = min(c.cwnd+uint32(uint64(target-c.cwnd)*uint64(n)/uint64(c.cwnd)), cubicMaxWindow)
}

// begin starts an epoch of congestion avoidance.
func (c *cubic) begin(mss, now uint32) {
	c.inEpoch, c.epoch = true, now
	c.wEst = uint64(c.cwnd) << cubicEstFrac
	c.k, c.origin = 0, c.cwnd // also §4.8, after a timeout
	if c.wMax > c.cwnd {
		c.origin = c.wMax
		c.k = cubicK(c.wMax-c.cwnd, mss)
	}
}

// cubicK is K = ∛(below/C) of §4.2 in 2^-cubicTime s, for a window so many bytes below the plateau.
func cubicK(below, mss uint32) uint32 {
	hi, lo := bits.Mul64(uint64(below)*cubicCDen, 1<<(3*cubicTime))
	d := uint64(mss) * cubicCNum
	if hi >= d {
		return cubicSpan
	}
	cube, _ := bits.Div64(hi, lo, d)
	return min(cubeRoot(cube), cubicSpan)
}

// window is W_cubic of §4.2 at t microseconds after the beginning of the epoch: C·(t−K)³ + origin.
func (c *cubic) window(t, mss uint32) uint32 {
	at := int64(uint64(t) << cubicTime / 1_000_000)
	d := at - int64(c.k)
	x := uint64(min(max(d, -d), cubicSpan))
	// x³ has 60 bits; 20 of the 39 of its fraction are enough, and leave room for
	// a segment of 16 bits.
	off := (x * x * x) >> 19 * (uint64(mss) * cubicCNum) / cubicCDen >> (3*cubicTime - 19)
	off = min(off, cubicMaxWindow)
	if d >= 0 {
		return uint32(min(uint64(c.origin)+off, cubicMaxWindow))
	}
	return c.origin - min(uint32(off), c.origin)
}

// cubeRoot is the largest r with r³ ≤ x.
func cubeRoot(x uint64) uint32 {
	var r uint64
	for b := uint64(1 << 21); b != 0; b >>= 1 {
		if s := r | b; s < 2642246 && s*s*s <= x { // 2642245³ is the last below 2^64
			r = s
		}
	}
	return uint32(r)
}

// congested takes a loss or ECN mark, once per round trip: the window becomes β of
// what is in flight (RFC 9438 §4.6).
func (c *cubic) congested(flight, mss uint32) {
	c.reduce(flight, mss)
	c.cwnd = c.ssthresh
}

// timeout takes the expiry of the retransmission timer: the window becomes one
// segment (RFC 9438 §4.8, RFC 5681 §3.1). again says that the segment had been
// retransmitted before, which lowers the threshold no further.
func (c *cubic) timeout(flight, mss uint32, again bool) {
	if !again {
		c.reduce(flight, mss)
	}
	c.wMax = 0 // the next epoch begins on its plateau (§4.8)
	c.cwnd, c.inEpoch, c.timedOut = mss, false, true
}

func (c *cubic) reduce(flight, mss uint32) {
	// What the peer has reported by SACK is in flight as long as a hole before it is, and can be far more
	// than the window: that would grow by a loss.
	flight = min(flight, c.cwnd)
	c.prior = c.cwnd
	if c.cwnd < c.wMax { // fast convergence (§4.7): leave more to a newer flow
		c.wMax = uint32(uint64(c.cwnd) * (cubicBetaDen + cubicBetaNum) / (2 * cubicBetaDen))
	} else {
		c.wMax = c.cwnd
	}
	c.ssthresh = max(uint32(uint64(flight)*cubicBetaNum/cubicBetaDen), 2*mss)
	c.inEpoch = false
}

// reduced is at least cwnd_prior, about, after a loss: what left this W_max, which is 17/20 of it
// after fast convergence, or after a timeout this threshold.
func (c *cubic) reduced() uint32 {
	if c.wMax != 0 {
		return uint32(uint64(c.wMax) * (2 * cubicBetaDen) / (cubicBetaDen + cubicBetaNum))
	}
	return uint32(uint64(c.ssthresh) * cubicBetaDen / cubicBetaNum)
}

// recovered ends the caution after a timeout: all that was in flight then is acknowledged.
func (c *cubic) recovered() { c.timedOut = false }

// resume is called before the first segment after a pause with nothing in flight: after more
// than a timeout, the window is the initial one again (RFC 5681 §4.1), and in any case the
// pause does not count for the cubic (RFC 9438 §4.2: t excludes idle time).
func (c *cubic) resume(mss, rto, now uint32) {
	idle := now - c.last
	c.last = now
	c.epoch += idle
	if w := initialWindow(mss, false); idle > rto && w < c.cwnd {
		c.cwnd, c.inEpoch = w, false
	}
}
