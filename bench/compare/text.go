package compare

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// WriteText writes the result for people.
func (res *Result) WriteText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "A  %s\nB  %s\n", strings.Join(res.A, " "), strings.Join(res.B, " "))
	for _, s := range res.Warnings {
		fmt.Fprintf(&b, "differs: %s\n", s)
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	percent := strconv.FormatFloat(100*res.Confidence, 'f', -1, 64)
	fmt.Fprintf(t, "metric\tA\tB\tchange\t%s %% interval\t\n", percent)
	methods := map[string]bool{}
	for i := range res.Differences {
		d := &res.Differences[i]
		change, interval := d.changeText()
		mark := ""
		if d.Significant {
			mark = "beyond noise"
		}
		methods[d.Method] = true
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.label(), d.text(d.A.Value), d.text(d.B.Value), change, interval, mark)
	}
	_ = t.Flush() // to memory
	b.WriteByte('\n')
	if methods[MethodRuns] {
		fmt.Fprintf(&b, "Noise is what the %d + %d runs differ by among themselves.\n", len(res.A), len(res.B))
	}
	if methods[MethodSeconds] {
		b.WriteString("Noise is what the seconds of a run differ by. Runs differ by more: several reports per side (--a, --b) would tell.\n")
	}
	fmt.Fprintf(&b, "Of %d lines without any difference, %.1f would be marked on average.\n", len(res.Differences), float64(len(res.Differences))*(1-res.Confidence))
	for i := range res.Conditions {
		v := &res.Conditions[i]
		word := "ok  "
		if v.Failed {
			word = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s: %s\n", word, v.Condition, v.Why)
	}
	_, err := w.Write(trimLines(b.Bytes()))
	return err
}

// trimLines takes the spaces off the ends of lines, which an empty last column leaves.
func trimLines(b []byte) []byte {
	lines := bytes.Split(b, []byte{'\n'})
	for i := range lines {
		lines[i] = bytes.TrimRight(lines[i], " ")
	}
	return bytes.Join(lines, []byte{'\n'})
}

func (d *Difference) label() string {
	if d.Of != "" && utf8.RuneCountInString(d.Of) < 16 {
		return d.Metric + " (" + d.Of + ")"
	}
	return d.Metric
}

// text prints a value of the metric.
func (d *Difference) text(v float64) string {
	switch unit(d.Unit) {
	case nanosecond:
		return shortTime(v)
	case share:
		return percent(v)
	default:
		return digits(v) + "/s"
	}
}

// changeText prints the change and its interval, in percent of A where that has a meaning.
func (d *Difference) changeText() (change, interval string) {
	e, print := d.Change, func(v float64) string { return signed(v, d.text) }
	switch {
	case unit(d.Unit) == share:
		print = func(v float64) string {
			return signed(v, func(v float64) string { return strings.TrimSuffix(percent(v), " %") + " pp" })
		}
	case d.Ratio != nil:
		e, print = *d.Ratio, func(v float64) string { return signed(v, percent) }
	}
	change = print(e.Value)
	if d.Method == MethodNone {
		return change, "unknown"
	}
	return change, print(e.Low) + " to " + print(e.High)
}

// valueText says what a condition looked at.
func (d *Difference) valueText(c *Condition) string {
	if !c.change {
		if unit(d.Unit) == share && c.unit == "" {
			return fmt.Sprintf("B has %d", d.countB)
		}
		return "B has " + d.text(d.B.Value)
	}
	change, interval := d.changeText()
	if unit(d.Unit) == share && c.unit == "%" && d.Ratio != nil {
		change = signed(d.Ratio.Value, percent) + " of A's"
	}
	return fmt.Sprintf("%s (%s)", change, interval)
}

func signed(v float64, print func(float64) string) string {
	if v < 0 {
		return "-" + print(-v)
	}
	return "+" + print(v)
}

func percent(v float64) string {
	v *= 100
	switch {
	case v >= 1000:
		return digits(v) + " %"
	case v != 0 && v < 0.01:
		return strconv.FormatFloat(v, 'g', 2, 64) + " %"
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + " %"
}

// shortTime prints nanoseconds with three digits.
func shortTime(ns float64) string {
	d, unit := time.Duration(math.Round(ns)), time.Duration(1)
	for d >= 1000*unit || -d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}

// digits groups the digits of large numbers and keeps three of small ones.
func digits(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
