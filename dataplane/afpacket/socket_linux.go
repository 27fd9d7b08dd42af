package afpacket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/sys/unix"
)

// Layout of slots and frames (linux/if_packet.h, packet(7)).
const (
	tpacket2Hdr = unix.SizeofTpacket2Hdr // sockaddr_ll follows
	tpacket3Hdr = unix.SizeofTpacket3Hdr
	llPkttype   = 10 // of sll_pkttype in sockaddr_ll
	etherHdr    = 14
	vlanTag     = 4
	rxOverhead  = 66 // where TPACKET_V2 puts the Ethernet header in a slot
	// Transmit slots: header, virtio_net_hdr, frame. The kernel looks for data
	// at TPACKET2_HDRLEN - sizeof(struct sockaddr_ll), which is this:
	txData   = tpacket2Hdr
	vnetHdr  = 10
	txFrame  = txData + vnetHdr
	ringPage = 128 << 10 // block size: whole jumbo frames fit a TPACKET_V3 block
)

// socketError wraps what the kernel said with what to do about it.
func socketError(iface, what string, err error) error {
	fix := ""
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		fix = ": run as root, or give the program the right once: setcap cap_net_raw,cap_net_admin=ep BINARY"
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOBUFS):
		fix = ": memory for the rings was refused: lower rx-ring= and tx-ring= (bytes per queue), or queues="
	case errors.Is(err, unix.EAFNOSUPPORT):
		fix = ": this kernel has no AF_PACKET sockets: load the af_packet module (CONFIG_PACKET)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		fix = ": raise the limit of open files (ulimit -n); each queue needs three"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		fix = ": the interface went away meanwhile"
	}
	return fmt.Errorf("afpacket: %s: %s: %w%s", iface, what, err, fix)
}

// openRx makes the receiving socket and its ring. Until SO_DETACH_FILTER it
// drops every frame, so that none reaches the wrong queue, or two, while the
// fanout group is put together.
func (q *queue) openRx(cfg *Config, ifindex int) (err error) {
	fail := func(what string, err error) error { return socketError(cfg.Interface, what, err) }
	// Protocol 0: nothing is received before bind names the interface.
	if q.rx.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fail("opening a packet socket", err)
	}
	fd := q.rx.fd
	none := []unix.SockFilter{ins(unix.BPF_RET|unix.BPF_K, 0)}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]}); err != nil {
		return fail("SO_ATTACH_FILTER", err)
	}
	// Frames of other senders on this interface are not ours to answer. Before
	// Linux 4.20 the option is unknown; Rx checks sll_pkttype as well.
	if !cfg.Outgoing {
		_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	version := unix.TPACKET_V2
	if cfg.Ring == RingV3 {
		version = unix.TPACKET_V3
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, version); err != nil {
		return fail("PACKET_VERSION "+cfg.Ring.String(), err)
	}
	r := &q.rx
	blocks := cfg.RxRing / ringPage
	if cfg.Ring == RingV3 {
		r.size, r.n = ringPage, blocks
		err = unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
			Block_size: ringPage, Block_nr: uint32(blocks), Frame_size: minBuffer, Frame_nr: uint32(blocks * (ringPage / minBuffer)),
			Retire_blk_tov: 1, // ms, the least there is
		})
	} else {
		r.size, r.n = q.pool.size, blocks*(ringPage/q.pool.size)
		// Frames that do not fit a slot (TSO) come through the socket's own
		// receive queue, announced in the ring by TP_STATUS_COPY.
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_COPY_THRESH, 1); err != nil {
			return fail("PACKET_COPY_THRESH", err)
		}
		setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, 8<<20)
		err = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{
			Block_size: ringPage, Block_nr: uint32(blocks), Frame_size: uint32(r.size), Frame_nr: uint32(r.n),
		})
	}
	if err != nil {
		return fail(fmt.Sprintf("receive ring of %d bytes", blocks*ringPage), err)
	}
	if r.mem, err = unix.Mmap(fd, 0, blocks*ringPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fail("mapping the receive ring", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}); err != nil {
		return fail("bind", err)
	}
	return nil
}

// openTx makes the sending socket and its ring. It is a second socket for three
// reasons: bound with protocol 0 it never receives, so it costs nothing per
// frame; TPACKET_V2 transmit works next to either receive version and on any
// kernel (V3 transmit came with 4.11); and the two sides do not eat each
// other's socket errors.
//
// PACKET_VNET_HDR is there for its hdr_len: the kernel copies that many bytes
// into the socket buffer's head and attaches the rest as page fragments. With
// all of the frame in the head there are no fragments, which a NIC would fetch
// by extra DMA and veth would copy into fresh pages; the slot is free sooner.
func (q *queue) openTx(cfg *Config, ifindex int) (err error) {
	fail := func(what string, err error) error { return socketError(cfg.Interface, what, err) }
	if q.tx.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return fail("opening a packet socket", err)
	}
	fd := q.tx.fd
	t := &q.tx
	t.size = q.pool.size
	blocks := cfg.TxRing / ringPage
	t.n = blocks * (ringPage / t.size)
	// No queueing discipline between us and the driver's ring: a full ring is
	// visible at once, and taps are not shown every frame.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fail("PACKET_QDISC_BYPASS", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fail("PACKET_VNET_HDR", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return fail("PACKET_VERSION v2", err)
	}
	// In-flight socket buffers are charged at about 1 KiB for a small frame.
	setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, 4<<20)
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_TX_RING, &unix.TpacketReq{
		Block_size: ringPage, Block_nr: uint32(blocks), Frame_size: uint32(t.size), Frame_nr: uint32(t.n),
	}); err != nil {
		return fail(fmt.Sprintf("transmit ring of %d bytes", blocks*ringPage), err)
	}
	if t.mem, err = unix.Mmap(fd, 0, blocks*ringPage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fail("mapping the transmit ring", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifindex}); err != nil {
		return fail("bind", err)
	}
	return nil
}

// setBuffer sets a socket buffer size past the system's limit if we may, else as
// far as that goes.
func setBuffer(fd, force, plain, bytes int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, bytes)
	}
}

// joinFanout puts the receiving sockets into one new group, in queue order, and
// gives it the steering program.
func joinFanout(cfg *Config, qs []*queue, up bool) error {
	const mode = unix.PACKET_FANOUT_CBPF
	// The group has a hook of its own, which must be told to ignore outgoing
	// frames too (Linux 5.14 and later). The kernel picks a free group id.
	id, flags := 0, unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING
	if cfg.Outgoing {
		flags = 0
	}
	err := unix.SetsockoptInt(qs[0].rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|unix.PACKET_FANOUT_FLAG_UNIQUEID|flags)<<16)
	if errors.Is(err, unix.EINVAL) {
		flags = 0
		err = unix.SetsockoptInt(qs[0].rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|unix.PACKET_FANOUT_FLAG_UNIQUEID)<<16)
	}
	if err != nil {
		return joinError(cfg.Interface, err, up)
	}
	if id, err = unix.GetsockoptInt(qs[0].rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT); err != nil {
		return joinError(cfg.Interface, err, up)
	}
	for _, q := range qs[1:] {
		if err := unix.SetsockoptInt(q.rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, (mode|flags)<<16|id&0xffff); err != nil {
			return joinError(cfg.Interface, err, up)
		}
	}
	prog := steer(cfg.RSSKey, len(qs))
	if err := unix.SetsockoptSockFprog(qs[0].rx.fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}); err != nil {
		return socketError(cfg.Interface, "PACKET_FANOUT_DATA", err)
	}
	return nil
}

func joinError(iface string, err error, up bool) error {
	if errors.Is(err, unix.EINVAL) && !up {
		return fmt.Errorf("afpacket: %s: PACKET_FANOUT: %w: this kernel (before 6.13) spreads over queues only while the interface is up: ip link set %s up, or use queues=1",
			iface, err, iface)
	}
	return socketError(iface, "PACKET_FANOUT", err)
}

// bufferSize returns the size of slots and small buffers for an MTU: a power of
// two that holds a full frame, as far as maxBuffer.
func bufferSize(mtu int) int {
	need := mtu + etherHdr + vlanTag + rxOverhead
	return min(max(1<<bits.Len(uint(need-1)), minBuffer), maxBuffer)
}

// htons returns v as the kernel wants a network-order field.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
