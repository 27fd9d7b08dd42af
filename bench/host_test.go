package bench

import (
	"bytes"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/internal/sysfs"
)

func TestHostLook(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	const cpu = "sys/devices/system/cpu/"
	tree := fstest.MapFS{
		cpu + "cpu0/cpufreq/scaling_governor": file("performance"),
		cpu + "cpu1/cpufreq/scaling_governor": file("powersave"),
		cpu + "cpu2/cpufreq/scaling_governor": file("performance"),
		cpu + "cpu3/cpufreq/scaling_governor": file("ondemand"), // not ours
		cpu + "isolated":                      file("2-3"),
		cpu + "nohz_full":                     file("(null)"),
		cpu + "vulnerabilities/meltdown":      file("Not affected"),
		cpu + "vulnerabilities/spectre_v2":    file("Mitigation: Retpolines"),
		cpu + "vulnerabilities/mds":           file("Vulnerable: no microcode"),
		"proc/cpuinfo":                        file("flags\t: fpu aes hypervisor"),
		"sys/class/dmi/id/sys_vendor":         file("QEMU"),
		"sys/class/dmi/id/product_name":       file("Standard PC"),
	}
	h := Host{CPU: "C", Cores: 3, Kernel: "K", Go: "G"}
	h.look(sysfs.Tree{FS: tree}, []int{0, 1, 2})
	require.Equal(t, "performance, powersave", h.Governor)
	require.Equal(t, "isolcpus 2-3", h.Isolated)
	require.Equal(t, "QEMU Standard PC", h.Virtual)
	require.Equal(t, map[string]string{"meltdown": "Not affected", "spectre_v2": "Mitigation: Retpolines", "mds": "Vulnerable: no microcode"}, h.Mitigations)
	h.NIC = NIC{Driver: "afpacket", Device: "eth1", Kernel: "mlx5_core", SpeedMbS: 100_000, MTU: 9000, Queues: 4, Offloads: map[string]string{"rx-gro": "on", "rx-lro": "off"}}
	var b bytes.Buffer
	h.text(&b)
	require.Equal(t, `host        C, 3 CPUs, K, G, commit unknown
            governor performance, powersave; CPUs of isolcpus 2-3; guest of QEMU Standard PC; 1 mitigation on, 1 left vulnerable
nic         eth1: mlx5_core, MTU 9000, 4 queues, 100,000 Mbit/s; offloads: rx-gro
`, b.String())

	tree["sys/hypervisor/type"] = file("xen")
	h.look(sysfs.Tree{FS: tree}, nil)
	require.Equal(t, "xen", h.Virtual)
	require.Empty(t, h.Governor)

	bare := Host{CPU: "C", Cores: 1, Kernel: "K", Go: "G", Commit: "abc"}
	bare.look(sysfs.Tree{FS: fstest.MapFS{}}, []int{0})
	b.Reset()
	bare.text(&b)
	require.Equal(t, "host        C, 1 CPU, K, G, commit abc\n", b.String())
	require.Empty(t, bare.Mitigations)
}

func TestNICOfAWire(t *testing.T) {
	p, err := dataplane.Open("impair(loss=1%):loop:" + t.Name() + "?queues=2")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	n := nicOf(p)
	require.Equal(t, "loop", n.Driver)
	require.Equal(t, 2, n.Queues)
	require.NotZero(t, n.MTU)
	require.Empty(t, n.Kernel)
	require.Equal(t, "off", n.Offloads["tx-checksum"])
}
