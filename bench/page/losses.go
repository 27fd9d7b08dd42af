package page

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

// losses is the section that says what became of everything.
type losses struct {
	Outcomes []outcome
	Stages   []stage
	Drops    []drop
	NoDrops  bool
	More     int // reasons left out
	Sides    bool
}

// outcome is a total and the parts it ends in.
type outcome struct {
	Title string
	Total string
	Parts []part
	total uint64
}

// part of an outcome. Zeros have no bar and stay in the table.
type part struct {
	Class, Name, N, Share, X, W string
	n                           uint64
	failed                      bool
}

// stage is a place on the way of the segments.
type stage struct {
	Name, About, In, Out string
	Lost, Added          []loss
	LostShare            string
	Seen                 bool
	Ribbon, Gone         string // paths: what goes on, and what falls off
}

// loss is a reason at a stage, in words that may be on lines of their own.
type loss struct {
	Words []string
	N     string
}

// drop is a reason for which frames or segments were not used.
type drop struct{ Name, N, Client, Server, W string }

func newLosses(r *bench.Report) *losses {
	l := &losses{Outcomes: outcomes(r), Stages: stages(r.Path), Sides: r.Server != nil}
	l.Drops, l.More = drops(r)
	l.NoDrops = len(l.Drops) == 0
	if len(l.Outcomes) == 0 && len(l.Stages) == 0 && l.NoDrops {
		return nil
	}
	return l
}

// outcomes are those of the parts of a report that are not empty.
func outcomes(r *bench.Report) []outcome {
	var out []outcome
	add := func(title string, total uint64, parts ...part) {
		if total == 0 {
			return
		}
		o := outcome{Title: title, Total: count(total), total: total}
		x := 0.0
		for _, p := range parts {
			w := float64(p.n) / float64(total)
			p.N, p.Share, p.X, p.W = count(p.n), share(p.n, total), at(x), ""
			if p.n > 0 {
				p.W = at(max(w, 0.002)) // a single failure is to be seen
				if x+w > 0.998 {
					p.X = at(min(x, 0.998))
				}
			}
			x += w
			o.Parts = append(o.Parts, p)
		}
		out = append(out, o)
	}
	good := func(name string, n uint64) part { return part{Class: "o-good", Name: name, n: n} }
	bad := func(class, name string, n uint64) part { return part{Class: class, Name: name, n: n, failed: true} }
	open := func(name string, n uint64) part { return part{Class: "o-open", Name: name, n: n} }

	t := &r.HTTP
	add("transactions", t.Attempted, good("complete", t.Complete), bad("o-bad1", "not connected", t.NotConnected), bad("o-bad2", "bad response", t.BadResponse),
		bad("o-bad3", "short", t.Short), bad("o-bad4", "reset", t.Reset), bad("o-bad5", "broken", t.Broken), open("pending", t.Pending))
	h := &r.Handshakes
	add("handshakes", h.Attempted, good("established", h.Established), bad("o-bad1", "refused", h.Refused), bad("o-bad2", "timed out", h.TimedOut),
		bad("o-bad3", "unreachable", h.Unreachable), bad("o-bad4", "reset", h.Reset), open("pending", h.Pending))
	s := &r.SYNFlood
	add("SYNs of the flood", s.Sent, good("answered", s.Answered), bad("o-bad1", "reset", s.Reset), bad("o-bad2", "unanswered", s.Unanswered))
	e := &r.Echo
	add("frames of the echo", e.Sent, good("returned", e.Returned), bad("o-bad1", "lost", e.Lost), open("in flight", e.InFlight))
	f := &r.Flows
	add("established flows", h.Established, good("closed by FIN both ways", f.Done), part{Class: "o-good2", Name: "reset by the client", n: f.Aborted},
		bad("o-bad1", "reset by the peer", f.Reset), bad("o-bad2", "broken", f.Broken), open("open", f.Open))
	return out
}

// about says what a stage is.
var about = map[string]string{
	"sent": "handed to the port", "wire": "to the peer", "peer": "its answer", "return": "the way back", "ring": "receive ring",
	"parse": "well-formed", "state": "used by the engine",
}

func stages(path []bench.Stage) []stage {
	path, _ = head(path, 16)
	most := uint64(1)
	for _, s := range path {
		most = max(most, s.In, s.Out)
	}
	var out []stage
	for _, s := range path {
		v := stage{Name: clip(s.Name), About: about[s.Name], In: count(s.In), Out: count(s.Out), Seen: s.Seen}
		lost := uint64(0)
		v.Lost, v.Added = lossesOf(s.Lost), lossesOf(s.Added)
		for _, n := range s.Lost {
			lost += n
		}
		if lost > 0 {
			v.LostShare = share(lost, max(s.In, lost))
		}
		in, on := float64(s.In)/float64(most), float64(s.Out)/float64(most)
		v.Ribbon, v.Gone = ribbon(in, on, float64(lost)/float64(most))
		out = append(out, v)
	}
	return out
}

// lossesOf are the reasons of m, the largest first.
func lossesOf(m map[string]uint64) (out []loss) {
	names, more := head(sorted(m), 12)
	for _, name := range names {
		out = append(out, loss{strings.SplitAfter(clip(name), "_"), count(m[name])})
	}
	if more > 0 {
		out = append(out, loss{[]string{plural(more, "other reason")}, ""})
	}
	return out
}

// ribbon draws a stage: as high as the share of the most segments there were anywhere, in the upper
// part of the drawing, with what is lost falling off it, as a hairline at least.
func ribbon(in, on, lost float64) (flow, gone string) {
	const room = 0.6
	in, on, lost = room*clamp(in), room*clamp(on), room*clamp(lost)
	flow = "M0 0H1000V" + coord(on) + "C600 " + coord(on) + " 400 " + coord(in) + " 0 " + coord(in) + "z"
	if lost == 0 {
		return flow, ""
	}
	lost = max(lost, 0.02)
	top := max(0, in-lost)
	gone = "M0 " + coord(top) + "C350 " + coord(top) + " 480 " + coord(in) + " " + coord(0.48+lost/4) + " 1000H" + coord(0.48-lost/4) +
		"C" + coord(0.46-lost/4) + " " + coord(in+0.1) + " 330 " + coord(in) + " 0 " + coord(in) + "z"
	return flow, gone
}

// sorted are the reasons of m that are not zero, the largest first.
func sorted(m map[string]uint64) []string {
	keys := slices.Collect(maps.Keys(m))
	keys = slices.DeleteFunc(keys, func(k string) bool { return m[k] == 0 })
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	return keys
}

func drops(r *bench.Report) (out []drop, more int) {
	names, more := head(sorted(r.Drops), 60)
	for _, name := range names {
		d := drop{Name: clip(name), N: count(r.Drops[name]), Client: count(r.Client.Drops[name]), Server: "0"}
		if r.Server != nil {
			d.Server = count(r.Server.Drops[name])
		}
		d.W = at(float64(r.Drops[name]) / float64(r.Drops[names[0]]))
		out = append(out, d)
	}
	return out, more
}
