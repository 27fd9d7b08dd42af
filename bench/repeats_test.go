package bench

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// resent makes a report with handshakes that needed another SYN and took so long.
func resent(took ...time.Duration) *Report {
	r := sample()
	r.Handshakes.PortPoolExhausted, r.Handshakes.TableFull, r.Server = 0, 0, nil
	l := newLatency()
	for _, d := range took {
		l.recordN(int64(d), 10_000)
	}
	l.settle()
	r.Histograms = map[string]string{}
	r.Retransmitted = r.latency("retransmitted", l.h)
	r.Retransmissions.SYN = uint64(20_000 * len(took)) // two each
	r.Phases.SYNACK = Latency{Count: 1, P90: 100_000, P99: 300_000}
	return r
}

func TestRepeats(t *testing.T) {
	ms := time.Millisecond
	r := resent(1001*ms, 1080*ms, 3050*ms, 7*time.Second+5*ms, 2*time.Second, 40*ms)
	p := r.repeats()
	require.Equal(t, repeats{
		total: 60_000, early: 10_000, late: 10_000,
		steps: []step{{time.Second, 20_000}, {3 * time.Second, 10_000}, {7 * time.Second, 10_000}},
	}, p)
	s := limiter(r)
	require.Contains(t, s, "RTO plateau, retransmissions: 120,000 SYNs of 11,234,567 attempts were repeated; of 60,000 handshakes established then "+
		"20,000 took 1s, 10,000 took 3s, 10,000 took 7s and little more, which are the timeouts, 10,000 longer than that, 10,000 were repeated before any timeout")
	require.Contains(t, s, "where others have a p99 of 300µs")
	require.Contains(t, s, "Each timeout kept one of 256 places in flight waiting.")

	// Another schedule has other steps.
	r.Config = map[string]any{"initial-rto": "500ms"}
	p = r.repeats()
	require.Equal(t, []step{}, p.steps[:0])
	require.Equal(t, uint64(10_000), p.early)
	r.Config = map[string]any{"retry": "1s,3s,5s"}
	require.Equal(t, []step{{time.Second, 20_000}}, r.repeats().steps)

	// A challenge ACK of a tuple in TIME-WAIT is answered by a reset and another SYN at once: no timeout.
	r = resent(2*ms, 3*ms, 1001*ms)
	s = limiter(r)
	require.NotContains(t, s, "RTO plateau")
	require.NotContains(t, s, "Each timeout")
	require.Contains(t, s, "20,000 were repeated before any timeout, as after a challenge ACK of a tuple in TIME-WAIT. More source addresses")
}

// Who dropped the SYNs is told from what is seen, or from the fate of other segments.
func TestDropper(t *testing.T) {
	r := resent(time.Second)
	require.Contains(t, limiter(r), "The peer's full SYN or accept queue dropped them, or a device on the way.")
	r.Flows.Done = 11_000_000
	require.Contains(t, limiter(r), "Of the other segments of 11,000,000 closed flows only 0 were repeated: it is the peer's SYN or accept queue that was full")
	r.Retransmissions.FIN = 12_000
	require.Contains(t, limiter(r), "Other segments were repeated too (12,000, of 11,000,000 closed flows): a device on the way loses frames, or")
	r.Path = []Stage{{Name: "wire", Lost: map[string]uint64{"impair_tx_lost": 7, "left_on_the_wire": 1}, Seen: true}, {Name: "peer", Lost: map[string]uint64{"syns_repeated": 99}}}
	require.Contains(t, limiter(r), `Most were lost at the stage "wire": 7 impair_tx_lost.`)
	r.Path, r.Server = nil, &Side{}
	require.Contains(t, limiter(r), "No frame was lost: the answers came later than the timeout.")
}

// The situations themselves, in memory.

func TestLimiterUnderLoss(t *testing.T) {
	r := measure(t, Config{Port: "impair(loss=5%,seed=3):loop:", Count: 2000, InitialRTO: 50 * time.Millisecond, SYNRetries: 10, Drain: time.Minute})
	require.Contains(t, r.Limiter, "SYNs of 2,000 attempts were repeated; of ")
	require.Regexp(t, `Most were lost at the stage "(wire|return)": \d+ impair_tx_lost`, r.Limiter)
	p := r.repeats()
	require.Equal(t, uint64(r.Retransmitted.Count), p.total)
	require.Equal(t, p.total, p.early+p.late+p.plateau())
	require.NotZero(t, p.plateau()+p.late)
	require.Zero(t, p.early, "each was repeated after a timeout")
}

func TestLimiterOfALateSchedule(t *testing.T) {
	r := measure(t, Config{Port: "impair(delay=20ms):loop:", Rate: 20_000, Concurrency: 4, Count: 40, InitialRTO: time.Minute})
	require.Regexp(t, `^concurrency: the schedule was late by .* on average. 4 in flight with a mean of .* make at most .*/s, less than the 20,000/s`, r.Limiter)
}

func TestLimiterOfAFullRing(t *testing.T) {
	r := measure(t, Config{Port: "loop:?ring=64", Count: 20_000, Concurrency: 4096, InitialRTO: 5 * time.Millisecond, SYNRetries: 20, Drain: -1})
	require.Contains(t, r.Limiter, "transmit ring full and were not sent")
	require.NotZero(t, stageOf(t, r, "sent").Lost["tx_ring_full"]+stageOf(t, r, "return").Lost["tx_ring_full"])
}

// All ports of the one address are in TIME-WAIT, for an hour. The run goes on for four times as long as it took to get there.
func TestLimiterOfPorts(t *testing.T) {
	if raceBuild {
		t.Skip("the search through all ports takes many times as long as the waits between searches, which are what is counted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := time.Duration(0)
	c := Config{
		Duration: time.Hour, Close: CloseFIN, TimeWait: time.Hour, Workers: 1, Seed: 1, Polling: "adaptive", Pin: "off",
		NoTimestamps: true,
	} // with which a tuple can be taken over from TIME-WAIT after a second
	r, err := Run(ctx, c, func(p Progress) {
		switch {
		case p.Done < lastPort-firstPort+1:
		case out == 0:
			out = p.Elapsed
		case p.Elapsed >= 5*out:
			cancel()
		}
	})
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	require.NotZero(t, r.Handshakes.PortPoolExhausted)
	require.Regexp(t, "^source ports: .* times no tuple was free, and at least .* % of the time passed in waiting", r.Limiter)
}
