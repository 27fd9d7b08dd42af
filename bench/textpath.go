package bench

import (
	"bytes"
	"fmt"
	"slices"
)

// textPath draws the way of the frames: one line if nothing was lost, else one for each stage that lost
// something or is not ours to see.
func (r *Report) textPath(b *bytes.Buffer) {
	stage := func(name string) *Stage {
		i := slices.IndexFunc(r.Path, func(s Stage) bool { return s.Name == name })
		if i < 0 {
			return &Stage{}
		}
		return &r.Path[i]
	}
	if len(r.Path) == 0 {
		return
	}
	out, back := stage("sent").In, stage("ring").In
	var rows []string
	unseen := false
	for i := range r.Path {
		s := &r.Path[i]
		lost, added := nonZero(s.Lost), nonZero(s.Added)
		unseen = unseen || !s.Seen
		if lost == "" && added == "" {
			continue
		}
		text := fmt.Sprintf("%-7s %s in, %s out", s.Name, count(s.In), count(s.Out))
		if !s.Seen {
			text = fmt.Sprintf("%-7s not ours to see", s.Name)
		}
		if lost != "" {
			word := "; lost: "
			if !s.Seen {
				word = "; at most: "
			}
			text += word + lost
		}
		if added != "" {
			text += "; added: " + added
		}
		rows = append(rows, text)
	}
	text := fmt.Sprintf("%s frames out, %s back", count(out), count(back))
	switch {
	case len(rows) > 0:
	case unseen:
		text += ", none lost at our end, and nothing unanswered"
	default:
		text += ", none lost"
	}
	line(b, "path", "%s", text)
	for _, row := range rows {
		line(b, "", "%s", row)
	}
}
