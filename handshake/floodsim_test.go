package handshake

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// attack is a server under a SYN flood and honest clients, in virtual time: one
// step is a millisecond, a segment takes 8 to 12 ms one way, and what goes to the
// server is a frame with checksums, in a receive queue of bounded length.
type attack struct {
	tb     testing.TB
	rng    *rand.Rand
	ring   *cookie.Ring
	now    Time
	server *Engine
	client *Engine

	rx      [][]byte // receive queue of the server
	toSrv   [32][][]byte
	toCli   [32][]wire.Segment
	free    [][]byte
	dropped int // frames that found the receive queue full

	begun    map[FlowID]Time
	abortAt  []clientEnd
	opened   []time.Duration // Connect to ESTABLISHED at the client
	accepted int             // honest flows the server told of
	attempts int
	failed   int
	spoofed  int
	next     int
	mute     bool // nobody lives at the borrowed addresses

	segs [MaxBurst]wire.Segment
	pk   [MaxBurst]wire.Packet
	act  [MaxBurst]Action
}

type clientEnd struct {
	id FlowID
	at Time
}

const (
	attackRTT   = 20 // ms
	attackRX    = 4096
	attackBurst = 1024 // frames the server takes in a millisecond
)

func newAttack(tb testing.TB, cfg Config) *attack {
	tb.Helper()
	a := &attack{tb: tb, rng: rand.New(rand.NewPCG(11, 12)), now: wrapTime, ring: testRing(tb, wrapTime), begun: map[FlowID]Time{}}
	var err error
	a.server, err = New(cfg, testHasher(tb, 1))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, a.server.Free()) })
	a.client, err = New(Config{MaxFlows: 1 << 15}, testHasher(tb, 2))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, a.client.Free()) })
	require.NoError(tb, a.server.Listen(wire.Addr{}, 80, 0, false))
	return a
}

func (a *attack) slot() int64 { return (a.now/1e6 + 8 + a.rng.Int64N(5)) % 32 }

// toServer puts a segment of the client or the attacker on the wire.
func (a *attack) toServer(s *wire.Segment) {
	var b []byte
	if n := len(a.free); n > 0 {
		b, a.free = a.free[n-1], a.free[:n-1]
	} else {
		b = make([]byte, 128)
	}
	b = b[:128]
	n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2}, Src: [6]byte{4}}, s.Local.EtherType())
	n += wire.PutTCP(b[n:], s, nil)
	at := a.slot()
	a.toSrv[at] = append(a.toSrv[at], b[:n])
}

// fromServer takes a segment of the server: honest clients get it, and one in ten
// of the machines whose addresses were borrowed answers a SYN-ACK by a reset.
func (a *attack) fromServer(s *wire.Segment) {
	if s.Remote.V4()>>24 == 10 {
		at := a.slot()
		in := *s
		in.Tuple = swap(s.Tuple)
		a.toCli[at] = append(a.toCli[at], in)
		return
	}
	if !a.mute && s.Flags&wire.FlagSYN != 0 && s.Remote.V4()%10 == 0 {
		r := wire.Segment{Tuple: swap(s.Tuple), Seq: s.Ack, Flags: wire.FlagRST}
		a.toServer(&r)
	}
}

// flood sends n SYNs from the prefixes 96.0.0.0/24, …: spread of them, 1 to 2^20.
func (a *attack) flood(n, spread int) {
	for range n {
		a.spoofed++
		s := wire.Segment{
			Tuple: wire.Tuple{
				Local:  wire.Addr4(96<<24 + uint32(a.rng.IntN(spread))<<8 + a.rng.Uint32N(256)),
				Remote: our4, LocalPort: uint16(1024 + a.rng.IntN(64000)), RemotePort: 80,
			},
			Seq: wire.Seq(a.rng.Uint32()), Flags: wire.FlagSYN, Win: 64240,
			Opt: wire.Options{Has: wire.HasMSS | wire.HasSACKPermitted | wire.HasTimestamps | wire.HasWScale, MSS: 1460, WScale: 7, TSVal: 1},
		}
		a.toServer(&s)
	}
}

// connect begins n honest opens, each from a /24 with 250 others.
func (a *attack) connect(n int) {
	a.client.SetClock(a.now, a.ring.Load())
	for range n {
		t := wire.Tuple{Local: wire.Addr4(10<<24 + uint32(a.next%250)<<8 + uint32(a.next/250%250)), Remote: our4, LocalPort: uint16(1024 + a.next%60000), RemotePort: 80}
		a.next++
		id, err := a.client.Connect(&t, 0, 0)
		require.NoError(a.tb, err)
		a.begun[id] = a.now
		a.attempts++
	}
}

// step is a millisecond.
func (a *attack) step() {
	a.now += 1e6
	a.ring.Advance(time.Unix(0, a.now))
	at := a.now / 1e6 % 32
	for _, b := range a.toSrv[at] {
		if len(a.rx) == attackRX {
			a.dropped++
			a.free = append(a.free, b)
			continue
		}
		a.rx = append(a.rx, b)
	}
	a.toSrv[at] = a.toSrv[at][:0]
	a.serve()
	a.clients(at)
}

func (a *attack) serve() {
	e := a.server
	for taken := 0; len(a.rx) > 0 && taken < attackBurst; {
		n := min(len(a.rx), MaxBurst)
		taken += n
		var in [MaxBurst]*wire.Segment
		for i, b := range a.rx[:n] {
			require.Equal(a.tb, wire.OK, wire.Parse(b, false, &a.pk[i]))
			in[i] = &a.pk[i].Seg
			a.free = append(a.free, b)
		}
		a.rx = a.rx[:copy(a.rx, a.rx[n:])]
		e.Handle(a.now, a.ring.Load(), in[:n], a.act[:])
		for i := range n {
			if a.act[i] == Answer {
				a.fromServer(in[i])
			}
		}
		a.serverEvents()
	}
	e.SetClock(a.now, a.ring.Load())
	e.Advance(a.now, 512)
	a.serverEvents()
	for i := range e.Output() {
		a.fromServer(&e.Output()[i].Seg)
	}
	e.Sent(len(e.Output()))
	if c := e.Counters(); c.Check() != "" || c.HalfOpen > uint64(e.cfg.MaxHalfOpen) || c.Flows > uint64(e.cfg.MaxFlows) {
		a.tb.Fatalf("%s, %d half-open, %d flows", c.Check(), c.HalfOpen, c.Flows)
	}
}

func (a *attack) serverEvents() {
	for i := range a.server.Events() {
		ev := &a.server.Events()[i]
		if ev.Kind == EventEstablished {
			a.server.Take(ev.Flow)
			if a.server.Tuple(ev.Flow).Remote.V4()>>24 != 10 {
				a.tb.Fatalf("a spoofed source was let in")
			}
			a.accepted++
		}
	}
	a.server.EndBurst()
}

func (a *attack) clients(at int64) {
	e := a.client
	in := a.toCli[at]
	for len(in) > 0 {
		n := copy(a.segs[:], in)
		in = in[n:]
		e.Handle(a.now, a.ring.Load(), refs(a.segs[:n]), a.act[:])
		for i := range n {
			if a.act[i] == Answer {
				a.toServer(&a.segs[i])
			}
		}
		a.clientEvents()
	}
	a.toCli[at] = a.toCli[at][:0]
	e.SetClock(a.now, a.ring.Load())
	e.Advance(a.now, 512)
	for len(a.abortAt) > 0 && a.abortAt[0].at <= a.now {
		e.Abort(a.abortAt[0].id)
		a.abortAt = a.abortAt[1:]
	}
	a.clientEvents()
	for i := range e.Output() {
		a.toServer(&e.Output()[i].Seg)
	}
	e.Sent(len(e.Output()))
}

func (a *attack) clientEvents() {
	for i := range a.client.Events() {
		ev := &a.client.Events()[i]
		switch ev.Kind {
		case EventEstablished:
			a.opened = append(a.opened, time.Duration(a.now-a.begun[ev.Flow]))
			a.abortAt = append(a.abortAt, clientEnd{ev.Flow, a.now + 50e6})
			delete(a.begun, ev.Flow)
		case EventClosed:
			if _, ok := a.begun[ev.Flow]; ok {
				delete(a.begun, ev.Flow)
				a.failed++
			}
		case EventData, EventAcked, EventPeerClosed:
		}
	}
	a.client.EndBurst()
}

// within is the share of all attempts that were established within d.
func (a *attack) within(d time.Duration) float64 {
	n := 0
	for _, o := range a.opened {
		n += b2i(o <= d)
	}
	return float64(n) / float64(a.attempts)
}

func (a *attack) percentile(p float64) time.Duration {
	if len(a.opened) == 0 {
		return 0
	}
	slices.Sort(a.opened)
	return a.opened[min(len(a.opened)-1, int(p*float64(len(a.opened))))]
}

// The half-open table holds 1024 and a round trip takes 20 ms, so that it can
// carry 1024/20 ms = 51.2 honest opens per millisecond and no more, whoever they are
// (Little's law). The flood is ten times that. Honest clients open 2 per millisecond.
func TestGoodClientsUnderAttack(t *testing.T) {
	const half, tenfold = 1024, 512
	wide, narrow := 1<<20, 16 // source prefixes of the attacker
	base := Config{MaxFlows: 8192, MaxHalfOpen: half}
	source := Limit{PerSecond: 200, Burst: 50}
	for _, c := range []struct {
		name        string
		policy      CookiePolicy
		flood       FloodConfig
		rate        int
		spread      int
		least, most float64 // share of honest opens within a second
	}{
		{"pressure", CookiesPressure, FloodConfig{}, tenfold, wide, 0.999, 1},
		{"always", CookiesAlways, FloodConfig{}, tenfold, wide, 0.999, 1},
		{"pressure and eviction", CookiesPressure, FloodConfig{EvictOldest: true}, tenfold, wide, 0.999, 1},
		{"source limit and eviction, narrow flood", CookiesNever, FloodConfig{Source: source, EvictOldest: true}, tenfold, narrow, 0.999, 1},
		{"source cookies, narrow flood", CookiesPressure, FloodConfig{Source: source, SourceCookies: true}, tenfold, narrow, 0.999, 1},
		{"all of it, wide flood", CookiesPressure, FloodConfig{Source: source, SourceCookies: true, EvictOldest: true, Resets: Limit{PerSecond: 1000}, SilentBadCookies: true}, tenfold, wide, 0.999, 1},
		{"eviction, half of what the table carries", CookiesNever, FloodConfig{EvictOldest: true}, tenfold / 20, wide, 0.999, 1},
		// What does not help, so that the test is seen to fail where it should.
		{"none", CookiesNever, FloodConfig{}, tenfold, wide, 0, 0.5},
		{"eviction alone", CookiesNever, FloodConfig{EvictOldest: true}, tenfold, wide, 0, 0.5},
		{"source limit alone, narrow flood", CookiesNever, FloodConfig{Source: source}, tenfold, narrow, 0, 0.5},
		{"a limit of all alone", CookiesNever, FloodConfig{SYN: Limit{PerSecond: 10_000}}, tenfold, wide, 0, 0.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := base
			cfg.Cookies, cfg.Flood = c.policy, c.flood
			a := newAttack(t, cfg)
			ms := 1000
			if testing.Short() {
				ms = 200
			}
			for range 200 { // the flood is well under way when the first client comes
				a.flood(c.rate, c.spread)
				a.step()
			}
			capEvents, capOut := cap(a.server.events), cap(a.server.out)
			for range ms {
				a.flood(c.rate, c.spread)
				a.connect(2)
				a.step()
			}
			for range 1000 { // it goes on while the last ones try
				a.flood(c.rate, c.spread)
				a.step()
			}
			// A client that got a SYN-ACK believes it is connected; it counts if the server agrees.
			share := min(a.within(time.Second), float64(a.accepted)/float64(a.attempts))
			ctr := a.server.Counters()
			t.Logf("%d spoofed, %d honest: %.4f open within 1 s, p50 %v, p99 %v; accepted %d, cookies %d, by prefix %d, evicted %d, dropped %d; %d half-open",
				a.spoofed, a.attempts, share, a.percentile(0.5), a.percentile(0.99), a.accepted, ctr.Cookies, ctr.SourceCookies, ctr.HalfOpenEvicted, ctr.SynDropped, ctr.HalfOpen)
			require.GreaterOrEqual(t, share, c.least)
			require.LessOrEqual(t, share, c.most)
			require.Equal(t, capEvents, cap(a.server.events), "memory is constant")
			require.Equal(t, capOut, cap(a.server.out))
			require.Zero(t, a.dropped, "the receive queue is not what this is about")
			if c.least > 0 {
				require.LessOrEqual(t, a.percentile(0.99), 30*time.Millisecond)
			}
		})
	}
}

// Fill, stop, connect: a short burst of spoofed SYNs, four times the table, never
// closes the port. With cookies or eviction a client that comes then does not even
// notice. Without either its fourth SYN, after 7 s, finds room, since the old entries have
// lost their retries (RTX-009); with all their retries it would be the seventh, after 63 s.
func TestShortBurstNeverClosesThePort(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy CookiePolicy
		flood  FloodConfig
		within time.Duration
	}{
		{"pressure", CookiesPressure, FloodConfig{}, 24 * time.Millisecond},
		{"always", CookiesAlways, FloodConfig{}, 24 * time.Millisecond},
		{"never, eviction", CookiesNever, FloodConfig{EvictOldest: true}, 24 * time.Millisecond},
		{"pressure, eviction", CookiesPressure, FloodConfig{EvictOldest: true}, 24 * time.Millisecond},
		{"never, limit of all", CookiesNever, FloodConfig{SYN: Limit{PerSecond: 1000, Burst: 100}}, 24 * time.Millisecond},
		{"never, limit by source", CookiesNever, FloodConfig{Source: Limit{PerSecond: 10, Burst: 10}}, 24 * time.Millisecond},
		{"pressure, cookies by source", CookiesPressure, FloodConfig{Source: Limit{PerSecond: 10, Burst: 10}, SourceCookies: true}, 24 * time.Millisecond},
		{"never", CookiesNever, FloodConfig{}, 7050 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAttack(t, Config{Cookies: c.policy, MaxFlows: 8192, MaxHalfOpen: 256, Flood: c.flood})
			a.mute = c.within > time.Second
			a.flood(1024, 1<<20)
			if c.flood.Source.PerSecond > 0 && !c.flood.SourceCookies {
				a = newAttack(t, a.server.cfg)
				a.flood(1024, 16) // a limit per source is no answer to a flood from everywhere
			}
			for range 150 {
				a.step()
			}
			a.connect(1)
			for range 70_000 {
				if a.step(); len(a.opened) == 1 {
					break
				}
			}
			require.Len(t, a.opened, 1)
			t.Logf("open after %v", a.opened[0])
			require.LessOrEqual(t, a.opened[0], c.within)
			if c.within > time.Second {
				require.Greater(t, a.opened[0], 7*time.Second, "the table was full")
			}
			for range 20 {
				a.step()
			}
			require.Equal(t, 1, a.accepted)
		})
	}
}
