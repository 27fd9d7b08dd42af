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
	"github.com/fastsyn/fastsyn/rss"
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
			Bare: true,
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
			app, err := p.server.AddApp(Callbacks{Bare: true, Established: func(*Flow) { accepted++ }, AutoClose: true})
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

// fan is a port with several queues and a worker for each, stepped by hand; the
// test is what is at the other end of the wire.
type fan struct {
	t       *testing.T
	workers []*Worker
	theirs  dataplane.Port
	batch   *dataplane.Batch
	rig     *rig // for what makes frames
	now     int64
}

func newFan(t *testing.T, queues int, cb Callbacks) *fan {
	t.Helper()
	ours, theirs, err := loop.Pair(loop.Config{Queues: queues})
	require.NoError(t, err)
	f := &fan{t: t, theirs: theirs, batch: dataplane.NewBatch(), now: 1_700_000_000_000_000_000}
	secret := cookie.RandomSecret()
	ring, err := cookie.NewRing(secret, time.Unix(0, f.now), cookie.RingConfig{})
	require.NoError(t, err)
	net, err := NewNet([6]byte(ours.Info().MAC), prefixes("10.0.0.2/24", "2001:db8::2/64"), nil, nil)
	require.NoError(t, err)
	f.rig = &rig{hw: net.MAC}
	for i := range queues {
		h, err := secret.Hasher()
		require.NoError(t, err)
		w, err := New(Config{
			ID: i, Port: ours, Net: net, Engine: handshake.Config{MaxFlows: 1024, Cookies: handshake.CookiesNever}, Hasher: h, Ring: ring,
			Clock: func() int64 { return f.now }, CPU: -1,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, w.Free()) })
		app, err := w.AddApp(cb)
		require.NoError(t, err)
		require.NoError(t, w.Listen(wire.Addr{}, 80, app))
		f.workers = append(f.workers, w)
	}
	return f
}

func (f *fan) send(frame []byte) {
	f.t.Helper()
	require.Equal(f.t, 1, f.theirs.Queue(0).Blank(f.batch, 1))
	f.batch.Data[0], f.batch.Verdict[0] = append(f.batch.Data[0], frame...), dataplane.Reply
	require.Equal(f.t, 1, f.theirs.Queue(0).Settle(f.batch))
}

// round is one of every worker. It returns what they sent.
func (f *fan) round() (out [][]byte) {
	f.t.Helper()
	f.now += 1000
	for _, w := range f.workers {
		w.round()
		s := w.snapshot()
		require.Empty(f.t, s.Check())
	}
	for i := range f.workers {
		for f.theirs.Queue(i).Rx(f.batch) > 0 {
			for _, d := range f.batch.Data[:f.batch.N] {
				out = append(out, bytes.Clone(d))
			}
			f.theirs.Queue(i).Settle(f.batch)
		}
	}
	return out
}

// With several queues an ICMP error reaches the worker that owns the flow it is about.
func TestLSN_021_RSS_010_ErrorsReachTheOwner(t *testing.T) {
	const queues, flows = 4, 64
	f := newFan(t, queues, Callbacks{Bare: true})
	halfOpen := func() (n uint64) {
		for _, w := range f.workers {
			n += w.Engine().HalfOpen
		}
		return n
	}
	for i := range flows {
		s := syn(own4, peer4, 80)
		s.RemotePort += uint16(i)
		f.send(tcpFrame(f.rig, s, 0))
	}
	answers := f.round()
	require.Len(t, answers, flows)
	require.EqualValues(t, flows, halfOpen())
	for _, w := range f.workers {
		require.NotZero(t, w.Engine().HalfOpen, "every worker has some")
	}
	for _, a := range answers {
		f.send(unreachable(f.rig.hw, a))
	}
	require.Empty(t, f.round())
	require.Zero(t, halfOpen())
}

// All segments of a tuple come to one worker, the predicted one: from half-open
// by way of established and TIME-WAIT into its next incarnation.
func TestRSS_010_OneTupleOneWorker(t *testing.T) {
	const queues, flows = 4, 32
	f := newFan(t, queues, Callbacks{Bare: true, Established: func(f *Flow) { f.Close() }})
	info := f.theirs.Info()
	hash := rss.New(rss.Key(info.RSSKey))
	want := make([]uint64, queues) // segments
	segs := make([]wire.Segment, 2*flows)
	predicted := map[wire.Tuple]int{}
	for i := range segs {
		s := &segs[i]
		*s = syn(own4, peer4, 80)
		if i%2 != 0 {
			*s = syn(own6, peer6, 80)
		}
		s.RemotePort += uint16(i)
		h := hash.Hash4(s.Remote.V4(), s.Local.V4(), s.RemotePort, s.LocalPort)
		if i%2 != 0 {
			h = hash.Hash6(s.Remote.Hi, s.Remote.Lo, s.Local.Hi, s.Local.Lo, s.RemotePort, s.LocalPort)
		}
		predicted[s.Tuple] = int(rss.RETA(info.RETA)[int(h)&(len(info.RETA)-1)])
	}
	// exchange sends the segment of each flow and returns the answer to each.
	exchange := func() map[wire.Tuple]wire.Segment {
		t.Helper()
		for i := range segs {
			f.send(tcpFrame(f.rig, segs[i], 0))
			want[predicted[segs[i].Tuple]]++
		}
		got := map[wire.Tuple]wire.Segment{}
		for _, d := range f.round() {
			p := parse(t, d)
			p.Seg.Local, p.Seg.Remote = p.Seg.Remote, p.Seg.Local
			p.Seg.LocalPort, p.Seg.RemotePort = p.Seg.RemotePort, p.Seg.LocalPort
			require.Zero(t, p.Seg.Flags&wire.FlagRST, "who does not know a flow resets it: %v", p.Seg)
			got[p.Seg.Tuple] = p.Seg
		}
		for i, w := range f.workers {
			require.Equal(t, want[i], w.Engine().Segments, "worker %d", i)
		}
		return got
	}
	for incarnation := range uint32(2) {
		for i := range segs {
			segs[i].Flags, segs[i].Seq, segs[i].Ack = wire.FlagSYN, wire.Seq(1000+1000*incarnation), 0
		}
		got := exchange()
		require.Len(t, got, len(segs), "SYN-ACKs")
		for i := range segs {
			a := got[segs[i].Tuple]
			require.Equal(t, wire.FlagSYN|wire.FlagACK, a.Flags)
			segs[i].Flags, segs[i].Seq, segs[i].Ack = wire.FlagACK, segs[i].Seq+1, a.Seq+1
		}
		got = exchange()
		require.Len(t, got, len(segs), "our FINs")
		for i := range segs {
			require.NotZero(t, got[segs[i].Tuple].Flags&wire.FlagFIN)
			segs[i].Flags, segs[i].Ack = wire.FlagACK|wire.FlagFIN, segs[i].Ack+1
		}
		require.Len(t, exchange(), len(segs), "ACKs of their FINs")
		f.now += sec
		require.Len(t, exchange(), len(segs), "and of the FINs again, from TIME-WAIT")
		for i, w := range f.workers {
			require.NotZero(t, want[i])
			require.Zero(t, w.Engine().EstablishedNow)
			require.EqualValues(t, w.Engine().Flows, want[i]/4/uint64(incarnation+1), "all in TIME-WAIT")
		}
		f.now += sec
	}
}

func TestLoopAllocs(t *testing.T) {
	o := &opener{n: 64}
	p := newPair(t, handshake.Config{MaxFlows: 4096}, o)
	app, err := p.server.AddApp(Callbacks{Bare: true, AutoClose: true})
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
			app, _ := p.server.AddApp(Callbacks{Bare: true, AutoClose: true})
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
