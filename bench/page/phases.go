package page

import (
	"math"
	"slices"

	"github.com/fastsyn/fastsyn/bench"
)

// phases is the timeline of a handshake: where its time goes.
type phases struct {
	Parts  []phase
	Events []event
	Spread plot
	Total  string
}

// phase is a part of the timeline, by its mean, which unlike percentiles adds up.
type phase struct {
	Class, Name, About, X, W, Share string
	Mean, P50, P90, P99, P999, Max  string
}

// event is a moment between phases.
type event struct {
	X, Name, Anchor string
	Label, From, To int // where its label is, and the line from there to the bar, in pixels
}

// eventRows are where labels are: above the bar and below it, nearer and farther.
var eventRows = [...]event{{Label: 28, From: 33, To: 76}, {Label: 102, From: 46, To: 90}, {Label: 12, From: 17, To: 76}, {Label: 118, From: 46, To: 106}}

// place puts labels where they do not cover each other, on a phone too. What has no room goes
// without: the table names all phases.
func place(events []event, where []float64) []event {
	const char, gap = 0.022, 0.03 // of the width of a phone
	taken := [len(eventRows)][][2]float64{}
	var out []event
	for i, e := range events {
		width, x := char*float64(len(e.Name)), where[i]
		e.X, e.Anchor = at(x), "middle"
		from, to := x-width/2, x+width/2
		switch {
		case from < 0:
			e.Anchor, from, to = "start", x, x+width
		case to > 1:
			e.Anchor, from, to = "end", x-width, x
		}
		for row, spans := range taken {
			if !slices.ContainsFunc(spans, func(s [2]float64) bool { return from < s[1]+gap && to > s[0]-gap }) {
				taken[row] = append(spans, [2]float64{from, to})
				e.Label, e.From, e.To = eventRows[row].Label, eventRows[row].From, eventRows[row].To
				out = append(out, e)
				break
			}
		}
	}
	return out
}

func newPhases(r *bench.Report) *phases {
	type part struct {
		class, name, about, after string
		l                         bench.Latency
	}
	all := []part{
		{"p-wait", "wait", "from the intended time to the SYN", "SYN out", r.Phases.Wait},
		{"p-synack", "SYN to SYN-ACK", "network, twice, and the peer", "SYN-ACK in", r.Phases.SYNACK},
		{"p-ack", "SYN-ACK to ACK", "within our end", "ACK out", r.Phases.ACK},
		{"p-first", "first byte", "from the ACK to the first byte of the peer", "first byte", r.Phases.FirstByte},
	}
	var list []part
	total, lo, hi := 0.0, math.Inf(1), 1.0
	for _, p := range all {
		if p.l.Count <= 0 || !(p.l.Mean >= 0) {
			continue
		}
		list = append(list, p)
		total += p.l.Mean
		lo, hi = min(lo, float64(max(1, p.l.Min))), max(hi, float64(p.l.Max))
	}
	if len(list) == 0 {
		return nil
	}
	out := &phases{Total: duration(nanoseconds(total))}
	first := "SYN out"
	if list[0].class == "p-wait" {
		first = "intended"
	}
	x, where, events := 0.0, []float64{0}, []event{{Name: first}}
	y, values := logarithmic(lo, hi)
	spread := plot{ID: "spread", Title: "Spread of the phases", X: y.ticks(values, tickDuration), Class: "spread"}
	// A phase too short to be seen still has a place.
	width := func(mean float64) float64 { return mean / max(total, 1e-9) }
	for i, p := range list {
		w := width(p.l.Mean)
		out.Parts = append(out.Parts, phase{
			Class: p.class, Name: p.name, About: p.about, X: at(x), W: at(w), Share: percent(w),
			Mean: duration(nanoseconds(p.l.Mean)), P50: duration(p.l.P50), P90: duration(p.l.P90), P99: duration(p.l.P99), P999: duration(p.l.P999), Max: duration(p.l.Max),
		})
		x += w
		where, events = append(where, min(x, 1)), append(events, event{Name: p.after})
		spread.addBox(i, len(list), y, p.class, &p.l, p.name)
	}
	spread.Desc = "For each phase: the line from minimum to maximum, the box from p50 to p99, with p90 in it."
	out.Spread, out.Events = spread, place(events, where)
	return out
}

// addBox draws a distribution as a row: a line from min to max, a box from p50 to p99, a stroke at p90.
func (p *plot) addBox(i, of int, x scale, class string, l *bench.Latency, name string) {
	mid := (float64(i) + 0.5) / float64(of)
	half := min(0.11, 0.3/float64(of))
	f := func(ns int64) string { return coord(x.at(float64(max(1, ns)))) }
	y0, y1, ym := coord(mid-half), coord(mid+half), coord(mid)
	p.Shapes = append(p.Shapes,
		shape{class + " whisker", "M" + f(l.Min) + " " + ym + "H" + f(l.Max) + "M" + f(l.Min) + " " + coord(mid-half/2) + "V" + coord(mid+half/2) + "M" + f(l.Max) + " " + coord(mid-half/2) + "V" + coord(mid+half/2)},
		shape{class + " box", "M" + f(l.P50) + " " + y0 + "H" + f(l.P99) + "V" + y1 + "H" + f(l.P50) + "z"},
		shape{"p90", "M" + f(l.P90) + " " + y0 + "V" + y1},
	)
	p.Rules = append(p.Rules, rule{Class: "row", Y: at(mid), Label: name})
}
