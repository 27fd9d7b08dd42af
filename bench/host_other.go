//go:build !linux

package bench

import (
	"runtime"
	"time"
)

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }

// residentBytes is 0: unknown on this system.
func residentBytes() uint64 { return 0 }

// cpuTime is 0: unknown on this system.
func cpuTime() time.Duration { return 0 }
