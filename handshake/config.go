package handshake

import (
	"fmt"
	"time"
)

// Time is the clock of an Engine in nanoseconds: monotonic, and close to Unix
// time so that a fleet agrees on timestamp clocks. It is read once per burst.
type Time = int64

// CookiePolicy says when a SYN is answered by a cookie instead of a record.
type CookiePolicy uint8

// The policies.
const (
	// CookiesPressure: a record while the half-open table has room, cookies
	// between the high mark and the low mark (CKI-015 "auto").
	CookiesPressure CookiePolicy = iota
	// CookiesNever: a full table drops SYNs.
	CookiesNever
	// CookiesAlways: no half-open record is ever made.
	CookiesAlways
)

// ParseCookiePolicy reads "never", "always" or "pressure".
func ParseCookiePolicy(s string) (CookiePolicy, error) {
	switch s {
	case "pressure":
		return CookiesPressure, nil
	case "never":
		return CookiesNever, nil
	case "always":
		return CookiesAlways, nil
	}
	return 0, fmt.Errorf("handshake: cookie policy %q: want never, always or pressure", s)
}

// String is the inverse of ParseCookiePolicy.
func (p CookiePolicy) String() string {
	switch p {
	case CookiesNever:
		return "never"
	case CookiesAlways:
		return "always"
	case CookiesPressure:
	}
	return "pressure"
}

// DefaultRcvWindow is Config.RcvWindow when that is 0.
const DefaultRcvWindow = 256 << 10

// Config is the constant set-up of an Engine. The zero value of each field
// means the default named beside it.
type Config struct {
	// MaxFlows bounds the records (half-open, established and TIME-WAIT
	// together). Default 65536, at most 2^30.
	MaxFlows int
	// MaxHalfOpen bounds the passive half-open records. Default MaxFlows/2.
	MaxHalfOpen int

	Cookies CookiePolicy
	// HighMark and LowMark are half-open counts between which CookiesPressure
	// enters and leaves cookie mode. Defaults: MaxHalfOpen/2 and HighMark/2.
	HighMark, LowMark int
	// MinStay is the least time in cookie mode. Default 1 s.
	MinStay time.Duration
	// CookieLife is how long after the last cookie was sent ACKs are still
	// checked for one (CKI-016). Default 2 min. CookieFleet checks always,
	// since another node may have sent the SYN-ACK.
	CookieLife  time.Duration
	CookieFleet bool

	// Flood is the rest of the defence against floods, off by default.
	Flood FloodConfig

	// MTU gives the announced MSS: MTU-40 and MTU-60 (MTU-001). Default 1500.
	MTU int
	// MSS lowers the announced MSS when above 0 (MTU-002).
	MSS int
	// RcvWindow is the receive window in bytes. Default 256 KiB. The window
	// scale is the smallest that can express it (WND-002).
	RcvWindow int
	// SYNWindow is the window field of SYNs and SYN-ACKs of ours, at most RcvWindow. Default: a whole number
	// of segments (WND-003).
	SYNWindow int
	// WScale is the window scale that we announce, when larger than the smallest that can
	// express RcvWindow. At most 14.
	WScale int
	// NoTimestamps, NoSACK and NoWScale leave options out on both roles.
	NoTimestamps, NoSACK, NoWScale bool
	// FailFast ends an attempt at the first ICMP unreachable, time exceeded or
	// parameter problem, as Linux does. By default only port and protocol unreachable
	// do, and the others are the reason of its timeout (ACT-013, RFC 5461).
	FailFast bool
	// ECN says when ECN is negotiated. Default ECNPassive.
	ECN ECNMode

	// Retry says when SYNs and SYN-ACKs are sent again and when an open is given
	// up; RetryPreset has some. The default for a role without a schedule is that of
	// Linux (RTX-001, RTX-002), made from the next fields.
	Retry Retry
	// SYNRetries and SYNACKRetries are retransmissions after the first copy:
	// 6 and 5 by default, or as many as Retry has, and not more; negative means none.
	SYNRetries, SYNACKRetries int
	// DataRetries bounds retransmissions of text and FIN. Default 7 (127 s).
	DataRetries int
	// InitialRTO and MaxRTO bound the exponential back-off of text, of FIN, and of
	// SYN and SYN-ACK without a schedule in Retry. Defaults 1 s and 120 s.
	InitialRTO, MaxRTO time.Duration
	// TimeWait is 2·MSL. Default 60 s; negative skips TIME-WAIT, as a load
	// generator may (TWT-013).
	TimeWait time.Duration
	// FastOpenCache is the number of servers whose Fast Open cookies ConnectText
	// remembers; 0, the default, does without Fast Open as a client. Text on a SYN can be
	// replayed: only requests that may be repeated are safe (RFC 7413 §2.1). For
	// listeners see Engine.FastOpen.
	FastOpenCache int
	// FastOpenBlackHole suspends Fast Open as a client when the path seems not to
	// carry it, twice as long each time in a row up to 64 times (TFO-018). 0, the default
	// as in Linux, never does.
	FastOpenBlackHole time.Duration
	// RFC1337 keeps RSTs from ending TIME-WAIT. Off by default, as in Linux (TWT-007).
	RFC1337 bool
	// FinWait2 ends a FIN-WAIT-2 in which nothing comes from the peer, as after a
	// close nobody waits for (TWT-008). Default 60 s.
	FinWait2 time.Duration

	noHugePages bool // base pages, to measure what huge ones are worth
}

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	defD := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MaxFlows, 65536)
	if c.MaxFlows < 1 || c.MaxFlows > 1<<30 {
		return c, fmt.Errorf("handshake: MaxFlows %d: want 1..%d", c.MaxFlows, 1<<30)
	}
	def(&c.MaxHalfOpen, max(1, c.MaxFlows/2))
	if c.MaxHalfOpen < 1 || c.MaxHalfOpen > c.MaxFlows {
		return c, fmt.Errorf("handshake: MaxHalfOpen %d: want 1..MaxFlows (%d)", c.MaxHalfOpen, c.MaxFlows)
	}
	def(&c.HighMark, max(1, c.MaxHalfOpen/2))
	def(&c.LowMark, max(1, c.HighMark/2))
	if c.HighMark < 1 || c.HighMark > c.MaxHalfOpen || c.LowMark < 1 || c.LowMark > c.HighMark {
		return c, fmt.Errorf("handshake: marks low %d high %d: want 1 ≤ low ≤ high ≤ MaxHalfOpen (%d)", c.LowMark, c.HighMark, c.MaxHalfOpen)
	}
	defD(&c.MinStay, time.Second)
	defD(&c.CookieLife, 2*time.Minute)
	if err := c.Flood.withDefaults(c.Cookies); err != nil {
		return c, err
	}
	def(&c.MTU, 1500)
	if c.MTU < 576 || c.MTU > 65535 {
		return c, fmt.Errorf("handshake: MTU %d: want 576..65535", c.MTU)
	}
	if c.MSS < 0 || (c.MSS > 0 && c.MSS < 48) || c.MSS > 65495 {
		return c, fmt.Errorf("handshake: MSS %d: want 48..65495, or 0 to derive it from the MTU", c.MSS)
	}
	def(&c.RcvWindow, DefaultRcvWindow)
	if c.RcvWindow < 1460 || c.RcvWindow > 65535<<14 {
		return c, fmt.Errorf("handshake: RcvWindow %d: want 1460..%d bytes", c.RcvWindow, 65535<<14)
	}
	if c.NoWScale {
		c.RcvWindow = min(c.RcvWindow, 65535)
	}
	if c.SYNWindow < 0 || c.SYNWindow > min(65535, c.RcvWindow) {
		return c, fmt.Errorf("handshake: SYNWindow %d: want at most 65535 and RcvWindow (%d), or 0 to derive it", c.SYNWindow, c.RcvWindow)
	}
	if c.WScale < 0 || c.WScale > 14 {
		return c, fmt.Errorf("handshake: WScale %d: want at most 14, or 0 to derive it from RcvWindow", c.WScale)
	}
	def(&c.DataRetries, 7)
	c.DataRetries = max(c.DataRetries, 0)
	if n := max(c.SYNRetries, c.SYNACKRetries, c.DataRetries); n > maxRetries {
		return c, fmt.Errorf("handshake: %d retries: want at most %d of a segment", n, maxRetries)
	}
	defD(&c.InitialRTO, time.Second)
	defD(&c.MaxRTO, 120*time.Second)
	if c.InitialRTO < time.Millisecond || c.MaxRTO < c.InitialRTO || c.MaxRTO > time.Hour {
		return c, fmt.Errorf("handshake: RTO %v..%v: want 1ms ≤ InitialRTO ≤ MaxRTO ≤ 1h", c.InitialRTO, c.MaxRTO)
	}
	if c.FastOpenCache < 0 || c.FastOpenCache > 1<<24 {
		return c, fmt.Errorf("handshake: FastOpenCache %d: want 0 (off) to %d servers", c.FastOpenCache, 1<<24)
	}
	if c.FastOpenBlackHole < 0 || c.FastOpenBlackHole > 24*time.Hour {
		return c, fmt.Errorf("handshake: FastOpenBlackHole %v: want 0 (never) to 24h", c.FastOpenBlackHole)
	}
	if err := c.schedules(); err != nil {
		return c, err
	}
	defD(&c.TimeWait, time.Minute)
	defD(&c.FinWait2, time.Minute)
	if c.TimeWait > time.Hour || c.FinWait2 < time.Millisecond || c.FinWait2 > time.Hour {
		return c, fmt.Errorf("handshake: TimeWait %v, FinWait2 %v: want at most 1h", c.TimeWait, c.FinWait2)
	}
	return c, nil
}

// schedules fills in Retry, and the numbers of repetitions that it has.
func (c *Config) schedules() (err error) {
	for _, r := range []struct {
		name, retries string
		s             *Schedule
		n             *int
		def           int
	}{
		{"Retry.SYN", "SYNRetries", &c.Retry.SYN, &c.SYNRetries, 6},
		{"Retry.SYNACK", "SYNACKRetries", &c.Retry.SYNACK, &c.SYNACKRetries, 5},
	} {
		if *r.s == nil {
			if *r.n == 0 {
				*r.n = r.def
			}
			*r.s = Backoff(c.InitialRTO, c.MaxRTO, max(*r.n, 0))
		}
		if err := (*r.s).check(r.name); err != nil {
			return err
		}
		if *r.s, err = (*r.s).limit(r.retries, *r.n); err != nil {
			return err
		}
		*r.n = len(*r.s) - 1
	}
	return nil
}
