//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// The neighbour entry of the peer's kernel for an address.
func neighbor(t *testing.T, lab *dptest.Lab, a netip.Addr) string {
	return lab.Exec(t, lab.PeerNS, "ip", "neigh", "show", a.String(), "dev", lab.PeerIf)
}

// A kernel finds us by ARP and by neighbour solicitation, and its pings come back.
func TestNET_001_007_012_KernelPeer(t *testing.T) {
	interop(t, "ping")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "")
	for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
		require.Empty(t, neighbor(t, lab, to.Addr()))
		out := lab.Exec(t, lab.PeerNS, "ping", "-n", "-c", "3", "-i", "0.01", "-W", "20", to.Addr().String())
		require.Contains(t, out, "3 received", out)
		require.Contains(t, neighbor(t, lab, to.Addr()), "lladdr "+lab.MAC.String())
		require.NotContains(t, neighbor(t, lab, to.Addr()), "FAILED")
	}
	// Nobody else is claimed.
	for _, other := range []string{"10.71.0.77", "fd71::77"} {
		out, err := lab.Try(lab.PeerNS, "ping", "-n", "-c", "1", "-W", "1", other)
		require.Error(t, err, out)
	}
	s.stop(t)
}

// The kernel at the other end has our address: we say so and do not start.
func TestNET_007_AddressTakenByKernel(t *testing.T) {
	interop(t)
	for i := range 2 {
		lab := dptest.NewLab(t)
		addr := []netip.Prefix{lab.Addr4, lab.Addr6}[i]
		take := []string{"ip", "addr", "add", addr.String(), "dev", lab.PeerIf}
		if addr.Addr().Is6() {
			take = append(take, "nodad")
		}
		lab.Exec(t, lab.PeerNS, take...)
		out, err := lab.Try(lab.NS, command(t), "serve", "--port", portOf(t, lab, 1), "--addr", addr.String(), "--listen", ":80", "--dad", "20s")
		require.Error(t, err, out)
		require.Contains(t, out, addr.Addr().String()+": address in use by another host on the link: "+lab.PeerMAC.String()+" has it", out)
	}
}

// The kernel at the other end wants our address: it finds it taken.
func TestNET_007_KernelDetectsDuplicate(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	s := serve(t, lab, "")
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv6.conf."+lab.PeerIf+".accept_dad=1")
	lab.Exec(t, lab.PeerNS, "ip", "addr", "add", lab.Addr6.String(), "dev", lab.PeerIf)
	require.Eventually(t, func() bool {
		out := lab.Exec(t, lab.PeerNS, "ip", "addr", "show", "dev", lab.PeerIf, "dadfailed")
		return out != ""
	}, patience, 50*time.Millisecond)
	s.stop(t)
}

// The kernel on our side has our address, on whatever interface: it would reset
// every connection, so we do not start.
func TestNET_013_AddressOfOwnKernel(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	port := portOf(t, lab, 1)
	for _, tc := range []struct {
		dev, has string
		args     []string
	}{
		{lab.If, "10.71.0.1/24", []string{"serve", "--addr", "10.71.0.1/24", "--listen", ":80"}},
		{"lo", "10.71.0.1/32", []string{"serve", "--addr", "10.71.0.1/24", "--listen", ":80"}},
		{"lo", "fd71::1/128", []string{"serve", "--addr", "fd71::1/64", "--listen", ":80"}},
		{"lo", "198.18.7.7/32", []string{"bench", "--addr", "10.71.0.1/24", "--pool", "198.18.0.0/16", "--connect", "10.71.0.2:80", "--count", "1"}},
	} {
		lab.Exec(t, lab.NS, "ip", "addr", "add", tc.has, "dev", tc.dev)
		out, err := lab.Try(lab.NS, append([]string{command(t), tc.args[0], "--port", port}, tc.args[1:]...)...)
		require.Error(t, err, out)
		require.Contains(t, out, "the kernel has this address too", out)
		require.Contains(t, out, fmt.Sprintf("ip addr del %s dev %s", tc.has, tc.dev), out)
		lab.Exec(t, lab.NS, "ip", "addr", "del", tc.has, "dev", tc.dev)
	}
	lab.Exec(t, lab.NS, "ip", "addr", "add", "10.71.0.9/24", "dev", lab.If) // another one is nobody's concern
	s := serve(t, lab, "")
	s.stop(t)
}

// A switch that snoops passes the groups of neighbour solicitations only to who
// listens: here a bridge of the kernel's, whose own stack is the peer.
func TestNET_007_SnoopingSwitch(t *testing.T) {
	interop(t, "ping")
	lab := dptest.NewLab(t)
	in := func(cmd string) { lab.Exec(t, lab.PeerNS, "sh", "-ec", cmd) }
	in("ip link add br0 type bridge mcast_snooping 1 mcast_querier 1 mcast_query_response_interval 10 forward_delay 0 && " +
		"sysctl -q net.ipv6.conf.br0.accept_dad=0 && ip addr flush dev " + lab.PeerIf + " && ip link set " + lab.PeerIf + " master br0 && " +
		"ip link set br0 up && ip addr add " + lab.PeerAddr6.String() + " dev br0 nodad")
	s := serve(t, lab, "")
	group := "ff02::1:ff00:1"
	require.Eventually(t, func() bool {
		return strings.Contains(lab.Exec(t, lab.PeerNS, "bridge", "mdb", "show", "dev", "br0"), "port "+lab.PeerIf+" grp "+group)
	}, patience, 50*time.Millisecond)
	lab.Exec(t, lab.PeerNS, "ping", "-n", "-c", "1", "-w", "20", lab.Addr6.Addr().String())
	s.stop(t)
}
