package bench

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

type endpoint struct {
	addr wire.Addr
	port uint16
}

func addrPort(s string) endpoint {
	ap := netip.MustParseAddrPort(s)
	return endpoint{wire.AddrFrom(ap.Addr()), ap.Port()}
}

// testFlood is a flood that sends, without a worker around it.
func testFlood(t testing.TB, to, pool string, c Config) *flood {
	t.Helper()
	c.Concurrency = 256
	e := addrPort(to)
	j := &job{cfg: c, workers: 1, remote: e.addr, port: e.port, fail: make(chan error, 1)}
	from, err := invented(nil, []string{pool}, e.addr)
	require.NoError(t, err)
	f := newFlood(j, 0, from, nil, 1)
	f.phase, f.until = sending, 1<<62
	f.link = wire.Link{Dst: [6]byte{2, 0, 0, 0, 0, 1}, Src: [6]byte{2, 0, 0, 0, 0, 2}}
	require.NoError(t, f.template())
	return f
}

// blank lends n frames, as far from each other as in loop, so that their headers
// do not compete for one set of the cache.
func blank(n int) *dataplane.Batch {
	b := dataplane.NewBatch()
	b.N = n
	arena := make([]byte, n*2176)
	for i := range n {
		b.Data[i] = arena[i*2176 : i*2176 : i*2176+2048]
	}
	return b
}

func TestFloodFrames(t *testing.T) {
	for _, tc := range []struct {
		name, to, pool string
		c              Config
		has            wire.OptionSet
	}{
		{"v4", "198.18.0.1:80", "198.19.0.0/16", Config{}, wire.HasMSS | wire.HasTimestamps | wire.HasSACKPermitted | wire.HasWScale},
		{"v6", "[2001:2::1]:80", "2001:2:0:1::/112", Config{}, wire.HasMSS | wire.HasTimestamps | wire.HasSACKPermitted | wire.HasWScale},
		{"plain", "198.18.0.1:80", "198.19.0.0/16", Config{NoTimestamps: true, NoSACK: true, NoWScale: true}, wire.HasMSS},
		{"one source", "198.18.0.1:80", "198.18.9.9/32", Config{NoTimestamps: true}, wire.HasMSS | wire.HasSACKPermitted | wire.HasWScale},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := testFlood(t, tc.to, tc.pool, tc.c)
			within := netip.MustParsePrefix(tc.pool)
			sources := map[wire.Tuple]bool{}
			for range 20 {
				b := blank(dataplane.BatchSize)
				f.Send(1e9, b)
				for i := range b.N {
					var p wire.Packet
					require.Equal(t, dataplane.Reply, b.Verdict[i])
					require.Equal(t, wire.OK, wire.Parse(b.Data[i], false, &p), "checksums included")
					s := &p.Seg
					require.Equal(t, wire.FlagSYN, s.Flags)
					require.Equal(t, tc.has, s.Opt.Has)
					require.Equal(t, tc.to, netip.AddrPortFrom(s.Local.Netip(), s.LocalPort).String())
					require.True(t, within.Contains(s.Remote.Netip()))
					require.GreaterOrEqual(t, s.RemotePort, uint16(floodBase))
					sources[s.Tuple] = true
				}
			}
			require.Greater(t, len(sources), 1200)
		})
	}
}

// answers turns the SYNs in b into what a peer would say.
// refs points at each segment of a burst.
func refs(segs []wire.Segment) []*wire.Segment {
	out := make([]*wire.Segment, len(segs))
	for i := range segs {
		out[i] = &segs[i]
	}
	return out
}

func answers(t testing.TB, b *dataplane.Batch, flags wire.Flags) []wire.Segment {
	out := make([]wire.Segment, b.N)
	for i := range out {
		var p wire.Packet
		require.Equal(t, wire.OK, wire.Parse(b.Data[i], false, &p))
		s := p.Seg
		out[i] = wire.Segment{
			Tuple: wire.Tuple{Remote: s.Local, Local: s.Remote, RemotePort: s.LocalPort, LocalPort: s.RemotePort},
			Flags: flags, Seq: 77, Ack: s.Seq + 1,
		}
	}
	return out
}

func TestFloodVerifiesAnswers(t *testing.T) {
	f := testFlood(t, "198.18.0.1:80", "198.19.0.0/16", Config{})
	n, _ := f.Want(0)
	require.Equal(t, dataplane.BatchSize, n)
	b := blank(8)
	f.Send(1000*64, b)
	syns := answers(t, b, wire.FlagSYN|wire.FlagACK)
	require.Equal(t, 8, f.inflight())

	good := append([]wire.Segment(nil), syns[:3]...)
	f.Receive(1010*64, refs(good))
	require.Equal(t, floodCounters{sent: 8, answered: 3}, f.ctr)
	require.Equal(t, 5, f.inflight())
	f.Receive(1010*64, refs(good[:1]))
	require.Equal(t, uint64(1), f.ctr.repeated)

	rst := append([]wire.Segment(nil), syns[3])
	rst[0].Flags = wire.FlagRST | wire.FlagACK
	f.Receive(1010*64, refs(rst))
	require.Equal(t, uint64(1), f.ctr.reset)

	for name, spoil := range map[string]func(*wire.Segment){
		"ack":       func(s *wire.Segment) { s.Ack++ },
		"ack far":   func(s *wire.Segment) { s.Ack ^= 1 << 31 },
		"port":      func(s *wire.Segment) { s.LocalPort ^= 1 },
		"source":    func(s *wire.Segment) { s.Local.Lo ^= 1 },
		"peer":      func(s *wire.Segment) { s.Remote.Lo ^= 1 },
		"peer port": func(s *wire.Segment) { s.RemotePort++ },
		"no ack":    func(s *wire.Segment) { s.Flags = wire.FlagSYN },
		"pure ack":  func(s *wire.Segment) { s.Flags = wire.FlagACK },
	} {
		before := f.ctr.bad
		s := append([]wire.Segment(nil), syns[5])
		spoil(&s[0])
		f.Receive(1010*64, refs(s))
		require.Equal(t, before+1, f.ctr.bad, name)
	}
	f.Receive(1010*64, refs([]wire.Segment{syns[7]}))
	require.Equal(t, uint64(4), f.ctr.answered)
	require.Zero(t, f.inflight(), "what was sent before the last answer is presumed lost")
	f.Receive(1010*64, refs([]wire.Segment{syns[6]}))
	require.Equal(t, uint64(5), f.ctr.answered, "and still counts when it comes late")

	// An answer that outlived the ring is neither bad nor counted twice.
	for range 2048 / dataplane.BatchSize {
		f.Send(1020*64, blank(dataplane.BatchSize))
	}
	f.Receive(1030*64, refs([]wire.Segment{syns[4]}))
	require.Equal(t, uint64(1), f.ctr.late)
	require.Equal(t, uint64(5), f.ctr.answered)

	h := newLatency().h
	f.service.copyTo(h)
	require.Equal(t, int64(5), h.TotalCount())
	require.InDelta(t, 640, h.ValueAtPercentile(50), 64)
}

// The window fills, and empties after a silence.
func TestFloodWindow(t *testing.T) {
	f := testFlood(t, "198.18.0.1:80", "198.19.0.0/16", Config{})
	f.heard = 1
	total := 0
	for range 10 {
		n, _ := f.Want(1)
		b := blank(n)
		f.Send(1, b)
		total += n
	}
	require.Equal(t, 256, total)
	n, next := f.Want(stallTime)
	require.Zero(t, n)
	require.Equal(t, 1+stallTime, next)
	n, _ = f.Want(1 + stallTime)
	require.Zero(t, n)
	require.Equal(t, uint64(1), f.ctr.stalls)
	for total = 0; total < 256; total += n {
		n, _ = f.Want(2 + stallTime)
		f.Send(2+stallTime, blank(n))
	}
	_, _ = f.Want(1 + 2*stallTime)
	require.Equal(t, uint64(1), f.ctr.stalls, "the next one takes longer")
	_, _ = f.Want(1 + 3*stallTime)
	require.Equal(t, uint64(2), f.ctr.stalls)
}

func TestFloodDoesNotAllocate(t *testing.T) {
	f := testFlood(t, "198.18.0.1:80", "198.19.0.0/16", Config{})
	b := blank(dataplane.BatchSize)
	f.Send(64, b)
	segs := refs(answers(t, b, wire.FlagSYN|wire.FlagACK))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		b.N = dataplane.BatchSize
		f.Send(64, b)
		f.Receive(128, segs)
	}))
}

func BenchmarkFloodSend(b *testing.B) {
	f := testFlood(b, "198.18.0.1:80", "198.19.0.0/16", Config{})
	batch := blank(dataplane.BatchSize)
	for b.Loop() {
		batch.N = dataplane.BatchSize
		f.Send(64, batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
}

func BenchmarkFloodReceive(b *testing.B) {
	f := testFlood(b, "198.18.0.1:80", "198.19.0.0/16", Config{})
	batch := blank(dataplane.BatchSize)
	f.Send(64, batch)
	segs := refs(answers(b, batch, wire.FlagSYN|wire.FlagACK))
	stamps := append([]uint32(nil), f.sentAt...)
	for b.Loop() {
		copy(f.sentAt[:dataplane.BatchSize], stamps)
		f.Receive(128, segs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/dataplane.BatchSize, "ns/pkt")
}
