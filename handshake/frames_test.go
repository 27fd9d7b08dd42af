package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// The frames of a round lie in buffers as those of a NIC do: more of them than the first-level
// cache holds, and an odd number of lines apart, as a DPDK pool spreads its 2 KiB buffers over
// the sets of the caches.
const (
	rigFrames = 16 * MaxBurst
	rigRoom   = 2048
	rigStride = 37 * 64
)

var (
	rigMAC  = [6]byte{2, 0, 0, 0, 0, 1}
	peerMAC = [6]byte{2, 0, 0, 0, 0, 2}
)

// frameRig runs an engine as a worker does, from frames and to frames, checksums
// computed on the way in and out. Its peer writes the frames beforehand and reads
// the answers afterwards, and only what lies between is on the clock.
type frameRig struct {
	tb     testing.TB
	cyc    *cycler // the engine, and segments for the peer
	mem    []byte
	frames [rigFrames][]byte
	reply  [rigFrames]bool
	pk     [MaxBurst]wire.Packet
	peer   wire.Packet // what the peer has read
	segs   [MaxBurst]*wire.Segment
	to     [MaxBurst]wire.Tuple
	ids    [MaxBurst]FlowID
	act    [MaxBurst]Action
	local  bool // this end resets what is established, in the callback
	v6     bool

	on        time.Duration // the clock
	bursts    [4]phase
	callbacks int
	rttSum    time.Duration // what the callback reads, it must look at something
}

// phase is the share of one kind of segment.
type phase struct {
	on time.Duration
	n  int
}

func newFrameRig(tb testing.TB, cfg Config, standing int) *frameRig {
	r := &frameRig{tb: tb, cyc: newCycler(tb, cfg), mem: make([]byte, rigFrames*rigStride)}
	require.NoError(tb, r.cyc.e.Populate(false))
	for i := range r.frames {
		r.frames[i] = r.mem[i*rigStride : i*rigStride : i*rigStride+rigRoom]
	}
	for range (standing + MaxBurst - 1) / MaxBurst {
		r.cyc.syn()
		r.cyc.reply(wire.FlagACK)
	}
	return r
}

// link writes the Ethernet header of a frame.
func link(b []byte, dst, src [6]byte, v6 bool) int {
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[12], b[13] = 0x08, 0x00
	if v6 {
		b[12], b[13] = 0x86, 0xdd
	}
	return wire.EthernetLen
}

// write has the peer send s, whose Local is this end, in frame i.
func (r *frameRig) write(i int, s *wire.Segment) {
	s.Remote, s.Local = s.Local, s.Remote
	s.RemotePort, s.LocalPort = s.LocalPort, s.RemotePort
	b := r.frames[i][:rigRoom]
	n := link(b, rigMAC, peerMAC, r.v6)
	m := wire.PutTCP(b[n:], s, nil)
	if m == 0 {
		r.tb.Fatal("a segment that does not fit a frame")
	}
	r.frames[i] = b[:max(n+m, 60)]
}

// read decodes the answer in frame i as its receiver would; valid until the next.
func (r *frameRig) read(i int) *wire.Segment {
	p := &r.peer
	if !r.reply[i] {
		r.tb.Fatalf("frame %d is not answered", i)
	}
	if why := wire.Parse(r.frames[i], false, p); why != wire.OK {
		r.tb.Fatalf("answer: %v", why)
	}
	return &p.Seg
}

// receive is what a worker does with frames [0, n) in bursts.
func (r *frameRig) receive(n, ph int) {
	c := r.cyc
	t0 := time.Now()
	for at := 0; at < n; at += MaxBurst {
		frames, reply := r.frames[at:at+MaxBurst], r.reply[at:at+MaxBurst]
		for i, f := range frames {
			p := &r.pk[i]
			if wire.Parse(f, false, p) != wire.OK || [6]byte(f[:6]) != rigMAC {
				r.tb.Fatal("the rig wrote a bad frame")
			}
			r.segs[i] = &p.Seg
		}
		c.now += 4000
		c.e.Handle(c.now, c.keys, r.segs[:], r.act[:])
		r.deliver()
		for i, f := range frames {
			reply[i] = r.act[i] == Answer
			if reply[i] {
				b := f[:cap(f)]
				k := link(b, [6]byte(b[6:12]), rigMAC, r.pk[i].V6)
				frames[i] = b[:k+wire.PutTCP(b[k:], r.segs[i], nil)]
			}
		}
		if r.local {
			r.flush(at)
		}
	}
	r.clock(ph, n, time.Since(t0))
}

func (r *frameRig) clock(ph, n int, d time.Duration) {
	r.on += d
	r.bursts[ph].on += d
	r.bursts[ph].n += n
}

// deliver runs the callback of each flow that opened.
func (r *frameRig) deliver() {
	e := r.cyc.e
	for i := range e.Events() {
		if ev := &e.Events()[i]; ev.Kind == EventEstablished {
			info := e.Info(ev)
			r.rttSum += info.RTT
			r.callbacks++
			if r.local {
				e.AbortEvent(ev)
			}
		}
	}
	e.EndBurst()
}

// flush writes what the engine sends by itself into frames from at on, behind
// what was answered there.
func (r *frameRig) flush(at int) int {
	e := r.cyc.e
	out := e.Output()
	for i := range out {
		b := r.frames[at+i%MaxBurst]
		b = b[:cap(b)]
		if r.local && out[i].Seg.Flags&wire.FlagRST != 0 {
			b = b[1024:] // a frame of its own
		}
		k := link(b, peerMAC, rigMAC, r.v6)
		m := wire.PutTCP(b[k:], &out[i].Seg, nil)
		if out[i].Seg.Flags&wire.FlagSYN != 0 {
			r.frames[at+i] = b[:k+m]
		}
	}
	n := len(out)
	e.Sent(n)
	return n
}

// flight is what the peer knows of a flow.
type flight struct {
	tup          wire.Tuple
	seq, ack     wire.Seq
	tsval, tsecr uint32
}

func (f *flight) put(s *wire.Segment, flags wire.Flags) {
	*s = wire.Segment{Tuple: f.tup, Seq: f.seq, Ack: f.ack, Flags: flags, Win: 502}
	s.Opt.Has, s.Opt.TSVal, s.Opt.TSEcr = wire.HasTimestamps, f.tsval, f.tsecr
}

// learn takes the answer s to a flow.
func (f *flight) learn(s *wire.Segment) {
	f.seq, f.ack = s.Ack, s.Seq+1
	f.tsval, f.tsecr = 1000, s.Opt.TSVal
}

// syns sends a SYN for each flow, and learns from the answers.
func (r *frameRig) syns(fl []flight) {
	for ; len(fl) > 0; fl = fl[rigFrames:] {
		for i := range rigFrames {
			s := &r.cyc.segs[0]
			r.cyc.synFor(s)
			fl[i].tup = s.Tuple
			r.write(i, s)
		}
		r.receive(rigFrames, 0)
		for i := range rigFrames {
			fl[i].learn(r.read(i))
		}
	}
}

// send has each flow send a bare segment.
func (r *frameRig) send(fl []flight, flags wire.Flags, ph int) {
	var s wire.Segment
	for ; len(fl) > 0; fl = fl[rigFrames:] {
		for i := range rigFrames {
			fl[i].put(&s, flags)
			r.write(i, &s)
		}
		r.receive(rigFrames, ph)
	}
}

// opens opens as many flows, in rounds of bursts, and has them answered.
func (r *frameRig) opens(n int) {
	c := r.cyc
	var s wire.Segment
	for ; n > 0; n -= rigFrames {
		t0 := time.Now()
		for at := 0; at < rigFrames; at += MaxBurst {
			c.now += 4000
			c.e.SetClock(c.now, c.keys)
			for i := range r.to {
				c.tuple(&s)
				r.to[i] = s.Tuple
				r.to[i].RemotePort, r.to[i].LocalPort = 80, s.RemotePort
			}
			if n, err := c.e.ConnectMany(r.to[:], 0, 0, r.ids[:]); n != MaxBurst {
				r.tb.Fatal(err)
			}
			r.flush(at)
		}
		r.clock(0, rigFrames, time.Since(t0))
		for i := range rigFrames {
			r.reply[i] = true
			q := r.read(i)
			s := wire.Segment{Seq: 77, Ack: q.Seq + 1, Flags: wire.FlagSYN | wire.FlagACK, Win: 65160, Opt: q.Opt}
			s.Tuple = wire.Tuple{Remote: q.Local, Local: q.Remote, RemotePort: q.LocalPort, LocalPort: q.RemotePort}
			s.Opt.TSVal, s.Opt.TSEcr = 1000, q.Opt.TSVal
			r.write(i, &s)
		}
		r.receive(rigFrames, 1)
	}
}

func (r *frameRig) report(b *testing.B, units int, name string, phases ...string) {
	b.ReportMetric(float64(units)/r.on.Seconds()/1e6, "M"+name+"/s")
	for i, ph := range phases {
		b.ReportMetric(float64(r.bursts[i].on.Nanoseconds())/float64(r.bursts[i].n), "ns/"+ph)
	}
	b.ReportMetric(0, "ns/op")
	require.Empty(b, r.cyc.counters().Check())
}

// sizes are the tables that benchmarks run in: one that a cache holds, and with
// -scale one of ten million flows.
func sizes() []int {
	if *scale {
		return []int{1 << 12, 10_000_000}
	}
	return []int{1 << 12}
}

func sizeName(n int) string {
	if n < 1_000_000 {
		return "standing=4k"
	}
	return "standing=10M"
}

// window is how many handshakes of a benchmark overlap. With a full table it is
// what 4 million a second make of 60 ms of round-trip time.
func window(standing int) int {
	if standing < 1_000_000 {
		return rigFrames
	}
	return 256 * rigFrames
}

// BenchmarkFrames measures one core from frame to frame.
func BenchmarkFrames(b *testing.B) {
	for _, fam := range []string{"v4", "v6"} {
		for _, n := range sizes() {
			rig := func(b *testing.B, p CookiePolicy) (*frameRig, []flight) {
				fl := make([]flight, window(n))
				r := newFrameRig(b, Config{Cookies: CookiesNever, MaxFlows: n + len(fl), MaxHalfOpen: n + len(fl)}, n)
				r.cyc.e.cfg.Cookies = p
				r.v6, r.cyc.v6 = fam == "v6", fam == "v6"
				if r.v6 {
					require.NoError(b, r.cyc.e.Populate(true))
				}
				return r, fl
			}
			b.Run("cookie/"+fam+"/"+sizeName(n), func(b *testing.B) {
				r, fl := rig(b, CookiesAlways)
				units := 0
				for b.Loop() {
					r.syns(fl[:rigFrames])
					units += rigFrames
				}
				require.EqualValues(b, units, r.cyc.e.Counters().Cookies)
				r.report(b, units, "syn", "syn")
			})
			for _, end := range []string{"peer", "callback"} {
				b.Run("accept/reset="+end+"/"+fam+"/"+sizeName(n), func(b *testing.B) {
					r, fl := rig(b, CookiesNever)
					r.local = end == "callback"
					units := 0
					for b.Loop() {
						r.syns(fl)
						r.send(fl, wire.FlagACK, 1)
						if !r.local {
							r.send(fl, wire.FlagRST, 2)
						}
						units += len(fl)
					}
					require.Equal(b, units, r.callbacks)
					c := r.cyc.e.Counters()
					require.EqualValues(b, units, c.Reset+c.Aborted)
					if r.local {
						r.report(b, units, "accept", "syn", "ack+rst")
					} else {
						r.report(b, units, "accept", "syn", "ack", "rst")
					}
				})
			}
			b.Run("open/"+fam+"/"+sizeName(n), func(b *testing.B) {
				r, fl := rig(b, CookiesNever)
				r.local = true
				units := 0
				for b.Loop() {
					r.opens(len(fl))
					units += len(fl)
				}
				require.Equal(b, units, r.callbacks)
				require.EqualValues(b, units, r.cyc.e.Counters().Connected)
				r.report(b, units, "open", "connect+syn", "synack+ack+rst")
			})
		}
	}
}

// The rig itself, and that nothing on its way allocates.
func TestFrames(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, local := range []bool{false, true} {
			r := newFrameRig(t, Config{Cookies: CookiesNever, MaxFlows: 4 * rigFrames}, 64)
			r.v6, r.cyc.v6, r.local = v6, v6, local
			fl := make([]flight, rigFrames)
			r.syns(fl)
			r.send(fl, wire.FlagACK, 1)
			require.Equal(t, rigFrames, r.callbacks)
			if !local {
				r.send(fl, wire.FlagRST, 2)
			}
			r.local = true
			r.opens(rigFrames)
			require.Equal(t, 2*rigFrames, r.callbacks)
			c := r.cyc.counters()
			require.Empty(t, c.Check())
			require.EqualValues(t, rigFrames, c.Connected)
			require.EqualValues(t, 64+rigFrames, c.Accepted)
			require.EqualValues(t, 64, c.Flows)
		}
	}
}

// Parse, Handle and Put of whole handshakes, as TestAllocs has it for segments.
func TestFrames_Allocs(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, local := range []bool{false, true} {
			r := newFrameRig(t, Config{Cookies: CookiesNever, MaxFlows: 4 * rigFrames}, 64)
			r.v6, r.cyc.v6, r.local = v6, v6, local
			fl := make([]flight, rigFrames)
			require.Zero(t, testing.AllocsPerRun(10, func() {
				r.syns(fl)
				r.send(fl, wire.FlagACK, 1)
				if !local {
					r.send(fl, wire.FlagRST, 2)
				}
			}))
			require.Equal(t, 11*rigFrames, r.callbacks)
			r.local = true
			require.Zero(t, testing.AllocsPerRun(10, func() { r.opens(rigFrames) }))
			require.Equal(t, 22*rigFrames, r.callbacks)
		}
	}
}
