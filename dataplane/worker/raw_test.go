package worker

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// hearer is a Raw that keeps what it hears.
type hearer struct{ ports []uint16 }

func (h *hearer) Receive(_ int64, segs []*wire.Segment) {
	for _, s := range segs {
		h.ports = append(h.ports, s.RemotePort)
	}
}
func (h *hearer) Want(int64) (int, int64)      { return 0, Never }
func (h *hearer) Send(int64, *dataplane.Batch) {}

// A Raw that shares the queue gets the segments to its own addresses, and the engine the others: in one burst,
// each in order, and each answer over the frame that it answers.
func TestRawShares(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs netip.Prefix
		raw   bool // our one address is among them
	}{
		{"all", netip.Prefix{}, true},
		{"exact", netip.PrefixFrom(own4.Netip(), 32), true},
		{"within", netip.PrefixFrom(own4.Netip(), 8), true},
		{"every IPv4", netip.MustParsePrefix("0.0.0.0/0"), true},
		{"beside", netip.PrefixFrom(own4.Netip().Next(), 32), false},
		{"IPv6 only", netip.MustParsePrefix("::/96"), false},
		{"another IPv6", netip.MustParsePrefix("2001:db8:1::/48"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &hearer{}
			r := newRigOn(t, dptest.PortConfig{}, Config{Engine: handshake.Config{MaxFlows: 64}, Raw: h, RawAddrs: c.addrs})
			app, err := r.AddApp(Callbacks{Bare: true})
			require.NoError(t, err)
			require.NoError(t, r.Listen(wire.Addr{}, 80, app))
			s := syn(own4, peer4, 80)
			s.RemotePort = 4321
			out := r.send(t, tcpFrame(r, s, 0))
			if c.raw {
				require.Empty(t, out)
				require.Equal(t, []uint16{4321}, h.ports)
				require.Zero(t, r.Engine().Segments)
			} else {
				require.Len(t, out, 1)
				require.Empty(t, h.ports)
				require.EqualValues(t, 1, r.Engine().Segments)
			}
			st := r.Snapshot()
			require.Empty(t, st.Check())
			require.EqualValues(t, 1, st.Segments)
		})
	}
}
