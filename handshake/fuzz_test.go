package handshake

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// FuzzEngine reads bytes as a sequence of bursts, time steps and calls against a
// small engine. The first byte picks the configuration; numbers of segments are chosen
// near those of the flow they hit, so that the deep states are reached.
func FuzzEngine(f *testing.F) {
	f.Add([]byte{0, 0, 2, 0, 0, 0, 0, 0, 16, 1, 1, 0, 0, 0, 24, 1, 1, 10, 0, 0, 17, 1, 1, 0})
	f.Add([]byte{1, 0, 2, 0, 0, 0, 0, 0, 16, 1, 1, 0, 0, 0, 4, 1, 1, 0})
	f.Add([]byte{2, 9, 0, 0, 18, 0, 1, 0, 10, 0, 11, 0, 7, 200, 0, 0, 17, 1, 1, 0})
	f.Add([]byte{3, 9, 0, 0, 2, 0, 0, 0, 0, 16, 1, 1, 0, 12, 5, 0, 0, 16, 1, 2, 0, 10, 0, 8, 255})
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
			if i%5 == 0 {
				b[i] %= 14
			}
		}
		f.Add(b)
	}
	f.Fuzz(fuzzEngine)
}

type fuzzFlow struct{ up, closed bool }

func fuzzEngine(t *testing.T, in []byte) {
	next := func() byte {
		if len(in) == 0 {
			return 0
		}
		b := in[0]
		in = in[1:]
		return b
	}
	conf := next()
	cfg := Config{
		MaxFlows: 1 + int(conf>>4), Cookies: CookiePolicy(conf % 3), TimeWait: time.Duration(int(conf>>2&1)*-1) * time.Second,
		SYNRetries: 2, SYNACKRetries: 2, DataRetries: 3, CookieFleet: conf&8 != 0, MinStay: time.Second,
	}
	k := newKit(t, cfg)
	e := k.e
	flows := map[FlowID]*fuzzFlow{}
	var ids [8]FlowID
	var lastSeq, lastAck, lastTS [8]uint32 // of what the engine said, by tuple
	tuple := func(n byte) wire.Tuple {
		tup := k.tup
		if n&4 != 0 {
			tup.Remote, tup.Local = peer6, our6
		}
		tup.RemotePort += uint16(n & 3)
		if n&3 == 3 {
			tup.LocalPort = 81
		}
		return tup
	}
	hear := func(s *wire.Segment) {
		for n := range byte(8) {
			if s.Tuple == tuple(n) {
				lastSeq[n], lastAck[n], lastTS[n] = uint32(s.Seq)+s.SegLen(), uint32(s.Ack), s.Opt.TSVal
			}
		}
		if s.Flags&wire.FlagACK == 0 && s.Ack != 0 || s.Flags&wire.FlagRST != 0 && (s.Opt.Has != 0 || s.Len != 0) && s.Opt.Has != wire.HasTimestamps {
			require.Fail(t, "malformed", "%+v", s)
		}
	}
	var segs [MaxBurst]wire.Segment
	var act [MaxBurst]Action
	n := 0
	settle := func() {
		if n > 0 {
			var before [MaxBurst]wire.Segment
			copy(before[:], segs[:n])
			e.Handle(k.now, k.ring.Load(), refs(segs[:n]), act[:])
			for i := range n {
				if act[i] == Silent {
					continue
				}
				hear(&segs[i])
				require.Equal(t, before[i].Tuple, segs[i].Tuple)
				if before[i].Flags&segs[i].Flags&wire.FlagRST != 0 {
					require.Fail(t, "a reset for a reset")
				}
			}
		}
		for i := range e.Events() {
			ev := &e.Events()[i]
			fl := flows[ev.Flow]
			switch {
			case ev.Kind == EventEstablished:
				require.False(t, fl != nil && fl.up, "established twice")
				if fl == nil {
					fl = &fuzzFlow{}
					flows[ev.Flow] = fl
				}
				fl.up = true
				tup := e.Info(ev).Tuple
				for j := range byte(8) {
					if tuple(j) == tup {
						ids[j] = ev.Flow
					}
				}
			case ev.Kind == EventClosed:
				require.False(t, fl == nil || fl.closed, "closed twice")
				fl.closed = true
			default:
				require.True(t, fl != nil && fl.up && !fl.closed, "event %d of a flow that is not up", ev.Kind)
			}
			if ev.Kind == EventData {
				require.True(t, ev.Seg >= 0 && int(ev.Seg) < n && ev.Len > 0)
			}
		}
		n = 0
		e.EndBurst()
		require.LessOrEqual(t, len(e.Output()), maxOutput)
		for i := range e.Output() {
			hear(&e.Output()[i].Seg)
		}
		e.Sent(len(e.Output()))
		c := e.Counters()
		require.Empty(t, c.Check())
		require.LessOrEqual(t, int(c.Flows), cfg.MaxFlows)
	}
	for len(in) > 0 {
		switch op := next(); op % 16 {
		default: // a segment into the burst
			j := next() & 7
			s := &segs[n]
			*s = wire.Segment{Tuple: tuple(j), Win: 1000, Flags: wire.Flags(next())}
			near := func(base uint32) wire.Seq {
				switch d := next(); {
				case d < 250:
					return wire.Seq(base + uint32(int32(int8(d)))/8)
				default:
					return wire.Seq(base + uint32(d)<<uint(d&15))
				}
			}
			s.Seq, s.Ack = near(lastAck[j]), near(lastSeq[j])
			o := next()
			s.Len = uint32(o & 15)
			if o&16 != 0 {
				s.Opt.Has |= wire.HasTimestamps
				s.Opt.TSVal = uint32(k.now/1e6) + uint32(op>>4)
				s.Opt.TSEcr = lastTS[j] + uint32(op>>6)
			}
			if o&32 != 0 {
				s.Opt.Has |= wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted
				s.Opt.MSS, s.Opt.WScale = uint16(o)<<3, o&15
			}
			if n++; n == MaxBurst || op&16 == 0 {
				settle()
			}
		case 7: // time
			settle()
			k.now += int64(next()) * int64(time.Millisecond)
			k.advance(0)
		case 8:
			settle()
			k.now += int64(next()) * int64(time.Second)
			k.advance(0)
		case 9:
			settle()
			j := next() & 7
			tu := tuple(j)
			if id, err := e.Connect(&tu, 0, 0); err == nil {
				ids[j] = id
				require.Nil(t, flows[id], "a FlowID came back")
				flows[id] = &fuzzFlow{}
			}
		case 10:
			e.Close(ids[next()&7])
		case 11:
			if id := ids[next()&7]; e.Abort(id) {
				flows[id] = &fuzzFlow{true, true}
			}
		case 12:
			b := next()
			e.Send(ids[b&7], 1+int(b>>4), b&8 != 0)
		case 14:
			e.Release(ids[next()&7])
		case 15:
			settle()
			if e.Unlisten(wire.Addr{}, 80) != nil {
				require.NoError(t, e.Listen(wire.Addr{}, 80, 7, false))
			}
		case 13:
			b := next()
			settle()
			tu, seq := tuple(b&7), wire.Seq(lastSeq[b&7]-1)
			if b>>6 == 3 {
				e.PathMTU(&tu, seq, uint32(next())<<3)
			} else {
				e.ICMP(tu, seq, ICMPKind(b>>3%4))
			}
		}
	}
	settle()
	// Left alone, everything but idle flows ends.
	for range 60 {
		k.now += int64(10 * time.Second)
		k.advance(0)
		settle()
	}
	c := e.Counters()
	require.Zero(t, c.HalfOpen+c.Opening)
	for id := range flows {
		e.Abort(id)
	}
	e.EndBurst()
	c = e.Counters()
	require.Empty(t, c.Check())
	require.Zero(t, c.Flows)
	for i := range e.tab.buckets {
		require.Zero(t, e.tab.buckets[i].meta)
	}
}
