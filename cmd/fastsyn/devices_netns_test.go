//go:build linux

package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/devices"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Two ends of a veth, as the kernel makes them.
func TestDevicesOfALab(t *testing.T) {
	interop(t, "ethtool")
	lab := dptest.NewLab(t, dptest.LabQueues(3), dptest.LabMTU(1400))
	lab.Exec(t, lab.PeerNS, "ip", "route", "add", "default", "via", lab.Addr4.Addr().String())
	lab.Exec(t, lab.PeerNS, "ethtool", "-K", lab.PeerIf, "gro", "on", "tso", "off")
	list := func(ns string) map[string]devices.Interface {
		var r devices.Report
		require.NoError(t, json.Unmarshal([]byte(lab.Exec(t, ns, command(t), "devices", "--json")), &r))
		m := map[string]devices.Interface{}
		for _, i := range r.Interfaces {
			m[i.Name] = i
		}
		return m
	}
	ours := list(lab.NS)
	require.NotContains(t, ours, lab.PeerIf, "of another namespace")
	i := ours[lab.If]
	require.Equal(t, "veth", i.Driver)
	require.Equal(t, lab.MAC.String(), i.MAC)
	require.Equal(t, 1400, i.MTU)
	require.Equal(t, "up", i.State)
	require.Equal(t, 10000, i.LinkMbps)
	require.Equal(t, -1, i.NUMA)
	require.Equal(t, 3, i.Queues.Rx)
	require.Equal(t, 3, i.Queues.Tx)
	require.Nil(t, i.RSS)
	require.False(t, i.Physical)
	require.False(t, i.DefaultRoute)
	require.Empty(t, i.Notes)
	require.Regexp(t, `^afpacket:fs0\?queues=[123]$`, i.Port)
	require.False(t, offload(t, i, "tx checksum").On, "the lab switches it off")

	i = list(lab.PeerNS)[lab.PeerIf]
	require.True(t, i.DefaultRoute)
	require.Contains(t, i.Addrs, lab.PeerAddr4)
	require.Contains(t, i.Addrs, lab.PeerAddr6)
	require.NotEmpty(t, i.Notes)
	require.True(t, offload(t, i, "GRO").On)
	require.False(t, offload(t, i, "TSO").On)
	require.False(t, offload(t, i, "TSO").Fixed)

	// The port string works.
	lab.Exec(t, lab.NS, "ip", "link", "set", lab.If, "down")
	i = list(lab.NS)[lab.If]
	require.Equal(t, "down", i.State)
	require.Len(t, i.Notes, 1)
	require.Contains(t, i.Notes[0], "ip link set fs0 up")
	lab.Exec(t, lab.NS, "ip", "link", "set", lab.If, "up")
	serve(t, lab, i.Port).stop(t)
}

func offload(t *testing.T, i devices.Interface, name string) devices.Offload {
	t.Helper()
	for _, o := range i.Offloads {
		if o.Name == name {
			return o
		}
	}
	require.Fail(t, "no offload", "%s in %+v", name, i.Offloads)
	return devices.Offload{}
}
