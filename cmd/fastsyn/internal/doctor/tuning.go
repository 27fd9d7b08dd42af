package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// isolation looks for CPUs that the scheduler, the tick and RCU leave alone.
func (x *examination) isolation() error {
	const boot = "boot with isolcpus=%[1]s nohz_full=%[1]s rcu_nocbs=%[1]s, and pin workers there"
	example := "1"
	if n := len(x.cpus); n > 2 {
		example = fmt.Sprintf("1-%d", n-1)
	}
	param := map[string]string{}
	for word := range strings.FieldsSeq(x.Text("proc/cmdline")) {
		if k, v, ok := strings.Cut(word, "="); ok {
			param[k] = v
		}
	}
	if isolated := x.Text("sys/devices/system/cpu/isolated"); isolated != "" {
		x.ok("isolcpus", "CPUs %s", isolated)
	} else {
		x.add("isolcpus", Note, "no CPU is isolated", "other threads run on the workers' CPUs: latency tails of milliseconds", fmt.Sprintf(boot, example))
	}
	full := x.Text("sys/devices/system/cpu/nohz_full")
	if full == "" || strings.Trim(full, "()") == "null" {
		x.add("nohz_full", Note, "the timer tick runs on all CPUs", "an interruption of a few µs, 100 to 1000 times per second", fmt.Sprintf("boot with nohz_full=%[1]s rcu_nocbs=%[1]s", example))
	} else {
		x.ok("nohz_full", "CPUs %s", full)
		if param["rcu_nocbs"] == "" {
			// Implied by nohz_full for its CPUs, kernel-parameters.txt.
			x.ok("rcu_nocbs", "as nohz_full")
		}
	}
	if v := param["rcu_nocbs"]; v != "" {
		x.ok("rcu_nocbs", "CPUs %s", v)
	}
	return nil
}

// power looks at frequency scaling.
func (x *examination) power() error {
	governors := map[string]int{}
	for _, c := range x.cpus {
		if g := x.Text(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", c)); g != "" {
			governors[g]++
		}
	}
	names := slices.Sorted(maps.Keys(governors))
	switch {
	case len(names) == 0:
		x.ok("governor", "none here: the hardware or the host decides")
	case len(names) == 1 && names[0] == "performance":
		x.ok("governor", "performance")
	default:
		x.add("governor", Warn, strings.Join(names, ", "), "clock rates follow the load: runs differ, and the first milliseconds are slow",
			"sudo cpupower frequency-set -g performance")
	}
	noTurbo, intel := x.Number("sys/devices/system/cpu/intel_pstate/no_turbo")
	boost, other := x.Number("sys/devices/system/cpu/cpufreq/boost")
	switch {
	case intel && noTurbo == 1:
		x.add("turbo", Note, "off", "lower peak rate, but runs that repeat", "echo 0 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo")
	case other && boost == 0:
		x.add("turbo", Note, "off", "lower peak rate, but runs that repeat", "echo 1 | sudo tee /sys/devices/system/cpu/cpufreq/boost")
	case intel || other:
		x.add("turbo", Note, "on", "rates depend on temperature and on the neighbours: compare runs with care",
			map[bool]string{true: "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo", false: "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"}[intel])
	}
	return nil
}

// mitigations sums up /sys/devices/system/cpu/vulnerabilities.
func (x *examination) mitigations() error {
	const dir = "sys/devices/system/cpu/vulnerabilities"
	var paid, open []string
	for _, n := range x.Names(dir) {
		switch s := x.Text(dir + "/" + n); {
		case strings.HasPrefix(s, "Mitigation"):
			paid = append(paid, n)
		case strings.HasPrefix(s, "Vulnerable"):
			open = append(open, n)
		}
	}
	if len(paid)+len(open) == 0 {
		x.ok("speculation", "nothing to mitigate, or not told")
		return nil
	}
	if len(paid) > 0 {
		severity, cost := Note, "system calls and interrupts are slower: afpacket pays per burst, loop and DPDK hardly"
		if strings.Contains(x.Text(dir+"/meltdown"), "PTI") {
			severity, cost = Warn, "page tables change at every system call: afpacket pays twice per burst"
		}
		x.add("mitigated", severity, strings.Join(paid, ", "), cost, "on a lab machine only: boot with mitigations=off")
	}
	if len(open) > 0 {
		x.add("vulnerable", Note, strings.Join(open, ", "), "nothing in speed; others on this machine may read secrets", "update the kernel and the microcode")
	}
	return nil
}

// virtualisation looks for a hypervisor, and what it takes.
func (x *examination) virtualisation() error {
	guest := slices.Contains(strings.Fields(x.cpuInfo()["flags"]), "hypervisor")
	vendor := strings.TrimSpace(x.Text("sys/class/dmi/id/sys_vendor") + " " + x.Text("sys/class/dmi/id/product_name"))
	if !guest {
		x.ok("hypervisor", "none seen")
		return nil
	}
	found := "this is a virtual machine"
	if vendor != "" {
		found += " (" + vendor + ")"
	}
	x.add("hypervisor", Note, found, "interrupts and wake-ups pass through the host: microseconds each", "measure maximum rates on bare metal")
	total, steal, err := x.steal()
	if err != nil {
		return err
	}
	share := 0.0
	if total > 0 {
		share = float64(steal) / float64(total) * 100
	}
	if share >= 0.5 {
		x.add("steal", Warn, fmt.Sprintf("%.1f %% of the busy CPU time since boot went to other guests", share),
			"workers stand still at times: rates and tails vary from run to run", "use dedicated CPUs, or a machine with fewer neighbours")
	} else {
		x.ok("steal", "%.1f %% of the busy CPU time since boot", share)
	}
	return nil
}

// steal returns all ticks that were not idle, and the stolen ones among them,
// proc_stat(5): user nice system idle iowait irq softirq steal.
func (x *examination) steal() (total, steal uint64, err error) {
	line, _, _ := strings.Cut(x.Text("proc/stat"), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q: want cpu and eight numbers", line)
	}
	for i, s := range f[1:9] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if i != 3 && i != 4 {
			total += n
		}
		if i == 7 {
			steal = n
		}
	}
	return total, steal, nil
}
