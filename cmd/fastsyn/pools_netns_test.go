//go:build linux

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Connections from pools of millions of addresses, IPv4 and IPv6, to a kernel that routes them back: the four
// quarters of each pool have their share by the peer's count, all ports are those asked for, and a
// flood invents its sources in all of the pools.
func TestTruth_Pools(t *testing.T) {
	interop(t, "nft")
	const n = 4000
	for _, tc := range []struct {
		name, proto, pool, gateway, to string
		quarters                       [4]string
	}{
		{"v4", "ip", "10.128.0.0/10", "10.71.0.1", "10.71.0.2:80", [4]string{"10.128.0.0/12", "10.144.0.0/12", "10.160.0.0/12", "10.176.0.0/12"}},
		// Of a /64 the first 2^48 addresses are used.
		{
			"v6", "ip6", "fd64::/64", "fd71::1", "[fd71::2]:80",
			[4]string{"fd64::/82", "fd64::4000:0:0/82", "fd64::8000:0:0/82", "fd64::c000:0:0/82"},
		},
	} {
		for _, scenario := range []string{"handshake", "syn-flood"} {
			t.Run(tc.name+"/"+scenario, func(t *testing.T) {
				lab := dptest.NewLab(t)
				acceptLoop(t, lab, ":80")
				lab.Exec(t, lab.PeerNS, "ip", "route", "add", tc.pool, "via", tc.gateway, "dev", lab.PeerIf)
				list := []string{countSYNs, `tcp flags & (syn|ack) == syn tcp sport != { 4000, 5000-5999 } counter comment "otherports"`}
				for i, q := range tc.quarters {
					list = append(list, `tcp flags & (syn|ack) == syn `+tc.proto+` saddr `+q+` counter comment "quarter`+string(rune('0'+i))+`"`)
				}
				rules(t, lab, list...)
				r := truth(t, lab, "", "--addr", lab.Addr6.String(), "--pool", tc.pool, "--ports", "4000,5000-5999", "--scenario", scenario,
					"--connect", tc.to, "--load", "2k/2s", "--concurrency", "4000", "--initial-rto", "1m", "--drain", "30s")
				require.EqualValues(t, n, r.Intended)
				sent := r.Handshakes.Attempted + r.SYNFlood.Sent
				require.Equal(t, r.Handshakes.Attempted, r.Handshakes.Established)
				require.Equal(t, sent, counted(t, lab, "syns"))
				require.Zero(t, counted(t, lab, "otherports"))
				for i := range tc.quarters {
					share := float64(counted(t, lab, "quarter"+string(rune('0'+i)))) / float64(sent)
					require.InDelta(t, 0.25, share, sixSigma(0.25, sent), "quarter %d", i)
				}
			})
		}
	}
}
