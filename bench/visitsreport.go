package bench

import (
	"bytes"
	"fmt"
	"time"
)

// Visits is the outcome of the scenario fastopen.
type Visits struct {
	First    Visit `json:"first"`    // asks for a cookie; text with the handshake's ACK
	Repeat   Visit `json:"repeat"`   // text on the SYN
	Ordinary Visit `json:"ordinary"` // without Fast Open; text with the handshake's ACK

	CookiesAsked uint64 `json:"cookies_asked"` // by SYNs
	CookiesGiven uint64 `json:"cookies_given"` // that came
	// TextSYNs carried text: of those, TextTaken were acknowledged with it.
	TextSYNs  uint64  `json:"text_syns"`
	TextTaken uint64  `json:"text_taken"`
	Share     float64 `json:"share"` // of the SYNs with text
	// SavedNS is how much sooner the first byte of a repeat visit comes than that of an ordinary one, ConnectNS the time of an ordinary
	// handshake, medians; SavedRTTs the one in terms of the other. 0 where text was not taken.
	SavedNS   int64   `json:"saved_ns"`
	ConnectNS int64   `json:"connect_ns"`
	SavedRTTs float64 `json:"saved_rtts"`
}

// Visit is what became of the visits of a kind: attempted = replied + failed + pending.
type Visit struct {
	Attempted   uint64  `json:"attempted"`
	Established uint64  `json:"established"`
	Replied     uint64  `json:"replied"` // the first byte of an answer came
	Failed      uint64  `json:"failed"`
	Pending     uint64  `json:"pending"`
	Taken       uint64  `json:"taken"`         // text on the SYN was acknowledged with it
	Connect     Latency `json:"connect_ns"`    // from the SYN to established
	FirstByte   Latency `json:"first_byte_ns"` // from the SYN to the first byte of the answer
}

func (r *run) reportVisits(rep *Report) {
	r.reportClients(rep)
	v := &rep.Visits
	var bad, attempted, replied uint64
	for kind, to := range []*Visit{&v.First, &v.Repeat, &v.Ordinary} {
		connect, first := newLatency(), newLatency()
		for _, g := range r.gens {
			t := &g.(*visitor).tally[kind]
			to.Attempted += t.attempted
			to.Established += t.established
			to.Replied += t.replied
			to.Failed += t.failed
			to.Taken += t.taken
			bad += t.bad
			t.connect.copyTo(connect.h)
			t.firstByte.copyTo(first.h)
		}
		name := [...]string{"first", "repeat", "ordinary"}[kind]
		to.Pending = to.Attempted - to.Replied - to.Failed
		to.Connect, to.FirstByte = rep.latency("visits."+name+".connect", connect.h), rep.latency("visits."+name+".first_byte", first.h)
		attempted += to.Attempted
		replied += to.Replied
		rep.equation(name+" visits: samples of the first byte = replied", uint64(to.FirstByte.Count), to.Replied)
		rep.equation(name+" visits: samples of the connect = established", uint64(to.Connect.Count), to.Established)
	}
	f := &rep.Client.Engine.FastOpen
	v.CookiesAsked, v.CookiesGiven, v.TextSYNs, v.TextTaken = f.Asked, f.Learned, f.Sent, f.Taken
	if v.TextSYNs > 0 {
		v.Share = float64(v.TextTaken) / float64(v.TextSYNs)
	}
	v.ConnectNS = v.Ordinary.Connect.P50
	if v.Repeat.Taken > 0 && v.Ordinary.Replied > 0 && v.ConnectNS > 0 {
		v.SavedNS = v.Ordinary.FirstByte.P50 - v.Repeat.FirstByte.P50
		v.SavedRTTs = float64(v.SavedNS) / float64(v.ConnectNS)
	}
	rep.Rate.VisitsPerS = r.perSecond(replied)
	rep.equation("visits of all kinds = attempted", attempted, rep.Handshakes.Attempted)
	rep.equation("text taken from SYNs, by flow = by the engine", v.First.Taken+v.Repeat.Taken+v.Ordinary.Taken, v.TextTaken)
	rep.equation("SYNs with text = taken + declined + unanswered + pending", v.TextSYNs, f.Taken+f.Declined+f.Unanswered+f.Sending)
	rep.equation("first and ordinary visits with text on the SYN", v.First.Taken+v.Ordinary.Taken, 0)
	if rep.Server != nil {
		rep.equation("answers with other text than was sent", bad, 0)
	}
}

func (r *Report) textVisits(b *bytes.Buffer) {
	v := &r.Visits
	line(b, "rate", "%s visits/s", number(r.Rate.VisitsPerS))
	for _, x := range []struct {
		name, what string
		*Visit
	}{{"first", "asks for a cookie", &v.First}, {"repeat", "text on the SYN", &v.Repeat}, {"ordinary", "text behind the handshake", &v.Ordinary}} {
		line(b, x.name, "%s: %s attempted = %s replied + %s failed + %s pending", x.what, count(x.Attempted), count(x.Replied), count(x.Failed), count(x.Pending))
		r.latencyLine(b, "  connect", x.Connect)
		r.latencyLine(b, "  1st byte", x.FirstByte)
	}
	line(b, "Fast Open", "%s cookies asked for, %s given; %s SYNs with text, %s taken (%s)",
		count(v.CookiesAsked), count(v.CookiesGiven), count(v.TextSYNs), count(v.TextTaken), percent(v.TextTaken, v.TextSYNs))
	if s := v.saved(); s != "" {
		line(b, "saved", "%s", s)
	}
	r.textHandshakeCounts(b)
}

// saved says what text on the SYN was worth.
func (v *Visits) saved() string {
	if v.SavedRTTs == 0 {
		return ""
	}
	d := func(ns int64) string { return shortDuration(time.Duration(ns)) }
	return fmt.Sprintf("%s of %s to the first byte, %.2f of a handshake's %s (medians)", d(v.SavedNS), d(v.Ordinary.FirstByte.P50), v.SavedRTTs, d(v.ConnectNS))
}

func visitLimiter(r *Report) string {
	v, h := &r.Visits, &r.Handshakes
	replied := v.First.Replied + v.Repeat.Replied + v.Ordinary.Replied
	switch {
	case h.Attempted == 0 || h.Established == 0:
		return clientLimiter(r)
	case replied == 0:
		return fmt.Sprintf("the peer answered the text of none of %s connections: a fastopen run wants a server that answers whatever comes, such as echo or HTTP.", count(h.Established))
	case v.CookiesGiven == 0:
		return fmt.Sprintf("the peer gave no Fast Open cookie for %s requests: it does not do Fast Open here, or a device on the way takes the option out.", count(v.CookiesAsked))
	case v.TextTaken == 0:
		return fmt.Sprintf("the peer took the text of none of %s SYNs, though it gave cookies: its queue of Fast Open is full or off, or a device on the way drops the text.", count(v.TextSYNs))
	}
	s := "the round trips: visits wait for each other."
	if saved := v.saved(); saved != "" {
		s = "the round trips: visits wait for each other; text on the SYN saved " + saved + "."
	}
	return s
}
