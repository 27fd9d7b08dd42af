//go:build linux

package hugepages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mincore fills vec with one byte per base page of b, bit 0 for "resident".
func mincore(b, vec []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(b))),
		uintptr(len(b)), uintptr(unsafe.Pointer(unsafe.SliceData(vec))))
	if errno != 0 {
		return errno
	}
	return nil
}

// mbind sets the memory policy of b, which begins on a page, to one node.
func mbind(b []byte, mode, node int) error {
	// The kernel reads maxnode-1 bits (get_nodes in mm/mempolicy.c), in words.
	const maxNodes = 1024
	if node >= maxNodes {
		return unix.EINVAL
	}
	var mask [maxNodes / 64]uint64
	mask[node/64] = 1 << (node % 64)
	_, _, errno := unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		uintptr(mode), uintptr(unsafe.Pointer(&mask)), maxNodes+1, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// mlockOnFault locks pages of b as they are touched.
func mlockOnFault(b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MLOCK2, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MLOCK_ONFAULT)
	if errno != 0 {
		return errno
	}
	return nil
}
