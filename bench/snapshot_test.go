package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What readers see of a run grows, never waits for its end, and is the report when it has ended.
func TestLive(t *testing.T) {
	for _, scenario := range []string{ScenarioHandshake, ScenarioHTTP, ScenarioSYNFlood, ScenarioEcho} {
		t.Run(scenario, func(t *testing.T) {
			live := new(Live)
			require.Zero(t, live.Read(0).At)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := make(chan *Report, 1)
			go func() {
				r, err := Run(ctx, Config{Scenario: scenario, Workers: 2, Duration: time.Hour, Drain: -1, Polling: "adaptive", Pin: "off", Live: live}, nil)
				if err != nil {
					t.Error(err)
				}
				done <- r
			}()
			var m Meter
			var seen Progress
			for rounds := 0; rounds < 3 && len(done) == 0; time.Sleep(time.Millisecond) {
				s := live.Read(0)
				if s.Phase != PhaseSending {
					continue
				}
				for i := range s.Ends {
					for _, w := range s.Ends[i].Workers {
						require.Empty(t, w.Check(), s.Ends[i].Name)
					}
				}
				p := m.Progress(s)
				require.GreaterOrEqual(t, p.Done, seen.Done)
				if p.Done > seen.Done && p.Now.Latencies[0].Hist.TotalCount() > 0 {
					require.Positive(t, p.PerS)
					require.Len(t, p.PerWorker, 2)
					require.EqualValues(t, p.Done-seen.Done, p.Window[0].Hist.TotalCount(), "counted and recorded in the same call")
					require.NotEmpty(t, p.Limiter)
					rounds++
				}
				seen = p
			}
			cancel()
			r := <-done
			require.NotNil(t, r)
			require.True(t, r.Valid, r.InvalidReason)

			s := live.Read(0)
			require.Equal(t, PhaseEnded, s.Phase)
			require.Equal(t, s.At, live.Read(0).At, "the last one stays")
			require.Equal(t, nonZero(r.Drops), nonZero(s.drops()))
			require.Equal(t, r.Client.Engine, s.side(new(Snapshot), 0).Engine)
			require.Equal(t, r.Server.Engine, s.side(new(Snapshot), 1).Engine)
			require.Equal(t, r.Client.Port, s.side(new(Snapshot), 0).Port)
			so := s.soFar(new(Snapshot))
			r.Handshakes.Unsent = 0
			require.Equal(t, r.Handshakes, so.Handshakes)
			latency := map[string]Latency{}
			for _, d := range s.Latencies {
				latency[d.Name] = summarize(d.Hist)
			}
			require.Equal(t, r.Latency, latency["latency"])
			switch scenario {
			case ScenarioHTTP:
				require.Equal(t, r.HTTP.Total, latency["total"])
				require.Equal(t, r.HTTP.FirstByte, latency["first_byte"])
				require.Equal(t, r.HTTP.Complete, s.total("transactions", "complete"))
				require.Equal(t, r.HTTP.RequestsSent, s.total("requests", ""))
				require.Equal(t, r.HTTP.Responses, s.total("responses", ""))
				require.Equal(t, r.HTTP.ContentBytes, s.total("content_bytes", ""))
				require.Equal(t, r.HTTP.Failed, s.outcomes("requests_failed"))
			case ScenarioSYNFlood:
				require.Equal(t, r.SYNFlood.Answered, so.SYNFlood.Answered)
				require.Equal(t, r.SYNFlood.Sent, so.SYNFlood.Sent)
				require.Equal(t, r.SYNFlood.Unanswered, so.SYNFlood.Unanswered)
			case ScenarioEcho:
				require.Equal(t, r.Echo.Returned, so.Echo.Returned)
				require.Equal(t, r.Echo.Sent, so.Echo.Sent)
				require.Equal(t, r.Echo.Lost, so.Echo.Lost)
			}
		})
	}
}
