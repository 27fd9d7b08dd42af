package handshake

import (
	"time"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// rto is the back-off of the text of r: it starts at 3 s instead of 1 s when the
// handshake gave no valid RTT sample (RTX-004, RFC 6298 §5.7).
func (e *Engine) rto(r *record) *waits {
	if r.flags&flagTS == 0 && (r.flags&flagRetrans != 0 || r.flags&(flagCookie|flagActive) == flagCookie) {
		return &e.timers.slow
	}
	return &e.timers.data
}

// echoed completes ev for a handshake segment that was sent more than once: the
// TSval that the peer echoes tells which copy it answers (RTX-006). Granularity is
// that of TSval.
func (e *Engine) echoed(ev *Event, r *record, s *wire.Segment, i int) {
	if r.flags&flagTS == 0 || s.Opt.Has&wire.HasTimestamps == 0 || s.Opt.TSEcr == 0 {
		return
	}
	age := cookie.TSVal(e.sum[i].TSOff, e.now) - s.Opt.TSEcr
	ev.RTT = min(max(age, 1), maxEchoed) * ticksPerMS
}

const (
	ticksPerMS = 1_000_000 / 64
	maxEchoed  = (1<<32 - 1) / ticksPerMS // ms that fit Event.RTT, 274 s
)

// Of RFC 6928 and of RFC 6298 as Linux has it.
const (
	initialWindow = 10
	minRTO        = 200 * time.Millisecond
)

// firstFlight is how text begins after the handshake of ev: its timeout and its
// window in segments (RTX-004, RTX-005, RTX-008).
func (e *Engine) firstFlight(ev *Event, i *Info) (rto time.Duration, iw int) {
	iw = initialWindow
	if i.Retrans && !e.spurious(ev) {
		iw = 1
	}
	if i.RTT != 0 {
		var est RTT
		est.Sample(i.RTT)
		return min(est.RTO(minRTO), e.cfg.MaxRTO), iw
	}
	if i.Retrans || i.Cookie {
		return 3 * e.cfg.InitialRTO, iw
	}
	return e.cfg.InitialRTO, iw
}

// spurious reports whether the peer of a handshake with repetitions echoed the
// first copy (RTX-008): the sample then goes back to where the open began.
func (e *Engine) spurious(ev *Event) bool {
	first := e.now - int64(e.now64-e.recs[ev.Flow.idx].start)*64
	return ev.RTT == max(cookie.TSNow(e.now)-cookie.TSNow(first), 1)*ticksPerMS
}

// RTT is the estimator of RFC 6298 §2. The zero value has no sample.
type RTT struct {
	Smoothed time.Duration // SRTT
	Var      time.Duration // RTTVAR
}

// rttGranularity is G of RFC 6298: the clock of TSval.
const rttGranularity = time.Millisecond

// Sample takes a measurement, which must be of a segment that was sent once or
// that the peer identified by its timestamp (Karn, RTX-006).
func (r *RTT) Sample(d time.Duration) {
	if r.Smoothed == 0 {
		r.Smoothed, r.Var = d, d/2
		return
	}
	diff := r.Smoothed - d
	r.Var += (max(diff, -diff) - r.Var) / 4
	r.Smoothed -= diff / 8
}

// RTO is the retransmission timeout, at least least; 0 without a sample.
func (r *RTT) RTO(least time.Duration) time.Duration {
	if r.Smoothed == 0 {
		return 0
	}
	return max(r.Smoothed+max(rttGranularity, 4*r.Var), least)
}
