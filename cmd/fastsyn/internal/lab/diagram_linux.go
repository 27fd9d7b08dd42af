package lab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/ladder"
	"github.com/fastsyn/fastsyn/dataplane/trace"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// picture is a connection as both captures have it.
type picture struct {
	ladder.Diagram
	begin  time.Time // of the diagram
	frames []drawn   // in the order of fastsyn's capture
}

// drawn is a frame and what was made of it; segment is nil for frames of other connections.
type drawn struct {
	frame
	segment *ladder.Segment
}

// draw makes the picture of the world's connection.
func (w *world) draw() *picture {
	fast, kernel := w.captures()
	p := &picture{}
	fastParty := ladder.Party{Name: "fastsyn", Addr: w.fast.String(), State: ladder.Closed}
	kernelParty := ladder.Party{Name: "Linux", Addr: w.kernel.String(), State: ladder.Closed}
	if w.listening {
		fastParty.State = ladder.Listen
	}
	if w.kernelListens {
		kernelParty.State = ladder.Listen
	}
	p.Client, p.Server = fastParty, kernelParty
	if w.fastIsServer {
		p.Client, p.Server = kernelParty, fastParty
	}
	if w.err != nil {
		return p
	}
	for i := range fast {
		f := &fast[i]
		d := drawn{frame: *f}
		if w.ours(&f.pkt.Seg) {
			sent, received := f.at, f.at
			if k := kernel[i]; k != nil && f.out {
				received = k.at
			} else if k != nil {
				sent = k.at
			}
			if p.begin.IsZero() || sent.Before(p.begin) {
				p.begin = sent
			}
			d.segment = newSegment(f, f.out == w.fastIsServer)
			d.segment.Sent, d.segment.Received = time.Duration(sent.UnixNano()), time.Duration(received.UnixNano())
		}
		p.frames = append(p.frames, d)
	}
	for _, d := range p.frames {
		if s := d.segment; s != nil {
			s.Sent -= time.Duration(p.begin.UnixNano())
			s.Received -= time.Duration(p.begin.UnixNano())
			p.Items = append(p.Items, ladder.Item{Segment: s})
		}
	}
	p.sort()
	p.Relate()
	return p
}

// segments waits until n segments of the connection were sent.
func (w *world) segments(n int) {
	w.until(fmt.Sprintf("%d segments were sent", n), func() bool {
		m := 0
		w.tap.look(func(frames, _ []frame) {
			for i := range frames {
				if f := &frames[i]; f.pkt.Kind == wire.KindTCP && w.ours(&f.pkt.Seg) {
					m++
				}
			}
		})
		return m >= n
	})
}

// ours reports whether a segment belongs to the world's connection.
func (w *world) ours(s *wire.Segment) bool {
	remote, local := addrPort(s.Remote, s.RemotePort), addrPort(s.Local, s.LocalPort)
	return remote == w.fast && local == w.kernel || remote == w.kernel && local == w.fast
}

func addrPort(a wire.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Netip(), port) }

func addrPortOf(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}

// newSegment decodes a frame.
func newSegment(f *frame, fromServer bool) *ladder.Segment {
	s := &f.pkt.Seg
	seg := &ladder.Segment{
		FromServer: fromServer, Lost: f.lost, Flags: s.Flags, Seq: s.Seq, Ack: s.Ack, Len: int(s.Len), Window: int(s.Win),
	}
	options := f.data[int(f.pkt.L4)+wire.TCPLen : f.pkt.Data]
	it := wire.NewOptionIter(options)
	for o, ok := it.Next(); ok; o, ok = it.Next() {
		if o.Kind == wire.OptSACK {
			var blocks [4]wire.SACKBlock
			seg.SACK = slices.Clone(blocks[:wire.SACKBlocks(options, &blocks)])
		} else if text := optionText(o); text != "" {
			seg.Options = append(seg.Options, text)
		}
	}
	return seg
}

// optionText names an option and its value; padding has none.
func optionText(o wire.Option) string {
	be := binary.BigEndian
	switch {
	case o.Kind == wire.OptEOL || o.Kind == wire.OptNOP:
		return ""
	case o.Kind == wire.OptMSS && len(o.Data) == 2:
		return fmt.Sprintf("mss %d", be.Uint16(o.Data))
	case o.Kind == wire.OptWScale && len(o.Data) == 1:
		return fmt.Sprintf("wscale %d", o.Data[0])
	case o.Kind == wire.OptSACKPermitted:
		return "sackOK"
	case o.Kind == wire.OptTimestamps && len(o.Data) == 8:
		return fmt.Sprintf("TS %d/%d", be.Uint32(o.Data), be.Uint32(o.Data[4:]))
	case o.Kind == wire.OptFastOpen && len(o.Data) == 0:
		return "tfo cookiereq"
	case o.Kind == wire.OptFastOpen:
		return fmt.Sprintf("tfo cookie %x", o.Data)
	}
	return fmt.Sprintf("option %d", o.Kind)
}

// sort puts items in the order in which they begin.
func (p *picture) sort() {
	slices.SortStableFunc(p.Items, func(a, b ladder.Item) int { return int(a.Begin() - b.Begin()) })
}

// note adds a remark of an end at a moment, and the state it is in from then on if that is not empty.
func (p *picture) note(at time.Time, server bool, state, format string, args ...any) {
	p.Items = append(p.Items, ladder.Item{Note: fmt.Sprintf(format, args...), At: at.Sub(p.begin), FromServer: server, State: state})
	p.sort()
}

// segments are those of the connection in the order in which they were sent.
func (p *picture) segments() (out []*ladder.Segment) {
	for _, it := range p.Items {
		if it.Segment != nil {
			out = append(out, it.Segment)
		}
	}
	return out
}

// shape is the connection in short: "SYN> SYN-ACK< ACK>", ">" from the client. Of two segments that cross the client's comes first.
func (p *picture) shape() string {
	var words []string
	segs := p.segments()
	for i := range len(segs) - 1 {
		if a, b := segs[i], segs[i+1]; a.FromServer && a.Crosses(b) {
			segs[i], segs[i+1] = b, a // which left first is chance
		}
	}
	for _, s := range segs {
		dir := ">"
		if s.FromServer {
			dir = "<"
		}
		words = append(words, s.Name()+dir)
	}
	return strings.Join(words, " ")
}

// repeated counts segments that were sent again.
func (p *picture) repeated() (n int) {
	for _, s := range p.segments() {
		if s.Again {
			n++
		}
	}
	return n
}

// traceFlows is how many flows have their initial numbers remembered.
const traceFlows = 64

// strangers are the first frames of other connections, n at most.
func (p *picture) strangers(n int, remark string) (lines []TraceLine) {
	for _, d := range p.frames {
		if d.segment == nil && len(lines) < n && (lines == nil || d.out) {
			lines = append(lines, TraceLine{Text: string(trace.Format(nil, d.at, d.data, nil)), Remark: remark})
			remark = "fastsyn answers it all the same"
		}
	}
	return lines
}

// traceLines are the frames of the connection as tcpdump prints them, at fastsyn's end, each with
// a remark.
func (p *picture) traceLines() (lines []TraceLine) {
	flows := trace.NewTracker(traceFlows)
	for _, d := range p.frames {
		if d.segment != nil {
			text := string(trace.Format(nil, d.at, d.data, flows))
			if d.lost {
				text += " (lost)"
			}
			lines = append(lines, TraceLine{Text: text, Remark: p.Remark(d.segment)})
		}
	}
	return lines
}
