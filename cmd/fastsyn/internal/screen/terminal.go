package screen

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// drawEvery is how often the size of the window is looked at, and the most the view is drawn.
const drawEvery = 250 * time.Millisecond

// Keep bounds.
const (
	maxHistory = 120 // seconds
	maxNotes   = 3
	maxSaid    = 1000 // lines
)

// Window is a terminal to draw on.
type Window interface {
	io.Writer
	// Size returns columns and lines.
	Size() (width, height int, err error)
}

// file is a Window.
type file struct{ *os.File }

func (f file) Size() (width, height int, err error) { return term.GetSize(int(f.Fd())) }

// Of returns the terminal behind w, or false if there is none that can be drawn on: w is no
// terminal, or TERM says that it is dumb.
func Of(w io.Writer, getenv func(string) string) (Window, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, false
	}
	if t := getenv("TERM"); t == "dumb" || t == "" {
		return nil, false
	}
	return file{f}, true
}

// StyleOf says what the environment lets a view use: colour unless NO_COLOR is set to anything
// (no-color.org), block characters if the locale is one of UTF-8 (setlocale(3)).
func StyleOf(getenv func(string) string) Style {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ToLower(locale)
	return Style{Color: getenv("NO_COLOR") == "", Unicode: strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")}
}

// Terminal draws a State again and again.
type Terminal struct {
	w     Window
	style Style
	mu    sync.Mutex
	state *State
	said  []string // all notes that are to be printed in the end
	drawn []int    // widths of the lines on the screen
	size  [2]int
	quit  chan struct{}
	done  sync.WaitGroup
}

// New draws on w until Close. The size of the window is its own; style says the rest.
func New(w Window, style Style) *Terminal {
	t := &Terminal{w: w, style: style, quit: make(chan struct{})}
	t.done.Go(t.watch)
	return t
}

// watch draws anew when the window has changed its size.
func (t *Terminal) watch() {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-t.quit:
			return
		case <-tick.C:
			t.mu.Lock()
			if width, height, err := t.w.Size(); err == nil && t.state != nil && t.size != [2]int{width, height} {
				t.draw()
			}
			t.mu.Unlock()
		}
	}
}

// Show draws s, whose History and Notes are kept here. At most four times a second.
func (t *Terminal) Show(s State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != nil {
		s.History = t.state.History
	}
	s.History = append(s.History, s.PerS)
	s.History = slices.Clone(s.History[max(0, len(s.History)-maxHistory):])
	t.state = &s
	t.draw()
}

// Write takes lines that others print meanwhile: the last few are shown, and all are
// printed in the end. Any goroutine.
func (t *Terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(string(p)) {
		t.said = append(t.said, strings.TrimRight(line, "\r\n"))
	}
	t.said = t.said[max(0, len(t.said)-maxSaid):]
	return len(p), nil
}

// draw replaces what is on the screen, in one write. t.mu is held.
func (t *Terminal) draw() {
	width, height, err := t.w.Size()
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	t.size = [2]int{width, height}
	st := t.style
	// The last column stays free, since some terminals wrap a line that reaches it, and the last
	// line is where the cursor rests.
	st.Width, st.Height = width-1, max(1, height-1)
	t.state.Notes = t.said[max(0, len(t.said)-maxNotes):]
	lines := Render(t.state, st)
	var b bytes.Buffer
	t.home(&b, width, height)
	t.drawn = t.drawn[:0]
	for _, line := range lines {
		b.WriteString(line)
		b.WriteString("\x1b[K\r\n")
		t.drawn = append(t.drawn, columns(line))
	}
	b.WriteString("\x1b[J")
	_, _ = t.w.Write(b.Bytes()) // a terminal that is gone shows nothing
}

// home moves the cursor to the first line that was drawn, in a window that may have become
// narrower since: a terminal then breaks the lines that do not fit.
func (t *Terminal) home(b *bytes.Buffer, width, height int) {
	up := 0
	for _, n := range t.drawn {
		up += max(1, (n+width-1)/width)
	}
	b.WriteByte('\r')
	if up = min(up, height-1); up > 0 {
		fmt.Fprintf(b, "\x1b[%dA", up)
	}
}

// columns is the width of a line, its colours left out.
func columns(s string) int {
	n := 0
	for s != "" {
		if strings.HasPrefix(s, "\x1b[") {
			if _, rest, ok := strings.Cut(s, "m"); ok {
				s = rest
				continue
			}
		}
		_, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		n++
	}
	return n
}

// Close removes the view, prints what was said meanwhile, and leaves the cursor there.
func (t *Terminal) Close() {
	close(t.quit)
	t.done.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	width, height, err := t.w.Size()
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	var b bytes.Buffer
	t.home(&b, width, height)
	b.WriteString("\x1b[J")
	for _, line := range t.said {
		b.WriteString(line + "\r\n")
	}
	t.drawn, t.said = nil, nil
	_, _ = t.w.Write(b.Bytes())
}
