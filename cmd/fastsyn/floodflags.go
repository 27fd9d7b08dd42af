package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/handshake"
)

// floodFlags are the flags of serve against floods; docs/floods.md explains them.
type floodFlags struct {
	flood      handshake.FloodConfig
	gate       fastsyn.Gate
	halfOpen   int
	high, low  int
	stay       time.Duration
	budget     time.Duration
	prefixes   string
	sourceOver string
	badCookies string
}

// limitFlag reads RATE or RATE/BURST.
type limitFlag struct{ l *handshake.Limit }

func (f limitFlag) Type() string { return "rate[/burst]" }

func (f limitFlag) String() string {
	if f.l == nil || f.l.PerSecond == 0 {
		return ""
	}
	return limitText(*f.l)
}

func (f limitFlag) Set(s string) (err error) {
	l, err := handshake.ParseLimit(s)
	if err == nil {
		*f.l = l
	}
	return err
}

func limitText(l handshake.Limit) string {
	if l.Burst == 0 {
		return fmt.Sprintf("%d/s", l.PerSecond)
	}
	return fmt.Sprintf("%d/s burst %d", l.PerSecond, l.Burst)
}

func (o *floodFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.halfOpen, "max-half-open", 0, "half-open handshakes per worker (0: half of --max-flows)")
	f.IntVar(&o.high, "high-mark", 0, "half-opens at which --cookies pressure begins (0: half of --max-half-open)")
	f.IntVar(&o.low, "low-mark", 0, "half-opens at which it ends (0: half of --high-mark)")
	f.DurationVar(&o.stay, "min-stay", time.Second, "least time under --cookies pressure")
	f.BoolVar(&o.flood.EvictOldest, "evict-oldest", false, "make room in a full table by dropping an old half-open")
	f.Var(limitFlag{&o.flood.SYN}, "syn-limit", "new connections per second and worker (default: no limit)")
	f.Var(limitFlag{&o.flood.Source}, "source-limit", "new connections per second of each source prefix, per worker (default: no limit)")
	f.StringVar(&o.prefixes, "source-prefix", "24,48", "lengths of source prefixes, IPv4 and IPv6")
	f.StringVar(&o.sourceOver, "source-over", "drop", "what SYNs above --source-limit get: drop or cookie")
	f.Var(limitFlag{&o.flood.CookieAccepts}, "cookie-limit", "flows opened by a cookie per second and worker (default: no limit)")
	f.Var(limitFlag{&o.flood.Resets}, "reset-limit", "resets to segments of no flow per second and worker (default: no limit)")
	f.StringVar(&o.badCookies, "bad-cookies", "reset", "what ACKs with a bad cookie get: reset or silence")
	f.IntVar(&o.gate.HalfOpen, "listener-half-open", 0, "half-opens of each listener and worker (0: no bound of its own)")
	f.DurationVar(&o.gate.Defer, "defer-accept", 0, "let a peer in only with its first text, for about this long (0: at once)")
	f.DurationVar(&o.budget, "callback-budget", 0, "refuse new connections while callbacks take longer than this per burst (0: never)")
}

// apply checks the flags and puts them into cfg.
func (o *floodFlags) apply(cfg *fastsyn.Config) error {
	o.sourceOver, o.badCookies, o.prefixes = cmp.Or(o.sourceOver, "drop"), cmp.Or(o.badCookies, "reset"), cmp.Or(o.prefixes, "24,48")
	if err := oneOf("source-over", o.sourceOver, "drop", "cookie"); err != nil {
		return err
	}
	if err := oneOf("bad-cookies", o.badCookies, "reset", "silence"); err != nil {
		return err
	}
	v4, v6, ok := strings.Cut(o.prefixes, ",")
	var err4, err6 error
	o.flood.SourcePrefix4, err4 = strconv.Atoi(v4)
	o.flood.SourcePrefix6, err6 = strconv.Atoi(v6)
	if !ok || err4 != nil || err6 != nil || o.flood.SourcePrefix4 < 1 || o.flood.SourcePrefix4 > 32 || o.flood.SourcePrefix6 < 1 || o.flood.SourcePrefix6 > 128 {
		return usagef("--source-prefix %q: want two lengths, 1..32 and 1..128, such as 24,48", o.prefixes)
	}
	o.flood.SourceCookies = o.sourceOver == "cookie"
	o.flood.SilentBadCookies = o.badCookies == "silence"
	if o.flood.SourceCookies && o.flood.Source.PerSecond == 0 {
		return usagef("--source-over cookie without --source-limit: name the limit above which cookies are sent")
	}
	if o.flood.SourceCookies && cfg.Engine.Cookies == handshake.CookiesNever {
		return usagef("--source-over cookie with --cookies never: choose --cookies pressure or always")
	}
	switch {
	case o.gate.HalfOpen < 0:
		return usagef("--listener-half-open %d: want a number of half-opens, or 0 for no bound of its own", o.gate.HalfOpen)
	case o.gate.Defer < 0 || o.gate.Defer > time.Hour:
		return usagef("--defer-accept %v: want at most 1h, or 0 to accept at once", o.gate.Defer)
	case o.budget < 0:
		return usagef("--callback-budget %v: want a time per burst such as 1ms, or 0 for no bound", o.budget)
	case o.high > 0 && o.low > o.high:
		return usagef("--low-mark %d is above --high-mark %d: cookies end below where they begin; lower it, or leave it out", o.low, o.high)
	}
	e := &cfg.Engine
	e.MaxHalfOpen, e.HighMark, e.LowMark, e.MinStay, e.Flood = o.halfOpen, o.high, o.low, o.stay, o.flood
	cfg.CallbackBudget = o.budget
	return nil
}

// settings names what is switched on, for the report.
func (o *floodFlags) settings() map[string]string {
	m := map[string]string{}
	for name, l := range map[string]handshake.Limit{
		"syn_limit": o.flood.SYN, "source_limit": o.flood.Source, "cookie_limit": o.flood.CookieAccepts, "reset_limit": o.flood.Resets,
	} {
		if l.PerSecond != 0 {
			m[name] = limitText(l)
		}
	}
	if o.flood.Source.PerSecond != 0 {
		m["source_prefix"], m["source_over"] = o.prefixes, o.sourceOver
	}
	for name, n := range map[string]int{"max_half_open": o.halfOpen, "high_mark": o.high, "low_mark": o.low, "listener_half_open": o.gate.HalfOpen} {
		if n != 0 {
			m[name] = strconv.Itoa(n)
		}
	}
	if o.flood.EvictOldest {
		m["evict_oldest"] = "on"
	}
	if o.flood.SilentBadCookies {
		m["bad_cookies"] = o.badCookies
	}
	if o.gate.Defer > 0 {
		m["defer_accept"] = o.gate.Defer.String()
	}
	if o.budget > 0 {
		m["callback_budget"] = o.budget.String()
	}
	return m
}
