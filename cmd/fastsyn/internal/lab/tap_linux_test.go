package lab

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// A tap loses and holds TCP segments in both directions, hands on what was released in order, and
// no frame of the queue below stays behind.
func TestTap(t *testing.T) {
	const name = "loop:lab-tap"
	a, err := dataplane.Open(name)
	require.NoError(t, err)
	b, err := dataplane.Open(name)
	require.NoError(t, err)
	tp := newTap(a)
	t.Cleanup(func() {
		require.NoError(t, tp.Close())
		require.NoError(t, b.Close())
	})
	near, far := tp.Queue(0), b.Queue(0)
	batch := dataplane.NewBatch()
	var seq wire.Seq
	send := func(q dataplane.Queue, n int) {
		t.Helper()
		require.Equal(t, n, q.Blank(batch, n))
		for i := range n {
			seq++
			s := wire.Segment{Tuple: wire.Tuple{Local: wire.Addr4(1), Remote: wire.Addr4(0x0a000001), LocalPort: 1, RemotePort: 2}, Seq: seq, Flags: wire.FlagSYN}
			s.Local, s.Remote = wire.Addr4(0x0a000002), wire.Addr4(0x0a000001)
			d := batch.Data[i][:cap(batch.Data[i])]
			m := wire.PutLink(d, &wire.Link{Dst: [6]byte(a.Info().MAC), Src: [6]byte(b.Info().MAC)}, wire.EtherTypeIPv4)
			batch.Data[i] = d[:m+wire.PutTCP(d[m:], &s, nil)]
			batch.Verdict[i] = dataplane.Reply
		}
		require.Equal(t, n, q.Settle(batch))
	}
	// got polls until n frames have come, and returns their numbers.
	got := func(q dataplane.Queue, n int) (numbers []wire.Seq) {
		t.Helper()
		for end := time.Now().Add(patience); len(numbers) < n && time.Now().Before(end); {
			near.Wait(0)
			for i := range q.Rx(batch) {
				var p wire.Packet
				require.Equal(t, wire.OK, wire.Parse(batch.Data[i], false, &p))
				numbers = append(numbers, p.Seg.Seq)
			}
			q.Settle(batch)
		}
		return numbers
	}
	none := func(q dataplane.Queue) { t.Helper(); require.Zero(t, q.Rx(batch)); q.Settle(batch) }

	send(near, 2)
	require.Equal(t, []wire.Seq{1, 2}, got(far, 2))
	send(far, 2)
	require.Equal(t, []wire.Seq{3, 4}, got(near, 2))

	tp.setRule(func(_ bool, p *wire.Packet) fate {
		return []fate{pass, lose, hold}[p.Seg.Seq%3]
	})
	send(near, 5) // 5 held, 6 passes, 7 lost, 8 held, 9 passes
	require.Equal(t, []wire.Seq{6, 9}, got(far, 2))
	send(far, 5) // 10 lost, 11 held, 12 passes, 13 lost, 14 held
	require.Equal(t, []wire.Seq{12}, got(near, 1))
	none(near)
	none(far)
	tp.setRule(nil)
	tp.release()
	require.Equal(t, []wire.Seq{11, 14}, got(near, 2), "and sends what was held")
	require.Equal(t, []wire.Seq{5, 8}, got(far, 2))
	none(near)
	none(far)

	type seen struct {
		out, lost bool
		seq       wire.Seq
	}
	var all []seen
	for _, f := range tp.snapshot() {
		all = append(all, seen{f.out, f.lost, f.pkt.Seg.Seq})
	}
	require.Equal(t, []seen{
		{true, false, 1},
		{true, false, 2},
		{false, false, 3},
		{false, false, 4},
		{true, false, 5},
		{true, false, 6},
		{true, true, 7},
		{true, false, 8},
		{true, false, 9},
		{false, true, 10},
		{false, false, 12},
		{false, true, 13},
		{false, false, 11},
		{false, false, 14},
	}, all, "sent when fastsyn sent it, received when fastsyn has it")
	require.NoError(t, near.Err())
	c, err := loop.Audit(b)
	require.NoError(t, err)
	require.Zero(t, c.Lent+c.Wire, "all frames are home")
}
