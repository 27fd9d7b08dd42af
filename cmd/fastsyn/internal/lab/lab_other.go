//go:build !linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

type play struct{}

func onlyLinux() error {
	return fmt.Errorf("the lab is made of network namespaces, which %s has not; run it on Linux: %w", runtime.GOOS, errors.ErrUnsupported)
}

// Scenarios is for Linux.
func Scenarios() []Scenario { return nil }

// Play is for Linux.
func Play(context.Context, string, Options) Result { return Result{Error: onlyLinux().Error()} }

// Kernel is for Linux.
func Kernel() string { return "" }

// Prepare says that this is not Linux.
func Prepare(context.Context) (bool, int, error) { return false, 0, onlyLinux() }
