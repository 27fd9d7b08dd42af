package lab

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
)

// factWidth is the room for who says a fact.
const factWidth = 9

// Style says what the terminal shows.
type Style = ladder.Style

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
)

// writer writes text; the first error stays.
type writer struct {
	w   io.Writer
	st  Style
	err error
}

func (w *writer) printf(format string, args ...any) {
	if w.err != nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if w.st.ASCII {
		text = ladder.ASCII(text)
	}
	_, w.err = io.WriteString(w.w, text)
}

func (w *writer) paint(color, s string) string {
	if w.st.Color && color != "" {
		return color + s + reset
	}
	return s
}

// paragraph writes text in lines of the diagram's width, each behind the indentation.
func (w *writer) paragraph(first, rest, text, color string) {
	w.lines(first, rest, ladder.Wrap(text, ladder.Width-utf8.RuneCountInString(rest)), color)
}

func (w *writer) lines(first, rest string, lines []string, color string) {
	indent := first
	for _, line := range lines {
		w.printf("%s%s\n", indent, w.paint(color, line))
		indent = rest
	}
}

// frame writes a line of the trace, broken behind commas.
func (w *writer) frame(l TraceLine) {
	const first, rest = "  ", "      "
	var words []string
	for _, word := range strings.SplitAfter(l.Text, ", ") {
		word = strings.TrimSuffix(word, " ")
		for len(word) > ladder.Width-len(rest) { // a long list of options
			cut := strings.LastIndexByte(word[:ladder.Width-len(rest)], ',') + 1
			words, word = append(words, word[:cut]), word[cut:]
			if cut == 0 {
				break
			}
		}
		words = append(words, word)
	}
	w.lines(first, rest, ladder.WrapWords(words, ladder.Width-len(rest)), "")
	w.paragraph(rest, rest+"  ", "# "+l.Remark, dim)
}

// WriteText writes the result as a person reads it.
func (r *Result) WriteText(out io.Writer, st Style) error {
	w := &writer{w: out, st: st}
	const rule = "─"
	head := fmt.Sprintf("%s%s %s ", rule, rule, r.Name)
	w.printf("%s%s\n", w.paint(bold, head), w.paint(dim, strings.Repeat(rule, max(2, ladder.Width-utf8.RuneCountInString(head)))))
	w.paragraph("", "", r.Title+" (chapter: "+r.Section+")", bold)
	w.printf("\n")
	w.paragraph("", "", r.Text, "")
	for i := range r.Panels {
		w.panel(&r.Panels[i], len(r.Panels) > 1, i+1)
		w.checks(r.Checks, i+1)
	}
	w.checks(r.Checks, 0)
	if r.Plays > 1 {
		w.printf("  (played %d times: the machine was busy)\n", r.Plays)
	}
	w.printf("\n")
	switch {
	case r.OK:
		w.printf("%s: %s\n", r.Name, w.paint(green, "ok"))
	case r.Error != "":
		w.printf("%s: %s: %s\n", r.Name, w.paint(red, "FAILED"), r.Error)
	default:
		w.printf("%s: %s\n", r.Name, w.paint(red, "FAILED"))
	}
	return w.err
}

// checks writes those of a panel.
func (w *writer) checks(all []Check, panel int) {
	first := true
	for _, c := range all {
		if c.Panel != panel {
			continue
		}
		if first {
			w.printf("\n")
			first = false
		}
		mark, color := "ok  ", green
		if !c.OK {
			mark, color = "FAIL", red
		}
		text := c.What
		if c.Got != "" {
			text += ": " + c.Got
		}
		w.paragraph("  "+w.paint(color, mark)+" ", "       ", text, "")
	}
}

func (w *writer) panel(q *Panel, numbered bool, n int) {
	w.printf("\n")
	title := q.Title
	if numbered {
		title = fmt.Sprintf("%d. %s", n, title)
	}
	w.paragraph("", "   ", title, bold)
	if q.Text != "" {
		w.paragraph("   ", "   ", q.Text, "")
	}
	if len(q.diagram.Items) > 0 {
		w.printf("\n%s", q.diagram.Render(w.st))
	}
	if len(q.Trace) > 0 {
		w.printf("\n")
	}
	for _, l := range q.Trace {
		w.frame(l)
	}
	if len(q.Facts) > 0 {
		w.printf("\n")
	}
	for _, f := range q.Facts {
		w.paragraph("  "+ladder.Pad(f.From, factWidth), strings.Repeat(" ", 2+factWidth), f.Text, "")
	}
	if q.Pcap != "" {
		w.printf("  capture: %s\n", q.Pcap)
	}
}
