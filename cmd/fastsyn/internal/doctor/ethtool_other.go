//go:build !linux

package doctor

import (
	"errors"
	"fmt"
)

// Local returns the machine that this process runs on.
func Local() (Machine, error) {
	return Machine{}, fmt.Errorf("doctor: the checks read /proc and /sys of Linux: %w here", errors.ErrUnsupported)
}
