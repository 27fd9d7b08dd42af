package script

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// kernel is the Linux kernel as a Subject: a network namespace that belongs to
// one thread and ends with it, in it a tap whose other end the script has, and
// sockets. A frame written to a tap is handled before the write returns, and so
// is what it causes, timers apart.
type kernel struct {
	link      Link
	fam       Family
	set       Settings
	tap       int
	listener  int // the last one
	listeners map[uint16]int
	fd        int // of the current flow, -1
	fds       []int
	err       string // of the current flow, once seen
	buf       []byte
}

var _ Subject = (*kernel)(nil)

// needKernel skips unless this machine can run scripts against its kernel.
func needKernel(t *testing.T) {
	t.Helper()
	dptest.Need(t, "netns", "tun")
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	for _, m := range measuredKernels {
		if strings.HasPrefix(release, m) {
			return
		}
	}
	if os.Getenv(anyKernelEnv) == "" {
		t.Skipf("the answers in the scripts are those of Linux %s, this is %s; to see what differs set %s=1",
			strings.Join(measuredKernels, ", "), release, anyKernelEnv)
	}
}

// newKernel makes a namespace for the calling goroutine, which stays locked to
// its thread: both end together, and the namespace with them.
func newKernel(t *testing.T, c Settings, fam Family, link Link) *kernel {
	t.Helper()
	runtime.LockOSThread()
	k := &kernel{link: link, fam: fam, set: c, tap: -1, listener: -1, fd: -1, buf: make([]byte, 4096), listeners: map[uint16]int{}}
	if err := k.open(); err != nil {
		k.free()
		t.Fatalf("kernel: %v", err)
	}
	return k
}

func (k *kernel) open() (err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("a network namespace: %w", err)
	}
	if k.tap, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	const dev = "script0"
	req, err := unix.NewIfreq(dev)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(k.tap, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("making a tap: %w", err)
	}
	ctl, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ctl) }()
	if err := setMAC(ctl, dev, k.link.EndpointMAC); err != nil {
		return fmt.Errorf("MAC: %w", err)
	}
	if k.set.MTU > 0 {
		req.SetUint32(uint32(k.set.MTU))
		if err := unix.IoctlIfreq(ctl, unix.SIOCSIFMTU, req); err != nil {
			return fmt.Errorf("MTU: %w", err)
		}
	}
	if err := k.sysctls(dev); err != nil {
		return err
	}
	if k.fam == V4 {
		for _, set := range []struct {
			op uint
			a  uint32
		}{{unix.SIOCSIFADDR, k.link.Endpoint[V4].V4()}, {unix.SIOCSIFNETMASK, 0xffffff00}} {
			if err := req.SetInet4Addr(be.AppendUint32(nil, set.a)); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(ctl, set.op, req); err != nil {
				return fmt.Errorf("IPv4 address: %w", err)
			}
		}
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(ctl, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	if k.fam == V6 {
		return k.addr6(ctl, dev, req)
	}
	return nil
}

// addr6 gives the tap its IPv6 address.
func (k *kernel) addr6(ctl int, dev string, req *unix.Ifreq) error {
	s6, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(s6) }()
	if err := unix.IoctlIfreq(ctl, unix.SIOCGIFINDEX, req); err != nil {
		return fmt.Errorf("index of %s: %w", dev, err)
	}
	if err := setAddr6(s6, req.Uint32(), k.link.Endpoint[V6].As16(), 64); err != nil {
		return fmt.Errorf("IPv6 address: %w", err)
	}
	// A worker of the kernel makes it usable, even without duplicate address detection.
	const tentative = 0x40
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/thread-self/net/if_inet6")
		if err != nil {
			return err
		}
		if w := strings.Fields(string(b)); len(w) == 6 {
			if flags, err := strconv.ParseUint(w[4], 16, 32); err == nil && flags&tentative == 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("the IPv6 address is still tentative after %v", patience)
}

// rtoMin is the least retransmission timeout, in µs.
const rtoMin = "net/ipv4/tcp_rto_min_us"

// sysctls sets those of the namespace. Limits on answers are off unless the
// script is about them, so that no answer depends on how fast this machine is.
func (k *kernel) sysctls(dev string) error {
	set := map[string]string{
		"net/ipv6/conf/" + dev + "/accept_dad":           "0",
		"net/ipv6/conf/" + dev + "/dad_transmits":        "0",
		"net/ipv6/conf/" + dev + "/router_solicitations": "0",
		"net/ipv6/conf/" + dev + "/addr_gen_mode":        "1",
		"net/ipv4/tcp_invalid_ratelimit":                 "0",
		"net/ipv4/icmp_ratelimit":                        "0",
	}
	if k.set.ChallengeLimit {
		set["net/ipv4/tcp_invalid_ratelimit"] = "600000"
	}
	for name, off := range map[string]bool{"tcp_timestamps": k.set.NoTimestamps, "tcp_sack": k.set.NoSACK, "tcp_window_scaling": k.set.NoWScale} {
		if off {
			set["net/ipv4/"+name] = "0"
		}
	}
	if c := k.set.Cookies; c != "" {
		set["net/ipv4/tcp_syncookies"] = map[string]string{"never": "0", "pressure": "1", "always": "2"}[c]
	}
	if k.set.ECN != "" {
		set["net/ipv4/tcp_ecn"] = map[string]string{"off": "0", "on": "1"}[k.set.ECN]
	}
	if k.set.FastOpen {
		set["net/ipv4/tcp_fastopen"] = "2" // as a server
	}
	if k.set.Timeless { // a busy machine is no reason to send anything again
		set[rtoMin] = "2000000"
	}
	for name, v := range set {
		err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(v), 0)
		if name == rtoMin && errors.Is(err, os.ErrNotExist) { // since Linux 6.11
			continue
		}
		if err != nil {
			return fmt.Errorf("sysctl: %w", err)
		}
	}
	return nil
}

func (k *kernel) free() {
	for _, fd := range append(k.fds, k.tap) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (k *kernel) Side() Side                  { return Kernel }
func (k *kernel) WallClock() bool             { return true }
func (k *kernel) Outcomes() map[string]uint64 { return nil }
func (k *kernel) Check() error                { return nil }

// Pass sleeps if that is short. A longer time passes while the answer that must
// follow is waited for.
func (k *kernel) Pass(d time.Duration) error {
	if d <= ShortWait {
		time.Sleep(d)
	}
	return nil
}

func (k *kernel) Inject(frame []byte) error {
	if _, err := unix.Write(k.tap, frame); err != nil {
		return fmt.Errorf("writing to the tap: %w", err)
	}
	return nil
}

func (k *kernel) Receive(wait time.Duration) ([]byte, error) {
	end := time.Now().Add(wait)
	for {
		n, err := unix.Read(k.tap, k.buf)
		if err == nil {
			return append([]byte(nil), k.buf[:n]...), nil
		}
		left := time.Until(end)
		if !errors.Is(err, unix.EAGAIN) || left <= 0 {
			if errors.Is(err, unix.EAGAIN) {
				return nil, nil
			}
			return nil, fmt.Errorf("reading the tap: %w", err)
		}
		if _, err := poll(k.tap, unix.POLLIN, left); err != nil {
			return nil, err
		}
	}
}

func poll(fd int, events int16, wait time.Duration) (int16, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(p, int(wait.Milliseconds()))
		if !errors.Is(err, unix.EINTR) {
			return p[0].Revents, err
		}
	}
}
