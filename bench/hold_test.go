package bench

import (
	"context"
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

func TestHeldFlowSize(t *testing.T) {
	require.EqualValues(t, heldFlowBytes, unsafe.Sizeof(heldFlow{}))
}

// All are open at once, at both ends; each answers a probe; all are closed.
func TestConcurrency(t *testing.T) {
	for _, close := range []string{CloseRST, CloseFIN} {
		for _, v6 := range []bool{false, true} {
			for _, workers := range []int{1, 2} {
				t.Run(fmt.Sprintf("close=%s/v6=%v/workers=%d", close, v6, workers), func(t *testing.T) {
					const n = 3001
					r := measure(t, Config{Scenario: ScenarioConcurrency, Concurrency: n, Hold: -1, Close: close, IPv6: v6, Workers: workers})
					require.Equal(t, Handshakes{Attempted: n, Established: n}, r.Handshakes)
					h := r.Held
					require.Equal(t, Held{
						Target: n, Peak: n, PeakThere: n, Probed: n, Alive: n, Closed: n, Lost: map[string]uint64{},
						ReachedS: h.ReachedS, HoldS: h.HoldS, TableBytes: h.TableBytes, BytesPerConnection: h.BytesPerConnection, ResidentBytes: h.ResidentBytes,
					}, h)
					require.Positive(t, h.ReachedS)
					require.LessOrEqual(t, h.ReachedS, r.DurationS)
					require.Greater(t, h.BytesPerConnection, 64.0)
					require.GreaterOrEqual(t, r.Client.Engine.Probes, uint64(n))
					if close == CloseRST {
						require.Equal(t, Flows{Aborted: n}, r.Flows)
					} else {
						require.Equal(t, Flows{Done: n}, r.Flows)
					}
					require.Contains(t, r.Limiter, "the number asked for: 3,001 connections")
				})
			}
		}
	}
}

// The hold lasts as long as asked, and without probes nobody is asked.
func TestConcurrencyHolds(t *testing.T) {
	r := measure(t, Config{Scenario: ScenarioConcurrency, Concurrency: 100, Hold: 30 * time.Millisecond, NoProbe: true})
	require.GreaterOrEqual(t, r.Held.HoldS, 0.03)
	require.Zero(t, r.Held.Probed)
	require.Zero(t, r.Client.Engine.Probes)
	require.EqualValues(t, 100, r.Held.Closed)
	require.Contains(t, r.Limiter, "none was lost")
}

// More than an address has ports.
func TestConcurrencyBeyondThePortsOfAnAddress(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		const n = 70_000
		r := measure(t, Config{Scenario: ScenarioConcurrency, Concurrency: n, Hold: -1, IPv6: v6, Workers: 2})
		require.EqualValues(t, n, r.Held.Peak)
		require.EqualValues(t, n, r.Held.Alive)
		require.Zero(t, r.Handshakes.PortPoolExhausted)
	}
}

// Against somebody else there have to be enough addresses.
func TestConcurrencyNeedsPorts(t *testing.T) {
	for _, scenario := range []string{ScenarioConcurrency, ScenarioChurn} {
		name := t.Name() + "/" + scenario
		peer(t, name, fastsyn.Config{})
		c := toPeer(name)
		c.Scenario, c.Concurrency = scenario, 70_000
		_, err := Run(context.Background(), c, nil)
		var fe *FlagError
		require.ErrorAs(t, err, &fe)
		require.Equal(t, "concurrency", fe.Flag)
		require.Contains(t, fe.Fix, "--pool")
	}
}

// unfaithful accepts, and resets the first and closes the second of each four flows.
func unfaithful() fastsyn.Callbacks {
	n := 0
	return fastsyn.Callbacks{Bare: true, Established: func(f *worker.Flow) {
		switch n++; n % 4 {
		case 1:
			f.Abort()
		case 2:
			f.Close()
		}
	}}
}

// What a peer has reset or closed is lost, by reason, whenever it was.
func TestConcurrencyLost(t *testing.T) {
	for _, close := range []string{CloseRST, CloseFIN} {
		t.Run(close, func(t *testing.T) {
			peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: unfaithful()}}})
			c := toPeer(t.Name())
			c.Scenario, c.Concurrency, c.Hold, c.Close, c.Drain = ScenarioConcurrency, 2000, -1, close, time.Minute
			r := measure(t, c)
			h := r.Held
			require.EqualValues(t, 2000, r.Handshakes.Established)
			require.Equal(t, map[string]uint64{"reset": 500, "closed": 500}, h.Lost)
			require.EqualValues(t, 1000, h.LostOpening+h.LostHolding+h.LostChecking)
			require.EqualValues(t, 1000, h.Closed)
			require.Zero(t, h.Open)
			require.Contains(t, r.Limiter, "1,000 of 2,000 connections were lost")
		})
	}
}

// mute answers SYNs and nothing else, like a peer that has lost its memory and a firewall that
// drops what it does not know.
type mute struct{ answers []wire.Segment }

func (m *mute) Receive(_ int64, segs []*wire.Segment) {
	for _, s := range segs {
		if s.Flags == wire.FlagSYN {
			m.answers = append(m.answers, wire.Segment{Tuple: s.Tuple, Seq: 1000, Ack: s.Seq + 1, Flags: wire.FlagSYN | wire.FlagACK, Win: 65535})
		}
	}
}

func (m *mute) Want(now int64) (n int, next int64) {
	if len(m.answers) == 0 {
		return 0, worker.Never
	}
	return len(m.answers), now
}

func (m *mute) Send(_ int64, b *dataplane.Batch) {
	for i := range b.N {
		l := wire.Link{Dst: [6]byte{0x02, 0x66, 0x73, 0, 0, 2}, Src: [6]byte{0x02, 0x66, 0x73, 0, 0, 1}} // of loop:
		p := b.Data[i][:cap(b.Data[i])]
		n := wire.PutLink(p, &l, m.answers[i].Local.EtherType())
		b.Data[i], b.Verdict[i] = p[:n+wire.PutTCP(p[n:], &m.answers[i], nil)], dataplane.Reply
	}
	m.answers = m.answers[b.N:]
}

// A flow whose peer is silent is found out by its probe.
func TestConcurrencySilentPeer(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{Raw: func(int) fastsyn.Raw { return &mute{} }})
	c := toPeer(t.Name())
	c.Scenario, c.Concurrency, c.Hold, c.InitialRTO = ScenarioConcurrency, 600, -1, 2*time.Millisecond
	r := measure(t, c)
	h := r.Held
	require.EqualValues(t, 600, h.Peak)
	require.EqualValues(t, 600, h.Probed)
	require.Zero(t, h.Alive)
	require.Equal(t, map[string]uint64{"silent": 600}, h.Lost)
	require.EqualValues(t, 600, h.LostChecking)
	require.Equal(t, Flows{Broken: 600}, r.Flows)
	require.EqualValues(t, 600*(1+probeRetries), r.Client.Engine.Probes)
}

// A run that is stopped while it holds closes what it has.
func TestConcurrencyStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := Run(ctx, Config{Scenario: ScenarioConcurrency, Concurrency: 500, Hold: time.Hour, Polling: "adaptive", Pin: "off", Seed: 1}, func(p Progress) {
		if p.Done == 500 {
			cancel()
		}
	})
	require.NoError(t, err)
	require.True(t, r.Valid, r.InvalidReason)
	require.EqualValues(t, 500, r.Held.Peak)
	require.EqualValues(t, 500, r.Held.Closed)
}

// Fewer are open than wanted: the limiter says why.
func TestConcurrencyNotReached(t *testing.T) {
	peer(t, t.Name(), fastsyn.Config{Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: fastsyn.Callbacks{Bare: true}}}, Engine: smallTable})
	c := toPeer(t.Name())
	c.Scenario, c.Concurrency, c.Hold, c.InitialRTO, c.SYNRetries = ScenarioConcurrency, 300, -1, 2*time.Millisecond, 2
	r := measure(t, c)
	require.EqualValues(t, 100, r.Held.Peak)
	require.EqualValues(t, 200, r.Handshakes.TimedOut)
	require.Contains(t, r.Limiter, "failed opens: 100 of 300 attempts were established, 0 refused, 200 timed out")
}

func TestCloseHold(t *testing.T) {
	for _, workers := range []int{1, 2} {
		r := measure(t, Config{Close: CloseHold, Count: 3000, Workers: workers, Concurrency: 100})
		require.Equal(t, Handshakes{Attempted: 3000, Established: 3000}, r.Handshakes)
		require.Equal(t, Flows{Aborted: 3000}, r.Flows)
		require.EqualValues(t, 3000, r.Held.Peak)
		require.EqualValues(t, 3000, r.Held.PeakThere)
		require.EqualValues(t, 3000, r.Held.Closed)
		require.Equal(t, CloseHold, r.Close)
	}
}

func TestWindow(t *testing.T) {
	var w window
	for range openWindow {
		n, again := w.room(5)
		require.Positive(t, n)
		require.Zero(t, again)
		w.sent(5)
	}
	n, again := w.room(6)
	require.Zero(t, n)
	require.EqualValues(t, 5+windowStall, again)
	w.heard(10)
	n, _ = w.room(10)
	require.Equal(t, 1, n)
	w.sent(11)
	n, again = w.room(12)
	require.Zero(t, n)
	require.EqualValues(t, 10+windowStall, again, "nothing was heard since")
	n, _ = w.room(again)
	require.Equal(t, openWindow, n, "the peer may be gone")
	w.heard(again) // late
	w.heard(again)
	n, _ = w.room(again)
	require.Equal(t, openWindow, n)
}
