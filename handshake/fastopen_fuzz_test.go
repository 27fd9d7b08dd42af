package handshake

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// FuzzFastOpen drives an engine that is server and client of Fast Open at once: SYNs
// with all kinds of cookies, opens with text, answers that fit or nearly fit, resets,
// calls of the application, time. After each step the books must close.
func FuzzFastOpen(f *testing.F) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 7))
		b := make([]byte, 600)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) { fuzzFastOpen(t, in) })
}

func TestTFO_008_BooksCloseOnRandomWalks(t *testing.T) {
	var total FastOpenCounters
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 8))
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		c := fuzzFastOpen(t, b)
		total.add(&c)
	}
	for name, n := range map[string]uint64{ // the walk reaches what it is about
		"requests": total.Requests, "bad cookies": total.BadCookies, "full": total.Full, "accepted": total.Accepted,
		"confirmed": total.Confirmed, "failed": total.Failed, "asked": total.Asked, "sent": total.Sent, "taken": total.Taken,
		"declined": total.Declined, "unanswered": total.Unanswered, "learned": total.Learned,
		"black holes": total.BlackHoles, "suspended": total.Suspended,
	} {
		require.Greater(t, n, uint64(20), name)
	}
}

// fastWalk is the state of one run of fuzzFastOpen.
type fastWalk struct {
	tb   testing.TB
	k    *kit
	in   []byte
	ids  [4]FlowID         // by tuple
	said [4]wire.Segment   // the engine's last segment, by tuple
	up   map[FlowID]bool   // established and not closed
	text map[FlowID]uint32 // given to ConnectText or Send last
}

func (w *fastWalk) next() byte {
	if len(w.in) == 0 {
		return 0
	}
	b := w.in[0]
	w.in = w.in[1:]
	return b
}

func (w *fastWalk) tuple(n byte) wire.Tuple {
	t := w.k.tup
	t.RemotePort += uint16(n & 1)
	if n&2 != 0 {
		t.Remote, t.Local = peer6, our6
	}
	return t
}

func fuzzFastOpen(t *testing.T, in []byte) FastOpenCounters {
	k := newKit(t, Config{
		MaxFlows: 6, FastOpenCache: 4, FastOpenBlackHole: time.Second, TimeWait: -1, SYNRetries: 3, SYNACKRetries: 1, DataRetries: 3,
	})
	require.NoError(t, k.e.FastOpen(wire.Addr{}, 80, 2))
	w := &fastWalk{tb: t, k: k, in: in, up: map[FlowID]bool{}, text: map[FlowID]uint32{}}
	for len(w.in) > 0 {
		w.step()
		w.settle()
	}
	// All that is left dies with its timers.
	for range 40 {
		k.advance(61 * time.Second)
		w.settle()
	}
	require.Zero(t, k.e.fast.pending)
	require.Zero(t, k.e.fast.sending)
	q := &k.e.fast.queues[1]
	require.True(t, q.room(k.e.nowMS))
	require.Equal(t, 0, q.pending, "every place comes back")
	return k.e.Counters().FastOpen
}

func (w *fastWalk) step() {
	k := w.k
	n := w.next() & 3
	tup := w.tuple(n)
	id := w.ids[n]
	switch op := w.next() % 16; op {
	case 0, 1:
		size := int(w.next()) * 5
		if id, err := k.e.ConnectText(&tup, 3, 0, size); err == nil {
			w.ids[n], w.text[id] = id, uint32(size)
		}
	case 2:
		k.e.Abort(id)
		delete(w.up, id)
	case 3:
		k.e.Close(id)
	case 4:
		if m := k.e.SendRoom(id); m > 0 {
			m = 1 + int(w.next())%m
			if k.e.Send(id, m, w.next()&3 == 0) {
				w.text[id] = uint32(m)
			}
		}
	case 5:
		k.advance(time.Duration(w.next()) * 20 * time.Millisecond)
	case 6:
		k.advance(time.Duration(w.next()) * time.Second)
	default:
		w.receive(n, tup)
	}
}

// receive makes a segment near what the engine said last.
func (w *fastWalk) receive(n byte, tup wire.Tuple) {
	k, last := w.k, &w.said[n]
	flags := [...]wire.Flags{
		wire.FlagSYN, wire.FlagSYN, wire.FlagSYN | wire.FlagACK, wire.FlagSYN | wire.FlagACK, wire.FlagACK, wire.FlagACK,
		wire.FlagACK | wire.FlagFIN, wire.FlagRST, wire.FlagRST | wire.FlagACK, wire.FlagSYN | wire.FlagFIN,
	}
	s := wire.Segment{Tuple: tup, Flags: flags[int(w.next())%len(flags)], Win: uint16(w.next()) << 4}
	what := w.next()
	s.Seq = last.Ack + wire.Seq(int8(what&0xf0)/16)*40
	if what&1 == 0 {
		s.Seq = last.Ack
	}
	if s.Flags&wire.FlagACK != 0 {
		s.Ack = last.Seq + wire.Seq(last.SegLen())
		switch what >> 1 & 7 {
		case 0:
			s.Ack -= wire.Seq(w.next())
		case 1:
			s.Ack = last.Seq + 1
		}
	}
	if what&8 != 0 {
		s.Len = uint32(w.next()) * 2
	}
	if s.Flags&wire.FlagSYN != 0 {
		s.Opt.Has, s.Opt.MSS = wire.HasMSS, uint16(w.next())*6
		switch w.next() & 7 {
		case 0, 1, 2:
			s.Opt.Has |= wire.HasFastOpen
			old := k.tup
			k.tup = tup
			s.Opt.TFOLen = uint8(copy(s.Opt.TFO[:], k.cookie("good")))
			k.tup = old
		case 3:
			s.Opt.Has |= wire.HasFastOpen
		case 4:
			s.Opt.Has |= wire.HasFastOpen | wire.FastOpenExp
			s.Opt.TFOLen = 4 + w.next()%7*2
		}
	}
	segs, act := [1]wire.Segment{s}, [1]Action{}
	k.e.Handle(k.now, k.ring.Load(), refs(segs[:]), act[:])
	if act[0] == Answer {
		require.False(w.tb, s.Flags&wire.FlagRST != 0 && segs[0].Flags&wire.FlagRST != 0, "a reset for a reset")
		w.hear(&segs[0])
	}
}

func (w *fastWalk) hear(s *wire.Segment) {
	for n := range byte(4) {
		if s.Tuple == w.tuple(n) && s.Flags&wire.FlagRST == 0 {
			w.said[n] = *s
		}
	}
}

// settle takes events and Output, and audits.
func (w *fastWalk) settle() {
	e := w.k.e
	for i := range e.Events() {
		ev := &e.Events()[i]
		if ev.Kind == EventEstablished {
			require.False(w.tb, w.up[ev.Flow], "established twice")
			w.up[ev.Flow] = true
			tup := e.Info(ev).Tuple
			for n := range byte(4) {
				if tup == w.tuple(n) {
					w.ids[n] = ev.Flow
				}
			}
			continue
		}
		if ev.Kind != EventClosed || !ev.Active {
			require.True(w.tb, w.up[ev.Flow], "event %d of a flow that is not up", ev.Kind)
		}
		if ev.Kind == EventClosed {
			delete(w.up, ev.Flow)
		}
	}
	e.EndBurst()
	for i := range e.Output() {
		o := &e.Output()[i]
		if o.Payload {
			require.NotZero(w.tb, o.Seg.Len)
			require.LessOrEqual(w.tb, o.Seg.Len, o.Text)
			require.LessOrEqual(w.tb, o.Text, w.text[o.Flow], "text that nobody gave")
			if r := e.get(o.Flow); r != nil && r.state >= Established {
				require.LessOrEqual(w.tb, o.Seg.Len, uint32(r.mss))
			}
		}
		w.hear(&o.Seg)
	}
	e.Sent(len(e.Output()))
	c := e.Counters()
	require.Empty(w.tb, c.Check())
	f := &e.fast
	free := 0
	for n := f.free; n != 0; n = f.slots[n].next {
		free++
	}
	require.Equal(w.tb, len(f.slots)-1, free+f.pending, "places")
	require.Equal(w.tb, f.queues[1].pending, f.pending+f.queues[1].waiting)
	require.LessOrEqual(w.tb, f.queues[1].pending, 2)
	pending, sending, known := 0, 0, uint64(0)
	for i := uint32(1); i < e.fresh; i++ {
		r := &e.recs[i]
		if r.state > Closed {
			known++
		}
		if r.handedOver() {
			pending++
			require.Zero(w.tb, r.flags2&flagHalfOpen)
		}
		if r.state == SynSent && r.sndNxt != r.sndUna+1 {
			sending++
		}
	}
	require.Equal(w.tb, f.pending, pending)
	require.Equal(w.tb, f.sending, sending)
	require.Equal(w.tb, c.Flows, known)
}
