package rssprobe

import (
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// ticks is a clock that moves a millisecond whenever it is read, so that no
// test waits and no result depends on the machine.
func ticks() func() time.Time {
	at := time.Unix(1, 0)
	return func() time.Time { at = at.Add(time.Millisecond); return at }
}

// closes checks the sums of a result.
func closes(t *testing.T, r *Result) {
	t.Helper()
	require.Equal(t, r.Sent, r.Arrived+r.Missing)
	require.Equal(t, r.Arrived, r.Agree+len(r.Mismatches))
	require.Equal(t, r.Arrived, r.IPv4.Arrived+r.IPv6.Arrived)
	require.Equal(t, r.Sent, r.IPv4.Sent+r.IPv6.Sent)
	require.Equal(t, r.Agree, r.IPv4.Agree+r.IPv6.Agree)
	sum := 0
	for _, n := range r.PerQueue {
		sum += n
	}
	require.Equal(t, r.Arrived, sum)
	require.NotEmpty(t, r.Suggestion)
	require.Contains(t, r.String(), r.Verdict.String())
	require.Contains(t, r.String(), r.Suggestion)
	for _, m := range r.Mismatches {
		require.NotEqual(t, m.Predicted, m.Real)
	}
}

func TestRSS_009_LoopIsAsPredicted(t *testing.T) {
	for _, queues := range []int{1, 2, 4, 16} {
		for _, turn := range []bool{false, true} {
			a, b, err := loop.Pair(loop.Config{Queues: queues, Frames: 256, Ring: 128, Poison: true})
			require.NoError(t, err)
			if turn {
				a, b = b, a
			}
			r, err := Ports(a, b, Config{Seed: 1, Quiet: time.Minute, Timeout: time.Minute})
			require.NoError(t, err)
			closes(t, r)
			require.Equal(t, Matches, r.Verdict, r)
			require.True(t, r.OK())
			require.Equal(t, 512, r.Agree)
			require.Equal(t, 256, r.IPv6.Agree)
			require.Zero(t, r.Foreign)
			require.Empty(t, r.Mismatches)
			for _, n := range r.PerQueue {
				require.NotZero(t, n)
			}
			if queues > 1 {
				require.Equal(t, 512, r.HashAgree, "the wire tells the hash")
			}
			require.NoError(t, a.Close())
			require.NoError(t, b.Close())
		}
	}
}

// A wrong expectation of an honest wire.
func TestRSS_009_WrongExpectation(t *testing.T) {
	a, b, err := loop.Pair(loop.Config{Queues: 4})
	require.NoError(t, err)
	r, err := Ports(a, b, Config{Seed: 2, Key: rss.DefaultKey, Quiet: time.Minute, Timeout: time.Minute})
	require.NoError(t, err)
	closes(t, r)
	require.Equal(t, Differs, r.Verdict, r)
	require.False(t, r.OK())
	require.Zero(t, r.HashAgree)
	require.Equal(t, 512, r.Hashed)
	require.Contains(t, r.Suggestion, "the symmetric key")
	require.NotContains(t, r.Suggestion, "entries")
	m := r.Mismatches[0]
	require.Contains(t, m.String(), m.Tuple.String())
	require.Contains(t, m.String(), "predicted")
}

// liar is a port that tells a key and a table and may follow others.
type liar struct {
	*dptest.Port
	queue func(p *wire.Packet) int // -1 loses the frame
	meta  func(p *wire.Packet) dataplane.Meta
	seen  int
}

func newLiar(t *testing.T, queues, size int, queue func(p *wire.Packet) int) *liar {
	reta, err := rss.NewRETA(size, queues)
	require.NoError(t, err)
	return &liar{
		Port:  dptest.NewPort(t, dptest.PortConfig{Queues: queues, RSSKey: rss.DefaultKey[:], RETA: reta}),
		queue: queue,
	}
}

func (l *liar) send(t *testing.T) Sender {
	return func(frame []byte) bool {
		l.seen++
		var p wire.Packet
		// Whole, with right checksums, and not to be forwarded.
		require.Equal(t, wire.OK, wire.Parse(frame, false, &p))
		require.EqualValues(t, 1, p.TTL)
		require.Equal(t, wire.FlagSYN, p.Seg.Flags)
		var meta dataplane.Meta
		if l.meta != nil {
			meta = l.meta(&p)
		}
		if q := l.queue(&p); q >= 0 {
			l.Inject(q, frame, meta)
		}
		return true
	}
}

func TestRSS_009_LyingDevices(t *testing.T) {
	const queues = 4
	table := func(size, n int) rss.RETA {
		r, err := rss.NewRETA(size, n)
		require.NoError(t, err)
		return r
	}
	rr := table(128, queues)
	turned, half := table(128, queues), table(128, queues)
	shuffled := table(512, queues)
	rnd := rand.New(rand.NewPCG(3, 4))
	rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for i := range turned {
		turned[i] = (turned[i] + 1) % queues
		if i%2 == 1 {
			half[i] = (half[i] + 1) % queues
		}
	}
	dflt, sym := rss.New(rss.DefaultKey), rss.New(rss.SymmetricKey)
	by := func(h *rss.Toeplitz, in input, reta rss.RETA) func(*wire.Packet) int {
		return func(p *wire.Packet) int { return int(reta.Queue(hashWith(h, p.Seg.Tuple, in))) }
	}
	honest := by(dflt, inputPorts, rr)
	n := 0
	for _, c := range []struct {
		name  string
		queue func(*wire.Packet) int
		want  Verdict
		says  []string
	}{
		{"honest", honest, Matches, []string{"Rely on the prediction"}},
		{"one queue", func(*wire.Packet) int { return 2 }, NoSpread, []string{"on queue 2", "ethtool -L"}},
		{"another key", by(sym, inputPorts, rr), Differs, []string{"with the symmetric key", "hkey"}},
		{"no ports", by(dflt, inputAddrs, rr), Differs, []string{"without ports with the expected key", "sdfn"}},
		{"reversed", by(dflt, inputReversed, rr), Differs, []string{"destination before source"}},
		{"table turned", by(dflt, inputPorts, turned), Differs, []string{"addresses and ports with the expected key", "of 128 RETA entries", "ethtool -x"}},
		{"table half right", by(dflt, inputPorts, half), Partly, []string{"64 of 128 RETA entries", "expected key"}},
		{"larger table", by(dflt, inputPorts, shuffled), Differs, []string{"in a table of 512"}},
		{"IPv6 not hashed", func(p *wire.Packet) int {
			if p.V6 {
				return 0
			}
			return honest(p)
		}, Partly, []string{"IPv4 is as predicted", "IPv6 arrives on queue 0 alone", "rx-flow-hash tcp6"}},
		{"IPv6 without ports", func(p *wire.Packet) int {
			if p.V6 {
				return by(dflt, inputAddrs, rr)(p)
			}
			return honest(p)
		}, Partly, []string{"IPv4 is as predicted", "IPv6: the device hashes addresses without ports"}},
		{"dice", func(*wire.Packet) int { return rnd.IntN(queues) }, Differs, []string{"IPv4 fits no key known here", "IPv6 fits no key"}},
		{"loses some", func(p *wire.Packet) int {
			if n++; n%5 == 0 {
				return -1
			}
			return honest(p)
		}, Matches, []string{"lost on the way"}},
		{"loses most", func(p *wire.Packet) int {
			if n++; n%5 != 0 {
				return -1
			}
			return honest(p)
		}, Inconclusive, []string{"Too few frames", "198.18.0.0/15"}},
		{"IPv4 filtered", func(p *wire.Packet) int {
			if !p.V6 {
				return -1
			}
			return by(dflt, inputAddrs, rr)(p)
		}, Differs, []string{"addresses without ports"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiar(t, queues, 128, c.queue)
			r, err := Run(l.send(t), l, Config{Seed: 5, Now: ticks()})
			require.NoError(t, err)
			closes(t, r)
			require.Equal(t, c.want, r.Verdict, r)
			for _, s := range c.says {
				require.Contains(t, r.Suggestion, s)
			}
			require.Equal(t, 512, r.Sent)
			require.Equal(t, 512, l.seen)
			require.Equal(t, c.want == Matches, r.OK())
			require.False(t, r.TimedOut)
		})
	}
}

// The hash of the device is compared on its own: right hash, wrong table.
func TestRSS_009_ReportedHash(t *testing.T) {
	h := rss.New(rss.DefaultKey)
	l := newLiar(t, 2, 128, func(*wire.Packet) int { return 0 })
	l.meta = func(p *wire.Packet) dataplane.Meta {
		return dataplane.Meta{Hash: hashWith(h, p.Seg.Tuple, inputPorts), Flags: dataplane.MetaHash}
	}
	r, err := Run(l.send(t), l, Config{Seed: 6, Now: ticks()})
	require.NoError(t, err)
	require.Equal(t, NoSpread, r.Verdict)
	require.Equal(t, 512, r.Hashed)
	require.Equal(t, 512, r.HashAgree)
	require.Contains(t, r.String(), "512 of 512 hashes")
}

// A driver that tells nothing is compared with what is usual, and that is said.
func TestDeviceThatTellsNothing(t *testing.T) {
	reta, err := rss.NewRETA(128, 2)
	require.NoError(t, err)
	h := rss.New(rss.DefaultKey)
	l := &liar{
		Port:  dptest.NewPort(t, dptest.PortConfig{Queues: 2}),
		queue: func(p *wire.Packet) int { return int(reta.Queue(hashWith(h, p.Seg.Tuple, inputPorts))) },
	}
	r, err := Run(l.send(t), l, Config{Seed: 7, Now: ticks()})
	require.NoError(t, err)
	require.Equal(t, Matches, r.Verdict)
	require.True(t, r.Assumed)
	require.Contains(t, r.Suggestion, "assumed")
}

// Frames of others, copies, look-alikes and frames of an earlier probe.
func TestForeignFramesAreDrainedAndCounted(t *testing.T) {
	h := rss.New(rss.DefaultKey)
	reta, err := rss.NewRETA(128, 2)
	require.NoError(t, err)
	l := newLiar(t, 2, 128, func(p *wire.Packet) int { return int(reta.Queue(hashWith(h, p.Seg.Tuple, inputPorts))) })
	for range 300 { // before, several bursts of them
		l.Inject(0, []byte("not even Ethernet"), dataplane.Meta{})
		l.Inject(1, make([]byte, 60), dataplane.Meta{})
	}
	old, err := newProbe(l, Config{Seed: 8, Now: ticks()})
	require.NoError(t, err)
	for i := range 40 { // same tuples as ours, of another probe
		old.nonce++
		l.Inject(1, old.frame(make([]byte, 0, maxFrame), i), dataplane.Meta{})
	}
	send, copies := l.send(t), 0
	r, err := Run(func(f []byte) bool {
		send(f)
		if copies < 10 {
			copies++
			send(f)
		}
		return true
	}, l, Config{Seed: 8, Now: ticks()})
	require.NoError(t, err)
	closes(t, r)
	require.Equal(t, Matches, r.Verdict, r)
	require.Equal(t, 512, r.Arrived)
	require.Equal(t, 640, r.Foreign)
	require.Contains(t, r.String(), "640 frames of others dropped")
	require.Equal(t, 10, r.Duplicates)
}

// A sender that never has room, and strangers who never stop, end with the time.
func TestProbeIsBounded(t *testing.T) {
	l := newLiar(t, 2, 128, func(*wire.Packet) int { return -1 })
	r, err := Run(func([]byte) bool {
		l.Inject(0, make([]byte, 60), dataplane.Meta{})
		return false
	}, l, Config{Now: ticks(), Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	closes(t, r)
	require.True(t, r.TimedOut)
	require.Equal(t, Inconclusive, r.Verdict)
	require.Contains(t, r.Suggestion, "sender took no frame")
	require.Positive(t, r.Foreign)

	// Nothing arrives: over after the quiet time, long before the timeout.
	l = newLiar(t, 2, 128, func(*wire.Packet) int { return -1 })
	r, err = Run(l.send(t), l, Config{Now: ticks(), Quiet: 5 * time.Millisecond, Timeout: time.Minute})
	require.NoError(t, err)
	closes(t, r)
	require.False(t, r.TimedOut)
	require.Equal(t, 512, r.Missing)

	// Full now and then: each frame is sent once in the end.
	turn := 0
	l = newLiar(t, 2, 128, func(*wire.Packet) int { return 1 })
	send := l.send(t)
	r, err = Run(func(f []byte) bool {
		turn++
		return turn%3 == 0 && send(f)
	}, l, Config{Now: ticks()})
	require.NoError(t, err)
	require.Equal(t, 512, r.Arrived)
	require.Zero(t, r.Duplicates)
}

func TestTuplesFollowTheTable(t *testing.T) {
	for size, want := range map[int]int{1: 512, 128: 512, 512: 2048, 4096: MaxTuples} {
		l := newLiar(t, 1, size, func(*wire.Packet) int { return 0 })
		r, err := Run(l.send(t), l, Config{Now: ticks()})
		require.NoError(t, err)
		require.Equal(t, want, r.Arrived)
	}
}

func TestProbeRefuses(t *testing.T) {
	port := func(c dptest.PortConfig) dataplane.Port { return dptest.NewPort(t, c) }
	good := dptest.PortConfig{Queues: 2}
	for _, tc := range []struct {
		name string
		port dptest.PortConfig
		c    Config
		want string
	}{
		{"tuples", good, Config{Tuples: MaxTuples + 1}, "want 2 to 4096"},
		{"one tuple", good, Config{Tuples: 1}, "want 2 to 4096"},
		{"timeout", good, Config{Timeout: time.Hour}, "want up to 1m0s"},
		{"negative", good, Config{Timeout: -1}, "timeout"},
		{"quiet", good, Config{Quiet: -1}, "quiet"},
		{"queue out of range", good, Config{RETA: rss.RETA{0, 2}}, "there are 2 queues"},
		{"table size", good, Config{RETA: rss.RETA{0, 1, 0}}, "power of two"},
		{"driver's key", dptest.PortConfig{Queues: 2, RSSKey: make([]byte, 7)}, Config{}, "7 bytes"},
		{"MAC", good, Config{Dst: net.HardwareAddr{1}}, "Config.Dst"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Run(func([]byte) bool { return false }, port(tc.port), tc.c)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "rssprobe: ")
		})
	}
	p := dptest.NewPort(t, good)
	p.Fail(1, errors.New("interface gone"))
	_, err := Run(func([]byte) bool { return true }, p, Config{Now: ticks()})
	require.ErrorContains(t, err, "interface gone")
	require.ErrorContains(t, err, "queue 1")
}
