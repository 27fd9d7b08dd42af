package script

import (
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// Side says which endpoints under test a step is for: one of them, or several.
type Side uint8

// The sides.
const (
	Bare   Side = 1 << iota // fastsyn, with flows that the engine itself carries
	Stream                  // fastsyn, with flows that are streams
	Kernel

	Fastsyn = Bare | Stream
	All     = Fastsyn | Kernel
)

// sides are the words of the format.
var sides = []struct {
	word string
	side Side
}{{"all", All}, {"fastsyn", Fastsyn}, {"bare", Bare}, {"stream", Stream}, {"kernel", Kernel}}

// String is the word of the format.
func (s Side) String() string {
	var words []string
	for _, w := range sides {
		if s&w.side == w.side {
			words = append(words, w.word)
			s &^= w.side
		}
	}
	return strings.Join(words, "+")
}

// parseSide reads one word of the format, or several with + between.
func parseSide(text string) (s Side, ok bool) {
next:
	for word := range strings.SplitSeq(text, "+") {
		for _, w := range sides[1:] {
			if w.word == word && s&w.side == 0 {
				s |= w.side
				continue next
			}
		}
		return 0, false
	}
	return s, true
}

// Script is one parsed file.
type Script struct {
	File     string // as given to Parse, for messages
	Title    string
	Proves   []string // rule IDs
	Families []Family
	Only     Side   // All, or the sides it runs against
	OnlyWhy  string // why it does not run against the others
	Streams  bool   // it is about streams: Bare is not in Only for that reason alone
	Settings Settings
	Steps    []Step
	Differs  []Difference
}

// Family is an IP version; it indexes the two values of a field.
type Family uint8

// The families.
const (
	V4 Family = iota
	V6
)

// String is "v4" or "v6".
func (f Family) String() string { return [...]string{"v4", "v6"}[f] }

// Settings are the switches of the endpoint under test.
type Settings struct {
	NoTimestamps, NoSACK, NoWScale bool
	Cookies                        string // "", never, always, pressure
	ECN                            string // "", on, off
	FastOpen                       bool   // listeners take text on SYNs
	ChallengeLimit                 bool   // answers are limited to one in 500 ms; off: see the step "space"
	AckDelay                       bool   // ACKs wait for text to go with them
	MSS, MTU                       int    // 0: default
	Window                         int    // receive buffer; 0: default
	Timeless                       bool   // nothing waits for a timer of the kernel
	PeerISS                        uint32 // the peer's initial sequence number
}

// Difference is a place where sides answer differently.
type Difference struct {
	Line  int
	Rules []string
	Why   string
	Lines []Variant
}

// Variant is a line of some sides.
type Variant struct {
	Side Side
	Text string
}

// Of returns the lines of one side.
func (d *Difference) Of(side Side) (lines []string) {
	for _, v := range d.Lines {
		if v.Side&side != 0 {
			lines = append(lines, v.Text)
		}
	}
	return lines
}

// Op is the kind of a step.
type Op uint8

// The steps.
const (
	OpInject  Op = iota // --> segment
	OpICMP              // --> icmp
	OpExpect            // <-- segment
	OpSilence           // silence
	OpPass              // wait D
	OpSpace             // space
	OpListen
	OpUnlisten
	OpConnect
	OpAccept
	OpNoAccept
	OpConnected
	OpConnecting
	OpOpen
	OpError
	OpSend
	OpRead
	OpEOF
	OpClose
	OpAbort
	OpShutdown
	OpHold
	OpKeepAlive
	OpUserTimeout
	OpNagle
	OpState
	OpHalfOpen
	OpOutcome
)

// Step is one line.
type Step struct {
	Line int
	Text string // as written, without side and comment
	Side Side
	Op   Op
	Seg  Segment       // OpInject, OpExpect, OpICMP (fields only)
	Word string        // OpError, OpState, OpOutcome, OpICMP: its one word
	N    int           // OpSend, OpRead, OpHalfOpen, OpListen, OpUnlisten, OpUserTimeout
	D    time.Duration // OpPass
}

// Segment is a segment to inject, or a pattern for one to expect.
type Segment struct {
	Flags  wire.Flags
	Push   bool    // of one to expect: it may have PSH or not
	Fields []Field // in the order written, which is that of options on the wire
}

// Field is one "name=value".
type Field struct {
	Name   string
	Absent bool     // !name
	Bare   bool     // no value given
	V      [2]int64 // by Family
	Abs    bool     // @value: not counted from an initial sequence number
	Base   string   // ecr: "", first, last
	Above  bool     // >value
	Word   string   // seq=new, sum=bad, …
	Bytes  []byte   // hex
	Blocks [][2]int64
}

// find returns the last field of that name.
func (s *Segment) find(name string) (*Field, bool) {
	for i := len(s.Fields) - 1; i >= 0; i-- {
		if s.Fields[i].Name == name {
			return &s.Fields[i], true
		}
	}
	return nil, false
}

// value returns the number of a field, def if it is not there.
func (s *Segment) value(name string, fam Family, def int64) int64 {
	if f, ok := s.find(name); ok && !f.Bare {
		return f.V[fam]
	}
	return def
}

// word returns the word of a field, "" if it is not there.
func (s *Segment) word(name string) string {
	if f, ok := s.find(name); ok {
		return f.Word
	}
	return ""
}

// RunsOn reports whether the step is part of a run against that side.
func (st *Step) RunsOn(side Side) bool { return st.Side&side != 0 }
