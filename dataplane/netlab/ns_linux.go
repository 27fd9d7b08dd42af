package netlab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	nsDir    = "/run/netns" // of ip netns
	nsPrefix = "fs-"
)

// ErrLeft says that f ended its goroutine, as FailNow does.
var ErrLeft = errors.New("the function did not return (FailNow or Goexit)")

// Do runs f on a thread inside a namespace and waits for it. Sockets that f opens belong to
// that namespace for good, and so do processes that it starts; goroutines that f starts do not. A panic
// in f goes on in the caller. When the thread cannot
// be brought back, it stays locked and ends with the goroutine, so that no other code runs there.
func Do(ns string, f func()) error {
	result := make(chan error, 1)
	var panicked any
	go func() {
		err := ErrLeft
		defer func() { result <- err }()
		runtime.LockOSThread()
		home, e := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if e != nil {
			err = fmt.Errorf("opening the namespace of this thread: %w", e)
			return
		}
		defer func() { _ = unix.Close(home) }()
		target, e := unix.Open(filepath.Join(nsDir, ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if e != nil {
			err = fmt.Errorf("opening namespace %s: %w", ns, e)
			return
		}
		e = unix.Setns(target, unix.CLONE_NEWNET)
		_ = unix.Close(target)
		if e != nil {
			err = fmt.Errorf("entering namespace %s: %w", ns, e)
			return
		}
		defer func() {
			if unix.Setns(home, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
		}()
		defer func() {
			if panicked = recover(); panicked != nil {
				err = nil
			}
		}()
		f()
		err = nil
	}()
	err := <-result
	if panicked != nil {
		panic(panicked)
	}
	return err
}

// RemoveStale removes namespaces of labs whose process is gone, and what still runs in them.
func RemoveStale() error { return removeStale(nsDir) }

func removeStale(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, nsPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		name := filepath.Base(n)
		pid, ok := ownerOf(name)
		if !ok || unix.Kill(pid, 0) != unix.ESRCH {
			continue
		}
		errs = append(errs, removeNS(name))
	}
	return errors.Join(errs...)
}

// ownerOf returns the process that the name of a namespace of a lab carries.
func ownerOf(name string) (pid int, ok bool) {
	rest, ok := strings.CutPrefix(name, nsPrefix)
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 || parts[2] != "a" && parts[2] != "b" {
		return 0, false
	}
	pid, err := strconv.Atoi(parts[0])
	_, err2 := strconv.Atoi(parts[1])
	return pid, err == nil && err2 == nil && pid > 0
}

// removeNS ends the processes in a namespace and removes it; no error if there is none.
func removeNS(ns string) error {
	if _, err := os.Stat(filepath.Join(nsDir, ns)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	path, err := LookTool("ip")
	if err != nil {
		return err
	}
	pids, err := exec.Command(path, "netns", "pids", ns).Output()
	if err == nil {
		for f := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 1 && pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	err = ip("netns", "del", ns)
	if _, e := os.Stat(filepath.Join(nsDir, ns)); errors.Is(e, os.ErrNotExist) {
		return nil // another test process may have been first
	}
	return err
}

func ips(commands [][]string) error {
	for _, args := range commands {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error {
	path, err := LookTool("ip")
	if err != nil {
		return err
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// setSysctl writes below /proc/sys, whose net part shows the namespace of the
// thread that opens a file.
func setSysctl(ns, key, value string) error {
	var err error
	e := Do(ns, func() {
		err = os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0)
	})
	if err = errors.Join(e, err); err != nil {
		return fmt.Errorf("sysctl %s=%s in %s: %w", key, value, ns, err)
	}
	return nil
}

// IP runs the ip command of iproute2; "-n", NS acts in a namespace.
func IP(args ...string) error {
	if err := ip(args...); err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	return nil
}

// Available reports why this process cannot make labs, nil if it can: it tries, on a thread of its
// own that ends with what it has made.
func Available() error {
	if _, err := LookTool("ip"); err != nil {
		return fmt.Errorf("netlab: %w (apt install iproute2)", err)
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("netlab: unshare(CLONE_NEWNET): %w", err)
	}
	return nil
}
