package bench

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// Defaults of a search.
const (
	DefaultSearchRange     = "100..10M"
	DefaultSearchPrecision = "1%"
	DefaultSearchTime      = 2 * time.Minute
	DefaultTrial           = 5 * time.Second // a trial of full length
)

// searching is what normalize makes of the settings of a search.
type searching struct {
	target               []condition
	low, high, precision float64
}

// searches checks the settings of a search, and fills in their defaults.
func (c *Config) searches() (err error) {
	if c.Search == "" {
		for flag, given := range map[string]bool{
			"search-range": c.SearchRange != "", "search-precision": c.SearchPrecision != "", "search-time": c.SearchTime != 0,
		} {
			if given {
				return flagError(flag, "", "there is no search", "add --search with a target, such as --search 'loss<0.1%,p99<5ms'")
			}
		}
		return nil
	}
	kind := c.kind()
	for flag, given := range map[string]bool{"rate": c.Rate != 0, "load": c.Load != "", "count": c.Count != 0} {
		if given {
			return flagError(flag, "", "the search decides how much is sent", "leave it out, or bound the rates by --search-range")
		}
	}
	if kind.good == nil {
		return flagError("search", c.Search, "the scenario "+kind.name+" has no rate to search for", "use another scenario")
	}
	c.search = &searching{}
	if c.search.target, err = parseTarget(c.Search); err != nil {
		return err
	}
	c.SearchRange = cmp.Or(c.SearchRange, DefaultSearchRange)
	s := c.search
	if s.low, s.high, err = parseRates(c.SearchRange); err != nil || s.low <= 0 || s.low >= s.high {
		return flagError("search-range", c.SearchRange, "want two rates per second, from above 0 to 1e9, the lower one first", "for example 1k..2M")
	}
	c.SearchPrecision = cmp.Or(c.SearchPrecision, DefaultSearchPrecision)
	if s.precision, err = parseShare(c.SearchPrecision); err != nil || !(s.precision >= 1e-4 && s.precision <= 1) {
		return flagError("search-precision", c.SearchPrecision, "want a share of the rate, 0.01% to 100%", "for example 1%")
	}
	c.SearchTime = cmp.Or(c.SearchTime, DefaultSearchTime)
	c.Duration = cmp.Or(c.Duration, DefaultTrial)
	if c.SearchTime < 4*c.Duration {
		return flagError("search-time", c.SearchTime, fmt.Sprintf("too short for trials of %v", c.Duration),
			fmt.Sprintf("give at least four times --duration, better twenty times (%v), or shorten that", 20*c.Duration))
	}
	return nil
}

// search runs trials until one decides. The report is that of the last trial at the rate found, or, when none met the
// target, of the last one at the lowest rate.
func search(ctx context.Context, asked, cfg Config, progress func(Progress)) (*Report, error) {
	s := newSearcher(cfg.search.low, cfg.search.high, cfg.search.precision, cfg.Duration, cfg.SearchTime)
	if asked.Seed == 0 {
		asked.Seed = randomSeed()
	}
	begin := time.Now()
	overhead := cfg.Drain + 2*time.Second // until a trial was longer
	byStep := map[int]*Report{}
	for ctx.Err() == nil {
		at := time.Since(begin)
		rate, length, ok := s.next(at, overhead)
		if !ok {
			break
		}
		step, name := s.step, fmt.Sprintf("trial %d, %s/s", len(s.trials)+1, number(rate))
		rep, err := Run(ctx, asked.trial(len(s.trials), rate, length), func(p Progress) {
			if progress != nil {
				p.Trial = name
				progress(p)
			}
		})
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		byStep[step] = rep
		if !rep.Valid {
			return rep, nil
		}
		if ctx.Err() != nil { // cut short
			break
		}
		overhead = max(overhead, time.Since(begin)-at-length)
		t := rep.trial(rate)
		t.judge(cfg.search.target)
		s.add(t)
	}
	if len(s.trials) == 0 {
		return nil, fmt.Errorf("bench: the search was stopped before the end of the first trial")
	}
	if !s.ended {
		s.end(false, "it was stopped")
	}
	found := s.outcome()
	found.Target, found.TookS = cfg.Search, time.Since(begin).Seconds()
	best, _ := s.result()
	rep := byStep[max(best.lo, 0)]
	if rep == nil {
		rep = byStep[s.trials[0].step]
	}
	rep.Search, rep.Config = found, asked.Settings()
	return rep, nil
}

// trial is the run of one.
func (c Config) trial(n int, rate float64, length time.Duration) Config {
	c.Search, c.SearchRange, c.SearchPrecision, c.SearchTime = "", "", "", 0
	c.Rate, c.Duration = rate, length
	c.Seed += uint64(n) // other ports first
	if n > 0 {
		c.DAD = -1 // it has been asked
	}
	return c
}

// trial sums up a run at a rate.
func (r *Report) trial(rate float64) probe {
	t := probe{Trial: Trial{RatePerS: rate, DurationS: r.DurationS, Loss: 1}, response: r.Response}
	if t.response.Count == 0 {
		t.response = r.Latency
	}
	t.P99NS = t.response.P99
	if good := scenarioOf(r.Scenario).good(r); r.Intended > 0 && r.DurationS > 0 {
		t.DoneS = float64(good) / r.DurationS
		t.Loss = max(0, 1-float64(good)/float64(r.Intended))
	}
	return t
}

// outcome is the result so far.
func (s *searcher) outcome() *Search {
	b, level := s.result()
	o := &Search{Converged: s.converged, Why: s.why, Trials: make([]Trial, len(s.trials))}
	for i := range s.trials {
		o.Trials[i] = s.trials[i].Trial
	}
	if b.lo >= 0 {
		o.RatePerS = s.rate(b.lo)
		o.Low = o.RatePerS
		o.ThroughputPerS = s.throughput(b.lo, level)
	}
	if b.hi >= 0 {
		o.High = s.rate(b.hi)
	}
	return o
}

// String says what was found, in a sentence.
func (o *Search) String() string {
	n := len(o.Trials)
	if o.RatePerS == 0 {
		last := o.Trials[n-1]
		for i := range o.Trials {
			if t := &o.Trials[i]; !t.Met && t.RatePerS <= last.RatePerS {
				last = *t
			}
		}
		return fmt.Sprintf("%s is not met, not even at %s/s: %s (%s, %.0f s)", o.Target, number(last.RatePerS), last.Why, plural(n, "trial"), o.TookS)
	}
	above := "the highest rate of the range"
	if o.High > 0 {
		above = "at " + number(o.High) + "/s it is not met"
		for i := range o.Trials {
			if t := &o.Trials[i]; t.RatePerS == o.High && !t.Met {
				above = fmt.Sprintf("at %s/s %s", number(o.High), t.Why)
			}
		}
	}
	s := fmt.Sprintf("%s/s meet %s; %s (%s, %.0f s)", number(o.RatePerS), o.Target, above, plural(n, "trial"), o.TookS)
	if !o.Converged {
		s += "; not narrowed down further: " + o.Why
	}
	return s
}

// textSearch lists the trials.
func (o *Search) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nsearch\n  %s\n", o)
	for i := range o.Trials {
		t := &o.Trials[i]
		mark, why := "met   ", ""
		if !t.Met {
			mark, why = "missed", "  "+t.Why
		}
		fmt.Fprintf(&b, "  %s  %12s/s for %-7s  done %12s/s  loss %-9s p99 %-8s%s\n", mark, number(t.RatePerS),
			fmt.Sprintf("%.2fs", t.DurationS), number(t.DoneS), showShare(t.Loss), shortDuration(time.Duration(t.P99NS)), why)
	}
	return b.String()
}
