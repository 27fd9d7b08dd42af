package handshake

// Counters are the totals of an Engine since New. They belong to the engine's
// goroutine; copy them to publish.
type Counters struct {
	// Segments in = sum of Outcome (FLD-010).
	Segments uint64
	Outcome  [NumOutcomes]uint64

	// SYNs of new connections: SynIn = SynAcks + Cookies + SynDropped. A repeated SYN
	// is counted in SynRepeats instead.
	SynIn, SynAcks, Cookies, SynDropped uint64
	SynRepeats                          uint64
	SynRepeatsLimited                   uint64 // those of SynRepeats that came too soon for an answer: DropRateLimited
	// ACKs checked for a cookie; one that another segment of the burst made needless counts as neither.
	CookiesOK, CookiesBad uint64

	// Passive opens: Accepted flows, and half-opens that ended otherwise.
	// SynAcks + CookiesOK = Accepted + HalfOpenReset + HalfOpenTimedOut + HalfOpenReplaced + HalfOpenClosed +
	// HalfOpenEvicted + HalfOpenOverflow + CookieNoRoom + CookieLimited + half-open now.
	// Closed lost their listener, Evicted gave its place to a newer one, Overflow met a full Backlog with Gate.Abort; NoRoom and
	// Limited are valid cookies refused, by a full table or Backlog and by Flood.CookieAccepts.
	Accepted, HalfOpenReset, HalfOpenTimedOut, HalfOpenReplaced, HalfOpenClosed, HalfOpenEvicted, HalfOpenOverflow, CookieNoRoom, CookieLimited uint64

	// Active opens: Attempted = Connected + Refused + TimedOut + Unreachable + AttemptAborted + SYN-SENT now.
	Attempted, Connected, Refused, TimedOut, Unreachable, AttemptAborted uint64

	// Established flows: Accepted + Connected + Imported = Done + Reset + Broken + Aborted + Exported + established now.
	// Broken ran out of retries, Aborted was reset by this side, Exported and Imported went from one engine to another.
	Done, Reset, Broken, Aborted, Exported, Imported uint64

	SimultaneousOpens uint64
	SynRetrans        uint64
	SynAckRetrans     uint64
	DataRetrans       uint64
	ResetsSent        uint64
	TimeWaits         uint64
	TimeWaitRecycled  uint64
	TimeWaitReused    uint64
	CookieModeEntered uint64
	// WScaleClamped are SYNs and SYN-ACKs with a shift above 14, NoTimestamp the
	// segments without the option on flows that negotiated it; both are taken all the same.
	WScaleClamped, NoTimestamp uint64
	// SoftErrors are ICMP errors noted for a timeout, PathMTUs those that lowered
	// what a flow sends.
	SoftErrors, PathMTUs uint64
	// SynAckHeld are SYN-ACKs whose time had come but that were not repeated: the peer had answered and
	// is deferred, or cookie mode was on.
	SynAckHeld uint64
	// Probes are the segments sent for Engine.Probe, repetitions included.
	Probes uint64
	// SourceCookies are SYNs that got a cookie because they were above Flood.Source.
	SourceCookies uint64
	// PayloadBytes is text delivered in order.
	PayloadBytes uint64

	FastOpen FastOpenCounters

	// Gauges. UnderPressure is 1 while cookie mode is on, Queued are flows established and not taken.
	HalfOpen, Opening, Flows, EstablishedNow, UnderPressure, Queued uint64
}

// Add adds o to c, for totals over engines.
func (c *Counters) Add(o *Counters) {
	for i := range c.Outcome {
		c.Outcome[i] += o.Outcome[i]
	}
	c.Segments += o.Segments
	c.SynIn += o.SynIn
	c.SynAcks += o.SynAcks
	c.Cookies += o.Cookies
	c.SynDropped += o.SynDropped
	c.SynRepeats += o.SynRepeats
	c.SynRepeatsLimited += o.SynRepeatsLimited
	c.CookiesOK += o.CookiesOK
	c.CookiesBad += o.CookiesBad
	c.Accepted += o.Accepted
	c.HalfOpenReset += o.HalfOpenReset
	c.HalfOpenTimedOut += o.HalfOpenTimedOut
	c.HalfOpenReplaced += o.HalfOpenReplaced
	c.HalfOpenClosed += o.HalfOpenClosed
	c.HalfOpenEvicted += o.HalfOpenEvicted
	c.HalfOpenOverflow += o.HalfOpenOverflow
	c.CookieNoRoom += o.CookieNoRoom
	c.CookieLimited += o.CookieLimited
	c.Attempted += o.Attempted
	c.Connected += o.Connected
	c.Refused += o.Refused
	c.TimedOut += o.TimedOut
	c.Unreachable += o.Unreachable
	c.AttemptAborted += o.AttemptAborted
	c.Done += o.Done
	c.Reset += o.Reset
	c.Broken += o.Broken
	c.Aborted += o.Aborted
	c.Exported += o.Exported
	c.Imported += o.Imported
	c.SimultaneousOpens += o.SimultaneousOpens
	c.SynRetrans += o.SynRetrans
	c.SynAckRetrans += o.SynAckRetrans
	c.DataRetrans += o.DataRetrans
	c.ResetsSent += o.ResetsSent
	c.TimeWaits += o.TimeWaits
	c.TimeWaitRecycled += o.TimeWaitRecycled
	c.TimeWaitReused += o.TimeWaitReused
	c.CookieModeEntered += o.CookieModeEntered
	c.WScaleClamped += o.WScaleClamped
	c.NoTimestamp += o.NoTimestamp
	c.SoftErrors += o.SoftErrors
	c.PathMTUs += o.PathMTUs
	c.SynAckHeld += o.SynAckHeld
	c.Probes += o.Probes
	c.SourceCookies += o.SourceCookies
	c.PayloadBytes += o.PayloadBytes
	c.FastOpen.add(&o.FastOpen)
	c.HalfOpen += o.HalfOpen
	c.Opening += o.Opening
	c.Flows += o.Flows
	c.EstablishedNow += o.EstablishedNow
	c.UnderPressure += o.UnderPressure
	c.Queued += o.Queued
}

// Check returns the name of the first equation that does not close, or "".
func (c *Counters) Check() string {
	var sum uint64
	for _, n := range c.Outcome {
		sum += n
	}
	switch {
	case c.Segments != sum:
		return "segments in = sum of outcomes"
	case c.SynIn != c.SynAcks+c.Cookies+c.SynDropped:
		return "syn in = syn-acks + cookies + dropped"
	case c.SynDropped != c.synDrops():
		return "syn dropped = sum of the reasons"
	case c.SynAcks+c.CookiesOK != c.Accepted+c.HalfOpenReset+c.HalfOpenTimedOut+c.HalfOpenReplaced+c.HalfOpenClosed+c.HalfOpenEvicted+
		c.HalfOpenOverflow+c.CookieNoRoom+c.CookieLimited+c.HalfOpen:
		return "syn-acks + cookies ok = accepted + reset + timed out + replaced + listener closed + evicted + overflow + no room + limited + half-open"
	case c.Attempted != c.Connected+c.Refused+c.TimedOut+c.Unreachable+c.AttemptAborted+c.Opening:
		return "attempted = connected + refused + timed out + unreachable + aborted + opening"
	case c.Accepted+c.Connected+c.Imported != c.Done+c.Reset+c.Broken+c.Aborted+c.Exported+c.EstablishedNow:
		return "accepted + connected + imported = done + reset + broken + aborted + exported + established now"
	}
	return c.FastOpen.check()
}

// synDrops is SynDropped by reason.
func (c *Counters) synDrops() (n uint64) {
	for _, o := range [...]Outcome{DropTableFull, DropMSS, DropSigned, DropSYNLimit, DropSourceLimit, DropQueueFull, DropNoMemory} {
		n += c.Outcome[o]
	}
	return n
}
