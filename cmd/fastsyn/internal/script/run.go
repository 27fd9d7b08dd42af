package script

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const (
	// patience bounds the wait for what must come. It decides nothing but how
	// long a failing run takes.
	patience = 2 * time.Second
	// again is the least distance of a retransmission of Linux (TCP_RTO_MIN is 200 ms).
	again = 150 * time.Millisecond
	// Spacing is the distance of two rate limited answers, which the step "space" lets pass.
	Spacing = 500 * time.Millisecond
	// ShortWait is the longest wait that a subject on a wall clock sits out, and so
	// the only one after which it need not answer: enough for timestamps to move on.
	ShortWait = 50 * time.Millisecond
	echoID    = 0x5c81
)

// key is a 4-tuple as the peer sees it.
type key struct {
	peer, endpoint         wire.Addr
	peerPort, endpointPort uint16
}

// numbering is that of one 4-tuple.
type numbering struct {
	irs             uint32 // the peer's ISS
	iss             uint32 // the endpoint's, once known
	known           bool
	tsFirst, tsLast uint32 // TSvals of the endpoint
	heardTS         bool
	cookie          []byte // of Fast Open, that the peer has
	sent, got       uint32 // places in the streams: written by the endpoint's application, read by it
}

type heard struct {
	a  *answer
	at time.Time
}

type runner struct {
	s     *Script
	fam   Family
	sub   Subject
	link  Link
	flows map[key]*numbering
	tfo   map[wire.Addr][]byte // cookies by peer
	home  key                  // where segments belong that name no ports
	cur   key                  // where the last one belonged
	heard []heard
	echo  uint16
	mark  map[string]uint64 // outcomes before the last injected segment
	waits time.Duration     // patience that a wait adds to the next expectation
	trace []string
}

// Run plays a script against a subject. The error says which line failed, why,
// and what went over the wire until then.
func Run(s *Script, fam Family, sub Subject, link Link) error {
	home := key{link.Peer[fam], link.Endpoint[fam], PeerPort, EndpointPort}
	r := &runner{s: s, fam: fam, sub: sub, link: link, flows: map[key]*numbering{}, tfo: map[wire.Addr][]byte{}, home: home, cur: home}
	if err := r.quiet(); err != nil { // also resolves addresses, so that nothing waits for ARP or NDP later
		return r.failed(0, "before the first step", err)
	}
	for i := range s.Steps {
		st := &s.Steps[i]
		if !st.RunsOn(sub.Side()) {
			continue
		}
		if err := r.step(st); err != nil {
			return r.failed(st.Line, st.Text, err)
		}
	}
	if err := r.quiet(); err != nil {
		return r.failed(0, "after the last step", err)
	}
	if err := sub.Check(); err != nil {
		return r.failed(0, "at the end", err)
	}
	return nil
}

func (r *runner) failed(line int, text string, err error) error {
	return &Error{File: r.s.File, Line: line, Text: text, Err: fmt.Errorf("%w\n\t%v over %v, so far:\n\t%s",
		err, r.sub.Side(), r.fam, strings.Join(r.trace, "\n\t"))}
}

func (r *runner) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

func (r *runner) flow(k key) *numbering {
	f := r.flows[k]
	if f == nil {
		f = &numbering{irs: r.s.Settings.PeerISS}
		r.flows[k] = f
	}
	return f
}

func (r *runner) step(st *Step) error {
	switch st.Op {
	case OpInject:
		return r.inject(&st.Seg, "")
	case OpICMP:
		return r.inject(&st.Seg, st.Word)
	case OpExpect:
		return r.expect(&st.Seg)
	case OpSilence:
		return r.quiet()
	case OpPass:
		r.note("    %v pass", st.D)
		r.waits = st.D
		return r.sub.Pass(st.D)
	case OpSpace:
		return r.sub.Pass(Spacing)
	case OpOutcome:
		return r.outcome(st.Word)
	default:
		r.note("    %s", st.Text)
		return r.act(st)
	}
}

// inject sends a segment of the peer, or an ICMP error about one of the endpoint.
func (r *runner) inject(s *Segment, icmp string) error {
	o := outgoing{src: r.link.Peer[r.fam], dst: r.link.Endpoint[r.fam], seg: s, fam: r.fam}
	for name, a := range map[string]*wire.Addr{"src": &o.src, "dst": &o.dst} {
		if w := s.word(name); w != "" {
			var err error
			if *a, err = r.link.addr(w, r.fam); err != nil {
				return err
			}
		}
	}
	o.sport = uint16(s.value("sport", r.fam, int64(r.home.peerPort)))
	o.dport = uint16(s.value("dport", r.fam, int64(r.home.endpointPort)))
	r.cur = key{o.src, o.dst, o.sport, o.dport}
	f := r.flow(r.cur)

	from := f.irs
	if icmp != "" {
		from = f.iss // it quotes the endpoint
	}
	seq, abs := r.relative(s, "seq")
	if icmp != "" && !abs && !f.known {
		return errors.New("seq= counts from the endpoint's ISS, and it has sent no SYN; write seq=@number")
	}
	if o.seq = uint32(seq); !abs {
		o.seq += from
	}
	ack, abs := r.relative(s, "ack")
	if o.ack = uint32(ack); !abs && s.Flags&wire.FlagACK != 0 {
		if !f.known {
			return errors.New("ack= counts from the endpoint's ISS, and it has sent no SYN; write ack=@number")
		}
		o.ack += f.iss
	}
	o.first = o.seq - f.irs - 1
	if s.Flags&wire.FlagSYN != 0 {
		o.first++
	}
	if s.Flags&wire.FlagACK != 0 {
		o.ecr = f.tsLast
	}
	if e, ok := s.find("ecr"); ok {
		o.ecr = uint32(e.V[r.fam])
		switch e.Base {
		case "first":
			o.ecr += f.tsFirst
		case "last":
			o.ecr += f.tsLast
		}
	}
	o.cookie, o.blocksFrom = r.tfo[o.src], f.iss
	r.mark = r.sub.Outcomes()
	var frame []byte
	var err error
	if icmp != "" {
		r.note("--> icmp %s", icmp)
		o.sport, o.dport = r.cur.peerPort, r.cur.endpointPort
		frame, err = o.icmpError(&r.link, icmp)
	} else {
		r.note("--> %s seq=%d ack=%d len=%d", flagString(s.Flags), int32(o.seq-f.irs), int32(o.ack-f.iss), s.value("len", r.fam, 0))
		frame, err = o.frame(&r.link)
	}
	if err != nil {
		return err
	}
	return r.sub.Inject(frame)
}

func (r *runner) relative(s *Segment, name string) (v int64, abs bool) {
	f, ok := s.find(name)
	if !ok {
		return 0, false
	}
	return f.V[r.fam], f.Abs
}

func (r *runner) expect(want *Segment) error {
	wait := patience + r.waits
	r.waits = 0
	for {
		a, err := r.next(wait)
		if err != nil && !errors.Is(err, errEcho) {
			return err
		}
		if a == nil {
			return errors.New("nothing came")
		}
		k := key{a.dst, a.src, a.dport, a.sport}
		f := r.flow(k)
		if s, ok := want.find("seq"); ok && a.flags&wire.FlagSYN != 0 && (s.Word == "new" || !f.known) {
			if s.Word == "new" && f.known && f.iss == a.seq {
				return fmt.Errorf("seq is the old one (%s)", r.take(a))
			}
			f.iss, f.known = a.seq, true
		}
		at := r.cur
		at.peerPort = uint16(want.value("dport", r.fam, int64(at.peerPort)))
		at.endpointPort = uint16(want.value("sport", r.fam, int64(at.endpointPort)))
		msg := ""
		if k != at {
			msg = fmt.Sprintf("it goes from %v:%d to %v:%d, want from %v:%d to %v:%d",
				k.endpoint, k.endpointPort, k.peer, k.peerPort, at.endpoint, at.endpointPort, at.peer, at.peerPort)
		}
		f.cookie = r.tfo[k.peer]
		if msg == "" {
			msg = a.compare(want, r.fam, f)
		}
		if msg == "" {
			msg = a.stream(f)
		}
		if ts, ok := a.opt["ts"]; ok && msg == "" && f.heardTS && int32(ts-f.tsLast) < 0 && r.s.Settings.Cookies == "" {
			msg = fmt.Sprintf("TSval went back from %d to %d (TSP-008)", f.tsLast, ts)
		}
		if msg != "" && r.repeated(a) {
			continue
		}
		show := r.take(a)
		if msg != "" {
			return fmt.Errorf("%s (got %s)", msg, show)
		}
		return nil
	}
}

// stream checks the text of a segment of the endpoint.
func (a *answer) stream(f *numbering) string {
	first := a.seq - f.iss - 1
	if a.flags&wire.FlagSYN != 0 {
		first++
	}
	for i, b := range a.text {
		if w := text(first + uint32(i)); b != w {
			return fmt.Sprintf("byte %d of the text is %q, want %q", i, b, w)
		}
	}
	return ""
}

func (r *runner) outcome(name string) error {
	now := r.sub.Outcomes()
	if now == nil {
		return nil
	}
	var moved []string
	for n, v := range now {
		if d := v - r.mark[n]; d != 0 {
			moved = append(moved, fmt.Sprintf("%s+%d", n, d))
		}
	}
	if len(moved) != 1 || moved[0] != name+"+1" {
		return fmt.Errorf("counters moved by the segment: %v", moved)
	}
	return nil
}
