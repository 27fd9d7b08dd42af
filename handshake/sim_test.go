package handshake

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// simConfig is one run of the pair simulation: two engines, a client and a
// server, a wire with faults between them, a virtual clock and small programs.
type simConfig struct {
	name      string
	seed      uint64
	attempts  int
	perMS     int // attempts begun per millisecond
	policy    CookiePolicy
	v6        bool
	loss, dup float64
	maxDelay  int // ms; uniform from 1, so that segments overtake each other
	late      float64
	timeWait  time.Duration
}

// What the two programs of a flow do; the client's port says which.
const (
	progAbort     = iota // client: RST at once
	progRequest          // request, response, client closes, server closes
	progFinFin           // request with FIN, response with FIN
	progAutoClose        // client closes at once, the server's engine answers
	progServer           // request, response with FIN: the server closes first
	progBoth             // both close at once
	numProgs
)

const (
	simRequest  = 100
	simResponse = 300
	simWheel    = 512
)

// simApp is what an application knows about a flow.
type simApp struct {
	tup              wire.Tuple
	prog             int
	up, peerClosed   bool
	got, sent, acked uint32
}

type simEnd struct {
	w      *simWorld
	e      *Engine
	client bool
	apps   map[FlowID]*simApp
	born   map[wire.Tuple]int       // EventEstablished per tuple
	shown  map[simProof]struct{}    // SYNs and SYN-ACKs of the other side that reached this one
	wheel  [simWheel][]wire.Segment // by ms of arrival
	flying int
	ended  map[CloseReason]int
	abort  int
	again  int // accepted once more by a cookie
	rst    int
}

type simProof struct {
	tup wire.Tuple // as the receiver sees it
	iss wire.Seq
}

type simWorld struct {
	tb     testing.TB
	c      simConfig
	rng    *rand.Rand
	ring   *cookie.Ring
	now    Time
	ends   [2]*simEnd
	digest uint64
	segs   [MaxBurst]wire.Segment
	before [MaxBurst]wire.Flags
	act    [MaxBurst]Action
}

func (w *simWorld) mix(v uint64) {
	w.digest = (w.digest ^ v) * 0x9e3779b97f4a7c15
	w.digest ^= w.digest >> 29
}

func newSim(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := &simWorld{tb: tb, c: c, rng: rand.New(rand.NewPCG(c.seed, 99)), now: wrapTime, ring: testRing(tb, wrapTime)}
	for i := range w.ends {
		cfg := Config{
			MaxFlows: c.attempts + 1000, MaxHalfOpen: 1000, HighMark: 200, LowMark: 20,
			Cookies: c.policy, TimeWait: c.timeWait, MinStay: 50 * time.Millisecond,
		}
		if c.policy == CookiesNever {
			cfg.MaxHalfOpen = c.attempts
		}
		e, err := New(cfg, testHasher(tb, byte(i)))
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, e.Free()) })
		require.NoError(tb, e.Listen(wire.Addr{}, 80, 0, false))
		require.NoError(tb, e.Listen(wire.Addr{}, 81, 0, true))
		w.ends[i] = &simEnd{
			w: w, e: e, client: i == 0, apps: map[FlowID]*simApp{}, born: map[wire.Tuple]int{},
			shown: map[simProof]struct{}{}, ended: map[CloseReason]int{},
		}
	}
	return w
}

func swap(t wire.Tuple) wire.Tuple {
	return wire.Tuple{Remote: t.Local, Local: t.Remote, RemotePort: t.LocalPort, LocalPort: t.RemotePort}
}

// transmit puts a segment of end from onto the wire.
func (w *simWorld) transmit(from *simEnd, s *wire.Segment) {
	w.mix(uint64(s.Seq)<<32 | uint64(s.Ack))
	w.mix(uint64(s.Flags)<<48 | uint64(s.LocalPort)<<32 | uint64(s.RemotePort)<<16 | uint64(s.Win))
	w.mix(uint64(w.now))
	to := w.ends[0]
	if from.client {
		to = w.ends[1]
	}
	copies := 1
	if w.rng.Float64() < w.c.dup {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.c.loss {
			continue
		}
		delay := 1 + w.rng.IntN(w.c.maxDelay)
		if w.rng.Float64() < w.c.late {
			delay += w.rng.IntN(400)
		}
		in := *s
		in.Tuple = swap(s.Tuple)
		at := (w.now/1e6 + int64(delay)) % simWheel
		to.wheel[at] = append(to.wheel[at], in)
		to.flying++
	}
}

// turn is what a worker does in one millisecond.
func (d *simEnd) turn() {
	w := d.w
	slot := &d.wheel[w.now/1e6%simWheel]
	in := *slot
	d.flying -= len(in)
	for len(in) > 0 {
		n := min(len(in), 1+w.rng.IntN(MaxBurst))
		segs := w.segs[:n]
		copy(segs, in)
		in = in[n:]
		for i := range segs {
			w.before[i] = segs[i].Flags
			if segs[i].Flags&(wire.FlagSYN|wire.FlagRST) == wire.FlagSYN {
				d.shown[simProof{segs[i].Tuple, segs[i].Seq}] = struct{}{}
			}
		}
		d.e.Handle(w.now, w.ring.Load(), refs(segs), w.act[:])
		for i := range segs {
			if w.act[i] == Silent {
				continue
			}
			if segs[i].Flags&wire.FlagRST != 0 {
				d.rst++
				if w.before[i]&wire.FlagRST != 0 {
					require.Fail(w.tb, "a reset for a reset")
				}
			}
			w.transmit(d, &segs[i])
		}
		d.handleEvents()
	}
	*slot = (*slot)[:0]
	d.e.SetClock(w.now, w.ring.Load())
	d.e.Advance(w.now, 1<<20)
	d.handleEvents()
	d.flush()
}

func (d *simEnd) flush() {
	if len(d.e.Output()) > maxOutput {
		require.Fail(d.w.tb, "Output is unbounded")
	}
	for i := range d.e.Output() {
		d.w.transmit(d, &d.e.Output()[i].Seg)
	}
	d.e.Sent(len(d.e.Output()))
	c := d.e.Counters()
	if bad := c.Check(); bad != "" {
		require.Fail(d.w.tb, bad)
	}
}

func (d *simEnd) fail(ev *Event, format string, args ...any) {
	d.w.tb.Helper()
	require.Fail(d.w.tb, fmt.Sprintf(format, args...), "client %v, %+v, %v", d.client, *ev, d.e.Tuple(ev.Flow))
}

func (d *simEnd) handleEvents() {
	for i := range d.e.Events() {
		ev := &d.e.Events()[i]
		d.w.mix(uint64(ev.Kind)<<40 | uint64(ev.Reason)<<32 | uint64(ev.Flow.idx))
		a := d.apps[ev.Flow]
		if ev.Kind == EventEstablished {
			d.established(ev, a)
			continue
		}
		if a == nil || (!a.up && (ev.Kind != EventClosed || !d.client)) {
			d.fail(ev, "event of a flow that is not up")
		}
		switch ev.Kind {
		case EventData:
			a.got += ev.Len
			if limit := uint32(simRequest); a.got > limit && !d.client || a.got > simResponse {
				d.fail(ev, "text delivered twice: %d", a.got)
			}
			d.gotText(ev, a)
		case EventAcked:
			a.acked = a.sent
		case EventPeerClosed:
			if a.peerClosed {
				d.fail(ev, "closed twice")
			}
			a.peerClosed = true
			if st := d.e.State(ev.Flow); st == CloseWait && !(a.prog == progFinFin && !d.client && a.sent == 0) {
				d.e.Close(ev.Flow)
			}
		case EventClosed:
			d.ended[ev.Reason]++
			delete(d.apps, ev.Flow)
		case EventEstablished:
		}
	}
	d.e.EndBurst()
}

func (d *simEnd) established(ev *Event, a *simApp) {
	info := d.e.Info(ev)
	if d.client {
		if a == nil || a.up {
			d.fail(ev, "established twice or unasked")
		}
	} else {
		if a != nil {
			d.fail(ev, "established twice")
		}
		prog := int(info.Tuple.RemotePort) % numProgs
		a = &simApp{tup: info.Tuple, prog: prog}
		d.apps[ev.Flow] = a
	}
	a.up = true
	d.born[a.tup]++
	if d.born[a.tup] > 1 {
		if !info.Cookie { // a late copy of an ACK can do that to a cookie, not to a record
			d.fail(ev, "accepted twice")
		}
		d.again++
	}
	// Proof: the peer has seen the ISS it acknowledged, and we its.
	peer := d.w.ends[0]
	if d.client {
		peer = d.w.ends[1]
	}
	if _, ok := peer.shown[simProof{swap(a.tup), ev.ISS}]; !ok {
		d.fail(ev, "established before proof")
	}
	if _, ok := d.shown[simProof{a.tup, ev.IRS}]; !ok && !info.Cookie {
		d.fail(ev, "IRS %d never came here", ev.IRS)
	}
	if info.Tuple != a.tup {
		d.fail(ev, "tuple %v", info.Tuple)
	}
	if d.e.State(ev.Flow) < Established {
		return // it died in this burst
	}
	switch {
	case d.client && a.prog == progAbort:
		d.e.Abort(ev.Flow)
		d.abort++
		delete(d.apps, ev.Flow)
	case d.client && (a.prog == progRequest || a.prog == progServer):
		d.send(ev, a, simRequest, false)
	case d.client && a.prog == progFinFin:
		d.send(ev, a, simRequest, true)
	case a.prog == progBoth, d.client && a.prog == progAutoClose:
		d.e.Close(ev.Flow)
	}
}

func (d *simEnd) gotText(ev *Event, a *simApp) {
	switch {
	case d.client && a.got == simResponse:
		d.e.Close(ev.Flow)
	case !d.client && a.got == simRequest && a.sent == 0:
		d.send(ev, a, simResponse, a.prog != progRequest)
	}
}

func (d *simEnd) send(ev *Event, a *simApp, n int, fin bool) {
	if d.e.Send(ev.Flow, n, fin) {
		a.sent += uint32(n)
		return
	}
	if st := d.e.State(ev.Flow); (st == Established || st == CloseWait) && d.e.OutputRoom() > 0 && d.e.SendRoom(ev.Flow) < n {
		d.fail(ev, "send refused in %v, room %d", st, d.e.SendRoom(ev.Flow))
	}
}

func (w *simWorld) tuple(i int) wire.Tuple {
	t := wire.Tuple{Remote: our4, Local: wire.Addr4(0x0a000001 + uint32(i/50000)), RemotePort: 80, LocalPort: uint16(10000 + i%50000)}
	if w.c.v6 {
		t.Remote, t.Local = our6, wire.Addr{Hi: 0x20010db8<<32 | 7, Lo: uint64(1 + i/50000)}
	}
	if int(t.LocalPort)%numProgs == progAutoClose {
		t.RemotePort = 81
	}
	return t
}

func (w *simWorld) run() {
	client, server := w.ends[0], w.ends[1]
	next := 0
	for rounds := 0; ; {
		w.now += 1e6
		w.ring.Advance(time.Unix(0, w.now))
		for range w.c.perMS {
			if next == w.c.attempts {
				break
			}
			client.e.SetClock(w.now, w.ring.Load())
			t := w.tuple(next)
			id, err := client.e.Connect(&t, 0, 0)
			require.NoError(w.tb, err)
			client.apps[id] = &simApp{tup: w.tuple(next), prog: int(w.tuple(next).LocalPort) % numProgs}
			next++
		}
		client.turn()
		server.turn()
		if next < w.c.attempts || client.flying+server.flying > 0 {
			continue
		}
		// Nothing is under way: go to the next timer, less the millisecond that the loop adds.
		a, anyA := client.e.NextTimer()
		b, anyB := server.e.NextTimer()
		switch {
		case anyA && anyB:
			w.now += int64(max(min(a, b), 1)-1) * 1e6
		case anyA || anyB:
			w.now += int64(max(a+b, 1)-1) * 1e6
		default:
			if len(client.apps)+len(server.apps) == 0 {
				return
			}
			// Flows whose peer is gone and that have nothing to say; applications give them up.
			rounds++
			require.Less(w.tb, rounds, 10, "flows do not end")
			for _, d := range w.ends {
				for _, id := range slices.SortedFunc(maps.Keys(d.apps), func(a, b FlowID) int { return int(a.idx) - int(b.idx) }) {
					a := d.apps[id]
					require.True(w.tb, a.up, "an attempt has not ended: %v", d.e.State(id))
					if d.e.Abort(id) {
						d.abort++
					}
					delete(d.apps, id)
					if d.e.OutputRoom() == 0 {
						d.flush()
					}
				}
				d.e.EndBurst()
				d.flush()
			}
		}
	}
}

func runSim(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := newSim(tb, c)
	w.run()
	for _, d := range w.ends {
		ctr := d.e.Counters()
		require.Empty(tb, ctr.Check())
		require.Zero(tb, ctr.Flows+ctr.HalfOpen+ctr.Opening+ctr.EstablishedNow, "client %v", d.client)
		require.Zero(tb, d.e.timers.armed)
		for i := range d.e.tab.buckets {
			require.Zero(tb, d.e.tab.buckets[i].meta)
		}
	}
	c0, c1 := w.ends[0].e.Counters(), w.ends[1].e.Counters()
	require.EqualValues(tb, c.attempts, c0.Attempted)
	require.EqualValues(tb, c.attempts, c0.Connected+c0.Refused+c0.TimedOut)
	require.Zero(tb, c0.Accepted)
	if c.policy == CookiesNever {
		require.Zero(tb, w.ends[1].again)
		require.Zero(tb, c1.Cookies)
	}
	if c.policy == CookiesAlways {
		require.Zero(tb, c1.SynAcks)
	}
	if c.loss == 0 && c.late == 0 && c.dup == 0 {
		require.EqualValues(tb, c.attempts, c0.Connected)
		require.EqualValues(tb, c.attempts, c1.Accepted)
	}
	return w
}

func simConfigs(attempts int) []simConfig {
	var list []simConfig
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		for _, v6 := range []bool{false, true} {
			for _, faults := range []struct {
				name            string
				loss, dup, late float64
				delay           int
				tw              time.Duration
			}{
				{"clean", 0, 0, 0, 1, 0},
				{"lossy", 0.1, 0.05, 0.01, 30, 0},
				{"awful", 0.35, 0.3, 0.1, 80, -1},
			} {
				list = append(list, simConfig{
					name: fmt.Sprintf("cookies=%v/v6=%v/%s", policy, v6, faults.name), seed: uint64(len(list)), attempts: attempts,
					perMS: 20, policy: policy, v6: v6, loss: faults.loss, dup: faults.dup, maxDelay: faults.delay, late: faults.late, timeWait: faults.tw,
				})
			}
		}
	}
	return list
}

// 108 000 handshakes, of which every way of ending is taken.
func TestPair(t *testing.T) {
	n := 6000
	if testing.Short() {
		n = 600
	}
	for _, c := range simConfigs(n) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := runSim(t, c)
			c0, c1 := w.ends[0].e.Counters(), w.ends[1].e.Counters()
			t.Logf("connected %d, refused %d, timed out %d; accepted %d (%d again); cookies %d ok %d bad %d; done %d/%d reset %d/%d broken %d/%d aborted %d/%d; until +%v",
				c0.Connected, c0.Refused, c0.TimedOut, c1.Accepted, w.ends[1].again, c1.Cookies, c1.CookiesOK, c1.CookiesBad,
				c0.Done, c1.Done, c0.Reset, c1.Reset, c0.Broken, c1.Broken, c0.Aborted, c1.Aborted, time.Duration(w.now-wrapTime).Round(time.Second))
		})
	}
}

func TestPairIsDeterministic(t *testing.T) {
	for _, c := range simConfigs(300) {
		a, b := runSim(t, c), runSim(t, c)
		require.Equal(t, a.digest, b.digest, c.name)
		require.Equal(t, a.ends[1].e.Counters(), b.ends[1].e.Counters())
		c.seed += 100
		if c.loss > 0 {
			require.NotEqual(t, a.digest, runSim(t, c).digest)
		}
	}
}
