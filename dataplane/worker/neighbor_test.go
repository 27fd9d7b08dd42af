package worker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const sec = int64(1e9)

var (
	addrA = wire.Addr4(0x0a000001)
	macA  = [6]byte{2, 0, 0, 0, 0, 1}
	macB  = [6]byte{2, 0, 0, 0, 0, 2}
)

func TestNET_002_ResolveTriesThreeTimesThenFails(t *testing.T) {
	n := NewNeighbors()
	require.Equal(t, probeAsk, n.want(addrA, 10*sec))
	require.Equal(t, probeNone, n.want(addrA, 10*sec+sec/2), "at most one request a second")
	asked := 1
	for now := 11 * sec; now < 20*sec; now += sec / 4 {
		n.age(now, func(r refreshing) {
			require.False(t, r.unicast)
			asked++
		})
		if n.want(addrA, now) == probeFailed {
			break
		}
	}
	require.Equal(t, 3, asked)
	require.Equal(t, probeFailed, n.want(addrA, 14*sec))
	require.Equal(t, probeAsk, n.want(addrA, 30*sec), "a failure is not for ever")
}

func TestNET_002_RefreshUnicastFirst(t *testing.T) {
	n := NewNeighbors()
	n.want(addrA, 0)
	require.True(t, n.learn(addrA, macA, false, sec))
	var got []refreshing
	for now := sec; now < 60*sec; now += sec {
		n.age(now, func(r refreshing) { got = append(got, r) })
	}
	require.NotEmpty(t, got)
	require.True(t, got[0].unicast)
	require.Equal(t, macA, got[0].mac)
	for _, r := range got[1:] {
		require.False(t, r.unicast)
	}
	_, ok := n.Lookup(addrA)
	require.False(t, ok, "nobody answered: forgotten")
	require.Empty(t, n.tab)
}

func TestNET_001_OnlyKnownEntriesAreUpdatedByGratuitousAnswers(t *testing.T) {
	n := NewNeighbors()
	require.False(t, n.learn(addrA, macA, false, 0))
	n.want(addrA, 0)
	require.True(t, n.learn(addrA, macA, false, 0))
	require.True(t, n.learn(addrA, macB, false, 0))
	m, _ := n.Lookup(addrA)
	require.Equal(t, macB, m)
	require.False(t, n.learn(addrA, [6]byte{1, 0, 0, 0, 0, 9}, false, 0), "group MAC")
}

func TestNET_003_FloodCannotFillTheTable(t *testing.T) {
	n := NewNeighbors()
	for i := range uint32(100_000) {
		n.learn(wire.Addr4(0x0b000000+i), macA, true, 0)
	}
	require.LessOrEqual(t, len(n.tab), maxUnasked)
	require.Equal(t, probeAsk, n.want(addrA, 0), "what we want still fits")
	n.age(100*sec, func(refreshing) {})
	require.Len(t, n.tab, 1, "what nobody wanted is forgotten without a probe")
	require.Zero(t, n.unasked)
	for i := range uint32(2 * maxNeighbors) {
		n.want(wire.Addr4(0x0c000000+i), 0)
	}
	require.Equal(t, maxNeighbors, len(n.tab))
	require.Equal(t, probeFull, n.want(wire.Addr4(0x0d000000), 0))
}

// After the link was down somebody else may have the address: all are asked for by
// broadcast, and used as they are until an answer comes.
func TestNET_002_LinkUpAsksAnew(t *testing.T) {
	n := NewNeighbors()
	n.want(addrA, 0)
	n.learn(addrA, macA, false, 0)
	var sent []refreshing
	keep := func(r refreshing) { sent = append(sent, r) }
	n.age(sec, keep)
	require.Empty(t, sent, "fresh")
	n.suspect(sec)
	m, ok := n.Lookup(addrA)
	require.True(t, ok)
	require.Equal(t, macA, m)
	n.age(sec, keep)
	require.Equal(t, []refreshing{{addrA, macA, false}}, sent)
	n.learn(addrA, macB, false, 2*sec)
	m, _ = n.Lookup(addrA)
	require.Equal(t, macB, m)
	sent = nil
	n.age(40*sec, keep)
	require.Empty(t, sent, "fresh again")
	n.suspect(40 * sec)
	for i := range 5 {
		n.age(int64(40+i)*sec, keep)
	}
	_, ok = n.Lookup(addrA)
	require.False(t, ok, "nobody answered")
}

func TestPathsAreBoundedAndStable(t *testing.T) {
	var p paths
	seen := map[uint16]path{}
	full := 0
	for i := range 3 * maxPaths {
		mac := [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}
		want := path{bitsOf(mac), uint16(i % 3)}
		h := p.handle(want)
		if h == 0 {
			full++
			continue
		}
		if old, ok := seen[h]; ok {
			require.Equal(t, old, want)
		}
		seen[h] = want
		require.Equal(t, h, p.handle(want))
	}
	require.Positive(t, full)
	require.LessOrEqual(t, len(p.all), maxPaths)
	for h, want := range seen {
		got, ok := p.get(h)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := p.get(0)
	require.False(t, ok)
}
