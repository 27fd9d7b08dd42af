package script

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// matrixState is a block of the matrix: how a stream gets there, and RCV.NXT, SND.UNA and
// SND.NXT in it, counted from the ISNs.
type matrixState struct {
	name, steps   string
	rcv, una, nxt int
}

const matrixOpen = "listen\n--> S mss=1460\n<-- SA seq=0 ack=1\n--> A seq=1 ack=1\naccept\n"

var matrixStates = []matrixState{
	{"ESTABLISHED", "send 10\n<-- PA seq=1 ack=1 len=10\n", 1, 1, 11},
	{"FIN-WAIT-1", "shutdown\n<-- FA seq=1 ack=1\n", 1, 1, 2},
	{"FIN-WAIT-1, released", "close\n<-- FA seq=1 ack=1\n", 1, 1, 2},
	{"FIN-WAIT-2", "shutdown\n<-- FA seq=1 ack=1\n--> A seq=1 ack=2\n", 1, 2, 2},
	{"FIN-WAIT-2, released", "close\n<-- FA seq=1 ack=1\n--> A seq=1 ack=2\n", 1, 2, 2},
	{"CLOSE-WAIT", "--> FA seq=1 ack=1\n<-- A seq=1 ack=2\nsend 10\n<-- PA seq=1 ack=2 len=10\n", 2, 1, 11},
	{"CLOSING", "shutdown\n<-- FA seq=1 ack=1\n--> FA seq=1 ack=1\n<-- A seq=2 ack=2\n", 2, 1, 2},
	{"LAST-ACK", "--> FA seq=1 ack=1\n<-- A seq=1 ack=2\nclose\n<-- FA seq=1 ack=2\n", 2, 1, 2},
}

// matrixCell is one segment in one state.
type matrixCell struct {
	st            *matrixState
	name, segment string
}

// matrixCells are states × segments × where SEG.SEQ lies × where SEG.ACK lies, in the order of the golden file.
func matrixCells() (cells []matrixCell) {
	for i := range matrixStates {
		st := &matrixStates[i]
		for _, seg := range []string{"A", "A win=0", "PA len=10", "FA", "FPA len=10", "SA", "S", "R", "P len=10"} {
			flags, rest, _ := strings.Cut(seg, " ")
			for _, seq := range []struct {
				name string
				at   int
			}{{"before", -5}, {"last", -1}, {"exact", 0}, {"inside", 100}, {"outside", 70000}} {
				for _, ack := range []struct {
					name string
					at   int
				}{{"old", st.una - 70000}, {"una", st.una}, {"nxt", st.nxt}, {"after", st.nxt + 1}} {
					if ack.name == "una" && st.una == st.nxt || flags == "SA" && ack.name != "nxt" {
						continue
					}
					c := matrixCell{st, fmt.Sprintf("%s | %s | %s", seg, seq.name, ack.name), fmt.Sprintf("%s seq=%d %s", flags, st.rcv+seq.at, rest)}
					if strings.Contains(flags, "A") {
						c.segment += fmt.Sprintf(" ack=%d", ack.at)
					} else if ack.name != "nxt" {
						continue
					} else {
						c.name = fmt.Sprintf("%s | %s", seg, seq.name)
					}
					cells = append(cells, c)
				}
			}
		}
	}
	return cells
}

// shown is what the matrix says of a segment: window and order of options are not its subject.
var shown = regexp.MustCompile(` (win|order)=\S+`)

// play leads sub into the state, injects the segment and says what became of it: the state, the
// answers, and what the application sees.
func (c *matrixCell) play(t *testing.T, sub Subject) string {
	t.Helper()
	s, err := Parse(c.st.name, "title: t\nproves: DAT-001\n"+matrixOpen+c.st.steps+"--> "+c.segment+"\n")
	require.NoError(t, err)
	home := key{DefaultLink.Peer[V4], DefaultLink.Endpoint[V4], PeerPort, EndpointPort}
	r := &runner{s: s, sub: sub, link: DefaultLink, flows: map[key]*numbering{}, tfo: map[wire.Addr][]byte{}, home: home, cur: home}
	require.NoError(t, r.quiet())
	for i := range s.Steps {
		require.NoError(t, r.step(&s.Steps[i]), "%s, %s: %s\n%s", c.st.name, c.name, s.Steps[i].Text, strings.Join(r.trace, "\n"))
	}
	answers, err := r.answers()
	require.NoError(t, err)
	if sub.WallClock() && len(answers) == 0 && c.st.name == "ESTABLISHED" && strings.HasPrefix(c.segment, "F") {
		a, err := r.next(patience) // Linux delays the ACK of a FIN
		require.NoError(t, err)
		require.NotNil(t, a)
		answers = append(answers, r.take(a))
	}
	state, err := sub.State(wire.Tuple{Remote: home.peer, Local: home.endpoint, RemotePort: home.peerPort, LocalPort: home.endpointPort})
	require.NoError(t, err)
	out := "silent"
	if len(answers) > 0 {
		out = shown.ReplaceAllString(strings.Join(answers, ", "), "")
	}
	verdict := state + " | " + out
	if strings.Contains(c.st.steps, "close") {
		return verdict // nobody looks
	}
	how, err := sub.Progress()
	require.NoError(t, err)
	if how == Open {
		p, err := sub.Read(100)
		require.NoError(t, err)
		if len(p) > 0 {
			verdict += fmt.Sprintf(" | read %d", len(p))
		}
		how, err = sub.Progress()
		require.NoError(t, err)
	}
	if how != Open {
		verdict += " | " + how
	}
	return verdict
}

const matrixHead = `# Streams: state, then segment | SEG.SEQ | SEG.ACK -> state | answer | what the application sees || Linux: where it differs.
# SEG.SEQ lies 5 or 1 before RCV.NXT, at it, 100 inside the window or outside; SEG.ACK long before SND.UNA, at it, at SND.NXT or one after.
# Written by TestMatrix and TestMatrixOnTheKernel with -update.
#
# Why it differs from Linux:
# - text in order with an ACK of long ago: the fast path of Linux takes it before it looks at the ACK (RFC 5961 §5.2);
# - a FIN that came before, with a new ACK: Linux takes segments that end at RCV.NXT; RFC 9293 §3.10.7.4 has their ACK ignored, and
#   the next segment of the peer brings it;
# - text behind the peer's FIN: ignored by RFC 9293, answered by an ACK here, by Linux with nothing or a reset;
# - released, FIN ahead of RCV.NXT: to Linux that is new text (RST-014);
# - released, FIN-WAIT-2: what Linux keeps of it has neither SND.NXT nor a window, so it does not look at ACKs, takes resets inside the
#   window and refuses text whose ACK would not count;
# - a reset in CLOSING: both sides had closed, which is an end like any other to the application here.
`

const (
	matrixFile = "testdata/streams.matrix"
	linuxSays  = " || Linux: "
)

// matrix compares one side with the golden file, or writes its half of it. A line has what a stream does, and what
// Linux does where that is something else.
func matrix(t *testing.T, kernel bool, got []string) {
	t.Helper()
	ours, theirs := map[string]string{}, map[string]string{}
	cells := matrixCells()
	if old, err := os.ReadFile(matrixFile); err == nil {
		state := ""
		for line := range strings.Lines(string(old)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "#") {
				continue
			}
			if cell, verdict, ok := strings.Cut(line, " -> "); ok {
				cell = state + ":" + cell
				var other bool
				if ours[cell], theirs[cell], other = strings.Cut(verdict, linuxSays); !other {
					theirs[cell] = ours[cell]
				}
			} else if line != "" {
				state = line
			}
		}
	}
	for i := range cells {
		k := cells[i].st.name + ":  " + cells[i].name
		mine := ours
		if kernel {
			mine = theirs
		}
		if *update {
			mine[k] = got[i]
			continue
		}
		require.Equal(t, mine[k], got[i], "%s; -run Matrix -update accepts the change", k)
	}
	if !*update {
		require.Equal(t, len(cells), len(ours), "cells of %s", matrixFile)
		return
	}
	var b strings.Builder
	b.WriteString(matrixHead)
	name := ""
	for i := range cells {
		c := &cells[i]
		k := c.st.name + ":  " + c.name
		if c.st.name != name {
			name = c.st.name
			fmt.Fprintf(&b, "\n%s\n", name)
		}
		fmt.Fprintf(&b, "  %s -> %s", c.name, ours[k])
		if theirs[k] != ours[k] {
			b.WriteString(linuxSays + theirs[k])
		}
		b.WriteByte('\n')
	}
	require.NoError(t, os.WriteFile(matrixFile, []byte(b.String()), 0o644))
}

// What a stream does with each segment in each state, reviewed against RFC 9293 §3.10.7.4 and compared with Linux by
// TestMatrixOnTheKernel.
func TestMatrix_DAT_001_010_011_RST_006_SYN_002_Streams(t *testing.T) {
	cells := matrixCells()
	got := make([]string, len(cells))
	for i := range cells {
		e, err := NewEndpoint(Settings{PeerISS: 0xfffffffe}, Stream, V4, DefaultLink)
		require.NoError(t, err)
		got[i] = cells[i].play(t, e)
		require.NoError(t, e.Check(), cells[i].name)
		require.NoError(t, e.Free())
	}
	matrix(t, false, got)
}
