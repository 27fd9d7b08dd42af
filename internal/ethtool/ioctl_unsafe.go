//go:build linux

package ethtool

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqData is struct ifreq with ifr_data in use.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ioctl runs an ETHTOOL command whose struct is words, in memory order.
func ioctl(fd int, name string, words []uint32) error {
	var r ifreqData
	copy(r.name[:unix.IFNAMSIZ-1], name)
	r.data = unsafe.Pointer(unsafe.SliceData(words))
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(words)
	if e != 0 {
		return e
	}
	return nil
}

// asBytes views words as the bytes the kernel sees.
func asBytes(words []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
}
