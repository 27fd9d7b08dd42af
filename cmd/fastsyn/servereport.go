package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
)

const serveSchema = "fastsyn.serve/v1"

// serveReport are the final counters of serve; docs/report.md describes them.
type serveReport struct {
	Schema        string             `json:"schema"`
	Valid         bool               `json:"valid"`
	InvalidReason string             `json:"invalid_reason"`
	Port          string             `json:"port"`
	Listen        []string           `json:"listen"`
	App           string             `json:"app"`
	Cookies       string             `json:"cookies"`
	Defence       map[string]string  `json:"defence"` // what is switched on beside cookies
	DurationS     float64            `json:"duration_s"`
	Handshakes    accepted           `json:"handshakes"`
	Unproven      unproven           `json:"unproven"`
	Frames        measure.FrameCount `json:"frames"`
	Drops         map[string]uint64  `json:"drops"`
	Device        map[string]uint64  `json:"device"`
	Counters      map[string]uint64  `json:"counters"`
	Streams       map[string]uint64  `json:"streams"`
	Application   map[string]uint64  `json:"application"` // its own
	PerWorker     []uint64           `json:"accepted_per_worker"`
	NotPrinted    uint64             `json:"not_printed"`
	Memory        string             `json:"memory"`
}

// accepted are the passive handshakes: syn_acks + cookies_ok = accepted + reset +
// timed_out + replaced + evicted + overflow + no_room + limited + pending.
type accepted struct {
	SYNs     uint64 `json:"syns"`
	SYNACKs  uint64 `json:"syn_acks"`
	Cookies  uint64 `json:"cookies_sent"`
	OK       uint64 `json:"cookies_ok"`
	Accepted uint64 `json:"accepted"`
	Reset    uint64 `json:"reset"`
	TimedOut uint64 `json:"timed_out"`
	Replaced uint64 `json:"replaced"`
	Evicted  uint64 `json:"evicted"`
	Overflow uint64 `json:"overflow"`
	NoRoom   uint64 `json:"no_room"`
	Limited  uint64 `json:"limited"`
	Pending  uint64 `json:"pending"`
}

// unproven are the bytes of frames from and to peers that had not proved their address.
type unproven struct {
	In  uint64 `json:"bytes_in"`
	Out uint64 `json:"bytes_out"`
}

// fill reads the counters of ep, whose workers have ended.
func (r *serveReport) fill(ep *fastsyn.Endpoint, a app, took time.Duration, notPrinted uint64) {
	r.Schema, r.Valid, r.DurationS, r.NotPrinted = serveSchema, true, took.Seconds(), notPrinted
	r.Drops = map[string]uint64{}
	var port dataplane.Stats
	var streams flow.Counters
	for i, s := range ep.Stats() {
		broken := s.Check()
		r.holds(broken == "", fmt.Sprintf("worker %d: %s", i, broken))
		r.Frames.RX += s.Port.RxFrames
		r.Frames.TX += s.Port.TxFrames
		r.PerWorker = append(r.PerWorker, s.Engine.Accepted)
		r.Memory = s.Memory
		r.Unproven.In += s.UnprovenIn
		r.Unproven.Out += s.UnprovenOut
		port.Add(s.Port)
		streams.Add(&s.Streams)
		for _, m := range []map[string]uint64{s.RxDrops, s.TxDrops, s.SegmentDrops} {
			r.drop(m)
		}
	}
	r.drop(measure.PortDrops(ep.Port(), &port))
	r.Device = measure.DeviceCounters(ep.Port())
	c := engineTotals(ep)
	r.Counters, r.Streams, r.Application = measure.CounterMap(&c), measure.StreamMap(&streams), allCounts(a, len(r.PerWorker))
	r.holds(streams.Opened == c.Accepted, "flows accepted = streams opened")
	if s, ok := a.(appSums); ok {
		broken := s.sums(&streams)
		r.holds(broken == "", broken)
	}
	r.Handshakes = accepted{
		SYNs: c.SynIn, SYNACKs: c.SynAcks, Cookies: c.Cookies, OK: c.CookiesOK, Accepted: c.Accepted, Reset: c.HalfOpenReset,
		TimedOut: c.HalfOpenTimedOut, Replaced: c.HalfOpenReplaced, NoRoom: c.CookieNoRoom,
		Evicted: c.HalfOpenEvicted, Overflow: c.HalfOpenOverflow, Limited: c.CookieLimited, Pending: c.HalfOpen,
	}
}

// holds makes the report invalid if an equation does not close.
func (r *serveReport) holds(closes bool, equation string) {
	if !closes && r.Valid {
		r.Valid, r.InvalidReason = false, equation
	}
}

// drop adds the reasons in m that are not zero.
func (r *serveReport) drop(m map[string]uint64) {
	for name, n := range m {
		if n > 0 {
			r.Drops[name] += n
		}
	}
}

// WriteJSON writes the report, indented.
func (r *serveReport) WriteJSON(w io.Writer) error { return indentJSON(w, r) }

func (r *serveReport) writeText(w io.Writer) error {
	var b bytes.Buffer
	h, c := &r.Handshakes, r.Counters
	fmt.Fprintf(&b, "\n%-11s %.1f s\n", "time", r.DurationS)
	fmt.Fprintf(&b, "%-11s %d = %d SYN-ACKs + %d cookies + %d dropped; %d repeats\n", "SYNs", h.SYNs, h.SYNACKs, h.Cookies, c["syn_dropped"], c["syn_repeats"])
	fmt.Fprintf(&b, "%-11s %d SYN-ACKs + %d good cookies = %d accepted + %d reset + %d timed out + %d replaced + %d evicted + %d overflowed + %d without room + %d above the limit + %d pending\n",
		"handshakes", h.SYNACKs, h.OK, h.Accepted, h.Reset, h.TimedOut, h.Replaced, h.Evicted, h.Overflow, h.NoRoom, h.Limited, h.Pending)
	fmt.Fprintf(&b, "%-11s %d accepted = %d done + %d reset by the peer + %d aborted + %d broken + %d open\n",
		"flows", h.Accepted, c["done"], c["reset"], c["aborted"], c["broken"], c["established_now"])
	if c["fast_open_accepted"]+c["fast_open_requests"]+c["fast_open_bad_cookies"]+c["fast_open_full"] > 0 {
		fmt.Fprintf(&b, "%-11s %d accepted = %d confirmed + %d failed + %d pending; %d cookies on request, %d for wrong ones, %d without room\n", "fast open",
			c["fast_open_accepted"], c["fast_open_confirmed"], c["fast_open_failed"], c["fast_open_pending_now"],
			c["fast_open_requests"], c["fast_open_bad_cookies"], c["fast_open_full"])
	}
	if len(r.Defence) > 0 {
		fmt.Fprintf(&b, "%-11s %s\n", "defence", list(r.Defence))
	}
	fmt.Fprintf(&b, "%-11s %d bytes answered by %d, before the peer had proved its address; cookie mode entered %d times\n",
		"unproven", r.Unproven.In, r.Unproven.Out, c["cookie_mode_entered"])
	fmt.Fprintf(&b, "%-11s %d received, %d sent; %d bytes of text\n", "frames", r.Frames.RX, r.Frames.TX, c["payload_bytes"]+r.Streams["bytes_in"])
	r.streamText(&b)
	fmt.Fprintf(&b, "%-11s %s\n", "drops", cmp.Or(list(r.Drops), "none"))
	if s := list(r.Device); s != "" {
		fmt.Fprintf(&b, "%-11s %s\n", "device", s)
	}
	if r.NotPrinted > 0 {
		fmt.Fprintf(&b, "%-11s %d flows got no line: the reader was too slow\n", "print", r.NotPrinted)
	}
	if r.Valid {
		b.WriteString("VALID: all sums close\n")
	} else {
		fmt.Fprintf(&b, "INVALID: %s\n", r.InvalidReason)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// streamText says what became of the text of streams.
func (r *serveReport) streamText(b *bytes.Buffer) {
	s := r.Streams
	if s["opened"] == 0 {
		return
	}
	fmt.Fprintf(b, "%-11s %d opened = %d ended + %d open; at most %d of %d blocks of text in use\n",
		"streams", s["opened"], s["ended"], s["open_now"], s["blocks_high"], s["blocks"])
	fmt.Fprintf(b, "%-11s %d bytes in %d segments = %d in order + %d filled a hole + %d ahead + %d duplicate + %d without room + %d outside the window + %d unread\n",
		"text in", s["bytes_in"], s["text_segments_in"], s["in_order"], s["filled"], s["ahead"], s["duplicate"], s["no_room"], s["outside"], s["unread"])
	fmt.Fprintf(b, "%-11s %d bytes; %d segments = %d ACKs + %d with text, of which %d repeats; %d timeouts, %d tail probes, %d recoveries\n",
		"text out", s["bytes_out"], s["segments_out"], s["acks_out"], s["text_segments_out"], s["resent"], s["timeouts"], s["tail_probes"], s["recoveries"])
	if n := s["write_no_memory"] + s["refused_memory"] + s["no_room"]; n > 0 {
		fmt.Fprintf(b, "%-11s text memory was short: %d writes took less, %d flows refused, %d segments dropped; see --text-memory\n",
			"memory", s["write_no_memory"], s["refused_memory"], s["no_room"])
	}
	if a := nonZero(r.Application); len(a) > 0 {
		fmt.Fprintf(b, "%-11s %s\n", "app", list(a))
	}
}

// nonZero are the entries of m that are not zero.
func nonZero(m map[string]uint64) map[string]uint64 {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(_ string, n uint64) bool { return n == 0 })
	return m
}

// list names the entries of m, sorted.
func list[V any](m map[string]V) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%s %v", name, m[name]))
	}
	return strings.Join(out, ", ")
}
