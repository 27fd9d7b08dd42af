package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// peerFlow is a peer that talks to the rig's port 80 by hand.
type peerFlow struct {
	*rig
	t   *testing.T
	iss wire.Seq // the rig's
}

// inject puts a segment of the peer on the wire; seq and ack count from the ISNs.
func (p *peerFlow) inject(flags wire.Flags, seq, ack uint32, text string) {
	s := syn(own4, peer4, 80)
	s.Flags, s.Seq, s.Ack, s.Opt.Has = flags, wire.Seq(seq), p.iss+wire.Seq(ack), 0
	b := tcpFrame(p.rig, s, 0)
	if text != "" {
		s.Local, s.Remote, s.LocalPort, s.RemotePort = s.Remote, s.Local, s.RemotePort, s.LocalPort
		b = append(b, make([]byte, len(text))...)
		n := wire.PutTCP(b[wire.EthernetLen:], &s, []byte(text))
		b = b[:wire.EthernetLen+n]
	}
	p.port.Inject(0, b, dataplane.Meta{})
}

// answers runs a round and returns the flags of what came out.
func (p *peerFlow) answers() (out []wire.Packet) {
	p.t.Helper()
	for _, f := range p.step(p.t, 1000) {
		out = append(out, parse(p.t, f))
	}
	return out
}

func newPeerFlow(t *testing.T, cb Callbacks) *peerFlow {
	t.Helper()
	p := &peerFlow{rig: newRig(t, handshake.Config{MaxFlows: 64}), t: t}
	app, err := p.AddApp(cb)
	require.NoError(t, err)
	require.NoError(t, p.Listen(wire.Addr{}, 80, app))
	return p
}

// halfOpen exchanges SYN and SYN-ACK.
func (p *peerFlow) halfOpen() {
	p.t.Helper()
	p.inject(wire.FlagSYN, 0, 0, "")
	out := p.answers()
	require.Len(p.t, out, 1)
	require.Equal(p.t, wire.FlagSYN|wire.FlagACK, out[0].Seg.Flags)
	p.iss = out[0].Seg.Seq
}

// An application that turns a flow down hears no more of it, though text, a FIN or a
// reset came in the same burst.
func TestHND_005_RejectedInTheCallback(t *testing.T) {
	const ack = wire.FlagACK
	for _, rest := range []struct {
		name   string
		inject func(p *peerFlow)
	}{
		{"nothing", func(*peerFlow) {}},
		{"text", func(p *peerFlow) { p.inject(ack|wire.FlagPSH, 1, 1, "hello") }},
		{"FIN", func(p *peerFlow) { p.inject(ack|wire.FlagFIN, 1, 1, "") }},
		{"text and reset", func(p *peerFlow) {
			p.inject(ack, 1, 1, "hello")
			p.inject(wire.FlagRST, 6, 1, "")
		}},
	} {
		t.Run(rest.name, func(t *testing.T) {
			var heard []string
			p := newPeerFlow(t, Callbacks{
				Bare:        true,
				Established: func(f *Flow) { heard = append(heard, "established"); f.Abort() },
				Data:        func(*Flow, []byte) { heard = append(heard, "data") },
				PeerClosed:  func(*Flow) { heard = append(heard, "peer closed") },
				Closed:      func(_ *Flow, why handshake.CloseReason) { heard = append(heard, why.String()) },
			})
			p.halfOpen()
			p.inject(ack, 1, 1, "")
			rest.inject(p)
			out := p.answers()
			require.Equal(t, []string{"established"}, heard)
			c := p.Engine()
			require.EqualValues(t, 1, c.Accepted)
			require.Zero(t, c.Flows)
			if rest.name == "text and reset" { // there is nobody to reset any more
				require.EqualValues(t, 1, c.Reset)
				return
			}
			require.EqualValues(t, 1, c.Aborted)
			require.Equal(t, wire.FlagRST|wire.FlagACK, out[len(out)-1].Seg.Flags)
		})
	}
}

func TestRST_014_ReleasedInTheCallback(t *testing.T) {
	var heard []string
	p := newPeerFlow(t, Callbacks{
		Bare:        true,
		Established: func(f *Flow) { heard = append(heard, "established"); f.Release() },
		Data:        func(*Flow, []byte) { heard = append(heard, "data") },
		PeerClosed:  func(*Flow) { heard = append(heard, "peer closed") },
		Closed:      func(_ *Flow, why handshake.CloseReason) { heard = append(heard, why.String()) },
	})
	p.halfOpen()
	p.inject(wire.FlagACK, 1, 1, "")
	p.inject(wire.FlagACK|wire.FlagPSH, 1, 1, "hello") // before the release, and not delivered after it
	out := p.answers()
	require.Equal(t, []string{"established"}, heard)
	require.Equal(t, wire.FlagFIN|wire.FlagACK, out[len(out)-1].Seg.Flags)
	p.inject(wire.FlagACK|wire.FlagPSH, 6, 2, "world")
	out = p.answers()
	require.Len(t, out, 1)
	require.Equal(t, wire.FlagRST, out[0].Seg.Flags)
	require.Equal(t, p.iss+2, out[0].Seg.Seq)
	require.Equal(t, []string{"established", "aborted"}, heard)
	require.Zero(t, p.Engine().Flows)
}

// HND-006: what follows a panic in the burst is not delivered to the flow it cost.
func TestHND_006_NothingAfterThePanic(t *testing.T) {
	data := 0
	p := newPeerFlow(t, Callbacks{
		Bare:        true,
		Established: func(*Flow) { panic("no") },
		Data:        func(*Flow, []byte) { data++ },
	})
	p.halfOpen()
	p.inject(wire.FlagACK, 1, 1, "")
	p.inject(wire.FlagACK|wire.FlagPSH, 1, 1, "hello")
	p.answers()
	require.Zero(t, data)
	require.EqualValues(t, 1, p.snapshot().CallbackPanics)
	require.Zero(t, p.Engine().Flows)
}

func TestLSN_023_Unlisten(t *testing.T) {
	data := 0
	p := newPeerFlow(t, Callbacks{Bare: true, Data: func(*Flow, []byte) { data++ }})
	p.halfOpen()
	require.NoError(t, p.Unlisten(wire.Addr{}, 80))
	require.ErrorIs(t, p.Unlisten(wire.Addr{}, 80), handshake.ErrNoListener)
	require.Empty(t, p.answers(), "the half-open ends untold")
	p.inject(wire.FlagACK, 1, 1, "")
	out := p.answers()
	require.Len(t, out, 1)
	require.Equal(t, wire.FlagRST, out[0].Seg.Flags)

	require.NoError(t, p.Listen(wire.Addr{}, 80, 0))
	p.halfOpen()
	p.inject(wire.FlagACK, 1, 1, "")
	require.Empty(t, p.answers())
	require.NoError(t, p.Unlisten(wire.Addr{}, 80))
	p.inject(wire.FlagACK, 1, 1, "hello")
	p.answers()
	require.Equal(t, 1, data, "a flow that was handed over lives on")
}
