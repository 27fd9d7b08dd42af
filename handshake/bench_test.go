package handshake

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cookie"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// scale adds what takes gigabytes and minutes: tables of ten and twenty million flows.
var scale = flag.Bool("scale", false, "benchmarks also with 10 and 20 million flows")

// cycler drives bursts of handshakes through an engine the cheapest way there is:
// the answers are turned into the peer's next segments in place.
type cycler struct {
	e    *Engine
	keys *cookie.Keys
	now  Time
	segs [MaxBurst]wire.Segment
	refs [MaxBurst]*wire.Segment
	act  [MaxBurst]Action
	port uint32
	v6   bool
}

func newCycler(tb testing.TB, cfg Config) *cycler {
	tb.Helper()
	e, err := New(cfg, testHasher(tb, 1))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, e.Free()) })
	require.NoError(tb, e.Listen(wire.Addr{}, 80, 0, false))
	c := &cycler{e: e, keys: testRing(tb, wrapTime).Load(), now: wrapTime}
	copy(c.refs[:], refs(c.segs[:]))
	return c
}

func (c *cycler) tuple(s *wire.Segment) {
	c.port++
	s.Remote, s.Local = wire.Addr4(0x0a000000+c.port>>14), our4
	if c.v6 {
		s.Remote, s.Local = wire.Addr{Hi: 0x20010db8 << 32, Lo: uint64(1000 + c.port>>14)}, our6
	}
	s.RemotePort, s.LocalPort = uint16(c.port&0x3fff+10000), 80
}

func (c *cycler) handle() {
	c.now += 1000
	c.e.Handle(c.now, c.keys, c.refs[:], c.act[:])
	c.e.EndBurst()
}

// syn makes a burst of SYNs with the options of a Linux client.
func (c *cycler) syn() {
	for i := range c.segs {
		c.synFor(&c.segs[i])
	}
	c.handle()
}

// synFor makes s the SYN of a new flow.
func (c *cycler) synFor(s *wire.Segment) {
	c.tuple(s)
	s.Seq, s.Ack, s.Flags, s.Win, s.Len = wire.Seq(c.port*7919), 0, wire.FlagSYN, 64240, 0
	s.Opt.Has = wire.HasMSS | wire.HasWScale | wire.HasSACKPermitted | wire.HasTimestamps
	s.Opt.MSS, s.Opt.WScale, s.Opt.TSVal, s.Opt.TSEcr = 1460, 7, 1000, 0
}

func (c *cycler) counters() *Counters {
	ctr := c.e.Counters()
	return &ctr
}

// reply turns answers round and hands them in.
func (c *cycler) reply(flags wire.Flags) {
	c.turn(flags)
	c.handle()
}

// turn makes the peer's next segments of answers: SEG.ACK becomes SEG.SEQ and so on.
func (c *cycler) turn(flags wire.Flags) {
	for i := range c.segs {
		s := &c.segs[i]
		s.Seq, s.Ack, s.Flags = s.Ack, s.Seq+1, flags
		s.Opt.Has &= wire.HasTimestamps
		s.Opt.TSVal, s.Opt.TSEcr = 1000, s.Opt.TSVal
	}
}

// reset ends what reply has established: the ACK is still there, as it was not answered.
func (c *cycler) reset() {
	for i := range c.segs {
		c.segs[i].Flags = wire.FlagRST
	}
	c.handle()
}

// connect opens a burst of attempts, answers them and resets them.
func (c *cycler) connect(tb testing.TB) {
	c.now += 1000
	c.e.SetClock(c.now, c.keys)
	for i := range c.segs {
		s := &c.segs[i]
		c.tuple(s)
		t := s.Tuple
		t.RemotePort, t.LocalPort = 80, t.RemotePort
		if _, err := c.e.Connect(&t, 0, 0); err != nil {
			tb.Fatal(err)
		}
	}
	out := c.e.Output()
	for i := range c.segs {
		s, o := &c.segs[i], &out[i].Seg
		s.Tuple = o.Tuple
		s.Seq, s.Ack, s.Flags, s.Win, s.Len = 77, o.Seq+1, wire.FlagSYN|wire.FlagACK, 65160, 0
		s.Opt.Has = o.Opt.Has
		s.Opt.MSS, s.Opt.WScale, s.Opt.TSVal, s.Opt.TSEcr = 1460, 7, 1000, o.Opt.TSVal
	}
	c.e.Sent(len(out))
	c.handle()
	for i := range c.segs {
		s := &c.segs[i]
		s.Seq, s.Flags = s.Ack, wire.FlagRST
	}
	c.handle()
}

func (c *cycler) requireClean(tb testing.TB, n uint64) {
	tb.Helper()
	ctr := c.e.Counters()
	require.Empty(tb, ctr.Check())
	require.Zero(tb, ctr.Flows)
	require.Equal(tb, n*MaxBurst, ctr.Reset)
}

func TestAllocs(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		for _, v6 := range []bool{false, true} {
			c := newCycler(t, Config{Cookies: policy, MaxFlows: 4096})
			c.v6 = v6
			require.Zero(t, testing.AllocsPerRun(100, func() {
				c.syn()
				c.reply(wire.FlagACK)
				c.reset()
			}), "%v", policy)
			c.requireClean(t, 101)
		}
	}
	c := newCycler(t, Config{MaxFlows: 4096})
	require.Zero(t, testing.AllocsPerRun(100, func() { c.connect(t) }), "Connect")
	c.requireClean(t, 101)
	require.Zero(t, testing.AllocsPerRun(100, func() { // timers, on many half-opens
		c.syn()
		c.now += 1e9
		c.e.Advance(c.now, 256)
		c.e.Sent(len(c.e.Output()))
		c.e.EndBurst()
	}), "Advance")
	id, err := c.e.Connect(&wire.Tuple{Remote: peer4, Local: our4, RemotePort: 1, LocalPort: 2}, 0, 0)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		c.e.State(id)
		c.e.Send(id, 5, false)
		c.e.Close(FlowID{})
		_ = c.e.Counters()
		c.e.NextTimer()
	}), "calls")
}

func report(b *testing.B, segsPerHandshake int) {
	per := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / MaxBurst
	b.ReportMetric(per, "ns/handshake")
	b.ReportMetric(per/float64(segsPerHandshake), "ns/seg")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAccept is SYN, SYN-ACK, ACK and RST in bursts of 64: three segments
// in for a handshake.
func BenchmarkAccept(b *testing.B) {
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways} {
		for _, fam := range []string{"v4", "v6"} {
			for _, flows := range []int{1 << 10, 1 << 20} {
				name := "policy=" + policy.String() + "/" + fam + "/flows=1k"
				if flows > 1<<10 {
					name = name[:len(name)-2] + "1M"
				}
				b.Run(name, func(b *testing.B) {
					c := newCycler(b, Config{Cookies: policy, MaxFlows: flows + 2048})
					if flows > 1<<10 { // a standing population, so that the tables do not fit a cache
						for range flows / MaxBurst {
							c.syn()
							c.reply(wire.FlagACK)
						}
					}
					c.v6 = fam == "v6"
					b.ReportAllocs()
					for b.Loop() {
						c.syn()
						c.reply(wire.FlagACK)
						c.reset()
					}
					report(b, 3)
				})
			}
		}
	}
}

// BenchmarkCookieSYN is a SYN flood against cookies.
func BenchmarkCookieSYN(b *testing.B) {
	for _, fam := range []string{"v4", "v6"} {
		b.Run(fam, func(b *testing.B) {
			c := newCycler(b, Config{Cookies: CookiesAlways, MaxFlows: 4096})
			c.v6 = fam == "v6"
			b.ReportAllocs()
			for b.Loop() {
				c.syn()
			}
			report(b, 1)
		})
	}
}

// BenchmarkConnect is SYN out, SYN-ACK in, ACK out, RST in.
func BenchmarkConnect(b *testing.B) {
	for _, fam := range []string{"v4", "v6"} {
		b.Run(fam, func(b *testing.B) {
			c := newCycler(b, Config{MaxFlows: 4096})
			c.v6 = fam == "v6"
			b.ReportAllocs()
			for b.Loop() {
				c.connect(b)
			}
			report(b, 2)
		})
	}
}
