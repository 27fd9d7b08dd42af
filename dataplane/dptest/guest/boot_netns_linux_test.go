package guest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// A guest with a NIC for its own kernel: everything but DPDK.
func TestGuest_Boots(t *testing.T) {
	dptest.Need(t, Needs...)
	lab := dptest.NewTapLab(t, dptest.LabQueues(2))
	var m Image
	m.File("/etc/motto", 0o644, []byte("three-way"))
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	require.NoError(t, m.Program("/opt/sh", sh)) // one with shared libraries
	start := time.Now()
	g := Boot(t, lab, Config{Image: &m, NIC: "virtio-net-pci,mq=on,vectors=6", HugePages: 8})
	t.Logf("booted in %v", time.Since(start))

	r := g.Run(t, "echo out; echo err >&2; exit 7")
	require.Equal(t, Result{7, "out\n", "err\n"}, r)
	require.Equal(t, "three-way", string(g.ReadFile(t, "/etc/motto")))
	require.Equal(t, "42\n", g.Must(t, "/opt/sh -c 'echo $((6*7))'"))
	big := g.Must(t, "head -c 100000 /bin/busybox")
	path, err := dptest.LookTool("busybox")
	require.NoError(t, err)
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, string(want[:100000]) == big, "%d bytes came back, not those that are there", len(big))
	require.Contains(t, g.Must(t, "cat /proc/meminfo"), "HugePages_Free:        8")

	j := g.Start(t, `sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do usleep 10000; done'`)
	j.WaitFor(t, "up", time.Minute)
	j.Signal(t, "TERM")
	require.Equal(t, Result{5, "up\nbye\n", ""}, j.Wait(t))

	// The wire.
	g.Must(t, "ip link set eth0 up && ip addr add "+lab.Addr4.String()+" dev eth0 && ping -c 1 -W 20 "+lab.PeerAddr4.Addr().String())
	queues := g.Must(t, "ls -d /sys/class/net/eth0/queues/rx-* | wc -l")
	require.Equal(t, "2", strings.TrimSpace(queues))
	require.Equal(t, lab.MAC.String(), strings.TrimSpace(g.Must(t, "cat /sys/class/net/eth0/address")))
}
