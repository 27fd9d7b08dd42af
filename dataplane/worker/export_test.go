package worker

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// idle is a source of nothing, which makes the client's side have an address of its own.
type idle struct{}

func (idle) Poll(_ *Worker, now int64) int64 { return now + int64(time.Second) }

// successor makes a worker at the place of p.server, with the same secret and clock and
// an echo on its port, as echoServer has it.
func (p *pair) successor(t *testing.T, engine handshake.Config) *Worker {
	t.Helper()
	c := p.server.cfg
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	h, err := secret.Hasher()
	require.NoError(t, err)
	w, err := New(Config{Port: c.Port, Net: c.Net, Engine: engine, Hasher: h, Ring: c.Ring, Clock: func() int64 { return p.now }, CPU: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Free()) })
	echoServer(t, w)
	return w
}

// echoServer has w send back what comes to port 80. It closes when its peer does.
func echoServer(t *testing.T, w *Worker) *handshake.FlowID {
	t.Helper()
	id := new(handshake.FlowID)
	app, err := w.AddApp(Callbacks{
		Established: func(f *Flow) { *id = f.ID() },
		Data: func(f *Flow, q []byte) {
			*id = f.ID()
			require.Equal(t, len(q), f.Write(q))
		},
	})
	require.NoError(t, err)
	require.NoError(t, w.Listen(wire.Addr{}, 80, app))
	return id
}

// requireClosed requires that the sums of a worker close, but for those of the port, which several had.
func requireClosed(t *testing.T, w *Worker) {
	t.Helper()
	e, s := w.Engine(), w.streams.Counters()
	require.Empty(t, e.Check())
	require.Empty(t, s.Check())
}

// A transfer goes on when its flow is moved to another worker over and over: with text in flight both ways, with
// nothing in flight, and after our FIN. Sequence numbers, timestamps and windows are those of before:
// the peer sees one connection, and every byte once.
func TestHND_007_FlowMovesToAnotherWorker(t *testing.T) {
	for _, tc := range []struct {
		name   string
		engine handshake.Config
		v6     bool
	}{
		{"HND-007 all options", handshake.Config{}, false},
		{"HND-007 IPv6", handshake.Config{}, true},
		{"HND-007 no options", handshake.Config{NoTimestamps: true, NoSACK: true, NoWScale: true}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.engine.MaxFlows = 64
			p := newPair(t, tc.engine, idle{})
			id := echoServer(t, p.server)
			text := make([]byte, 3_000_000)
			for i := range text {
				text[i] = byte(i*i>>7) ^ byte(i)
			}
			sent, got := 0, []byte(nil)
			closed, why := false, handshake.ReasonNone
			write := func(f *Flow) { // the echo has room for so much
				sent += f.Write(text[sent:min(len(text), len(got)+256<<10)])
				if sent == len(text) {
					f.Close()
				}
			}
			app, err := p.client.AddApp(Callbacks{
				Established: write,
				Data: func(f *Flow, q []byte) {
					got = append(got, q...)
					write(f)
				},
				PeerClosed: func(*Flow) {},
				Closed:     func(_ *Flow, w handshake.CloseReason) { closed, why = true, w },
			})
			require.NoError(t, err)
			tuple := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: 5000}
			if tc.v6 {
				tuple.Remote, tuple.Local = wire.AddrFrom(netip.MustParseAddr("2001:db8::1")), wire.AddrFrom(netip.MustParseAddr("2001:db8::2"))
			}
			_, err = p.client.Connect(&tuple, app)
			require.NoError(t, err)

			moves, withText := 0, 0
			for n := 0; !closed; n++ {
				require.Less(t, n, 20_000, "%d of %d bytes came back", len(got), len(text))
				p.step()
				p.now += 10_000
				if n%5 != 4 || !id.Valid() || moves == 50 {
					continue
				}
				e, ok := p.server.Export(*id)
				if !ok {
					continue // about to end
				}
				require.False(t, p.server.streams.Has(*id))
				require.Zero(t, p.server.streams.Counters().Sending)
				if len(e.Text) > 0 {
					withText++
				}
				old := p.server
				p.server = p.successor(t, tc.engine)
				*id, err = p.server.Import(&e)
				require.NoError(t, err)
				_, err = p.server.Import(&e)
				require.ErrorIs(t, err, handshake.ErrTupleInUse)
				moves++
				requireClosed(t, old)
				require.Equal(t, uint64(1), old.Engine().Exported)
			}
			require.Equal(t, handshake.ReasonDone, why)
			require.True(t, bytes.Equal(text, got))
			require.Greater(t, moves, 5)
			require.Greater(t, withText, 2)
			requireClosed(t, p.client)
			requireClosed(t, p.server)
			c, s := p.client.Engine(), p.server.Engine()
			require.Equal(t, uint64(1), s.Imported)
			require.Zero(t, c.ResetsSent+s.ResetsSent)
		})
	}
}

// What cannot be moved stays, and says so.
func TestHND_007_Refusals(t *testing.T) {
	p := newPair(t, handshake.Config{MaxFlows: 64}, idle{})
	_, ok := p.server.Export(handshake.FlowID{})
	require.False(t, ok)
	_, err := p.server.Import(&flow.Export{})
	require.ErrorIs(t, err, errNoStreams)
	id := echoServer(t, p.server)
	app, err := p.client.AddApp(Callbacks{PeerClosed: func(*Flow) {}})
	require.NoError(t, err)
	tuple := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: 5000}
	mine, err := p.client.Connect(&tuple, app)
	require.NoError(t, err)
	_, ok = p.client.Export(mine)
	require.False(t, ok, "a handshake is no stream")
	for range 100 {
		p.now += int64(time.Millisecond)
		p.step()
	}
	e, ok := p.server.Export(*id)
	require.True(t, ok)
	_, ok = p.server.Export(*id)
	require.False(t, ok, "it is gone")
	bare := p.successor(t, handshake.Config{MaxFlows: 64})
	_, err = bare.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	_, err = bare.Import(&e)
	require.NoError(t, err)
	require.Equal(t, handshake.Established, bare.StateOf(&wire.Tuple{Remote: tuple.Local, Local: tuple.Remote, RemotePort: 5000, LocalPort: 80}))
}
