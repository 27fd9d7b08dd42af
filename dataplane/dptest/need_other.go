//go:build !linux

package dptest

import (
	"errors"
	"fmt"
	"runtime"
)

func onlyLinux() error {
	return fmt.Errorf("this is %s, run it on Linux: %w", runtime.GOOS, errors.ErrUnsupported)
}

func canNetNS() error     { return onlyLinux() }
func canRaw() error       { return onlyLinux() }
func canAdmin() error     { return onlyLinux() }
func hasHugepages() error { return onlyLinux() }
func canTun() error       { return onlyLinux() }
