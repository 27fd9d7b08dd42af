//go:build dpdk

package godpdk_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yerden/go-dpdk/ethdev"
	"github.com/yerden/go-dpdk/mbuf"
	"github.com/yerden/go-dpdk/mempool"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk"
)

// text is a frame of an EtherType for experiments.
func text(s string) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
	copy(f[14:], s)
	return f
}

// loop sends a frame through a queue of fastsyn's and receives it again, as net_ring does.
func loop(t *testing.T, q dataplane.Queue, frame []byte) {
	t.Helper()
	b := dataplane.NewBatch()
	require.Equal(t, 1, q.Blank(b, 1))
	b.Data[0] = append(b.Data[0], frame...)
	b.Verdict[0] = dataplane.Reply
	require.Equal(t, 1, q.Settle(b))
	require.Equal(t, 1, q.Rx(b))
	require.Equal(t, frame, b.Data[0])
	q.Settle(b)
}

// loopGo does the same through go-dpdk.
func loopGo(t *testing.T, pid ethdev.Port, queue uint16, pool *mempool.Mempool, frame []byte) {
	t.Helper()
	m := mbuf.PktMbufAlloc(pool)
	require.NotNil(t, m)
	require.NoError(t, m.PktMbufAppend(frame))
	require.EqualValues(t, 1, pid.TxBurst(queue, []*mbuf.Mbuf{m}))
	in := make([]*mbuf.Mbuf, 8)
	require.EqualValues(t, 1, pid.RxBurst(queue, in))
	require.Equal(t, frame, in[0].Data())
	in[0].PktMbufFree()
}

func TestPortIsHandedOverAndComesBack(t *testing.T) {
	pool := newPools(t, 1)[0]
	pid := named(t, "net_ring0")
	configure(t, pid, pool, pool, pool)
	start(t, pid)
	loopGo(t, pid, 0, pool, text("before"))

	for range 3 { // as often as the program likes
		port, err := godpdk.Port(pid, 2, pool, pool)
		require.NoError(t, err)
		info := port.Info()
		require.Equal(t, "dpdk", info.Driver)
		require.Equal(t, "net_ring0", info.Name)
		require.Equal(t, 2, info.Queues)
		require.Equal(t, 1500, info.MTU)
		require.True(t, info.Up)
		loop(t, port.Queue(0), text("by fastsyn"))
		require.EqualValues(t, 1, port.Stats(0).RxFrames)
		loopGo(t, pid, 2, pool, text("meanwhile")) // queue 2 is not ours
		require.Contains(t, port.(dataplane.CounterReporter).Counters(), "mbufs_free")

		require.NoError(t, port.Close())
		require.NoError(t, port.Close())
		require.Error(t, port.Queue(0).Err())
		require.Zero(t, port.Queue(0).Rx(dataplane.NewBatch()))
		require.Zero(t, pool.InUseCount())
		for q := range uint16(3) {
			loopGo(t, pid, q, pool, text("after"))
		}
	}
}

// What the device holds when fastsyn is done is the program's.
func TestFramesLeftInTheDeviceStayThere(t *testing.T) {
	pool := newPools(t, 1)[0]
	pid := named(t, "net_ring0")
	configure(t, pid, pool)
	start(t, pid)
	port, err := godpdk.Port(pid, 1, pool)
	require.NoError(t, err)
	b := dataplane.NewBatch()
	require.Equal(t, 1, port.Queue(0).Blank(b, 1))
	b.Data[0], b.Verdict[0] = append(b.Data[0], text("left")...), dataplane.Reply
	require.Equal(t, 1, port.Queue(0).Settle(b))
	require.NoError(t, port.Close())

	require.Equal(t, 1, pool.InUseCount())
	in := make([]*mbuf.Mbuf, 8)
	require.EqualValues(t, 1, pid.RxBurst(0, in))
	require.Equal(t, text("left"), in[0].Data())
	in[0].PktMbufFree()
}

func TestRefuses(t *testing.T) {
	pool := newPools(t, 1)[0]
	small, err := mempool.CreateMbufPool("small", 512, 1024)
	require.NoError(t, err)
	defer small.Free()
	numbers, err := mempool.CreateEmpty("numbers", 512, 64)
	require.NoError(t, err)
	defer numbers.Free()

	pid := named(t, "net_ring0")
	configure(t, pid, pool, pool)
	start(t, pid)
	fresh := named(t, "net_ring1")

	refused := func(want string, pid ethdev.Port, queues int, pools ...*mempool.Mempool) {
		t.Helper()
		port, err := godpdk.Port(pid, queues, pools...)
		require.ErrorContains(t, err, want)
		require.Nil(t, port)
	}
	refused("no such port", 77, 1, pool)
	refused("must be configured and started first", fresh, 1, pool)
	configure(t, fresh, pool)
	refused("must be configured and started first", fresh, 1, pool)
	require.NoError(t, fresh.Start())
	port, err := godpdk.Port(fresh, 1, pool)
	require.NoError(t, err)
	require.NoError(t, port.Close())
	fresh.Stop()
	refused("must be configured and started first", fresh, 1, pool)

	refused("3 queues, but it was configured with 2 receive and 2 transmit queues", pid, 3, pool)
	refused("queues, but it was configured with 2", pid, 1<<40, pool)
	refused("0 queues: want at least 1", pid, 0)
	refused("0 queues: want at least 1", pid, 0, pool)
	refused("-1 queues", pid, -1, pool)
	refused("0 pools for 1 queues", pid, 1)
	refused("3 pools for 2 queues", pid, 2, pool, pool, pool)
	refused("2 pools for 1 queues", pid, 1, pool, pool)
	refused("pool 1 is nil", pid, 2, pool, nil)
	refused("pool 0 is no pool of mbufs", pid, 1, numbers)
	refused("pool 1: frames need 2048 bytes of room behind the headroom, and have 896", pid, 2, pool, small)

	_, err = godpdk.Adoption{Port: pid, Queues: 2, Pools: []*mempool.Mempool{pool}, TrustRSS: true}.Open()
	require.ErrorContains(t, err, "does not tell how it spreads flows")

	// Refusals leave nothing behind, and the port usable.
	port, err = godpdk.Port(pid, 2, pool)
	require.NoError(t, err)
	loop(t, port.Queue(0), text("still fine"))
	require.NoError(t, port.Close())
}
