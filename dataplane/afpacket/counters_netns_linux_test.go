package afpacket

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Counters are what "ip -s link" says, less what it said when the port was opened, from any namespace.
func TestCountersAreThoseOfTheInterface(t *testing.T) {
	l := newLab(t)
	read := func() map[string]uint64 {
		var links []struct {
			Stats64 map[string]map[string]uint64 `json:"stats64"`
		}
		require.NoError(t, json.Unmarshal([]byte(l.ourIP("-s", "-j", "link", "show", "dev", l.If)), &links))
		m := map[string]uint64{}
		for dir, counters := range links[0].Stats64 {
			for name, n := range counters {
				m[dir+"_"+name] = n
			}
		}
		return m
	}
	peer := l.peer(false)
	send := func(n int) {
		for range n {
			peer.send(ether(ourMAC, peerMAC, 0x88b5, make([]byte, 46)))
		}
	}
	send(3)
	before := read()
	p := l.open(Config{})
	send(5)
	got, after := p.Counters(), read()
	require.GreaterOrEqual(t, got["rx_packets"], uint64(5))
	require.LessOrEqual(t, got["rx_packets"], after["rx_packets"]-before["rx_packets"])
	require.GreaterOrEqual(t, got["rx_bytes"], uint64(5*60))
	require.Len(t, got, len(linkCounters))
	require.GreaterOrEqual(t, before["rx_packets"], uint64(3), "which are not in it")

	require.NoError(t, p.Close())
	require.Empty(t, p.Counters())
}
