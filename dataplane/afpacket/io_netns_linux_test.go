package afpacket

import (
	"bytes"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

// say sends frames from our side.
func say(t *testing.T, q dataplane.Queue, frames ...[]byte) (sent int) {
	t.Helper()
	b := dataplane.NewBatch()
	for len(frames) > 0 {
		n := q.Blank(b, len(frames))
		require.NotZero(t, n)
		for i := range n {
			require.Empty(t, b.Data[i])
			require.GreaterOrEqual(t, cap(b.Data[i]), q.Caps().FrameRoom)
			b.Data[i] = append(b.Data[i], frames[i]...)
			b.Verdict[i] = dataplane.Reply
		}
		frames = frames[n:]
		sent += q.Settle(b)
		require.Zero(t, b.N)
	}
	return sent
}

func TestBothWays(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		p := l.open(Config{Ring: r})
		q, peer := p.Queue(0), l.peer(false)
		// More frames than slots, of every length from the least to the largest.
		var bytesIn, bytesOut uint64
		const count = 3000
		for n := 0; n < count; {
			var out [][]byte
			for range 100 {
				f := testFrame(n, 60+n%(1514-60+1))
				peer.send(f)
				bytesIn += uint64(len(f))
				n++
				out = append(out, f)
			}
			in, metas := collect(t, q, len(out), isTest)
			requireFrames(t, out, in)
			require.Equal(t, make([]dataplane.Meta, len(in)), metas, "nobody vouches for these")
		}
		for n := range count {
			f := testFrame(n, 60+n%(1514-60+1))
			copy(f, peerMAC)
			require.Equal(t, 1, say(t, q, f))
			bytesOut += uint64(len(f))
			got, tci := peer.recv()
			require.Equal(t, f, got)
			require.Equal(t, -1, tci)
		}
		s := p.Stats(0)
		require.EqualValues(t, count, s.TxFrames)
		require.Equal(t, bytesOut, s.TxBytes)
		require.GreaterOrEqual(t, s.RxFrames, uint64(count))
		require.GreaterOrEqual(t, s.RxBytes, bytesIn)
		require.Zero(t, s.TxFull+s.TxErrors+s.RxMissed+s.NoBlank)
	})
}

// A frame is answered in its own buffer, grown from 60 to 90 bytes, in order.
func TestReplyInPlace(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		q, peer := l.open(Config{Ring: r}).Queue(0), l.peer(false)
		b := dataplane.NewBatch()
		for n := range 100 {
			peer.send(testFrame(n, 60))
		}
		for got, end := 0, time.Now().Add(deadline); got < 100 && time.Now().Before(end); {
			q.Wait(deadline)
			for i := range q.Rx(b) {
				if isTest(b.Data[i]) {
					b.Data[i] = append(b.Data[i], make([]byte, 30)...)
					copy(b.Data[i], peerMAC)
					b.Verdict[i] = dataplane.Reply
					got++
				}
			}
			q.Settle(b)
		}
		for n := range 100 {
			f, _ := peer.recv()
			require.Len(t, f, 90)
			require.EqualValues(t, n, binary.BigEndian.Uint32(f[14:]))
		}
	})
}

// requireFrames compares without printing 64 KiB of bytes.
func requireFrames(t *testing.T, want, got [][]byte) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	for i := range want {
		if bytes.Equal(want[i], got[i]) {
			continue
		}
		at := 0
		for at < min(len(want[i]), len(got[i])) && want[i][at] == got[i][at] {
			at++
		}
		t.Fatalf("frame %d: %d bytes, want %d; first difference at byte %d; starts % x, want % x",
			i, len(got[i]), len(want[i]), at, got[i][:min(60, len(got[i]))], want[i][:min(60, len(want[i]))])
	}
}

func udp4(srcIP, dstIP []byte, src, dst uint16, payload []byte) []byte {
	u := tuple{srcIP, dstIP, src, dst}
	pkt, _ := u.packet(0)
	pkt = append(pkt[:20], make([]byte, 8)...)
	pkt = append(pkt, payload...)
	pkt[9] = unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^uint16(sum16(pkt[:20], 0)))
	binary.BigEndian.PutUint16(pkt[20:], src)
	binary.BigEndian.PutUint16(pkt[22:], dst)
	binary.BigEndian.PutUint16(pkt[24:], uint16(8+len(payload)))
	binary.BigEndian.PutUint16(pkt[26:], ^uint16(l4sum(pkt, 20, unix.IPPROTO_UDP)))
	return pkt
}

// l4sum is the sum over the IPv4 pseudo header and everything from byte hdr on.
func l4sum(ip []byte, hdr int, proto byte) uint32 {
	ph := append(append([]byte{}, ip[12:20]...), 0, proto, 0, 0)
	binary.BigEndian.PutUint16(ph[10:], uint16(len(ip)-hdr))
	return sum16(ip[hdr:], sum16(ph, 0))
}

// A kernel UDP socket on the other side, with its checksum offload on (the
// kernel leaves the checksum to the device, which veth is not) and off.
func TestNET_014_KernelSocketAndChecksumFlags(t *testing.T) {
	for _, tx := range []string{"on", "off"} {
		t.Run("peer tx checksum "+tx, func(t *testing.T) {
			rings(t, func(t *testing.T, r Ring) {
				l := newLab(t)
				l.Exec(t, l.PeerNS, "ethtool", "-K", l.PeerIf, "tx", tx)
				q := l.open(Config{Ring: r}).Queue(0)
				var c *net.UDPConn
				var err error
				l.InPeerNS(l.t, func() { c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: peerIP, Port: 9000}) })
				require.NoError(t, err)
				defer c.Close()
				_, err = c.WriteTo([]byte("from the kernel"), &net.UDPAddr{IP: ourIP, Port: 9001})
				require.NoError(t, err)
				in, metas := collect(t, q, 1, isIPv4)
				require.Equal(t, "from the kernel", string(in[0][42:]))
				good := l4sum(in[0][14:], 20, unix.IPPROTO_UDP) == 0xffff
				require.Equal(t, tx == "off", good, "the lab does not do what the test is about")
				want := dataplane.MetaFlags(0)
				if tx == "on" {
					want = dataplane.MetaCsumGood
				}
				require.Equal(t, want, metas[0].Flags)

				say(t, q, ether(peerMAC, ourMAC, unix.ETH_P_IP, udp4(ourIP, peerIP, 9001, 9000, []byte("from us"))))
				buf := make([]byte, 100)
				require.NoError(t, c.SetReadDeadline(time.Now().Add(deadline)))
				n, from, err := c.ReadFromUDPAddrPort(buf)
				require.NoError(t, err)
				require.Equal(t, "from us", string(buf[:n]))
				require.EqualValues(t, 9001, from.Port())
			})
		})
	}
}

// The kernel's word covers the TCP or UDP checksum, so a damaged IPv4 header
// must be found by us.
func TestVAL_001_BadHeaderChecksumIsNotVouchedFor(t *testing.T) {
	l := newLab(t)
	q, peer := l.open(Config{}).Queue(0), l.peer(true)
	for _, damage := range []byte{0, 1} {
		pkt := udp4(peerIP, ourIP, 1, 2, []byte("x"))
		pkt[8] ^= damage
		// virtio_net_hdr: flags NEEDS_CSUM, csum_start 34, csum_offset 6.
		hdr := make([]byte, vnetHdr)
		hdr[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
		binary.NativeEndian.PutUint16(hdr[6:], 34)
		binary.NativeEndian.PutUint16(hdr[8:], 6)
		peer.send(append(hdr, ether(ourMAC, peerMAC, unix.ETH_P_IP, pkt)...))
		_, metas := collect(t, q, 1, isIPv4)
		require.Equal(t, damage == 0, metas[0].Flags&dataplane.MetaCsumGood != 0)
	}
}

// gso builds a TCP segment of size bytes of IP that the kernel passes along
// whole (TSO), checksum left to the device, behind its virtio_net_hdr.
func gso(n, size int) (vnet, frame []byte) {
	u := tuple{peerIP, ourIP, 1000, 2000}
	pkt, _ := u.packet(0)
	pkt = append(pkt, make([]byte, size-len(pkt))...)
	for i := 40; i < size; i++ {
		pkt[i] = byte(i*7 + n)
	}
	binary.BigEndian.PutUint16(pkt[2:], uint16(size))
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^uint16(sum16(pkt[:20], 0)))
	pkt[33] = 0x10 // ACK
	hdr := make([]byte, vnetHdr)
	hdr[0], hdr[1] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM, unix.VIRTIO_NET_HDR_GSO_TCPV4
	binary.NativeEndian.PutUint16(hdr[2:], 54)   // hdr_len
	binary.NativeEndian.PutUint16(hdr[4:], 1460) // gso_size
	binary.NativeEndian.PutUint16(hdr[6:], 34)   // csum_start
	binary.NativeEndian.PutUint16(hdr[8:], 16)   // csum_offset
	frame = ether(ourMAC, peerMAC, unix.ETH_P_IP, pkt)
	return append(hdr, frame...), frame
}

func TestNET_014_TSOFramesArriveWhole(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		p := l.open(Config{Ring: r})
		q, peer, plain := p.Queue(0), l.peer(true), l.peer(false)
		sizes := []int{1500, 1501, 1952, 1953, 2034, 2035, 2048, 9000, 32768, 65521} // the last is the largest frame veth takes whole
		for round := range 20 {
			var want [][]byte
			for n, size := range sizes {
				vnet, f := gso(n+round, size)
				peer.send(vnet)
				small := testFrame(n, 60)
				plain.send(small)
				want = append(want, f, small)
			}
			got, metas := collect(t, q, len(want), func(f []byte) bool { return isIPv4(f) || isTest(f) })
			requireFrames(t, want, got)
			for i := range want {
				require.Equal(t, i%2 == 0, metas[i].Flags&dataplane.MetaCsumGood != 0)
				require.Zero(t, metas[i].Flags&dataplane.MetaTruncated)
			}
		}
		require.Zero(t, p.Stats(0).RxMissed)
		require.Len(t, p.queues[0].pool.freeJumbo, jumboCount)
	})
}

// When the application sits on every jumbo buffer, further long frames are lost
// and counted; short ones still pass, and the socket's queue stays in step.
func TestJumboBuffersExhausted(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		p := l.open(Config{Ring: r})
		q, peer, plain := p.queues[0], l.peer(true), l.peer(false)
		hold := q.pool.freeJumbo
		q.pool.freeJumbo = nil
		vnet, _ := gso(1, 65521)
		peer.send(vnet)
		plain.send(testFrame(1, 60))
		collect(t, q, 1, isTest)
		require.EqualValues(t, 1, p.Stats(0).RxMissed)
		require.EqualValues(t, 1, p.Drops(0)["afpacket_rx_no_jumbo"])
		q.pool.freeJumbo = hold
		vnet, want := gso(2, 40000)
		peer.send(vnet)
		got, _ := collect(t, q, 1, isIPv4)
		require.True(t, bytes.Equal(want, got[0]))
	})
}

// A kernel TCP client whose first window leaves in one frame larger than the MTU.
func TestNET_014_KernelTCPWithTSO(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		q := l.open(Config{Ring: r}).Queue(0)
		var fd int
		l.InPeerNS(l.t, func() {
			var err error
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
		})
		defer unix.Close(fd)
		require.ErrorIs(t, unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte(ourIP)}), unix.EINPROGRESS)
		syn, metas := collect(t, q, 1, isIPv4)
		require.EqualValues(t, 2, syn[0][14+33], "SYN")
		require.NotZero(t, metas[0].Flags&dataplane.MetaCsumGood)
		tcp := syn[0][34:]
		u := tuple{ourIP, peerIP, 80, binary.BigEndian.Uint16(tcp)}
		pkt, _ := u.packet(0)
		binary.BigEndian.PutUint32(pkt[24:], 1)                                  // seq
		binary.BigEndian.PutUint32(pkt[28:], binary.BigEndian.Uint32(tcp[4:])+1) // ack
		pkt[32], pkt[33] = 6<<4, 0x12                                            // SYN ACK
		binary.BigEndian.PutUint16(pkt[34:], 0xffff)                             // window
		pkt = append(pkt, 2, 4, 1460>>8, 1460&0xff)                              // MSS
		binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
		pkt[10], pkt[11] = 0, 0
		binary.BigEndian.PutUint16(pkt[10:], ^uint16(sum16(pkt[:20], 0)))
		binary.BigEndian.PutUint16(pkt[36:], ^uint16(l4sum(pkt, 20, unix.IPPROTO_TCP)))
		say(t, q, ether(peerMAC, ourMAC, unix.ETH_P_IP, pkt))
		collect(t, q, 1, func(f []byte) bool { return isIPv4(f) && f[14+33] == 0x10 }) // handshake done
		_, err := unix.Write(fd, make([]byte, 14000))
		require.NoError(t, err)
		data, metas := collect(t, q, 1, func(f []byte) bool { return isIPv4(f) && len(f) > 1514 })
		require.EqualValues(t, len(data[0])-14, binary.BigEndian.Uint16(data[0][16:]))
		require.Equal(t, dataplane.MetaCsumGood, metas[0].Flags)
	})
}

func TestNET_005_VLAN(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		q, peer := l.open(Config{Ring: r}).Queue(0), l.peer(false)
		const tci = 5<<13 | 123
		pl := bytes.Repeat([]byte("vlan"), 20)

		peer.send(ether(ourMAC, peerMAC, etherTest, pl, tci))
		b := dataplane.NewBatch()
		for end := time.Now().Add(deadline); time.Now().Before(end); {
			q.Wait(deadline)
			if q.Rx(b) == 1 && isTest(b.Data[0]) {
				break
			}
			q.Settle(b) // the peer kernel's own
		}
		require.Equal(t, 1, b.N)
		require.Equal(t, dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: tci}, b.Meta[0])
		require.Equal(t, ether(ourMAC, peerMAC, etherTest, pl), b.Data[0])
		// Answered in place, the tag comes back.
		copy(b.Data[0], peerMAC)
		copy(b.Data[0][6:], ourMAC)
		b.Verdict[0] = dataplane.Reply
		require.Equal(t, 1, q.Settle(b))
		f, got := peer.recv()
		require.Equal(t, ether(peerMAC, ourMAC, etherTest, pl), f)
		require.Equal(t, tci, got)

		// A tag in the frame wins over Meta: it is not doubled.
		require.Equal(t, 1, q.Blank(b, 1))
		b.Data[0] = append(b.Data[0], ether(peerMAC, ourMAC, etherTest, pl, 7)...)
		b.Meta[0], b.Verdict[0] = dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: tci}, dataplane.Reply
		require.Equal(t, 1, q.Settle(b))
		f, got = peer.recv()
		require.Equal(t, ether(peerMAC, ourMAC, etherTest, pl), f)
		require.Equal(t, 7, got)

		// Two tags: the outer one is stripped, the inner one stays in the frame.
		peer.send(ether(ourMAC, peerMAC, etherTest, pl, tci, 9))
		in, metas := collect(t, q, 1, isQinQ)
		require.Equal(t, ether(ourMAC, peerMAC, etherTest, pl, 9), in[0])
		require.Equal(t, dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: tci}, metas[0])

		// 802.1ad: Meta cannot say that, so the tag is put back.
		ad := ether(ourMAC, peerMAC, etherTest, pl, tci)
		binary.BigEndian.PutUint16(ad[12:], unix.ETH_P_8021AD)
		peer.send(ad)
		in, metas = collect(t, q, 1, is8021AD)
		require.Equal(t, ad, in[0])
		require.Zero(t, metas[0])

		// 802.1ad around a full-sized frame that just fits the buffer without it.
		big := ether(ourMAC, peerMAC, etherTest, bytes.Repeat([]byte{1}, 1500), tci)
		binary.BigEndian.PutUint16(big[12:], unix.ETH_P_8021AD)
		l.peerIP("link", "set", l.PeerIf, "mtu", "2000") // the kernel allows 4 more bytes for 802.1Q only
		peer.send(big)
		in, _ = collect(t, q, 1, is8021AD)
		require.Equal(t, big, in[0])

		// Full-sized replies with a tag.
		full := testFrame(0, 1514)
		copy(full, peerMAC)
		require.Equal(t, 1, q.Blank(b, 1))
		b.Data[0] = append(b.Data[0], full...)
		b.Meta[0], b.Verdict[0] = dataplane.Meta{Flags: dataplane.MetaVLAN, VLAN: 3}, dataplane.Reply
		require.Equal(t, 1, q.Settle(b))
		f, got = peer.recv()
		require.Equal(t, full, f)
		require.Equal(t, 3, got)
	})
}

func TestOwnAndOthersFramesAreNotReceived(t *testing.T) {
	for _, queues := range []int{1, 2} {
		l := newLab(t)
		p := l.open(Config{Queues: queues})
		q, peer := p.Queue(0), l.peer(false)
		for i := range 50 {
			f := testFrame(1000+i, 60)
			copy(f, peerMAC)
			say(t, q, f)
		}
		// Another sender on our interface, through the ordinary path with its taps.
		l.InNS(l.t, func() {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			defer unix.Close(fd)
			f := testFrame(2000, 60)
			copy(f, peerMAC)
			require.NoError(t, unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: p.ifindex}))
		})
		other := testFrame(3000, 60)
		other[5] ^= 0xff
		peer.send(other) // unicast to somebody else: a NIC would not show it
		group := testFrame(4000, 60)
		copy(group, net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 1})
		peer.send(group) // solicited-node multicast
		peer.send(testFrame(1, 60))
		frames, _ := collect(t, q, 2, isTest)
		require.Equal(t, group, frames[0])
		require.Equal(t, testFrame(1, 60), frames[1])
	}
}

// A device with a filter passes the groups of neighbour solicitations (33:33:ff...)
// only when somebody asks for them, and the kernel asks only for its own addresses.
func TestNET_007_MulticastIsAskedFor(t *testing.T) {
	l := newLab(t)
	all := func() string { return l.ourIP("-d", "link", "show", l.If) }
	require.Contains(t, all(), "allmulti 0")
	p := l.open(Config{})
	require.Contains(t, all(), "allmulti 1")
	require.NoError(t, p.Close())
	require.Contains(t, all(), "allmulti 0")
}

func TestPromiscuous(t *testing.T) {
	l := newLab(t)
	flags := func() string { return l.ourIP("-d", "link", "show", l.If) }
	require.Contains(t, flags(), "promiscuity 0")
	p := l.open(Config{Promisc: true})
	require.Contains(t, flags(), "promiscuity 1")
	peer := l.peer(false)
	other := testFrame(1, 60)
	other[5] ^= 0xff
	peer.send(other)
	frames, _ := collect(t, p.Queue(0), 1, isTest)
	require.Equal(t, other, frames[0])
	require.NoError(t, p.Close())
	require.Contains(t, flags(), "promiscuity 0")
}

func TestKeep(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		p := l.open(Config{Ring: r})
		q, peer := p.queues[0], l.peer(false)
		q.pool.free = q.pool.free[len(q.pool.free)-10:] // ten buffers
		all := len(q.pool.free)
		for n := range 25 {
			peer.send(testFrame(n, 60))
		}
		b, kept := dataplane.NewBatch(), dataplane.NewBatch()
		for end := time.Now().Add(deadline); kept.N < all && time.Now().Before(end); {
			q.Wait(deadline)
			for i := range q.Rx(b) {
				b.Verdict[i] = dataplane.Keep
				kept.Data[kept.N], kept.Handle[kept.N] = b.Data[i], b.Handle[i]
				kept.N++
			}
			require.Zero(t, q.Settle(b))
		}
		require.Equal(t, all, kept.N)
		// All buffers are out: nothing is lent, nothing is lost, Wait does sleep.
		require.Zero(t, q.Rx(b))
		sleeps(t, q)
		require.Zero(t, q.Blank(b, 3))
		require.EqualValues(t, 3, p.Stats(0).NoBlank)
		for i := range kept.N {
			require.Equal(t, testFrame(i, 60), kept.Data[i])
			kept.Verdict[i] = dataplane.Drop
		}
		require.Zero(t, q.Settle(kept))
		frames, _ := collect(t, q, 15, isTest)
		for i, f := range frames {
			require.Equal(t, testFrame(10+i, 60), f)
		}
		require.Len(t, q.pool.free, all)
	})
}

// What the kernel had no room for is counted, nothing else is lost.
func TestRxOverflowIsCounted(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		p := l.open(Config{Ring: r, RxRing: minRing})
		q, peer := p.Queue(0), l.peer(false)
		const sent = 4000
		for n := range sent {
			peer.send(testFrame(n, 200))
		}
		b := dataplane.NewBatch()
		got := uint64(0)
		for end := time.Now().Add(deadline); time.Now().Before(end) && got+p.Stats(0).RxMissed < sent; {
			got += uint64(q.Rx(b))
			q.Settle(b)
			q.Wait(time.Millisecond)
		}
		s := p.Stats(0)
		require.NotZero(t, s.RxMissed)
		require.EqualValues(t, sent, s.RxFrames+s.RxMissed)
		require.Equal(t, s.RxMissed, p.Drops(0)["afpacket_rx_ring_full"])
		peer.send(testFrame(1, 60)) // and on it goes
		collect(t, q, 1, isTest)
	})
}

func TestNoAllocations(t *testing.T) {
	rings(t, func(t *testing.T, r Ring) {
		l := newLab(t)
		q, peer := l.open(Config{Ring: r}).queues[0], l.peer(true)
		b := dataplane.NewBatch()
		jumbo, _ := gso(1, 30000)
		small, _ := gso(1, 60)
		out := testFrame(0, 100)
		copy(out, peerMAC)
		rx := 0
		require.Zero(t, testing.AllocsPerRun(200, func() {
			_, _ = unix.Write(peer.fd, jumbo)
			_, _ = unix.Write(peer.fd, small)
			q.Wait(deadline)
			rx += q.Rx(b)
			for i := range b.N {
				b.Data[i], b.Verdict[i] = append(b.Data[i][:0], out...), dataplane.Reply
			}
			q.Settle(b)
			for i := range q.Blank(b, 3) {
				b.Data[i], b.Verdict[i] = append(b.Data[i], out...), dataplane.Reply
			}
			q.Settle(b)
			q.lastTick = time.Time{}
			q.tick(time.Now())
		}))
		require.GreaterOrEqual(t, rx, 200)
	})
}
