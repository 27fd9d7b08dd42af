package bench

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// A long run keeps at most so many intervals, which have all that the seconds have, and each of
// which closes. Compared with sums over all seconds.
func TestRecorderMerges(t *testing.T) {
	const limit = 16
	runs := []int{1, limit - 1, limit, limit + 1, 3*limit + 5}
	if !raceBuild {
		runs = append(runs, 10*limit)
	}
	for _, seconds := range runs {
		rng := rand.New(rand.NewPCG(7, uint64(seconds)))
		var stream []Interval
		r := newRecorder(func(v *Interval) { stream = append(stream, *v) })
		r.max = limit
		lat, resp := newLatency(), newLatency()
		s := Snapshot{Work: make([]Work, 2)}
		counts := []Count{{"intended", "", 0}}
		var drops, retrans uint64
		draining := max(1, seconds/10)
		for i := range seconds + draining {
			for k := range s.Work {
				w := &s.Work[k]
				opened := rng.Uint64N(100)
				w.Attempted += opened
				w.InFlight += opened
				done := rng.Uint64N(w.InFlight + 1)
				w.Done, w.InFlight = w.Done+done, w.InFlight-done
				for range done {
					v := rng.Int64N(1 << 30)
					lat.record(v)
					resp.record(2 * v)
				}
				if i%3 == 0 {
					failed := rng.Uint64N(w.InFlight + 1)
					w.Failed, w.InFlight = w.Failed+failed, w.InFlight-failed
				} else if i%7 == 1 && w.Failed > 0 { // it came after all
					w.Failed--
					w.Done++
					lat.record(9)
					resp.record(9)
				}
			}
			counts[0].N += 100
			drops += rng.Uint64N(2)
			retrans += rng.Uint64N(3)
			lat.settle()
			resp.settle()
			now := s
			now.Elapsed = time.Duration(i+1) * time.Second
			now.Work = append([]Work(nil), s.Work...)
			now.Work[0].Counts = append([]Count(nil), counts...)
			now.Ends = []End{{Name: "client", Workers: make([]worker.Stats, 1), Lost: []map[string]uint64{{"tx_ring_full": drops}}}}
			now.Ends[0].Workers[0].Engine.SynRetrans = retrans
			now.Latencies = []Distribution{{"latency", cellsOf(lat.h).histogram()}, {"response", cellsOf(resp.h).histogram()}}
			r.take(now, i >= seconds)
		}
		require.EqualValues(t, seconds+draining, r.taken)
		require.Equal(t, r.taken, r.closed)
		require.Len(t, stream, seconds+draining)

		list := r.intervals()
		require.LessOrEqual(t, len(list), limit)
		if seconds+draining <= limit {
			require.Equal(t, stream, list)
		}
		var sum Interval
		at, length, open := 0.0, 0.0, uint64(0)
		var done [2]uint64
		var gone uint64
		for i, v := range list {
			require.Greater(t, v.AtS, at)
			at = v.AtS
			length += v.LengthS
			require.InDelta(t, at, length, 1e-9, "they leave nothing out")
			require.Equal(t, v.Attempted, v.Done+uint64(v.Failed)+v.InFlight-open, i)
			open = v.InFlight
			require.InDelta(t, float64(v.Done)/v.LengthS, v.PerS, 1e-9)
			require.Equal(t, v.Draining, at > float64(seconds))
			require.EqualValues(t, v.Done, v.Latency.Count)
			require.EqualValues(t, v.Done, v.Response.Count)
			heat := uint64(0)
			for _, c := range v.Heat {
				heat += c.N
			}
			require.Equal(t, v.Done, heat)
			for k, n := range v.Workers {
				done[k] += n
			}
			gone += v.Drops["tx_ring_full"]
			sum.Attempted += v.Attempted
			sum.Done += v.Done
			sum.Failed += v.Failed
			sum.Retransmitted += v.Retransmitted
			sum.Intended += v.Intended
		}
		require.Equal(t, s.Work[0].Attempted+s.Work[1].Attempted, sum.Attempted)
		require.Equal(t, [2]uint64{s.Work[0].Done, s.Work[1].Done}, done)
		require.EqualValues(t, s.Work[0].Failed+s.Work[1].Failed, sum.Failed)
		require.Equal(t, drops, gone)
		require.Equal(t, retrans, sum.Retransmitted)
		require.Equal(t, counts[0].N, sum.Intended)
		// The distributions of a merged interval are those of its seconds.
		first := list[0]
		var want cells
		n := uint64(0)
		for _, v := range stream {
			if v.AtS > first.AtS {
				break
			}
			n += v.Done
		}
		for _, k := range r.kept[:1] {
			want = k.latency
		}
		require.EqualValues(t, n, want.histogram().TotalCount())
		require.Equal(t, summarize(want.histogram()), first.Latency)
	}
}

// What is left of a run below a blink of time is not an interval of its own, but draining is
// not sending.
func TestRecorderTail(t *testing.T) {
	r := newRecorder(nil)
	s := Snapshot{Work: []Work{{Attempted: 5, Done: 5}}, Elapsed: time.Second}
	r.take(s, false)
	s.Work, s.Elapsed = []Work{{Attempted: 6, Done: 6}}, s.Elapsed+time.Millisecond
	r.take(s, false)
	s.Work, s.Elapsed = []Work{{Attempted: 6, Done: 7}}, s.Elapsed+time.Millisecond
	r.take(s, true)
	list := r.intervals()
	require.Len(t, list, 2)
	require.EqualValues(t, 6, list[0].Done)
	require.InDelta(t, 1.001, list[0].LengthS, 1e-9)
	require.True(t, list[1].Draining)
	require.EqualValues(t, 3, r.taken)
	require.EqualValues(t, 2, r.closed, "one done too many is noticed")
}

// Each scenario has intervals whose sums close, with a rate and without, and whichever end closes.
func TestIntervals(t *testing.T) {
	for name, c := range map[string]Config{
		"rst":       {},
		"fin":       {Close: CloseFIN},
		"rate":      {Rate: 20000},
		"count":     {Count: 1000},
		"lossy":     {Port: "impair(loss=10%,seed=4):loop:", InitialRTO: 20 * time.Millisecond, Rate: 5000},
		"http":      {Scenario: ScenarioHTTP},
		"flood":     {Scenario: ScenarioSYNFlood},
		"echo":      {Scenario: ScenarioEcho},
		"echo rate": {Scenario: ScenarioEcho, Rate: 20000},
	} {
		t.Run(name, func(t *testing.T) {
			c.Workers, c.Polling, c.Pin = 2, "adaptive", "off"
			if c.Count == 0 {
				c.Duration = 100 * time.Millisecond
			}
			var seen []Interval
			c.OnInterval = func(v *Interval) { seen = append(seen, *v) }
			r, err := Run(context.Background(), c, nil)
			require.NoError(t, err)
			require.True(t, r.Valid, r.InvalidReason)
			require.NotEmpty(t, r.Intervals)
			require.False(t, r.Intervals[0].Draining)
			require.True(t, r.Intervals[len(r.Intervals)-1].Draining)
			var done, listed, intended uint64
			for _, v := range seen {
				done += v.Done
				intended += v.Intended
			}
			for _, v := range r.Intervals {
				listed += v.Done
				require.Len(t, v.Workers, 2)
			}
			require.Equal(t, done, listed)
			require.Positive(t, done)
			h, err := r.Histogram("latency")
			require.NoError(t, err)
			require.Equal(t, r.Latency, summarize(h))
			if c.Rate > 0 && c.Scenario == "" {
				require.Equal(t, r.Handshakes.Attempted+r.Handshakes.Unsent, intended)
				h, err := r.Histogram("response")
				require.NoError(t, err)
				require.Equal(t, r.Response, summarize(h))
			}
			if c.Rate == 0 {
				require.Zero(t, intended)
			}
		})
	}
}
