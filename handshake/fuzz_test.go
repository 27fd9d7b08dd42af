package handshake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// fuzzer drives a small engine by the bytes of an input, under a witness that
// looks at everything after each burst. Inputs are programs: an operation byte,
// then what it needs; a short input reads as if zeroes followed.
type fuzzer struct {
	t    testing.TB
	in   []byte
	e    *Engine
	wit  *witness
	ring *cookie.Ring
	now  Time

	ids    [fuzzTuples]FlowID
	said   [fuzzTuples]wire.Segment // last heard from the engine
	segs   [MaxBurst]wire.Segment
	n      int
	act    [MaxBurst]Action
	secret byte
	fast   bool // listeners take Fast Open
	over   bool
}

const fuzzTuples = 8

var fuzzHasher *cookie.Hasher // it has no state, and costs more to make than most inputs to run

func newFuzzer(t testing.TB, in []byte) *fuzzer {
	z := &fuzzer{t: t, in: in}
	conf, more, late := z.next(), z.next(), z.next()
	cfg := Config{
		MaxFlows: 1 + int(conf>>4), Cookies: CookiePolicy(conf % 3), CookieFleet: conf&8 != 0,
		TimeWait: time.Duration(-int(conf>>2&1)) * time.Second, MinStay: time.Second,
		SYNRetries: 1 + int(more&3), SYNACKRetries: int(more>>2&3) - 1, DataRetries: 1 + int(more>>4&3),
		NoTimestamps: more&64 != 0, NoWScale: more&128 != 0, NoSACK: more&192 == 192,
		ECN: ECNMode(late >> 2 & 3 % 3), FailFast: late&16 != 0, Retry: RetryPreset(late >> 5 & 3).Retry(),
	}
	cfg.SYNRetries = min(cfg.SYNRetries, len(cfg.Retry.SYN)-1)
	if late&1 != 0 {
		cfg.FastOpenCache = 4
	}
	if late&2 != 0 {
		cfg.FastOpenBlackHole = time.Second
	}
	if fuzzHasher == nil {
		fuzzHasher = testHasher(t, 1)
	}
	e, err := New(cfg, fuzzHasher)
	require.NoError(t, err)
	z.e, z.wit, z.now = e, newWitness(t, e), wrapTime
	z.ring, err = cookie.NewRing(testSecret(t, 25), time.Unix(0, z.now), cookie.RingConfig{Epoch: 4 * time.Second})
	require.NoError(t, err)
	require.NoError(t, e.Listen(wire.Addr{}, 80, 7, false))
	require.NoError(t, e.Listen(our4, 81, 8, true))
	require.NoError(t, e.Listen(our6, 81, 8, true))
	if late&128 != 0 {
		require.NoError(t, e.SetGate(our4, 81, Gate{HalfOpen: 2, Backlog: 1, Defer: 2 * time.Second}))
		require.NoError(t, e.SetGate(our6, 81, Gate{Backlog: 2, AbortOnOverflow: true}))
	}
	z.fast = late&1 != 0
	z.offer()
	e.SetClock(z.now, z.ring.Load())
	return z
}

// offer switches Fast Open on for two of the listeners.
func (z *fuzzer) offer() {
	if z.fast {
		require.NoError(z.t, z.e.FastOpen(wire.Addr{}, 80, 2))
		require.NoError(z.t, z.e.FastOpen(our4, 81, 1))
	}
}

func (z *fuzzer) next() byte {
	if len(z.in) == 0 {
		return 0
	}
	b := z.in[0]
	z.in = z.in[1:]
	return b
}

// tuple is one of a few: both families, both listeners and a closed port.
func (z *fuzzer) tuple(n byte) wire.Tuple {
	t := wire.Tuple{Remote: peer4, Local: our4, RemotePort: 40000, LocalPort: 80}
	if n&4 != 0 {
		t.Remote, t.Local = peer6, our6
	}
	switch n & 3 {
	case 1:
		t.RemotePort, t.LocalPort = 40001, 81
	case 2:
		t.RemotePort = 40002
	case 3:
		t.RemotePort, t.LocalPort = 40003, 7
	}
	return t
}

func (z *fuzzer) hear(s *wire.Segment) {
	for n := range byte(fuzzTuples) {
		if s.Tuple == z.tuple(n) {
			z.said[n] = *s
		}
	}
}

// numbers picks sequence numbers from the edges that the state machine looks at,
// and a little beside them.
func (z *fuzzer) numbers(s *wire.Segment, n byte) {
	said := &z.said[n]
	var r record
	wnd := uint32(65535)
	if idx := z.e.lookup(z.e.sumTuple(&s.Tuple).Hash, &s.Tuple); idx != 0 {
		r = z.e.recs[idx]
		wnd = z.e.rcvWnd(&r)
	} else {
		r.rcvNxt, r.sndNxt, r.sndUna = said.Ack, said.Seq+wire.Seq(said.SegLen()), said.Seq
	}
	edge := func(b byte, list [8]wire.Seq) wire.Seq { return list[b&7] + wire.Seq(int8(b)>>3) }
	s.Seq = edge(z.next(), [8]wire.Seq{
		r.rcvNxt, r.rcvNxt - wire.Seq(s.Len), r.rcvNxt + wire.Seq(wnd), r.rcvNxt - 1, said.Ack,
		r.rcvNxt + 1<<31, 0xfffffff0, r.rcvNxt + wire.Seq(wnd)/2,
	})
	if s.Flags&wire.FlagACK != 0 {
		s.Ack = edge(z.next(), [8]wire.Seq{
			r.sndNxt, r.sndUna, said.Seq + wire.Seq(said.SegLen()), r.sndUna - 1, r.sndNxt - 1,
			r.sndNxt + 1<<31, 0, r.sndUna + (r.sndNxt-r.sndUna)/2,
		})
	}
}

var fuzzFlags = [...]wire.Flags{
	wire.FlagACK, wire.FlagSYN, wire.FlagACK | wire.FlagPSH, wire.FlagACK | wire.FlagFIN,
	wire.FlagRST, wire.FlagSYN | wire.FlagACK, wire.FlagRST | wire.FlagACK, 0,
}

// segment adds one to the burst. Its first byte picks tuple and flags, its second
// options and text.
func (z *fuzzer) segment() *wire.Segment {
	b, o := z.next(), z.next()
	n := b & 7
	s := &z.segs[z.n]
	*s = wire.Segment{Tuple: z.tuple(n), Win: 1000, Flags: fuzzFlags[b>>3&7]}
	if s.Flags == 0 {
		s.Flags = wire.Flags(z.next()) | wire.Flags(b>>6)<<8&wire.FlagAE
	}
	if b&64 != 0 {
		s.Win = uint16(z.next()) << 4
	}
	if b&128 != 0 {
		s.TOS = z.next()
	}
	if s.Flags&wire.FlagPSH != 0 || o&1 != 0 {
		s.Len = uint32(o>>1&15) * 7
	}
	z.numbers(s, n)
	if o&32 != 0 {
		s.Opt.Has |= wire.HasTimestamps
		said := &z.said[n].Opt
		d := z.next()
		s.Opt.TSVal = said.TSEcr + uint32(int32(int8(d))>>4)
		if said.TSEcr == 0 {
			s.Opt.TSVal = uint32(z.now/1e6) + uint32(d)
		}
		s.Opt.TSEcr = said.TSVal + uint32(int32(int8(d<<4))>>6)
	}
	if o&64 != 0 {
		d := z.next()
		s.Opt.Has |= wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted
		s.Opt.MSS, s.Opt.WScale = uint16(d)<<4, d&15
	}
	if o&128 != 0 {
		s.Opt.Has ^= wire.OptionSet(z.next())
	}
	if s.Flags&wire.FlagSYN != 0 && z.fast {
		z.fastOption(s)
	}
	return s
}

// fastOption gives a SYN the option: a request, a good cookie, or a bad one.
func (z *fuzzer) fastOption(s *wire.Segment) {
	c := z.next()
	if c&1 == 0 {
		s.Opt.Has &^= wire.HasFastOpen | wire.FastOpenExp
		return
	}
	s.Opt.Has |= wire.HasFastOpen
	if c&2 != 0 {
		s.Opt.Has |= wire.FastOpenExp
	}
	switch c >> 2 & 3 {
	case 0, 1:
		var t cookie.Tuple
		gather(&t, &s.Tuple)
		good := z.ring.Load().FastOpen().Cookie(&t)
		s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], good[:]))
	case 2:
		s.Opt.TFOLen, s.Opt.TFO[0] = 4+c>>4&6*2, c
	}
}

// add keeps the segment just made, and ends the burst if it is full.
func (z *fuzzer) add() {
	if z.n++; z.n == MaxBurst {
		z.settle()
	}
}

// settle hands over the burst and runs the application.
func (z *fuzzer) settle() {
	if z.n > 0 {
		z.wit.handle(z.now, z.ring.Load(), refs(z.segs[:z.n]), z.act[:])
		for i := range z.n {
			if z.act[i] == Answer {
				z.hear(&z.segs[i])
			}
		}
	}
	z.n = 0
	z.events()
	for _, o := range z.wit.output() {
		z.wit.sent(&o.Seg)
		z.hear(&o.Seg)
	}
	z.e.Sent(len(z.e.Output()))
	z.wit.check()
	z.wit.look()
	if z.e.flows > z.e.cfg.MaxFlows {
		z.wit.fail("%d flows", z.e.flows)
	}
}

// events has an application of few words: a byte of the input says what it does.
func (z *fuzzer) events() {
	for i := range z.e.Events() {
		ev := &z.e.Events()[i]
		if z.wit.aborted(ev) != nil {
			continue
		}
		f := z.wit.event(ev)
		if ev.Kind == EventEstablished {
			for n := range byte(fuzzTuples) {
				if z.tuple(n) == f.tup {
					z.ids[n] = ev.Flow
				}
			}
		}
		if ev.Kind == EventClosed {
			continue
		}
		switch b := z.next(); b & 7 {
		case 1:
			z.wit.abort(ev.Flow)
		case 2:
			z.wit.close(ev.Flow)
		case 3:
			z.wit.send(ev.Flow, 1+int(b>>3), false)
		case 4:
			z.wit.send(ev.Flow, 1+int(b>>3), true)
		}
	}
	z.wit.endBurst()
}

func (z *fuzzer) pass(d time.Duration) {
	z.settle()
	z.now += int64(d)
	if !z.over {
		z.ring.Advance(time.Unix(0, z.now))
	}
	z.e.SetClock(z.now, z.ring.Load())
	z.e.Advance(z.now, 1+int(z.now/1e6%5))
	z.settle()
	z.e.Advance(z.now, 1<<20)
	z.settle()
}

// step reads one operation.
func (z *fuzzer) step() {
	op := z.next()
	b := op >> 4
	switch op & 15 {
	default: // a segment, which ends the burst or not
		z.segment()
		z.add()
		if b&1 == 0 {
			z.settle()
		}
	case 7:
		z.pass(time.Duration(z.next()) * time.Millisecond << (b & 7))
	case 8:
		z.pass(time.Duration(z.next()) * time.Second << (b & 7))
	case 9:
		z.settle()
		var id FlowID
		var err error
		if b&8 == 0 {
			id, err = z.wit.connect(z.tuple(b), 3)
		} else {
			id, err = z.wit.connectText(z.tuple(b), 3, int(z.next())*5)
		}
		if err == nil {
			z.ids[b&7] = id
		}
		z.settle()
	case 10:
		if id := z.ids[b&7]; b&8 == 0 {
			z.wit.close(id)
		} else {
			z.e.Take(id)
		}
	case 11:
		if id := z.ids[b&7]; b&8 == 0 {
			z.wit.abort(id)
		} else {
			z.wit.release(id)
		}
	case 12:
		c := z.next()
		z.wit.send(z.ids[b&7], 1+int(c>>1)*12, c&1 != 0)
	case 13:
		z.settle()
		c := z.next()
		s := wire.Segment{Tuple: z.tuple(b)}
		seq := z.said[b&7].Seq + wire.Seq(int8(c)>>3)
		if b&8 == 0 {
			z.e.ICMP(s.Tuple, seq, ICMPKind(c%3))
		} else {
			z.e.PathMTU(&s.Tuple, seq, uint32(z.next())*7)
		}
		z.settle()
	case 14:
		if b&8 != 0 {
			z.settle()
			if z.e.Unlisten(wire.Addr{}, 80) != nil {
				require.NoError(z.t, z.e.Listen(wire.Addr{}, 80, 7, false))
				z.offer()
			}
			return
		}
		z.secret++ // refused while the last one is fresh
		_ = z.ring.Rotate(testSecret(z.t, z.secret&15), time.Unix(0, z.now+int64(b)*1e9))
	case 15:
		s := z.segment()
		z.frame(s)
	}
}

// finish leaves the engine alone until only idle flows are left, and ends those.
func (z *fuzzer) finish() {
	z.over = true
	for range 12 {
		z.pass(35 * time.Second)
	}
	c := z.e.Counters()
	require.Zero(z.t, c.HalfOpen+c.Opening+c.FastOpen.Pending)
	for id := range z.wit.flows {
		z.wit.abort(id)
	}
	z.settle()
	z.wit.empty()
	require.NoError(z.t, z.e.Free())
}

// FuzzEngine runs programs of segments around the edges of the live windows, time,
// calls of the application, ICMP errors, key rotation and damaged frames.
func FuzzEngine(f *testing.F) {
	const (
		syn, ack, text, fin, rst, synAck = 1 << 3, 0, 2 << 3, 3 << 3, 4 << 3, 5 << 3
		ts, all                          = 32, 96
	)
	// A passive open with text, our FIN, theirs, TIME-WAIT and a new incarnation.
	f.Add([]byte{0xf0, 0, 0, 0, syn, 0, 0, 0, ack, 0, 0, 0, 0, 0, text, 5, 0, 0, 3, 10, 0, 0, ack, 0, 0, 0, 0, fin, 0, 0, 0, 0, syn, 0, 0x10})
	// The same with options by a cookie.
	f.Add([]byte{0xf2, 0, 0, 0, syn, all, 0, 16, 0x57, 0, ack, ts, 0, 0, 0, 0, 0, text, ts + 5, 0, 0, 0})
	// An active open, text that is sent again, an abort.
	f.Add([]byte{0xf1, 0, 0, 9, 0, synAck, all, 0, 0, 16, 0x57, 0, 12, 9, 8, 2, 8, 4, 11})
	// A simultaneous open that an ICMP error and a reset meet.
	f.Add([]byte{0xf1, 0x55, 0, 0x39, 0, syn | 3, ts, 0, 16, 0x3d, 0, 0, rst | 3, 0, 0, 7, 200})
	// A burst that opens, sends, closes and resets at once.
	f.Add([]byte{0xf0, 0, 0, 16, syn, 0, 0, 16, syn | 1, 0, 0, 0, syn | 2, 0, 0, 16, ack, 0, 0, 0, 16, text | 1, 7, 0, 0, 0, fin | 2, 0, 0, 0, 3, 4, 1})
	// A table of one: full by TIME-WAIT, by a half-open, by cookies.
	f.Add([]byte{0x00, 0, 0, 9, 0, synAck, 0, 0, 0, 10, 0, fin, 0, 0, 0, 0x19, 0, syn | 2, 0, 0, 8, 70, 0, syn, 0, 0, 0x29})
	// Fast Open: a SYN with cookie and text, a reply before the ACK, the ACK; and one from here with text,
	// which a path MTU, a SYN that crosses and a SYN-ACK meet.
	f.Add([]byte{0xf0, 0, 1, 0, syn, 7, 0, 1, 3, 12, 40, 0, ack, 0, 0, 2})
	f.Add([]byte{0xf0, 0, 5, 0x89, 200, 0, synAck, all, 0, 0, 16, 0x57, 1, 10, 0, 8, 100, 0x8d, 0, 120, 0x89, 200})
	f.Add([]byte{0xf0, 0x55, 1, 0x99, 100, 0, syn | 1, ts, 0, 16, 5, 0x9d, 0, 90, 0, ack | 1, 0, 0, 0})
	// A gate that defers and is full.
	f.Add([]byte{0xf0, 0, 128, 0, syn | 1, 0, 0, 0, ack | 1, 0, 0, 0, 8, 3, 0, text | 1, 5, 0, 0, 0x9a})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1024 {
			return
		}
		z := newFuzzer(t, in)
		for len(z.in) > 0 {
			z.step()
		}
		z.finish()
	})
}
