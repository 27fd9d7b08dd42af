package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/internal/ethtool"
)

var update = flag.Bool("update", false, "write the golden files")

// lab is a made-up root directory.
type lab struct{ fstest.MapFS }

func (l lab) set(name, text string) lab {
	l.MapFS[name] = &fstest.MapFile{Data: []byte(text)}
	return l
}

func (l lab) link(name, to string) lab {
	l.MapFS[name] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	return l
}

func (l lab) del(prefix string) lab {
	for name := range l.MapFS {
		if strings.HasPrefix(name, prefix) {
			delete(l.MapFS, name)
		}
	}
	return l
}

// plain is a machine of two CPUs with nothing to find.
func plain() lab {
	l := lab{fstest.MapFS{}}
	l.set("proc/cpuinfo", "processor\t: 0\nmodel name\t: Made-Up 9000\nflags\t\t: fpu tsc constant_tsc nonstop_tsc aes avx avx2 pclmulqdq gfni vaes avx512f avx512bw avx512vl avx512vbmi\n\nprocessor\t: 1\nmodel name\t: other\n")
	l.set("sys/devices/system/cpu/online", "0-1\n")
	for c := range 2 {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", c)
		l.set(dir+"topology/core_id", fmt.Sprint(c)).set(dir+"topology/physical_package_id", "0").set(dir+"cpufreq/scaling_governor", "performance\n")
	}
	l.set("sys/devices/system/cpu/isolated", "1\n").set("sys/devices/system/cpu/nohz_full", "1\n")
	l.set("sys/devices/system/node/node0/cpulist", "0-1\n")
	l.set("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
	l.set("sys/devices/system/cpu/vulnerabilities/meltdown", "Not affected\n")
	l.set("proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-1\n")
	l.set("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n")
	l.set("proc/self/mountinfo", "40 27 0:40 / /dev/hugepages rw - hugetlbfs hugetlbfs rw,pagesize=2M\n")
	l.set("proc/cmdline", "root=/dev/vda isolcpus=1 nohz_full=1\n")
	l.set("proc/stat", "cpu  1000 0 1000 9000 50 0 0 2 0 0\ncpu0 1 1\n")
	pool := "sys/kernel/mm/hugepages/hugepages-2048kB/"
	l.set(pool+"nr_hugepages", "512").set(pool+"free_hugepages", "512").set(pool+"resv_hugepages", "0").set(pool+"surplus_hugepages", "0")
	l.set("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
	l.set("proc/sys/kernel/osrelease", "6.18.1-test\n")
	l.set("proc/sys/net/core/rmem_max", "212992").set("proc/sys/net/core/wmem_max", "212992")
	l.set("proc/sys/net/core/bpf_jit_enable", "1").set("proc/sys/net/core/netdev_max_backlog", "1000")
	l.set("proc/net/softnet_stat", "00000010 00000000 00000001 0\n")
	l.nic("eth0", "ice", "100000", 2)
	l.set("usr/lib/x86_64-linux-gnu/pkgconfig/libdpdk.pc", "Name: DPDK\nVersion: 22.11.11\n")
	l.set("sys/bus/pci/drivers/vfio-pci/new_id", "").set("sys/bus/pci/drivers/vfio-pci/0000:3b:00.0/x", "")
	l.set("sys/kernel/iommu_groups/0/type", "DMA")
	return l
}

func (l lab) nic(name, driver, speed string, queues int) lab {
	dir := "sys/class/net/" + name + "/"
	l.set(dir+"speed", speed).set(dir+"mtu", "1500").set(dir+"operstate", "up").set(dir+"ifindex", "2").set(dir+"statistics/rx_missed_errors", "0")
	for q := range queues {
		l.set(fmt.Sprintf("%squeues/rx-%d/rps_cpus", dir, q), "0").set(fmt.Sprintf("%squeues/tx-%d/xps_cpus", dir, q), "0")
	}
	l.set(dir+"device/numa_node", "-1")
	l.MapFS["sys/bus/pci/drivers/"+driver+"/bind"] = &fstest.MapFile{}
	return l.link(dir+"device/driver", "../../../../bus/pci/drivers/"+driver)
}

// poor is a machine on which every check has something to say.
func poor() lab {
	l := plain()
	l.set("proc/cpuinfo", "model name\t: Made-Up 1\nflags\t\t: fpu tsc hypervisor\n")
	l.set("sys/devices/system/cpu/online", "0-3\n")
	for c := range 4 {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/", c)
		l.set(dir+"topology/core_id", fmt.Sprint(c/2)).set(dir+"topology/physical_package_id", "0").set(dir+"cpufreq/scaling_governor", []string{"powersave", "performance"}[c%2])
	}
	l.set("sys/devices/system/cpu/intel_pstate/no_turbo", "0")
	l.set("sys/devices/system/cpu/isolated", "\n").set("sys/devices/system/cpu/nohz_full", "(null)\n")
	l.set("sys/devices/system/node/node0/cpulist", "0-1\n").set("sys/devices/system/node/node1/cpulist", "2-3\n")
	l.set("proc/sys/kernel/numa_balancing", "1\n").set("proc/cmdline", "quiet")
	l.set("sys/devices/system/cpu/vulnerabilities/meltdown", "Mitigation: PTI\n").set("sys/devices/system/cpu/vulnerabilities/retbleed", "Vulnerable\n")
	l.set("sys/class/dmi/id/sys_vendor", "QEMU\n").set("sys/class/dmi/id/product_name", "Standard PC\n")
	l.set("proc/stat", "cpu  1000 0 1000 9000 50 0 0 200 0 0\n")
	l.set("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-1\n")
	l.set("proc/self/limits", "Max locked memory         65536            65536            bytes\n")
	l.set("proc/self/cgroup", "0::/lab\n").set("sys/fs/cgroup/lab/cpu.max", "150000 100000\n")
	l.set("proc/self/mountinfo", "")
	l.set("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")
	l.set("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0")
	l.set("proc/sys/kernel/osrelease", "4.19.0-old\n")
	l.set("proc/sys/net/core/bpf_jit_enable", "0").set("proc/sys/net/ipv4/ip_forward", "1")
	l.set("proc/net/softnet_stat", "00000010 0000000a 00000001 0\n00000010 00000001 00000001 0\n")
	l.set("sys/class/net/eth0/device/numa_node", "1").set("sys/class/net/eth0/statistics/rx_missed_errors", "17")
	l.nic("eth1", "e1000e", "-1", 1).set("sys/class/net/eth1/operstate", "down")
	l.set("sys/class/net/veth0/ifindex", "9").set("sys/class/net/veth0/operstate", "up").set("sys/class/net/veth0/queues/rx-0/x", "").set("sys/class/net/lo/ifindex", "1").set("sys/class/net/lo/operstate", "up")
	l.set("sys/class/net/bonding_masters", "")
	return l.del("usr/").del("sys/bus/pci/drivers/vfio-pci").del("sys/kernel/iommu_groups")
}

func devices(name string) (ethtool.Device, error) {
	switch name {
	case "eth0":
		return ethtool.Device{
			Driver: "ice", RX: 2, Combined: 2, MaxCombined: 16, RingRX: 512, MaxRingRX: 8160, RSS: true, RETA: 512, Key: 52, Function: "toeplitz",
			TCP4: "src dst", TCP6: "src dst sport dport", Features: map[string]ethtool.Feature{"rx-gro": {Active: true}, "rx-lro": {}, "tx-tcp-segmentation": {Active: true}},
		}, nil
	case "veth0":
		return ethtool.Device{Driver: "veth"}, nil
	default:
		return ethtool.Device{}, errors.ErrUnsupported
	}
}

func good(string) (ethtool.Device, error) {
	return ethtool.Device{
		Driver: "ice", RX: 2, Combined: 2, MaxCombined: 2, RingRX: 4096, MaxRingRX: 4096, RSS: true, RETA: 512, Key: 52, Function: "toeplitz",
		TCP4: "src dst sport dport", TCP6: "src dst sport dport", Symmetric: true,
	}, nil
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -update writes it anew")
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		m    Machine
	}{
		{"plain", Machine{Root: plain(), Arch: "amd64", Device: good, DPDK: "DPDK 22.11.11"}},
		{"poor", Machine{Root: poor(), Arch: "amd64", Device: devices}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Examine(c.m)
			require.NoError(t, err)
			for _, f := range r.Findings {
				require.NotEmpty(t, f.Found, f.Check)
				if f.Severity == OK {
					require.Empty(t, f.Cost+f.Fix, f.Check)
					continue
				}
				require.NotEmpty(t, f.Cost, f.Check)
				require.NotEmpty(t, f.Fix, f.Check)
			}
			var text bytes.Buffer
			require.NoError(t, r.WriteText(&text, false))
			for line := range strings.Lines(text.String()) {
				line = strings.TrimRight(line, "\n")
				require.Equal(t, strings.TrimRight(line, " "), line)
				if len([]rune(line)) > width {
					require.Len(t, strings.Fields(line), 1, "%q is longer than it has to be", line)
				}
			}
			golden(t, c.name+".golden", text.Bytes())
			j, err := json.MarshalIndent(r, "", "  ")
			require.NoError(t, err)
			golden(t, c.name+".json", append(j, '\n'))
		})
	}
}

func TestPlainMachineHasNothing(t *testing.T) {
	r, err := Examine(Machine{Root: plain(), Arch: "amd64", Device: good, DPDK: "DPDK 22.11.11"})
	require.NoError(t, err)
	for _, f := range r.Findings {
		require.Equal(t, OK, f.Severity, "%+v", f)
	}
	r, err = Examine(Machine{Root: poor(), Arch: "amd64", Device: devices})
	require.NoError(t, err)
	require.Positive(t, r.Count[Bad])
	sum := 0
	for _, n := range r.Count {
		sum += n
	}
	require.Len(t, r.Findings, sum)
}

func examine(t *testing.T, m Machine) *Report {
	t.Helper()
	if m.Device == nil {
		m.Device = good
	}
	if m.Arch == "" {
		m.Arch = "amd64"
	}
	r, err := Examine(m)
	require.NoError(t, err)
	return r
}

func find(r *Report, check string) (out []Finding) {
	for _, f := range r.Findings {
		if f.Check == check {
			out = append(out, f)
		}
	}
	return out
}

func TestSingleChecks(t *testing.T) {
	for _, c := range []struct {
		name, check string
		edit        func(l lab)
		want        Severity
		text        string // in what was found
	}{
		{"VAES without AVX-512", "keyed hash", func(l lab) { l.set("proc/cpuinfo", "flags : aes vaes avx2") }, Note, "AVX2"},
		{"CLMUL", "toeplitz", func(l lab) { l.set("proc/cpuinfo", "flags : aes avx pclmulqdq") }, Note, "PCLMULQDQ"},
		{"slow clock", "clock", func(l lab) {
			l.set("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
		}, Warn, "hpet"},
		{"one CPU", "cpus", func(l lab) { l.set("sys/devices/system/cpu/online", "0\n") }, Warn, "1 CPU on 1 core"},
		{"quota v1", "quota", func(l lab) {
			l.set("proc/self/cgroup", "3:cpuset:/\n2:cpu,cpuacct:/d\n").set("sys/fs/cgroup/cpu/d/cpu.cfs_quota_us", "50000").set("sys/fs/cgroup/cpu/d/cpu.cfs_period_us", "100000")
		}, Warn, "may use 0.5 CPUs"},
		{"turbo of AMD", "turbo", func(l lab) { l.set("sys/devices/system/cpu/cpufreq/boost", "1") }, Note, "on"},
		{"turbo off", "turbo", func(l lab) { l.set("sys/devices/system/cpu/intel_pstate/no_turbo", "1") }, Note, "off"},
		{"rcu_nocbs", "rcu_nocbs", func(l lab) { l.set("proc/cmdline", "rcu_nocbs=1") }, OK, "CPUs 1"},
		{"nothing to mitigate", "speculation", func(l lab) { l.del("sys/devices/system/cpu/vulnerabilities") }, OK, "nothing"},
		{"kernel 5.10", "version", func(l lab) { l.set("proc/sys/kernel/osrelease", "5.10.0") }, Note, "5.10"},
		{"kernel 6.1", "version", func(l lab) { l.set("proc/sys/kernel/osrelease", "6.1.0") }, Note, "6.1"},
		{"squeezed", "backlog", func(l lab) { l.set("proc/net/softnet_stat", "1 0 ffff 0\n") }, Note, "65535 times"},
		{"no NIC", "interfaces", func(l lab) { l.del("sys/class/net/").set("sys/class/net/lo/ifindex", "1") }, Note, "none but lo"},
		{"built without DPDK", "this fastsyn", func(lab) {}, Note, "without DPDK"},
		{"no free page", "memory", func(l lab) { l.set("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "13") }, Note, "26 MiB free"},
		{"all promised", "memory", func(l lab) { l.set("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "512") }, Note, "0 B free"},
		{"testpmd only", "library", func(l lab) { l.del("usr/").set("usr/bin/dpdk-testpmd", "") }, Note, "/usr/bin/dpdk-testpmd"},
		{"no IOMMU", "iommu", func(l lab) { l.del("sys/kernel/iommu_groups") }, Note, "off"},
		{"nothing bound", "devices", func(l lab) { l.del("sys/bus/pci/drivers/vfio-pci/0000") }, Note, "none"},
		{"no vfio", "modules", func(l lab) { l.del("sys/bus/pci/drivers/vfio-pci") }, Note, "neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := plain()
			c.edit(l)
			got := find(examine(t, Machine{Root: l}), c.check)
			require.Len(t, got, 1)
			require.Equal(t, c.want, got[0].Severity)
			require.Contains(t, got[0].Found, c.text)
		})
	}
}

func TestARM64(t *testing.T) {
	r := examine(t, Machine{Arch: "arm64", Root: plain().set("proc/cpuinfo", "processor : 0\nFeatures : fp asimd aes pmull\n")})
	require.Equal(t, OK, find(r, "aes")[0].Severity)
	require.Equal(t, "unnamed arm64", find(r, "model")[0].Found)
	require.Empty(t, find(r, "toeplitz"))
	r = examine(t, Machine{Arch: "arm64", Root: plain().set("proc/cpuinfo", "processor : 0\nFeatures : fp asimd\n")})
	require.Equal(t, Bad, find(r, "aes")[0].Severity)
}

func TestDevices(t *testing.T) {
	for _, c := range []struct {
		name, check string
		dev         ethtool.Device
		want        Severity
		fix         string
	}{
		{"xor", "eth0 rss", ethtool.Device{RSS: true, Function: "xor", TCP4: "src dst sport dport", TCP6: "src dst sport dport"}, Note, "hfunc toeplitz"},
		{"addresses only", "eth0 rss", ethtool.Device{RSS: true, Function: "toeplitz", TCP4: "src dst sport dport", TCP6: "src dst"}, Warn, "rx-flow-hash tcp6 sdfn"},
		{"unknown hash", "eth0 rss", ethtool.Device{RX: 4, Combined: 4}, Note, "afpacket does it in software"},
		{"one queue of many", "eth0 queues", ethtool.Device{RX: 1, Combined: 1, MaxCombined: 8}, Warn, "ethtool -L eth0 combined 2"},
		{"one queue", "eth0 queues", ethtool.Device{RX: 1}, Note, "rps_cpus"},
		{"short ring", "eth0 ring", ethtool.Device{RingRX: 256, MaxRingRX: 8192}, Note, "ethtool -G eth0 rx 4096"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := find(examine(t, Machine{Root: plain(), Device: func(string) (ethtool.Device, error) { return c.dev, nil }}), c.check)
			require.Len(t, got, 1)
			require.Equal(t, c.want, got[0].Severity)
			require.Contains(t, got[0].Fix, c.fix)
		})
	}
}

func TestIface(t *testing.T) {
	r := examine(t, Machine{Root: poor(), Device: devices, Iface: "veth0"})
	require.Len(t, find(r, "veth0"), 1)
	require.Empty(t, find(r, "eth0"))
	_, err := Examine(Machine{Root: poor(), Device: devices, Iface: "eth9"})
	require.ErrorContains(t, err, "network: --iface eth9: no such interface; there are bonding_masters, eth0, eth1, lo, veth0")

	l := plain()
	for i := range 20 {
		n := fmt.Sprintf("sys/class/net/v%d/", i)
		l.set(n+"ifindex", "5").set(n+"operstate", "up")
	}
	r = examine(t, Machine{Root: l})
	require.Equal(t, "13 more", find(r, "interfaces")[0].Found)
}

// A check that fails says so and lets the others run.
func TestFailingChecks(t *testing.T) {
	r, err := Examine(Machine{Root: lab{fstest.MapFS{}}, Arch: "amd64", Device: devices})
	require.Error(t, err)
	for _, want := range []string{"cpu: /proc/cpuinfo", "topology: /sys", "memory: hugepages", "privileges: ", "kernel: "} {
		require.ErrorContains(t, err, want)
	}
	require.Len(t, r.Errors, 5)
	require.NotEmpty(t, r.Findings)
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b, true))
	require.Contains(t, b.String(), "failed: cpu: /proc/cpuinfo is empty")
	require.Contains(t, b.String(), "\x1b[36mnote\x1b[0m")

	_, err = Examine(Machine{Root: plain(), Device: func(string) (ethtool.Device, error) { return ethtool.Device{}, errors.New("gone") }})
	require.ErrorContains(t, err, "network: eth0: gone")
	_, err = Examine(Machine{Root: plain().set("proc/stat", "cpu 1 2").set("proc/cpuinfo", "flags : hypervisor"), Device: good})
	require.ErrorContains(t, err, "virtualisation: /proc/stat")
}

func TestThisMachine(t *testing.T) {
	m, err := Local()
	if err != nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		t.Skip(err)
	}
	r, err := Examine(m)
	require.NoError(t, err)
	require.NotEmpty(t, r.Findings)
}
