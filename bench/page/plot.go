package page

import "strings"

// plot is a drawing with two axes. Shapes are in a square of 1000 that is stretched to
// the plot, texts and points are not stretched, so that they are readable at any width.
type plot struct {
	ID     string
	Class  string // its height, in the style sheet
	Title  string // read aloud, with Desc, instead of the drawing
	Desc   string
	XLabel string
	YLabel string
	X, Y   []tick
	Bands  []band
	Shapes []shape
	Rules  []rule
	Points []point
	Hits   []hit
	Legend []key
	Sharp  bool // shapes are cells
}

// shape is a path.
type shape struct{ Class, D string }

// band is a part of the x axis, from some place to the end. Late: it begins so near the
// end that its label is better set from there.
type band struct {
	Class, X, W, Label string
	Late               bool
}

func bandFrom(class string, from float64, label string) band {
	if from > 0.96 {
		label = "" // no room
	}
	return band{class, at(from), at(1 - from), label, from > 0.6}
}

// rule is a line across the plot, at a place of the x axis or, if Y is set, of the y axis.
type rule struct{ Class, X, Y, Label string }

// point is a mark. Its text is a tooltip.
type point struct {
	Class, X, Y, Text string
	Cross             bool // a cross instead of a disc
}

// hit is a part of the x axis that says what is there.
type hit struct{ X, W, Mid, Text string }

// key is an entry of a legend. Class is that of the shape; Fill: it is an area.
type key struct {
	Class, Text string
	Fill        bool
}

// xy is a place in a plot, as fractions from left and from below.
type xy struct{ x, y float64 }

// polyline joins places.
func polyline(list []xy) string {
	var b strings.Builder
	for i, p := range list {
		switch {
		case i == 0:
			b.WriteByte('M')
		case i == 1:
			b.WriteByte('L')
		default:
			b.WriteByte(' ')
		}
		b.WriteString(coord(p.x) + " " + coord(1-p.y))
	}
	return b.String()
}

// span is a value that holds from one place of the x axis to another.
type span struct{ from, to, y float64 }

// steps is the outline of spans; a gap between two of them interrupts it.
func steps(list []span) string {
	var b strings.Builder
	for i, s := range list {
		joined := i > 0 && s.from-list[i-1].to < 1e-4
		switch {
		case !joined:
			b.WriteString("M" + coord(s.from) + " " + coord(1-s.y))
		case s.y != list[i-1].y:
			b.WriteString("V" + coord(1-s.y))
		}
		b.WriteString("H" + coord(s.to))
	}
	return b.String()
}

// bars fills from the x axis up to each span that is not zero.
func bars(list []span) string {
	var b strings.Builder
	for _, s := range list {
		if s.y > 0 {
			b.WriteString("M" + coord(s.from) + " 1000V" + coord(1-s.y) + "H" + coord(s.to) + "V1000z")
		}
	}
	return b.String()
}

// between fills from one span to the other above it, for spans at the same places.
func between(low, high []span) string {
	var b strings.Builder
	for i, l := range low {
		b.WriteString("M" + coord(l.from) + " " + coord(1-l.y) + "V" + coord(1-high[i].y) + "H" + coord(l.to) + "V" + coord(1-l.y) + "z")
	}
	return b.String()
}
