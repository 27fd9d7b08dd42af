//go:build dpdk && cgo && linux

package dpdk

/*
#cgo pkg-config: libdpdk
#cgo CFLAGS: -O3
#cgo LDFLAGS: -lrte_net_ring
#include <errno.h>
#include <stdlib.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_version.h>
#include "eal.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/hugepages"
)

// eal is DPDK's environment of this process. It starts once, on a thread of its
// own that stays its main thread; control calls run there, one at a time.
var eal struct {
	mu      sync.Mutex
	started bool
	ended   bool
	err     error // of the start, which cannot be tried again
	cfg     EALConfig
	calls   chan func()
}

// Available says whether this build has DPDK: nil.
func Available() error { return nil }

// Version is that of the DPDK library, such as "DPDK 22.11.11".
func Version() string { return C.GoString(C.rte_version()) }

// startEAL starts the EAL, or checks that it was started as cfg wants. need is
// how many bytes of huge pages the first port will ask for.
func startEAL(cfg EALConfig, need int64) error {
	eal.mu.Lock()
	defer eal.mu.Unlock()
	switch {
	case eal.ended:
		return errors.New("dpdk: DPDK has ended in this process and cannot be started again; start a new process")
	case eal.err != nil:
		return eal.err
	case eal.started:
		return eal.cfg.agree(&cfg)
	}
	if err := roomFor(&cfg, need); err != nil {
		return err
	}
	cpus := allowedCPUs()
	for _, cpu := range cfg.LCores {
		if !slices.Contains(cpus, cpu) {
			return fmt.Errorf("dpdk: lcores: this process may not run on CPU %d; it may on %s (taskset, cgroup, and the machine decide)", cpu, join(cpus))
		}
	}
	args := append([]string{"fastsyn"}, cfg.args(cpus)...)
	calls, result := make(chan func()), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: rte_eal_init binds the thread, which stays the main lcore
		err := initEAL(args)
		result <- err
		if err == nil {
			for f := range calls {
				f()
			}
		}
	}()
	eal.err = <-result
	if cfg.FilePrefix == "" { // its directory stays empty, and would stay behind
		if dir := C.GoString(C.rte_eal_get_runtime_dir()); filepath.Base(dir) == ownPrefix() {
			_ = os.Remove(dir)
		}
	}
	if eal.err != nil {
		return eal.err
	}
	eal.started, eal.cfg, eal.calls = true, cfg, calls
	return nil
}

func initEAL(args []string) error {
	argv := (*[1 << 10]*C.char)(C.calloc(C.size_t(len(args)+1), C.size_t(unsafe.Sizeof((*C.char)(nil)))))
	for i, a := range args {
		argv[i] = C.CString(a)
	}
	// Neither argv nor its strings are freed: DPDK keeps pointers to them.
	ret := C.fs_eal_init(C.int(len(args)), &argv[0])
	log := takeLog()
	if ret == -C.EALREADY {
		return errors.New("dpdk: another part of this program has started DPDK: hand over its port with Adopt")
	}
	if ret < 0 {
		return refused("starting DPDK with "+strings.Join(args[1:], " "), int(ret), log)
	}
	return nil
}

// onMain runs f on the main thread of the EAL and waits.
func onMain(f func()) {
	eal.mu.Lock()
	calls := eal.calls
	eal.mu.Unlock()
	if calls == nil { // started by another part of the program
		f()
		return
	}
	done := make(chan struct{})
	calls <- func() { defer close(done); f() }
	<-done
}

// takeLog returns what DPDK has logged since the last call.
func takeLog() string {
	var b [16 << 10]byte
	n := C.fs_log_take((*C.char)(unsafe.Pointer(&b[0])), C.size_t(len(b)))
	return string(b[:n])
}

// refused is the error of a call that failed with ret, and what DPDK said of it.
// Many drivers return -1 for whatever went wrong.
func refused(what string, ret int, log string) error {
	switch errno := syscall.Errno(-ret); errno {
	case syscall.EPERM, syscall.EFAULT, 0:
		return fmt.Errorf("dpdk: %s: %s", what, explain(log))
	default:
		return fmt.Errorf("dpdk: %s: %w: %s", what, errno, explain(log))
	}
}

// Shutdown, after the last port was closed, removes what a run with a file-prefix
// leaves in the file system, huge pages among it. DPDK itself ends with the process, and
// cannot be used until then: rte_eal_cleanup would take away memory that its
// interrupt thread still uses (22.11), and the kernel takes back the same.
func Shutdown() error {
	eal.mu.Lock()
	defer eal.mu.Unlock()
	if !eal.started || eal.ended {
		return nil
	}
	if n := openPorts(); n > 0 {
		return fmt.Errorf("dpdk: %d ports are still open; close them before Shutdown", n)
	}
	eal.ended = true
	p := eal.cfg.FilePrefix
	if p == "" {
		return nil
	}
	var errs []error
	if dir := C.GoString(C.rte_eal_get_runtime_dir()); filepath.Base(dir) == p {
		errs = append(errs, os.RemoveAll(dir))
	}
	if !eal.cfg.NoHuge {
		errs = append(errs, removeFiles(eal.cfg.HugeDir, p))
	}
	return errors.Join(errs...)
}

// removeFiles removes the huge page files of a run that has ended.
func removeFiles(dir, prefix string) error {
	dirs := []string{dir}
	if dir == "" {
		mounts, err := hugepages.MountsFS(os.DirFS("/"))
		if err != nil {
			return err
		}
		dirs = nil
		for _, m := range mounts {
			dirs = append(dirs, m.Path)
		}
	}
	var errs []error
	for _, d := range dirs {
		files, _ := filepath.Glob(filepath.Join(d, prefix+"map_*"))
		for _, f := range files {
			errs = append(errs, os.Remove(f))
		}
	}
	return errors.Join(errs...)
}

// roomFor refuses to start DPDK where it would fail with less to say.
func roomFor(c *EALConfig, need int64) error {
	if c.NoHuge {
		return nil
	}
	if c.Memory != 0 {
		need = c.Memory
	}
	pools, err := hugepages.Status()
	if err != nil {
		return fmt.Errorf("dpdk: %w; no-huge=on does without", err)
	}
	free := int64(0)
	for _, p := range pools {
		free += int64(p.Available() * p.Bytes)
	}
	if free < need {
		return fmt.Errorf("dpdk: no hugepages: %s are needed and %s are free; reserve them: sudo fastsyn hugepages reserve --count %d; or add no-huge=on to the port, for tests",
			hugepages.BytesText(uint64(need)), hugepages.BytesText(uint64(free)), (need+2<<20-1)>>21)
	}
	return nil
}

func allowedCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return []int{0}
	}
	var out []int
	for i, left := 0, set.Count(); left > 0; i++ {
		if set.IsSet(i) {
			out = append(out, i)
			left--
		}
	}
	return out
}
