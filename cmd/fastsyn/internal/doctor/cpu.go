package doctor

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/layout"
	"github.com/fastsyn/fastsyn/internal/sysfs"
)

// cpuInfo returns the first CPU's entries of proc_cpuinfo(5).
func (x *examination) cpuInfo() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(x.Text("proc/cpuinfo")) {
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			if len(out) > 0 {
				break
			}
			continue
		}
		out[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	return out
}

// cpu looks at the model, and at the features that have code of their own in fastsyn.
func (x *examination) cpu() error {
	info := x.cpuInfo()
	if len(info) == 0 {
		return fmt.Errorf("/proc/cpuinfo is empty or missing: mount proc on /proc")
	}
	x.ok("model", "%s", cmp.Or(info["model name"], "unnamed "+cmp.Or(x.Arch, runtime.GOARCH)))
	flags := strings.Fields(cmp.Or(info["flags"], info["Features"]))
	has := func(names ...string) bool {
		for _, n := range names {
			if !slices.Contains(flags, n) {
				return false
			}
		}
		return true
	}
	guest := "use another CPU; in a virtual machine, pass the host's through: -cpu host"
	if !has("aes") {
		x.add("aes", Bad, "no AES instructions", "every hash, sequence number and cookie is computed in software, many times slower", guest)
	} else {
		x.ok("aes", "AES instructions")
	}
	if x.Arch == "arm64" {
		return nil
	}
	switch {
	case has("vaes", "avx512f", "avx512bw", "avx512vl"):
		x.ok("keyed hash", "VAES and AVX-512: four blocks at once")
	case has("vaes", "avx2"):
		x.add("keyed hash", Note, "VAES with AVX2: two blocks at once", "hashes in batches run at about half the rate of AVX-512", guest)
	default:
		x.add("keyed hash", Warn, "no VAES", "hashes in batches take one block per instruction instead of four", guest)
	}
	switch {
	case has("gfni", "avx512f", "avx512bw", "avx512vl", "avx512vbmi"):
		x.ok("toeplitz", "GFNI and AVX-512")
	case has("pclmulqdq", "avx"):
		x.add("toeplitz", Note, "PCLMULQDQ, but no GFNI with AVX-512", "software RSS hashes fewer tuples at once", guest)
	default:
		x.add("toeplitz", Warn, "neither GFNI nor PCLMULQDQ", "software RSS goes through tables, one tuple at a time", guest)
	}
	if !has("constant_tsc", "nonstop_tsc") {
		x.add("clock", Warn, "the TSC is not constant and non-stop", "reading the clock may be a system call, and latencies drift", guest)
	} else if src := x.Text("sys/devices/system/clocksource/clocksource0/current_clocksource"); src != "" && src != "tsc" && src != "kvm-clock" && src != "hyperv_clocksource_tsc_page" {
		x.add("clock", Warn, "clock source "+src, "reading the clock is a system call, about 1 µs instead of 30 ns",
			"as root: echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource")
	} else {
		x.ok("clock", "%s", cmp.Or(src, "tsc"))
	}
	return nil
}

// topology looks at CPUs, hardware threads and NUMA nodes.
func (x *examination) topology() error {
	online, err := sysfs.ParseList(x.Text("sys/devices/system/cpu/online"))
	if err != nil {
		return fmt.Errorf("/sys/devices/system/cpu/online: %w", err)
	}
	if len(online) == 0 {
		return fmt.Errorf("/sys/devices/system/cpu/online is empty or missing: mount sysfs on /sys")
	}
	x.cpus = online
	cores := map[string]bool{}
	for _, c := range online {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/", c)
		cores[x.Text(dir+"physical_package_id")+"/"+x.Text(dir+"die_id")+"/"+x.Text(dir+"core_id")] = true
	}
	found := fmt.Sprintf("%s on %s", layout.Plural(len(online), "CPU", "CPUs"), layout.Plural(len(cores), "core", "cores"))
	if len(online) < 2 {
		x.add("cpus", Warn, found, "the worker shares its CPU with interrupts and everybody else", "give the machine more CPUs")
	} else {
		x.ok("cpus", "%s", found)
	}
	if len(cores) < len(online) {
		x.add("smt", Note, "on: some CPUs are two threads of one core", "workers on both threads of a core get little more than one alone",
			"pin one worker per core, or: echo off | sudo tee /sys/devices/system/cpu/smt/control")
	}
	for _, n := range x.Names("sys/devices/system/node") {
		if strings.HasPrefix(n, "node") && x.Text("sys/devices/system/node/"+n+"/cpulist") != "" {
			x.nodes++
		}
	}
	if x.nodes > 1 {
		var s []string
		for i := range 64 {
			if l := x.Text(fmt.Sprintf("sys/devices/system/node/node%d/cpulist", i)); l != "" {
				s = append(s, fmt.Sprintf("node %d has CPUs %s", i, l))
			}
		}
		x.add("numa", Note, strings.Join(s, ", "), "a worker away from its NIC's node pays for each frame and table line", "numactl -N NODE -m NODE fastsyn ..., NODE as shown under network")
		if x.Text("proc/sys/kernel/numa_balancing") == "1" {
			x.add("numa balancing", Note, "on", "the kernel unmaps pages to see who uses them: latency peaks", "sudo sysctl kernel.numa_balancing=0")
		}
	} else {
		x.ok("numa", "one node")
	}
	return x.allowed()
}

// allowed looks at what a cpuset or a quota leaves of the CPUs.
func (x *examination) allowed() error {
	allowed, err := sysfs.ParseList(x.status("Cpus_allowed_list"))
	if err != nil {
		return fmt.Errorf("/proc/self/status: %w", err)
	}
	mine := 0
	for _, c := range allowed {
		if slices.Contains(x.cpus, c) {
			mine++
		}
	}
	if mine > 0 && mine < len(x.cpus) {
		x.add("allowed", Note, fmt.Sprintf("this process may use %d of %d CPUs", mine, len(x.cpus)), "fewer workers than the machine could run",
			"taskset, the cpuset of the cgroup, or docker run --cpuset-cpus")
	}
	for line := range strings.Lines(x.Text("proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var quota, period int64
		switch {
		case f[1] == "":
			_, _ = fmt.Sscan(x.Text("sys/fs/cgroup"+strings.TrimSuffix(f[2], "/")+"/cpu.max"), &quota, &period)
		case slices.Contains(strings.Split(f[1], ","), "cpu"):
			dir := "sys/fs/cgroup/cpu" + strings.TrimSuffix(f[2], "/")
			quota, _ = x.Number(dir + "/cpu.cfs_quota_us")
			period, _ = x.Number(dir + "/cpu.cfs_period_us")
		}
		if quota > 0 && period > 0 {
			x.add("quota", Warn, fmt.Sprintf("this cgroup may use %.3g CPUs", float64(quota)/float64(period)),
				"a busy-polling worker is stopped for milliseconds when the quota is used up", "docker run without --cpus, or CPUQuota= removed from the unit")
		}
	}
	return nil
}

// status returns a line of proc_pid_status(5).
func (x *examination) status(key string) string {
	for line := range strings.Lines(x.Text("proc/self/status")) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
