package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// condition bounds one figure of a trial.
type condition struct {
	text   string
	limit  float64 // ns, or a share
	orSame bool    // <=
	figure func(t *probe) float64
	show   func(f float64) string
}

// figures are what a target can bound.
var figures = []struct {
	name string
	of   func(t *probe) float64
}{
	{"loss", func(t *probe) float64 { return t.Loss }},
	{"p50", func(t *probe) float64 { return float64(t.response.P50) }},
	{"p90", func(t *probe) float64 { return float64(t.response.P90) }},
	{"p99", func(t *probe) float64 { return float64(t.response.P99) }},
	{"p99.9", func(t *probe) float64 { return float64(t.response.P999) }},
	{"max", func(t *probe) float64 { return float64(t.response.Max) }},
	{"mean", func(t *probe) float64 { return t.response.Mean }},
}

// parseTarget reads the target of a search: conditions such as "loss<0.1%,p99<5ms", all of which must be met.
func parseTarget(text string) ([]condition, error) {
	const fix = "write conditions such as loss<0.1%,p99<5ms"
	var out []condition
	for _, part := range strings.Split(text, ",") {
		part = strings.TrimSpace(part)
		c := condition{text: part, show: showTime}
		name, limit, found := strings.Cut(part, "<")
		if !found {
			return nil, flagError("search", part, "no < between a figure and its limit", fix)
		}
		limit, c.orSame = strings.CutPrefix(limit, "=")
		var names []string
		for _, f := range figures {
			names = append(names, f.name)
			if f.name == strings.TrimSpace(name) {
				c.figure = f.of
			}
		}
		if c.figure == nil {
			return nil, choice("search", strings.TrimSpace(name), names...)
		}
		limit = strings.TrimSpace(limit)
		if strings.TrimSpace(name) == "loss" {
			share, err := parseShare(limit)
			if err != nil || share < 0 || share > 1 || share == 0 && !c.orSame {
				return nil, flagError("search", part, "the loss is a share of the attempts, from above 0", "write loss<0.1%, or loss<=0 for none at all")
			}
			c.limit, c.show = share, showShare
		} else {
			d, err := time.ParseDuration(limit)
			if err != nil || d <= 0 {
				return nil, flagError("search", part, fmt.Sprintf("%q is no time", limit), "write a time such as 5ms")
			}
			c.limit = float64(d)
		}
		out = append(out, c)
	}
	return out, nil
}

// parseShare reads 0.1% or 0.001.
func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	return f, err
}

func showTime(f float64) string { return shortDuration(time.Duration(f)) }

func showShare(f float64) string { return strconv.FormatFloat(100*f, 'g', 3, 64) + "%" }

// judge says whether a trial met all conditions, and else why not. One without any success has no latency to speak of.
func (t *probe) judge(target []condition) {
	t.Met, t.Why = true, ""
	if t.Loss >= 1 {
		t.Met, t.Why = false, "nothing succeeded"
		return
	}
	for _, c := range target {
		f := c.figure(t)
		if f < c.limit || c.orSame && f == c.limit {
			continue
		}
		t.Met = false
		t.Why = fmt.Sprintf("%s is %s", c.text, c.show(f))
		return
	}
}
