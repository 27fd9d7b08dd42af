package dptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	nsDir    = "/run/netns" // of ip netns
	nsPrefix = "fs-"
	// execLimit bounds a command of Exec, so that a test cannot hang in it.
	execLimit = time.Minute
)

var labCount atomic.Uint32

// NewLab makes a lab and removes it at the end of the test, however that ends.
// It needs "netns" (see Need). Namespaces of test processes that died without
// cleaning up are removed first.
func NewLab(t testing.TB, opts ...LabOption) *Lab {
	t.Helper()
	return newLab(t, opts, (*Lab).buildPair)
}

// NewTapLab makes the peer's half of a lab, whose interface is a tap: the other
// end of it is for a process in the peer's namespace to open, such as an emulator
// with a NIC for a guest, to which MAC and the addresses of fastsyn belong. NS and If
// are empty. Which offloads the interface has is for that process to say. It needs "netns" and "tun".
func NewTapLab(t testing.TB, opts ...LabOption) *Lab {
	t.Helper()
	Need(t, "netns", "tun")
	return newLab(t, opts, (*Lab).buildTap)
}

func newLab(t testing.TB, opts []LabOption, build func(*Lab, labConfig) error) *Lab {
	t.Helper()
	Need(t, "netns")
	c, err := newLabConfig(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := removeStale(nsDir); err != nil {
		t.Logf("dptest: stale namespaces: %v", err)
	}
	base := fmt.Sprintf("%s%d-%d", nsPrefix, os.Getpid(), labCount.Add(1))
	l := &Lab{
		NS: base + "-a", PeerNS: base + "-b",
		If: labIf, PeerIf: labPeerIf, MAC: labMAC, PeerMAC: labPeerMAC,
		Addr4: labAddr4, PeerAddr4: labPeerAddr4, Addr6: labAddr6, PeerAddr6: labPeerAddr6,
		MTU: c.mtu, Queues: c.queues,
	}
	all := []string{l.NS, l.PeerNS}
	t.Cleanup(func() {
		for _, ns := range all {
			if err := removeNS(ns); err != nil {
				t.Errorf("dptest: %v", err)
			}
		}
	})
	if err := build(l, c); err != nil {
		t.Fatalf("dptest: making the lab: %v", err)
	}
	return l
}

func (l *Lab) buildPair(c labConfig) error {
	q, mtu := strconv.Itoa(c.queues), strconv.Itoa(c.mtu)
	if err := ips([][]string{
		{"netns", "add", l.NS},
		{"netns", "add", l.PeerNS},
		{
			"-n", l.NS, "link", "add", l.If, "address", l.MAC.String(), "mtu", mtu, "numtxqueues", q, "numrxqueues", q,
			"type", "veth", "peer", "name", l.PeerIf, "netns", l.PeerNS, "address", l.PeerMAC.String(), "mtu", mtu,
			"numtxqueues", q, "numrxqueues", q,
		},
	}); err != nil {
		return err
	}
	// No IPv6 on fastsyn's side, so that the kernel sends nothing of its own there.
	if err := setSysctl(l.NS, "net.ipv6.conf."+l.If+".disable_ipv6", "1"); err != nil {
		return err
	}
	if !c.offloads {
		for ns, dev := range map[string]string{l.NS: l.If, l.PeerNS: l.PeerIf} {
			var err error
			if e := inNS(ns, func() { err = offloadsOff(dev) }); e != nil || err != nil {
				return errors.Join(e, err)
			}
		}
	}
	if err := ips([][]string{
		{"-n", l.NS, "link", "set", "lo", "up"},
		{"-n", l.NS, "link", "set", l.If, "up"},
	}); err != nil {
		return err
	}
	return l.peerUp(c)
}

func (l *Lab) buildTap(c labConfig) error {
	l.NS, l.If = "", ""
	tap := []string{"-n", l.PeerNS, "tuntap", "add", "dev", l.PeerIf, "mode", "tap"}
	if c.queues > 1 {
		tap = append(tap, "multi_queue")
	}
	if err := ips([][]string{
		{"netns", "add", l.PeerNS},
		tap,
		{"-n", l.PeerNS, "link", "set", l.PeerIf, "address", l.PeerMAC.String(), "mtu", strconv.Itoa(c.mtu)},
	}); err != nil {
		return err
	}
	return l.peerUp(c)
}

// peerUp gives the peer its addresses, with no DAD and no router search before them.
func (l *Lab) peerUp(c labConfig) error {
	for _, key := range []string{"accept_dad", "router_solicitations"} {
		if err := setSysctl(l.PeerNS, "net.ipv6.conf."+l.PeerIf+"."+key, "0"); err != nil {
			return err
		}
	}
	if err := ips([][]string{
		{"-n", l.PeerNS, "link", "set", "lo", "up"},
		{"-n", l.PeerNS, "addr", "add", l.PeerAddr4.String(), "dev", l.PeerIf},
		{"-n", l.PeerNS, "addr", "add", l.PeerAddr6.String(), "dev", l.PeerIf, "nodad"},
		{"-n", l.PeerNS, "link", "set", l.PeerIf, "up"},
	}); err != nil {
		return err
	}
	for _, s := range c.sysctls {
		if err := setSysctl(l.PeerNS, s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// Exec runs a command in a namespace, fails the test if that fails, and returns its output.
func (l *Lab) Exec(t testing.TB, ns string, cmd ...string) string {
	t.Helper()
	out, err := l.Try(ns, cmd...)
	if err != nil {
		t.Fatalf("dptest: in %s: %s: %v\n%s", ns, strings.Join(cmd, " "), err, out)
	}
	return out
}

// Try runs a command in a namespace, for a minute at most, and returns its
// output, standard error included.
func (l *Lab) Try(ns string, cmd ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), execLimit)
	defer cancel()
	path, err := LookTool("ip")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, append([]string{"netns", "exec", ns}, cmd...)...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("still running after %v", execLimit)
	}
	return string(out), err
}

// InNS runs f in the namespace of the fastsyn side; see InNetNS.
func (l *Lab) InNS(t testing.TB, f func()) { t.Helper(); InNetNS(t, l.NS, f) }

// InPeerNS runs f in the namespace of the peer; see InNetNS.
func (l *Lab) InPeerNS(t testing.TB, f func()) { t.Helper(); InNetNS(t, l.PeerNS, f) }

// InNetNS runs f on a thread inside a namespace and waits for it. Sockets that
// f opens belong to that namespace for good; goroutines that f starts do not.
// FailNow and a panic in f end the test as usual.
func InNetNS(t testing.TB, ns string, f func()) {
	t.Helper()
	err := inNS(ns, f)
	switch {
	case err == nil:
	case errors.Is(err, errLeft) && t.Skipped():
		t.SkipNow()
	case errors.Is(err, errLeft) && t.Failed():
		t.FailNow()
	default:
		t.Fatalf("dptest: %v", err)
	}
}

// errLeft says that f ended its goroutine, as FailNow does.
var errLeft = errors.New("the function did not return (FailNow or Goexit)")

// inNS runs f in a namespace on a goroutine of its own. When the thread cannot
// be brought back, it stays locked and ends with the goroutine, so that no other code runs there.
func inNS(ns string, f func()) error {
	result := make(chan error, 1)
	var panicked any
	go func() {
		err := errLeft
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

// removeStale removes namespaces of ours whose process is gone, and what still runs in them.
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

// ownerOf returns the process that a namespace name of NewLab carries.
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
	e := inNS(ns, func() {
		err = os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0)
	})
	if err = errors.Join(e, err); err != nil {
		return fmt.Errorf("sysctl %s=%s in %s: %w", key, value, ns, err)
	}
	return nil
}
