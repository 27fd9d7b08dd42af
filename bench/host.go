package bench

import (
	"runtime"
)

// Host says where a run took place.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"` // that the process may use
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"` // "unknown" if the build does not say; "+dirty" with uncommitted changes
	// What moves figures without being asked. Empty: unknown.
	Governor    string            `json:"governor"`    // of the CPUs used, cpufreq
	Isolated    string            `json:"isolated"`    // isolcpus and nohz_full, as a list of CPUs
	Virtual     string            `json:"virtual"`     // hypervisor
	Mitigations map[string]string `json:"mitigations"` // /sys/devices/system/cpu/vulnerabilities
	NIC         NIC               `json:"nic"`         // of the client's port
}

// NIC is the device of a port.
type NIC struct {
	Driver   string            `json:"driver"`    // of the port
	Device   string            `json:"device"`    // what the driver drives, by its own name
	Kernel   string            `json:"kernel"`    // kernel driver of an interface
	SpeedMbS int64             `json:"speed_mbs"` // Mbit/s; 0: unknown
	MTU      int               `json:"mtu"`
	Queues   int               `json:"queues"`
	Offloads map[string]string `json:"offloads"`
}

// Commit is set by the linker (-X) in builds without version control information.
var Commit string

func thisHost(cpus []int) Host {
	h := Host{CPU: cpuModel(), Cores: len(cpus), Kernel: kernel(), Go: runtime.Version(), Commit: BuildCommit()}
	if h.Cores == 0 {
		h.Cores = runtime.NumCPU()
	}
	return h
}
