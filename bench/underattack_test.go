package bench

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// tick lets d pass, with n SYNs of the flood in it, before and after what the
// client sends; then the server has rounds bursts, or as many as it wants.
func (s *siege) tick(rng *rand.Rand, d time.Duration, n, rounds int) {
	s.now += int64(d)
	s.ring.Advance(time.Unix(0, s.now))
	before := 0
	if n > 0 {
		before = rng.IntN(n + 1)
	}
	s.mob.send(before, s.now)
	for s.client.Step() || s.mob.more {
	}
	s.mob.send(n-before, s.now)
	for i := 0; (rounds == 0 || i < rounds) && s.server.Step(); i++ {
	}
}

// settle lets what is on the wire arrive, and ends without any frame on it.
func (s *siege) settle(rng *rand.Rand, d time.Duration) {
	for range 50 {
		s.tick(rng, d, 0, 0)
	}
	for s.client.Step() || s.mob.more || s.server.Step() {
	}
}

// closes checks every sum there is, once nothing is on the wire any more.
func (s *siege) closes(t *testing.T) (server, client handshake.Counters) {
	t.Helper()
	a, b := s.server.Snapshot(), s.client.Snapshot()
	require.Empty(t, a.Check())
	require.Empty(t, b.Check())
	require.Empty(t, a.RxDrops, "all that arrived was understood, and for the server")
	require.Empty(t, b.RxDrops)
	require.Empty(t, a.TxDrops)
	require.Zero(t, a.CallbackPanics)
	require.Zero(t, s.strangers, "accepted from where the flood claims to come")
	census, err := loop.Audit(s.serverPort)
	require.NoError(t, err)
	require.Zero(t, census.Wire)
	require.Zero(t, census.Lent)

	near, far := s.serverPort.Stats(0), s.clientPort.Port.Stats(0)
	require.Equal(t, far.TxFrames, near.RxFrames, "what the wire took has arrived")
	require.Equal(t, near.TxFrames, far.RxFrames)
	require.Equal(t, near.TxFrames, b.Frames+s.mob.heard)
	require.Zero(t, near.TxFull+near.TxErrors+far.TxErrors)

	f := &s.mob.flood.ctr
	require.Equal(t, f.sent, s.mob.asked)
	require.GreaterOrEqual(t, far.TxFull, s.mob.asked-s.mob.sent)
	// Each answer to the flood acknowledges what was sent from there, but for challenges to a source drawn again while half-open.
	require.LessOrEqual(t, f.bad, min(a.Engine.Outcome[handshake.AnsweredChallenge], 1+f.sent/10_000))
	require.Equal(t, s.mob.heard, f.answered+f.reset+f.repeated+f.late+f.bad)
	require.Equal(t, s.people.ctr.begun, b.Engine.Attempted)
	require.Equal(t, s.people.ctr.served, b.Engine.Done)
	require.Equal(t, s.accepted, a.Engine.Accepted)
	require.GreaterOrEqual(t, s.accepted, s.people.ctr.served)
	return a.Engine, b.Engine
}

// A table of 256 half-opens and round trips of 20 ms carry 12.8 opens a millisecond, by
// Little's law. The flood is ten times that; honest clients open 2 a millisecond.
func TestFLD_008_GoodClientsOnOneWire(t *testing.T) {
	const (
		half, tenfold = 256, 128
		wide, narrow  = 1 << 20, 16 // source prefixes of the flood
		ms            = time.Millisecond
	)
	source := handshake.Limit{PerSecond: 200, Burst: 50}
	for _, c := range []struct {
		name        string
		policy      handshake.CookiePolicy
		flood       handshake.FloodConfig
		rate        int // SYNs of the flood in a millisecond
		prefixes    int
		least, most float64 // share of honest opens served within a second
	}{
		{"no flood", handshake.CookiesNever, handshake.FloodConfig{}, 0, wide, 1, 1},
		{"pressure", handshake.CookiesPressure, handshake.FloodConfig{}, tenfold, wide, 0.999, 1},
		{"always", handshake.CookiesAlways, handshake.FloodConfig{}, tenfold, wide, 0.999, 1},
		{"pressure and eviction", handshake.CookiesPressure, handshake.FloodConfig{EvictOldest: true}, tenfold, wide, 0.999, 1},
		{"source limit and eviction, narrow flood", handshake.CookiesNever, handshake.FloodConfig{Source: source, EvictOldest: true}, tenfold, narrow, 0.999, 1},
		{"source cookies, narrow flood", handshake.CookiesPressure, handshake.FloodConfig{Source: source, SourceCookies: true}, tenfold, narrow, 0.999, 1},
		{"all of it", handshake.CookiesPressure, handshake.FloodConfig{
			Source: source, SourceCookies: true, EvictOldest: true, Resets: handshake.Limit{PerSecond: 1000}, SilentBadCookies: true,
		}, tenfold, wide, 0.999, 1},
		{"eviction, half of what the table carries", handshake.CookiesNever, handshake.FloodConfig{EvictOldest: true}, tenfold / 20, wide, 0.999, 1},
		// What does not help, so that the test is seen to fail where it should.
		{"none", handshake.CookiesNever, handshake.FloodConfig{}, tenfold, wide, 0, 0.05},
		{"eviction alone", handshake.CookiesNever, handshake.FloodConfig{EvictOldest: true}, tenfold, wide, 0, 0.05},
		{"source limit alone, narrow flood", handshake.CookiesNever, handshake.FloodConfig{Source: source}, tenfold, narrow, 0, 0.05},
		{"a limit of all alone", handshake.CookiesNever, handshake.FloodConfig{SYN: handshake.Limit{PerSecond: 10_000}}, tenfold, wide, 0, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			opens, tail := 1000, 1000
			if testing.Short() {
				opens, tail = 200, 100
			}
			s := newSiege(t, siegeConfig{
				engine:   handshake.Config{MaxFlows: 2048, MaxHalfOpen: half, Cookies: c.policy, Flood: c.flood},
				prefixes: c.prefixes, delay: 10 * ms,
			})
			rng := rand.New(rand.NewPCG(1, 2))
			memory := s.server.Snapshot().Memory
			for range 200 { // the flood is well under way when the first client comes
				s.tick(rng, ms, c.rate, 0)
			}
			s.people.come(opens, 2000, s.now)
			for range opens / 2 {
				s.tick(rng, ms, c.rate, 0)
				e := s.server.Engine()
				require.LessOrEqual(t, e.HalfOpen, uint64(half))
				require.Empty(t, e.Check())
			}
			if !raceBuild {
				require.Zero(t, testing.AllocsPerRun(100, func() { s.tick(rng, ms, c.rate, 0) }), "neither end, nor the flood")
			}
			for range tail { // it goes on while the last ones try
				s.tick(rng, ms, c.rate, 0)
			}
			share, n := s.people.served.within(time.Second, uint64(opens)), s.people.ctr
			p50, p99 := s.people.opened.quantiles()
			s.settle(rng, ms)
			srv, _ := s.closes(t)
			t.Logf("%d SYNs of the flood, %d honest opens: %.4f served within 1 s; connected p50 %v, p99 %v; cookies %d, by prefix %d, evicted %d, dropped %d; %d half-open",
				s.mob.sent, opens, share, p50, p99, srv.Cookies, srv.SourceCookies, srv.HalfOpenEvicted, srv.SynDropped, srv.HalfOpen)
			require.EqualValues(t, opens, n.begun)
			require.GreaterOrEqual(t, share, c.least)
			require.LessOrEqual(t, share, c.most)
			require.Equal(t, memory, s.server.Snapshot().Memory)
			require.Equal(t, s.mob.asked, s.mob.sent, "the wire is not what this is about")
			require.Zero(t, s.clientPort.Stats(0).TxFull)
			if c.least > 0 {
				require.LessOrEqual(t, p99, 30*ms)
				require.Zero(t, n.failed)
			}
		})
	}
}

// The wire brings more than the server takes: 64 frames each 10 ms, with room for 128
// that wait. What finds no room is lost, whoever sent it, before any policy can see it, so a
// client gets through by repeating itself. Of frames offered at x times what is taken 1/x
// pass; a SYN is sent at 0, 1, 3, 7, 15, 31 and 63 s.
func TestFLD_008_WireOverflows(t *testing.T) {
	const (
		takes = 64
		d     = 10 * time.Millisecond
	)
	if testing.Short() {
		t.Skip("80 s of virtual time, and 6 million frames")
	}
	for _, c := range []struct {
		name   string
		policy handshake.CookiePolicy
		rate   int // SYNs of the flood in 10 ms
		served float64
	}{
		{"just enough, always", handshake.CookiesAlways, takes - 8, 1},
		{"x 1.25, always", handshake.CookiesAlways, takes * 5 / 4, 0.999},
		{"x 2, always", handshake.CookiesAlways, takes * 2, 0.97},
		{"x 2, pressure", handshake.CookiesPressure, takes * 2, 0.97},
		{"x 10, always", handshake.CookiesAlways, takes * 10, 0.25}, // the ACK has to get through as well
		{"x 2, never", handshake.CookiesNever, takes * 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			const opens = 1000
			s := newSiege(t, siegeConfig{
				engine:   handshake.Config{MaxFlows: 2048, MaxHalfOpen: 256, Cookies: c.policy},
				prefixes: 1 << 20, wire: loop.Config{Ring: 2 * takes, Frames: 1024},
			})
			rng := rand.New(rand.NewPCG(3, 4))
			for range 10 { // ARP
				s.tick(rng, d, 0, 1)
			}
			for range 100 {
				s.tick(rng, d, c.rate, 1)
			}
			memory := s.server.Snapshot().Memory
			s.people.come(opens, 100, s.now)
			for range opens - 100 {
				s.tick(rng, d, c.rate, 1)
			}
			if !raceBuild {
				require.Zero(t, testing.AllocsPerRun(100, func() { s.tick(rng, d, c.rate, 1) }))
			}
			for range 7000 {
				s.tick(rng, d, c.rate, 1)
			}
			pass := min(1, float64(takes)/float64(c.rate))
			for _, w := range []struct {
				within time.Duration
				tries  float64
			}{{500 * time.Millisecond, 1}, {3500 * time.Millisecond, 3}, {70 * time.Second, 7}} {
				share := s.people.opened.within(w.within, opens)
				t.Logf("connected within %v: %.3f", w.within, share)
				if c.policy == handshake.CookiesNever {
					require.Less(t, share, 0.1, "the SYNs that get through find the table full")
					continue
				}
				require.InDelta(t, 1-math.Pow(1-pass, w.tries), share, 0.08)
			}
			served, lost := s.people.served.within(time.Hour, opens), s.clientPort.Stats(0).TxFull
			s.settle(rng, d)
			srv, cli := s.closes(t)
			t.Logf("%.3f served; %d of %d frames lost; client timed out %d, gave up on %d; server accepted %d",
				served, lost, lost+s.clientPort.Stats(0).TxFrames, cli.TimedOut, cli.Broken, srv.Accepted)
			require.EqualValues(t, opens, s.people.ctr.begun)
			require.GreaterOrEqual(t, served, c.served)
			require.Equal(t, memory, s.server.Snapshot().Memory)
			require.Equal(t, pass == 1, lost == 0)
		})
	}
}

// Two queues, and one of them flooded with ten times the frames that its worker takes:
// flows of the other stay, new ones come, and all end in order, without one frame of theirs lost.
func TestFLD_008_FloodOnAnotherQueue(t *testing.T) {
	const (
		takes = 64
		d     = time.Millisecond
		n     = 200
	)
	for _, policy := range []handshake.CookiePolicy{handshake.CookiesNever, handshake.CookiesPressure, handshake.CookiesAlways} {
		t.Run(policy.String(), func(t *testing.T) {
			s := newSiege(t, siegeConfig{
				engine:   handshake.Config{MaxFlows: 2048, MaxHalfOpen: 256, Cookies: policy},
				prefixes: 1 << 20, wire: loop.Config{Queues: 2, Ring: 8 * takes, Frames: 2048},
			})
			flooded, spared := s.server, s.beside[1]
			tick := func(flood int) {
				s.now += int64(d)
				s.ring.Advance(time.Unix(0, s.now))
				s.mob.send(flood, s.now)
				for s.beside[0].Step() || s.mob.more || s.client.Step() {
				}
				flooded.Step()
				spared.Step()
			}
			s.people.hold = true
			s.people.come(n, 2000, s.now)
			for range 200 {
				tick(0)
			}
			require.EqualValues(t, n, spared.Engine().EstablishedNow)
			require.Len(t, s.people.held, n)
			for range 200 {
				tick(10 * takes)
			}
			require.EqualValues(t, n, spared.Engine().EstablishedNow)
			s.people.hold = false
			s.people.come(n, 2000, s.now)
			for range 150 {
				tick(10 * takes)
			}
			s.people.leave(s.client)
			for range 50 {
				tick(10 * takes)
			}
			require.Equal(t, peopleCounters{begun: 2 * n, opened: 2 * n, served: 2 * n}, s.people.ctr)
			_, p99 := s.people.opened.quantiles()
			require.Less(t, p99, 3*d, "a round trip is two turns")
			require.Greater(t, s.mob.asked-s.mob.sent, 8*s.mob.asked/10)
			require.Zero(t, s.clientPort.Stats(1).TxFull)
			for range 20 {
				tick(0)
			}
			require.Zero(t, spared.Engine().SynRepeats)
			require.EqualValues(t, 2*n, spared.Engine().Done)
			require.Zero(t, flooded.Engine().Accepted)
			require.EqualValues(t, s.mob.sent, flooded.Engine().Segments)
			for _, w := range []*worker.Worker{flooded, spared, s.client, s.beside[0]} {
				st := w.Snapshot()
				require.Empty(t, st.Check())
				require.Empty(t, st.RxDrops)
			}
			_, err := loop.Audit(s.serverPort)
			require.NoError(t, err)
		})
	}
}
