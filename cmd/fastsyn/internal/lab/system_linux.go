package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// userNSEnv tells this program, started again, that it is root of a user namespace of its own.
const userNSEnv = "FASTSYN_LAB_USER_NAMESPACE"

// Kernel is the release of the kernel that plays the peer.
func Kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Prepare makes sure that labs can be made here. As an ordinary user it runs this program again, with
// the same arguments, as root of a user namespace (user_namespaces(7)), whose network namespaces
// touch nothing of the machine's; then it returns true and the exit code of that.
func Prepare(ctx context.Context) (again bool, code int, err error) {
	if _, err := netlab.LookTool("ss"); err != nil {
		return false, 0, fmt.Errorf("%w: what the kernel says of its connections is read from it (apt install iproute2)", err)
	}
	if os.Getenv(userNSEnv) != "" {
		return false, 0, privateRun()
	}
	if os.Geteuid() != 0 {
		code, err = inUserNamespace(ctx)
		return true, code, err
	}
	if err := netlab.Available(); err != nil {
		return false, 0, fmt.Errorf("network namespaces cannot be made here: %w; CAP_SYS_ADMIN and CAP_NET_ADMIN are missing (docker run --privileged)", err)
	}
	return false, 0, nil
}

// privateRun gives this mount namespace a /run of its own, for ip netns.
func privateRun() error {
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("a /run of its own in the user namespace: %w; run it as root: sudo fastsyn lab", err)
	}
	return os.MkdirAll("/run/netns", 0o755)
}

// inUserNamespace runs this program in new user, mount and network namespaces.
func inUserNamespace(ctx context.Context) (code int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), userNSEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGTERM,
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("network namespaces are made by root, and this machine lets users make no user namespaces either (%w): run it as root: sudo fastsyn lab", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	defer stop()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil // it has said itself what is wrong
	}
	return 0, err
}
