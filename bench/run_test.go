package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// Runs are bounded by count and take the time they take: nothing here depends on
// how fast the machine is.

func measure(t testing.TB, c Config) *Report {
	t.Helper()
	r := unchecked(t, c)
	survives(t, r)
	return r
}

// unchecked is measure without a look at what the report's file says.
func unchecked(t testing.TB, c Config) *Report {
	t.Helper()
	if c.Seed == 0 {
		c.Seed = 1
	}
	c.Polling, c.Pin = "adaptive", "off" // other tests run too
	r, err := Run(context.Background(), c, nil)
	require.NoError(t, err)
	if !r.Valid {
		_ = r.WriteJSON(os.Stderr)
	}
	require.True(t, r.Valid, r.InvalidReason)
	require.NotEmpty(t, r.Limiter)
	return r
}

func TestHandshakes(t *testing.T) {
	for _, close := range []string{CloseRST, CloseFIN} {
		for _, cookies := range []string{"never", "always", "pressure"} {
			for _, v6 := range []bool{false, true} {
				for _, workers := range []int{1, 2} {
					t.Run(fmt.Sprintf("close=%s/cookies=%s/v6=%v/workers=%d", close, cookies, v6, workers), func(t *testing.T) {
						const n = 5000
						r := measure(t, Config{Count: n, Close: close, Cookies: cookies, IPv6: v6, Workers: workers, Concurrency: 100})
						require.Equal(t, Handshakes{Attempted: n, Established: n}, r.Handshakes)
						if close == CloseRST {
							require.Equal(t, Flows{Aborted: n}, r.Flows)
						} else {
							require.Equal(t, Flows{Done: n}, r.Flows)
						}
						require.Equal(t, int64(n), r.Latency.Count)
						require.Zero(t, r.Response.Count)
						require.Equal(t, uint64(n), r.Server.Engine.Accepted)
						require.Equal(t, workers, r.Workers)
						require.Equal(t, workers, r.Server.Workers)
						if cookies == "always" {
							require.Equal(t, uint64(n), r.Server.Engine.CookiesOK)
						}
						require.Zero(t, r.Client.Engine.Outcome[handshake.AnsweredReset])
					})
				}
			}
		}
	}
}

// The most that can be in flight loses nothing on the wire.
func TestHighConcurrencyLosesNothing(t *testing.T) {
	r := measure(t, Config{Count: 50000, Concurrency: 8000, InitialRTO: time.Minute})
	require.Equal(t, Handshakes{Attempted: 50000, Established: 50000}, r.Handshakes)
	require.Zero(t, r.Client.Port.TxFull+r.Server.Port.TxFull)
}

func TestOptionSwitches(t *testing.T) {
	r := measure(t, Config{Count: 500, NoTimestamps: true, NoSACK: true, NoWScale: true, Cookies: "always"})
	require.Equal(t, uint64(500), r.Server.Engine.Accepted)
}

// Five percent lost each way: every handshake completes, by retransmission.
func TestRTX_HandshakesCompleteUnderLoss(t *testing.T) {
	for _, cookies := range []string{"never", "always"} {
		t.Run(cookies, func(t *testing.T) {
			r := measure(t, Config{
				Port: "impair(loss=5%,seed=3):loop:", Count: 2000, Cookies: cookies, InitialRTO: 5 * time.Millisecond, SYNRetries: 20,
				Drain: time.Minute,
			})
			require.Equal(t, Handshakes{Attempted: 2000, Established: 2000}, r.Handshakes)
			require.NotZero(t, r.Retransmissions.SYN)
			require.NotZero(t, r.Drops["impair_tx_lost"])
			require.NotZero(t, r.Client.Drops["impair_tx_lost"])
			require.NotZero(t, r.Server.Drops["impair_tx_lost"])
		})
	}
}

// Duplicates, reordering and corruption confuse no count.
func TestBadWire(t *testing.T) {
	r := measure(t, Config{
		Port: "impair(loss=1%,dup=2%,reorder=2%,corrupt=1%,seed=5):loop:", Count: 2000, InitialRTO: 5 * time.Millisecond, SYNRetries: 20,
		Drain: time.Minute, Close: CloseFIN,
	})
	require.Equal(t, uint64(2000), r.Handshakes.Established)
	require.NotZero(t, r.Drops["bad_tcp_checksum"])
}

func TestRateKeepsItsSchedule(t *testing.T) {
	r := measure(t, Config{Count: 200, Rate: 4000, Concurrency: 1 << 12})
	require.Equal(t, uint64(200), r.Handshakes.Established)
	require.Equal(t, int64(200), r.Response.Count)
	require.GreaterOrEqual(t, r.Response.Max, r.Latency.Min)
	// The last open is due 199 intervals after the first, never before.
	require.GreaterOrEqual(t, r.DurationS, 0.0497)
}

func TestSYNFlood(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("v6=%v/workers=%d", v6, workers), func(t *testing.T) {
				const n = 50000
				r := measure(t, Config{Scenario: ScenarioSYNFlood, Count: n, IPv6: v6, Workers: workers})
				require.Equal(t, uint64(n), r.SYNFlood.Sent)
				require.Equal(t, uint64(n), r.SYNFlood.Answered+r.SYNFlood.Unanswered)
				require.Zero(t, r.SYNFlood.Bad)
				require.Equal(t, uint64(n), r.Server.Engine.Cookies)
				require.Zero(t, r.Server.Engine.HalfOpen)
				require.Equal(t, "always", r.Cookies)
				if r.SYNFlood.Stalls == 0 {
					require.Equal(t, uint64(n), r.SYNFlood.Answered)
				}
			})
		}
	}
}

// peer opens the other end of a named wire.
func peer(t *testing.T, name string, c fastsyn.Config) *fastsyn.Endpoint {
	t.Helper()
	c.Port, c.Addrs = "loop:"+name, serverAddrs
	ep, err := fastsyn.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ep.Close()) })
	return ep
}

func toPeer(name string) Config {
	return Config{Port: "loop:" + name, Connect: "198.18.0.1:80", Addrs: []string{"198.18.1.1/16"}}
}

func TestConnectRefused(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{})
	c := toPeer(t.Name())
	c.Count = 300
	r := measure(t, c)
	require.Equal(t, Handshakes{Attempted: 300, Refused: 300}, r.Handshakes)
	require.Contains(t, r.Limiter, "refused 300 of 300")
	require.Nil(t, r.Server)
	require.Equal(t, "198.18.0.1:80", r.Connect)

	peer(t, t.Name()+"/flood", fastsyn.Config{})
	c = toPeer(t.Name() + "/flood")
	c.Scenario, c.Count = ScenarioSYNFlood, 1000
	c.Pools = []string{"198.19.0.0/16"}
	r = measure(t, c)
	require.Equal(t, uint64(1000), r.SYNFlood.Reset+r.SYNFlood.Unanswered)
	require.NotZero(t, r.SYNFlood.Reset)
}

// deaf answers ARP, as every worker does, and no TCP.
type deaf struct{ fastsyn.Raw }

func (deaf) Receive(int64, []*wire.Segment) {}
func (deaf) Want(int64) (n int, next int64) { return 0, 1 << 62 }

func TestConnectTimedOut(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c := toPeer(t.Name())
	c.Count, c.Concurrency, c.InitialRTO, c.SYNRetries = 100, 50, 2*time.Millisecond, 3
	r := measure(t, c)
	require.Equal(t, Handshakes{Attempted: 100, TimedOut: 100}, r.Handshakes)
	require.Equal(t, uint64(300), r.Retransmissions.SYN, "three retries each, no more")
	require.Contains(t, r.Limiter, "no answer")

	peer(t, t.Name()+"/again", fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c = toPeer(t.Name() + "/again")
	c.Count, c.Drain, c.Duration = 10, -1, 20*time.Millisecond
	r = measure(t, c)
	require.Equal(t, Handshakes{Attempted: 10, Pending: 10}, r.Handshakes)
}

// A drain that was given bounds the wait for the last of a count, and nothing waits on after it.
func TestDrainBoundsACount(t *testing.T) {
	for _, drain := range []time.Duration{-1, 30 * time.Millisecond} {
		t.Run(drain.String(), func(t *testing.T) {
			peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
			c := toPeer(t.Name())
			c.Count, c.Drain = 10, drain // the SYNs would be repeated for 127 s
			r := measure(t, c)
			require.Equal(t, Handshakes{Attempted: 10, Pending: 10}, r.Handshakes)
			require.GreaterOrEqual(t, r.DurationS, drain.Seconds())
			require.Less(t, r.DurationS+r.DrainS, 60.0)
		})
	}
}

// A run that is stopped waits for the drain that was given, not for all retries; one that
// is stopped while it waits ends.
func TestStopEndsTheWaitForACount(t *testing.T) {
	for _, tc := range []struct {
		name     string
		duration time.Duration
		drain    time.Duration
	}{
		{"sending, drain given", 0, time.Millisecond},
		{"sending, no drain given", 0, 0},
		{"draining", time.Nanosecond, time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && tc.drain == 0 {
				t.Skip("waits for three seconds")
			}
			peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
			c := toPeer(t.Name())
			c.Count, c.Duration, c.Drain = 1, tc.duration, tc.drain
			if tc.drain == time.Millisecond {
				c.Count, c.Rate = 1000, 1 // the count is not what ends it
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, err := Run(ctx, c, func(p Progress) {
				if p.Draining == (tc.name == "draining") {
					cancel()
				}
			})
			require.NoError(t, err)
			require.True(t, r.Valid, r.InvalidReason)
			require.NotZero(t, r.Handshakes.Pending)
			require.Equal(t, r.Handshakes.Attempted, r.Handshakes.Pending)
			require.Less(t, r.DurationS+r.DrainS, 60.0)
		})
	}
}

func TestNoAnswerToARP(t *testing.T) {
	_, err := Run(context.Background(), toPeer(t.Name()), nil) // nobody has opened the other end
	require.ErrorContains(t, err, "no answer to ARP for 198.18.0.1 on loop:"+t.Name()+" after 3 tries")
}

func TestNoRoute(t *testing.T) {
	c := toPeer(t.Name())
	c.Connect = "10.9.9.9:80"
	_, err := Run(context.Background(), c, nil)
	require.ErrorContains(t, err, "no route")
	require.ErrorContains(t, err, "--gateway")
}

func TestWorkersAndQueuesAgree(t *testing.T) {
	_, err := Run(context.Background(), Config{Port: "loop:?queues=2", Workers: 3}, nil)
	var fe *FlagError
	require.ErrorAs(t, err, &fe)
	require.Equal(t, "workers", fe.Flag)
	r := measure(t, Config{Port: "loop:?queues=2", Count: 10})
	require.Equal(t, 2, r.Workers)
}

// A run without an end of its own ends with its context, and is reported.
func TestContextEndsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	seen := 0
	r, err := Run(ctx, Config{Duration: time.Hour, Polling: "adaptive", Pin: "off", Seed: 1}, func(p Progress) {
		require.NotEmpty(t, p.String())
		if p.Done > 0 {
			seen++
			cancel()
		}
	})
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	require.Equal(t, 1, seen)
	require.NotZero(t, r.Handshakes.Established)
	require.Zero(t, r.Handshakes.Pending)
}

// Once warm, a handshake allocates nothing on either side.
func TestHandshakesDoNotAllocate(t *testing.T) {
	if raceBuild {
		t.Skip("the race detector allocates")
	}
	intervals := 0 // each of which allocates something on the goroutine of Run
	mallocs := func(n uint64) uint64 {
		var a, b runtime.MemStats
		intervals = 0
		runtime.ReadMemStats(&a)
		unchecked(t, Config{Count: n, OnInterval: func(*Interval) { intervals++ }})
		runtime.ReadMemStats(&b)
		return b.Mallocs - a.Mallocs
	}
	mallocs(1000)
	few, many := mallocs(1000), mallocs(101000)
	require.Less(t, float64(many)-float64(few), 1e4+2000*float64(intervals), "for 100,000 handshakes more")
}

// More places in flight than tuples: the pool is found exhausted, and every
// attempt is made all the same.
func TestPortPoolExhausted(t *testing.T) {
	r := measure(t, Config{Count: 130000, Close: CloseFIN, TimeWait: 300 * time.Millisecond})
	require.Equal(t, Handshakes{Attempted: 130000, Established: 130000, PortPoolExhausted: r.Handshakes.PortPoolExhausted}, r.Handshakes)
}

// With every tuple in flight no more can be opened; that is told, and nothing is tried twice.
func TestTWT_010_EveryTupleInFlight(t *testing.T) {
	if testing.Short() {
		t.Skip("sees the state of a run twice, a second apart")
	}
	const tuples = 1<<16 - firstPort
	peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return deaf{} }})
	c := toPeer(t.Name())
	c.Duration, c.Concurrency, c.InitialRTO, c.Drain = time.Hour, 1<<17, time.Minute, -1
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	full := 0
	r, err := Run(ctx, c, func(p Progress) {
		if p.InFlight == tuples {
			full++
		}
		if full == 2 {
			cancel()
		}
	})
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	require.Equal(t, Handshakes{Attempted: tuples, Pending: tuples, PortPoolExhausted: r.Handshakes.PortPoolExhausted}, r.Handshakes)
	require.NotZero(t, r.Handshakes.PortPoolExhausted)
}
