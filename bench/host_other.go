//go:build !linux

package bench

import "runtime"

// allowedCPUs is nil: unknown on this system.
func allowedCPUs() []int { return nil }

func cpuModel() string { return runtime.GOARCH }

func kernel() string { return runtime.GOOS }
