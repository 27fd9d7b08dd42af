package flow

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// The simulation: two nodes, each an Engine and a Table as a worker has them, on a
// path with faults, under a virtual clock. Segments travel as they are, with
// text and SACK options. All that is random comes from one seed.

// simStart is two seconds before the clocks of milliseconds and microseconds wrap, both
// in the same moment.
const simStart = handshake.Time(400<<32-2_000) * 1e6

// simPath is one direction of the wire.
type simPath struct {
	delay, jitter time.Duration // jitter lets segments overtake each other
	rate          int           // bytes per ms; 0: any
	queue         int           // bytes that wait for the rate; what does not fit is lost
	loss          float64
	ackLoss       float64 // of segments without text or SYN, besides loss
	burst         float64 // chance that a burst of losses begins, of 2 to 20 segments
	dup, late     float64 // late: up to 3 s more
	mark          float64 // CE on what may be marked
	mtu           int     // longer packets are lost; 0: any
	icmp          bool    // and that is reported
	tick          time.Duration
}

// simApp is what the application of a side does.
type simApp struct {
	text      int           // most bytes it writes on a flow
	exact     bool          // not less than them
	chunk     int           // most bytes of one Write
	pause     time.Duration // longest between two writes, if it pauses
	pauses    float64       // chance to pause after a write
	static    float64       // chance of WriteStatic
	slow      float64       // share of readers that hold what they get, for
	hold      time.Duration // so long at most
	abort     float64       // share of flows aborted at a random time
	release   float64       // share released instead of closed
	follow    float64       // share that closes after its peer
	autoClose float64
	lifetime  time.Duration // aborts and early closes lie within
	early     float64       // share closed at a random time, whatever was written
}

// simSide is a node.
type simSide struct {
	engine handshake.Config
	table  Config
	runs   int // extra ones of the scoreboards; 0: the default
	app    simApp
}

// simConfig is a world.
type simConfig struct {
	name  string
	seed  uint64
	flows int
	every time.Duration // longest time between two opens
	path  [2]simPath    // from node 0, from node 1
	side  [2]simSide
	both  float64       // share of flows that node 1 opens
	wrap  float64       // share whose sequence numbers pass 2^32 early in the text
	v6    float64       // share over IPv6
	mute  time.Duration // after so long nothing of node 1 arrives any more; 0: never
	limit time.Duration // all is over by then
	// orderly says that no flow has a reason to fail.
	orderly bool
}

// simEvent is something that happens at a time: a segment arrives, or an application acts.
type simEvent struct {
	at   handshake.Time
	n    uint64 // events of one time in the order they were made
	to   *simNode
	seg  *simSegment
	end  *simEnd
	what simAct
	size int
}

type simHeap []simEvent

func (h simHeap) Len() int { return len(h) }
func (h simHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].n < h[j].n
}
func (h simHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *simHeap) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *simHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	*h = old[:len(old)-1]
	return e
}

// simSegment is a segment on the wire, or the ICMP report that it was too long.
type simSegment struct {
	seg    wire.Segment
	text   []byte
	blocks [4]wire.SACKBlock
	n      int
	mtu    int // of the report
	size   int // bytes with headers
}

type simWorld struct {
	tb     testing.TB
	c      simConfig
	rng    *rand.Rand
	ring   *cookie.Ring
	now    handshake.Time
	nodes  [2]*simNode
	heap   simHeap
	events uint64
	flows  []*simFlow
	busy   [2]handshake.Time // when the link is free again
	bad    [2]int            // losses of the burst that runs
	digest uint64
	muted  bool
	steps  uint64
	each   func() // called after each step
	until  *bool  // stop here
	ctr    simCounts
}

// simCounts is what a report tells.
type simCounts struct {
	Worlds, Flows, Done, Failed, Aborted, Reset, Broken uint64
	Segments, Lost, Queue, Copies, Late, TooBig, ICMP   uint64
	Marked                                              uint64
	Wrapped, Again, Given                               uint64
	Bytes                                               uint64
	Table                                               Counters
}

func (c *simCounts) add(o *simCounts) {
	c.Worlds++
	c.Flows += o.Flows
	c.Done += o.Done
	c.Failed += o.Failed
	c.Aborted += o.Aborted
	c.Reset += o.Reset
	c.Broken += o.Broken
	c.Segments += o.Segments
	c.Lost += o.Lost
	c.Queue += o.Queue
	c.Copies += o.Copies
	c.Late += o.Late
	c.TooBig += o.TooBig
	c.ICMP += o.ICMP
	c.Marked += o.Marked
	c.Wrapped += o.Wrapped
	c.Again += o.Again
	c.Given += o.Given
	c.Bytes += o.Bytes
	c.Table.Add(&o.Table)
}

func simSecret(tb testing.TB, seed byte) cookie.Secret {
	tb.Helper()
	b := make([]byte, 32)
	for i := range b {
		b[i] = seed
	}
	s, err := cookie.NewSecret(b)
	require.NoError(tb, err)
	return s
}

func newSim(tb testing.TB, c simConfig) *simWorld {
	tb.Helper()
	w := &simWorld{tb: tb, c: c, rng: rand.New(rand.NewPCG(c.seed, 6)), now: simStart}
	var err error
	w.ring, err = cookie.NewRing(simSecret(tb, 25), time.Unix(0, w.now), cookie.RingConfig{})
	require.NoError(tb, err)
	for i := range w.nodes {
		w.nodes[i] = newSimNode(w, i)
	}
	w.nodes[0].peer, w.nodes[1].peer = w.nodes[1], w.nodes[0]
	return w
}

func (w *simWorld) free() {
	for _, d := range w.nodes {
		require.NoError(w.tb, d.t.Free())
		require.NoError(w.tb, d.e.Free())
	}
}

func (w *simWorld) mix(v uint64) {
	w.digest = (w.digest ^ v) * 0x9e3779b97f4a7c15
	w.digest ^= w.digest >> 29
}

func (w *simWorld) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// upTo is a random time up to d.
func (w *simWorld) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(d) + 1))
}

func (w *simWorld) fail(format string, args ...any) {
	w.tb.Helper()
	w.tb.Fatalf("world %q, seed %d, at %v: "+format, append([]any{w.c.name, w.c.seed, time.Duration(w.now - simStart)}, args...)...)
}

func (w *simWorld) at(t handshake.Time, ev simEvent) {
	w.events++
	ev.at, ev.n = t, w.events
	heap.Push(&w.heap, ev)
}

// send puts a segment of d on the wire.
func (w *simWorld) send(d *simNode, s *simSegment) {
	p := &w.c.path[d.id]
	w.ctr.Segments++
	if w.muted && d.id == 1 {
		w.ctr.Lost++
		return
	}
	if p.mtu != 0 && s.size > p.mtu {
		w.ctr.TooBig++
		if p.icmp && !w.chance(p.loss) {
			w.ctr.ICMP++
			r := &simSegment{seg: s.seg, mtu: p.mtu}
			w.at(w.tick(w.now+int64(p.delay), p), simEvent{to: d, seg: r})
		}
		return
	}
	at := w.now
	if p.rate != 0 {
		at = max(at, w.busy[d.id])
		if int(at-w.now)/1e6*p.rate > p.queue {
			w.ctr.Queue++
			return
		}
		at += int64(s.size) * 1e6 / int64(p.rate)
		w.busy[d.id] = at
	}
	if w.bad[d.id] == 0 && w.chance(p.burst) {
		w.bad[d.id] = 2 + w.rng.IntN(19)
	}
	if w.bad[d.id] > 0 {
		w.bad[d.id]--
		w.ctr.Lost++
		return
	}
	if w.chance(p.loss) || s.seg.Len == 0 && s.seg.Flags&wire.FlagSYN == 0 && w.chance(p.ackLoss) {
		w.ctr.Lost++
		return
	}
	if s.seg.TOS&3 == 2 && w.chance(p.mark) {
		w.ctr.Marked++
		s.seg.TOS |= 3
	}
	if w.chance(p.dup) {
		w.ctr.Copies++
		c := *s
		w.at(w.tick(at+int64(p.delay)+int64(w.upTo(p.jitter+p.delay/4)), p), simEvent{to: d.peer, seg: &c})
	}
	at += int64(p.delay) + int64(w.upTo(p.jitter))
	if w.chance(p.late) {
		w.ctr.Late++
		at += int64(w.upTo(3 * time.Second))
	}
	w.at(w.tick(at, p), simEvent{to: d.peer, seg: s})
}

// tick rounds up to when a burst is taken from the wire.
func (w *simWorld) tick(t handshake.Time, p *simPath) handshake.Time {
	if p.tick == 0 {
		return t
	}
	k := int64(p.tick)
	return (t + k - 1) / k * k
}

// run lets the world live until nothing is left in it.
func (w *simWorld) run() {
	w.open()
	for {
		next, any := handshake.Time(0), false
		first := func(t handshake.Time) {
			if !any || t < next {
				next, any = t, true
			}
		}
		if len(w.heap) > 0 {
			first(w.heap[0].at)
		}
		for _, d := range w.nodes {
			if at, ok := d.timer(); ok {
				first(at)
			}
		}
		if !any {
			if w.giveUp() {
				continue
			}
			break
		}
		w.now = max(w.now, next)
		if !w.muted && w.c.mute != 0 && w.now-simStart > int64(w.c.mute) {
			w.muted = true
		}
		if time.Duration(w.now-simStart) > w.c.limit {
			w.stuck()
		}
		for len(w.heap) > 0 && w.heap[0].at <= w.now {
			ev := heap.Pop(&w.heap).(simEvent)
			if ev.seg != nil {
				ev.to.rx = append(ev.to.rx, ev.seg)
			} else {
				ev.to.todo = append(ev.to.todo, ev)
			}
		}
		for _, d := range w.nodes {
			d.turn()
		}
		w.steps++
		if w.steps%64 == 0 {
			w.nodes[w.steps/64%2].walk()
		}
		if w.each != nil {
			w.each()
		}
		if w.until != nil && *w.until {
			return
		}
	}
	w.over()
}

// giveUp has applications give up flows whose peer is gone without a word, since they
// have nothing to send that would tell. It reports whether there were any.
func (w *simWorld) giveUp() bool {
	found := false
	for _, f := range w.flows {
		for _, e := range f.ends {
			if !e.over() && e.peer().over() {
				e.act(simAbort, 0)
				found = true
				w.ctr.Given++
			}
		}
	}
	for _, d := range w.nodes {
		d.turn()
	}
	return found
}

// stuck tells what has not come to its end.
func (w *simWorld) stuck() {
	for _, f := range w.flows {
		for _, e := range f.ends {
			if !e.over() {
				e.node.tell(e)
			}
		}
	}
	w.fail("not over after %v", w.c.limit)
}
