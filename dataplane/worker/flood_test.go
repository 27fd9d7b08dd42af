package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// A callback that takes too long: what has begun goes on, new SYNs wait for as
// long as it took (HND-006, FLD-004).
func TestHND_006_SlowCallback(t *testing.T) {
	r := newRigOn(t, dptest.PortConfig{}, Config{Engine: handshake.Config{MaxFlows: 64}, CallbackBudget: 10 * time.Millisecond})
	slow := int64(0)
	app, err := r.AddApp(Callbacks{Bare: true, Established: func(*Flow) { r.now += slow }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	begin := func(port uint16) wire.Segment {
		s := syn(own4, peer4, 80)
		s.RemotePort = port
		out := r.send(t, tcpFrame(r, s, 0))
		if len(out) == 0 {
			return wire.Segment{}
		}
		p := parse(t, out[0])
		s.Seq, s.Ack, s.Flags = 1001, p.Seg.Seq+1, wire.FlagACK
		return s
	}
	first, second := begin(1), begin(2)
	slow = int64(10 * time.Millisecond)
	require.Empty(t, r.send(t, tcpFrame(r, first, 0)))
	require.Zero(t, r.snapshot().OverBudget, "just within it")
	require.NotZero(t, begin(3))
	slow = int64(30 * time.Millisecond)
	require.Empty(t, r.send(t, tcpFrame(r, second, 0)))
	require.EqualValues(t, 1, r.snapshot().OverBudget)
	slow = 0
	require.Zero(t, begin(4))
	require.EqualValues(t, 1, r.snapshot().SegmentDrops["accept_queue_full"])
	again := syn(own4, peer4, 80) // the one that has begun before is answered
	again.RemotePort = 3
	require.Len(t, r.send(t, tcpFrame(r, again, 0)), 1)
	r.step(t, int64(30*time.Millisecond))
	require.NotZero(t, begin(5))
	require.Equal(t, uint64(2), r.Engine().Accepted)
}

// What unproven peers were sent, against what they sent, in bytes of frames.
func TestCKI_014_UnprovenBytes(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64, Cookies: handshake.CookiesAlways})
	app, err := r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	in, out := 0, 0
	for i, c := range []struct {
		opt  wire.Options
		port uint16
	}{
		{wire.Options{}, 80},
		{wire.Options{Has: wire.HasTimestamps, TSVal: 1}, 80}, // no MSS: the answer has none either
		{wire.Options{Has: wire.HasMSS | wire.HasWScale | wire.HasTimestamps | wire.HasSACKPermitted, MSS: 1460, TSVal: 1}, 80},
		{wire.Options{Has: wire.HasMSS, MSS: 1460}, 99}, // a reset
	} {
		s := syn(own4, peer4, c.port)
		s.RemotePort, s.Opt = uint16(1000+i), c.opt
		frame := tcpFrame(r, s, 0)
		got := r.send(t, frame)
		require.Len(t, got, 1)
		require.LessOrEqual(t, len(got[0]), len(frame))
		in, out = in+len(frame), out+len(got[0])
		p := parse(t, got[0])
		require.Equal(t, c.opt.Has&wire.HasMSS != 0 && c.port == 80, p.Seg.Opt.Has&wire.HasMSS != 0)
	}
	s := r.snapshot()
	require.EqualValues(t, in, s.UnprovenIn)
	require.EqualValues(t, out, s.UnprovenOut)
	require.LessOrEqual(t, s.UnprovenOut, s.UnprovenIn)

	// A stored half-open: its repetitions count.
	r = newRig(t, handshake.Config{MaxFlows: 64})
	app, err = r.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	frame := tcpFrame(r, syn(own4, peer4, 80), 0)
	one := len(r.send(t, frame)[0])
	n := uint64(one)
	for range 70 {
		for _, f := range r.step(t, int64(time.Second)) {
			require.Equal(t, one, len(f))
			n += uint64(one)
		}
	}
	require.EqualValues(t, 6*one, n)
	require.Equal(t, n, r.snapshot().UnprovenOut)
	require.EqualValues(t, len(frame), r.snapshot().UnprovenIn)
}

// The accept queue of a listener is the application's to empty.
func TestFLD_004_TakeOnWorker(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	var got []handshake.FlowID
	app, err := r.AddApp(Callbacks{Bare: true, Established: func(f *Flow) { got = append(got, f.ID()) }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	require.NoError(t, r.SetGate(wire.Addr{}, 80, handshake.Gate{Backlog: 1}))
	require.Error(t, r.SetGate(wire.Addr{}, 81, handshake.Gate{Backlog: 1}))
	s := syn(own4, peer4, 80)
	p := parse(t, r.send(t, tcpFrame(r, s, 0))[0])
	s.Seq, s.Ack, s.Flags = 1001, p.Seg.Seq+1, wire.FlagACK
	r.send(t, tcpFrame(r, s, 0))
	require.Len(t, got, 1)
	next := syn(own4, peer4, 80)
	next.RemotePort = 7
	require.Empty(t, r.send(t, tcpFrame(r, next, 0)))
	require.True(t, r.Take(got[0]))
	require.Len(t, r.send(t, tcpFrame(r, next, 0)), 1)
}
