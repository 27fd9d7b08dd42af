package worker

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestVAL_015_Net(t *testing.T) {
	n, err := NewNet(macA, prefixes("10.0.0.2/24", "2001:db8::2/64"), prefixes("198.18.0.0/16"),
		[]netip.Addr{netip.MustParseAddr("10.0.0.254"), netip.MustParseAddr("2001:db8::fe")})
	require.NoError(t, err)
	addr := func(s string) wire.Addr { return wire.AddrFrom(netip.MustParseAddr(s)) }
	for s, own := range map[string]bool{
		"10.0.0.2": true, "10.0.0.3": false, "2001:db8::2": true, "2001:db8::3": false,
		"198.18.0.0": true, "198.18.255.255": true, "198.19.0.0": false, "::ffff:a00:2": true,
	} {
		require.Equal(t, own, n.Owns(addr(s)), s)
	}
	for s, hop := range map[string]string{
		"10.0.0.9": "10.0.0.9", "192.0.2.1": "10.0.0.254", "2001:db8::9": "2001:db8::9", "2001:db9::": "2001:db8::fe",
	} {
		got, ok := n.NextHop(addr(s))
		require.True(t, ok, s)
		require.Equal(t, addr(hop), got, s)
	}
	for _, s := range []string{"10.0.0.0", "10.0.0.255"} {
		require.True(t, n.badSource(addr(s)), s)
	}
	require.False(t, n.badSource(addr("10.0.0.9")))
	src, ok := n.Source(addr("2001:db8::9"))
	require.True(t, ok)
	require.Equal(t, addr("2001:db8::2"), src)
}

func TestNetErrors(t *testing.T) {
	gw := func(s string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(s)} }
	for _, tc := range []struct {
		name         string
		addrs, pools []netip.Prefix
		gws          []netip.Addr
		want         string
	}{
		{"none", nil, nil, nil, "no address"},
		{"multicast", prefixes("224.0.0.1/24"), nil, nil, "unicast"},
		{"loopback", prefixes("127.0.0.1/8"), nil, nil, "unicast"},
		{"network address", prefixes("10.0.0.0/24"), nil, nil, "host address"},
		{"broadcast address", prefixes("10.0.0.255/24"), nil, nil, "host address"},
		{"far gateway", prefixes("10.0.0.2/24"), nil, gw("10.0.1.1"), "none of the local prefixes"},
		{"two gateways", prefixes("10.0.0.2/24"), nil, append(gw("10.0.0.1"), gw("10.0.0.3")...), "only one gateway"},
		{"bad pool", prefixes("10.0.0.2/24"), prefixes("224.0.0.0/8"), nil, "pool"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewNet(macA, tc.addrs, tc.pools, tc.gws)
			require.ErrorContains(t, err, tc.want)
		})
	}
}
