package flow

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// RFC 7323 §4.3: segments A to E of 10 bytes with TSval 1 to 5 arrive as A C B E D, each
// answered by an ACK at once; the echoes are 1 1 2 2 4.
func TestTSP_005_EchoesOfReorderedSegments(t *testing.T) {
	for _, base := range []wire.Seq{100, ^wire.Seq(0) - 15} {
		for _, first := range []uint32{1, ^uint32(0) - 2} { // timestamps wrap too
			ts := TSRecent{Val: first - 1, At: 0}
			r := newReassembler(t, 8, HoldLimits{})
			var h Held
			nxt := base
			var echoes []uint32
			for _, i := range []uint32{0, 2, 1, 4, 3} {
				seq, tsval := base+wire.Seq(10*i), first+i
				require.False(t, ts.Old(tsval, 1))
				ts.Take(tsval, seq, nxt, 1)
				a := r.Arrive(&h, nxt, 1000, seq, []byte("0123456789"), false)
				nxt += wire.Seq(a.Len)
				if a.Ready {
					c, _ := r.Take(&h)
					nxt += wire.Seq(c.Len)
					r.pool.Release(&c)
				}
				echoes = append(echoes, ts.Val-first+1)
			}
			require.Equal(t, []uint32{1, 1, 2, 2, 4}, echoes)
			require.Equal(t, base+50, nxt)
		}
	}
}

// With delayed ACKs the first segment since the last ACK is echoed, so that
// the peer's measure of the round trip includes the delay (RFC 7323 §4.2).
func TestTSP_005_EchoesTheEarliestOfDelayed(t *testing.T) {
	ts := TSRecent{Val: 1}
	ts.Take(5, 100, 100, 0)
	ts.Take(6, 110, 100, 0)
	require.Equal(t, uint32(5), ts.Val)
	ts.Take(7, 120, 120, 0)
	require.Equal(t, uint32(7), ts.Val)
	ts.Take(8, 90, 120, 3) // a duplicate of old text, sent anew
	require.Equal(t, TSRecent{Val: 8, At: 3}, ts)
}

func TestTSP_007_OldTimestamps(t *testing.T) {
	const day = 24 * 3600
	for _, c := range []struct {
		name       string
		ts         TSRecent
		tsval, now uint32
		old        bool
	}{
		{"TSP-007 newer", TSRecent{Val: 100}, 101, 1, false},
		{"TSP-007 the same", TSRecent{Val: 100}, 100, 1, false},
		{"TSP-007 older", TSRecent{Val: 100}, 99, 1, true},
		{"TSP-007 older across the wrap", TSRecent{Val: 5}, ^uint32(0), 1, true},
		{"TSP-007 newer across the wrap", TSRecent{Val: ^uint32(0)}, 5, 1, false},
		{"TSP-007 half the circle ahead", TSRecent{Val: 100}, 100 + 1<<31 - 1, 1, false},
		{"TSP-007 half the circle behind", TSRecent{Val: 100}, 100 + 1<<31, 1, true},
		{"TSP-007 no TS.Recent", TSRecent{}, ^uint32(0), 1, false},
		{"TSP-007 after 24 days", TSRecent{Val: 100, At: 7}, 99, 7 + 24*day, true},
		{"TSP-007 after more than 24 days", TSRecent{Val: 100, At: 7}, 99, 8 + 24*day, false},
		{"TSP-007 the clock wraps meanwhile", TSRecent{Val: 100, At: ^uint32(0)}, 99, 10, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.old, c.ts.Old(c.tsval, c.now))
			after := c.ts
			after.Take(c.tsval, 50, 50, c.now)
			if c.old {
				require.Equal(t, c.ts, after, "an old segment that gets here changes nothing")
			} else {
				require.Equal(t, TSRecent{Val: c.tsval, At: c.now}, after)
			}
			after = c.ts
			after.Take(c.tsval, 51, 50, c.now)
			require.Equal(t, c.ts, after, "behind the last ACK sent")
		})
	}
}

func BenchmarkPAWS(b *testing.B) {
	ts := TSRecent{Val: 1}
	v := uint32(1)
	b.ReportAllocs()
	for b.Loop() {
		v++
		if ts.Old(v, 0) {
			b.Fatal("old")
		}
		ts.Take(v, 5, 5, 0)
	}
}
