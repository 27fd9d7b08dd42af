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
