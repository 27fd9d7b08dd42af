package page

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/bench"
)

// search shows the trials of a search for the highest rate.
type search struct {
	Target, Result, Bracket, Note string
	Loss, Slow                    *plot
	Rows                          []trialRow
	More                          int
}

type trialRow struct {
	N, Rate, Done, Time, Loss, P99, Why string
	Met                                 bool
}

func newSearch(s *bench.Search) *search {
	if s == nil {
		return nil
	}
	out := &search{Target: clip(s.Target), Result: "No rate"}
	if s.RatePerS > 0 {
		out.Result = number(s.RatePerS) + "/s"
	}
	switch {
	case s.High > 0 && s.Low > 0:
		out.Bracket = "between " + number(s.Low) + "/s, which met it, and " + number(s.High) + "/s, which did not"
	case s.High > 0:
		out.Bracket = number(s.High) + "/s did not meet it"
	case s.Low > 0:
		out.Bracket = "no rate tried was too high"
	}
	if s.ThroughputPerS > 0 {
		out.Note = "Of that, " + number(s.ThroughputPerS) + "/s succeeded. "
	}
	if s.Why != "" {
		out.Note += "The search ended after " + trim(s.TookS, 1) + " s: " + clip(s.Why) + "."
	}
	trials, more := head(s.Trials, maxColumns)
	out.More = more
	lo, hi, worst, slow, fast := math.Inf(1), 0.0, 0.0, 0.0, math.Inf(1)
	least := math.Inf(1)
	for i, t := range trials {
		out.Rows = append(out.Rows, trialRow{
			N: strconv.Itoa(i + 1), Rate: number(t.RatePerS) + "/s", Done: number(t.DoneS) + "/s", Time: trim(t.DurationS, 3) + " s", Loss: percent(clamp(t.Loss)), P99: duration(t.P99NS),
			Met: t.Met, Why: clip(t.Why),
		})
		if t.RatePerS > 0 {
			lo, hi = min(lo, t.RatePerS), max(hi, t.RatePerS)
		}
		worst = max(worst, t.Loss)
		if t.Loss > 0 {
			least = min(least, t.Loss)
		}
		if t.P99NS > 0 {
			slow, fast = max(slow, float64(t.P99NS)), min(fast, float64(t.P99NS))
		}
	}
	if hi == 0 {
		return out
	}
	lossTarget, slowTarget := limits(s.Target)
	if lossTarget > 0 && worst > 0 {
		worst, least = max(worst, lossTarget), min(least, lossTarget)
	}
	if slowTarget > 0 && slow > 0 {
		slow, fast = max(slow, slowTarget), min(fast, slowTarget)
	}
	x, marks := logarithmic(lo, hi)
	if hi < 4*lo {
		x, marks = linear(hi, 5)
	}
	make := func(id, title, label string, y scale, values []float64, text func(float64) string, target float64, of func(*bench.Trial) float64) *plot {
		p := &plot{
			ID: id, Class: "middle", Title: title, XLabel: "rate offered, per second", YLabel: label, X: x.ticks(marks, short), Y: upwards(y, values, text),
			Desc: plural(len(trials), "trial") + "; the table has each.", Legend: []key{{"t-met", "met the target", false}, {"t-missed", "did not", false}},
		}
		for i := range trials {
			t := &trials[i]
			v := of(t)
			if t.RatePerS <= 0 || v < 0 {
				continue
			}
			m := point{Class: "t-met", X: at(x.at(t.RatePerS)), Y: at(1 - y.at(v)), Text: out.Rows[i].Rate + ": loss " + out.Rows[i].Loss + ", p99 " + out.Rows[i].P99}
			if !t.Met {
				m.Class, m.Cross = "t-missed", true
			}
			p.Points = append(p.Points, m)
		}
		if target > 0 {
			p.Rules = append(p.Rules, rule{Class: "target", Y: at(1 - y.at(target)), Label: "target"})
		}
		if s.RatePerS > 0 {
			p.Rules = append(p.Rules, rule{Class: "result", X: at(x.at(s.RatePerS)), Label: out.Result})
		}
		return p
	}
	lossScale, lossMarks := linear(worst, 4)
	if lossScale.hi > 1 { // there is no more to lose
		lossScale.hi = 1
		lossMarks = slices.DeleteFunc(lossMarks, func(v float64) bool { return v > 1 })
	}
	if worst > 0 && worst > 20*least {
		lossScale, lossMarks = logarithmic(least/2, worst)
	}
	text := func(f float64) string {
		if lossScale.log && f <= lossScale.lo {
			return "0" // where trials without loss are
		}
		return percent(f)
	}
	if worst > 0 {
		out.Loss = make("loss", "Loss by rate", "failed", lossScale, lossMarks, text, lossTarget, func(t *bench.Trial) float64 { return t.Loss })
	}
	if slow > 0 {
		y, values := logarithmic(fast, slow)
		out.Slow = make("slow", "p99 by rate", "p99", y, values, tickDuration, slowTarget, func(t *bench.Trial) float64 {
			if t.P99NS <= 0 {
				return -1
			}
			return float64(t.P99NS)
		})
	}
	return out
}

// limits are what a target such as loss<0.1%,p99<5ms asks of the two plots; 0: nothing.
func limits(target string) (loss, p99 float64) {
	for part := range strings.SplitSeq(target, ",") {
		name, value, _ := strings.Cut(part, "<")
		value = strings.TrimSpace(strings.TrimPrefix(value, "="))
		switch strings.TrimSpace(name) {
		case "loss":
			number, inPercent := strings.CutSuffix(value, "%")
			if f, err := strconv.ParseFloat(strings.TrimSpace(number), 64); err == nil && f > 0 && f <= 100 {
				if loss = f; inPercent {
					loss /= 100
				}
			}
		case "p99":
			if d, err := time.ParseDuration(value); err == nil && d > 0 {
				p99 = float64(d)
			}
		}
	}
	return loss, p99
}
