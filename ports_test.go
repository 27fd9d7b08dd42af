package fastsyn

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

func testPorts(t *testing.T, queues int) *sourcePorts {
	t.Helper()
	info := dataplane.Info{Name: "test", Queues: queues, RSSKey: rss.DefaultKey[:]}
	reta, err := rss.NewRETA(128, queues)
	require.NoError(t, err)
	info.RETA = reta
	s, err := newSourcePorts(info)
	require.NoError(t, err)
	return s
}

var (
	dest4 = destination{remote: wire.Addr4(0xc0000201), local: wire.Addr4(0xc0000202), port: 80}
	dest6 = destination{remote: wire.Addr{Hi: 0x20010db8 << 32, Lo: 1}, local: wire.Addr{Hi: 0x20010db8 << 32, Lo: 2}, port: 80}
)

// All ports of the range are there, each on one queue, and it is the one to which the
// device brings the replies.
func TestRSS_007_SourcePortsOfEachQueue(t *testing.T) {
	for _, d := range []destination{dest4, dest6} {
		for _, queues := range []int{1, 2, 3, 8} {
			s := testPorts(t, queues)
			hash := rss.New(rss.DefaultKey)
			reta, err := rss.NewRETA(128, queues)
			require.NoError(t, err)
			seen := map[uint16]bool{}
			for q := range queues {
				walk := s.walk(d, q)
				for port, ok := walk.Next(); ok; port, ok = walk.Next() {
					require.False(t, seen[port], port)
					seen[port] = true
					require.GreaterOrEqual(t, port, uint16(firstEphemeral))
					require.LessOrEqual(t, port, uint16(lastEphemeral))
					var h uint32
					if d.remote.Is4() {
						h = hash.Hash4(d.remote.V4(), d.local.V4(), d.port, port)
					} else {
						h = hash.Hash6(d.remote.Hi, d.remote.Lo, d.local.Hi, d.local.Lo, d.port, port)
					}
					require.EqualValues(t, q, reta.Queue(h))
				}
			}
			require.Len(t, seen, lastEphemeral-firstEphemeral+1)
		}
	}
}

// One dial begins behind the other, and no destination tells where another is.
func TestTWT_009_SourcePortOrder(t *testing.T) {
	s := testPorts(t, 1)
	first := func(d destination) uint16 {
		walk := s.walk(d, 0)
		port, ok := walk.Next()
		require.True(t, ok)
		return port
	}
	seen := map[uint16]int{}
	for i := range 200 { // other destinations may share the counter: then it only jumps
		d := dest4
		d.port = uint16(1000 + i)
		seen[first(d)]++
	}
	require.Greater(t, len(seen), 180, "destinations begin at ports that have nothing to do with each other")
	ports := map[uint16]bool{}
	for range 500 {
		p := first(dest4)
		require.False(t, ports[p], "a port comes again only after a lap")
		ports[p] = true
	}
	other := testPorts(t, 1)
	same := 0
	for i := range 20 {
		d := dest4
		d.port = uint16(i + 1)
		walk, again := s.walk(d, 0), other.walk(d, 0)
		a, _ := walk.Next()
		b, _ := again.Next()
		if a == b {
			same++
		}
	}
	require.Less(t, same, 3, "another endpoint has other keys")
}

// A driver that does not say which queue replies come to is not guessed at.
func TestSourcePortsUnknownSpread(t *testing.T) {
	_, err := newSourcePorts(dataplane.Info{Name: "eth0", Queues: 2})
	require.ErrorContains(t, err, "eth0")
	require.ErrorContains(t, err, "one queue")
	_, err = newSourcePorts(dataplane.Info{Name: "eth0", Queues: 2, RETA: []uint16{0, 1}, RSSKey: []byte{1}})
	require.ErrorContains(t, err, "eth0")
	_, err = newSourcePorts(dataplane.Info{Name: "eth0", Queues: 1})
	require.NoError(t, err)
}
