//go:build !linux

package bench

import (
	"runtime"
	"time"
)

// allowedCPUs is nil: unknown on this system.
func allowedCPUs() []int { return nil }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }

// cpuTime is 0: unknown on this system.
func cpuTime() time.Duration { return 0 }
