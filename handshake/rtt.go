package handshake

import "time"

// rto is the back-off of the text of r: it starts at 3 s instead of 1 s when the
// handshake gave no valid RTT sample (RTX-004, RFC 6298 §5.7).
func (e *Engine) rto(r *record) *waits {
	if r.flags&(flagRetrans|flagCookie) != 0 && r.flags&flagTS == 0 {
		return &e.timers.slow
	}
	return &e.timers.data
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
