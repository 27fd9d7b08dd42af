package main

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// appPair is a client that a test writes and an application, on one wire in memory,
// stepped by hand.
type appPair struct {
	t              testing.TB
	client, server *fastsyn.Worker
	app            app
	now            int64
	connect        func(w *fastsyn.Worker)
}

func (p *appPair) Poll(w *fastsyn.Worker, _ int64) int64 {
	if p.connect != nil {
		if known, _, _ := w.Resolve(wire.Addr4(0x0a000001)); known {
			c := p.connect
			p.connect = nil
			c(w)
		}
	}
	return 0
}

// appPoll is what the application has to do by itself.
type appPoll struct{ p *appPair }

func (s appPoll) Poll(w *fastsyn.Worker, now int64) int64 {
	if a, ok := s.p.app.(appSource); ok {
		if src := a.source(0); src != nil {
			return src.Poll(w, now)
		}
	}
	return worker.Never
}

// newAppPair serves what args, flags of serve, say.
func newAppPair(t testing.TB, args ...string) *appPair {
	t.Helper()
	o := new(serveFlags)
	require.NoError(t, newServeOf(o).ParseFlags(args))
	require.NoError(t, o.checkApp())
	require.NoError(t, o.stream.apply(&o.cfg))
	p := &appPair{t: t, now: 1_700_000_000_000_000_000}
	ours, theirs, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	mk := func(port dataplane.Port, addr string, engine handshake.Config, fc flow.Config, src fastsyn.Source) *fastsyn.Worker {
		t.Cleanup(func() { require.NoError(t, port.Close()) })
		n, err := worker.NewNet([6]byte(port.Info().MAC), []netip.Prefix{netip.MustParsePrefix(addr)}, nil, nil)
		require.NoError(t, err)
		ring, err := cookie.NewRing(secret, time.Unix(0, p.now), cookie.RingConfig{})
		require.NoError(t, err)
		h, err := secret.Hasher()
		require.NoError(t, err)
		engine.MaxFlows = 64
		w, err := worker.New(worker.Config{
			Port: port, Net: n, Engine: engine, Flow: fc, Hasher: h, Ring: ring, Clock: func() int64 { return p.now }, CPU: -1, Source: src,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.Free()) })
		return w
	}
	p.server = mk(ours, "10.0.0.1/24", o.cfg.Engine, o.cfg.Flow, appPoll{p})
	p.client = mk(theirs, "10.0.0.2/24", handshake.Config{TimeWait: -1}, flow.Config{}, p)
	kind, arg, err := parseApp(o.app)
	require.NoError(t, err)
	p.app, err = kind.open(o, arg, appEnv{workers: 1, say: t.Logf})
	require.NoError(t, err)
	t.Cleanup(p.app.close)
	id, err := p.server.AddApp(o.callbacks(p.app, nil, new(serveState)))
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, id))
	return p
}

func (p *appPair) step() {
	p.now += 10_000
	p.client.Step()
	p.now += 10_000
	p.server.Step()
}

// until steps until done, for a minute of the pair's clock at most.
func (p *appPair) until(what string, done func() bool) {
	p.t.Helper()
	for end := p.now + int64(time.Minute); !done(); p.step() {
		require.Less(p.t, p.now, end, "%s: not after a minute", what)
	}
}

// dial opens n flows with cb.
func (p *appPair) dial(cb fastsyn.Callbacks, n int) {
	app, err := p.client.AddApp(cb)
	require.NoError(p.t, err)
	p.connect = func(w *fastsyn.Worker) {
		for i := range n {
			_, err := w.Connect(&wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: uint16(5000 + i)}, app)
			require.NoError(p.t, err)
		}
	}
}

// check requires that all sums close, and that nothing is left when no flow is.
func (p *appPair) check() {
	p.t.Helper()
	for _, w := range []*fastsyn.Worker{p.client, p.server} {
		s := w.Snapshot()
		require.Empty(p.t, s.Check())
		require.Zero(p.t, s.CallbackPanics)
		if s.Streams.Now == 0 {
			require.Zero(p.t, s.Streams.BlocksInUse)
			require.Zero(p.t, s.Streams.Sending)
		}
	}
}

// talker sends text and keeps what comes back.
type talker struct {
	text     []byte
	sent     int
	got      bytes.Buffer
	deaf     bool // what comes is held and not consumed
	held     int
	eof      bool
	over     bool
	why      fastsyn.CloseReason
	id       fastsyn.FlowID
	keepOpen bool
}

func (k *talker) write(f *fastsyn.Flow) {
	k.sent += f.Write(k.text[k.sent:])
	if k.sent == len(k.text) && !k.keepOpen {
		f.Close()
	}
}

func (k *talker) callbacks() fastsyn.Callbacks {
	return fastsyn.Callbacks{
		Established: func(f *fastsyn.Flow) { k.id = f.ID(); k.write(f) },
		Writable:    k.write,
		Data: func(f *fastsyn.Flow, p []byte) {
			k.got.Write(p)
			if k.deaf {
				k.held += len(p)
				f.Hold(len(p))
			}
		},
		PeerClosed: func(*fastsyn.Flow) { k.eof = true },
		Closed:     func(_ *fastsyn.Flow, why fastsyn.CloseReason) { k.over, k.why = true, why },
	}
}

// randomText is reproducible nonsense.
func randomText(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func TestEcho_EveryByteComesBack(t *testing.T) {
	for name, args := range map[string][]string{
		"defaults":      nil,
		"small buffers": {"--send-buffer", "2048", "--rcv-window", "5000"},
		"nagle":         {"--nagle", "--send-buffer", "4096"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newAppPair(t, append(args, "--app", "echo")...)
			k := &talker{text: randomText(300_000)}
			p.dial(k.callbacks(), 1)
			p.until("the end", func() bool { return k.over })
			require.Equal(t, handshake.ReasonDone, k.why)
			require.True(t, bytes.Equal(k.text, k.got.Bytes()), "got %d bytes", k.got.Len())
			p.until("the server's end", func() bool { return p.server.Snapshot().Streams.Now == 0 })
			p.check()
			require.EqualValues(t, len(k.text), p.app.counts(0)["bytes"])
			require.Zero(t, p.app.counts(0)["backlog_chunks_now"])
			require.Zero(t, p.app.counts(0)["reset_no_memory"])
		})
	}
}

// A peer that sends and does not read is held up by its own windows, and costs no more than both
// buffers; when it reads, all is there.
func TestEcho_APeerThatDoesNotRead(t *testing.T) {
	const window, buffer = 64 << 10, 32 << 10
	p := newAppPair(t, "--app", "echo", "--rcv-window", "64K", "--send-buffer", "32K")
	k := &talker{text: randomText(4 << 20), deaf: true}
	p.dial(k.callbacks(), 1)
	p.until("the flow", func() bool { return k.sent > 0 })
	last := -1
	for last != k.got.Len() || p.server.Snapshot().Streams.BytesIn == 0 {
		last = k.got.Len()
		for range 20_000 {
			p.step()
		}
	}
	s := p.server.Snapshot().Streams
	require.Less(t, int(s.BytesIn), len(k.text), "it does not get rid of its text")
	waits := p.app.counts(0)["backlog_chunks_now"]
	require.NotZero(t, waits)
	require.LessOrEqual(t, waits, uint64(window/chunkSize+1))
	require.LessOrEqual(t, s.BytesIn-uint64(k.got.Len()), uint64(window+buffer))
	k.deaf = false
	p.client.Flow(k.id).Consumed(k.held)
	p.until("the end", func() bool { return k.over })
	require.Equal(t, handshake.ReasonDone, k.why)
	require.True(t, bytes.Equal(k.text, k.got.Bytes()))
	p.check()
	require.Zero(t, p.app.counts(0)["backlog_chunks_now"])
}

// A flow that ends with a backlog leaves none behind.
func TestEcho_AbortWithBacklog(t *testing.T) {
	p := newAppPair(t, "--app", "echo", "--rcv-window", "64K", "--send-buffer", "2048")
	k := &talker{text: randomText(4 << 20), deaf: true}
	p.dial(k.callbacks(), 1)
	p.until("a backlog", func() bool { return p.app.counts(0)["backlog_chunks_now"] > 0 })
	p.client.Flow(k.id).Abort()
	p.until("the end", func() bool { return p.server.Snapshot().Streams.Now == 0 })
	require.Zero(t, p.app.counts(0)["backlog_chunks_now"])
	require.EqualValues(t, 1, p.server.Snapshot().Engine.Reset)
	p.check()
}

// When the backlogs of all flows have used up --text-memory, a flow is reset and counted; the others
// go on.
func TestEcho_NoMemoryForABacklog(t *testing.T) {
	p := newAppPair(t, "--app", "echo", "--send-buffer", "2048", "--rcv-window", "64K")
	a := p.app.(*echoApp)
	a.cores[0].pool.limit = 2
	k := &talker{text: randomText(1 << 20), deaf: true}
	p.dial(k.callbacks(), 1)
	p.until("the reset", func() bool { return k.over })
	require.Equal(t, handshake.ReasonReset, k.why)
	require.EqualValues(t, 1, p.app.counts(0)["reset_no_memory"])
	require.Zero(t, p.app.counts(0)["backlog_chunks_now"])
	p.step()
	p.check()
	ok := &talker{text: []byte("another flow")}
	p.dial(ok.callbacks(), 1)
	p.until("the end", func() bool { return ok.over })
	require.Equal(t, "another flow", ok.got.String())
	p.check()
}

func TestDiscard_CountsAllText(t *testing.T) {
	p := newAppPair(t, "--app", "discard")
	k := &talker{text: randomText(1 << 20)}
	p.dial(k.callbacks(), 1)
	p.until("the end", func() bool { return k.over })
	require.Equal(t, handshake.ReasonDone, k.why)
	require.Zero(t, k.got.Len())
	require.EqualValues(t, 1<<20, p.app.counts(0)["bytes"])
	s := p.server.Snapshot().Streams
	require.Empty(t, p.app.(appSums).sums(&s))
	s.BytesIn--
	require.NotEmpty(t, p.app.(appSums).sums(&s))
	p.until("the server's end", func() bool { return p.server.Snapshot().Streams.Now == 0 })
	p.check()
}

// accept takes text without looking at it, keeps the flow, and closes when the peer does.
func TestAccept_UntilThePeerCloses(t *testing.T) {
	p := newAppPair(t, "--app", "accept")
	k := &talker{text: randomText(100_000), keepOpen: true}
	p.dial(k.callbacks(), 1)
	p.until("all of the text", func() bool { return p.server.Snapshot().Streams.BytesIn == 100_000 })
	for range 1000 {
		p.step()
	}
	require.False(t, k.eof)
	p.client.Flow(k.id).Close()
	p.until("the end", func() bool { return k.over })
	require.Equal(t, handshake.ReasonDone, k.why)
	require.True(t, k.eof)
	require.Zero(t, k.got.Len())
	p.check()
}

func TestEchoOnce_FirstPieceThenClose(t *testing.T) {
	p := newAppPair(t, "--app", "echo-once")
	k := &talker{text: []byte("once"), keepOpen: true}
	p.dial(k.callbacks(), 1)
	p.until("the FIN", func() bool { return k.eof })
	require.Equal(t, "once", k.got.String())
	p.client.Flow(k.id).Close()
	p.until("the end", func() bool { return k.over })
	require.Equal(t, handshake.ReasonDone, k.why)
	p.check()
}

// A segment through echo, also one whose reply has to wait, and through discard costs no allocation
// once warm.
func TestEchoDiscard_NoAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector allocates")
	}
	for name, args := range map[string][]string{
		"echo":              {"--app", "echo"},
		"echo with backlog": {"--app", "echo", "--send-buffer", "2048"},
		"discard":           {"--app", "discard"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newAppPair(t, args...)
			text := randomText(8000)
			got := 0
			write := func(f *fastsyn.Flow) {
				if f.Unacked() < 64<<10 {
					f.Write(text)
				}
			}
			var id fastsyn.FlowID
			p.dial(fastsyn.Callbacks{
				Established: func(f *fastsyn.Flow) { id = f.ID() },
				Data:        func(_ *fastsyn.Flow, b []byte) { got += len(b) },
			}, 1)
			turn := func() {
				write(p.client.Flow(id))
				for range 4 {
					p.step()
				}
			}
			for range 500 {
				turn()
			}
			before := p.server.Snapshot().Streams.BytesIn
			n := testing.AllocsPerRun(200, turn)
			require.Zero(t, n)
			require.Greater(t, p.server.Snapshot().Streams.BytesIn, before+100_000)
			require.Equal(t, name != "discard", got > 0)
			if name == "echo with backlog" {
				require.NotZero(t, p.app.counts(0)["backlogs"])
			}
			p.check()
		})
	}
}
