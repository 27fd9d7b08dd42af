//go:build linux

package script

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// setMAC sets the hardware address of an interface (netdevice(7), SIOCSIFHWADDR).
func setMAC(fd int, dev string, mac [6]byte) error {
	req := struct {
		name   [unix.IFNAMSIZ]byte
		family uint16
		mac    [22]byte
	}{family: unix.ARPHRD_ETHER}
	copy(req.name[:], dev)
	copy(req.mac[:], mac[:])
	return ioctl(fd, unix.SIOCSIFHWADDR, unsafe.Pointer(&req))
}

// setAddr6 gives an interface an IPv6 address (netdevice(7), struct in6_ifreq).
func setAddr6(fd int, index uint32, addr [16]byte, bits uint32) error {
	req := struct {
		addr        [16]byte
		bits, index uint32
	}{addr, bits, index}
	return ioctl(fd, unix.SIOCSIFADDR, unsafe.Pointer(&req))
}

func ioctl(fd int, op uintptr, arg unsafe.Pointer) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), op, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}
