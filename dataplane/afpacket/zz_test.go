package afpacket
import ("testing";"golang.org/x/sys/unix";"unsafe")
type mmsg struct { hdr unix.Msghdr; n uint32; _ [4]byte }
func BenchmarkMmsg(b *testing.B) {
	l := newLab(b)
	var fd int
	l.in(l.ours, func(){
		fd, _ = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
		p := l.open(Config{})
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: p.ifindex})
	})
	f := testFrame(0,64); copy(f, peerMAC)
	var ms [64]mmsg; var iov [64]unix.Iovec
	for i := range ms { iov[i].Base=&f[0]; iov[i].SetLen(64); ms[i].hdr.Iov=&iov[i]; ms[i].hdr.SetIovlen(1) }
	tot := 0
	for b.Loop() {
		n,_,_ := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&ms[0])), 64, unix.MSG_DONTWAIT,0,0)
		if int(n) > 0 {tot += int(n)}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tot), "ns/pkt")
}
