//go:build !linux

package ethtool

import (
	"errors"
	"fmt"
)

// Ask fails: there is no such ioctl here.
func Ask(name string) (Device, error) {
	return Device{}, fmt.Errorf("%s: ethtool is of Linux: %w here", name, errors.ErrUnsupported)
}
