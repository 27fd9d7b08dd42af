package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/flow"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// While there is no memory for text new SYNs are dropped and counted; flows that there are go
// on, and who asks again when there is some is let in.
func TestFLD_010_SYNsWaitForMemory(t *testing.T) {
	p := newPair(t, handshake.Config{}, nil)
	p.server.cfg.Flow = flow.Config{Memory: 64 * flow.BlockSize}
	got := 0
	app, err := p.server.AddApp(Callbacks{Data: func(_ *Flow, p []byte) { got += len(p) }})
	require.NoError(t, err)
	require.NoError(t, p.server.Listen(wire.Addr{}, 80, app))
	var flows []handshake.FlowID
	client, err := p.client.AddApp(Callbacks{Established: func(f *Flow) { flows = append(flows, f.ID()) }})
	require.NoError(t, err)
	connect := func(port uint16) {
		tup := wire.Tuple{Remote: wire.Addr4(0x0a000001), Local: wire.Addr4(0x0a000002), RemotePort: 80, LocalPort: port}
		_, err := p.client.Connect(&tup, client)
		require.NoError(t, err)
	}
	steps := func(d time.Duration) {
		for end := p.now + int64(d); p.now < end; p.now += int64(d / 100) {
			p.step()
		}
	}
	connect(5000)
	steps(10 * time.Millisecond)
	require.Len(t, flows, 1)

	pool := p.server.streams.Pool()
	var taken []flow.Block
	for pool.Left() > 0 {
		b, ok := pool.Get()
		require.True(t, ok)
		taken = append(taken, b)
	}
	steps(10 * time.Millisecond)
	connect(5001)
	require.Equal(t, 5, p.client.Flow(flows[0]).Write([]byte("hello")))
	steps(10 * time.Millisecond)
	require.Len(t, flows, 1)
	require.Equal(t, 5, got, "text in order needs no memory")
	s := p.server.snapshot()
	require.EqualValues(t, 1, s.SegmentDrops[handshake.DropNoMemory.String()])
	require.Empty(t, s.Check())

	for _, b := range taken {
		pool.Put(b)
	}
	steps(1200 * time.Millisecond) // the SYN comes again after a second
	require.Len(t, flows, 2)
	checkPair(t, p)
}
