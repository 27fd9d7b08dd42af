package afpacket

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

const deadline = 10 * time.Second // of a test that fails, no test waits for it

// lab is dptest's lab as these tests use it, with the kernel's offloads on.
type lab struct {
	*dptest.Lab
	t testing.TB
}

func newLab(t testing.TB, opts ...dptest.LabOption) *lab {
	t.Helper()
	opts = append([]dptest.LabOption{dptest.LabOffloads(true), dptest.LabSysctl("net.ipv6.conf.peer0.disable_ipv6", "1")}, opts...)
	l := &lab{dptest.NewLab(t, opts...), t}
	l.peerIP("neigh", "add", l.Addr4.Addr().String(), "lladdr", l.MAC.String(), "dev", l.PeerIf)
	return l
}

// ourIP and peerIP run the ip command on either side.
func (l *lab) ourIP(args ...string) string {
	l.t.Helper()
	return l.Exec(l.t, l.NS, append([]string{"ip"}, args...)...)
}

func (l *lab) peerIP(args ...string) string {
	l.t.Helper()
	return l.Exec(l.t, l.PeerNS, append([]string{"ip"}, args...)...)
}

// The lab's addresses, the same in each.
var (
	ourMAC  = net.HardwareAddr{0x02, 0x66, 0x73, 0xab, 0, 1}
	peerMAC = net.HardwareAddr{0x02, 0x66, 0x73, 0xab, 0, 2}
	ourIP   = []byte{10, 71, 0, 1}
	peerIP  = []byte{10, 71, 0, 2}
)

// open opens a port in our namespace and closes it after the test.
func (l *lab) open(cfg Config) *Port {
	l.t.Helper()
	if cfg.Interface == "" {
		cfg.Interface = l.If
	}
	var p *Port
	var err error
	l.InNS(l.t, func() { p, err = Open(cfg) })
	require.NoError(l.t, err)
	l.t.Cleanup(func() { require.NoError(l.t, p.Close()) })
	return p
}

// peer is a packet socket on the other end of the veth pair.
type peer struct {
	t  testing.TB
	fd int
}

// peer opens the socket; vnet makes every frame start with a virtio_net_hdr.
func (l *lab) peer(vnet bool) *peer {
	l.t.Helper()
	p := &peer{l.t, -1}
	l.InPeerNS(l.t, func() {
		ifi, err := net.InterfaceByName(l.PeerIf)
		require.NoError(l.t, err)
		p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		require.NoError(l.t, err)
		require.NoError(l.t, unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
		if vnet {
			require.NoError(l.t, unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
		}
		require.NoError(l.t, unix.SetsockoptInt(p.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1))
		require.NoError(l.t, unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
		require.NoError(l.t, unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(deadline / time.Second)}))
		require.NoError(l.t, unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}))
	})
	l.t.Cleanup(func() { _ = unix.Close(p.fd) })
	return p
}

func (p *peer) send(frame []byte) {
	p.t.Helper()
	_, err := unix.Write(p.fd, frame)
	require.NoError(p.t, err)
}

// recv returns the next frame and the VLAN tag the kernel stripped, -1 if none.
func (p *peer) recv() (frame []byte, tci int) {
	p.t.Helper()
	buf, oob := make([]byte, 70<<10), make([]byte, 256)
	n, on, _, _, err := unix.Recvmsg(p.fd, buf, oob, 0)
	for err == unix.EINTR { // a receive timeout makes it interruptible
		n, on, _, _, err = unix.Recvmsg(p.fd, buf, oob, 0)
	}
	require.NoError(p.t, err, "no frame arrived")
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	require.NoError(p.t, err)
	tci = -1
	for _, m := range msgs {
		if m.Header.Type == unix.PACKET_AUXDATA && binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
			tci = int(binary.NativeEndian.Uint16(m.Data[16:]))
		}
	}
	return buf[:n], tci
}

// ether puts an Ethernet header with n VLAN tags before a payload.
func ether(dst, src net.HardwareAddr, proto uint16, payload []byte, tags ...uint16) []byte {
	f := append(append([]byte{}, dst...), src...)
	for _, tci := range tags {
		f = binary.BigEndian.AppendUint16(f, unix.ETH_P_8021Q)
		f = binary.BigEndian.AppendUint16(f, tci)
	}
	return append(binary.BigEndian.AppendUint16(f, proto), payload...)
}

// test frames carry an experimental EtherType (IEEE 802 local experimental 1).
const etherTest = 0x88b5

func testFrame(n, size int) []byte {
	pl := make([]byte, size-etherHdr)
	binary.BigEndian.PutUint32(pl, uint32(n))
	for i := 4; i < len(pl); i++ {
		pl[i] = byte(i * (n + 1))
	}
	return ether(ourMAC, peerMAC, etherTest, pl)
}

// collect polls a queue until want frames for which keep is true have come, and
// returns copies with their meta. What comes in the same burst after them is lost.
func collect(t testing.TB, q dataplane.Queue, want int, keep func(f []byte) bool) (frames [][]byte, metas []dataplane.Meta) {
	t.Helper()
	b := dataplane.NewBatch()
	for end := time.Now().Add(deadline); len(frames) < want; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d frames arrived; err %v", len(frames), want, q.Err())
		}
		q.Wait(100 * time.Millisecond)
		for i := range q.Rx(b) {
			require.GreaterOrEqual(t, cap(b.Data[i]), q.Caps().ReplyRoom)
			require.Equal(t, dataplane.Drop, b.Verdict[i])
			if len(frames) < want && keep(b.Data[i]) {
				frames = append(frames, append([]byte{}, b.Data[i]...))
				metas = append(metas, b.Meta[i])
			}
		}
		require.Zero(t, q.Settle(b))
	}
	return frames, metas
}

func isTest(f []byte) bool { return len(f) > 13 && binary.BigEndian.Uint16(f[12:]) == etherTest }
func isIPv4(f []byte) bool { return len(f) > 13 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_IP }

// is8021AD finds a service tag still in the frame, isQinQ a customer tag.
func is8021AD(f []byte) bool { return binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_8021AD }
func isQinQ(f []byte) bool   { return binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_8021Q }

// rings runs a test with both layouts.
func rings(t *testing.T, f func(t *testing.T, r Ring)) {
	for _, r := range []Ring{RingV2, RingV3} {
		t.Run("ring="+r.String(), func(t *testing.T) { f(t, r) })
	}
}
