//go:build !linux

package dptest

import (
	"syscall"
	"testing"
	"time"
)

// NewLab skips the test: namespaces exist on Linux only.
func NewLab(t testing.TB, _ ...LabOption) *Lab {
	t.Helper()
	Need(t, "netns")
	return nil
}

// NewTapLab skips the test.
func NewTapLab(t testing.TB, _ ...LabOption) *Lab { t.Helper(); return NewLab(t) }

// Exec is for Linux.
func (l *Lab) Exec(t testing.TB, _ string, _ ...string) string { t.Fatal(onlyLinux()); return "" }

// Try is for Linux.
func (l *Lab) Try(string, ...string) (string, error) { return "", onlyLinux() }

// Start is for Linux.
func (l *Lab) Start(t testing.TB, _ string, _ ...string) *Process { t.Fatal(onlyLinux()); return nil }

// InNS is for Linux.
func (l *Lab) InNS(t testing.TB, _ func()) { t.Fatal(onlyLinux()) }

// InPeerNS is for Linux.
func (l *Lab) InPeerNS(t testing.TB, _ func()) { t.Fatal(onlyLinux()) }

// InNetNS is for Linux.
func InNetNS(t testing.TB, _ string, _ func()) { t.Fatal(onlyLinux()) }

// Process is for Linux.
type Process struct{}

// Output is for Linux.
func (p *Process) Output() string { return "" }

// WaitFor is for Linux.
func (p *Process) WaitFor(t testing.TB, _ string, _ time.Duration) { t.Fatal(onlyLinux()) }

// Wait is for Linux.
func (p *Process) Wait() error { return onlyLinux() }

// Signal is for Linux.
func (p *Process) Signal(syscall.Signal) error { return onlyLinux() }

// Stop is for Linux.
func (p *Process) Stop() {}
