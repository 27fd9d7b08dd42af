//go:build !linux

package worker

import (
	"errors"
	"fmt"
)

func pin(int) error {
	return fmt.Errorf("worker: pinning threads: %w on this system", errors.ErrUnsupported)
}
