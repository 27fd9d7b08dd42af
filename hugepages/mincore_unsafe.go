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
