package worker

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// fastSource opens one flow with text when asked to.
type fastSource struct {
	t    *testing.T
	app  uint16
	text []byte
	tup  wire.Tuple
}

func (s *fastSource) Poll(w *Worker, _ int64) int64 {
	if s.text == nil {
		return Never
	}
	if known, _, _ := w.Resolve(s.tup.Remote); !known {
		return 0
	}
	s.tup.LocalPort++
	_, err := w.ConnectText(&s.tup, s.app, s.text)
	require.NoError(s.t, err)
	s.text = nil
	return Never
}

// Text on SYNs from end to end, as applications see it: the first open asks for a
// cookie, the second has its text on the SYN, which is answered before the handshake is over.
func TestTFO_003_014_HND_001_TextFromEndToEnd(t *testing.T) {
	for _, k := range []struct {
		name     string
		v6, bare bool
	}{{"v4", false, false}, {"v6", true, false}, {"v4 bare", false, true}, {"v6 bare", true, true}} {
		v6 := k.v6
		t.Run(k.name, func(t *testing.T) {
			src := &fastSource{t: t, tup: wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: 5000}}
			if v6 {
				src.tup.Remote, src.tup.Local = wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}, wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}
			}
			p := newPair(t, handshake.Config{FastOpenCache: 16}, src)
			var server, client []string
			var got, back bytes.Buffer
			name := func(f *Flow, what string) string {
				if f.Info().FastOpen {
					what += " fast"
				}
				return what
			}
			app, err := p.server.AddApp(Callbacks{
				Bare:        k.bare,
				FastOpen:    4,
				Established: func(f *Flow) { server = append(server, name(f, "established")) },
				Confirmed:   func(*Flow) { server = append(server, "confirmed") },
				Data: func(f *Flow, b []byte) {
					server = append(server, fmt.Sprint("data ", len(b)))
					got.Write(b)
					if got.Len() >= 9 && bytes.HasSuffix(got.Bytes(), []byte(".")) {
						require.True(t, f.Reply([]byte("answer"), true))
					}
				},
				Closed: func(_ *Flow, why handshake.CloseReason) { server = append(server, why.String()) },
			})
			require.NoError(t, err)
			require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
			src.app, err = p.client.AddApp(Callbacks{
				Bare:        k.bare,
				Established: func(f *Flow) { client = append(client, name(f, "established")) },
				Data:        func(_ *Flow, b []byte) { back.Write(b) },
				Closed:      func(_ *Flow, why handshake.CloseReason) { client = append(client, why.String()) },
			})
			require.NoError(t, err)
			run := func(text []byte, wantServer, wantClient []string) {
				t.Helper()
				src.text, server, client = text, nil, nil
				got.Reset()
				back.Reset()
				for range 40 {
					p.step()
				}
				require.Equal(t, wantServer, server)
				require.Equal(t, wantClient, client)
				require.Equal(t, string(text), got.String())
				require.Equal(t, "answer", back.String())
				require.Empty(t, p.client.texts.busy)
				require.Empty(t, p.server.texts.busy)
				checkPair(t, p)
			}
			run([]byte("question."), []string{"established", "data 9", "done"}, []string{"established", "done"})
			run([]byte("question."), []string{"established fast", "data 9", "confirmed", "done"}, []string{"established fast", "done"})
			// More than fits beside the options.
			long := bytes.Repeat([]byte("0123456789abcdef"), 100)[:p.client.TextRoom(src.tup.Remote)]
			long[len(long)-1] = '.'
			onSYN := len(long) + 12 - 40
			run(long, []string{"established fast", fmt.Sprint("data ", onSYN), "confirmed", fmt.Sprint("data ", len(long)-onSYN), "done"}, []string{"established fast", "done"})
			cs, ss := p.client.Engine().FastOpen, p.server.Engine().FastOpen
			require.Equal(t, handshake.FastOpenCounters{Asked: 1, Learned: 1, Sent: 2, Taken: 2}, cs)
			require.Equal(t, handshake.FastOpenCounters{Requests: 1, Accepted: 2, Confirmed: 2}, ss)
		})
	}
}

// A client whose buffers are gone opens nothing, and one that fails keeps none.
func TestConnectTextBuffers(t *testing.T) {
	p := newPair(t, handshake.Config{MTU: 9000}, &fastSource{t: t})
	app, err := p.client.AddApp(Callbacks{Bare: true})
	require.NoError(t, err)
	tup := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: 5000}
	require.Equal(t, textSize, p.client.TextRoom(tup.Remote))
	_, err = p.client.ConnectText(&tup, app, make([]byte, textSize+1))
	require.ErrorIs(t, err, ErrNoText)
	require.EqualValues(t, 1, p.client.snapshot().ReplyNoBuffer)
	id, err := p.client.ConnectText(&tup, app, make([]byte, textSize))
	require.NoError(t, err)
	_, err = p.client.ConnectText(&tup, app, []byte("x"))
	require.ErrorIs(t, err, handshake.ErrTupleInUse)
	require.Len(t, p.client.texts.free, 1)
	p.client.Abort(id)
	require.Len(t, p.client.texts.free, 2)
	require.Empty(t, p.client.texts.busy)
	require.Equal(t, 2, p.client.texts.made)
	_, err = p.client.ConnectText(&tup, app, nil)
	require.NoError(t, err)
	require.Empty(t, p.client.texts.busy)

	cb := Callbacks{Bare: true, FastOpen: handshake.MaxFastOpen + 1}
	app, err = p.server.AddApp(cb)
	require.NoError(t, err)
	require.ErrorContains(t, p.server.Listen(wire.Addr{}, 80, app), "FastOpen 65536")
	require.ErrorIs(t, p.server.engine.FastOpen(wire.Addr{}, 80, 1), handshake.ErrNoListener, "nothing is left behind")
}

// The SYN-ACK is acknowledged at once, also when the answer came in the same burst and does not ask
// for it: until then the server may not count on its peer (RFC 9293 §3.10.7.3, TFO-014).
func TestTFO_014_SynAckIsAcknowledgedBehindText(t *testing.T) {
	src := &fastSource{t: t, tup: wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: 5000}}
	p := newPair(t, handshake.Config{FastOpenCache: 16}, src)
	confirmed, answered := 0, 0
	app, err := p.server.AddApp(Callbacks{
		FastOpen:  4,
		Confirmed: func(*Flow) { confirmed++ },
		Data:      func(f *Flow, _ []byte) { require.Equal(t, 6, f.Write([]byte("answer"))) },
	})
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
	src.app, err = p.client.AddApp(Callbacks{Data: func(*Flow, []byte) { answered++ }})
	require.NoError(t, err)
	for i := range 2 {
		src.text = []byte("question")
		for range 40 { // 80 µs: no delayed ACK is due
			p.step()
		}
		require.Equal(t, i+1, answered)
	}
	require.Equal(t, 1, confirmed, "of the second, which came with text")
}
