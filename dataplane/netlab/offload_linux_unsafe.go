//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolValue is struct ethtool_value of linux/ethtool.h.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq with the ifr_data member (netdevice(7)).
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// offloadsOff switches checksum and segmentation offloads of a device in the
// current namespace off, as ethtool -K does, without needing that program.
func offloadsOff(dev string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("offloads of %s: %w", dev, err)
	}
	defer func() { _ = unix.Close(fd) }()
	for _, o := range []struct {
		name string
		cmd  uint32
	}{
		{"tso", unix.ETHTOOL_STSO},
		{"gso", unix.ETHTOOL_SGSO},
		{"gro", unix.ETHTOOL_SGRO},
		{"tx-checksum", unix.ETHTOOL_STXCSUM},
		{"rx-checksum", unix.ETHTOOL_SRXCSUM},
	} {
		val := &ethtoolValue{cmd: o.cmd}
		req := ifreqData{data: unsafe.Pointer(val)}
		copy(req.name[:unix.IFNAMSIZ-1], dev)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		runtime.KeepAlive(val)
		if errno != 0 && !errors.Is(errno, unix.EOPNOTSUPP) {
			return fmt.Errorf("switching %s of %s off: %w", o.name, dev, errno)
		}
	}
	return nil
}
