//go:build !linux

package netlab

import (
	"errors"
	"fmt"
	"runtime"
)

// ErrLeft is for Linux.
var ErrLeft = errors.New("the function did not return (FailNow or Goexit)")

func onlyLinux() error {
	return fmt.Errorf("netlab: this is %s, network namespaces are Linux's: %w", runtime.GOOS, errors.ErrUnsupported)
}

// New is for Linux.
func New(Config) (*Lab, error) { return nil, onlyLinux() }

// NewTap is for Linux.
func NewTap(Config) (*Lab, error) { return nil, onlyLinux() }

// Close is for Linux.
func (l *Lab) Close() error { return nil }

// Sysctl is for Linux.
func (l *Lab) Sysctl(_, _, _ string) error { return onlyLinux() }

// Do is for Linux.
func Do(string, func()) error { return onlyLinux() }

// RemoveStale is for Linux.
func RemoveStale() error { return onlyLinux() }

// IP is for Linux.
func IP(...string) error { return onlyLinux() }

// Available says that this is not Linux.
func Available() error { return onlyLinux() }
