package script

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxSize bounds a script, and so what a reader of one has to look at.
const maxSize = 64 << 10

var ruleID = regexp.MustCompile(`^[A-Z]{3}-\d{3}$`)

// Parse reads a script; file is its name for messages. The error is an *Error.
func Parse(file, text string) (*Script, error) {
	p := parser{s: &Script{File: file, Only: All, Families: []Family{V4, V6}, Settings: Settings{PeerISS: 0xfffffffe}}}
	if len(text) > maxSize {
		return nil, &Error{File: file, Line: 1, Err: fmt.Errorf("%d bytes: a script has at most %d; split it by scenario", len(text), maxSize)}
	}
	for line := range strings.Lines(text) {
		p.line++
		line, _, _ = strings.Cut(line, "#")
		if strings.ContainsFunc(line, func(r rune) bool { return r == unicode.ReplacementChar || unicode.IsControl(r) && !unicode.IsSpace(r) }) {
			return nil, &Error{File: file, Line: p.line, Err: errors.New("not plain text; write scripts in UTF-8")}
		}
		if err := p.take(strings.TrimSpace(line)); err != nil {
			return nil, &Error{File: file, Line: p.line, Text: strings.TrimSpace(line), Err: err}
		}
	}
	if err := p.end(); err != nil {
		return nil, &Error{File: file, Line: p.line, Err: err}
	}
	return p.s, nil
}

// Error is a fault of a script: where it is, what is wrong and what to write instead.
type Error struct {
	File string
	Line int
	Text string
	Err  error
}

func (e *Error) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d: %s: %v", e.File, e.Line, e.Text, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

type parser struct {
	s      *Script
	line   int
	differ *Difference // the block that is open
}

// take reads one line without its comment.
func (p *parser) take(line string) error {
	if line == "" {
		return p.closeDiffer()
	}
	if word, rest, ok := strings.Cut(line, ":"); ok && p.differ != nil {
		if side, ok := parseSide(word); ok {
			return p.variant(side, strings.TrimSpace(rest))
		}
	}
	if err := p.closeDiffer(); err != nil {
		return err
	}
	if rest, ok := strings.CutPrefix(line, "differs "); ok {
		return p.openDiffer(rest)
	}
	if name, val, ok := strings.Cut(line, ":"); ok && !strings.ContainsAny(name, " \t=") {
		if _, side := parseSide(name); len(p.s.Steps) > 0 && !side {
			return fmt.Errorf("%s: belongs above the first step", name)
		}
		return p.header(name, strings.TrimSpace(val))
	}
	if rest, ok := strings.CutPrefix(line, "["); ok {
		return p.timed(rest)
	}
	return p.step(All, line)
}

func (p *parser) header(name, val string) error {
	s := p.s
	switch name {
	case "title":
		if s.Title != "" || val == "" {
			return errors.New("want one title, in words")
		}
		s.Title = val
	case "proves":
		for _, id := range strings.Fields(val) {
			if !ruleID.MatchString(id) || slices.Contains(s.Proves, id) {
				return fmt.Errorf("%q: want IDs of docs/conformance.md such as LSN-004, each once, with blanks between", id)
			}
			s.Proves = append(s.Proves, id)
		}
	case "family":
		switch val {
		case "v4":
			s.Families = []Family{V4}
		case "v6":
			s.Families = []Family{V6}
		default:
			return fmt.Errorf("family %q: want v4 or v6; without the line a script runs over both", val)
		}
	case "only":
		side, why, _ := strings.Cut(val, ", ")
		only, ok := parseSide(side)
		if !ok || why == "" {
			return errors.New("want \"only: fastsyn, \" or another side (bare, stream, kernel), and the reason why the others cannot run it")
		}
		s.Only &= only
		s.OnlyWhy = why
	case "flows":
		if val != "streams" {
			return fmt.Errorf("flows %q: want streams; without the line a script runs with streams and with Bare flows", val)
		}
		s.Streams = true
		s.Only &^= Bare
	case "set":
		return p.setting(val)
	default:
		if _, ok := parseSide(name); ok {
			return fmt.Errorf("a line for %s alone follows a line \"differs ID: why\", and no blank line between", name)
		}
		return fmt.Errorf("unknown header %q; want title, proves, family, flows, only or set", name)
	}
	return nil
}

func (p *parser) setting(val string) error {
	name, arg, _ := strings.Cut(val, " ")
	arg = strings.TrimSpace(arg)
	c := &p.s.Settings
	number := func(dst *int, lo, hi int) error {
		n, err := strconv.Atoi(arg)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("%s %q: want a number from %d to %d", name, arg, lo, hi)
		}
		*dst = n
		return nil
	}
	off := map[string]*bool{"timestamps": &c.NoTimestamps, "sack": &c.NoSACK, "wscale": &c.NoWScale}
	switch {
	case off[name] != nil:
		if arg != "off" {
			return fmt.Errorf("%s %q: want %q; it is on without the line", name, arg, name+" off")
		}
		*off[name] = true
	case name == "cookies":
		if !slices.Contains([]string{"never", "always", "pressure"}, arg) {
			return fmt.Errorf("cookies %q: want never, always or pressure", arg)
		}
		c.Cookies = arg
	case name == "ecn":
		if arg != "on" && arg != "off" {
			return fmt.Errorf("ecn %q: want on (it is asked for) or off; without the line it is granted to who asks", arg)
		}
		c.ECN = arg
	case name == "fastopen":
		if arg != "on" {
			return fmt.Errorf("fastopen %q: want on; it is off without the line", arg)
		}
		c.FastOpen = true
	case name == "challenge-limit":
		if arg != "on" {
			return fmt.Errorf("challenge-limit %q: want on; without the line nothing is limited", arg)
		}
		c.ChallengeLimit = true
	case name == "ack-delay":
		if arg != "on" {
			return fmt.Errorf("ack-delay %q: want on; without the line ACKs go out at once", arg)
		}
		c.AckDelay = true
	case name == "mss":
		return number(&c.MSS, 88, 1460)
	case name == "mtu":
		return number(&c.MTU, 1280, 1500)
	case name == "window":
		return number(&c.Window, 1460, 1<<20)
	case name == "peer-iss":
		n, err := strconv.ParseUint(arg, 0, 32)
		if err != nil {
			return fmt.Errorf("peer-iss %q: want a number from 0 to 0xffffffff", arg)
		}
		c.PeerISS = uint32(n)
	default:
		return fmt.Errorf("unknown setting %q; want timestamps, sack, wscale, cookies, ecn, fastopen, challenge-limit, ack-delay, mss, mtu, window or peer-iss", name)
	}
	return nil
}

func (p *parser) openDiffer(rest string) error {
	ids, why, ok := strings.Cut(rest, ":")
	d := Difference{Line: p.line, Rules: strings.Fields(ids), Why: strings.TrimSpace(why)}
	for _, id := range d.Rules {
		ok = ok && ruleID.MatchString(id)
	}
	if !ok || len(d.Rules) == 0 || d.Why == "" {
		return errors.New("want \"differs LSN-009: why\": the rules that justify it, and the reason in words")
	}
	p.s.Differs = append(p.s.Differs, d)
	p.differ = &p.s.Differs[len(p.s.Differs)-1]
	return nil
}

// timed reads "side] step" for a step that is about a side's clock.
func (p *parser) timed(line string) error {
	word, step, ok := strings.Cut(line, "]")
	side, known := parseSide(word)
	if !ok || !known {
		return errors.New("want \"[side] step\", a side being bare, stream, fastsyn or kernel, or several with + between")
	}
	if err := p.step(side, strings.TrimSpace(step)); err != nil {
		return err
	}
	if op := p.s.Steps[len(p.s.Steps)-1].Op; op != OpPass && op != OpSpace {
		return errors.New("only wait and space may be for one side without more words; for others begin with \"differs ID: why\"")
	}
	return nil
}

func (p *parser) variant(side Side, line string) error {
	p.differ.Lines = append(p.differ.Lines, Variant{side, line})
	return p.step(side, line)
}

func (p *parser) closeDiffer() error {
	d := p.differ
	p.differ = nil
	if d == nil {
		return nil
	}
	differ := false
	var first []string
	for _, side := range []Side{Bare, Stream, Kernel} {
		if p.s.Only&side == 0 {
			continue
		}
		lines := d.Of(side)
		if len(lines) == 0 {
			return fmt.Errorf("the difference of line %d says nothing about one side (%v); say what it does, if only \"silence\"", d.Line, side)
		}
		if first == nil {
			first = lines
		}
		differ = differ || !slices.Equal(lines, first)
	}
	if !differ {
		return fmt.Errorf("all sides of the difference of line %d say the same; write it once, without \"differs\"", d.Line)
	}
	return nil
}

func (p *parser) end() error {
	if err := p.closeDiffer(); err != nil {
		return err
	}
	s := p.s
	switch {
	case s.Title == "":
		return errors.New("no title; begin with \"title: what happens\"")
	case len(s.Proves) == 0:
		return errors.New("no rules; say what it proves, as in \"proves: LSN-004\"")
	case len(s.Steps) == 0:
		return errors.New("no steps")
	case s.Only == 0:
		return errors.New("no side runs it: \"flows: streams\" and \"only: bare\" exclude each other")
	}
	s.Settings.Timeless = true
	for i := range s.Steps {
		st := &s.Steps[i]
		if st.Op != OpPass || st.D <= ShortWait || !st.RunsOn(Kernel) {
			continue
		}
		s.Settings.Timeless = false
		if s.Only&Kernel == 0 {
			continue
		}
		next := slices.IndexFunc(s.Steps[i+1:], func(n Step) bool { return n.RunsOn(Kernel) })
		if next < 0 || s.Steps[i+1+next].Op != OpExpect {
			return fmt.Errorf("line %d: after a wait above %v the kernel must answer, for its clock is the machine's: "+
				"a segment to expect must follow, or the script is \"only: fastsyn, …\"", st.Line, ShortWait)
		}
	}
	return nil
}
