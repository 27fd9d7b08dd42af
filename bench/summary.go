package bench

import (
	"bytes"
	"strings"
)

// Summary is what the text report says of a scenario, for other renderings of a report.
type Summary struct {
	Noun  string        // what the rate counts, such as "opens"
	Setup []SummaryLine // scenario, set-up, time
	// Lines are those of the scenario itself; the first is its rate.
	Lines []SummaryLine
}

// SummaryLine is a line of the text report.
type SummaryLine struct{ Name, Text string }

// Summary returns the lines of the text report about this scenario. It is
// empty if this version does not know the scenario.
func (r *Report) Summary() Summary {
	kind := scenarioOf(r.Scenario)
	if kind == nil {
		return Summary{}
	}
	var head, text bytes.Buffer
	r.head(&head, kind)
	kind.text(r, &text)
	return Summary{Noun: kind.noun, Setup: summaryLines(head.String()), Lines: summaryLines(text.String())}
}

// summaryLines takes apart what line has written.
func summaryLines(text string) []SummaryLine {
	var out []SummaryLine
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		if len(l) > nameWidth {
			out = append(out, SummaryLine{strings.TrimSpace(l[:nameWidth]), strings.TrimSpace(l[nameWidth:])})
		}
	}
	return out
}
