package page

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

// headline is the top of the page: what was done, how fast, whether to believe it, and what limited it.
type headline struct {
	Scenario string
	Over     string // port and peer
	Big      string // the figure
	Unit     string // what it counts, and what else the line of the rate says
	Valid    bool
	Verdict  string
	// What kept the rate from being higher: the cause, up to its colon, and the evidence.
	Cause, Evidence string
	Tiles           []tile
}

// tile is a figure beside the headline.
type tile struct {
	Name, Figure, Text string
	Bad                bool
}

func newHeadline(r *bench.Report, summary *bench.Summary) headline {
	h := headline{Scenario: clip(r.Scenario), Valid: r.Valid}
	h.Over = "over " + clip(r.Port)
	if len(summary.Setup) > 0 {
		h.Over = strings.TrimPrefix(clip(summary.Setup[0].Text), h.Scenario+" ")
	}
	rate := number(r.Rate.HandshakesPerS) + " handshakes/s"
	if len(summary.Lines) > 0 {
		rate = summary.Lines[0].Text
	}
	h.Big, h.Unit, _ = strings.Cut(clip(rate), " ")
	if h.Big == "" || h.Big[0] < '0' || h.Big[0] > '9' {
		h.Big, h.Unit = "", clip(rate)
	}

	broken := 0
	for _, e := range r.Equations {
		if !e.Holds {
			broken++
		}
	}
	switch {
	case !r.Valid:
		h.Verdict = cmp.Or(clip(r.InvalidReason), plural(broken, "sum")+" do not close")
	case len(r.Equations) == 0:
		h.Verdict = "no sums were checked"
	default:
		h.Verdict = fmt.Sprintf("all %s close", plural(len(r.Equations), "sum"))
	}

	h.Cause = clip(r.Limiter)
	if cause, evidence, ok := strings.Cut(h.Cause, ": "); ok && len(cause) < 80 {
		h.Cause, h.Evidence = cause, evidence
	}
	h.Tiles = tiles(r)
	return h
}

func tiles(r *bench.Report) []tile {
	var out []tile
	l, of := &r.Latency, "latency"
	for _, q := range []struct {
		name  string
		value int64
		also  int64
	}{{"p50", l.P50, r.Response.P50}, {"p99", l.P99, r.Response.P99}, {"p99.9", l.P999, r.Response.P999}} {
		if l.Count == 0 {
			break
		}
		t := tile{Name: of + " " + q.name, Figure: duration(q.value)}
		if r.Response.Count > 0 {
			t.Text = "response " + duration(q.also)
		}
		out = append(out, t)
	}
	if all := outcomes(r); len(all) > 0 {
		o, failed := all[0], uint64(0)
		for _, p := range o.Parts {
			if p.failed {
				failed += p.n
			}
		}
		out = append(out, tile{Name: "failed", Figure: share(failed, o.total), Text: count(failed) + " of " + count(o.total), Bad: failed > 0})
	}
	if n := r.Retransmissions.SYN; n > 0 {
		out = append(out, tile{Name: "SYNs repeated", Figure: count(n), Text: "after a timeout"})
	}
	if n := r.Handshakes.Unsent; n > 0 {
		out = append(out, tile{Name: "behind schedule", Figure: count(n), Text: "opens not made", Bad: true})
	}
	out = append(out, tile{Name: "sending time", Figure: trim(r.DurationS, 3) + " s", Text: trim(r.DrainS, 3) + " s draining"})
	return out
}
