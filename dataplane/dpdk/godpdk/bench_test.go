//go:build dpdk

package godpdk_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yerden/go-dpdk/mbuf"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk"
)

// BenchmarkBurst sends 64 frames round the loop of net_ring, in this goroutine: receive,
// work on each, send. "forward" swaps two bytes; "answer" gives the frame another
// length, as each answer to a SYN has. By go-dpdk's calls and, adopted, by fastsyn's.
func BenchmarkBurst(b *testing.B) {
	const burst = dataplane.BatchSize
	pool := newPools(b, 1)[0]
	pid := named(b, "net_ring0")
	configure(b, pid, pool)
	start(b, pid)
	loop := func(name string, round func() (sent int)) {
		b.Run(name, func(b *testing.B) {
			for range burst {
				m := mbuf.PktMbufAlloc(pool)
				require.NoError(b, m.PktMbufAppend(text("x")))
				require.EqualValues(b, 1, pid.TxBurst(0, []*mbuf.Mbuf{m}))
			}
			frames := 0
			b.ReportAllocs()
			for b.Loop() {
				frames += round()
			}
			require.Equal(b, b.N*burst, frames)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(frames), "ns/frame")
			drain(godpdk.Adoption{Port: pid, Queues: 1})
		})
	}
	forward := func(p []byte) { p[5], p[11] = p[11], p[5] }
	answers := [2][]byte{text("SYN"), append(text("SYN-ACK"), make([]byte, 15)...)}

	in := make([]*mbuf.Mbuf, burst)
	loop("work=forward/by=go-dpdk", func() int {
		n := pid.RxBurst(0, in)
		for _, m := range in[:n] {
			forward(m.Data())
		}
		return int(pid.TxBurst(0, in[:n]))
	})
	loop("work=answer/by=go-dpdk", func() int {
		n := pid.RxBurst(0, in)
		for _, m := range in[:n] {
			other := answers[m.PktLen()&1^1]
			m.PktMbufReset()
			if m.PktMbufAppend(other) != nil {
				return 0
			}
		}
		return int(pid.TxBurst(0, in[:n]))
	})

	port, err := godpdk.Port(pid, 1, pool)
	require.NoError(b, err)
	defer port.Close()
	q, batch := port.Queue(0), dataplane.NewBatch()
	loop("work=forward/by=fastsyn", func() int {
		for i := range q.Rx(batch) {
			forward(batch.Data[i])
			batch.Verdict[i] = dataplane.Reply
		}
		return q.Settle(batch)
	})
	loop("work=answer/by=fastsyn", func() int {
		for i := range q.Rx(batch) {
			other := answers[len(batch.Data[i])&1^1]
			batch.Data[i] = append(batch.Data[i][:0], other...)
			batch.Verdict[i] = dataplane.Reply
		}
		return q.Settle(batch)
	})
}
