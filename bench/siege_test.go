package bench

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/impair"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
	"github.com/fastsyn/fastsyn/rss"
)

// siege is a server at one end of a loop wire, and at the other a client worker
// and a flood that share the one queue, as they would share an uplink. All frames
// are whole: encoded, sent, parsed and summed.
type siege struct {
	server, client *worker.Worker
	// beside are the workers of a wire with two queues that have neither flood nor people: the
	// client's of queue 0, the server's of queue 1.
	beside     []*worker.Worker
	people     *people
	mob        *mob
	serverPort dataplane.Port
	clientPort mobPort
	ring       *cookie.Ring
	accepted   uint64
	strangers  uint64 // accepted, from where the flood claims to come
	now        int64  // virtual clock, or when live ones began
}

const (
	siegeStart  = int64(1_700_000_000_000_000_000)
	siegeServer = uint32(10<<24 | 1)
	siegeFlood  = uint32(96 << 24) // and what follows
	siegePeople = uint32(10<<24 | 64<<16)
)

type siegeConfig struct {
	engine handshake.Config // of the server
	// prefixes is how many /24 the flood's sources come from, at most 2^20.
	prefixes int
	wire     loop.Config
	// delay is one way, give or take a fifth; 0: none.
	delay time.Duration
	live  bool // the workers run by the machine's clock
}

func newSiege(tb testing.TB, c siegeConfig) *siege {
	tb.Helper()
	s := &siege{now: siegeStart}
	clock := func() int64 { return s.now }
	if c.live {
		start := time.Now()
		base := start.UnixNano()
		clock = func() int64 { return base + int64(time.Since(start)) }
		s.now = base
	}
	secret, err := cookie.NewSecret([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(tb, err)
	s.ring, err = cookie.NewRing(secret, time.Unix(0, s.now), cookie.RingConfig{})
	require.NoError(tb, err)

	near, far, err := loop.Pair(c.wire)
	require.NoError(tb, err)
	if c.delay > 0 {
		far, err = impair.New(far, impair.Config{
			Delay: c.delay, Jitter: c.delay / 5, Dir: impair.DirBoth, Store: 4096, Seed: 5, Now: func() time.Time { return time.Unix(0, s.now) },
		})
		require.NoError(tb, err)
	}
	s.serverPort = near
	s.mob = newMob(tb, far.Queue(0), [6]byte(far.Info().MAC), [6]byte(near.Info().MAC), c.prefixes, clock)
	s.people = newPeople(clock)

	net := func(port dataplane.Port, addr string, pools ...netip.Prefix) *worker.Net {
		n, err := worker.NewNet([6]byte(port.Info().MAC), []netip.Prefix{netip.MustParsePrefix(addr)}, pools, nil)
		require.NoError(tb, err)
		return n
	}
	mk := func(id int, port dataplane.Port, n *worker.Net, e handshake.Config, src worker.Source) *worker.Worker {
		h, err := secret.Hasher()
		require.NoError(tb, err)
		w, err := worker.New(worker.Config{
			ID: id, Port: port, Net: n, Engine: e, Hasher: h, Ring: s.ring, Clock: clock, CPU: -1, Polling: worker.Busy, Source: src,
		})
		require.NoError(tb, err)
		return w
	}
	listen := func(w *worker.Worker) *worker.Worker {
		app, err := w.AddApp(worker.Callbacks{
			Bare: true,
			Established: func(f *worker.Flow) {
				if f.Tuple().Remote.V4() >= siegeFlood {
					s.strangers++
				}
				s.accepted++
			},
			AutoClose: true,
		})
		require.NoError(tb, err)
		require.NoError(tb, w.Listen(wire.Addr{}, serverPort, app))
		return w
	}
	s.clientPort = mobPort{far, s.mob}
	ours, theirs := net(near, "10.0.0.1/24"), net(far, "10.0.0.2/24", netip.MustParsePrefix("10.64.0.0/16"))
	guest := handshake.Config{MaxFlows: peopleFlows, TimeWait: -1}
	s.server = listen(mk(0, near, ours, c.engine, nil))
	if last := far.Info().Queues - 1; last == 0 {
		s.client = mk(0, s.clientPort, theirs, guest, s.people)
	} else {
		s.client = mk(last, s.clientPort, theirs, guest, s.people)
		s.beside = []*worker.Worker{mk(0, s.clientPort, theirs, handshake.Config{MaxFlows: 64}, nil), listen(mk(last, near, ours, c.engine, nil))}
		s.people.picker, err = newPicker(far.Info())
		require.NoError(tb, err)
		s.people.queue, s.mob.flood.picker = last, s.people.picker
	}
	s.people.app, err = s.client.AddApp(s.people.callbacks())
	require.NoError(tb, err)
	tb.Cleanup(func() {
		require.NoError(tb, s.server.Free())
		require.NoError(tb, s.client.Free())
		for _, w := range s.beside {
			require.NoError(tb, w.Free())
		}
		require.NoError(tb, near.Close())
		require.NoError(tb, far.Close())
	})
	return s
}

// people are honest clients, each of a /24 with others: they open on a schedule,
// and close as soon as they are connected. An open is served when the flow has
// ended in order at the client, which takes that the server had accepted it; the
// FIN is repeated as the SYN is, so a lost ACK only costs time. Time counts from when
// the open was due.
type people struct {
	clock  func() int64
	app    uint16
	pace   pace
	left   int // opens that may still begin
	next   uint32
	picker *rss.Picker // nil: one queue
	queue  int
	hold   bool // stay connected, until leave
	held   []handshake.FlowID
	due    []int64 // by flow index
	opened *latency
	served *latency
	ctr    peopleCounters
}

// peopleCounters: begun = served + failed + those still at it.
type peopleCounters struct{ begun, opened, served, failed uint64 }

const peopleFlows = 1 << 15

func newPeople(clock func() int64) *people {
	return &people{clock: clock, due: make([]int64, peopleFlows+1), opened: newLatency(), served: newLatency()}
}

// come has n more opens begin, rate per second from now on.
func (p *people) come(n int, rate float64, now int64) {
	p.left, p.pace = n, newPace(constant(rate), 0, 1, now)
}

// Poll implements worker.Source.
func (p *people) Poll(w *worker.Worker, now int64) int64 {
	server := wire.Addr4(siegeServer)
	if known, _, _ := w.Resolve(server); !known || p.left == 0 {
		return now + hopRetry
	}
	for n := min(p.pace.due(now), p.left, w.ConnectRoom()-outputGap); n > 0; n-- {
		t := wire.Tuple{
			Local: wire.Addr4(siegePeople + p.next%250<<8 + 1 + p.next/250%250), LocalPort: uint16(1024 + p.next%60000),
			Remote: server, RemotePort: serverPort,
		}
		if p.picker != nil { // the answers come to our queue
			set := start(p.picker, t.Local, server, serverPort)
			t.LocalPort = set.At(p.queue, int(p.next/250)%set.Count(p.queue))
		}
		p.next++
		id, err := w.Connect(&t, p.app)
		if err != nil { // all places taken: it stays due
			break
		}
		p.due[id.Index()] = p.pace.intended()
		p.pace.made(1)
		p.left--
		p.ctr.begun++
	}
	return now
}

func (p *people) callbacks() worker.Callbacks {
	return worker.Callbacks{
		Bare: true,
		Established: func(f *worker.Flow) {
			p.ctr.opened++
			p.opened.record(p.clock() - p.due[f.ID().Index()])
			if p.hold {
				p.held = append(p.held, f.ID())
				return
			}
			f.Close()
		},
		Closed: func(f *worker.Flow, why handshake.CloseReason) {
			if why != handshake.ReasonDone {
				p.ctr.failed++
				return
			}
			p.ctr.served++
			p.served.record(p.clock() - p.due[f.ID().Index()])
		},
		AutoClose: true,
	}
}

// leave closes those that stayed.
func (p *people) leave(w *worker.Worker) {
	for _, id := range p.held {
		w.Close(id)
	}
	p.held = p.held[:0]
}

// within is the share of n that l says took at most d.
func (l *latency) within(d time.Duration, n uint64) float64 {
	l.settle()
	sum := int64(0)
	for _, bar := range l.h.Distribution() {
		if bar.To <= int64(d) {
			sum += bar.Count
		}
	}
	return float64(sum) / float64(n)
}

// quantiles returns the median and the 99th percentile.
func (l *latency) quantiles() (p50, p99 time.Duration) {
	l.settle()
	return time.Duration(l.h.ValueAtQuantile(50)), time.Duration(l.h.ValueAtQuantile(99))
}
