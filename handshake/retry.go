package handshake

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRetries bounds the repetitions of a segment.
const maxRetries = 30

// Schedule says when an unanswered SYN or SYN-ACK is sent again and when the
// open is given up. Element n is the wait after copy n, so the last one is the
// wait before the end: {1s, 2s, 4s} sends at 0, 1 and 3 s and gives up at 7 s.
type Schedule []time.Duration

// Backoff is the schedule of RFC 6298 §5.5: n repetitions, the first after
// first, and each wait twice the one before it, up to limit.
func Backoff(first, limit time.Duration, n int) Schedule {
	s := make(Schedule, n+1)
	for i := range s {
		s[i] = min(first, limit)
		first = min(2*first, limit)
	}
	return s
}

// Total is the time from the first copy to the end.
func (s Schedule) Total() (d time.Duration) {
	for _, w := range s {
		d += w
	}
	return d
}

// until cuts s so that it ends at limit, as a timer for the whole open does.
func (s Schedule) until(limit time.Duration) Schedule {
	for i, w := range s {
		if w >= limit {
			s = s[:i+1]
			s[i] = limit
			break
		}
		limit -= w
	}
	return s
}

// String writes s as ParseRetry reads it.
func (s Schedule) String() string {
	words := make([]string, len(s))
	for i, w := range s {
		words[i] = w.String()
	}
	return strings.Join(words, ",")
}

// check reports what is wrong with s, which is called name.
func (s Schedule) check(name string) error {
	if len(s) == 0 || len(s) > maxRetries+1 {
		return fmt.Errorf("handshake: %s with %d waits: want 1 to %d, one after each copy", name, len(s), maxRetries+1)
	}
	for _, w := range s {
		if w < time.Millisecond || w > time.Hour {
			return fmt.Errorf("handshake: %s: a wait of %v: want 1ms to 1h", name, w)
		}
	}
	return nil
}

// limit applies a number of repetitions as Config has it (0: as s, negative:
// none) to s, which is called name, and returns a copy.
func (s Schedule) limit(name string, retries int) (Schedule, error) {
	n := len(s) - 1
	switch {
	case retries < 0:
		n = 0
	case retries > n:
		return s, fmt.Errorf("handshake: %s %d: the schedule %v has %d; give a longer one", name, retries, s, n)
	case retries > 0:
		n = retries
	}
	return slices.Clone(s[:n+1]), nil
}

// Retry is the schedule of each role.
type Retry struct {
	SYN    Schedule // of an open from here (RTX-002)
	SYNACK Schedule // of a half-open (RTX-001)
}

// RetryPreset names the schedules of systems that people know.
type RetryPreset uint8

// The presets. Times are in seconds from the first copy.
const (
	// RetryLinux is the default of Linux: SYN at 0, 1, 3, 7, 15, 31, 63, end at
	// 127 (tcp_syn_retries 6); SYN-ACK at 0, 1, 3, 7, 15, 31, end at 63 (tcp_synack_retries 5).
	RetryLinux RetryPreset = iota
	// RetryLinuxLinear is Linux from 6.5 on with tcp_syn_linear_timeouts 4: SYN at
	// 0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67, end at 131; SYN-ACK as RetryLinux.
	RetryLinuxLinear
	// RetryBSD is FreeBSD from 12 on: each wait but the first is longer by 200 ms
	// (net.inet.tcp.rexmit_slop), at most 64 s, and the open ends at 75
	// (net.inet.tcp.keepinit): SYN at 0, 1, 3.2, 7.4, 15.6, 31.8, 64; SYN-ACK at
	// 0, 1, 3.2, 7.4, end at 15.6 (net.inet.tcp.syncache.rexmtlimit 3).
	RetryBSD
	// RetryTextbook is three repetitions, doubling, over 75 s: at 0, 5, 15, 35, both roles.
	RetryTextbook
	numRetryPresets
)

var retryNames = [numRetryPresets]string{"linux", "linux-linear", "bsd", "textbook"}

// RetryPresets returns the names that ParseRetry knows.
func RetryPresets() []string { return slices.Clone(retryNames[:]) }

// String returns the name.
func (p RetryPreset) String() string {
	if p < numRetryPresets {
		return retryNames[p]
	}
	return "unknown"
}

// Retry returns the schedules of the preset; the caller owns them.
func (p RetryPreset) Retry() Retry {
	const linuxSYN, linuxSYNACK = 6, 5
	r := Retry{
		SYN:    Backoff(time.Second, 120*time.Second, linuxSYN),
		SYNACK: Backoff(time.Second, 120*time.Second, linuxSYNACK),
	}
	switch p {
	case RetryLinuxLinear:
		r.SYN = append(Backoff(time.Second, time.Second, 3), r.SYN...)
	case RetryBSD:
		// tcp_timer.c: tcp_rexmit_initial * tcp_backoff[n], through TCPT_RANGESET,
		// which adds the slop and has the last word with TCPTV_REXMTMAX.
		for n := range r.SYN {
			if n > 0 {
				r.SYN[n] = min(r.SYN[n]+200*time.Millisecond, 64*time.Second)
			}
		}
		r.SYNACK = slices.Clone(r.SYN[:4])
		r.SYN = r.SYN.until(75 * time.Second) // TCPTV_KEEP_INIT
	case RetryTextbook:
		r.SYN, r.SYNACK = Backoff(5*time.Second, 75*time.Second, 3), Backoff(5*time.Second, 75*time.Second, 3)
	case RetryLinux, numRetryPresets:
	}
	return r
}

// ParseRetry reads the name of a preset, or the waits after each copy, for both
// roles, separated by commas: "1s,2s,4s" repeats twice and gives up after 7 s.
func ParseRetry(s string) (Retry, error) {
	if i := slices.Index(retryNames[:], s); i >= 0 {
		return RetryPreset(i).Retry(), nil
	}
	var waits Schedule
	for word := range strings.SplitSeq(s, ",") {
		d, err := time.ParseDuration(strings.TrimSpace(word))
		if err != nil {
			return Retry{}, fmt.Errorf("handshake: retry schedule %q: want %s, or the wait after each copy, such as 1s,2s,4s", s, strings.Join(retryNames[:], ", "))
		}
		waits = append(waits, d)
	}
	if err := waits.check("retry schedule"); err != nil {
		return Retry{}, err
	}
	return Retry{SYN: waits, SYNACK: slices.Clone(waits)}, nil
}
