package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
)

// Over a wire with round trips of 40 ms: first visits ask and are given, repeat visits have their text taken from the SYN and
// are answered a handshake sooner than ordinary ones. Medians, so that a machine that stops for a while does not count.
func TestFastOpenVisits(t *testing.T) {
	const n = 108
	r := measure(t, Config{
		Scenario: ScenarioFastOpen, Port: "impair(delay=10ms):loop:", Count: n, Concurrency: 6, InitialRTO: time.Minute,
	})
	v := &r.Visits
	for _, x := range []*Visit{&v.First, &v.Repeat, &v.Ordinary} {
		require.Equal(t, Visit{Attempted: n / 3, Established: n / 3, Replied: n / 3, Taken: x.Taken, Connect: x.Connect, FirstByte: x.FirstByte}, *x)
	}
	require.Equal(t, []uint64{n / 3, n / 3, n / 3, n / 3}, []uint64{v.CookiesAsked, v.CookiesGiven, v.TextSYNs, v.TextTaken})
	require.Equal(t, uint64(n/3), v.Repeat.Taken)
	require.InDelta(t, 1, v.Share, 0)
	require.Equal(t, v.Ordinary.FirstByte.P50-v.Repeat.FirstByte.P50, v.SavedNS)
	require.Greater(t, v.SavedRTTs, 0.3)
	require.Contains(t, r.Limiter, "text on the SYN saved")
	require.Equal(t, uint64(n), r.Server.Engine.Done)
}

// Each worker has cookies of its own, also over IPv6.
func TestFastOpenVisitsOfWorkers(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioFastOpen, Count: 3000, Workers: 2, IPv6: true, InitialRTO: time.Minute})
	v := &r.Visits
	require.Equal(t, uint64(3000), v.First.Replied+v.Repeat.Replied+v.Ordinary.Replied)
	require.Equal(t, v.Repeat.Attempted, v.TextTaken)
	require.Equal(t, v.First.Attempted, v.CookiesGiven)
}

// Peers that do not do what it takes are told apart.
func TestFastOpenVisitsElsewhere(t *testing.T) {
	visit := func(t *testing.T, cb fastsyn.Callbacks, mode Config) *Report {
		peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: cb}}})
		c := toPeer(t.Name())
		c.Scenario, c.Count, c.Drain, c.Duration = ScenarioFastOpen, 30, 10*time.Second, mode.Duration
		return measure(t, c)
	}
	answer := func(f *fastsyn.Flow, _ []byte) { f.Reply([]byte("so it is"), true) }
	t.Run("no Fast Open", func(t *testing.T) {
		r := visit(t, fastsyn.Callbacks{Data: answer}, Config{})
		require.Equal(t, uint64(30), r.Visits.First.Replied+r.Visits.Repeat.Replied+r.Visits.Ordinary.Replied)
		require.Zero(t, r.Visits.CookiesGiven+r.Visits.TextSYNs)
		require.Zero(t, r.Visits.SavedRTTs)
		require.Contains(t, r.Limiter, "gave no Fast Open cookie")
	})
	t.Run("another text", func(t *testing.T) {
		r := visit(t, fastsyn.Callbacks{Data: answer, FastOpen: 100}, Config{})
		require.Equal(t, r.Visits.Repeat.Attempted, r.Visits.TextTaken)
	})
	t.Run("no answer", func(t *testing.T) {
		r := visit(t, fastsyn.Callbacks{Data: func(f *fastsyn.Flow, _ []byte) { f.Close() }, FastOpen: 100}, Config{})
		require.Equal(t, uint64(30), r.Visits.First.Failed+r.Visits.Repeat.Failed+r.Visits.Ordinary.Failed)
		require.Contains(t, r.Limiter, "wants a server that answers")
	})
	t.Run("nobody", func(t *testing.T) {
		peer(t, t.Name(), fastsyn.Config{})
		c := toPeer(t.Name())
		c.Scenario, c.Count = ScenarioFastOpen, 30
		r := measure(t, c)
		require.Equal(t, uint64(30), r.Handshakes.Refused)
		require.Contains(t, r.Limiter, "refused 30 of 30")
	})
}
