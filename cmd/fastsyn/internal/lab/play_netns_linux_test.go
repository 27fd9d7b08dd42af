package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

var update = flag.Bool("update", false, "write the golden ladders")

// golden are the scenarios whose first ladder is compared, but for numbers and times.
var golden = map[string]bool{"open": true, "accept": true, "refused": true, "simultaneous-open": true}

// Every scenario shows what it says, and its captures are what Wireshark reads.
func TestScenarios(t *testing.T) {
	dptest.Need(t, "netns", "ss", "tshark")
	opt := Options{RTT: 40 * time.Millisecond, InitialRTO: 100 * time.Millisecond}
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			opt.Pcap = t.TempDir()
			r := Play(t.Context(), s.Name, opt)
			var text bytes.Buffer
			require.NoError(t, r.WriteText(&text, Style{}))
			require.True(t, r.OK, text.String())
			require.NotEmpty(t, r.Panels)
			require.Greater(t, len(r.Checks), 3*len(r.Panels))
			for _, line := range strings.Split(text.String(), "\n") {
				require.LessOrEqual(t, utf8.RuneCountInString(line), ladder.Width, line)
			}
			for _, want := range []string{s.Title, s.Section, "fastsyn 10.71.0.1:", s.Name + ": ok"} {
				require.Contains(t, text.String(), want)
			}
			for i, q := range r.Panels {
				wellFormed(t, q)
				require.NotEmpty(t, q.Segments)
				require.GreaterOrEqual(t, len(q.Trace), len(q.Segments))
				for _, l := range q.Trace {
					require.NotEmpty(t, l.Remark, l.Text)
				}
				if i == 0 && golden[s.Name] {
					compareLadder(t, s.Name, q.diagram)
				}
			}
			b, err := json.Marshal(r)
			require.NoError(t, err)
			var back Result
			require.NoError(t, json.Unmarshal(b, &back))
			require.Len(t, back.Panels, len(r.Panels))
			require.Equal(t, r.Panels[0].Segments, back.Panels[0].Segments)
		})
	}
}

// wellFormed has tshark look at a capture: all frames, nothing malformed, all checksums right.
func wellFormed(t *testing.T, q Panel) {
	t.Helper()
	tshark := func(filter string) []string {
		out, err := exec.Command("tshark", "-r", q.Pcap, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", filter,
			"-T", "fields", "-e", "frame.number").Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	require.Len(t, tshark("tcp"), len(q.frames))
	require.Empty(t, tshark(`_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0`))
}

// compareLadder compares a diagram in which times and numbers are those of a calm day.
func compareLadder(t *testing.T, name string, d ladder.Diagram) {
	t.Helper()
	got := normal(d).Render(Style{})
	file := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run with -update if that is how it should be")
}

// normal is a diagram with times by position, C = 1000, S = 2000, and timestamps without digits.
func normal(d ladder.Diagram) *ladder.Diagram {
	var c, s uint32
	for _, it := range d.Items {
		if it.Segment != nil && it.Segment.Flags&wire.FlagSYN != 0 {
			if it.Segment.FromServer {
				s = uint32(it.Segment.Seq)
			} else {
				c = uint32(it.Segment.Seq)
			}
		}
	}
	n := ladder.Diagram{Client: d.Client, Server: d.Server}
	var crossing bool
	for i, it := range d.Items {
		at := time.Duration(10*i) * time.Millisecond
		if it.Segment == nil {
			it.At = at
			n.Items = append(n.Items, it)
			continue
		}
		g := *it.Segment
		var meets bool
		if i+1 < len(d.Items) && !crossing {
			meets = g.Crosses(d.Items[i+1].Segment)
		}
		switch {
		case meets: // which of the two left first is chance
			g.Sent, g.Received = at, at+15*time.Millisecond
		case crossing:
			g.Sent, g.Received = at-10*time.Millisecond, at+5*time.Millisecond
		default:
			g.Sent, g.Received = at, at+5*time.Millisecond
		}
		crossing = meets
		own, peer, ownIs, peerIs := c, s, uint32(1000), uint32(2000)
		if g.FromServer {
			own, peer, ownIs, peerIs = s, c, 2000, 1000
		}
		if g.Seq != 0 {
			g.Seq += wire.Seq(ownIs - own)
		}
		g.Ack += wire.Seq(peerIs - peer)
		g.Options = nil
		for _, o := range it.Segment.Options {
			switch { // windows and shifts follow from the memory of the machine
			case strings.HasPrefix(o, "TS "):
				o = "TS VAL/ECR"
			case strings.HasPrefix(o, "wscale "):
				o = "wscale N"
			}
			g.Options = append(g.Options, o)
		}
		g.SACK, g.Window = nil, 65535
		n.Items = append(n.Items, ladder.Item{Segment: &g})
	}
	return &n
}

// What is not as it should be is found.
func TestChecksFail(t *testing.T) {
	dptest.Need(t, "netns", "ss")
	handshake := func(w *world, a *app) {
		l := w.listen(8)
		w.connect(a, "")
		w.settle(ladder.Established, ladder.Established)
		w.accept(l)
	}
	failed := func(p *play) (what []string) {
		require.NoError(t, p.err)
		for _, c := range p.r.Checks {
			if !c.OK {
				what = append(what, c.What)
			}
		}
		return what
	}
	p := &play{ctx: t.Context(), r: &Result{Name: "open"}}
	p.world(setup{}, func(w *world) {
		handshake(w, &app{})
		p.panel(w, w.draw(), "", "", "SYN> RST-ACK<", 0)
	})
	require.Equal(t, []string{"the segments are"}, failed(p))
	require.True(t, p.busy, "and is played again")

	p = &play{ctx: t.Context(), r: &Result{Name: "open"}}
	p.world(setup{}, func(w *world) {
		handshake(w, &app{})
		w.seen = append(w.seen, observation{time.Now(), ladder.Established, ladder.SynReceived})
		pic := w.draw()
		pic.segments()[1].Ack++
		p.panel(w, pic, "", "", plain, 0)
		p.took("too early", time.Millisecond, time.Second)
		p.took("too late", 2*time.Second, time.Second)
	})
	what := failed(p)
	require.Len(t, what, 4, what)
	require.Contains(t, what[0], "number plus one")
	require.Contains(t, what[1], "when they were asked")

	p = &play{ctx: t.Context(), r: &Result{Name: "open"}}
	p.world(setup{}, func(w *world) {
		handshake(w, &app{})
		pic := w.draw()
		pic.Items = pic.Items[:2] // as if there had been no last ACK
		p.panel(w, pic, "", "", "", 0)
	})
	what = failed(p)
	require.Len(t, what, 2, what)
	require.Contains(t, what[1], "the last states")

	// What never comes is an error, and the lab is removed all the same.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var ns string
	p = &play{ctx: ctx, r: &Result{Name: "open"}}
	p.world(setup{}, func(w *world) {
		ns = w.lab.NS
		w.segments(1)
	})
	require.ErrorIs(t, p.err, context.DeadlineExceeded)
	require.NoFileExists(t, filepath.Join("/run/netns", ns))
	// Also while a system call waits.
	p = &play{ctx: ctx, r: &Result{Name: "open"}}
	p.world(setup{}, func(w *world) { w.accept(w.listen(1)) })
	require.Error(t, p.err)

	r := Play(t.Context(), "no-such", Options{})
	require.False(t, r.OK)
	require.NotEmpty(t, r.Error)
}

// The states that a diagram goes through are those of a kernel on either side, also beyond the
// handshake: it closes, and one end stays in TIME-WAIT.
func TestStatesOfAClose(t *testing.T) {
	dptest.Need(t, "netns", "ss")
	p := &play{ctx: t.Context(), r: &Result{Name: "close"}}
	p.world(setup{}, func(w *world) {
		a, l := &app{}, w.listen(8)
		w.connect(a, "")
		w.settle(ladder.Established, ladder.Established)
		s := w.accept(l)
		require.NoError(t, w.err)
		require.NoError(t, unix.Shutdown(s.fd, unix.SHUT_WR))
		w.settle(ladder.Closed, ladder.TimeWait)
		pic := w.draw()
		p.panel(w, pic, "", "", "", -1)
		require.Equal(t, "SYN> SYN-ACK< ACK> FIN-ACK< FIN-ACK> ACK<", pic.shape())
	})
	require.NoError(t, p.err)
	for _, c := range p.r.Checks {
		require.True(t, c.OK, c)
	}
}
