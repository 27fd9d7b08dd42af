//go:build linux

package dptest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func ifaces(t testing.TB, in func(testing.TB, func())) map[string]net.Interface {
	m := map[string]net.Interface{}
	in(t, func() {
		list, err := net.Interfaces()
		require.NoError(t, err)
		for _, i := range list {
			m[i.Name] = i
		}
	})
	return m
}

func addrs(t testing.TB, in func(testing.TB, func()), name string) (s []string) {
	in(t, func() {
		i, err := net.InterfaceByName(name)
		require.NoError(t, err)
		list, err := i.Addrs()
		require.NoError(t, err)
		for _, a := range list {
			s = append(s, a.String())
		}
	})
	return s
}

func TestNET_013_LabHasNoAddressOnOurSide(t *testing.T) {
	l := NewLab(t, LabQueues(2), LabMTU(1400), LabSysctl("net.ipv4.tcp_syncookies", "2"))
	ours, peers := ifaces(t, l.InNS), ifaces(t, l.InPeerNS)
	require.Equal(t, l.MAC, ours[l.If].HardwareAddr)
	require.Equal(t, l.PeerMAC, peers[l.PeerIf].HardwareAddr)
	require.Equal(t, 1400, ours[l.If].MTU)
	require.Equal(t, 1400, peers[l.PeerIf].MTU)
	for _, i := range []net.Interface{ours[l.If], ours["lo"], peers[l.PeerIf], peers["lo"]} {
		require.NotZero(t, i.Flags&net.FlagUp, i.Name)
	}
	require.Empty(t, addrs(t, l.InNS, l.If))
	require.Subset(t, addrs(t, l.InPeerNS, l.PeerIf), []string{l.PeerAddr4.String(), l.PeerAddr6.String()})
	require.NotContains(t, l.Exec(t, l.PeerNS, "ip", "-6", "addr"), "tentative", "no DAD")
	require.Equal(t, "2\n", l.Exec(t, l.PeerNS, "cat", "/proc/sys/net/ipv4/tcp_syncookies"))
	for ns, dev := range map[string]string{l.NS: l.If, l.PeerNS: l.PeerIf} {
		queues := l.Exec(t, ns, "ls", "/sys/class/net/"+dev+"/queues")
		require.ElementsMatch(t, []string{"rx-0", "rx-1", "tx-0", "tx-1"}, strings.Fields(queues))
	}
	_, err := l.Try(l.PeerNS, "false")
	require.Error(t, err)
}

func TestNET_014_LabOffloads(t *testing.T) {
	Need(t, "netns", "ethtool")
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprintf("offloads=%t", on), func(t *testing.T) {
			l := NewLab(t, LabOffloads(on))
			for ns, dev := range map[string]string{l.NS: l.If, l.PeerNS: l.PeerIf} {
				out := l.Exec(t, ns, "ethtool", "-k", dev)
				state := map[bool]string{false: "off", true: "on"}[on]
				for _, f := range []string{"tx-checksumming", "tx-tcp-segmentation", "tx-tcp6-segmentation", "generic-segmentation-offload"} {
					require.Contains(t, out, f+": "+state, dev)
				}
			}
		})
	}
}

func TestLabProcesses(t *testing.T) {
	l := NewLab(t)
	p := l.Start(t, l.PeerNS, "sh", "-c", "echo ready; sleep 1000")
	p.WaitFor(t, "ready", time.Minute)
	p.Stop()
	p.Stop()
	require.Error(t, p.Wait())
	require.Equal(t, "ready\n", p.Output())

	// It really runs there.
	require.Contains(t, l.Exec(t, l.PeerNS, "ip", "-br", "link"), l.PeerIf)

	q := l.Start(t, l.NS, "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")
	q.WaitFor(t, "up", time.Minute)
	require.NoError(t, q.Signal(unix.SIGTERM))
	q.WaitFor(t, "bye", time.Minute)
	require.NoError(t, q.Wait())

	r := record(func(t testing.TB) { l.Start(t, l.NS, "echo", "something").WaitFor(t, "else", time.Minute) })
	require.True(t, r.failed)
	require.Contains(t, r.text, `without writing "else"`)
	r = record(func(t testing.TB) { l.Exec(t, l.NS, "sh", "-c", "echo oops; exit 3") })
	require.True(t, r.failed)
	require.Contains(t, r.text, "oops")
}

func TestInNS(t *testing.T) {
	l := NewLab(t)
	outside := netnsInode(t)
	var inside uint64
	l.InNS(t, func() { inside = netnsInode(t) })
	require.NotEqual(t, outside, inside)
	require.Equal(t, outside, netnsInode(t))

	// Threads that were inside serve others again, in the right place.
	for range 50 {
		InNetNS(t, l.PeerNS, func() {})
		done := make(chan uint64)
		go func() { done <- netnsInode(t) }()
		require.Equal(t, outside, <-done)
	}

	require.PanicsWithValue(t, "boom", func() { l.InNS(t, func() { panic("boom") }) })
	r := record(func(t testing.TB) { l.InNS(t, func() { t.Fatal("from inside") }); t.Logf("not reached") })
	require.True(t, r.failed)
	require.Equal(t, "from inside\n", r.text)
	r = record(func(t testing.TB) { l.InNS(t, func() { t.Skipf("not today") }) })
	require.True(t, r.skipped)
	require.False(t, r.failed)
	r = record(func(t testing.TB) { InNetNS(t, "fs-none", func() {}) })
	require.Contains(t, r.text, "opening namespace fs-none")
}

func netnsInode(t testing.TB) uint64 {
	var st unix.Stat_t
	require.NoError(t, unix.Stat("/proc/thread-self/ns/net", &st))
	return st.Ino
}

// nsDir is where ip netns has its namespaces.
const nsDir = "/run/netns"

func TestLabIsRemoved(t *testing.T) {
	Need(t, "netns")
	exists := func(ns string) bool {
		_, err := os.Stat(filepath.Join(nsDir, ns))
		return !errors.Is(err, os.ErrNotExist)
	}
	var l *Lab
	r := record(func(t testing.TB) {
		l = NewLab(t)
		l.Start(t, l.NS, "sleep", "1000")
		t.Fatal("the test fails")
	})
	require.True(t, r.failed)
	require.False(t, exists(l.NS))
	require.False(t, exists(l.PeerNS))

	// Also when it could not be finished.
	r = record(func(t testing.TB) { NewLab(t, LabSysctl("net.no.such", "1")) })
	require.True(t, r.failed)
	require.Contains(t, r.text, "sysctl net.no.such=1")
	require.NotContains(t, r.text, "netlab: ip ")
	names, err := filepath.Glob(filepath.Join(nsDir, fmt.Sprintf("fs-%d-*", os.Getpid())))
	require.NoError(t, err)
	require.Empty(t, names)

	r = record(func(t testing.TB) { NewLab(t, LabQueues(65)) })
	require.Contains(t, r.text, "want 1 to 64")
	r = record(func(t testing.TB) { NewLab(t, LabMTU(100)) })
	require.Contains(t, r.text, "MTU 100")
}
