package handshake

import (
	"fmt"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// FloodConfig is the defence against floods beside cookies and the bounds of the
// tables; docs/floods.md says how they combine. The zero value is off.
//
// Limits on SYNs are asked after the flow table, since a SYN of a known flow is not
// a new connection, and before a record or a cookie is made. What is spent on a
// refused SYN is its parsing, its share of the burst's hashing (1 to 2 ns) and a
// lookup that ends in one cache line.
type FloodConfig struct {
	// SYN limits new connections of all listeners together.
	SYN Limit
	// Source limits the SYNs of each source prefix, of SourcePrefix4 bits (default
	// 24) or SourcePrefix6 (default 48). With SourceCookies the SYNs above get a
	// cookie in place of a record; without, they are dropped.
	Source                       Limit
	SourcePrefix4, SourcePrefix6 int
	SourceCookies                bool
	// SourceCells sizes the memory behind Source: 4 rows of so many cells of 8
	// bytes. A power of two up to 65536, others are rounded up. Default 16384.
	SourceCells int
	// EvictOldest makes room by dropping the half-open that has waited longest and
	// whose peer has not answered: for a SYN when the table is full and cookies are
	// off, and for a valid cookie when there is no record left.
	EvictOldest bool
	// CookieAccepts limits flows opened by a cookie (CKI-019).
	CookieAccepts Limit
	// Resets limits resets to segments that belong to no flow (RST-017).
	Resets Limit
	// SilentBadCookies drops ACKs that no flow and no cookie explains while cookies
	// are out; else a reset answers them (CKI-013).
	SilentBadCookies bool
}

func (f *FloodConfig) withDefaults(p CookiePolicy) error {
	for _, l := range []struct {
		name string
		l    *Limit
	}{
		{"Flood.SYN", &f.SYN},
		{"Flood.Source", &f.Source},
		{"Flood.CookieAccepts", &f.CookieAccepts},
		{"Flood.Resets", &f.Resets},
	} {
		if err := l.l.withDefaults(l.name); err != nil {
			return err
		}
	}
	if f.SourcePrefix4 == 0 {
		f.SourcePrefix4 = 24
	}
	if f.SourcePrefix6 == 0 {
		f.SourcePrefix6 = 48
	}
	if f.SourcePrefix4 < 1 || f.SourcePrefix4 > 32 || f.SourcePrefix6 < 1 || f.SourcePrefix6 > 128 {
		return fmt.Errorf("handshake: source prefixes /%d and /%d: want 1..32 and 1..128", f.SourcePrefix4, f.SourcePrefix6)
	}
	if f.SourceCells == 0 {
		f.SourceCells = 16384
	}
	if f.SourceCells < 1 || f.SourceCells > 65536 {
		return fmt.Errorf("handshake: SourceCells %d: want 1..65536", f.SourceCells)
	}
	if f.SourceCookies && p == CookiesNever {
		return fmt.Errorf("handshake: SourceCookies with cookie policy never: choose pressure or always")
	}
	if f.SourceCookies && f.Source.PerSecond == 0 {
		return fmt.Errorf("handshake: SourceCookies without Source: name the limit above which cookies are sent")
	}
	return nil
}

func (e *Engine) initFlood() {
	f := &e.cfg.Flood
	e.guarded = f.SYN.PerSecond != 0 || f.Source.PerSecond != 0 || f.CookieAccepts.PerSecond != 0
	e.synLimit, e.cookieLimit, e.resets = newTokenBucket(f.SYN), newTokenBucket(f.CookieAccepts), newTokenBucket(f.Resets)
	e.sources = newSketch(f.Source, f.SourceCells, f.SourcePrefix4, f.SourcePrefix6)
}

// admit asks the bounds and limits of l about a new SYN. Anything but Consumed
// is the reason to drop it; else stateless asks for a cookie.
func (e *Engine) admit(l *listener, s *wire.Segment) (o Outcome, stateless bool) {
	if l.full() { // FLD-004
		return DropQueueFull, false
	}
	if e.now < e.heldUntil { // HND-006
		return e.heldFor, false
	}
	if e.sources.on() && !e.sources.take(e.sourceHash(s.Remote), e.now) {
		if !e.cfg.Flood.SourceCookies {
			return DropSourceLimit, false
		}
		stateless = true
	}
	if e.synLimit.on && !e.synLimit.take(e.now) {
		return DropSYNLimit, false
	}
	if stateless {
		e.ctr.SourceCookies++
	}
	if l.gate.halfOpen != 0 && l.halfOpen >= l.gate.halfOpen { // FLD-001, CKI-015
		if e.cfg.Cookies == CookiesNever {
			return DropTableFull, false
		}
		stateless = true
	}
	return Consumed, stateless
}

// sourceHash is the keyed hash of the prefix of a.
func (e *Engine) sourceHash(a wire.Addr) uint64 {
	t := cookie.Tuple{RemoteHi: a.Hi & e.sources.mask6[0], RemoteLo: a.Lo & e.sources.mask6[1]}
	if a.Is4() {
		t.RemoteHi, t.RemoteLo = a.Hi, a.Lo&e.sources.mask4
	}
	sum := e.hasher.SumOne(&t)
	return sum.Hash
}

// HoldSYNs drops new SYNs until a time for reason why: DropQueueFull, as if every accept queue were
// full, since the application has taken longer than it may (HND-006), or DropNoMemory. Handshakes
// that have begun go on.
func (e *Engine) HoldSYNs(until Time, why Outcome) {
	e.heldUntil, e.heldFor, e.guarded = until, why, true
	for i := range e.listeners.all {
		e.listeners.all[i].guarded = true
	}
}

// admitCookie asks whether a valid cookie may open a flow.
func (e *Engine) admitCookie(l *listener) Outcome {
	if l.full() { // CKI-022
		e.ctr.CookieNoRoom++
		return DropQueueFullACK
	}
	if e.cookieLimit.on && !e.cookieLimit.take(e.now) { // CKI-019
		e.ctr.CookieLimited++
		return DropCookieLimit
	}
	return Consumed
}

// refuse drops a SYN that is counted in SynIn.
func (e *Engine) refuse(o Outcome) Action {
	e.ctr.SynDropped++
	return e.count(o)
}

// resetStranger is resetFor, within Flood.Resets.
func (e *Engine) resetStranger(s *wire.Segment) Action {
	if e.resets.on && !e.resets.take(e.now) {
		return e.count(DropResetLimit) // RST-017
	}
	return e.resetFor(s)
}

// evictPast is how many half-opens with a proven peer evictOldest passes over in
// each FIFO; they leave it when their timer fires next.
const evictPast = 32

// evictOldest drops the half-open whose SYN-ACK was repeated most often and, of
// those, has waited longest. One whose peer has answered is never dropped (FLD-002).
func (e *Engine) evictOldest() bool {
	for class := e.timers.synAckEnd - 1; class >= classSynAck; class-- {
		idx := e.timers.fifo[class].head
		for n := 0; idx != 0 && n < evictPast; n++ {
			r := &e.recs[idx]
			if r.flags2&flagProved == 0 {
				e.ctr.HalfOpenEvicted++
				e.remove(idx)
				return true
			}
			idx = r.next
		}
	}
	return false
}

// synAckRetries is how often a SYN-ACK is repeated now. Past half of the limit,
// while fewer than half of the half-opens are young, the old ones lose retries,
// down to 2 (RTX-009, Linux reqsk_timer_handler).
func (e *Engine) synAckRetries() int {
	n := e.cfg.SYNACKRetries
	if 2*e.halfOpen <= max(8, e.cfg.MaxHalfOpen) {
		return n
	}
	for young := 2 * (e.halfOpen - e.resent); n > 2 && e.halfOpen >= young; young *= 2 {
		n--
	}
	return n
}

// expireHalfOpen is the timer of a passive SYN-RECEIVED (RTX-001, FLD-006).
func (e *Engine) expireHalfOpen(r *record, idx uint32) {
	proved, hold := r.flags2&flagProved != 0, 0
	if proved {
		hold = e.holdFor(r, idx)
	}
	n := int(r.retries)
	if n >= e.synAckRetries() && n >= hold {
		e.ctr.HalfOpenTimedOut++
		e.remove(idx)
		return
	}
	if n == 0 {
		e.resent++
	}
	r.retries++
	e.armSynAck(r, idx)
	// Who has answered is only reminded when the time to send text is over. Who has
	// not gets no second copy while cookie mode is on: most never asked for the first.
	if n+1 < hold || !proved && e.cfg.Cookies == CookiesPressure && e.underPressure() {
		e.ctr.SynAckHeld++
		return
	}
	r.flags |= flagRetrans
	e.ctr.SynAckRetrans++
	if s := e.emit(idx, false); s != nil {
		e.synAck(r, s, e.sumOf(idx).TSOff)
	}
}

// armSynAck (re)starts the SYN-ACK timer.
func (e *Engine) armSynAck(r *record, idx uint32) {
	class := e.timers.proved.class(r.retries)
	if r.flags2&flagProved == 0 {
		class = e.timers.synAck.class(r.retries)
	}
	e.timers.arm(e.recs, idx, class, e.nowMS)
}
