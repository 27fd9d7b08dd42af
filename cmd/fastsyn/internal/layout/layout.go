// Package layout lays out text for a terminal.
package layout

import (
	"fmt"
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
