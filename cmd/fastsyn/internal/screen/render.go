package screen

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/handshake"
)

// State is what the view shows.
type State struct {
	bench.Progress
	History []float64 // Progress.PerS of the last seconds, newest last
	Notes   []string  // what was said meanwhile, newest last
}

// Style is what a terminal can show.
type Style struct {
	Width, Height int
	Color         bool
	Unicode       bool // else plain ASCII
}

// labelWidth is that of the left column.
const labelWidth = 11

// minWidth is a window in which the view still says something.
const minWidth = 20

// Render draws s in at most st.Height lines, none wider than st.Width. Of what does not fit, the
// last is left out: each line begins with what matters most.
func Render(s *State, st Style) []string {
	st.Width = max(st.Width, minWidth)
	p := page{st: st}
	p.title(s)
	p.line("rate", s.rate(), bold)
	p.spark(s.History)
	p.items("total", s.totals()...)
	p.items("now", s.now()...)
	p.items("latency", s.latency(p.room())...)
	p.workers(s)
	p.items("drops", s.drops()...)
	p.wrapped("limits", s.Limiter)
	for _, n := range s.Notes {
		p.line("", n, plain)
	}
	if st.Height > 0 && len(p.lines) > st.Height {
		p.lines = p.lines[:st.Height]
	}
	return p.lines
}

func (s *State) rate() string { return bench.FormatRate(s.PerS) + " " + s.Now.What + "/s" }

// totals are those since the beginning.
func (s *State) totals() []string {
	out := []string{"done " + bench.FormatCount(s.Done), "failed " + bench.FormatCount(s.Failed)}
	if n := s.engines().Cookies; n > 0 {
		out = append(out, "cookies sent "+bench.FormatCount(n))
	}
	return out
}

// now is what there is at the moment.
func (s *State) now() (out []string) {
	if s.Now.Concurrency > 0 {
		out = append(out, "in flight "+bench.FormatCount(s.InFlight))
	}
	e := s.engines()
	if e.Attempted+e.SynIn+e.HalfOpen > 0 {
		established := e.EstablishedNow
		if len(s.Now.Ends) > 1 { // each flow has two ends that are ours
			established = 0
			for i := range s.Now.Ends[1].Workers {
				established += s.Now.Ends[1].Workers[i].Engine.EstablishedNow
			}
		}
		out = append(out, "half-open "+bench.FormatCount(e.HalfOpen), "established "+bench.FormatCount(established))
	}
	if e.UnderPressure > 0 {
		out = append(out, "under pressure")
	}
	return out
}

// engines are the counters of all ends.
func (s *State) engines() (c handshake.Counters) {
	for _, end := range s.Now.Ends {
		for i := range end.Workers {
			c.Add(&end.Workers[i].Engine)
		}
	}
	return c
}

// latency is that of the last second; a narrow page has room for the two percentiles that matter most.
func (s *State) latency(room int) []string {
	if len(s.Window) == 0 || s.Window[0].Hist.TotalCount() == 0 {
		return nil
	}
	h := s.Window[0].Hist
	const full = 50 // columns that all of them take at most
	names, percentiles := []string{"p50", "p90", "p99", "p99.9"}, []float64{50, 90, 99, 99.9}
	if room < full {
		names, percentiles = []string{"p50", "p99"}, []float64{50, 99}
	}
	var out []string
	for i, ns := range h.ValueAtPercentilesSlice(percentiles) {
		out = append(out, names[i]+" "+bench.FormatDuration(time.Duration(ns)))
	}
	out = append(out, "max "+bench.FormatDuration(time.Duration(h.Max())))
	for _, d := range s.Window[1:] {
		if d.Hist.TotalCount() > 0 {
			out = append(out, strings.NewReplacer("phases.", "", "_", " ").Replace(d.Name)+" p99 "+bench.FormatDuration(time.Duration(d.Hist.ValueAtPercentile(99))))
		}
	}
	return out
}

// drops are those since the last second, most first.
func (s *State) drops() []string {
	names := slices.Collect(maps.Keys(s.Drops))
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case s.Drops[a] != s.Drops[b] && s.Drops[a] > s.Drops[b]:
			return -1
		case s.Drops[a] != s.Drops[b]:
			return 1
		}
		return strings.Compare(a, b)
	})
	seconds := max(s.Interval.Seconds(), 1e-3)
	var out []string
	for _, name := range names {
		if n := s.Drops[name]; n > 0 {
			out = append(out, name+" "+bench.FormatRate(float64(n)/seconds)+"/s")
		}
	}
	if out == nil {
		out = []string{"none"}
	}
	return out
}

type paint string

const (
	plain paint = ""
	bold  paint = "\x1b[1m"
	dim   paint = "\x1b[2m"
	reset       = "\x1b[0m"
)

// page collects lines that fit.
type page struct {
	st    Style
	lines []string
}

// paint colours s, which was cut before.
func (p *page) paint(s string, c paint) string {
	if !p.st.Color || c == plain || s == "" {
		return s
	}
	return string(c) + s + reset
}

// cut shortens s, marked by an ellipsis, to width columns. All that is shown here is one column a character.
func (p *page) cut(s string, width int) string {
	if !p.st.Unicode {
		s = ascii(s)
	}
	r := []rune(s)
	for i, c := range r {
		if c < ' ' || c == 0x7f {
			r[i] = ' ' // nothing that moves the cursor
		}
	}
	switch {
	case len(r) <= width:
		return string(r)
	case width < 4:
		return string(r[:max(0, width)])
	case p.st.Unicode:
		return string(r[:width-1]) + "…"
	}
	return string(r[:width-2]) + ".."
}

// ascii replaces what a terminal without Unicode could not show.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == 'µ':
			return 'u'
		case r == '…':
			return '.'
		case r > 126:
			return '?'
		}
		return r
	}, s)
}

func (p *page) label(s string) string { return p.paint(fmt.Sprintf("%-*s ", labelWidth, s), dim) }

func (p *page) room() int { return p.st.Width - labelWidth - 1 }

func (p *page) line(label, text string, c paint) {
	p.lines = append(p.lines, p.label(label)+p.paint(p.cut(text, p.room()), c))
}

// title is what runs, with the time at the right.
func (p *page) title(s *State) {
	at := fmt.Sprintf("%.1f s", s.Elapsed.Seconds())
	if s.Elapsed >= 100*time.Second {
		at = s.Elapsed.Round(time.Second).String()
	}
	if s.Now.Scenario != "serve" {
		at += " " + s.Now.Phase
	}
	left := s.Now.Scenario + " over " + s.Now.Port
	if s.Now.Peer != "" {
		left += " to " + s.Now.Peer
	}
	if s.Now.TargetRate > 0 {
		left += ", " + bench.FormatRate(s.Now.TargetRate) + "/s asked for"
	}
	room := p.st.Width - len(at) - 2
	if room < 10 {
		p.lines = append(p.lines, p.paint(p.cut(at, p.st.Width), bold))
		return
	}
	left = p.cut(left, room)
	gap := strings.Repeat(" ", p.st.Width-len([]rune(left))-len(at))
	p.lines = append(p.lines, p.paint(left, bold)+gap+at)
}

var (
	sparkUnicode = []rune("▁▂▃▄▅▆▇█")
	sparkASCII   = []rune("_.-=+*#@")
)

// spark draws the rates of the last seconds, from 0 to the highest of those shown.
func (p *page) spark(rates []float64) {
	top := ""
	if len(rates) > 0 {
		rates = rates[max(0, len(rates)-min(p.room(), 60)):]
		highest := slices.Max(rates)
		top = " " + bench.FormatRate(highest) + "/s at most"
		if fit := p.room() - len(top); fit >= 10 {
			rates = rates[max(0, len(rates)-fit):]
		} else {
			top = ""
		}
		levels := sparkASCII
		if p.st.Unicode {
			levels = sparkUnicode
		}
		var b strings.Builder
		for _, r := range rates {
			i := 0
			if highest > 0 {
				i = min(int(r/highest*float64(len(levels))), len(levels)-1)
			}
			b.WriteRune(levels[i])
		}
		p.line("", b.String()+top, plain)
		return
	}
	p.line("", "", plain)
}

// items shows as many of them as fit.
func (p *page) items(label string, items ...string) {
	line, width := "", 0
	for i, s := range items {
		n := len([]rune(s))
		if i > 0 {
			n += 2
		}
		if width+n > p.room() {
			if i == 0 {
				line = s
			}
			break
		}
		if i > 0 {
			line += "  "
		}
		line, width = line+s, width+n
	}
	if line != "" {
		p.line(label, line, plain)
	}
}

// wrapped shows a sentence on up to three lines.
func (p *page) wrapped(label, text string) {
	const most = 3
	words := strings.Fields(text)
	for n := 0; len(words) > 0 && n < most; n++ {
		line := words[0]
		words = words[1:]
		for len(words) > 0 && (n == most-1 || len([]rune(line))+1+len([]rune(words[0])) <= p.room()) {
			line, words = line+" "+words[0], words[1:]
		}
		p.line(label, line, plain)
		label = ""
	}
}

// workers shows how busy each is, and its part of the rate.
func (p *page) workers(s *State) {
	const most = 8 // of each end
	for k := range s.Now.Ends {
		end := &s.Now.Ends[k]
		for i := range min(len(end.Workers), most) {
			busy, text := s.Busy(k, i), ""
			if k == 0 && i < len(s.PerWorker) {
				text = bench.FormatRate(s.PerWorker[i].PerS) + "/s"
			}
			p.line(end.Name+" "+strconv.Itoa(i), strings.TrimSpace(fmt.Sprintf("%s busy %3.0f %%  %s", p.bar(busy), 100*busy, text)), plain)
		}
		if n := len(end.Workers) - most; n > 0 {
			p.line("", fmt.Sprintf("and %d more", n), plain)
		}
	}
}

// bar shows a share.
func (p *page) bar(share float64) string {
	width := min(20, p.room()/3)
	full, empty := "█", "░"
	if !p.st.Unicode {
		full, empty = "#", "."
	}
	n := min(width, int(share*float64(width)+0.5))
	return strings.Repeat(full, n) + strings.Repeat(empty, width-n)
}
