package worker

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// pair is a client and a server worker on one in-memory wire, stepped by hand.
type pair struct {
	client, server *Worker
	now            int64
}

func newPair(t testing.TB, engine handshake.Config, src Source) *pair {
	t.Helper()
	return newPairOn(t, engine, src, func(p dataplane.Port) dataplane.Port { return p })
}

// newPairOn is newPair with both ends of the wire decorated.
func newPairOn(t testing.TB, engine handshake.Config, src Source, decorate func(dataplane.Port) dataplane.Port) *pair {
	t.Helper()
	p := &pair{now: 1_700_000_000_000_000_000}
	name := "loop:" + t.Name()
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	mk := func(addr string, src Source, eng handshake.Config) *Worker {
		port, err := dataplane.Open(name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, port.Close()) })
		port = decorate(port)
		pfx := []netip.Prefix{netip.MustParsePrefix(addr), netip.MustParsePrefix(map[bool]string{true: "2001:db8::1/64", false: "2001:db8::2/64"}[src == nil])}
		net, err := NewNet([6]byte(port.Info().MAC), pfx, nil, nil)
		require.NoError(t, err)
		ring, err := cookie.NewRing(secret, time.Unix(0, p.now), cookie.RingConfig{})
		require.NoError(t, err)
		h, err := secret.Hasher()
		require.NoError(t, err)
		w, err := New(Config{Port: port, Net: net, Engine: eng, Hasher: h, Ring: ring, Clock: func() int64 { return p.now }, CPU: -1, Source: src})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.Free()) })
		return w
	}
	p.server = mk("10.0.0.1/24", nil, engine)
	ceng := engine
	ceng.TimeWait = -1
	p.client = mk("10.0.0.2/24", src, ceng)
	return p
}

// step runs one round of each side.
func (p *pair) step() {
	p.now += 1000
	p.client.round()
	p.now += 1000
	p.server.round()
}

// opener keeps n flows in flight.
type opener struct {
	app           uint16
	ready         bool
	v6            bool
	n, inflight   int
	port          uint16
	done, refused int
	fin           bool
}

func (o *opener) Poll(w *Worker, now int64) int64 {
	t := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80}
	if o.v6 {
		t.Remote, t.Local = wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}, wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}
	}
	if !o.ready {
		o.app, _ = w.AddApp(Callbacks{
			Established: func(f *Flow) {
				o.done++
				if o.fin {
					f.Close()
					return
				}
				o.inflight--
				f.Abort()
			},
			Closed: func(_ *Flow, why handshake.CloseReason) {
				o.inflight--
				if why == handshake.ReasonRefused {
					o.refused++
				}
			},
		})
		o.ready = true
	}
	if known, _, _ := w.Resolve(t.Remote); !known {
		return 0
	}
	for o.inflight < o.n && w.ConnectRoom() > 0 {
		o.port++
		if o.port < 1024 {
			o.port = 1024
		}
		t.LocalPort = o.port
		if _, err := w.Connect(&t, o.app); err == nil {
			o.inflight++
		} else if !errors.Is(err, handshake.ErrTupleInUse) {
			return 0
		}
	}
	return 0
}

func checkPair(t *testing.T, p *pair) {
	t.Helper()
	for _, w := range []*Worker{p.client, p.server} {
		s := w.snapshot()
		require.Empty(t, s.Check(), "%+v", s)
		require.Zero(t, s.CallbackPanics)
	}
}

func TestLoopHandshakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		v6   bool
		fin  bool
		pol  handshake.CookiePolicy
	}{
		{"v4-rst-never", false, false, handshake.CookiesNever},
		{"v4-fin-never", false, true, handshake.CookiesNever},
		{"v4-rst-always", false, false, handshake.CookiesAlways},
		{"v6-fin-always", true, true, handshake.CookiesAlways},
		{"v6-rst-pressure", true, false, handshake.CookiesPressure},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &opener{n: 64, v6: tc.v6, fin: tc.fin}
			p := newPair(t, handshake.Config{Cookies: tc.pol, MaxFlows: 4096}, o)
			accepted := 0
			app, err := p.server.AddApp(Callbacks{Established: func(*Flow) { accepted++ }, AutoClose: true})
			require.NoError(t, err)
			require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
			for range 3000 {
				p.step()
			}
			o.n = 0
			for range 20 {
				p.step()
			}
			checkPair(t, p)
			require.Greater(t, o.done, 10_000)
			require.Equal(t, o.done, accepted)
			require.Zero(t, o.inflight)
			require.Zero(t, p.server.Engine().Flows)
			require.Zero(t, p.client.Engine().Flows)
		})
	}
}

func TestLoopRefused(t *testing.T) {
	o := &opener{n: 8}
	p := newPair(t, handshake.Config{MaxFlows: 64}, o)
	for range 200 {
		p.step()
	}
	o.n = 0
	for range 10 {
		p.step()
	}
	checkPair(t, p)
	require.Greater(t, o.refused, 100)
	require.Zero(t, o.done)
	require.Zero(t, o.inflight)
}

// With several queues an ICMP error reaches the worker that owns the flow it is about.
func TestLSN_021_ErrorsReachTheOwner(t *testing.T) {
	const queues, flows = 4, 64
	ours, theirs, err := loop.Pair(loop.Config{Queues: queues})
	require.NoError(t, err)
	secret := cookie.RandomSecret()
	now := time.Now()
	ring, err := cookie.NewRing(secret, now, cookie.RingConfig{})
	require.NoError(t, err)
	net, err := NewNet([6]byte(ours.Info().MAC), prefixes("10.0.0.2/24"), nil, nil)
	require.NoError(t, err)
	var workers []*Worker
	for i := range queues {
		h, err := secret.Hasher()
		require.NoError(t, err)
		w, err := New(Config{
			ID: i, Port: ours, Net: net, Engine: handshake.Config{MaxFlows: 1024, Cookies: handshake.CookiesNever}, Hasher: h, Ring: ring,
			Clock: now.UnixNano, CPU: -1,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.Free()) })
		app, err := w.AddApp(Callbacks{})
		require.NoError(t, err)
		require.NoError(t, w.Listen(wire.Addr{}, 80, app))
		workers = append(workers, w)
	}
	batch := dataplane.NewBatch()
	send := func(frame []byte) {
		require.Equal(t, 1, theirs.Queue(0).Blank(batch, 1))
		batch.Data[0], batch.Verdict[0] = append(batch.Data[0], frame...), dataplane.Reply
		require.Equal(t, 1, theirs.Queue(0).Settle(batch))
	}
	halfOpen := func() (n uint64) {
		for _, w := range workers {
			w.round()
			n += w.Engine().HalfOpen
		}
		return n
	}
	r := &rig{hw: net.MAC}
	for i := range flows {
		s := syn(own4, peer4, 80)
		s.RemotePort += uint16(i)
		send(tcpFrame(r, s, 0))
	}
	require.EqualValues(t, flows, halfOpen())
	var answers [][]byte
	for i := range queues {
		for theirs.Queue(i).Rx(batch) > 0 {
			for _, d := range batch.Data[:batch.N] {
				answers = append(answers, bytes.Clone(d))
			}
			theirs.Queue(i).Settle(batch)
		}
		require.NotZero(t, workers[i].Engine().HalfOpen, "every worker has some")
	}
	require.Len(t, answers, flows)
	for _, a := range answers {
		send(unreachable(net.MAC, a))
	}
	require.Zero(t, halfOpen())
}

func TestLoopAllocs(t *testing.T) {
	o := &opener{n: 64}
	p := newPair(t, handshake.Config{MaxFlows: 4096}, o)
	app, err := p.server.AddApp(Callbacks{AutoClose: true})
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
	for range 2000 {
		p.step()
	}
	require.Zero(t, testing.AllocsPerRun(2000, p.step))
}

func BenchmarkLoopHandshake(b *testing.B) {
	for _, bc := range []struct {
		name string
		pol  handshake.CookiePolicy
	}{{"cookies=never", handshake.CookiesNever}, {"cookies=always", handshake.CookiesAlways}} {
		b.Run(bc.name, func(b *testing.B) {
			o := &opener{n: 256}
			p := newPair(b, handshake.Config{Cookies: bc.pol, MaxFlows: 65536}, o)
			app, _ := p.server.AddApp(Callbacks{AutoClose: true})
			_ = p.server.Listen(wire.Addr{}, 80, app)
			for range 100 {
				p.step()
			}
			start := o.done
			for b.Loop() {
				p.step()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(o.done-start), "ns/handshake")
		})
	}
}
