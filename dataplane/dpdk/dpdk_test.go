//go:build dpdk && cgo && linux

package dpdk

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/rssprobe"
)

// The EAL starts once in a process, so all tests use the same: ordinary memory.
var testEAL = EALConfig{NoHuge: true, Memory: 1 << 30}

// open opens a device and checks, when the test ends, that all its frames came home.
func open(t *testing.T, cfg Config) *Port {
	t.Helper()
	cfg.EAL = testEAL
	p, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// pair opens both ends of a wire of rings.
func pair(t *testing.T, cfg Config) (a, b *Port) {
	t.Helper()
	cfg.Device = "net_ring,wire=" + t.Name()
	return open(t, cfg), open(t, cfg)
}

// send sends frames from queue q of p and returns how many were taken.
func send(t *testing.T, q dataplane.Queue, frames ...[]byte) int {
	t.Helper()
	b := dataplane.NewBatch()
	require.Equal(t, len(frames), q.Blank(b, len(frames)))
	for i, f := range frames {
		b.Data[i] = append(b.Data[i], f...)
		b.Verdict[i] = dataplane.Reply
	}
	return q.Settle(b)
}

func frame(p *Port, n byte) []byte {
	f := make([]byte, 60)
	copy(f, p.info.MAC)
	copy(f[6:], []byte{2, 0, 0, 0, 0, 1})
	f[12], f[13], f[14] = 0x88, 0xb5, n // an EtherType for experiments
	return f
}

func TestWireCarriesFramesBothWays(t *testing.T) {
	a, b := pair(t, Config{})
	require.NotEqual(t, a.Info().MAC, b.Info().MAC)
	require.True(t, a.Info().Up)
	batch := dataplane.NewBatch()
	for i := range 100 {
		require.Equal(t, 2, send(t, a.Queue(0), frame(b, byte(i)), frame(b, byte(i+1))))
		require.Equal(t, 2, b.Queue(0).Rx(batch))
		require.Equal(t, frame(b, byte(i)), batch.Data[0])
		require.Equal(t, frame(b, byte(i+1)), batch.Data[1])
		batch.Verdict[1] = dataplane.Reply
		batch.Data[1] = batch.Data[1][:54]
		require.Equal(t, 1, b.Queue(0).Settle(batch))
		require.Equal(t, 1, a.Queue(0).Rx(batch))
		require.Equal(t, frame(b, byte(i+1))[:54], batch.Data[0])
		a.Queue(0).Settle(batch)
	}
	require.Equal(t, dataplane.Stats{RxFrames: 100, RxBytes: 5400, TxFrames: 200, TxBytes: 12000}, a.Stats(0))
	require.Equal(t, dataplane.Stats{RxFrames: 200, RxBytes: 12000, TxFrames: 100, TxBytes: 5400}, b.Stats(0))
}

func TestSteersWhereTheDeviceCannot(t *testing.T) {
	for _, n := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			a, b := pair(t, Config{Queues: n})
			r, err := rssprobe.Ports(a, b, rssprobe.Config{Timeout: 30 * time.Second, Quiet: 5 * time.Second})
			require.NoError(t, err)
			require.Equal(t, rssprobe.Matches, r.Verdict, "%v", r)
			c := b.Counters()
			require.EqualValues(t, r.Sent, c["rss_checked"])
			require.Positive(t, c["steered"]) // all came to queue 0
			require.NotContains(t, c, "wrong_queue")
		})
	}
}
