package handshake

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// stamps says what the Timestamps option does in a cell of the matrix.
type stamps string

const (
	noStamps  stamps = "none"     // not negotiated (yet), and not on the segment
	fresh     stamps = "fresh"    // TSval above TS.Recent, TSecr as we sent it
	old       stamps = "old"      // TSval below TS.Recent
	missing   stamps = "missing"  // negotiated, but not on the segment
	wrongEcho stamps = "bad echo" // TSval fresh, TSecr below all we sent
)

// transitionState is a block of the matrix: a state, how to get there and
// RCV.NXT, SND.UNA and SND.NXT in it, counted from the ISNs.
type transitionState struct {
	name, script     string
	state            State
	rcvNxt, una, nxt wire.Seq
	stamps           []stamps
	active           bool // our side opened
	released         bool
	acked            bool // something behind our SYN was acknowledged
	listen           bool
}

func transitionStates() []transitionState {
	closed := []stamps{noStamps, fresh}
	opening := []stamps{noStamps, fresh, wrongEcho}
	half := []stamps{noStamps, missing, fresh, old, wrongEcho}
	open := []stamps{noStamps, missing, fresh, old}
	return []transitionState{
		{name: "CLOSED", state: Closed, nxt: 1, rcvNxt: 1, stamps: closed},
		{name: "LISTEN", state: Listen, nxt: 1, rcvNxt: 1, stamps: closed, listen: true},
		{name: "SYN-SENT", state: SynSent, script: connecting, nxt: 1, rcvNxt: 1, stamps: opening, active: true},
		{name: "SYN-RECEIVED, passive", state: SynRcvd, script: halfOpen, rcvNxt: 1, nxt: 1, stamps: half, listen: true},
		{name: "SYN-RECEIVED, active", state: SynRcvd, script: crossed, rcvNxt: 1, nxt: 1, stamps: half, active: true},
		{name: "ESTABLISHED", state: Established, script: opened + "send 10 | PA\n", rcvNxt: 1, una: 1, nxt: 11, stamps: open, listen: true},
		{name: "FIN-WAIT-1", state: FinWait1, script: opened + toFinWait1, rcvNxt: 1, una: 1, nxt: 2, stamps: open, listen: true},
		{name: "FIN-WAIT-1, released", state: FinWait1, script: opened + toOrphan1, rcvNxt: 1, una: 1, nxt: 2, stamps: open, listen: true, released: true},
		{name: "FIN-WAIT-2", state: FinWait2, script: opened + toFinWait2, rcvNxt: 1, una: 2, nxt: 2, stamps: open, listen: true, acked: true},
		{name: "FIN-WAIT-2, released", state: FinWait2, script: opened + toOrphan2, rcvNxt: 1, una: 2, nxt: 2, stamps: open, listen: true, acked: true, released: true},
		{name: "CLOSE-WAIT", state: CloseWait, script: opened + toCloseWait, rcvNxt: 2, una: 1, nxt: 1, stamps: open, listen: true},
		{name: "CLOSING", state: Closing, script: opened + toClosing, rcvNxt: 2, una: 1, nxt: 2, stamps: open, listen: true},
		{name: "LAST-ACK", state: LastAck, script: opened + toLastAck, rcvNxt: 2, una: 1, nxt: 2, stamps: open, listen: true},
		{name: "TIME-WAIT", state: TimeWait, script: opened + toTimeWait, rcvNxt: 2, una: 2, nxt: 2, stamps: open, listen: true, acked: true},
		{name: "TIME-WAIT, nobody listens", state: TimeWait, script: opened + toTimeWait, rcvNxt: 2, una: 2, nxt: 2, stamps: open, acked: true},
	}
}

// cell is one segment in one state.
type cell struct {
	st     *transitionState
	stamps stamps
	flags  wire.Flags
	text   uint32
	d      int32  // SEG.SEQ - RCV.NXT
	wnd    int32  // RCV.WND
	ack    string // where SEG.ACK lies
}

func (c *cell) has(f wire.Flags) bool { return c.flags&f != 0 }

// acceptable is the table of §3.10.7.4 for a window that is open.
func (c *cell) acceptable() bool {
	n := int32(c.text)
	if c.has(wire.FlagFIN) {
		n++
	}
	first, last := c.d, c.d+max(n-1, 0)
	return 0 <= first && first < c.wnd || 0 <= last && last < c.wnd
}

// verdict is what becomes of a cell, with numbers relative to the state before.
type verdict struct {
	state, answer, events string
	rule                  string // of CONFORMANCE
}

// The matrix: state × flags × where SEG.SEQ lies × where SEG.ACK lies × timestamps ×
// whether anybody listens. Each cell is compared with what the rules demand, as
// read by demanded. The golden file has the cells with their rules, those that
// agree in one line, so that a change of either shows up as a diff. Run with
// -update to accept it.
func TestTransitions(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("# state, timestamps\n#   flags (P: 10 bytes of text)\n#     SEG.SEQ | SEG.ACK -> state | answer | outcome | events | rule\n" +
		"# Whether anybody listens matters to CLOSED and TIME-WAIT alone; a passive SYN-RECEIVED is CLOSED without a listener.\n")
	for _, st := range transitionStates() {
		var blocks []string
		var titles [][]string
		for _, ts := range st.stamps {
			block := transitionBlock(t, &st, ts)
			if i := slices.Index(blocks, block); i >= 0 {
				titles[i] = append(titles[i], string(ts))
				continue
			}
			blocks = append(blocks, block)
			titles = append(titles, []string{string(ts)})
		}
		for i := range blocks {
			fmt.Fprintf(&b, "\n%s, timestamps %s\n%s", st.name, strings.Join(titles[i], " or "), blocks[i])
		}
	}
	path := filepath.Join("testdata", "transitions.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if !bytes.Equal(want, b.Bytes()) {
		a, c := strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")
		for i := range a {
			if i >= len(c) || a[i] != c[i] {
				require.Equal(t, a[i], c[min(i, len(c)-1)], "line %d; go test -run TestTransitions -update accepts the change", i+1)
			}
		}
		require.Len(t, c, len(a))
	}
}

// transitionBlock plays one state with one kind of timestamps and renders it.
func transitionBlock(t *testing.T, st *transitionState, ts stamps) string {
	t.Helper()
	const s, f, r, a, p = wire.FlagSYN, wire.FlagFIN, wire.FlagRST, wire.FlagACK, wire.FlagPSH
	m := newMatrix(t, st, ts)
	var out strings.Builder
	last, names := "", []string{}
	flush := func() {
		if len(names) > 0 {
			fmt.Fprintf(&out, "  %s\n%s", strings.Join(names, " "), last)
		}
		names = names[:0]
	}
	for _, flags := range []wire.Flags{
		0, p, f, f | p, s, s | p, s | f, s | f | p, a, a | p, f | a, f | a | p, s | a, s | a | p, s | f | a, s | f | a | p,
		r, r | p, f | r, s | r, r | a, s | f | r | p | a,
	} {
		text := m.flags(flags)
		if text != last {
			flush()
			last = text
		}
		names = append(names, flagString(flags))
	}
	flush()
	return out.String()
}

// matrix runs the cells of a block on one engine, each on a tuple of its own.
type matrix struct {
	k      *kit
	st     *transitionState
	ts     stamps
	script string
}

func newMatrix(t *testing.T, st *transitionState, ts stamps) *matrix {
	t.Helper()
	m := &matrix{k: newKit(t, Config{}), st: st, ts: ts, script: st.script}
	if st.active {
		m.k.tup.LocalPort = 5000
	}
	m.k.tup.RemotePort = 1000
	if ts == noStamps || st.state == Closed || st.state == Listen || st.state == SynSent {
		return m
	}
	// The same script with timestamps on every segment of the peer.
	var lines []string
	for line := range strings.Lines(st.script) {
		if in, rest, ok := strings.Cut(line, "|"); ok && strings.ContainsAny(in[:1], "SFPA") {
			line = in + "ts=1000 |" + rest
		}
		lines = append(lines, line)
	}
	m.script = strings.Join(lines, "")
	return m
}

// flags renders all cells with these flags, those with the same verdict together.
func (m *matrix) flags(flags wire.Flags) string {
	seqs := []string{"IRS", "far before", "before", "last", "exact", "inside", "end", "edge", "outside"}
	acks := []string{"-"}
	if flags&wire.FlagACK != 0 {
		acks = []string{"old", "before", "una", "nxt", "after"}
		if m.st.una == m.st.nxt {
			acks = []string{"old", "before", "nxt", "after"}
		}
	}
	var order []string
	where := map[string]map[string][]string{} // verdict, ack, seqs
	for _, ack := range acks {
		for _, seq := range seqs {
			if seq == "last" && m.st.rcvNxt == 1 {
				continue // that is IRS
			}
			v := m.cell(flags, seq, ack)
			if where[v] == nil {
				where[v] = map[string][]string{}
				order = append(order, v)
			}
			where[v][ack] = append(where[v][ack], seq)
		}
	}
	var out strings.Builder
	for _, v := range order {
		for _, ack := range acks { // acks with the same seqs share a line
			list := where[v][ack]
			if list == nil {
				continue
			}
			same := slices.DeleteFunc(slices.Sorted(maps.Keys(where[v])), func(o string) bool { return !slices.Equal(where[v][o], list) })
			slices.SortFunc(same, func(a, b string) int { return slices.Index(acks, a) - slices.Index(acks, b) })
			for _, o := range same {
				delete(where[v], o)
			}
			fmt.Fprintf(&out, "    %-9s | %-9s -> %s\n", places(list, seqs, m.st.rcvNxt), places(same, acks, 0), v)
		}
	}
	return out.String()
}

// places joins the names, or says so if they are all there are.
func places(list, all []string, rcvNxt wire.Seq) string {
	n := len(all)
	if rcvNxt == 1 {
		n--
	}
	if len(list) == n && len(list) > 1 {
		return "any"
	}
	return strings.Join(list, ", ")
}

// cell plays one cell, with and without somebody who listens where that must not
// matter, and compares it with the rules.
func (m *matrix) cell(flags wire.Flags, seq, ack string) string {
	m.k.tb.Helper()
	c := cell{st: m.st, stamps: m.ts, flags: flags, ack: ack}
	if flags&wire.FlagPSH != 0 {
		c.text = 10
	}
	got, outcome := m.play(&c, seq, m.st.listen)
	want := c.demanded()
	got.rule = want.rule
	require.Equal(m.k.tb, want, got, "%s, timestamps %s: %s seq %s ack %s (SEG.SEQ-RCV.NXT %d, RCV.WND %d)",
		m.st.name, m.ts, flagString(flags), seq, ack, c.d, c.wnd)
	if m.st.state != Closed && m.st.state != Listen && m.st.state != TimeWait {
		other, _ := m.play(&c, seq, !m.st.listen)
		if m.st.state == SynRcvd && !m.st.active { // without a listener it is not there any more (LSN-023)
			d := c
			d.st = &transitionState{state: Closed}
			want = d.demanded()
		}
		other.rule = want.rule
		require.Equal(m.k.tb, want, other, "%s: %s seq %s ack %s, and a listener (or none)", m.st.name, flagString(flags), seq, ack)
	}
	return fmt.Sprintf("%s | %s | %s | %s | %s", got.state, got.answer, outcome, got.events, got.rule)
}

// play leads a new tuple into the state and injects the segment.
func (m *matrix) play(c *cell, seq string, listen bool) (v verdict, outcome Outcome) {
	k, st := m.k, m.st
	k.tb.Helper()
	k.tup.RemotePort++
	k.iss, k.tsFirst, k.tsLast, k.flow = 0, 0, 0, FlowID{}
	m.listen(true) // the way there may need it
	k.play(m.script)
	m.listen(listen)
	k.advance(time.Microsecond) // for the next ISS
	c.wnd = 65535               // of SYN-RECEIVED it is what the SYN-ACK said
	idx := k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup)
	if st.state == SynRcvd && idx != 0 {
		c.wnd = int32(k.e.synWindowOf(&k.e.recs[idx]))
	}
	s := wire.Segment{Tuple: k.tup, Flags: c.flags, Win: 1000, Len: c.text}
	c.d = map[string]int32{
		"IRS": -int32(st.rcvNxt), "far before": -100_000, "before": -3, "last": -1, "exact": 0, "inside": 100,
		"end": c.wnd - 1, "edge": c.wnd, "outside": 200_000,
	}[seq]
	s.Seq = k.irs + st.rcvNxt + wire.Seq(c.d)
	if c.has(wire.FlagACK) {
		s.Ack = k.iss + map[string]wire.Seq{"old": st.una - 1<<20, "before": st.una - 1, "una": st.una, "nxt": st.nxt, "after": st.nxt + 1}[c.ack]
	}
	if c.stamps != noStamps && c.stamps != missing {
		s.Opt.Has = wire.HasTimestamps
		s.Opt.TSVal, s.Opt.TSEcr = 2000, k.tsLast
		switch c.stamps {
		case old:
			s.Opt.TSVal = 500
		case wrongEcho:
			s.Opt.TSEcr = k.tsFirst - 1
		case fresh, noStamps, missing:
		}
	}
	before := k.e.Counters().Outcome
	iss := k.iss
	out := k.inject([]wire.Segment{s})
	after := k.e.Counters().Outcome
	for o := range after {
		if after[o] != before[o] {
			outcome = Outcome(o)
		}
	}
	var answers []string
	for i := range out {
		answers = append(answers, st.relative(&out[i], &s, k.irs, iss))
	}
	v = verdict{state: k.state(), answer: strings.Join(answers, " & "), events: k.takeEvents()}
	if idx = k.e.lookup(k.e.sumTuple(&k.tup).Hash, &k.tup); idx != 0 {
		k.e.Abort(k.e.id(idx))
		k.drain()
		k.e.EndBurst()
	}
	return v, outcome
}

// listen sees to it that somebody listens on the port, or nobody.
func (m *matrix) listen(on bool) {
	var err error
	if on {
		err = m.k.e.Listen(wire.Addr{}, m.k.tup.LocalPort, 7, false)
	} else {
		err = m.k.e.Unlisten(wire.Addr{}, m.k.tup.LocalPort)
	}
	if !errors.Is(err, ErrListenerExists) && !errors.Is(err, ErrNoListener) {
		require.NoError(m.k.tb, err)
	}
}

// relative renders an answer to in by the variables it was given.
func (st *transitionState) relative(s, in *wire.Segment, irs, iss wire.Seq) string {
	if s.Flags == 0 && s.Path == 1 {
		return "silent"
	}
	text := flagString(s.Flags)
	switch {
	case s.Flags&wire.FlagSYN != 0 && s.Seq == iss && st.state > Listen:
		text += " seq=ISS"
	case s.Flags&wire.FlagSYN != 0:
		text += " seq=new ISS"
	case s.Flags == wire.FlagRST && s.Seq == in.Ack:
		text += " seq=SEG.ACK"
	case s.Flags == wire.FlagRST|wire.FlagACK && s.Seq == 0:
		text += " seq=0"
	default:
		text += relativeTo("SND.NXT", " seq=", s.Seq-iss-st.nxt)
	}
	switch {
	case s.Flags&wire.FlagACK == 0:
	case s.Flags&wire.FlagSYN != 0:
		text += relativeTo("SEG.SEQ", " ack=", s.Ack-in.Seq)
	case s.Flags&wire.FlagRST != 0:
		text += relativeTo("SEG.SEQ+SEG.LEN", " ack=", s.Ack-in.Seq-wire.Seq(in.SegLen()))
	case st.state == SynSent:
		text += relativeTo("SEG.SEQ", " ack=", s.Ack-in.Seq)
	default:
		text += relativeTo("RCV.NXT", " ack=", s.Ack-irs-st.rcvNxt)
	}
	return text
}

func relativeTo(name, field string, d wire.Seq) string {
	if d == 0 {
		return field + name
	}
	return fmt.Sprintf("%s%s%+d", field, name, int32(d))
}
