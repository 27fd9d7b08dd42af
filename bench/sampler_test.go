package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/worker"
	"github.com/fastsyn/fastsyn/handshake"
)

// sampled are the samples by what they are examples of; in each, segments have directions, flags and states.
func sampled(t *testing.T, r *Report) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, s := range r.Samples {
		require.NotContains(t, out, s.Why)
		out[s.Why] = nil
		last := int64(0)
		require.Zero(t, s.Segments[0].AtNS)
		for _, g := range s.Segments {
			require.GreaterOrEqual(t, g.AtNS, last)
			last = g.AtNS
			dir := "< "
			if g.Out {
				dir = "> "
			}
			out[s.Why] = append(out[s.Why], dir+g.Flags+" "+g.StateIs)
		}
	}
	return out
}

func TestSamples(t *testing.T) {
	opened := []string{"> S SYN-SENT", "< S. ESTABLISHED", "> . ESTABLISHED", "> R. CLOSED"}
	t.Run("first", func(t *testing.T) {
		for _, v6 := range []bool{false, true} {
			r := measure(t, Config{Count: 1000, Workers: 2, IPv6: v6})
			got := sampled(t, r)
			require.Equal(t, opened, got["first"])
			s := r.Samples[0]
			require.True(t, strings.HasSuffix(s.Server, ":80"), s.Server)
			require.Contains(t, s.Segments[0].Text, "options [mss ")
			require.Contains(t, s.Segments[2].Text, "ack 1, ", "relative numbers")
			require.NotContains(t, got, "retransmitted")
			require.NotContains(t, got, "pending")
		}
	})
	t.Run("closed by FIN", func(t *testing.T) {
		require.Equal(t, append(opened[:3:3], "> F. FIN-WAIT-1", "< F. CLOSED", "> . CLOSED"), sampled(t, measure(t, Config{Count: 1, Close: CloseFIN}))["first"])
	})
	t.Run("http", func(t *testing.T) {
		r := measure(t, Config{Count: 1, Scenario: ScenarioHTTP})
		require.Equal(t, []string{
			"> S SYN-SENT", "< S. ESTABLISHED", "> P. ESTABLISHED", "< FP. CLOSE-WAIT", "> F. LAST-ACK", "< . CLOSED",
		}, sampled(t, r)["first"])
		require.Greater(t, r.Samples[0].Segments[3].Length, 1024)
	})
	t.Run("retransmitted", func(t *testing.T) {
		got := sampled(t, measure(t, Config{
			Port: "impair(loss=10%,seed=3):loop:", Count: 5000, Concurrency: 4, Retry: strings.Repeat("5ms,", 29) + "5ms",
		}))["retransmitted"]
		require.Greater(t, len(got), 4, "of thousands of flows, of which one in five repeats its SYN")
		require.Equal(t, "> S SYN-SENT", got[1])
		require.Contains(t, got, "< S. ESTABLISHED")
	})
	t.Run("refused", func(t *testing.T) {
		peer(t, t.Name(), fastsyn.Config{})
		c := toPeer(t.Name())
		c.Count = 300
		require.Equal(t, map[string][]string{"refused": {"> S SYN-SENT", "< R. CLOSED"}}, sampled(t, measure(t, c)))
	})
	t.Run("timed out", func(t *testing.T) {
		peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
		c := toPeer(t.Name())
		c.Count, c.Concurrency, c.InitialRTO, c.SYNRetries = 100, 50, 2*time.Millisecond, 3
		r := measure(t, c)
		got := sampled(t, r)["timed out"]
		require.Len(t, got, 4, "a SYN and three copies")
		// The timers' steps: 2, 4 and 8 ms, rounded up.
		require.GreaterOrEqual(t, r.Samples[0].Segments[3].AtNS, int64(13e6))
		require.Equal(t, Latency{}, r.Latency)
		require.EqualValues(t, 100, r.Population.Censored)
		require.True(t, r.Population.P50.AtLeast)
		require.GreaterOrEqual(t, r.Population.P50.NS, int64(29e6), "when they were given up")
		h, err := r.Histogram("failed")
		require.NoError(t, err)
		require.EqualValues(t, 100, h.TotalCount())
	})
	t.Run("pending", func(t *testing.T) {
		peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
		c := toPeer(t.Name())
		c.Concurrency, c.Drain, c.Duration, c.InitialRTO = 10, -1, 20*time.Millisecond, time.Minute
		r := measure(t, c)
		require.Equal(t, map[string][]string{"pending": {"> S SYN-SENT"}}, sampled(t, r))
		h, err := r.Histogram("pending")
		require.NoError(t, err)
		require.EqualValues(t, 10, h.TotalCount())
		require.GreaterOrEqual(t, h.Max(), int64(19e6), "their age")
	})
}

// The best of each kind is kept, and recordings go round.
func TestSamplerKeepsTheBest(t *testing.T) {
	s := newSampler()
	n := len(s.free)
	take := func(why handshake.CloseReason) watched {
		r := s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		r.Frames = r.Frames[:1]
		r.Frames[0] = worker.TapFrame{Out: true}
		return watched{r: r, why: why}
	}
	for _, why := range []handshake.CloseReason{
		handshake.ReasonRefused, handshake.ReasonTimedOut, handshake.ReasonUnreachable, handshake.ReasonTimedOut, handshake.ReasonNone,
	} {
		s.judge(take(why))
	}
	require.Nil(t, s.best[sampleFirst])
	for _, kind := range []sampleKind{sampleRefused, sampleTimedOut, sampleUnreachable, samplePending} {
		require.NotNil(t, s.best[kind], sampleNames[kind])
	}
	require.Len(t, s.free, n-4)
	empty := take(handshake.ReasonNone)
	empty.r.Frames = empty.r.Frames[:0]
	s.judge(empty)
	require.Len(t, s.free, n-4, "nothing was seen of it")
}
