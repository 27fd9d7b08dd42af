package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// plays bounds how often a scenario is played because the machine was too busy for it.
const plays = 4

// play is a scenario while it is played.
type play struct {
	ctx context.Context
	opt Options
	r   *Result
	err error
	w   *world // the present one
	// panels counts those up to the one that checks are about now; 0: the next.
	panels int
	// shape is that of the handshakes of offers; empty: plain.
	shape string
	busy  bool // something came late that the machine is to blame for
}

// Play plays a scenario and cleans up. A result that is not OK says why.
func Play(ctx context.Context, name string, opt Options) Result {
	s, ok := find(name)
	if !ok {
		return Result{Name: name, Error: "no such scenario"}
	}
	begin := time.Now()
	var r Result
	for n := 1; n <= plays; n++ {
		r = Result{Name: s.Name, Title: s.Title, Section: s.Section, Text: s.Text, Plays: n, Panels: []Panel{}, Checks: []Check{}}
		p := &play{ctx: ctx, opt: opt, r: &r}
		s.play(p)
		r.OK = p.err == nil
		if p.err != nil {
			r.Error = p.err.Error()
		}
		for _, c := range r.Checks {
			r.OK = r.OK && c.OK
		}
		// What did not come at all is waited for once more: it takes long to be sure.
		if ctx.Err() != nil || p.err != nil && n > 1 || p.err == nil && !p.busy {
			break
		}
	}
	if r.OK && opt.Pcap != "" {
		if err := r.savePcaps(opt.Pcap); err != nil {
			r.OK, r.Error = false, err.Error()
		}
	}
	r.Seconds = time.Since(begin).Seconds()
	return r
}

// world makes a world for one panel and removes it after f, unless the play has failed.
func (p *play) world(s setup, f func(w *world)) {
	if p.err != nil {
		return
	}
	w, panels, checks := newWorld(p.ctx, s), len(p.r.Panels), len(p.r.Checks)
	p.w, p.panels = w, 0
	if w.err == nil {
		f(w)
	}
	for i := range p.r.Checks[checks:] { // those from before the first panel are about it
		if c := &p.r.Checks[checks+i]; c.Panel == 0 && len(p.r.Panels) > panels {
			c.Panel = panels + 1
		}
	}
	p.err = errors.Join(w.err, w.close())
}

// together plays parts at the same time, each with worlds of its own, and puts what they show one
// behind the other.
func (p *play) together(parts ...func(*play)) {
	subs := make([]play, len(parts))
	var all sync.WaitGroup
	for i, f := range parts {
		subs[i] = play{ctx: p.ctx, opt: p.opt, r: &Result{Name: p.r.Name}}
		all.Go(func() { f(&subs[i]) })
	}
	all.Wait()
	for i := range subs {
		s := &subs[i]
		for _, c := range s.r.Checks {
			if c.Panel > 0 {
				c.Panel += len(p.r.Panels)
			}
			p.r.Checks = append(p.r.Checks, c)
		}
		p.r.Panels = append(p.r.Panels, s.r.Panels...)
		p.err = errors.Join(p.err, s.err)
		p.busy = p.busy || s.busy
	}
}

// check notes whether something is as it has to be; the format is for what was found.
func (p *play) check(ok bool, what, got string, args ...any) {
	if p.w.err != nil {
		return // what follows from an error says nothing
	}
	p.r.Checks = append(p.r.Checks, Check{OK: ok, Panel: p.panels, What: what, Got: fmt.Sprintf(got, args...)})
}

// took checks a time that has a lower bound, and an upper one unless the machine is busy. Both ends
// count in milliseconds, and the timers of Linux are late by up to an eighth.
func (p *play) took(what string, got, want time.Duration) {
	const early, late = 3 * time.Millisecond, 100 * time.Millisecond
	ok := got >= want-early && got <= want+max(late, want/8)
	p.busy = p.busy || !ok // also what came early did so after something that was late
	p.check(ok, what, "%.1f ms, at least %.0f ms", milliseconds(got), milliseconds(want))
}

// equal checks a value.
func equal[T comparable](p *play, what string, got, want T) {
	text := fmt.Sprint(got)
	if got != want {
		text = fmt.Sprintf("%v, want %v", got, want)
	}
	p.check(got == want, what, "%s", text)
}

// panel finishes the picture of a world's connection and shows it. Checked are the shape of the
// exchange, its numbers, and the states that were observed against those that follow from the
// segments. Again is how many segments are sent again when the machine is not busy,
// -1 if that says nothing.
func (p *play) panel(w *world, pic *picture, title, text, shape string, again int) *Panel {
	p.panels = len(p.r.Panels) + 1
	client, server := pic.Track()
	if w.err != nil {
		return &Panel{}
	}
	if shape != "" {
		equal(p, "the segments are", pic.shape(), shape)
		p.busy = p.busy || pic.shape() != shape
	}
	if n := pic.repeated(); again >= 0 && n != again {
		p.busy = true
		p.check(false, fmt.Sprintf("%d segments are sent again", again), "%d are", n)
	}
	p.arithmetic(pic)
	p.observed(w, pic)
	end := w.states()
	if w.fastIsServer {
		end.fast, end.kernel = end.kernel, end.fast
	}
	found := fmt.Sprintf("%s and %s", client, server)
	ok := end.fast == client && (end.kernel == server || server == "")
	switch {
	case !ok:
		found = fmt.Sprintf("client %s, server %s; the diagram ends with %s and %s", end.fast, end.kernel, client, server)
	case server == "":
		found = client
	}
	p.check(ok, "the last states of the diagram are those of both ends", "%s", found)
	q := Panel{
		Title: title, Text: text, Client: pic.Client.Name + " " + pic.Client.Addr, Server: pic.Server.Name + " " + pic.Server.Addr,
		Segments: segments(&pic.Diagram), Trace: pic.traceLines(), Facts: []Fact{}, diagram: pic.Diagram,
	}
	for _, d := range pic.frames {
		if !d.lost || d.out {
			q.frames = append(q.frames, d.frame)
		}
	}
	p.r.Panels = append(p.r.Panels, q)
	return &p.r.Panels[len(p.r.Panels)-1]
}

// observed compares the states that both ends reported with those that follow from the segments.
func (p *play) observed(w *world, pic *picture) {
	if len(w.seen) == 0 {
		return
	}
	var wrong []string
	for _, o := range w.seen {
		client, server := pic.StateAt(o.at.Sub(pic.begin))
		fast, kernel := client, server
		if w.fastIsServer {
			fast, kernel = server, client
		}
		if client == "" || server == "" { // nobody is there to be asked
			continue
		}
		if o.fast != fast || o.kernel != kernel {
			at := o.at.Sub(pic.begin)
			wrong = append(wrong, fmt.Sprintf("at %.3f ms fastsyn is in %s and Linux in %s, the diagram has %s and %s", milliseconds(at), o.fast, o.kernel, fast, kernel))
		}
	}
	p.check(wrong == nil, fmt.Sprintf("both ends were in the states of the diagram when they were asked (%d times)", len(w.seen)), "%s", strings.Join(wrong, "; "))
	w.seen = nil
}

// arithmetic checks that what answers a SYN acknowledges its number plus one, and the text that
// came with it if any.
func (p *play) arithmetic(pic *picture) {
	var syn [2]*ladder.Segment // of client and server
	n, bad := 0, ""
	for _, s := range pic.segments() {
		own, peer := index(s.FromServer), index(!s.FromServer)
		if e := syn[peer]; e != nil && s.Flags&wire.FlagACK != 0 {
			n++
			if rest := s.Ack - e.Seq - 1; int32(rest) < 0 || s.Flags&wire.FlagSYN != 0 && rest != 0 && int(rest) != e.Len {
				bad = fmt.Sprintf("%s acknowledges %d after a SYN with number %d and %d bytes", s.Name(), s.Ack, e.Seq, e.Len)
			}
		}
		if s.Flags&wire.FlagSYN != 0 {
			syn[own] = s
		}
	}
	if n > 0 {
		p.check(bad == "", "what acknowledges a SYN has its number plus one", "%s", bad)
	}
}

// describe adds what both ends say of a connection.
func (q *Panel) describe(i fastsyn.Info, ss string) {
	q.Facts = append(q.Facts, Fact{"fastsyn", infoText(&i)}, Fact{"ss", ssText(ss)})
}

func infoText(i *fastsyn.Info) string {
	s := fmt.Sprintf("ESTABLISHED mss %d", i.MSS)
	if i.WScale {
		s += fmt.Sprintf(" wscale %d,%d", i.SndShift, i.RcvShift)
	}
	for _, o := range []struct {
		on   bool
		name string
	}{{i.SACK, " sack"}, {i.Timestamps, " ts"}, {i.ECN, " ecn"}, {i.FastOpen, " fast open"}, {i.Cookie, " by cookie"}, {i.Retrans, " after retransmission"}} {
		if o.on {
			s += o.name
		}
	}
	if i.RTT > 0 {
		s += fmt.Sprintf(" rtt %v", i.RTT.Round(time.Microsecond))
	}
	return s
}

// ssText is the part of a line of ss that is about the handshake.
func ssText(ss string) string {
	words := strings.Fields(ss)
	var out []string
	for i, w := range words {
		name, _, _ := strings.Cut(w, ":")
		switch {
		case i == 0:
			out = append(out, w)
		case w == "ts" || w == "sack" || w == "ecn" || w == "ecnseen" || w == "fastopen" || name == "wscale" || name == "mss" || name == "advmss" || name == "rtt":
			out = append(out, w)
		}
	}
	return strings.Join(out, " ")
}

// savePcaps writes a capture per panel into dir.
func (r *Result) savePcaps(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--pcap: %w", err)
	}
	for i := range r.Panels {
		q := &r.Panels[i]
		name := r.Name
		if len(r.Panels) > 1 {
			name = fmt.Sprintf("%s-%d", r.Name, i+1)
		}
		q.Pcap = filepath.Join(dir, name+".pcap")
		var b bytes.Buffer
		w := pcapgo.NewWriterNanos(&b)
		err := w.WriteFileHeader(65535, layers.LinkTypeEthernet)
		for _, f := range q.frames {
			err = errors.Join(err, w.WritePacket(gopacket.CaptureInfo{Timestamp: f.at, Length: len(f.data), CaptureLength: len(f.data)}, f.data))
		}
		if err = errors.Join(err, os.WriteFile(q.Pcap, b.Bytes(), 0o644)); err != nil {
			return fmt.Errorf("--pcap: %w", err)
		}
	}
	return nil
}
