package handshake

import (
	"math/bits"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func TestFLD_001_RecordSize(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Sizeof(record{}))
	require.EqualValues(t, 64, unsafe.Sizeof(bucket{}))
	require.Less(t, maxClasses, 255, "record.timer holds class+1")
	require.LessOrEqual(t, int(numStates), 256)
}

// The table against a map: random insert, lookup and remove up to full load,
// with real hashes and with hashes so few that chains run through many buckets.
func TestTableAgainstTwin(t *testing.T) {
	for _, c := range []struct {
		name string
		n    int
		mask uint64 // of the hash that is used
	}{
		{"one", 1, ^uint64(0)},
		{"small", 5, ^uint64(0)},
		{"random", 2000, ^uint64(0)},
		{"one bucket, one tag", 200, 0},
		{"one bucket", 200, 0xff},
		{"one tag", 200, ^uint64(0xff)},
		{"few buckets", 500, 1<<63 | 1<<62 | 0xff},
		{"last bucket wraps", 300, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newKit(t, Config{MaxFlows: c.n})
			e := k.e
			rng := rand.New(rand.NewPCG(7, uint64(c.n)))
			tupleN := func(i uint32) wire.Tuple {
				if i&1 == 1 {
					return wire.Tuple{Remote: wire.Addr{Hi: 1 << 61, Lo: uint64(i / 2)}, Local: our6, RemotePort: 5, LocalPort: 80}
				}
				return wire.Tuple{Remote: wire.Addr4(i), Local: our4, RemotePort: 5, LocalPort: 80}
			}
			hashN := func(tu *wire.Tuple) uint64 {
				h := e.sumTuple(tu).Hash
				if c.name == "last bucket wraps" {
					return h | 0xffffff<<40
				}
				return h & c.mask
			}
			twin := map[uint32]FlowID{}
			stale := map[FlowID]bool{}
			peak, universe := 0, uint32(3*c.n)
			for step := range 30 * c.n {
				i := rng.Uint32N(universe)
				tu := tupleN(i)
				h := hashN(&tu)
				idx := e.lookup(h, &tu)
				id, in := twin[i]
				require.Equal(t, in, idx != 0)
				fill := step/(10*c.n)%2 == 0 // ten rounds up, ten down, ten up
				switch {
				case in:
					require.Equal(t, id, e.id(idx))
					require.Equal(t, tu, e.tuple(idx))
					if !fill || rng.IntN(8) == 0 {
						e.removeHashed(idx, h)
						stale[id] = true
						delete(twin, i)
						require.Nil(t, e.get(id))
					}
				case fill || rng.IntN(4) == 0:
					idx := e.alloc(&tu, h)
					require.Equal(t, len(twin) == c.n, idx == 0, "full exactly at MaxFlows")
					if idx != 0 {
						e.recs[idx].state = Established
						twin[i] = e.id(idx)
						require.False(t, stale[e.id(idx)], "a FlowID came back")
						require.NotNil(t, e.get(e.id(idx)))
					}
				}
				peak = max(peak, len(twin))
				require.Equal(t, len(twin), e.flows)
				if step%7 == 0 {
					e.EndBurst()
				}
			}
			require.Equal(t, c.n, peak, "full load was reached")
			for i := range twin {
				tu := tupleN(i)
				h := hashN(&tu)
				e.removeHashed(e.lookup(h, &tu), h)
			}
			for i := range e.tab.buckets {
				b := &e.tab.buckets[i]
				require.Zero(t, b.meta, "bucket %d", i)
			}
			require.Zero(t, e.flows)
		})
	}
}

// A table with its last record in use, and again after its flows have changed
// many times: chains stay short, and the words of the buckets tell the truth.
func TestFLD_009_ChainsOfAFullTable(t *testing.T) {
	flows := 1 << 20
	if testing.Short() {
		flows = 1 << 14
	}
	c := newCycler(t, Config{MaxFlows: flows, MaxHalfOpen: flows, Cookies: CookiesNever})
	e := c.e
	chains := func() (longest int, mean float64) {
		moved := make([]int, len(e.tab.buckets)+1) // passing: at its home +1, where it is -1
		at := make(map[uint32]int, flows)
		for i := range e.tab.buckets {
			b := &e.tab.buckets[i]
			for set := ^uint64(0); set != 0; set &= set - 1 {
				p := bits.TrailingZeros64(set)
				if p&7 > 1 || slotOf(set) >= bucketSlots || b.meta[p&1]>>(p&^7)&0xff == 0 {
					continue
				}
				at[b.idx[slotOf(set)]] = i
			}
		}
		require.Len(t, at, e.flows, "each record in one slot")
		total := 0
		for idx, i := range at {
			home := int(e.tab.home(e.hashOf(idx)))
			n := (i - home + len(e.tab.buckets)) % len(e.tab.buckets)
			for k := range n {
				moved[(home+k)%len(e.tab.buckets)]++
			}
			longest, total = max(longest, n+1), total+n+1
		}
		for i := range e.tab.buckets {
			require.EqualValues(t, moved[i], e.tab.buckets[i].meta[1]>>32, "bucket %d", i)
		}
		return longest, float64(total) / float64(len(at))
	}
	for e.flows < flows {
		c.syn()
	}
	require.EqualValues(t, flows, e.flows)
	longest, mean := chains()
	require.Less(t, longest, 16)
	require.Less(t, mean, 1.15)
	rng := rand.New(rand.NewPCG(8, 8))
	for range 4 * flows / MaxBurst { // each flow is replaced, some several times
		for range MaxBurst {
			if idx := 1 + rng.Uint32N(uint32(flows)); e.recs[idx].state > Closed {
				e.ctr.HalfOpenReset++
				e.remove(idx)
			}
		}
		e.EndBurst()
		for e.flows+MaxBurst <= flows {
			c.syn()
		}
	}
	longest, mean = chains()
	require.Less(t, longest, 16)
	require.Less(t, mean, 1.15)
	require.Empty(t, c.counters().Check())
}

// What would make a chain too long is refused as if the table were full, and leaves no trace.
func TestFLD_009_LongestChain(t *testing.T) {
	const most = maxProbe * bucketSlots
	k := newKit(t, Config{MaxFlows: 16 * most, Cookies: CookiesNever})
	e := k.e
	tup := func(i int) *wire.Tuple {
		return &wire.Tuple{Remote: wire.Addr4(uint32(i)), Local: our4, RemotePort: 5, LocalPort: 80}
	}
	const hash = 7
	for i := range most {
		idx := e.alloc(tup(i), hash)
		require.NotZero(t, idx)
		e.recs[idx].state = Established
	}
	before := append([]bucket(nil), e.tab.buckets...)
	for range 3 {
		require.Zero(t, e.alloc(tup(most), hash))
		require.Zero(t, e.lookup(hash, tup(most)))
		require.Equal(t, before, e.tab.buckets)
		require.Equal(t, most, e.flows)
	}
	require.NotZero(t, e.alloc(tup(most), 1<<63), "another chain")
	for i := range most {
		idx := e.lookup(hash, tup(i))
		require.NotZero(t, idx)
		e.removeHashed(idx, hash)
	}
	require.NotZero(t, e.alloc(tup(most), hash), "room again")
	require.Equal(t, 2, e.flows)
}

// A lookup ends even if something has passed over every bucket.
func TestTableAllPassedOver(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 8})
	for i := range k.e.tab.buckets {
		k.e.tab.buckets[i].meta[1] += overOne
	}
	require.Zero(t, k.e.lookup(5, &k.tup))
}

func TestFlowIDGeneration(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 1})
	seen := map[FlowID]bool{}
	for range 1000 {
		k.play(connecting + "RA ack=1 | - | CLOSED | closed: refused")
		require.False(t, seen[k.flow])
		seen[k.flow] = true
		require.EqualValues(t, 1, k.flow.Index())
		require.True(t, k.flow.Valid())
	}
	for id := range seen {
		require.False(t, k.e.Abort(id))
		require.Equal(t, Closed, k.e.State(id))
	}
	require.False(t, FlowID{}.Valid())
	require.False(t, k.e.Close(FlowID{idx: 99}))
}

func TestNames(t *testing.T) {
	for o := range Outcome(NumOutcomes) {
		require.NotEmpty(t, o.String())
	}
	for s := range numStates {
		require.NotEmpty(t, s.String())
	}
	for r := range numCloseReasons {
		require.NotEmpty(t, r.String())
	}
	require.Equal(t, "unknown", Outcome(99).String()[:7])
	require.Equal(t, "unknown", CloseReason(99).String())
	require.Equal(t, "INVALID", State(99).String())
	require.False(t, Answered.Dropped())
	require.True(t, DropRST.Dropped())
}

func TestFLD_010_CountersAdd(t *testing.T) {
	k := newKit(t, Config{})
	k.play(opened + toTimeWait)
	c := k.e.Counters()
	sum := c
	sum.Add(&c)
	require.Empty(t, sum.Check())
	require.EqualValues(t, 2, sum.Accepted)
	require.Equal(t, 2*c.Segments, sum.Segments)
	for _, wrong := range []func(*Counters){
		func(c *Counters) { c.Segments++ },
		func(c *Counters) { c.SynIn++ },
		func(c *Counters) { c.HalfOpen++ },
		func(c *Counters) { c.Opening++ },
		func(c *Counters) { c.EstablishedNow++ },
	} {
		bad := c
		wrong(&bad)
		require.NotEmpty(t, bad.Check())
	}
}
