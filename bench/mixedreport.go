package bench

import (
	"bytes"
	"fmt"
	"time"
)

// Mixed is the outcome of that scenario; SYNFlood is that of its flood.
type Mixed struct {
	Clients   string  `json:"clients"`
	FloodRate float64 `json:"flood_rate"` // SYNs per second asked for
	// FloodSYNsPerS are those sent in the second half.
	FloodSYNsPerS float64 `json:"flood_syns_per_s"`
	Calm          Half    `json:"calm"`    // without the flood
	Flooded       Half    `json:"flooded"` // with it
	// Kept is what the clients had of their schedule done under the flood, as a share of what they had without.
	Kept float64 `json:"kept"`
	// Accepted are the flows that our server accepted, in both halves; empty with Connect.
	Accepted OptionCount `json:"accepted"`
	// Strangers are those of them from sources of the flood: there can be none.
	Strangers uint64 `json:"strangers"`
}

// Half is what became of the opens of legitimate clients in one half: attempted = done + failed + pending.
type Half struct {
	LengthS     float64     `json:"length_s"`
	Attempted   uint64      `json:"attempted"`
	Established uint64      `json:"established"`
	Done        uint64      `json:"done"` // established, or a complete transaction
	Failed      uint64      `json:"failed"`
	Pending     uint64      `json:"pending"` // undecided when the run ended
	Unsent      uint64      `json:"unsent"`  // the schedule wanted them, and all places were taken
	DonePerS    float64     `json:"done_per_s"`
	Latency     Latency     `json:"latency_ns"` // from the SYN to done
	Options     OptionCount `json:"options"`    // in use on the established, as the client knows it
}

// share of the opens that the schedule wanted which are done.
func (h *Half) share() float64 {
	if n := h.Attempted + h.Unsent; n > 0 {
		return float64(h.Done) / float64(n)
	}
	return 0
}

func (r *run) reportMixed(rep *Report) {
	if r.cfg.transacts() {
		r.reportHTTP(rep)
	} else {
		r.reportClients(rep)
	}
	m := &rep.Mixed
	m.Clients, m.FloodRate = r.cfg.Clients, r.cfg.FloodRate
	to := [2]*Half{&m.Calm, &m.Flooded}
	names := [2]string{"calm", "flooded"}
	latencies := [2]*latency{newLatency(), newLatency()}
	var segments uint64
	f := &rep.SYNFlood
	for i, g := range r.gens {
		g := g.(*mixed)
		for k := range to {
			h := &g.halves[k]
			to[k].LengthS = max(to[k].LengthS, time.Duration(h.length).Seconds())
			to[k].Attempted += h.attempted
			to[k].Established += h.established
			to[k].Done += h.done
			to[k].Failed += h.failed
			to[k].Unsent += h.unsent
			h.options.add(&to[k].Options)
			h.latency.copyTo(latencies[k].h)
		}
		if w := g.base().worker; w != nil {
			for fl := range w.Flows {
				if g.undecided(fl) {
					if g.of(fl) == &g.halves[1] {
						m.Flooded.Pending++
					} else {
						m.Calm.Pending++
					}
				}
			}
		}
		m.FloodSYNsPerS += float64(g.flood.sentWindow)
		f.add(&g.flood.ctr)
		segments += r.final[0][i].Segments
	}
	f.Unanswered = f.Sent - min(f.Sent, f.Answered+f.Reset)
	for k, h := range to {
		h.Latency = rep.latency("mixed."+names[k], latencies[k].h)
		if h.LengthS > 0 {
			h.DonePerS = float64(h.Done) / h.LengthS
		}
		rep.equation(names[k]+": attempted = done + failed + pending", h.Attempted, h.Done+h.Failed+h.Pending)
		rep.equation(names[k]+": samples of the latency = done", uint64(h.Latency.Count), h.Done)
	}
	if m.Flooded.LengthS > 0 {
		m.FloodSYNsPerS /= m.Flooded.LengthS
	}
	if s := m.Calm.share(); s > 0 {
		m.Kept = m.Flooded.share() / s
	}
	for _, a := range r.accepts {
		a.options.add(&m.Accepted)
		m.Strangers += a.strangers
	}
	rep.equation("opens of both halves = attempted", m.Calm.Attempted+m.Flooded.Attempted, rep.Handshakes.Attempted)
	rep.equation("established in both halves = established", m.Calm.Established+m.Flooded.Established, rep.Handshakes.Established)
	rep.equation("flood: sent = answered + reset + unanswered", f.Sent, f.Answered+f.Reset+f.Unanswered)
	rep.equation("segments received = of flows + answered + reset + repeated + late + bad", segments,
		rep.Client.Engine.Segments+f.Answered+f.Reset+f.Repeated+f.Late+f.Bad)
	if rep.Server == nil {
		return
	}
	rep.equation("flows accepted from sources of the flood", m.Strangers, 0)
	rep.equation("flows seen by the server = accepted by it", m.Accepted.Flows, rep.Server.Engine.Accepted)
	if p := &rep.Client.Port; r.bare() && p.TxFull+p.TxErrors == 0 && r.taken() {
		s := &rep.Server.Engine
		rep.equation("SYNs of clients and flood = SYNs taken by the server", rep.Handshakes.Attempted+rep.Retransmissions.SYN+f.Sent,
			s.SynIn+s.SynRepeats+knownTuples(s))
	}
}

// add adds the counters of one worker, but for what follows from them.
func (f *SYNFlood) add(c *floodCounters) {
	f.Sent += c.sent
	f.Answered += c.answered
	f.Reset += c.reset
	f.Repeated += c.repeated
	f.Late += c.late
	f.Bad += c.bad
	f.Stalls += c.stalls
}

func (r *Report) setupMixed() string {
	return fmt.Sprintf("%s, flood of %s SYNs/s", r.setupHandshakes(), number(r.Mixed.FloodRate))
}

func (r *Report) textMixed(b *bytes.Buffer) {
	m := &r.Mixed
	what := mixedTraffic(m.Clients)
	line(b, "rate", "%s %s/s without the flood, %s under %s SYNs/s", number(m.Calm.DonePerS), what, number(m.Flooded.DonePerS), number(m.FloodSYNsPerS))
	line(b, "kept", "good clients kept %s", shareText(m.Kept))
	for _, x := range []struct {
		name string
		h    *Half
	}{{"calm", &m.Calm}, {"flooded", &m.Flooded}} {
		unsent := ""
		if x.h.Unsent > 0 {
			unsent = fmt.Sprintf("; %s more found no place", count(x.h.Unsent))
		}
		line(b, x.name, "%s attempted = %s done + %s failed + %s pending%s", count(x.h.Attempted), count(x.h.Done), count(x.h.Failed), count(x.h.Pending), unsent)
		r.latencyLine(b, "", x.h.Latency)
		if x.h.Options.Flows > 0 {
			line(b, "", "%s", x.h.Options.text())
		}
	}
	if m.Accepted.Flows > 0 {
		line(b, "accepted", "%s flows, %s by cookie: %s", count(m.Accepted.Flows), percent(m.Accepted.ByCookie, m.Accepted.Flows), m.Accepted.text())
	}
	f := &r.SYNFlood
	line(b, "flood", "%s SYNs sent = %s answered + %s reset + %s unanswered", count(f.Sent), count(f.Answered), count(f.Reset), count(f.Unanswered))
	if r.HTTP.Requests > 0 {
		r.textTransactions(b)
	}
	r.textHandshakeCounts(b)
}

// shareText is a share in percent, not rounded to all or nothing.
func shareText(share float64) string {
	x := 100 * share
	switch {
	case x > 99.95 && x < 100:
		return "99.9 %"
	case x > 0 && x < 0.05:
		return "less than 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", x)
}

// good is the share of their rate from which clients are not held to have lost anything.
const good = 0.99

func mixedLimiter(r *Report) string {
	m := &r.Mixed
	second := &m.Flooded
	who := fmt.Sprintf("good clients kept %s under %s SYNs/s", shareText(m.Kept), number(m.FloodSYNsPerS))
	switch {
	case r.Handshakes.Attempted == 0:
		return "nothing was sent: the run ended before the first SYN."
	case m.Calm.share() < good:
		return "the clients, before there was any flood: " + clientLimiter(r)
	case r.SYNFlood.Sent == 0:
		return "the run ended before the flood had begun."
	case m.Kept >= good && m.FloodSYNsPerS < good*m.FloodRate:
		return fmt.Sprintf("the flood, which had %s of %s SYNs/s: %s.", number(m.FloodSYNsPerS), number(m.FloodRate), who)
	case m.Kept >= good:
		return fmt.Sprintf("the rates asked for: %s.", who)
	}
	if r.Server != nil {
		if why := r.Server.turnedAway(); why != "" {
			return fmt.Sprintf("the server's defence: %s; it dropped %s.", who, why)
		}
	}
	if s := rings(r, r.Handshakes.Attempted+r.SYNFlood.Sent); s != "" {
		return s
	}
	return fmt.Sprintf("the peer, or a device on the way: %s, %s of %s attempts then are not done.", who, count(second.Attempted-second.Done), count(second.Attempted))
}

// turnedAway are the SYNs and ACKs that a server refused because of its bounds, the most frequent reason first.
func (s *Side) turnedAway() string {
	best, most := "", uint64(0)
	for _, name := range []string{"syn_table_full", "source_limit", "syn_limit", "flow_table_full", "cookie_limit", "accept_queue_full"} {
		if n := s.Drops[name]; n > most {
			best, most = name, n
		}
	}
	if most == 0 {
		return ""
	}
	return fmt.Sprintf("%s segments as %s", count(most), best)
}
