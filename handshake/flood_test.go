package handshake

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func TestFloodConfig(t *testing.T) {
	for name, bad := range map[string]Config{
		"rate":           {Flood: FloodConfig{SYN: Limit{PerSecond: -1}}},
		"burst":          {Flood: FloodConfig{Resets: Limit{Burst: 3}}},
		"prefix 4":       {Flood: FloodConfig{SourcePrefix4: 33}},
		"prefix 6":       {Flood: FloodConfig{SourcePrefix6: 129}},
		"cells":          {Flood: FloodConfig{SourceCells: 1 << 17}},
		"cookies never":  {Cookies: CookiesNever, Flood: FloodConfig{Source: Limit{PerSecond: 1}, SourceCookies: true}},
		"cookies of nil": {Flood: FloodConfig{SourceCookies: true}},
	} {
		_, err := bad.withDefaults()
		require.Error(t, err, name)
	}
	c, err := Config{Flood: FloodConfig{Source: Limit{PerSecond: 50}}}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, FloodConfig{Source: Limit{50, 5}, SourcePrefix4: 24, SourcePrefix6: 48, SourceCells: 16384}, c.Flood)
}

// from sends n SYNs from ports of addr and returns how many were answered.
func (k *kit) from(addr wire.Addr, n int) (answered int) {
	k.tup.Remote = addr
	for range n {
		k.tup.RemotePort++
		answered += b2i(k.inject([]wire.Segment{k.parse("", "S mss=1460")})[0].Path != 1)
	}
	return answered
}

// FLD-007 and the limit of all: each refused SYN has its own outcome, exactly as
// many pass as the bucket has, and nobody pays for another prefix.
func TestFLD_007_SYNLimits(t *testing.T) {
	t.Run("all sources", func(t *testing.T) {
		k := newKit(t, Config{MaxFlows: 4096, Flood: FloodConfig{SYN: Limit{PerSecond: 100, Burst: 30}}})
		require.Equal(t, 30, k.from(peer4, 50))
		k.advance(105 * time.Millisecond)
		k.drain()
		require.Equal(t, 10, k.from(peer4, 50))
		c := k.e.Counters()
		require.EqualValues(t, 60, c.Outcome[DropSYNLimit])
		require.EqualValues(t, 60, c.SynDropped)
		require.EqualValues(t, 40, c.SynAcks)
		// Segments of flows that exist are not limited: a repeated SYN, the ACK; nor is a SYN to a closed port.
		k.play("+600ms |")
		k.from(peer4, 100)
		k.tup.RemotePort = 40001
		k.play("S mss=1460 | SA | SYN-RECEIVED\nA seq=1 ack=1 | - | ESTABLISHED | established\nS lport=99 | RA rawseq=0")
	})
	t.Run("each prefix", func(t *testing.T) {
		k := newKit(t, Config{MaxFlows: 4096, Flood: FloodConfig{Source: Limit{PerSecond: 10, Burst: 7}}})
		require.Equal(t, 7, k.from(wire.Addr4(0x0a000001), 20))
		require.Equal(t, 0, k.from(wire.Addr4(0x0a0000ff), 5), "the same /24")
		require.Equal(t, 7, k.from(wire.Addr4(0x0a000101), 20), "the next")
		k.tup.Local = our6
		require.Equal(t, 7, k.from(wire.Addr{Hi: 0x20010db8_0001_0000, Lo: 1}, 20))
		require.Equal(t, 0, k.from(wire.Addr{Hi: 0x20010db8_0001_ffff, Lo: 1 << 63}, 5), "the same /48")
		require.Equal(t, 7, k.from(wire.Addr{Hi: 0x20010db8_0002_0000, Lo: 1}, 20), "the next")
		c := k.e.Counters()
		require.EqualValues(t, 13+5+13+13+5+13, c.Outcome[DropSourceLimit])
		require.Equal(t, c.Outcome[DropSourceLimit], c.SynDropped)
		k.advance(300 * time.Millisecond)
		k.drain()
		k.tup.Local = our4
		require.Equal(t, 3, k.from(wire.Addr4(0x0a000001), 20))
	})
	t.Run("prefix lengths", func(t *testing.T) {
		k := newKit(t, Config{Flood: FloodConfig{Source: Limit{PerSecond: 1, Burst: 1}, SourcePrefix4: 32, SourcePrefix6: 128}})
		require.Equal(t, 1, k.from(wire.Addr4(0x0a000001), 2))
		require.Equal(t, 1, k.from(wire.Addr4(0x0a000002), 2))
		k.tup.Local = our6
		require.Equal(t, 1, k.from(wire.Addr{Hi: 0x20010db8 << 32, Lo: 8}, 2))
		require.Equal(t, 1, k.from(wire.Addr{Hi: 0x20010db8 << 32, Lo: 9}, 2))
		k = newKit(t, Config{Flood: FloodConfig{Source: Limit{PerSecond: 1, Burst: 1}, SourcePrefix4: 8, SourcePrefix6: 72}})
		require.Equal(t, 1, k.from(wire.Addr4(0x0a000001), 2))
		require.Equal(t, 0, k.from(wire.Addr4(0x0affff02), 2))
		k.tup.Local = our6
		require.Equal(t, 1, k.from(wire.Addr{Hi: 0x20010db8 << 32, Lo: 0x01ffffff_00000000}, 2))
		require.Equal(t, 0, k.from(wire.Addr{Hi: 0x20010db8 << 32, Lo: 0x01ff0000_00000000}, 2), "the first 72 bits")
		require.Equal(t, 1, k.from(wire.Addr{Hi: 0x20010db8 << 32, Lo: 0x02ffffff_00000000}, 2))
	})
	t.Run("cookies for those above", func(t *testing.T) {
		k := newKit(t, Config{MaxFlows: 4096, Flood: FloodConfig{
			Source: Limit{PerSecond: 10, Burst: 7}, SourceCookies: true, SYN: Limit{PerSecond: 1000, Burst: 18},
		}})
		require.Equal(t, 18, k.from(peer4, 20))
		c := k.e.Counters()
		require.EqualValues(t, 7, c.SynAcks)
		require.EqualValues(t, 11, c.Cookies)
		require.EqualValues(t, 11, c.SourceCookies)
		require.EqualValues(t, 2, c.Outcome[DropSYNLimit], "the limit of all holds for them too")
		require.Zero(t, c.Outcome[DropSourceLimit])
		require.Zero(t, c.UnderPressure)
	})
	t.Run("both", func(t *testing.T) {
		// What one prefix is refused is not taken from the others.
		k := newKit(t, Config{MaxFlows: 4096, Flood: FloodConfig{Source: Limit{PerSecond: 10, Burst: 10}, SYN: Limit{PerSecond: 10, Burst: 15}}})
		require.Equal(t, 10, k.from(peer4, 1000))
		require.Equal(t, 5, k.from(wire.Addr4(0x0a000001), 9))
		c := k.e.Counters()
		require.EqualValues(t, 990, c.Outcome[DropSourceLimit])
		require.EqualValues(t, 4, c.Outcome[DropSYNLimit])
	})
}

func TestCKI_014_LimitsDoNotAllocate(t *testing.T) {
	l := Limit{PerSecond: 1000, Burst: 100}
	for _, policy := range []CookiePolicy{CookiesNever, CookiesAlways, CookiesPressure} {
		c := newCycler(t, Config{Cookies: policy, MaxFlows: 4096, MaxHalfOpen: 64, Flood: FloodConfig{
			SYN: Limit{PerSecond: maxLimit}, Source: l, CookieAccepts: l, Resets: l, EvictOldest: true,
		}})
		require.NoError(t, c.e.SetGate(wire.Addr{}, 80, Gate{Backlog: 10, HalfOpen: 60, Defer: time.Second}))
		require.Zero(t, testing.AllocsPerRun(100, func() {
			c.syn()
			c.reply(wire.FlagACK)
			c.reset()
			c.now += 1e7
			c.e.Advance(c.now, 1000)
			c.e.Sent(len(c.e.Output()))
		}), "%v", policy)
		ctr := c.e.Counters()
		require.Empty(t, ctr.Check())
	}
}

func TestFLD_002_EvictOldest(t *testing.T) {
	k := newKit(t, Config{Cookies: CookiesNever, MaxFlows: 64, MaxHalfOpen: 4, Flood: FloodConfig{EvictOldest: true}})
	require.NoError(t, k.e.SetGate(our4, 81, Gate{Defer: time.Minute}))
	alive := func() (ports []uint16) {
		for i := uint32(1); i < k.e.fresh; i++ {
			if r := &k.e.recs[i]; r.state == SynRcvd {
				ports = append(ports, r.remotePort)
			}
		}
		return ports
	}
	// 40000 is ACKed, 40001 has been repeated once, 40002 is older than 40003.
	k.play("S mss=1460 lport=81 | SA")
	k.tup.LocalPort = 81
	k.play("A seq=1 ack=1 | - | SYN-RECEIVED")
	k.tup.LocalPort = 80
	k.peer(40001)
	k.play("S mss=1460 | SA\n+1001ms | SA\n")
	for port := range uint16(2) {
		k.peer(40002 + port)
		k.play("S mss=1460 | SA\n+1ms |")
	}
	require.ElementsMatch(t, []uint16{40000, 40001, 40002, 40003}, alive())
	for i, want := range [][]uint16{{40000, 40002, 40003, 50000}, {40000, 40003, 50000, 50001}, {40000, 50000, 50001, 50002}, {40000, 50001, 50002, 50003}} {
		k.peer(50000 + uint16(i))
		k.play("S mss=1460 | SA | SYN-RECEIVED")
		require.ElementsMatch(t, want, alive())
	}
	c := k.e.Counters()
	require.EqualValues(t, 4, c.HalfOpenEvicted)
	require.EqualValues(t, 4, c.HalfOpen)
	require.Zero(t, c.SynDropped)
	// The one that proved its address is still let in; a late ACK of an evicted one is not.
	k.peer(40003)
	k.play("A seq=1 ack=1 | R | CLOSED")
	// If all have proved it, the SYN is dropped.
	k = newKit(t, Config{Cookies: CookiesNever, MaxHalfOpen: 2, Flood: FloodConfig{EvictOldest: true}})
	require.NoError(t, k.e.SetGate(wire.Addr{}, 80, Gate{Defer: time.Minute}))
	for port := range uint16(2) {
		k.peer(40000 + port)
		k.play("S mss=1460 | SA\nA seq=1 ack=1 | - | SYN-RECEIVED")
	}
	k.peer(50000)
	k.play("S mss=1460 | - | CLOSED")
	require.EqualValues(t, 1, k.e.Counters().Outcome[DropTableFull])
}

// Whoever has proved its address by a cookie goes before who has not.
func TestFLD_002_ProvenPeerEvictsHalfOpen(t *testing.T) {
	for _, evict := range []bool{false, true} {
		k := newKit(t, Config{MaxFlows: 4, MaxHalfOpen: 4, HighMark: 4, Flood: FloodConfig{EvictOldest: evict}})
		for port := range uint16(4) {
			k.peer(40000 + port)
			k.play("S mss=1460 | SA | SYN-RECEIVED")
		}
		k.peer(50000)
		k.play("S mss=1460 | SA | CLOSED")
		if !evict {
			k.play("A seq=1 ack=1 | - | CLOSED")
			require.EqualValues(t, 1, k.e.Counters().CookieNoRoom)
			continue
		}
		k.play("A seq=1 ack=1 | - | ESTABLISHED | established")
		require.True(t, k.info.Cookie)
		require.EqualValues(t, 1, k.e.Counters().HalfOpenEvicted)
		k.peer(40000)
		require.Equal(t, "CLOSED", k.state())
	}
}

// FLD-003 is not taken up: Linux keeps the last quarter of the table for peers
// it knows from before, and no such memory is kept here. All of it is used.
func TestFLD_003_WholeTableWithoutCookies(t *testing.T) {
	k := newKit(t, Config{Cookies: CookiesNever, MaxHalfOpen: 8})
	require.Equal(t, 8, k.from(peer4, 12))
}

// RTX-009: 0, 1, 3 s and then nothing more once the table is past half of its limit and
// no young ones are left; an entry of a table that is not keeps its five.
func TestRTX_009_YoungEntries(t *testing.T) {
	k := newKit(t, Config{Cookies: CookiesNever, MaxFlows: 128, MaxHalfOpen: 32})
	require.Equal(t, 16, k.from(peer4, 16))
	ages := func() (out []uint64) {
		for _, step := range []time.Duration{1001, 2001, 4001, 8001, 16001, 32001} {
			k.advance(step * time.Millisecond)
			k.drain()
			out = append(out, k.e.Counters().HalfOpen)
		}
		return out
	}
	require.Equal(t, []uint64{16, 16, 16, 16, 16, 0}, ages(), "half of the limit")
	require.Equal(t, 17, k.from(peer4, 17))
	// At 7 s they have had two and go, until half of the limit is reached again.
	require.Equal(t, []uint64{17, 17, 16, 16, 16, 0}, ages())
	require.Equal(t, 32, k.from(peer4, 32))
	require.Equal(t, []uint64{32, 32, 16, 16, 16, 0}, ages())

	// Young ones fill the other half: with as many young as old ones nobody loses much.
	k = newKit(t, Config{Cookies: CookiesNever, MaxFlows: 128, MaxHalfOpen: 32})
	k.from(peer4, 10)
	k.advance(1001 * time.Millisecond)
	k.from(peer4, 12)
	require.Equal(t, 10, k.e.resent)
	require.Equal(t, 5, k.e.synAckRetries(), "22 < 2·12")
	k.from(peer4, 1)
	k.advance(1001 * time.Millisecond)
	require.Equal(t, 23, k.e.resent, "all are old now")
	require.Equal(t, 2, k.e.synAckRetries())
	k.from(peer4, 4)
	require.Equal(t, 3, k.e.synAckRetries(), "27 entries, 4 of them young: 8, 16 and 32")
	k.drain()
	for range 20 {
		k.advance(10 * time.Second)
		k.drain()
	}
	require.Zero(t, k.e.Counters().HalfOpen)
	require.Zero(t, k.e.resent)
}

func TestCKI_013_BadCookiesSilent(t *testing.T) {
	k := newKit(t, Config{Cookies: always, Flood: FloodConfig{SilentBadCookies: true}})
	k.play("A seq=1 ack=9 | R seq=9 | CLOSED") // no cookie is out: not a flood of them
	k.play(cookieOut + `
		A seq=1 ack=9       | - | CLOSED
		PA seq=1 ack=9 len=5| - | CLOSED
		SA seq=1 ack=9      | R seq=9 | CLOSED    # is not checked for a cookie (CKI-012)
		A seq=1 ack=9 lport=99 | R seq=9
		A seq=1 ack=1       | - | ESTABLISHED | established
	`)
	c := k.e.Counters()
	require.EqualValues(t, 2, c.Outcome[DropBadCookie])
	require.EqualValues(t, 2, c.CookiesBad)
}

func TestRST_017_ResetBucket(t *testing.T) {
	k := newKit(t, Config{Cookies: always, Flood: FloodConfig{Resets: Limit{PerSecond: 10, Burst: 4}}})
	k.play(cookieOut + `
		S lport=99              | RA rawseq=0
		A seq=1 ack=5 lport=99  | R seq=5
		A seq=1 ack=9           | R seq=9      # a bad cookie
		F lport=99              | RA
		S lport=99              | -
		A seq=1 ack=9           | -
		+100ms                  |
		FA seq=1 ack=5 lport=99 | R seq=5
		FA seq=1 ack=5 lport=99 | -
	`)
	c := k.e.Counters()
	require.EqualValues(t, 3, c.Outcome[DropResetLimit])
	require.EqualValues(t, 5, c.ResetsSent)
	require.EqualValues(t, 2, c.CookiesBad, "counted, whatever becomes of the answer")
	// What belongs to a half-open or a flow is not a stranger's.
	k = newKit(t, Config{Flood: FloodConfig{Resets: Limit{PerSecond: 1, Burst: 1}}})
	k.play("S lport=99 | RA\nS lport=99 | -\nS mss=1460 | SA\nA seq=1 ack=77 | R seq=77 | SYN-RECEIVED\nA seq=1 ack=78 | R seq=78 | SYN-RECEIVED")
	// Unlimited by default.
	k = newKit(t, Config{})
	for range 1000 {
		k.play("S lport=99 | RA")
	}
}

func TestCKI_019_CompletionsLimited(t *testing.T) {
	k := newKit(t, Config{Cookies: always, Flood: FloodConfig{CookieAccepts: Limit{PerSecond: 100, Burst: 2}}})
	iss := map[uint16]wire.Seq{}
	for port := range uint16(4) {
		k.peer(40000 + port)
		k.play(cookieOut)
		iss[k.tup.RemotePort] = k.iss
	}
	ack := func(port uint16, then string) {
		k.peer(port)
		k.iss = iss[port]
		k.play("A seq=1 ack=1 | - | " + then)
	}
	ack(40000, "ESTABLISHED | established")
	ack(40001, "ESTABLISHED | established")
	ack(40002, "CLOSED")
	ack(40003, "CLOSED")
	c := k.e.Counters()
	require.EqualValues(t, 2, c.CookieLimited)
	require.EqualValues(t, 2, c.Outcome[DropCookieLimit])
	require.EqualValues(t, 4, c.CookiesOK)
	k.play("+10ms |")
	ack(40003, "ESTABLISHED | established")
	ack(40002, "CLOSED")
	require.EqualValues(t, 3, k.e.Counters().Accepted)
}

// While cookie mode is on SYN-ACKs are not repeated; when it has ended they are,
// and the timer itself notices that it has.
func TestCKI_015_NoRepeatsUnderPressure(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 64, MaxHalfOpen: 8, HighMark: 4, LowMark: 2, MinStay: 1500 * time.Millisecond})
	k.peer(40000)
	k.play("S mss=1460 | SA")
	k.from(peer4, 4)
	require.EqualValues(t, 1, k.e.Counters().UnderPressure)
	k.play("+1001ms | -")
	require.EqualValues(t, 4, k.e.Counters().SynAckHeld)
	for i := uint32(2); i <= 3; i++ {
		r := &k.e.recs[i]
		k.tup.RemotePort, k.irs, k.iss = r.remotePort, r.rcvNxt-1, r.sndUna
		k.play("R seq=1 | - | CLOSED")
	}
	k.play("+2001ms | SA & SA") // 2 are left, the minimum stay is over and no SYN has come
	require.Zero(t, k.e.Counters().UnderPressure)
	// A SYN of the peer is answered at any time.
	k = newKit(t, Config{MaxFlows: 64, MaxHalfOpen: 8, HighMark: 1, LowMark: 1})
	k.play("S mss=1460 | SA")
	port := k.tup.RemotePort
	k.from(peer4, 1)
	k.tup.RemotePort = port
	k.play("+600ms |\nS mss=1460 | SA | SYN-RECEIVED")
}

// FLD-009: places in the flow table follow from a keyed hash. Tuples that collide
// under one key are spread under another, and the longest chain of tuples chosen
// without the key is that of random ones.
func TestFLD_009_KeyedTable(t *testing.T) {
	const n = 4096
	mk := func(seed byte) *Engine {
		e, err := New(Config{MaxFlows: n}, testHasher(t, seed))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Free()) })
		return e
	}
	a, b := mk(1), mk(2)
	// 64 tuples of one home bucket of a, found by trying, as only who has the key can.
	var chosen []wire.Tuple
	home := uint64(0)
	for i := 0; len(chosen) < 64; i++ {
		tup := wire.Tuple{Remote: wire.Addr4(0x0a000000 + uint32(i>>14)), Local: our4, RemotePort: uint16(i & 0x3fff), LocalPort: 80}
		h := a.sumTuple(&tup).Hash & 255
		if i == 0 {
			home = h
		}
		if h == home {
			chosen = append(chosen, tup)
		}
	}
	worst := func(e *Engine) int {
		count := map[uint64]int{}
		most := 0
		for i := range chosen {
			h := e.sumTuple(&chosen[i]).Hash & 255
			count[h]++
			most = max(most, count[h])
		}
		return most
	}
	require.Equal(t, 64, worst(a))
	require.LessOrEqual(t, worst(b), 6, "64 into 256 at random")
	// The source sketch is keyed too.
	src := func(e *Engine) uint64 {
		e.sources = newSketch(Limit{PerSecond: 1, Burst: 1}, 16, 24, 48)
		return e.sourceHash(peer4)
	}
	require.NotEqual(t, src(a), src(b))
	require.Equal(t, src(a), src(a))
}

// Answers to unproven sources (adr 0016): in cookie mode no answer is longer than the
// segment it answers, whatever options and text it has, byte for byte of the IP
// packet. A stored half-open gets at most 4 bytes more than its SYN, if that had no MSS
// option, and SYNACKRetries repetitions. Nothing else is sent without being asked.
func TestCKI_014_AnswersAreNoLongerThanWhatTheyAnswer(t *testing.T) {
	for _, policy := range []CookiePolicy{CookiesAlways, CookiesNever} {
		rng := rand.New(rand.NewPCG(5, uint64(policy)))
		k := newKit(t, Config{Cookies: policy, MaxFlows: 40_000, MaxHalfOpen: 40_000})
		in, out, longer := 0, 0, 0
		for range 30_000 {
			frame, v4 := randomSegment(rng)
			p := wire.Packet{}
			if wire.Parse(frame, false, &p) != wire.OK {
				continue
			}
			s, act := &p.Seg, [1]Action{}
			size := len(frame) - 14
			in += size
			k.e.Handle(k.now, k.ring.Load(), []*wire.Segment{s}, act[:])
			k.e.EndBurst()
			if act[0] == Silent {
				continue
			}
			n := wire.PacketLen(s, int(s.Len))
			out += n
			switch {
			case n <= size:
			case policy == CookiesAlways:
				t.Fatalf("v4 %v: %d bytes answered by %d: % x -> %+v", v4, size, n, frame[14:], *s)
			default:
				longer++
				require.LessOrEqual(t, n, size+4, "% x", frame[14:])
				require.NotZero(t, s.Flags&wire.FlagSYN)
			}
		}
		require.Positive(t, out)
		if policy == CookiesAlways {
			require.LessOrEqual(t, out, in)
			require.Zero(t, longer)
			k.advance(100 * time.Second)
			require.Empty(t, k.drain(), "nothing is sent without being asked")
			require.Greater(t, k.e.Counters().Cookies, uint64(1000))
			continue
		}
		require.Positive(t, longer)
		c := k.e.Counters()
		require.Greater(t, c.SynAcks, uint64(1000))
		for range 70 {
			k.now += 1e9
			for k.e.Advance(k.now, 512) > 0 {
				k.e.Sent(len(k.e.Output()))
			}
			k.e.Sent(len(k.e.Output()))
		}
		after := k.e.Counters()
		require.Zero(t, after.HalfOpen)
		require.LessOrEqual(t, after.SynAckRetrans, 5*c.SynAcks)
		require.GreaterOrEqual(t, after.SynAckRetrans, 2*(c.SynAcks-c.HalfOpenReset-c.Accepted-c.HalfOpenReplaced))
	}
}

// randomSegment is a frame with a random list of options, well-formed or not,
// in the tightest encoding there is, from a source nobody knows: mostly a SYN.
func randomSegment(rng *rand.Rand) (frame []byte, v4 bool) {
	var o []byte
	opts := [][]byte{
		{2, 4, 5, 0xb4},
		{3, 3, 7},
		{4, 2},
		{8, 10, 1, 2, 3, 4, 0, 0, 0, 0},
		{1},
		{0},
		{34, 2},
		{2, 4, 0, 0},
		{2, 4, 0, 9},
		{254, 4, 0xf9, 0x89},
		{3, 0},
		{8, 10, 0, 0},
		{99, 3, 1},
	}
	for range rng.IntN(7) {
		x := opts[rng.IntN(min(len(opts), 4+rng.IntN(10)))]
		if len(o)+len(x) > 40 {
			break
		}
		o = append(o, x...)
	}
	for len(o)%4 != 0 {
		o = append(o, 0)
	}
	v4 = rng.IntN(2) == 0
	s := wire.Segment{
		Tuple: wire.Tuple{Local: wire.Addr4(0x0a000000 + rng.Uint32N(1<<20)), Remote: our4, LocalPort: uint16(1024 + rng.IntN(60000)), RemotePort: 80},
		Seq:   wire.Seq(rng.Uint32()), Flags: wire.FlagSYN, Win: 1000,
	}
	if !v4 {
		s.Local, s.Remote = wire.Addr{Hi: 0x20010db8 << 32, Lo: 1<<32 | rng.Uint64N(1<<20)}, our6
	}
	switch rng.IntN(10) {
	case 0:
		s.Flags, s.Ack = wire.FlagACK, wire.Seq(rng.Uint32())
	case 1:
		s.Flags = wire.Flags(rng.IntN(256))
		s.Ack = wire.Seq(rng.Uint32() & -uint32(s.Flags>>4&1))
	case 2:
		s.RemotePort = 99
	}
	text := make([]byte, rng.IntN(3)*rng.IntN(20))
	b := make([]byte, 256)
	n := wire.PutLink(b, &wire.Link{Dst: [6]byte{2}, Src: [6]byte{4}}, s.Local.EtherType())
	// The options go in by hand: as text first, then the data offset is moved over them.
	n += wire.PutTCP(b[n:], &s, append(o, text...))
	tcp := 14 + wire.IPLen(&s)
	b[tcp+12] += byte(len(o)/4) << 4
	// The sum has 16 bits of that word: subtract what was added.
	sum := uint32(b[tcp+16])<<8 | uint32(b[tcp+17])
	sum = ^sum & 0xffff
	sum += uint32(len(o)/4) << 12
	sum = sum&0xffff + sum>>16
	sum = ^sum & 0xffff
	b[tcp+16], b[tcp+17] = byte(sum>>8), byte(sum)
	return b[:n], v4
}
