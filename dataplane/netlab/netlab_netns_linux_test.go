package netlab_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// staleNS makes a namespace whose owner has ended.
func staleNS(t *testing.T) string {
	t.Helper()
	c := exec.Command("true")
	require.NoError(t, c.Run())
	stale := fmt.Sprintf("%s%d-1-a", netlab.Prefix, c.Process.Pid)
	require.NoError(t, netlab.RunIP("netns", "add", stale))
	t.Cleanup(func() { _ = netlab.RemoveNS(stale) })
	return filepath.Join(netlab.Dir, stale)
}

func TestStaleNamespacesAreRemoved(t *testing.T) {
	dptest.Need(t, "netns")
	stale := staleNS(t)
	l, err := netlab.New(netlab.Config{})
	require.NoError(t, err)
	require.NoFileExists(t, stale)
	require.NoError(t, l.Close())
	require.NoFileExists(t, filepath.Join(netlab.Dir, l.NS))
	require.NoError(t, l.Close(), "twice is fine")

	stale = staleNS(t)
	require.NoError(t, netlab.RemoveStale())
	require.NoFileExists(t, stale)
}

// A process that is started in a namespace is there, and what is written below /proc/sys too.
func TestDoAndSysctl(t *testing.T) {
	dptest.Need(t, "netns")
	l, err := netlab.New(netlab.Config{Sysctls: [][2]string{{"net.ipv4.tcp_syncookies", "2"}}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	require.NoError(t, l.Sysctl(l.PeerNS, "net.ipv4.tcp_ecn", "1"))
	require.NoError(t, netlab.Do(l.PeerNS, func() {
		out, err := exec.Command("cat", "/proc/net/dev", "/proc/sys/net/ipv4/tcp_syncookies", "/proc/sys/net/ipv4/tcp_ecn").CombinedOutput()
		require.NoError(t, err)
		require.Contains(t, string(out), l.PeerIf+":")
		require.True(t, strings.HasSuffix(string(out), "\n2\n1\n"), "%s", out)
	}))
	require.ErrorContains(t, l.Sysctl(l.PeerNS, "net.no.such", "1"), "net.no.such=1")
	require.ErrorContains(t, netlab.Do("fs-none", func() {}), "opening namespace fs-none")
}

func TestConfigErrors(t *testing.T) {
	for want, c := range map[string]netlab.Config{
		"want 1 to 64":       {Queues: 65},
		"MTU 100: want 1280": {MTU: 100},
	} {
		_, err := netlab.New(c)
		require.ErrorContains(t, err, want)
	}
}

func TestOwnerOf(t *testing.T) {
	for name, want := range map[string]int{
		"fs-123-4-a": 123, "fs-123-4-b": 123, "fs-123-4-c": 0, "fs-123-a": 0, "fs-x-1-a": 0, "fs-1-x-a": 0,
		"fs--1-2-a": 0, "other": 0, "fs-0-1-a": 0, "": 0, "fs-1-2-a-b": 0,
	} {
		pid, ok := netlab.OwnerOf(name)
		if !ok {
			pid = 0
		}
		require.Equal(t, want, pid, name)
	}
}

func TestLookTool(t *testing.T) {
	_, err := netlab.LookTool("no-such-program-of-any-kind")
	require.ErrorContains(t, err, "program no-such-program-of-any-kind: ")
	if os.Getenv("PATH") != "" {
		t.Setenv("PATH", t.TempDir())
	}
	_, err = netlab.LookTool("no-such-program-of-any-kind")
	require.Error(t, err)
}
