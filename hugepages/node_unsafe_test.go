//go:build linux

package hugepages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// nodeOf returns the node of the first page of b, which was written to, get_mempolicy(2).
func nodeOf(b []byte) (int, error) {
	var node int32
	_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&node)), 0, 0,
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), unix.MPOL_F_NODE|unix.MPOL_F_ADDR, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(node), nil
}

// policyOf returns the memory policy at b and the nodes below 64 in it.
func policyOf(b []byte) (mode int32, nodes uint64, err error) {
	var mask [16]uint64
	_, _, errno := unix.Syscall6(unix.SYS_GET_MEMPOLICY, uintptr(unsafe.Pointer(&mode)), uintptr(unsafe.Pointer(&mask)), 1024+1,
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), unix.MPOL_F_ADDR, 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return mode, mask[0], nil
}
