package page

import (
	"math"
	"strconv"

	"github.com/fastsyn/fastsyn/bench"
)

// samples are handshakes whose segments were recorded.
type samples struct {
	Ladders []ladder
	More    int
}

// ladder is the diagram of one: the client's life on the left, the server's on the right, time downwards.
type ladder struct {
	ID, Why, Client, Server string
	Title, Desc             string
	Height                  int
	Steps                   []step
	More                    int
}

// step is a segment. Times are those at which the client's end sent or received it.
type step struct {
	N                       int
	At, Gap                 string
	Out, Lost               bool
	Flags, Raw, Text, State string
	Y, Y1, Y2, Label, GapY  int
	Clock                   int
}

// Where things are in a ladder, in pixels.
const (
	ladderTop   = 46
	ladderLeast = 44 // between two segments
	ladderSlope = 14 // how much later a segment arrives, in the drawing
)

func newSamples(list []bench.Sample) *samples {
	list, more := head(list, maxSamples)
	if len(list) == 0 {
		return nil
	}
	out := &samples{More: more}
	for i := range list {
		out.Ladders = append(out.Ladders, newLadder(i, &list[i]))
	}
	return out
}

func newLadder(i int, s *bench.Sample) ladder {
	l := ladder{ID: "ladder" + strconv.Itoa(i), Why: clip(s.Why), Client: clip(s.Client), Server: clip(s.Server)}
	segments, more := head(s.Segments, maxSteps)
	l.More = more
	y, before := ladderTop, int64(0)
	for i, g := range segments {
		dt := max(0, g.AtNS-before)
		before = g.AtNS
		if i > 0 {
			y += ladderLeast + int(stretch(dt))
		}
		st := step{
			N: i + 1, At: clock(g.AtNS), Out: g.Out, Flags: flagNames(g.Flags), Raw: clip(g.Flags), Text: clip(g.Text),
			Y: y, Y1: y, Y2: y + ladderSlope, Clock: y + 4,
		}
		if i == 0 || g.StateIs != segments[i-1].StateIs {
			st.State = clip(g.StateIs)
		}
		if !g.Out {
			st.Y1, st.Y2 = y, y-ladderSlope // from the server, earlier
		}
		st.Label = (st.Y1+st.Y2)/2 - 7
		if g.Length > 0 {
			st.Flags += ", " + strconv.Itoa(g.Length) + " B"
		}
		if i > 0 && stretch(dt) > 24 {
			st.Gap, st.GapY = "+"+duration(dt), y-(ladderLeast+int(stretch(dt)))/2
		}
		// Nothing came back before it was sent again.
		st.Lost = g.Out && i+1 < len(segments) && segments[i+1].Out && segments[i+1].Flags == g.Flags && isOpen(g.Flags)
		l.Steps = append(l.Steps, st)
	}
	l.Height = y + 40
	l.Title = "Ladder diagram of a handshake: " + l.Why
	l.Desc = plural(len(segments), "segment") + " between " + l.Client + " and " + l.Server + "; the list beside it has them in words."
	return l
}

// clock prints a time since the first segment, to the microsecond where duration would round more.
func clock(ns int64) string {
	switch {
	case ns >= 1e9:
		return trim(float64(ns)/1e9, 6) + "s"
	case ns >= 1e6:
		return trim(float64(ns)/1e6, 3) + "ms"
	}
	return duration(ns)
}

// stretch is the room of a pause, by its logarithm: microseconds and seconds are in one drawing.
func stretch(ns int64) float64 {
	return max(0, min(64, 12*(math.Log10(max(1, float64(ns)))-3.5)))
}

func isOpen(flags string) bool { return flags == "S" || flags == "SEW" }

// flagNames spells tcpdump's flags.
func flagNames(flags string) string {
	names := map[rune]string{'S': "SYN", 'F': "FIN", 'R': "RST", 'P': "PSH", 'U': "URG", 'E': "ECE", 'W': "CWR", '.': "ACK"}
	out := ""
	for _, f := range flags {
		name, ok := names[f]
		if !ok || len(out) > 40 {
			return clip(flags)
		}
		if out != "" {
			out += "-"
		}
		out += name
	}
	if out == "" {
		return "none"
	}
	return out
}
