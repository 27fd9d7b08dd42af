package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

func TestLatency(t *testing.T) {
	l := newLatency()
	for _, ns := range []int64{100, 100, 100, 200, 0, 1 << 62} {
		l.record(ns)
	}
	h, old := newLatency().h, newLatency().h
	l.copyTo(h)
	s := summarize(h)
	require.Equal(t, int64(6), s.Count)
	require.Equal(t, int64(100), s.P50)
	require.Equal(t, int64(0), s.Min)
	require.InEpsilon(t, maxLatency, s.Max, 0.001)
	require.Equal(t, int64(6), since(h, old).TotalCount())
	old.Merge(h)
	l.record(300)
	h.Reset()
	l.copyTo(h)
	d := since(h, old)
	require.Equal(t, int64(1), d.TotalCount())
	require.InDelta(t, 300, d.ValueAtPercentile(50), 1)
	require.Zero(t, testing.AllocsPerRun(100, func() { l.record(100); l.record(50) }))
	require.Equal(t, Latency{}, summarize(newLatency().h))
}

// Both ends of one wire, rings long enough for what can be in flight, different
// impairment at each.
func TestBothEnds(t *testing.T) {
	parse := func(s string) dataplane.Spec {
		sp, err := dataplane.ParseSpec(s)
		require.NoError(t, err)
		return sp
	}
	a, b := bothEnds(parse("loop:"), 2, 512)
	require.Equal(t, a.Target, b.Target)
	require.NotEmpty(t, a.Target)
	c, _ := bothEnds(parse("loop:"), 1, 256)
	require.NotEqual(t, a.Target, c.Target)
	ring, _ := param(a.Params, "ring")
	require.Equal(t, "2048", ring)
	c, _ = bothEnds(parse("loop:"), 1, 1<<22)
	require.Equal(t, "queues=1 ring=65536 frames=262144", params(c))
	require.Equal(t, "loop:", parse("loop:").String(), "the spec given is left alone")
	a, b = bothEnds(parse("impair(loss=5%,seed=9,pcap=x.pcap):loop:w?ring=64"), 1, 256)
	require.Equal(t, "w", b.Target)
	ring, _ = param(a.Params, "ring")
	require.Equal(t, "64", ring)
	seed, _ := param(b.Decorators[0].Params, "seed")
	require.Equal(t, "10", seed)
	_, has := param(b.Decorators[0].Params, "pcap")
	require.False(t, has)
	_, has = param(a.Decorators[0].Params, "pcap")
	require.True(t, has)
}

func params(sp dataplane.Spec) string {
	var out []string
	for _, p := range sp.Params {
		out = append(out, p.Key+"="+p.Value)
	}
	return strings.Join(out, " ")
}

// The wires of other drivers have names and sizes of their own.
func TestBothEndsOfOtherDrivers(t *testing.T) {
	for in, want := range map[string]string{
		"dpdk:net_ring,wire=w?no-huge=on":         "no-huge=on queues=2 rx-desc=1024 tx-desc=1024 mbufs=8192",
		"dpdk:net_ring,wire=w?rx-desc=64&mbufs=9": "rx-desc=64 mbufs=9 queues=2 tx-desc=1024",
		"tube:w": "queues=2",
	} {
		sp, err := dataplane.ParseSpec(in)
		require.NoError(t, err)
		a, b := bothEnds(sp, 2, 400)
		require.Equal(t, want, params(a))
		require.Equal(t, a.Target, b.Target)
		require.Equal(t, sp.Target, a.Target)
	}
	sp, err := dataplane.ParseSpec("dpdk:net_ring")
	require.NoError(t, err)
	a, b := bothEnds(sp, 1, 1<<22)
	require.Regexp(t, `^net_ring,wire=bench-\d+$`, a.Target)
	require.Equal(t, a.Target, b.Target)
	require.Equal(t, "queues=1 rx-desc=32768 tx-desc=32768 mbufs=131072", params(a))
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		require.Equal(t, want, count(n))
	}
	require.Equal(t, "0.25", number(0.25))
	require.Equal(t, "2,000,000", number(1999999.7))
	require.Equal(t, "1.23ms", shortDuration(1234567*time.Nanosecond))
	require.Equal(t, "64ns", shortDuration(64))
}
