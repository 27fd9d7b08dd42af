//go:build dpdk

package godpdk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/yerden/go-dpdk/eal"
	"github.com/yerden/go-dpdk/ethdev"
	"github.com/yerden/go-dpdk/mempool"

	"github.com/fastsyn/fastsyn/dataplane/dpdk/godpdk"
)

// The EAL starts once in a process, and go-dpdk attaches devices only then: all
// devices of the tests. It needs neither huge pages nor privileges.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "godpdk")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// DPDK leaves an empty directory of the prefix here, or, run by root, there.
	os.Setenv("XDG_RUNTIME_DIR", dir)
	defer os.Remove(filepath.Join("/var/run/dpdk", filepath.Base(dir)))
	args := []string{
		"godpdk.test", "--lcores=0@0", "--no-huge", "-m", "512", "--no-pci", "--no-telemetry", "--no-shconf",
		"--file-prefix=" + filepath.Base(dir), "--log-level=lib.ethdev:critical",
		"--vdev=net_ring0", "--vdev=net_ring1", // each gets what it sends
	}
	// Within a process a socket is either listened to or connected to, so memif
	// takes a second spelling of the name for a second socket.
	for _, n := range []string{"one", "two"} {
		args = append(args,
			fmt.Sprintf("--vdev=net_memif_%s_server,role=server,mac=02:00:00:00:00:01,socket-abstract=no,socket=%s/%s", n, dir, n),
			fmt.Sprintf("--vdev=net_memif_%s_client,role=client,mac=02:00:00:00:00:02,socket-abstract=no,socket=%s/./%s", n, dir, n))
	}
	if _, err := eal.Init(args); err != nil {
		fmt.Fprintln(os.Stderr, "starting the EAL:", err)
		return 1
	}
	defer eal.Cleanup()
	defer eal.StopLcores()
	return m.Run()
}

// named returns the port of a virtual device.
func named(t testing.TB, name string) ethdev.Port {
	t.Helper()
	for _, pid := range ethdev.ValidPorts() {
		n, err := pid.Name()
		require.NoError(t, err)
		if n == name {
			return pid
		}
	}
	t.Fatalf("no device is called %q", name)
	return 0
}

// newPools makes pools of frames, which must all be at home when the test ends. One for each
// queue that is polled on a thread of its own; see the package about the operations.
func newPools(t testing.TB, n int) []*mempool.Mempool {
	t.Helper()
	var out []*mempool.Mempool
	for range n {
		made++
		m, err := mempool.CreateMbufPool(fmt.Sprint("pool", made), 4095, godpdk.RoomSize, mempool.OptCacheSize(128), mempool.OptOpsName("ring_mt_rts"))
		require.NoError(t, err)
		t.Cleanup(func() {
			require.Zero(t, m.InUseCount(), "frames not at home")
			m.Free()
		})
		out = append(out, m)
	}
	return out
}

var made int // pools, for their names

// configure sets a port up with a queue for each pool, as a program that uses go-dpdk
// does, without starting it.
func configure(t testing.TB, pid ethdev.Port, pools ...*mempool.Mempool) {
	t.Helper()
	n := uint16(len(pools))
	require.NoError(t, pid.DevConfigure(n, n))
	for q, pool := range pools {
		require.NoError(t, pid.RxqSetup(uint16(q), 512, pool))
		require.NoError(t, pid.TxqSetup(uint16(q), 512))
	}
}

// start starts a port and stops it when the test ends.
func start(t testing.TB, pid ethdev.Port) {
	t.Helper()
	require.NoError(t, pid.Start())
	t.Cleanup(pid.Stop)
}
