package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// burst injects frames that are received together, and returns what came out.
func (r *rig) burst(t *testing.T, frames ...[]byte) [][]byte {
	t.Helper()
	for _, b := range frames {
		r.port.Inject(0, b, dataplane.Meta{})
	}
	return r.step(t, 1000)
}

func textFrame(r *rig, s wire.Segment, text string) []byte {
	b := make([]byte, 512)
	l := wire.Link{Dst: r.hw, Src: peerHW}
	s.Local, s.Remote = s.Remote, s.Local
	s.LocalPort, s.RemotePort = s.RemotePort, s.LocalPort
	n := wire.PutLink(b, &l, s.Local.EtherType())
	return b[:n+wire.PutTCP(b[n:], &s, []byte(text))]
}

// open completes a handshake and returns a segment to go on from.
func (r *rig) open(t *testing.T) wire.Segment {
	t.Helper()
	s := syn(own4, peer4, 80)
	p := parse(t, r.send(t, tcpFrame(r, s, 0))[0])
	s.Seq, s.Ack, s.Flags = 1001, p.Seg.Seq+1, wire.FlagACK
	return s
}

// Text that is acknowledged and more of the peer's come in one burst: the reply
// to the latter must not lose its buffer to the former.
func TestHND_002_ReplyBeforeTheAckOfTheLast(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	app, err := r.AddApp(Callbacks{Bare: true, Data: func(f *Flow, p []byte) { require.True(t, f.Reply(p, false)) }})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := r.open(t)
	s.Flags |= wire.FlagPSH
	out := r.burst(t, textFrame(r, s, "one"))
	require.Len(t, out, 2, "the ACK and the reply")
	more, ack := s, s
	more.Seq += 3
	ack.Seq, ack.Ack, ack.Flags = more.Seq+3, s.Ack+3, wire.FlagACK
	out = r.burst(t, textFrame(r, more, "two"), tcpFrame(r, ack, 0))
	require.Len(t, out, 2, "the ACK and the reply")
	p := parse(t, out[1])
	require.Equal(t, "two", string(out[1][p.Data:p.End]))
	again := r.step(t, int64(1100*time.Millisecond))
	require.Len(t, again, 1)
	p = parse(t, again[0])
	require.Equal(t, "two", string(again[0][p.Data:p.End]))
	ack.Ack += 3
	r.burst(t, tcpFrame(r, ack, 0))
	require.Empty(t, r.texts.busy)
}

// One ACK answers all text of a flow that came in a burst, whatever lies between, and text of ours takes it along; another
// flow has its own.
func TestDAT_015_OneAckForABurst(t *testing.T) {
	r := newRig(t, handshake.Config{MaxFlows: 64})
	answer := false
	got := ""
	app, err := r.AddApp(Callbacks{Data: func(f *Flow, p []byte) {
		got += string(p)
		if answer {
			require.Equal(t, 2, f.Write([]byte("ok")))
		}
	}})
	require.NoError(t, err)
	require.NoError(t, r.Listen(wire.Addr{}, 80, app))
	s := r.open(t)
	other := syn(own4, peer4, 80)
	other.RemotePort++
	p := parse(t, r.send(t, tcpFrame(r, other, 0))[0])
	other.Seq, other.Ack, other.Flags = 1001, p.Seg.Seq+1, wire.FlagACK
	require.Empty(t, r.burst(t, tcpFrame(r, s, 0), tcpFrame(r, other, 0)))

	next := func(s *wire.Segment, text string) []byte {
		s.Flags = wire.FlagACK | wire.FlagPSH
		b := textFrame(r, *s, text)
		s.Seq += wire.Seq(len(text))
		return b
	}
	out := r.burst(t, next(&s, "one "), next(&other, "1 "), next(&s, "two "), next(&s, "three "), next(&other, "2 "), next(&s, "four "), tcpFrame(r, s, 0))
	require.Equal(t, "one 1 two three 2 four ", got)
	require.Len(t, out, 2, "one ACK each")
	for i, want := range []*wire.Segment{&other, &s} { // each in the last frame of its flow
		p := parse(t, out[i])
		require.Equal(t, wire.FlagACK, p.Seg.Flags)
		require.Equal(t, want.RemotePort, p.Seg.LocalPort)
		require.Equal(t, want.Seq, p.Seg.Ack)
		require.Zero(t, p.Seg.Len)
	}
	answer = true
	out = r.burst(t, next(&s, "five "), next(&s, "six "))
	require.Len(t, out, 1, "the ACK goes with the text")
	p = parse(t, out[0])
	require.Equal(t, s.Seq, p.Seg.Ack)
	require.Equal(t, "okok", string(out[0][p.Data:p.End]))
	c := r.snapshot()
	require.Empty(t, c.Check())
	require.Equal(t, uint64(2), c.Streams.Acks)
	require.Equal(t, uint64(1), c.Streams.TextOut)
}
