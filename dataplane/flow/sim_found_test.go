package flow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// What the simulation has found, each as small as it gets.

// The pools of both sides are full of text to send, so that neither has memory for what arrives:
// each still takes two segments at a time.
func TestStreamsWithFullPools(t *testing.T) {
	c := simConfig{name: "full pools", seed: 1, flows: 30, limit: 10 * time.Minute, orderly: true}
	for i := range c.path {
		c.path[i] = simPath{delay: time.Millisecond}
		c.side[i] = simSide{
			engine: handshake.Config{MaxFlows: 40, RcvWindow: 3000, TimeWait: time.Second},
			table:  Config{Memory: 64 * BlockSize, SendBuffer: 10_000},
			app:    simApp{text: 20_000, chunk: 10_000, exact: true},
		}
	}
	w := newSim(t, c)
	defer w.free()
	full := [2]bool{}
	w.each = func() {
		for i, d := range w.nodes {
			full[i] = full[i] || d.t.pool.Left() <= d.t.spare()
		}
	}
	w.run()
	require.Equal(t, [2]bool{true, true}, full)
}

// Half of the ACKs are lost and there is no SACK. A copy whose ACK arrives echoes the timestamp of the first:
// taken for a round trip it made the timeout longer each time, up to two minutes.
func TestDAT_007_LostACKs(t *testing.T) {
	c := simConfig{name: "lost ACKs", seed: 2, flows: 5, limit: 5 * time.Minute, orderly: true}
	for i := range c.path {
		c.path[i] = simPath{delay: 100 * time.Millisecond}
		c.side[i] = simSide{
			engine: handshake.Config{MaxFlows: 40, NoSACK: true, TimeWait: time.Second, SYNRetries: 20, SYNACKRetries: 20},
			table:  Config{Memory: 1 << 20, SendBuffer: 2048},
			app:    simApp{chunk: 100, exact: true},
		}
	}
	c.side[0].app.text = 30_000
	c.path[1].ackLoss = 0.5
	w := newSim(t, c)
	defer w.free()
	w.each = func() {
		for i := range w.nodes[0].t.conns {
			if c := &w.nodes[0].t.conns[i]; c.state != 0 && c.snd != 0 {
				require.Less(t, w.nodes[0].t.senders.at(c.snd).rto.base(), uint32(4_000_000))
			}
		}
	}
	w.run()
	require.NotZero(t, w.nodes[0].t.ctr.Timeouts)
}

// SND.WND belongs to the newest ACK: neither does the right edge move by what a segment with a lower
// SEG.SEQ acknowledges, nor by what an old one says.
func TestDAT_004_WND_005_OldSegments(t *testing.T) {
	c := conn{wl1: 5000, wl2: 100, wnd: 1000, maxWnd: 1000}
	edge := func(una wire.Seq) wire.Seq { return una + wire.Seq(c.sndWnd()) }
	require.EqualValues(t, 1100, edge(100))
	require.True(t, c.window(&wire.Segment{Seq: 4000, Ack: 200, Win: 900}, 100), "text sent again, with a new ACK")
	require.EqualValues(t, 1100, edge(200))
	require.False(t, c.window(&wire.Segment{Seq: 6000, Ack: 100, Win: 1000}, 200), "an old ACK with new text")
	require.EqualValues(t, 1100, edge(200))
	require.False(t, c.window(&wire.Segment{Seq: 3000, Ack: 200, Win: 2000}, 200), "old text with the same ACK")
	require.True(t, c.window(&wire.Segment{Seq: 4000, Ack: 200, Win: 2000}, 200), "an update")
	require.EqualValues(t, 2200, edge(200))
}

// A flow that finds no memory for its first byte has no sender, waits without haste, and is told when there is some.
func TestWriteWithoutMemory(t *testing.T) {
	o := newOneFlow(t, 0)
	var taken []Block
	for o.t.pool.Left() > o.t.spare() {
		b, ok := o.t.pool.Get()
		require.True(t, ok)
		taken = append(taken, b)
	}
	require.Zero(t, o.t.Write(o.id, []byte("text")))
	require.Zero(t, o.t.senders.inUse())
	o.flush()
	require.Zero(t, o.writable)
	for _, b := range taken {
		o.t.pool.Put(b)
	}
	o.now += 2 * starvedRetry * 1e6
	o.t.SetClock(o.now)
	o.flush()
	require.Equal(t, 1, o.writable)
	require.Equal(t, 4, o.t.Write(o.id, []byte("text")))
	o.flush()
	require.Equal(t, 1, o.sent)
}

// An application that releases its flow in Data gets nothing of what was held behind that text, and the
// peer learns that nobody reads it.
func TestRST_014_ReleasedInData(t *testing.T) {
	o := newOneFlow(t, wire.HasSACKPermitted)
	o.from(o.seq+100, o.ack)
	o.step(make([]byte, 100), nil)
	o.release = true
	o.from(o.seq, o.ack)
	o.step(make([]byte, 100), nil)
	require.Equal(t, 100, o.told)
	require.Equal(t, 1, o.closed)
	require.Len(t, o.e.Output(), 1)
	require.Equal(t, wire.FlagRST, o.e.Output()[0].Seg.Flags&wire.FlagRST)
	require.Zero(t, o.t.Counters().BlocksInUse)
}

// The burst that brings a flow to TIME-WAIT brings a RST too: it ends the record, and the application hears once.
func TestTWT_007_ResetInTheBurst(t *testing.T) {
	o := newOneFlow(t, 0)
	require.True(t, o.t.Close(o.id))
	o.flush()
	o.ack++ // of the FIN
	fin := wire.Segment{Tuple: o.tup, Seq: o.seq, Ack: o.ack, Flags: wire.FlagACK | wire.FlagFIN, Win: 1000}
	rst := wire.Segment{Tuple: o.tup, Seq: o.seq + 1, Ack: o.ack, Flags: wire.FlagACK | wire.FlagRST}
	var act [2]handshake.Action
	o.e.Handle(o.now, o.keys, []*wire.Segment{&fin, &rst}, act[:])
	for i := range o.e.Events() {
		ev := &o.e.Events()[i]
		o.t.Segment(ev, []*wire.Segment{&fin, &rst}[ev.Seg], nil, nil)
	}
	o.flush()
	o.e.EndBurst()
	require.Equal(t, 1, o.closed)
	require.Equal(t, handshake.Closed, o.e.StateOf(&o.tup))
	c := o.e.Counters()
	require.Empty(t, c.Check())
	require.Zero(t, c.EstablishedNow+c.Flows)
}

// A peer that closes its window before text it had asked for, and answers each copy of that, is waited for as if the
// copies were probes; when it falls silent it is given up.
func TestDAT_004_005_ShrunkenWindow(t *testing.T) {
	o := newOneFlow(t, 0)
	first := o.ack
	require.Equal(t, 100, o.t.Write(o.id, make([]byte, 100)))
	o.flush()
	fire := func() {
		in, ok := o.t.NextTimer()
		require.True(t, ok)
		o.now += int64(max(in, 1)) * 1e6
		o.t.SetClock(o.now)
		o.flush()
	}
	for sent := o.sent; o.sent < sent+2*o.t.cfg.Retries; {
		before := o.sent
		fire()
		if o.sent != before {
			o.from(o.seq, first)
			o.seg.Win = 0
			o.step(nil, nil)
		}
		require.Zero(t, o.closed)
	}
	since := o.now
	for o.closed == 0 {
		fire()
		require.Less(t, o.now-since, int64(10*time.Minute))
	}
	require.Equal(t, handshake.Closed, o.t.State(o.id))
	require.Zero(t, o.t.wheel.count)
}

// Before the first byte is acknowledged there is no older ACK than SND.UNA.
func TestRST_007_AckOfISS(t *testing.T) {
	o := newOneFlow(t, 0)
	iss := o.ack - 1
	o.from(o.seq, iss)
	o.step([]byte("guessed"), nil)
	require.Zero(t, o.told)
	require.Equal(t, 1, o.acks)
	require.EqualValues(t, 1, o.t.Counters().Challenges)
	// Later one may be late.
	o.t.Write(o.id, make([]byte, 1000))
	o.flush()
	o.from(o.seq, o.ack)
	o.step(nil, nil)
	o.from(o.seq, iss+1)
	o.step([]byte("late"), nil)
	require.Equal(t, 4, o.told)
}
