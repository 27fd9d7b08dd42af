package screen

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// emulator is a terminal as far as a view needs one: characters, \r, \n, cursor up, and erasing to
// the end of the line and of the screen. A line that is too long breaks, and so do those that
// are there when the window becomes narrower.
type emulator struct {
	mu            sync.Mutex
	width, height int
	rows          [][]rune // all that were ever written, the window is the last of them
	soft          []bool   // by row: it goes on in the next
	x, y          int
}

func newEmulator(width, height int) *emulator {
	return &emulator{width: width, height: height, rows: [][]rune{nil}, soft: []bool{false}}
}

func (e *emulator) Size() (int, int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.width, e.height, nil
}

var sequence = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (e *emulator) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := string(p); s != ""; {
		if m := sequence.FindStringSubmatch(s); m != nil {
			s = s[len(m[0]):]
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				e.y = max(e.y-n, len(e.rows)-e.height, 0)
			case "K":
				e.rows[e.y] = e.rows[e.y][:min(e.x, len(e.rows[e.y]))]
			case "J":
				e.rows[e.y] = e.rows[e.y][:min(e.x, len(e.rows[e.y]))]
				e.rows, e.soft = e.rows[:e.y+1], e.soft[:e.y+1]
			case "m":
			default:
				panic("unknown sequence " + m[0])
			}
			continue
		}
		r := []rune(s)[0]
		s = s[len(string(r)):]
		switch r {
		case '\r':
			e.x = 0
		case '\n':
			e.down(false)
		default:
			if e.x == e.width {
				e.down(true)
				e.x = 0
			}
			for len(e.rows[e.y]) <= e.x {
				e.rows[e.y] = append(e.rows[e.y], ' ')
			}
			e.rows[e.y][e.x] = r
			e.x++
		}
	}
	return len(p), nil
}

func (e *emulator) down(soft bool) {
	e.soft[e.y] = soft
	if e.y++; e.y == len(e.rows) {
		e.rows, e.soft = append(e.rows, nil), append(e.soft, false)
	}
}

// resize breaks the lines anew, as most terminals do. The cursor is at the beginning of the last.
func (e *emulator) resize(width, height int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var rows [][]rune
	for i := range e.rows {
		row := e.rows[i]
		for len(row) > width {
			rows, row = append(rows, slices.Clone(row[:width])), row[width:]
		}
		rows = append(rows, row)
	}
	e.width, e.height, e.rows, e.soft = width, height, rows, make([]bool, len(rows))
	e.x, e.y = 0, len(rows)-1
}

func (e *emulator) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, r := range e.rows {
		out = append(out, strings.TrimRight(string(r), " "))
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n")
}

// The view is replaced in place, whatever the window does meanwhile, and nothing of it is left.
func TestTerminal(t *testing.T) {
	e := newEmulator(100, 30)
	_, _ = e.Write([]byte("$ fastsyn bench\r\n"))
	term := New(e, Style{Color: true, Unicode: true})
	s := states()["bench"]
	for i, size := range [][2]int{{100, 30}, {60, 30}, {40, 25}, {100, 40}, {41, 40}, {120, 50}} {
		term.mu.Lock() // so that nothing is drawn for a size that was not yet there
		e.resize(size[0], size[1])
		term.mu.Unlock()
		term.Show(*s)
		want := *s
		for range i + 1 {
			want.History = append(want.History, s.PerS)
		}
		lines := Render(&want, Style{Width: size[0] - 1, Height: size[1] - 1, Unicode: true})
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		require.Equal(t, "$ fastsyn bench\n"+strings.Join(lines, "\n"), e.text())
	}
	_, err := term.Write([]byte("a note\nanother\n"))
	require.NoError(t, err)
	term.Show(*s)
	require.Contains(t, e.text(), "\n            another")
	term.Close()
	require.Equal(t, "$ fastsyn bench\na note\nanother", e.text(), "no view is left, and the notes are")
}

// A window that changes is drawn anew without waiting for news.
func TestTerminalFollowsTheWindow(t *testing.T) {
	e := newEmulator(100, 30)
	term := New(e, Style{})
	defer term.Close()
	term.Show(*states()["serve"])
	before := e.text()
	e.resize(50, 30)
	require.Eventually(t, func() bool {
		widest := 0
		for line := range strings.Lines(e.text()) {
			widest = max(widest, len(strings.TrimRight(line, "\n")))
		}
		return e.text() != before && widest < 50
	}, time.Minute, 10*time.Millisecond)
}

func TestStyleOf(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want Style
	}{
		{map[string]string{}, Style{Color: true}},
		{map[string]string{"LANG": "de_DE.UTF-8"}, Style{Color: true, Unicode: true}},
		{map[string]string{"LANG": "C.utf8", "NO_COLOR": "1"}, Style{Unicode: true}},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, Style{Color: true}},
		{map[string]string{"LANG": "C", "LC_CTYPE": "C.UTF-8"}, Style{Color: true, Unicode: true}},
	} {
		require.Equal(t, tc.want, StyleOf(func(name string) string { return tc.env[name] }), "%v", tc.env)
	}
}

func TestOfNoTerminal(t *testing.T) {
	_, ok := Of(new(bytes.Buffer), os.Getenv)
	require.False(t, ok)
	f, err := os.Create(t.TempDir() + "/f")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	_, ok = Of(f, func(string) string { return "xterm" })
	require.False(t, ok)
}
