package handshake

import (
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
		{"one bucket", 200, 0},
		{"one tag", 200, 0xffffffff},
		{"few buckets", 500, 3},
		{"last bucket wraps", 300, 1<<32 - 1},
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
					return h | e.tab.mask
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
				require.Zero(t, b.over, "bucket %d", i)
				require.Zero(t, b.idx)
			}
			require.Zero(t, e.flows)
		})
	}
}

// A lookup ends even if something has passed over every bucket.
func TestTableAllPassedOver(t *testing.T) {
	k := newKit(t, Config{MaxFlows: 8})
	for i := range k.e.tab.buckets {
		k.e.tab.buckets[i].over++
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
