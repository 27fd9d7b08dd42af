package doctor

import (
	"fmt"
	"io"
	"strings"
)

const (
	width  = 80
	indent = 24 // where the text of a finding begins
	below  = 8  // where its cost and its fix begin, so that most commands fit a line
)

var colours = map[Severity]string{OK: "\x1b[32m", Note: "\x1b[36m", Warn: "\x1b[33m", Bad: "\x1b[31m"}

// WriteText prints the report for a terminal of 80 columns. Words longer than
// a line, such as paths in commands, stay whole.
func (r *Report) WriteText(w io.Writer, colour bool) error {
	var b strings.Builder
	area := ""
	for _, f := range r.Findings {
		if f.Area != area {
			if area != "" {
				b.WriteByte('\n')
			}
			area = f.Area
			fmt.Fprintf(&b, "%s\n", area)
		}
		severity := fmt.Sprintf("%-4s", f.Severity)
		if colour {
			severity = colours[f.Severity] + severity + "\x1b[0m"
		}
		check := fmt.Sprintf("%-*s ", indent-below-1, f.Check)
		if len(f.Check) > indent-below-1 {
			check = f.Check + "\n" + strings.Repeat(" ", indent)
		}
		fmt.Fprintf(&b, "  %s  %s", severity, check)
		wrap(&b, f.Found, indent)
		if f.Cost != "" {
			labelled(&b, "costs", f.Cost)
		}
		if f.Fix != "" {
			labelled(&b, "fix", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %s, %s, %d bad\n", r.Count[OK], plural(r.Count[Note], "note", "notes"),
		plural(r.Count[Warn], "warning", "warnings"), r.Count[Bad])
	for _, e := range r.Errors {
		b.WriteString("failed: ")
		wrap(&b, e, len("failed: "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func labelled(b *strings.Builder, label, text string) {
	const column = 7 // of "costs: "
	fmt.Fprintf(b, "%s%-*s", strings.Repeat(" ", below), column, label+":")
	wrap(b, text, below+column)
}

// wrap writes words from a column that is reached already, and ends the line.
func wrap(b *strings.Builder, s string, column int) {
	at := column
	for i, word := range strings.Fields(s) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", column))
			at = column
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	b.WriteByte('\n')
}
