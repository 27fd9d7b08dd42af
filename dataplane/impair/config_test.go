package impair

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

func TestOpen(t *testing.T) {
	spec := "impair(loss=1%,dup=0.5%,reorder=2%,delay=10ms,jitter=2ms,corrupt=0.1%,seed=7,dir=both,store=64):impair(loss=1):loop:impaired"
	p, err := dataplane.Open(spec)
	require.NoError(t, err)
	require.Equal(t, Config{
		Loss: 0.01, Dup: 0.005, Reorder: 0.02, Delay: 10 * time.Millisecond, Jitter: 2 * time.Millisecond,
		Corrupt: 0.001, Seed: 7, Dir: DirBoth, Store: 64,
	}, func() Config { c := p.(*Port).c; c.Now = nil; return c }())
	r := &rig{T: t, b: dataplane.NewBatch()}
	r.send(p.(*Port).Unwrap().Queue(0), 0, 2)
	require.Equal(t, uint64(2), p.(dataplane.DropReporter).Drops(0)["impair_tx_lost"], "of both decorators")
	require.NoError(t, p.Close())
	p, err = dataplane.Open("loop:impaired") // was closed as well
	require.NoError(t, err)
	require.NoError(t, p.Close())

	for spec, why := range map[string]string{
		"impair(los=1%):loop:x":            `did you mean "loss"?`,
		"impair(jitter=2ms):loop:x":        "at most the delay",
		"impair(delay=2h):loop:x":          "delay",
		"impair(dir=up):loop:x":            "one of tx, rx, both",
		"impair(store=0):loop:x":           "store",
		"impair(pcap=/no/such/d/f):loop:x": "cannot create the capture file",
		"impair(loss=1%):loop:x?queues=x":  "queues",
		"impair(loss=1%):lop:x":            `did you mean "loop"`,
	} {
		_, err := dataplane.Open(spec)
		require.ErrorContains(t, err, why, spec)
	}
	for _, c := range []Config{{Loss: 2}, {Dup: -1}, {Delay: -1}, {Jitter: 1}, {Store: -1}, {Dir: 9}} {
		_, err := New(nil, c)
		require.ErrorContains(t, err, "impair: ")
	}
}
