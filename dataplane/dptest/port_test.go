package dptest

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

func TestPortScript(t *testing.T) {
	p := NewPort(t, PortConfig{Queues: 2, Caps: dataplane.Caps{RxCsum: true}})
	q, b := p.Queue(1), dataplane.NewBatch()
	require.True(t, q.Caps().RxCsum)
	require.Equal(t, 2, p.Info().Queues)
	require.True(t, p.Info().Up)
	p.SetUp(false)
	require.False(t, p.Info().Up)

	p.Inject(1, []byte("one"), dataplane.Meta{VLAN: 5})
	p.Inject(1, []byte("two"), dataplane.Meta{})
	p.Inject(1, []byte("three"), dataplane.Meta{})
	require.Equal(t, 3, p.Pending(1))
	require.Equal(t, 0, p.Queue(0).Rx(b))
	require.Equal(t, 3, q.Rx(b))
	require.Equal(t, uint16(5), b.Meta[0].VLAN)
	b.Verdict[0], b.Verdict[2] = dataplane.Reply, dataplane.Keep
	b.Data[0] = append(b.Data[0], "!"...)
	kept, handle := b.Data[2], b.Handle[2]
	require.Equal(t, 1, q.Settle(b))
	require.Equal(t, [][]byte{[]byte("one!")}, p.Sent(1))
	require.Empty(t, p.Sent(1))
	require.Equal(t, "three", string(kept))
	require.Equal(t, 1, p.Lent(1))

	p.Refuse(1, 0)
	b.N, b.Data[0], b.Handle[0], b.Verdict[0] = 1, kept[1:], handle, dataplane.Reply
	require.Equal(t, 0, q.Settle(b))
	require.Equal(t, dataplane.Stats{RxFrames: 3, RxBytes: 11, TxFrames: 1, TxBytes: 4, TxFull: 1}, p.Stats(1))
	require.NotEqual(t, "three", string(kept), "overwritten")

	p.Refuse(1, -1)
	require.Equal(t, 2, q.Blank(b, 2))
	b.Data[0] = append(b.Data[0], "front"...)[1:] // resliced within the buffer
	b.Verdict[0] = dataplane.Reply
	require.Equal(t, 1, q.Settle(b))
	require.Equal(t, [][]byte{[]byte("ront")}, p.Sent(1))

	q.Wait(0)
	q.Wait(time.Microsecond)
	p.Fail(1, errors.New("gone"))
	q.Wait(time.Hour)
	require.EqualError(t, q.Err(), "gone")
	p.Inject(1, nil, dataplane.Meta{})
	q.Wait(time.Hour)
	require.Equal(t, 1, q.Rx(b))
	q.Settle(b)
	require.NoError(t, p.Close())
	require.True(t, p.Closed())
}

func TestPortWakes(t *testing.T) { CheckWaker(t, NewPort(t, PortConfig{}).Queue(0)) }

func TestPortRunsOut(t *testing.T) {
	p := NewPort(t, PortConfig{Frames: 3})
	q, b := p.Queue(0), dataplane.NewBatch()
	require.Equal(t, 3, q.Blank(b, 5))
	require.Equal(t, uint64(2), p.Stats(0).NoBlank)
	q.Settle(b)
	require.Panics(t, func() { p.Inject(0, make([]byte, 4096), dataplane.Meta{}) })
}

func TestPortFindsMistakes(t *testing.T) {
	for _, c := range []struct {
		name, want string
		f          func(q dataplane.Queue, b *dataplane.Batch)
	}{
		{"leak", "queue 0 ends with 2 frames lent", func(dataplane.Queue, *dataplane.Batch) {}},
		{"kept for ever", "queue 0 ends with 1 frames lent", func(q dataplane.Queue, b *dataplane.Batch) {
			b.Verdict[0] = dataplane.Keep
			q.Settle(b)
		}},
		{"settled twice", "settled twice", func(q dataplane.Queue, b *dataplane.Batch) {
			q.Settle(b)
			b.N = 1
			q.Settle(b)
		}},
		{"foreign handle", "not of this queue", func(q dataplane.Queue, b *dataplane.Batch) {
			q.Settle(b)
			b.N, b.Handle[0] = 1, 1<<40
			q.Settle(b)
		}},
		{"foreign buffer", "another buffer", func(q dataplane.Queue, b *dataplane.Batch) {
			b.Data[0], b.Verdict[0] = make([]byte, 60), dataplane.Reply
			q.Settle(b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := record(func(t testing.TB) {
				p := NewPort(t, PortConfig{})
				b := dataplane.NewBatch()
				p.Queue(0).Blank(b, 2)
				c.f(p.Queue(0), b)
			})
			require.True(t, r.failed)
			require.Contains(t, r.text, c.want)
		})
	}
	r := record(func(t testing.TB) {
		p := NewPort(t, PortConfig{})
		_, _ = p.Close(), p.Close()
	})
	require.Contains(t, r.text, "closed twice")
}
