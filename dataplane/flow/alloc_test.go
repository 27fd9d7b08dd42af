package flow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// oneFlow is a table with one flow, whose peer is the test.
type oneFlow struct {
	e        *handshake.Engine
	t        *Table
	keys     *cookie.Keys
	now      handshake.Time
	id       handshake.FlowID
	tup      wire.Tuple
	seq, ack wire.Seq // what the peer sends next, and what it has
	in       [1]*wire.Segment
	seg      wire.Segment
	act      [1]handshake.Action
	out      Out
	buf      [2048]byte
	sent     int // segments with text
	acks     int // without
	told     int // bytes of Data
	hold     bool
	release  bool // in Data
	writable int
	closed   int
}

func (o *oneFlow) Data(id handshake.FlowID, _ uint16, text []byte) {
	o.told += len(text)
	if o.hold {
		o.t.Hold(id, len(text))
	}
	if o.release {
		o.t.Release(id)
	}
}

func (o *oneFlow) Writable(handshake.FlowID, uint16)                      { o.writable++ }
func (o *oneFlow) PeerClosed(handshake.FlowID, uint16)                    {}
func (o *oneFlow) Closed(handshake.FlowID, uint16, handshake.CloseReason) { o.closed++ }

func newOneFlow(t *testing.T, opt wire.OptionSet) *oneFlow {
	t.Helper()
	o := &oneFlow{now: simStart, seq: 100, tup: wire.Tuple{Local: simAddr4[1], Remote: simAddr4[0], LocalPort: 80, RemotePort: 999}}
	h, err := simSecret(t, 1).Hasher()
	require.NoError(t, err)
	ring, err := cookie.NewRing(simSecret(t, 25), time.Unix(0, o.now), cookie.RingConfig{})
	require.NoError(t, err)
	o.keys = ring.Load()
	o.e, err = handshake.New(handshake.Config{MaxFlows: 4}, h)
	require.NoError(t, err)
	o.t, err = New(Config{Memory: 1 << 20, Statics: 100}, o.e, o, o.now)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, o.t.Free())
		require.NoError(t, o.e.Free())
	})
	o.e.Streams(0)
	require.NoError(t, o.e.Listen(wire.Addr{}, 80, 0, false))
	o.seg = wire.Segment{Seq: o.seq, Flags: wire.FlagSYN, Win: 65535, Opt: wire.Options{Has: wire.HasMSS | opt, MSS: 1460, WScale: 7, TSVal: uint32(o.now / 1e6)}}
	o.step(nil, nil)
	require.Equal(t, handshake.Answer, o.act[0])
	iss, ecr := o.seg.Seq, o.seg.Opt.TSVal
	o.seq++
	o.ack = iss + 1
	o.seg = wire.Segment{Seq: o.seq, Ack: o.ack, Flags: wire.FlagACK, Win: 65535, Opt: wire.Options{Has: opt & wire.HasTimestamps, TSVal: uint32(o.now / 1e6), TSEcr: ecr}}
	o.step(nil, nil)
	require.NotZero(t, o.t.ctr.Now)
	return o
}

// step is a round of a worker that receives o.seg.
func (o *oneFlow) step(text []byte, blocks []wire.SACKBlock) {
	o.now += 1e6
	o.t.SetClock(o.now)
	o.seg.Tuple, o.seg.Len = o.tup, uint32(len(text))
	o.in[0] = &o.seg
	o.e.Handle(o.now, o.keys, o.in[:], o.act[:])
	for i := range o.e.Events() {
		ev := &o.e.Events()[i]
		switch ev.Kind {
		case handshake.EventEstablished:
			o.id = ev.Flow
			o.t.Open(ev, false, nil)
		case handshake.EventSegment:
			o.t.Segment(ev, &o.seg, text, blocks)
		default:
		}
	}
	o.e.EndBurst()
	for {
		if _, ok := o.t.Answer(&o.out); !ok {
			break
		}
		o.took()
	}
	o.flush()
}

func (o *oneFlow) flush() {
	o.t.Advance(64)
	for o.t.Output(&o.out) {
		o.took()
	}
}

func (o *oneFlow) took() {
	if n := o.out.Seg.Len; n != 0 {
		o.t.Text(&o.out, o.buf[:n])
		o.sent++
		if end := o.out.Seg.Seq + wire.Seq(n); o.ack.Less(end) {
			o.ack = end
		}
		return
	}
	o.acks++
}

// from makes o.seg an ACK of the peer.
func (o *oneFlow) from(seq, ack wire.Seq) {
	o.seg = wire.Segment{Seq: seq, Ack: ack, Flags: wire.FlagACK, Win: 65535, Opt: wire.Options{Has: o.seg.Opt.Has & wire.HasTimestamps, TSVal: uint32(o.now / 1e6), TSEcr: o.out.Seg.Opt.TSVal}}
}

// No segment and no call of an application costs an allocation, once warm.
func TestStreamAllocations(t *testing.T) {
	const all = wire.HasTimestamps | wire.HasSACKPermitted | wire.HasWScale
	text := make([]byte, 1400)
	for _, c := range []struct {
		name string
		opt  wire.OptionSet
		turn func(o *oneFlow)
		done func(o *oneFlow) int // grows with each turn
	}{
		{"text in order", all, func(o *oneFlow) {
			o.from(o.seq, o.ack)
			o.step(text, nil)
			o.seq += wire.Seq(len(text))
		}, func(o *oneFlow) int { return o.told }},
		{"text behind a hole, and the hole filled", all, func(o *oneFlow) {
			o.from(o.seq+1400, o.ack)
			o.step(text, nil)
			o.from(o.seq, o.ack)
			o.step(text, nil)
			o.seq += 2800
		}, func(o *oneFlow) int { return int(o.t.ctr.Filled) }},
		{"write, sent, acknowledged", all, func(o *oneFlow) {
			o.t.Write(o.id, text)
			o.flush()
			o.from(o.seq, o.ack)
			o.step(nil, nil)
		}, func(o *oneFlow) int { return o.sent }},
		{"write static", wire.HasSACKPermitted, func(o *oneFlow) {
			o.t.WriteStatic(o.id, text)
			o.flush()
			o.from(o.seq, o.ack)
			o.step(nil, nil)
		}, func(o *oneFlow) int { return o.sent }},
		{"ACK with SACK, sent again", all, func(o *oneFlow) {
			first := o.ack
			for range 5 {
				o.t.Write(o.id, text)
			}
			o.flush()
			blocks := [1]wire.SACKBlock{{Left: first + 1400, Right: o.ack}}
			o.now += 10e6
			o.from(o.seq, first)
			o.step(nil, blocks[:])
			o.now += 10e6
			o.t.SetClock(o.now)
			o.flush()
			o.from(o.seq, o.ack)
			o.step(nil, nil)
		}, func(o *oneFlow) int { return int(o.t.ctr.Resent) }},
		{"duplicate ACKs without SACK", 0, func(o *oneFlow) {
			first := o.ack
			for range 5 {
				o.t.Write(o.id, text)
			}
			o.flush()
			for range 3 {
				o.from(o.seq, first)
				o.step(nil, nil)
			}
			o.from(o.seq, o.ack)
			o.step(nil, nil)
		}, func(o *oneFlow) int { return int(o.t.ctr.Resent) }},
		{"held and consumed", all, func(o *oneFlow) {
			o.hold = true
			o.from(o.seq, o.ack)
			o.step(text, nil)
			o.seq += wire.Seq(len(text))
			o.t.Consumed(o.id, len(text))
			o.flush()
		}, func(o *oneFlow) int { return o.told }},
		{"the timeout", all, func(o *oneFlow) {
			o.t.Write(o.id, text)
			o.flush()
			for range 3 {
				in, _ := o.t.NextTimer()
				o.now += int64(max(in, 1)) * 1e6
				o.t.SetClock(o.now)
				o.flush()
			}
			o.from(o.seq, o.ack)
			o.step(nil, nil)
		}, func(o *oneFlow) int { return int(o.t.ctr.Timeouts) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOneFlow(t, c.opt)
			for range 300 {
				c.turn(o)
			}
			before := c.done(o)
			require.Zero(t, testing.AllocsPerRun(300, func() { c.turn(o) }))
			require.GreaterOrEqual(t, c.done(o)-before, 100, "%+v", o.t.Counters())
			ctr := o.t.Counters()
			require.Empty(t, ctr.Check())
			require.EqualValues(t, 1, ctr.Now)
		})
	}
}
