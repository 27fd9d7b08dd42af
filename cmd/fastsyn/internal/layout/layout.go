// Package layout lays out text for a terminal.
package layout

import (
	"fmt"
	"slices"
	"strings"
)

// Wrap writes words from a column that is reached already, in lines of at most
// width columns, and ends the line. Words longer than a line, such as paths in
// commands, stay whole.
func Wrap(b *strings.Builder, s string, column, width int) {
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

// Plural is a number with its noun.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Commas joins what is not empty.
func Commas(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// Prefixed is prefix and s, nothing if s is.
func Prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// Page is a text of entries, each a heading with labelled fields below.
type Page struct {
	strings.Builder
	Column int // where headings and fields have their text
	Width  int
}

// Section begins a section.
func (p *Page) Section(title string) {
	if p.Len() > 0 {
		p.WriteByte('\n')
	}
	p.WriteString(title + "\n")
}

// Entry begins an entry.
func (p *Page) Entry(name, text string) {
	p.WriteByte('\n')
	p.labelled(name, text)
}

// Field adds words to an entry, unless there are none.
func (p *Page) Field(label, text string) {
	if text != "" {
		p.labelled("  "+label, text)
	}
}

func (p *Page) labelled(label, text string) {
	if text == "" {
		p.WriteString(label + "\n")
		return
	}
	if len([]rune(label)) >= p.Column { // too long for its column
		p.WriteString(label + "\n")
		label = ""
	}
	fmt.Fprintf(p, "%-*s", p.Column, label)
	Wrap(&p.Builder, text, p.Column, p.Width)
}

// Item adds words behind a label of their own.
func (p *Page) Item(label, text string) {
	p.WriteString(strings.Repeat(" ", p.Column) + label)
	Wrap(&p.Builder, text, p.Column+len(label), p.Width)
}

// Command adds a line to copy: it is not broken, however long.
func (p *Page) Command(indent int, text string) {
	p.WriteString(strings.Repeat(" ", p.Column+indent) + text + "\n")
}
