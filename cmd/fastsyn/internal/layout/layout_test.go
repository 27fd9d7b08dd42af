package layout

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "\n"},
		{"one", "one\n"},
		{"one two", "one two\n"},
		{"one two three", "one two\n    three\n"},
		{"µµµ µµµ three", "µµµ µµµ\n    three\n"},
		{"a-word-longer-than-a-line b", "a-word-longer-than-a-line\n    b\n"},
	} {
		var b strings.Builder
		Wrap(&b, c.in, 4, 12)
		require.Equal(t, c.want, b.String(), c.in)
	}
}

func TestPage(t *testing.T) {
	p := Page{Column: 8, Width: 20}
	p.Section("first")
	p.Entry("eth0", "a b c d e f g")
	p.Field("note", "one")
	p.Field("none", "")
	p.Item("1. ", "two three")
	p.Command(3, "do this, and it may be long")
	p.Entry("0000:3b:00.0", "long")
	p.Section("second")
	p.Entry("x", "")
	require.Equal(t, `first

eth0    a b c d e f
        g
  note  one
        1. two three
           do this, and it may be long

0000:3b:00.0
        long

second

x
`, p.String())
}

func TestPlural(t *testing.T) {
	require.Equal(t, "1 queue", Plural(1, "queue", "queues"))
	require.Equal(t, "0 queues", Plural(0, "queue", "queues"))
}
