package impair

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/loop"
)

// clock is turned by hand.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Unix(1700000000, 123456789)} }

// rig is an impaired side and a plain side of a wire. At the end every frame must be home.
type rig struct {
	*testing.T
	clock *clock
	p     *Port
	q     dataplane.Queue // impaired
	peer  dataplane.Port
	far   dataplane.Queue // plain
	b     *dataplane.Batch
}

func newRig(t *testing.T, c Config, l loop.Config) *rig {
	l.Poison = true
	a, b, err := loop.Pair(l)
	require.NoError(t, err)
	r := &rig{T: t, clock: newClock(), peer: b, far: b.Queue(0), b: dataplane.NewBatch()}
	c.Now = r.clock.now
	r.p, err = New(a, c)
	require.NoError(t, err)
	r.q = r.p.Queue(0)
	t.Cleanup(func() {
		require.NoError(t, r.p.Close())
		require.NoError(t, r.p.Close())
		r.receive(r.far)
		census, err := loop.Audit(r.p)
		require.NoError(t, err)
		// What is on its way to the closed side stays on the wire.
		require.Zero(t, census.Lent, "lent frames after close")
		for i := range a.Info().Queues {
			closes(t, r.p.Impaired(i).Tx)
			closes(t, r.p.Impaired(i).Rx)
		}
	})
	return r
}

func closes(t testing.TB, c DirCounts) {
	t.Helper()
	require.Equal(t, c.Seen+c.Duplicated, c.Passed+c.Refused+c.Lost+c.StoreFull+c.Unsent+c.Held, "%+v", c)
}

// frame number n: a recognisable payload after an Ethernet header.
func frame(n int) []byte {
	d := make([]byte, 60)
	d[12], d[13] = 0x88, 0xb5 // local experimental
	binary.BigEndian.PutUint32(d[14:], uint32(n))
	return d
}

func number(d []byte) int { return int(binary.BigEndian.Uint32(d[14:])) }

// send sends frames from..from+n-1 in one burst and returns what Settle said.
func (r *rig) send(q dataplane.Queue, from, n int) int {
	r.Helper()
	require.Equal(r, n, q.Blank(r.b, n))
	for i := range n {
		r.b.Data[i] = append(r.b.Data[i], frame(from+i)...)
		r.b.Verdict[i] = dataplane.Reply
	}
	return q.Settle(r.b)
}

// receive drops what q has and returns the frame numbers in order.
func (r *rig) receive(q dataplane.Queue) (got []int) {
	for q.Rx(r.b) > 0 {
		for i := range r.b.N {
			require.Len(r, r.b.Data[i], 60)
			require.Equal(r, dataplane.Drop, r.b.Verdict[i])
			got = append(got, number(r.b.Data[i]))
		}
		q.Settle(r.b)
	}
	return got
}

func TestZeroConfigChangesNothing(t *testing.T) {
	r := newRig(t, Config{}, loop.Config{})
	require.Equal(t, 3, r.send(r.q, 0, 3))
	require.Equal(t, []int{0, 1, 2}, r.receive(r.far))
	r.send(r.far, 7, 2)
	require.Equal(t, []int{7, 8}, r.receive(r.q))
	require.Equal(t, dataplane.Stats{RxFrames: 2, RxBytes: 120, TxFrames: 3, TxBytes: 180}, r.p.Stats(0))
	require.Zero(t, r.p.Impaired(0))
	require.Equal(t, r.p.Unwrap().Info(), r.p.Info())
	require.Equal(t, r.p.Unwrap().Queue(0).Caps(), r.q.Caps())
	require.NoError(t, r.q.Err())
	require.Equal(t, 0, r.q.Settle(r.b))
}

func TestLoss(t *testing.T) {
	for _, dir := range []Dir{DirTx, DirRx} {
		t.Run(fmt.Sprint(dir), func(t *testing.T) {
			r := newRig(t, Config{Loss: 0.25, Seed: 7, Dir: dir}, loop.Config{})
			from, to := r.q, r.far
			if dir == DirRx {
				from, to = r.far, r.q
			}
			got := 0
			for i := range 100 {
				require.Equal(t, 60, r.send(from, i*60, 60), "a lost frame counts as handed over")
				got += len(r.receive(to))
			}
			c := r.p.Impaired(0)
			lost := c.Tx.Lost + c.Rx.Lost
			require.InDelta(t, 1500, lost, 150)
			require.Equal(t, 6000, got+int(lost))
			st := r.p.Stats(0)
			if dir == DirTx {
				require.Zero(t, c.Rx)
				require.Equal(t, dataplane.Stats{TxFrames: 6000, TxBytes: 360000}, st)
			} else {
				require.Zero(t, c.Tx)
				require.Equal(t, dataplane.Stats{RxFrames: uint64(got), RxBytes: uint64(got) * 60}, st)
			}
			require.Equal(t, lost, r.p.Drops(0)["impair_tx_lost"]+r.p.Drops(0)["impair_rx_lost"])
		})
	}
}

func TestCertainty(t *testing.T) {
	r := newRig(t, Config{Loss: 1}, loop.Config{})
	r.send(r.q, 0, 64)
	require.Empty(t, r.receive(r.far))
	require.Equal(t, uint64(64), r.p.Impaired(0).Tx.Lost)
}

func TestDup(t *testing.T) {
	for _, dir := range []Dir{DirTx, DirRx} {
		t.Run(fmt.Sprint(dir), func(t *testing.T) {
			r := newRig(t, Config{Dup: 1, Dir: dir}, loop.Config{})
			from, to := r.q, r.far
			if dir == DirRx {
				from, to = r.far, r.q
			}
			require.Equal(t, 3, r.send(from, 0, 3))
			require.Equal(t, []int{0, 1, 2, 0, 1, 2}, r.receive(to))
			c := r.p.Impaired(0)
			c.Tx.Add(c.Rx)
			require.Equal(t, DirCounts{Seen: 3, Passed: 6, Duplicated: 3}, c.Tx)
		})
	}
}

func TestDelay(t *testing.T) {
	for _, dir := range []Dir{DirTx, DirRx} {
		t.Run(fmt.Sprint(dir), func(t *testing.T) {
			r := newRig(t, Config{Delay: 10 * time.Millisecond, Dir: dir}, loop.Config{})
			from, to := r.q, r.far
			if dir == DirRx {
				from, to = r.far, r.q
			}
			step := func(d time.Duration) []int {
				r.clock.t = r.clock.t.Add(d)
				if got := r.receive(r.q); dir == DirRx {
					return got
				}
				return r.receive(to)
			}
			require.Equal(t, 2, r.send(from, 0, 2), "a held frame counts as handed over")
			require.Empty(t, step(0)) // on the way in, the delay starts at Rx
			require.Empty(t, step(4*time.Millisecond))
			r.send(from, 2, 1)
			require.Empty(t, step(0))
			require.Empty(t, step(6*time.Millisecond-1))
			require.Equal(t, []int{0, 1}, step(1))
			require.Empty(t, step(4*time.Millisecond-1))
			require.Equal(t, []int{2}, step(1))
			c := r.p.Impaired(0)
			c.Tx.Add(c.Rx)
			require.Equal(t, DirCounts{Seen: 3, Passed: 3, Delayed: 3}, c.Tx)
		})
	}
}

func TestJitterStaysInBounds(t *testing.T) {
	const delay, jitter = 10 * time.Millisecond, 4 * time.Millisecond
	r := newRig(t, Config{Delay: delay, Jitter: jitter, Seed: 3}, loop.Config{})
	require.Equal(t, 64, r.send(r.q, 0, 64))
	var got []int
	first := time.Duration(0)
	for at := time.Duration(0); at <= delay+jitter; at += 100 * time.Microsecond {
		r.q.Rx(r.b)
		if now := r.receive(r.far); len(now) > 0 {
			if len(got) == 0 {
				first = at
			}
			got = append(got, now...)
		}
		r.clock.t = r.clock.t.Add(100 * time.Microsecond)
	}
	require.Len(t, got, 64, "all within delay+jitter")
	require.GreaterOrEqual(t, first, delay-jitter)
	require.Less(t, first, delay)
	require.NotEqual(t, seq(0, 64), got, "jitter above the gap reorders")
	require.ElementsMatch(t, seq(0, 64), got)
}

func seq(from, n int) (s []int) {
	for i := range n {
		s = append(s, from+i)
	}
	return s
}

func TestReorder(t *testing.T) {
	r := newRig(t, Config{Reorder: 0.2, Seed: 5}, loop.Config{})
	r.send(r.q, 0, 50)
	got := r.receive(r.far)
	require.NotEqual(t, seq(0, 50), got)
	// What is last in line waits for the hold, no longer.
	r.clock.t = r.clock.t.Add(ReorderHold)
	r.q.Rx(r.b)
	got = append(got, r.receive(r.far)...)
	require.ElementsMatch(t, seq(0, 50), got)
	c := r.p.Impaired(0).Tx
	require.NotZero(t, c.Reordered)
	require.Equal(t, uint64(50), c.Passed)
}

func TestReorderOvertakes(t *testing.T) {
	for _, dir := range []Dir{DirTx, DirRx} {
		t.Run(fmt.Sprint(dir), func(t *testing.T) {
			r := newRig(t, Config{Reorder: 1, Dir: dir}, loop.Config{})
			from, to := r.q, r.far
			if dir == DirRx {
				from, to = r.far, r.q
			}
			r.send(from, 0, 1)
			require.Empty(t, r.receive(to))
			l := r.p.queues[0].tx
			if dir == DirRx {
				l = r.p.queues[0].rx
			}
			l.reorder = 0 // the next frames go straight
			r.send(from, 1, 2)
			require.Equal(t, []int{1, 2, 0}, r.receive(to))
		})
	}
}

func TestReorderWithDelayOvertakes(t *testing.T) {
	r := newRig(t, Config{Reorder: 0.3, Delay: time.Millisecond, Seed: 2}, loop.Config{})
	r.send(r.q, 0, 20)
	early := r.receive(r.far)
	require.NotEmpty(t, early)
	r.clock.t = r.clock.t.Add(time.Millisecond)
	r.q.Rx(r.b)
	require.ElementsMatch(t, seq(0, 20), append(early, r.receive(r.far)...))
	require.Equal(t, len(early), int(r.p.Impaired(0).Tx.Reordered))
}

func TestCorrupt(t *testing.T) {
	r := newRig(t, Config{Corrupt: 1, Seed: 9}, loop.Config{})
	require.Equal(t, 64, r.send(r.q, 0, 64))
	require.Equal(t, 64, r.far.Rx(r.b))
	at := map[int]bool{}
	for i := range r.b.N {
		flipped := 0
		for j, c := range frame(i) {
			if d := c ^ r.b.Data[i][j]; d != 0 {
				require.GreaterOrEqual(t, j, etherLen)
				flipped += bits.OnesCount8(d)
				at[j] = true
			}
		}
		require.Equal(t, 1, flipped)
	}
	require.Greater(t, len(at), 16, "spread over the frame")
	r.far.Settle(r.b)
	corrupt(make([]byte, etherLen), 1) // nothing to flip
}

// vouch is a port whose device vouches for checksums.
type vouch struct{ dataplane.Port }

type vouchQueue struct{ dataplane.Queue }

func (v vouch) Queue(i int) dataplane.Queue { return vouchQueue{v.Port.Queue(i)} }

func (v vouchQueue) Rx(b *dataplane.Batch) int {
	for i := range v.Queue.Rx(b) {
		b.Meta[i] = dataplane.Meta{VLAN: 5, Hash: 6, Flags: dataplane.MetaCsumGood | dataplane.MetaHash | dataplane.MetaVLAN}
	}
	return b.N
}

// TestVAL_001_CorruptedFrameIsNotVouchedFor: who flips a bit must withdraw the
// device's word for the checksum, or a receiver would not look.
func TestVAL_001_CorruptedFrameIsNotVouchedFor(t *testing.T) {
	for _, corrupt := range []float64{0, 1} {
		a, b, err := loop.Pair(loop.Config{})
		require.NoError(t, err)
		clk := newClock()
		p, err := New(vouch{a}, Config{Corrupt: corrupt, Delay: time.Millisecond, Dir: DirBoth, Now: clk.now})
		require.NoError(t, err)
		r := &rig{T: t, b: dataplane.NewBatch()}
		r.send(b.Queue(0), 0, 1)
		require.Equal(t, 0, p.Queue(0).Rx(r.b))
		clk.t = clk.t.Add(time.Millisecond)
		require.Equal(t, 1, p.Queue(0).Rx(r.b))
		want := dataplane.Meta{VLAN: 5, Hash: 6, Flags: dataplane.MetaCsumGood | dataplane.MetaHash | dataplane.MetaVLAN}
		if corrupt == 1 {
			want.Flags &^= dataplane.MetaCsumGood
		}
		require.Equal(t, want, r.b.Meta[0], "the rest survives being held")
		p.Queue(0).Settle(r.b)
	}
}

// attached is a port whose queue wants to know its thread.
type attached struct {
	dataplane.Port
	calls []string
	err   error
}

type attachedQueue struct {
	dataplane.Queue
	p *attached
}

func (a *attached) Queue(i int) dataplane.Queue { return attachedQueue{a.Port.Queue(i), a} }

func (q attachedQueue) Attach() error { q.p.calls = append(q.p.calls, "attach"); return q.p.err }

func (q attachedQueue) Detach() { q.p.calls = append(q.p.calls, "detach") }

func TestAttachReachesTheQueueBelow(t *testing.T) {
	a, _, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	below := &attached{Port: a, err: errors.New("no thread")}
	p, err := New(below, Config{})
	require.NoError(t, err)
	q := p.Queue(0).(dataplane.Attacher)
	require.ErrorIs(t, q.Attach(), below.err)
	below.err = nil
	require.NoError(t, q.Attach())
	q.Detach()
	require.Equal(t, []string{"attach", "attach", "detach"}, below.calls)

	p, err = New(a, Config{}) // a queue that does not care
	require.NoError(t, err)
	q = p.Queue(0).(dataplane.Attacher)
	require.NoError(t, q.Attach())
	q.Detach()
}

func TestWakeReachesTheQueueBelow(t *testing.T) {
	// Frames are held, so that the decorator has reasons of its own to wait less.
	r := newRig(t, Config{Delay: time.Minute, Dir: DirBoth}, loop.Config{})
	r.send(r.q, 0, 1)
	dptest.CheckWaker(t, r.q)

	p, err := New(asleep{r.p}, Config{})
	require.NoError(t, err)
	p.Queue(0).(dataplane.Waker).Wake() // nothing to pass it to
}

// asleep is a port whose queue cannot be woken.
type asleep struct{ dataplane.Port }

func (p asleep) Queue(i int) dataplane.Queue { return struct{ dataplane.Queue }{p.Port.Queue(i)} }

// offloading is a port whose device completes checksums.
type offloading struct{ dataplane.Port }

type offloadQueue struct{ dataplane.Queue }

func (p offloading) Queue(i int) dataplane.Queue { return offloadQueue{p.Port.Queue(i)} }

func (q offloadQueue) Caps() dataplane.Caps {
	c := q.Queue.Caps()
	c.TxCsum = true
	return c
}

// A frame that was corrupted must not get a good checksum, and a capture shows whole frames.
func TestVAL_003_ChecksumsAreNotLeftToTheDevice(t *testing.T) {
	a, _, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	require.True(t, offloading{a}.Queue(0).Caps().TxCsum)
	for _, c := range []Config{{}, {Corrupt: 1}, {Delay: time.Millisecond, Dir: DirRx}} {
		p, err := New(offloading{a}, c)
		require.NoError(t, err)
		require.False(t, p.Queue(0).Caps().TxCsum)
	}
}

func TestSameSeedSameFate(t *testing.T) {
	run := func(seed uint64, burst int) (got []int) {
		r := newRig(t, Config{Loss: 0.1, Dup: 0.1, Corrupt: 0.1, Seed: seed}, loop.Config{})
		for i := 0; i < 600; i += burst {
			r.send(r.q, i, burst)
			for r.far.Rx(r.b) > 0 {
				for j := range r.b.N {
					got = append(got, int(r.b.Data[j][59])<<32|number(r.b.Data[j]))
				}
				r.far.Settle(r.b)
			}
		}
		return got
	}
	require.Equal(t, run(1, 10), run(1, 10))
	require.ElementsMatch(t, run(1, 10), run(1, 60), "does not depend on bursts")
	require.NotEqual(t, run(1, 10), run(2, 10))

	// Queues and directions differ from each other.
	c := Config{Loss: 0.5, Seed: 1}
	fates := map[string]bool{}
	for q := range 4 {
		for _, dir := range []Dir{DirTx, DirRx} {
			c.Dir = dir
			l, s := newLane(&c, q, dir, 0), ""
			for range 64 {
				s += fmt.Sprint(l.draw().lose)
			}
			fates[s] = true
		}
	}
	require.Len(t, fates, 8)
}

func TestStoreFull(t *testing.T) {
	r := newRig(t, Config{Delay: time.Second, Dup: 1, Store: 5}, loop.Config{})
	require.Equal(t, 4, r.send(r.q, 0, 4))
	c := r.p.Impaired(0).Tx
	require.Equal(t, DirCounts{Seen: 4, Duplicated: 4, Delayed: 4, StoreFull: 3, Held: 5}, c)
	r.clock.t = r.clock.t.Add(time.Second)
	r.q.Rx(r.b)
	require.Equal(t, []int{0, 0, 1, 1, 2}, r.receive(r.far))
	require.Equal(t, uint64(3), r.p.Drops(0)["impair_tx_store_full"])

	// A frame longer than a blank one cannot be held.
	s := newStore(1, 10)
	require.False(t, s.put(make([]byte, 11), item{}))
	require.True(t, s.put(make([]byte, 10), item{}))
}

func TestCloseDiscardsHeld(t *testing.T) {
	r := newRig(t, Config{Delay: time.Second, Dir: DirBoth}, loop.Config{})
	r.send(r.q, 0, 4)
	r.send(r.far, 0, 3)
	require.Empty(t, r.receive(r.q))
	require.NoError(t, r.p.Close())
	require.Equal(t, uint64(4), r.p.Impaired(0).Tx.Unsent)
	require.Equal(t, uint64(3), r.p.Impaired(0).Rx.Unsent)
	require.Equal(t, uint64(4), r.p.Drops(0)["impair_tx_unsent"])
}

func TestDeviceFull(t *testing.T) {
	r := newRig(t, Config{Dup: 1}, loop.Config{Frames: 128, Ring: 16})
	require.Equal(t, 16, r.send(r.q, 0, 20))
	st := r.p.Stats(0)
	require.Equal(t, dataplane.Stats{TxFrames: 16, TxBytes: 16 * 60, TxFull: 4}, st)
	require.Equal(t, DirCounts{Seen: 20, Duplicated: 20, Passed: 16, Refused: 4, Unsent: 20}, r.p.Impaired(0).Tx)
	require.Equal(t, seq(0, 16), r.receive(r.far))
}

func TestNoBlankFramesKeepsHeld(t *testing.T) {
	r := newRig(t, Config{Delay: time.Millisecond}, loop.Config{Frames: 128, Ring: 256})
	r.send(r.q, 0, 10)
	all := []*dataplane.Batch{dataplane.NewBatch(), dataplane.NewBatch()}
	for _, b := range all {
		require.Equal(t, 64, r.q.Blank(b, 64))
	}
	require.Equal(t, 0, r.q.Blank(r.b, 5))
	require.Equal(t, uint64(5), r.p.Stats(0).NoBlank)
	r.clock.t = r.clock.t.Add(time.Millisecond)
	r.q.Rx(r.b)
	require.Empty(t, r.receive(r.far))
	for _, b := range all {
		r.q.Settle(b)
	}
	r.q.Rx(r.b)
	require.Equal(t, seq(0, 10), r.receive(r.far))
	require.Equal(t, uint64(5), r.p.Stats(0).NoBlank, "own needs are not the caller's")
}

func TestKeepPassesThrough(t *testing.T) {
	r := newRig(t, Config{Loss: 0.5, Dup: 0.5, Dir: DirBoth, Seed: 4}, loop.Config{})
	later := dataplane.NewBatch()
	for i := 0; later.N == 0; i++ {
		r.send(r.far, i, 1)
		if r.q.Rx(r.b) == 1 {
			later.N = 1
			later.Data[0], later.Handle[0], later.Verdict[0] = r.b.Data[0], r.b.Handle[0], dataplane.Drop
			r.b.Verdict[0] = dataplane.Keep
		}
		r.q.Settle(r.b)
	}
	r.send(r.far, 100, 20)
	r.receive(r.q)
	require.Less(t, number(later.Data[0]), 100)
	r.q.Settle(later)
}

func TestWait(t *testing.T) {
	r := newRig(t, Config{Delay: time.Minute, Dir: DirBoth}, loop.Config{})
	r.q.Wait(time.Microsecond)
	r.send(r.q, 0, 1)
	r.q.Wait(time.Microsecond)
	r.clock.t = r.clock.t.Add(time.Minute)
	r.q.Wait(time.Hour) // returns, for a frame is due
	r.q.Rx(r.b)
	require.Equal(t, []int{0}, r.receive(r.far))

	// Received and not yet delivered counts as something to do.
	r.send(r.far, 0, 1)
	r.q.Wait(time.Hour)
	require.Equal(t, 0, r.q.Rx(r.b))
	r.clock.t = r.clock.t.Add(time.Minute)
	r.q.Wait(time.Hour)
	require.Equal(t, 1, r.q.Rx(r.b))
	r.q.Settle(r.b)
}

// TestFreshFramesAreNotStarved: held and fresh frames share a batch, and what
// does not fit waits for the next one, in order.
func TestFreshFramesAreNotStarved(t *testing.T) {
	r := newRig(t, Config{Dup: 1, Dir: DirRx}, loop.Config{})
	r.send(r.far, 0, 64)
	r.send(r.far, 64, 64)
	require.Equal(t, 64, r.q.Rx(r.b))
	r.q.Settle(r.b)
	require.Equal(t, 64, r.q.Rx(r.b))
	require.Equal(t, 0, number(r.b.Data[0]))
	require.Equal(t, 64, number(r.b.Data[32]))
	r.q.Settle(r.b)
	got := r.receive(r.q)
	require.Equal(t, []int{32, 33}, got[:2])
	require.Len(t, got, 128)
}

func TestCloseReturnsUndelivered(t *testing.T) {
	r := newRig(t, Config{Dup: 1, Dir: DirRx}, loop.Config{})
	r.send(r.far, 0, 64)
	r.q.Rx(r.b)
	r.q.Settle(r.b)
	r.send(r.far, 64, 64)
	r.q.Rx(r.b) // leaves 32 fresh ones behind
	r.q.Settle(r.b)
	require.NoError(t, r.p.Close())
	census, err := loop.Audit(r.p)
	require.NoError(t, err)
	require.Equal(t, census.Total, census.Home)
}
