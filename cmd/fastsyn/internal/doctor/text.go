package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/layout"
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
		layout.Wrap(&b, f.Found, indent, width)
		if f.Cost != "" {
			labelled(&b, "costs", f.Cost)
		}
		if f.Fix != "" {
			labelled(&b, "fix", f.Fix)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %s, %s, %d bad\n", r.Count[OK], layout.Plural(r.Count[Note], "note", "notes"),
		layout.Plural(r.Count[Warn], "warning", "warnings"), r.Count[Bad])
	for _, e := range r.Errors {
		b.WriteString("failed: ")
		layout.Wrap(&b, e, len("failed: "), width)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func labelled(b *strings.Builder, label, text string) {
	const column = 7 // of "costs: "
	fmt.Fprintf(b, "%s%-*s", strings.Repeat(" ", below), column, label+":")
	layout.Wrap(b, text, below+column, width)
}
