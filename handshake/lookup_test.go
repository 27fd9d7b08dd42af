package handshake

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// A burst is looked up before any of it is decided, and yet its segments make,
// end and replace the flows of those behind them. So two engines with the same keys see
// the same segments, one in bursts and one singly, for so few tuples that a burst
// meets each of them several times: both must answer the same.
func TestBurstEqualsSingles(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		burst, single := newCycler(t, Config{MaxFlows: 4096, Cookies: CookiesNever}), newCycler(t, Config{MaxFlows: 4096, Cookies: CookiesNever})
		rng := rand.New(rand.NewPCG(21, 22))
		type peer struct{ seq, ack wire.Seq }
		var peers [6]peer
		flagSets := []wire.Flags{wire.FlagSYN, wire.FlagSYN, wire.FlagACK, wire.FlagACK, wire.FlagRST, wire.FlagFIN | wire.FlagACK, wire.FlagSYN | wire.FlagACK}
		for range 4000 {
			n := 1 + rng.IntN(MaxBurst)
			var who [MaxBurst]int
			for i := range n {
				p := rng.IntN(len(peers))
				who[i] = p
				if rng.IntN(60) == 0 {
					peers[p].seq = wire.Seq(rng.Uint32())
				}
				s := &burst.segs[i]
				*s = wire.Segment{Seq: peers[p].seq, Ack: peers[p].ack, Flags: flagSets[rng.IntN(len(flagSets))], Win: 1000}
				if s.Flags == wire.FlagSYN && rng.IntN(2) == 0 {
					s.Seq-- // the SYN before it
				}
				s.Remote, s.Local, s.RemotePort, s.LocalPort = wire.Addr4(0x0a000000+uint32(p)), our4, 4000, 80
				if v6 { // also addresses that differ in their upper words only
					s.Remote, s.Local = wire.Addr{Hi: 0x20010db8<<32 + uint64(p), Lo: 7}, our6
				}
				single.segs[i] = *s
			}
			burst.now += 1e6 * int64(rng.IntN(3))
			burst.e.Handle(burst.now, burst.keys, burst.refs[:n], burst.act[:n])
			told := len(burst.e.Events())
			burst.e.EndBurst()
			for i := range n {
				single.e.Handle(burst.now, single.keys, single.refs[i:i+1], single.act[i:i+1])
				told -= len(single.e.Events())
				single.e.EndBurst()
			}
			require.Zero(t, told, "events")
			require.Equal(t, single.act[:n], burst.act[:n])
			require.Equal(t, single.segs[:n], burst.segs[:n])
			for i := range n {
				if p := &peers[who[i]]; burst.act[i] == Answer && burst.segs[i].Flags&wire.FlagACK != 0 {
					p.seq, p.ack = burst.segs[i].Ack, burst.segs[i].Seq+1
				}
			}
			require.Equal(t, single.counters(), burst.counters())
		}
		c := burst.counters()
		require.Empty(t, c.Check())
		for _, n := range []uint64{c.Accepted, c.HalfOpenReset, c.HalfOpenReplaced, c.SynRepeats, c.Reset, c.Outcome[AnsweredReset], c.Outcome[AnsweredChallenge]} {
			require.Greater(t, n, uint64(50), "%+v", c)
		}
	}
}

// In a full table a burst takes records that were let go earlier in it.
func TestBurstReusesRecords(t *testing.T) {
	c := newCycler(t, Config{MaxFlows: 8, MaxHalfOpen: 8, Cookies: CookiesNever})
	c.port = 0
	for i := range 8 {
		c.synFor(&c.segs[i])
	}
	c.e.Handle(c.now, c.keys, c.refs[:8], c.act[:8])
	c.e.EndBurst()
	require.Equal(t, 8, c.e.halfOpen)
	// Each is reset, a new one takes its record, and then the old peer speaks again:
	// it belongs to nobody, although a record was found for it at first.
	var old [8]wire.Segment
	copy(old[:], c.segs[:8])
	for i := range 8 {
		s := c.segs[3*i : 3*i+3]
		s[0], s[2] = old[i], old[i]
		s[0].Seq, s[0].Ack, s[0].Flags, s[0].Opt.Has = old[i].Ack, old[i].Seq+1, wire.FlagRST, 0
		s[2].Seq, s[2].Ack, s[2].Flags, s[2].Opt.Has = old[i].Ack, old[i].Seq+1, wire.FlagPSH, 0
		c.synFor(&s[1])
	}
	c.e.Handle(c.now, c.keys, c.refs[:24], c.act[:24])
	c.e.EndBurst()
	for i := range 8 {
		require.Equal(t, Silent, c.act[3*i])
		require.Equal(t, Answer, c.act[3*i+1])
		require.Equal(t, wire.FlagSYN|wire.FlagACK, c.segs[3*i+1].Flags)
		require.Equal(t, Silent, c.act[3*i+2])
	}
	ctr := c.counters()
	require.EqualValues(t, 8, ctr.Outcome[DropBadFlags], "by the listener; SYN-RECEIVED would say DropNoACK")
	require.Empty(t, ctr.Check())
	require.EqualValues(t, 8, ctr.HalfOpen)
	require.EqualValues(t, 8, ctr.HalfOpenReset)
}
