package flow

// Times inside a flow are microseconds in 32 bits, compared modulo 2^32: what is
// compared lies less than 35 minutes apart.

const msec = 1000 // in the unit of a flow's clock

// Bounds of the retransmission timeout, in microseconds.
const (
	rtoInitial  = 1_000_000   // before the first sample (RFC 6298 §2.1)
	rtoSYNLost  = 3_000_000   // after a lost SYN and without a sample (RFC 6298 §5.7)
	rtoMin      = 200_000     // as Linux; clocks have become finer since RFC 6298 §2.4
	rtoMax      = 120_000_000 // RFC 6298 §2.5: at least 60 s
	rtoGranular = 1_000       // G of RFC 6298 §2.3: timers tick in milliseconds
)

// rtoShift is how many bits of fraction SRTT and RTTVAR have: 120 s in units of
// 1/32 µs just fit 32 bits, and a gain of 1/8 divided by a hundred samples per
// round trip still moves them.
const rtoShift = 5

// rto estimates the retransmission timeout of a flow (RFC 6298) from samples of
// the round trip. It takes samples as they come: that none comes from a
// retransmitted segment, unless its timestamp tells the copies apart, is the
// business of who sends (Karn's rule, RFC 6298 §3; ledger.acked).
// The zero value has no sample. 12 bytes.
type rto struct {
	srtt    uint32 // SRTT << rtoShift; 0: no sample yet
	rttvar  uint32 // RTTVAR << rtoShift
	backoff uint8  // timeouts in a row: the timeout is doubled so often (RFC 6298 §5.5)
	synLost bool   // a SYN or SYN-ACK was repeated, and no sample since (RTX-004)
}

// handshakeLost says that the SYN or SYN-ACK was repeated and gave no sample: the
// timeout is 3 s until there is one (RFC 6298 §5.7).
func (r *rto) handshakeLost() { r.synLost = r.srtt == 0 }

// sample takes a round trip in microseconds, which ends the back-off. samples is
// how many samples to expect in one round trip, 1 with one timed segment at a time: the
// gains are divided by it, so that many samples forget no faster than one
// (RFC 7323 appendix G). See rttSamples.
func (r *rto) sample(rtt, samples uint32) {
	m := max(min(rtt, rtoMax), 1) << rtoShift
	r.backoff, r.synLost = 0, false
	if r.srtt == 0 {
		r.srtt, r.rttvar = m, m/2
		return
	}
	// RTTVAR first, with the old SRTT (RFC 6298 §2.3).
	diff := int64(m) - int64(r.srtt)
	dev := max(diff, -diff) - int64(r.rttvar)
	if samples <= 1 { // the same without a division
		r.rttvar = uint32(int64(r.rttvar) + dev/4)
		r.srtt = uint32(max(int64(r.srtt)+diff/8, 1))
		return
	}
	r.rttvar = uint32(int64(r.rttvar) + dev/int64(4*samples))
	r.srtt = uint32(max(int64(r.srtt)+diff/int64(8*samples), 1))
}

// rttSamples is ExpectedSamples of RFC 7323 appendix G: a sample from the ACK of each
// second segment in flight. Both in bytes.
func rttSamples(flight, mss uint32) uint32 {
	mss = max(mss, 1)
	if flight <= 2*mss {
		return 1
	}
	return (flight + 2*mss - 1) / (2 * mss)
}

// sampled reports whether there was a sample.
func (r *rto) sampled() bool { return r.srtt != 0 }

// smoothed is SRTT in microseconds, 0 without a sample.
func (r *rto) smoothed() uint32 { return r.srtt >> rtoShift }

// base is the timeout in microseconds without back-off.
func (r *rto) base() uint32 {
	switch {
	case r.srtt != 0:
		t := (uint64(r.srtt) + max(4*uint64(r.rttvar), rtoGranular<<rtoShift)) >> rtoShift
		return uint32(min(max(t, rtoMin), rtoMax))
	case r.synLost:
		return rtoSYNLost
	}
	return rtoInitial
}

// timeout is the retransmission timeout in microseconds.
func (r *rto) timeout() uint32 { return backedOff(r.base(), r.backoff) }

// expired doubles the timeout (RFC 6298 §5.5). A new sample ends that; so does
// progress, see progress.
func (r *rto) expired() {
	if r.backoff < 255 {
		r.backoff++
	}
}

// progress ends the back-off because new data was acknowledged, of which no sample can
// be taken (RFC 6298 §5.7 lets it stand until a sample; Linux ends it, and a flow
// without timestamps on a lossy path would otherwise crawl).
func (r *rto) progress() { r.backoff = 0 }

// unclear is progress where the timestamp echoed is that of a copy before the last, which
// arrived late or whose ACK was lost: as a sample the second would grow by the timeout each
// time, and the timeout with it. None is taken, as Karn's rule has it (RFC 6298 §3), and for the first
// some back-off remains, so that what is sent next has the time to give one.
func (r *rto) unclear() { r.backoff = min(r.backoff, 3) }

// timeouts is how many times in a row the timer expired: what R1 and R2 of
// RFC 9293 §3.8.3 count (DAT-007).
func (r *rto) timeouts() uint8 { return r.backoff }

// backedOff doubles a delay n times, up to the largest timeout.
func backedOff(delay uint32, n uint8) uint32 {
	if n >= 20 { // beyond, the shift would overflow
		return rtoMax
	}
	return uint32(min(uint64(delay)<<n, rtoMax))
}

// probeDelay is the time in microseconds from the n-th probe of a closed window, or from its closing
// for n = 0, to the next: the timeout, then doubling, as long as the
// peer keeps the window closed (RFC 9293 §3.8.6.1; DAT-005). Probes that are
// acknowledged are no timeouts, so they have a count of their own.
func (r *rto) probeDelay(n uint8) uint32 { return backedOff(r.base(), n) }
