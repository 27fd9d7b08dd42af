//go:build linux

package afpacket

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of the data path, spelled out because the wrappers in x/sys
// allocate their results, and the few accesses to memory the kernel writes too.

// loadStatus reads the status word at byte off of a ring; what the kernel wrote
// before it is visible afterwards.
func loadStatus(ring []byte, off int) uint32 {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&ring[off : off+4][0])))
}

// storeStatus hands the slot or block back, after all our accesses to it.
func storeStatus(ring []byte, off int, v uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&ring[off : off+4][0])), v)
}

// kickTx asks the kernel to send every slot marked SEND_REQUEST.
func kickTx(fd int) syscall.Errno {
	_, _, e := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return e
}

// recvFrame takes one whole frame off the socket's own queue into buf and
// returns its real length, which may exceed that of buf.
func recvFrame(fd int, buf []byte) (int, syscall.Errno) {
	n, _, e := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	return int(n), e
}

// pollFor waits for events of pfds for at most ts.
func pollFor(pfds []unix.PollFd, ts *unix.Timespec) {
	_, _, _ = unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(pfds))), uintptr(len(pfds)), uintptr(unsafe.Pointer(ts)), 0, 0, 0)
}

// packetStats reads and clears PACKET_STATISTICS.
func packetStats(fd int, st *unix.TpacketStatsV3) syscall.Errno {
	size := uint32(unsafe.Sizeof(*st))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS,
		uintptr(unsafe.Pointer(st)), uintptr(unsafe.Pointer(&size)), 0)
	return e
}

// boundTo returns the interface index a packet socket is bound to: -1 once the
// interface is gone from the namespace, whatever has taken its name since.
func boundTo(fd int, sa *unix.RawSockaddrLinklayer) (ifindex int32, err syscall.Errno) {
	size := uint32(unsafe.Sizeof(*sa))
	_, _, e := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(sa)), uintptr(unsafe.Pointer(&size)))
	return sa.Ifindex, e
}

// ifreqData is struct ifreq with ifr_data in use.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// ethtool runs an ETHTOOL command whose struct is words, in memory order;
// ret is what a successful ioctl returned.
func ethtool(fd int, name string, words []uint32) (ret int, err error) {
	var r ifreqData
	copy(r.name[:unix.IFNAMSIZ-1], name)
	r.data = unsafe.Pointer(unsafe.SliceData(words))
	n, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(words)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// asBytes views words as the bytes the kernel sees.
func asBytes(words []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 4*len(words))
}
