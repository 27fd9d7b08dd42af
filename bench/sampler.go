package bench

import (
	"net/netip"
	"strings"
	"time"

	"github.com/fastsyn/fastsyn/dataplane/trace"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

const (
	sampleEvery  = int64(10e6)  // ns between choices
	sampleAtOnce = 4            // flows that are chosen together
	sampleFlows  = 32           // watched at most; those that wait for a timeout are watched on
	sampleFrames = 24           // kept of each
	sampleCheck  = int64(100e3) // ns between looks at what became of them
	sampleQuiet  = int64(1e9)   // ns without a frame after which an established one is told
)

// sampleKind is what a Sample is an example of.
type sampleKind uint8

const (
	sampleFirst sampleKind = iota
	sampleSlowest
	sampleRetransmitted
	sampleRefused
	sampleTimedOut
	sampleUnreachable
	samplePending
	numSamples
)

var sampleNames = [numSamples]string{"first", "slowest", "retransmitted", "refused", "timed out", "unreachable", "pending"}

// sampler records the segments of a few handshakes of a client, chosen before anything is known of them: some
// of those that are opened next, each hundredth of a second. While none is watched it costs a comparison per burst.
type sampler struct {
	next  int64 // when some are chosen
	check int64 // when those are looked at; never if there are none
	list  []watched
	free  []*worker.Recording
	best  [numSamples]*worker.Recording
	value [numSamples]int64 // by which the best is chosen
}

type watched struct {
	r    *worker.Recording
	why  handshake.CloseReason // of an attempt that failed
	gone bool                  // when it was looked at last; what was then queued has been sent since
}

func newSampler() sampler {
	s := sampler{check: never, list: make([]watched, 0, sampleFlows)}
	for range sampleFlows + int(numSamples) {
		s.free = append(s.free, &worker.Recording{Frames: make([]worker.TapFrame, 0, sampleFrames)})
	}
	return s
}

// choose begins to watch some of the flows that were just opened.
func (s *sampler) choose(w *worker.Worker, now int64, ids []handshake.FlowID) {
	n := sampleAtOnce
	for i := range ids {
		if n == 0 || len(s.list) == sampleFlows {
			break
		}
		if !ids[i].Valid() {
			continue
		}
		n--
		r := s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		w.Watch(ids[i], r)
		s.list = append(s.list, watched{r: r})
	}
	if n < sampleAtOnce {
		s.next = now + sampleEvery
	}
	if len(s.list) > 0 {
		s.check = now + sampleCheck
	}
}

// look takes note of those that have ended.
func (s *sampler) look(w *worker.Worker, now int64) {
	keep := s.list[:0]
	for _, x := range s.list {
		state := w.Flow(x.r.Flow).State()
		frames := x.r.Frames
		told := len(frames) > 0 && now-frames[len(frames)-1].At > sampleQuiet && state >= handshake.Established
		ended := told || state == handshake.Closed || state == handshake.TimeWait
		if !ended || !x.gone {
			x.gone = ended
			keep = append(keep, x)
			continue
		}
		w.Unwatch(x.r)
		s.judge(x)
	}
	clear(s.list[len(keep):])
	s.list = keep
	s.check = never
	if len(keep) > 0 {
		s.check = now + sampleCheck
	}
}

// failed takes note of why an attempt ended.
func (s *sampler) failed(id handshake.FlowID, why handshake.CloseReason) {
	for i := range s.list {
		if s.list[i].r.Flow == id {
			s.list[i].why = why
		}
	}
}

// judge keeps the recording of x if it is the best example of something.
func (s *sampler) judge(x watched) {
	kind, value := x.classify()
	r := x.r
	if kind == sampleFirst && s.best[sampleFirst] != nil {
		kind = sampleSlowest
	}
	if len(r.Frames) == 0 || s.best[kind] != nil && value <= s.value[kind] {
		s.free = append(s.free, r)
		return
	}
	if old := s.best[kind]; old != nil {
		s.free = append(s.free, old)
	}
	s.best[kind], s.value[kind] = r, value
}

// classify says what a flow is an example of, and how good a one.
func (x *watched) classify() (kind sampleKind, value int64) {
	syns, answered := 0, false
	for i := range x.r.Frames {
		var p wire.Packet
		f := &x.r.Frames[i]
		if flags, ok := flagsOf(f, &p); ok && flags&wire.FlagSYN != 0 {
			if f.Out {
				syns++
			} else {
				answered = true
			}
		}
	}
	age := int64(0)
	if n := len(x.r.Frames); n > 0 {
		age = x.r.Frames[n-1].At - x.r.Frames[0].At
	}
	switch {
	case answered && syns > 1:
		return sampleRetransmitted, int64(syns)
	case answered:
		return sampleFirst, age
	}
	switch x.why {
	case handshake.ReasonRefused:
		kind = sampleRefused
	case handshake.ReasonTimedOut:
		kind = sampleTimedOut
	case handshake.ReasonUnreachable:
		kind = sampleUnreachable
	default:
		kind = samplePending
	}
	return kind, int64(syns)
}

// flagsOf parses the beginning of a frame that was kept.
func flagsOf(f *worker.TapFrame, p *wire.Packet) (wire.Flags, bool) {
	if wire.Parse(whole(f), true, p) != wire.OK || p.Kind != wire.KindTCP {
		return 0, false
	}
	return p.Seg.Flags, true
}

// whole is the frame as long as it was; what was not kept of its text is zero.
func whole(f *worker.TapFrame) []byte {
	if f.Size <= len(f.Data) {
		return f.Data[:f.Size]
	}
	return append(f.Data[:len(f.Data):len(f.Data)], make([]byte, f.Size-len(f.Data))...)
}

// rest judges those that are watched when the run has ended.
func (s *sampler) rest() {
	for _, x := range s.list {
		s.judge(x)
	}
	s.list = s.list[:0]
}

// samples are the best of all workers.
func (r *run) samples() []Sample {
	out := []Sample{}
	for kind := range numSamples {
		var best *sampler
		for _, g := range r.gens {
			o, ok := g.(opener)
			if !ok {
				continue
			}
			s := &o.base().samples
			s.rest()
			if s.best[kind] == nil {
				continue
			}
			better := func() bool {
				if kind == sampleFirst {
					return s.best[kind].Frames[0].At < best.best[kind].Frames[0].At
				}
				return s.value[kind] > best.value[kind]
			}
			if best == nil || better() {
				best = s
			}
		}
		if best != nil {
			out = append(out, sampleOf(sampleNames[kind], best.best[kind]))
		}
	}
	return out
}

// sampleOf is a recording as text.
func sampleOf(why string, r *worker.Recording) Sample {
	t := r.Tuple
	s := Sample{
		Why: why, Client: netip.AddrPortFrom(t.Local.Netip(), t.LocalPort).String(), Server: netip.AddrPortFrom(t.Remote.Netip(), t.RemotePort).String(),
		Segments: []Segment{},
	}
	tracker := trace.NewTracker(1)
	for i := range r.Frames {
		f := &r.Frames[i]
		var p wire.Packet
		if _, ok := flagsOf(f, &p); !ok {
			continue
		}
		text := string(trace.FormatTrusted(nil, time.Unix(0, f.At), whole(f), tracker))
		_, text, _ = strings.Cut(text, "Flags [")
		flags, text, _ := strings.Cut(text, "], ")
		s.Segments = append(s.Segments, Segment{
			AtNS: f.At - r.Frames[0].At, Out: f.Out, Flags: flags, Text: text, Length: int(p.Seg.Len), StateIs: f.State.String(),
		})
	}
	return s
}
