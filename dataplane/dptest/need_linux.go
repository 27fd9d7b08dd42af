package dptest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/netlab"
)

// canNetNS tries.
var canNetNS = sync.OnceValue(func() error {
	if err := isRoot(); err != nil {
		return err // ip netns writes below /run
	}
	return netlab.Available()
})

// canRaw tries to open a packet socket.
func canRaw() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	return unix.Close(fd)
}

// canAdmin looks at the effective capabilities (capabilities(7)).
func canAdmin() error {
	b, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			if err != nil {
				return err
			}
			if caps>>unix.CAP_NET_ADMIN&1 == 0 {
				return errors.New("CAP_NET_ADMIN is not effective")
			}
			return nil
		}
	}
	return errors.New("/proc/thread-self/status has no CapEff")
}

// hasHugepages looks for a free page of the default size.
func hasHugepages() error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "HugePages_Free:"); ok {
			if strings.TrimSpace(v) == "0" {
				return errors.New("no huge page is free")
			}
			return nil
		}
	}
	return errors.New("this kernel has no huge pages")
}

// canTun opens the device that makes taps.
func canTun() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	return unix.Close(fd)
}
