package ladder

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Width is that of a diagram in columns.
const Width = 100

const (
	timeWidth  = 9
	stateWidth = 12
	// bodyWidth is what is left between the lifelines.
	bodyWidth = Width - 2*(timeWidth+1+stateWidth+1+1)
	half      = bodyWidth / 2
	// quiet is a time without segments that is worth a row.
	quiet = 250 * time.Millisecond
)

// Style says what a terminal shows.
type Style struct {
	Color bool // ANSI sequences
	ASCII bool // nothing beyond ASCII
}

// The colours, as ANSI sequences.
const (
	dim    = "\x1b[2m"
	cyan   = "\x1b[36m" // of the client
	yellow = "\x1b[33m" // of the server
	green  = "\x1b[32m"
	red    = "\x1b[31m"
	reset  = "\x1b[0m"
)

// ASCII replaces what is beyond ASCII, one character by one.
func ASCII(s string) string { return ascii.Replace(s) }

var ascii = strings.NewReplacer(
	"µ", "u", "│", "|", "┊", ":", "─", "-", "▶", ">", "◀", "<", "✕", "X", "╮", ".", "╭", ".", "╯", "'", "╰", "'", "╲", `\`, "╱", "/", "…", "~",
)

// row is one line.
type row struct {
	leftTime, leftState, body, rightState, rightTime string
	color                                            string // of the body
	rail                                             string // of the lifelines; "" is whole
}

// Render draws the diagram, Width columns wide, with a newline behind each row. The states are
// those of Track.
func (d *Diagram) Render(st Style) string {
	var b strings.Builder
	for _, line := range d.head() {
		b.WriteString(strings.TrimRight(st.paint(line, ""), " ") + "\n")
	}
	for _, r := range d.rows() {
		b.WriteString(r.text(st) + "\n")
	}
	if st.ASCII {
		return ASCII(b.String())
	}
	return b.String()
}

func (st Style) paint(s, color string) string {
	if !st.Color || color == "" || strings.TrimSpace(s) == "" {
		return s
	}
	return color + s + reset
}

func (st Style) state(s string) string {
	switch strings.TrimSpace(s) {
	case Established:
		return st.paint(s, green)
	case Closed:
		return st.paint(s, red)
	}
	return s
}

func (r *row) text(st Style) string {
	rail := r.rail
	if rail == "" {
		rail = "│"
	}
	line := st.paint(right(r.leftTime, timeWidth), dim) + " " + st.state(right(r.leftState, stateWidth)) + " " + rail +
		st.paint(Pad(r.body, bodyWidth), r.color) + rail + " " + st.state(Pad(r.rightState, stateWidth)) + " " +
		st.paint(right(r.rightTime, timeWidth), dim)
	return strings.TrimRight(line, " ")
}

// head says who is who, and what C and S are.
func (d *Diagram) head() []string {
	const margin = timeWidth + 1 + stateWidth + 1
	client, server := d.Client.Name+" "+d.Client.Addr, d.Server.Name+" "+d.Server.Addr
	gap := bodyWidth + 2 - width(client) - width(server)
	leftRole, rightRole := d.roles()
	lines := []string{
		right("ms", timeWidth) + strings.Repeat(" ", margin-timeWidth) + leftRole + strings.Repeat(" ", bodyWidth+2-width(leftRole)-width(rightRole)) + rightRole +
			strings.Repeat(" ", margin-timeWidth) + right("ms", timeWidth),
		strings.Repeat(" ", margin) + client + strings.Repeat(" ", max(2, gap)) + server,
	}
	c, s, hasC, hasS := d.isns()
	var isns []string
	if hasC {
		isns = append(isns, fmt.Sprintf("C = %d", c))
	}
	if hasS {
		isns = append(isns, fmt.Sprintf("S = %d", s))
	}
	if isns != nil {
		text := strings.Join(isns, "   ")
		lines = append(lines, strings.Repeat(" ", margin+max(0, (bodyWidth+2-width(text))/2))+text)
	}
	return lines
}

func (d *Diagram) rows() []row {
	rows := []row{{leftState: d.Client.State, rightState: d.Server.State}}
	last := time.Duration(-1)
	for i := 0; i < len(d.Items); i++ {
		it := &d.Items[i]
		if gap := it.Begin() - last; last >= 0 && gap >= quiet {
			rows = append(rows, row{body: center(silence(gap), bodyWidth), color: dim, rail: "┊"})
		}
		last = max(last, it.end())
		switch {
		case it.Segment == nil:
			rows = append(rows, noteRows(it)...)
		case i+1 < len(d.Items) && it.Segment.Crosses(d.Items[i+1].Segment) && d.fits(it.Segment) && d.fits(d.Items[i+1].Segment):
			i++
			last = max(last, d.Items[i].end())
			rows = append(rows, d.cross(it.Segment, d.Items[i].Segment)...)
		default:
			rows = append(rows, d.arrow(it.Segment)...)
		}
	}
	return rows
}

func silence(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// ms is a time at either end.
func ms(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }

// label is what a segment says beyond its options.
func (d *Diagram) label(s *Segment) string {
	c, sv, hasC, hasS := d.isns()
	own, peer, ownName, peerName, hasOwn, hasPeer := c, sv, "C", "S", hasC, hasS
	if s.FromServer {
		own, peer, ownName, peerName, hasOwn, hasPeer = sv, c, "S", "C", hasS, hasC
	}
	b := s.Name()
	// A reset that answers a SYN has no number of its own: 0.
	if s.Flags&wire.FlagRST != 0 && s.Seq == 0 {
		hasOwn = false
	}
	b += " seq=" + relative(s.Seq, own, ownName, hasOwn)
	if s.Flags&wire.FlagACK != 0 {
		b += " ack=" + relative(s.Ack, peer, peerName, hasPeer)
	}
	if s.Len > 0 {
		b += fmt.Sprintf(" len=%d", s.Len)
	}
	if s.Again {
		b += " again"
	}
	return b
}

func relative(v, base wire.Seq, name string, known bool) string {
	switch n := int32(v - base); {
	case !known:
		return fmt.Sprint(uint32(v))
	case n == 0:
		return name
	default:
		return fmt.Sprintf("%s%+d", name, n)
	}
}

func (s *Segment) color() string {
	switch {
	case s.Lost || s.Dropped || s.Flags&wire.FlagRST != 0:
		return red
	case s.FromServer:
		return yellow
	}
	return cyan
}

// arrow is a segment on a row of its own, its options below.
func (d *Diagram) arrow(s *Segment) []row {
	label := d.label(s)
	if s.Flags&wire.FlagRST == 0 {
		if w := fmt.Sprintf("%s win=%d", label, s.Window); width(w) <= bodyWidth-8 {
			label = w
		}
	}
	if r := []rune(label); len(r) > bodyWidth-8 {
		label = string(r[:bodyWidth-9]) + "…"
	}
	line := bodyWidth - width(label) - 5
	r := row{color: s.color()}
	switch {
	case s.FromServer && s.Lost:
		r.body = strings.Repeat(" ", 3) + "✕" + strings.Repeat("─", max(0, line-3)) + " " + label + " ──"
	case s.FromServer:
		r.body = "◀" + strings.Repeat("─", line) + " " + label + " ──"
	case s.Lost:
		r.body = "── " + label + " " + strings.Repeat("─", max(0, line-3)) + "✕" + strings.Repeat(" ", 3)
	default:
		r.body = "── " + label + " " + strings.Repeat("─", line) + "▶"
	}
	d.ends(&r, s, true, !s.Lost)
	rows := []row{r}
	for _, o := range WrapWords(append(slices.Clone(s.Options), d.SACKText(s)...), bodyWidth-1) {
		indent := strings.Repeat(" ", min(3, bodyWidth-width(o)))
		rows = append(rows, row{body: indent + o, color: dim})
	}
	return rows
}

// SACKText names the blocks of a segment by the numbers of the other end, whose text they acknowledge.
func (d *Diagram) SACKText(s *Segment) (words []string) {
	c, sv, hasC, hasS := d.isns()
	base, name, known := sv, "S", hasS
	if s.FromServer {
		base, name, known = c, "C", hasC
	}
	for _, b := range s.SACK {
		words = append(words, "sack {"+relative(b.Left, base, name, known)+":"+relative(b.Right, base, name, known)+"}")
	}
	return words
}

// ends puts times and states beside a row at which the segment leaves, arrives, or both.
func (d *Diagram) ends(r *row, s *Segment, leaves, arrives bool) {
	left, leftState, right, rightState := &r.leftTime, &r.leftState, &r.rightTime, &r.rightState
	if s.FromServer {
		left, leftState, right, rightState = right, rightState, left, leftState
	}
	if leaves {
		*left, *leftState = ms(s.Sent), s.SenderState
	}
	if arrives {
		*right, *rightState = ms(s.Received), s.ReceiverState
		if s.Dropped {
			*rightState = "dropped"
		}
	}
}

// fits reports whether half a row has room for the segment.
func (d *Diagram) fits(s *Segment) bool { return width(d.label(s)) <= half-5 }

// cross is two segments that meet: both leave on the first row and arrive on the last.
func (d *Diagram) cross(a, b *Segment) []row {
	if a.FromServer {
		a, b = b, a
	}
	la, lb := d.label(a), d.label(b)
	top := row{body: "─ " + la + " " + strings.Repeat("─", half-width(la)-5) + "╮  ╭" + strings.Repeat("─", half-width(lb)-5) + " " + lb + " ─"}
	bottom := row{body: "◀" + strings.Repeat("─", half-3) + "╯  ╰" + strings.Repeat("─", half-3) + "▶"}
	d.ends(&top, a, true, false)
	d.ends(&top, b, true, false)
	d.ends(&bottom, a, false, true)
	d.ends(&bottom, b, false, true)
	middle := strings.Repeat(" ", half-1)
	return []row{top, {body: middle + "╲╱"}, {body: middle + "╱╲"}, bottom}
}

func noteRows(it *Item) (rows []row) {
	for i, line := range Wrap(it.Note, bodyWidth-4) {
		r := row{body: center(line, bodyWidth), color: dim}
		switch {
		case i > 0 || it.At < 0:
		case it.FromServer:
			r.rightTime, r.rightState = ms(it.At), it.State
		default:
			r.leftTime, r.leftState = ms(it.At), it.State
		}
		rows = append(rows, r)
	}
	return rows
}

func width(s string) int { return utf8.RuneCountInString(s) }

// Pad adds blanks behind s up to n columns.
func Pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-width(s))) }

func right(s string, n int) string { return strings.Repeat(" ", max(0, n-width(s))) + s }

func center(s string, n int) string { return strings.Repeat(" ", max(0, (n-width(s))/2)) + s }

// Wrap breaks text at blanks into lines of at most n columns, unless a word is longer.
func Wrap(text string, n int) []string { return WrapWords(strings.Fields(text), n) }

// WrapWords is Wrap for words that may have blanks of their own.
func WrapWords(words []string, n int) (lines []string) {
	line := ""
	for _, w := range words {
		switch {
		case line == "":
			line = w
		case width(line)+1+width(w) <= n:
			line += " " + w
		default:
			lines = append(lines, line)
			line = w
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
