package bench

import "github.com/fastsyn/fastsyn/bench/http1"

// What the generators say of themselves in a Snapshot, on their worker. The outcome of each
// attempt is the engine's to count; these are the counters beside it.

// latencies of a generator that has only that of its progress.
func (l *lifecycle) latencies(func(name string, l *latency)) {}

func (c *client) counts(put func(family, outcome string, n uint64)) {
	put("opens", "", c.ctr.opened)
	if c.worker != nil {
		put("intended", "", c.wantedBy(&c.pace, c.worker.Now()))
	}
	put("port_pool_exhausted", "", c.ctr.exhausted)
	put("table_full", "", c.ctr.tableFull)
}

func (c *client) latencies(put func(name string, l *latency)) {
	put("latency", c.service)
	put("response", c.response)
	put("retransmitted", c.resent)
	put("phases.wait", c.wait)
	put("phases.ack", c.ack)
	put("phases.first_byte", c.firstByte)
	put("failed", c.failed)
}

// endingNames are the outcomes of transactions, as the report names them.
var endingNames = [numEndings]string{
	endComplete: "complete", endConnect: "not_connected", endBad: "bad_response", endContent: "bad_response",
	endShort: "short", endReset: "reset", endBroken: "broken",
}

func (c *httpClient) counts(put func(family, outcome string, n uint64)) {
	c.client.counts(put)
	ends := c.tally.ends
	ends[endBad] += ends[endContent]
	for end := endComplete; end < numEndings; end++ {
		if end != endContent {
			put("transactions", endingNames[end], ends[end])
		}
	}
	h := &c.http.ClientCounters
	put("requests", "", h.Sent)
	put("responses", "", h.Done)
	put("requests_failed", "cut", h.Cut)
	for why, n := range h.Failed {
		if n > 0 {
			put("requests_failed", http1.Reason(why).String(), n)
		}
	}
	put("content_bytes", "", h.Content)
	put("text_bytes", "", c.tally.text)
}

func (c *httpClient) latencies(put func(name string, l *latency)) {
	put("total", c.total)
	put("first_byte", c.first)
	c.client.latencies(put)
}

func (f *flood) counts(put func(family, outcome string, n uint64)) {
	c := &f.ctr
	put("syns", "", c.sent)
	if f.worker != nil {
		put("intended", "", f.wantedBy(&f.pace, f.worker.Now()))
	}
	put("answers", "syn_ack", c.answered)
	put("answers", "reset", c.reset)
	put("answers", "repeated", c.repeated)
	put("answers", "late", c.late)
	put("answers", "bad", c.bad)
	put("stalls", "", c.stalls)
}

func (e *echo) counts(put func(family, outcome string, n uint64)) {
	c := &e.ctr
	put("frames", "", c.sent)
	put("intended", "", e.wantedBy(&e.pace, e.now))
	put("frames_returned", "", c.returned)
	put("frames_lost_now", "", c.lost) // one that comes after all is not lost any more
	put("frames_reordered", "", c.reordered)
	put("frames_unused", "repeated", c.repeated)
	put("frames_unused", "late", c.late)
	put("frames_unused", "bad", c.bad)
	put("frames_unused", "elsewhere", c.elsewhere)
	put("frames_unused", "foreign", c.foreign)
	put("stalls", "", c.stalls)
}

// wantedBy is how many opens the schedule p has had so far, at time now.
func (l *lifecycle) wantedBy(p *pace, now int64) uint64 {
	if !p.on() || l.phase == resolving {
		return 0
	}
	if l.phase > sending {
		now = l.end
	}
	return min(p.dueBy(min(now, l.until-1)), l.quota+p.done)
}
