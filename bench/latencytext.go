package bench

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// textLatencies are the lines on latency behind the main ones: all attempts, where some are censored, those
// repeated, and the phases.
func (r *Report) textLatencies(b *bytes.Buffer) {
	if p := &r.Population; p.Censored > 0 {
		line(b, "all", "%s (%s of %s censored)", p.text(), count(p.Censored), count(p.Count))
	}
	r.latencyLine(b, "repeated", r.Retransmitted)
	var parts []string
	for _, x := range []struct {
		name string
		l    *Latency
	}{{"wait", &r.Phases.Wait}, {"SYN-ACK", &r.Phases.SYNACK}, {"ACK", &r.Phases.ACK}, {"first byte", &r.Phases.FirstByte}} {
		if x.l.Count > 0 {
			parts = append(parts, fmt.Sprintf("%s p50 %s p99 %s", x.name, shortNS(x.l.P50), shortNS(x.l.P99)))
		}
	}
	if len(parts) > 0 {
		line(b, "phases", "%s", strings.Join(parts, ", "))
	}
}

// text is the quantiles for people. Those that have no value are told once: the others are no lower.
func (p *Population) text() string {
	var out []string
	for _, q := range []struct {
		name string
		of   Quantile
	}{{"p50", p.P50}, {"p90", p.P90}, {"p99", p.P99}, {"p99.9", p.P999}} {
		if q.of.AtLeast {
			out = append(out, q.name+" ≥ "+shortNS(q.of.NS))
			break
		}
		out = append(out, q.name+" "+shortNS(q.of.NS))
	}
	return strings.Join(out, ", ")
}

func shortNS(ns int64) string { return shortDuration(time.Duration(ns)) }
