package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	kind := scenarioOf(r.Scenario)
	if kind == nil {
		return fmt.Errorf("bench: unknown scenario %q", r.Scenario)
	}
	r.head(&b, kind)
	kind.text(r, &b)
	if r.HTTP.Requests > 0 {
		r.latencyLine(&b, "connect", r.Latency)
		r.latencyLine(&b, "first byte", r.HTTP.FirstByte)
		r.latencyLine(&b, "total", r.HTTP.Total)
	} else {
		r.latencyLine(&b, "latency", r.Latency)
	}
	r.latencyLine(&b, "response", r.Response)
	r.textLatencies(&b)
	line(&b, "frames", "%s received, %s sent by the client", count(r.Frames.RX), count(r.Frames.TX))
	side := func(name string, s *Side) {
		text := fmt.Sprintf("%s, busy %.0f %%, bursts of %.1f", plural(s.Workers, "worker"), 100*s.Busy, s.Burst)
		if s.Memory != "" {
			text += ", tables in " + s.Memory
		}
		line(&b, name, "%s", text)
	}
	side("client", &r.Client)
	if r.Server != nil {
		side("server", r.Server)
	}
	line(&b, "drops", "%s", cmp.Or(nonZero(r.Drops), "none"))
	r.textPath(&b)
	r.textDevice(&b)
	r.textReconciled(&b)
	line(&b, "limiter", "%s", r.Limiter)
	r.Host.text(&b)
	if r.Search != nil {
		b.WriteString(r.Search.text())
	}
	writeVerdict(&b, r.Equations, r.Valid, r.InvalidReason)
	_, err := w.Write(b.Bytes())
	return err
}

// writeVerdict lists the sums and says whether all of them close.
func writeVerdict(b *bytes.Buffer, eqs []Equation, valid bool, reason string) {
	b.WriteString("\nsums\n")
	for _, e := range eqs {
		mark, is := "ok   ", "="
		if !e.Holds {
			mark, is = "WRONG", "is not"
		}
		fmt.Fprintf(b, "  %s  %s: %s %s %s\n", mark, e.Name, count(e.Left), is, count(e.Right))
	}
	if valid {
		b.WriteString("\nVALID: all sums close\n")
	} else {
		fmt.Fprintf(b, "\nINVALID: %s\n", reason)
	}
}

// textDevice says what the devices count themselves, if they do.
func (r *Report) textDevice(b *bytes.Buffer) {
	client := nonZero(r.Client.Device)
	if r.Server == nil {
		if client != "" {
			line(b, "device", "%s", client)
		}
		return
	}
	if client != "" {
		line(b, "device", "client: %s", client)
	}
	if server := nonZero(r.Server.Device); server != "" {
		line(b, "device", "server: %s", server)
	}
}

func (r *Report) head(b *bytes.Buffer, kind *scenario) {
	peer := cmp.Or(r.Connect, r.PeerMAC, "own server")
	if kind.raw {
		peer = cmp.Or(r.PeerMAC, "own reflector")
	}
	line(b, "scenario", "%s over %s to %s", r.Scenario, r.Port, peer)
	how := "as fast as possible"
	switch {
	case r.Load != "":
		how = r.Load + " (" + number(r.TargetRate) + "/s in the mean)"
	case r.TargetRate > 0:
		how = number(r.TargetRate) + "/s on schedule"
	}
	places := "in flight"
	if kind.holds {
		places = "at a time"
	}
	text := fmt.Sprintf("%s, %s %s, %s, %s polling", plural(r.Workers, "worker"), count(uint64(r.Concurrency)), places, how, r.Polling)
	if r.Pinned {
		text += ", pinned"
	}
	if kind.setup != nil {
		text += kind.setup(r)
	}
	if r.Cookies != "" {
		text += ", cookies " + r.Cookies
	}
	line(b, "set-up", "%s, seed %d", text, r.Seed)
	if r.Profile != "" {
		line(b, "profile", "%s: %s", r.Profile, r.SYNSignature)
	}
	line(b, "time", "%.3f s sending, %.3f s draining", r.DurationS, r.DrainS)
}

func (r *Report) setupHandshakes() string {
	s := ", close by " + strings.ToUpper(r.Close)
	if r.Close == CloseHold {
		s = ", held to the end"
	}
	if r.FastOpen {
		s += ", Fast Open"
	}
	return s
}

func (r *Report) textHandshakes(b *bytes.Buffer) {
	line(b, "rate", "%s handshakes/s", number(r.Rate.HandshakesPerS))
	r.textHandshakeCounts(b)
}

func (r *Report) textHandshakeCounts(b *bytes.Buffer) {
	h, f := &r.Handshakes, &r.Flows
	line(b, "handshakes", "%s attempted = %s established + %s refused + %s timed out + %s unreachable + %s reset + %s pending",
		count(h.Attempted), count(h.Established), count(h.Refused), count(h.TimedOut), count(h.Unreachable), count(h.Reset), count(h.Pending))
	line(b, "flows", "%s established = %s done + %s aborted + %s reset + %s broken + %s open",
		count(h.Established), count(f.Done), count(f.Aborted), count(f.Reset), count(f.Broken), count(f.Open))
	for _, x := range []struct {
		name string
		n    uint64
		text string
	}{
		{"repeats", r.Retransmissions.SYN, "SYNs retransmitted"},
		{"ports", h.PortPoolExhausted, "times no tuple was free"},
		{"backlog", droppedSYNs(r), "SYNs met a full table of our server and were dropped"},
		{"table", h.TableFull, "times the flow table was full"},
		{"unsent", h.Unsent, "opens behind schedule at the end"},
	} {
		if x.n > 0 {
			line(b, x.name, "%s %s", count(x.n), x.text)
		}
	}
}

func (r *Report) textFlood(b *bytes.Buffer) {
	f := &r.SYNFlood
	line(b, "rate", "%s answers/s to %s SYNs/s", number(r.Rate.AnsweredPerS), number(r.Rate.SYNsPerS))
	line(b, "SYNs", "%s sent = %s answered + %s reset + %s unanswered", count(f.Sent), count(f.Answered), count(f.Reset), count(f.Unanswered))
	if f.Repeated+f.Late+f.Bad+f.Stalls > 0 {
		line(b, "besides", "%s repeated answers, %s late, %s that verify for no SYN, %s stalls", count(f.Repeated), count(f.Late), count(f.Bad), count(f.Stalls))
	}
}

func (r *Report) textEcho(b *bytes.Buffer) {
	e := &r.Echo
	line(b, "rate", "%s frames/s returned of %s frames/s sent", number(r.Rate.ReturnedPerS), number(r.Rate.FramesPerS))
	line(b, "echoes", "%s sent = %s returned + %s lost + %s in flight", count(e.Sent), count(e.Returned), count(e.Lost), count(e.InFlight))
	if e.Reordered+e.Repeated+e.Late+e.Bad+e.Elsewhere+e.Foreign+e.Stalls > 0 {
		line(b, "besides", "%s reordered, %s repeated, %s late, %s changed, %s to another queue, %s foreign frames, %s stalls",
			count(e.Reordered), count(e.Repeated), count(e.Late), count(e.Bad), count(e.Elsewhere), count(e.Foreign), count(e.Stalls))
	}
}

func (r *Report) latencyLine(b *bytes.Buffer, name string, l Latency) {
	if l.Count == 0 {
		return
	}
	d := shortNS
	line(b, name, "min %s, p50 %s, p90 %s, p99 %s, p99.9 %s, max %s, mean %s ± %s", d(l.Min), d(l.P50), d(l.P90), d(l.P99), d(l.P999), d(l.Max),
		d(int64(l.Mean)), d(int64(l.StdDev)))
}

// String is the line of a progress display.
func (p Progress) String() string {
	what := ""
	if p.Draining {
		what = "  draining"
	}
	if p.Trial != "" {
		what += "  " + p.Trial
	}
	return fmt.Sprintf("%6.1fs  %12s/s  done %-14s failed %-9s in flight %-7s p50 %-8s p99 %-8s%s", p.Elapsed.Seconds(), number(p.PerS),
		count(p.Done), count(p.Failed), count(p.InFlight), shortDuration(p.P50), shortDuration(p.P99), what)
}

// nameWidth is that of the column of names, with the space behind it.
const nameWidth = 12

func line(b *bytes.Buffer, name, format string, args ...any) {
	fmt.Fprintf(b, "%-*s %s\n", nameWidth-1, name, fmt.Sprintf(format, args...))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// count groups the digits of n by thousands: 1,234,567.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counts is count for several.
func counts(list []uint64) string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = count(n)
	}
	return strings.Join(out, " + ")
}

// number is count for rates, with a digit or two for small ones.
func number(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return count(uint64(f + 0.5))
}

// shortDuration prints d with three digits.
func shortDuration(d time.Duration) string {
	unit := time.Duration(1)
	for d/1000 >= unit { // 1000*unit may be more than a Duration holds
		unit *= 10
	}
	return d.Round(unit).String()
}

// nonZero lists the entries of m that are not zero, sorted.
func nonZero(m map[string]uint64) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			out = append(out, k+" "+count(m[k]))
		}
	}
	return strings.Join(out, ", ")
}
