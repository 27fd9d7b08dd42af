//go:build !linux

package worker

import (
	"errors"
	"fmt"
)

func pin(int) error {
	return fmt.Errorf("worker: pinning threads: %w on this system", errors.ErrUnsupported)
}

// AllowedCPUs is nil: unknown on this system.
func AllowedCPUs() []int { return nil }
