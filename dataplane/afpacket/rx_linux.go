package afpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

// rxRing is the receiving half of a queue. With TPACKET_V2 a unit is a slot of
// one frame, with TPACKET_V3 a block of packed frames. A unit whose status has
// TP_STATUS_USER is ours until we clear it.
type rxRing struct {
	fd      int
	mem     []byte
	size, n int // bytes of a unit, units
	head    int // the unit the kernel will hand over next, or that is open
	// TPACKET_V3: the next frame in the open block, and how many it still has.
	off, left int
}

const blockStatus = 8 // of block_status in struct tpacket_block_desc

func (r *rxRing) advance() {
	r.head++
	if r.head == r.n {
		r.head = 0
	}
}

// rxV2 fills b from a ring of slots.
func (q *queue) rxV2(b *dataplane.Batch) (n int) {
	r := &q.rx
	for n < dataplane.BatchSize {
		off := r.head * r.size
		st := loadStatus(r.mem, off)
		if st&unix.TP_STATUS_USER == 0 {
			break
		}
		slot := r.mem[off : off+r.size]
		le := binary.NativeEndian
		f := frame{
			status: st,
			wire:   int(le.Uint32(slot[4:])),
			tci:    le.Uint16(slot[24:]), tpid: le.Uint16(slot[26:]),
		}
		mac, snap := int(le.Uint16(slot[12:])), int(le.Uint32(slot[8:]))
		f.data = slot[mac : mac+snap]
		switch q.take(b, n, &f, slot[tpacket2Hdr+llPkttype]) {
		case lent:
			n++
		case noBuffer:
			return n
		case skipped:
		}
		storeStatus(r.mem, off, unix.TP_STATUS_KERNEL)
		r.advance()
	}
	return n
}

// rxV3 fills b from a ring of blocks.
func (q *queue) rxV3(b *dataplane.Batch) (n int) {
	r := &q.rx
	le := binary.NativeEndian
	for n < dataplane.BatchSize {
		base := r.head * r.size
		block := r.mem[base : base+r.size]
		if r.left == 0 {
			if r.off != 0 { // the open block is used up
				storeStatus(r.mem, base+blockStatus, unix.TP_STATUS_KERNEL)
				r.off = 0
				r.advance()
				continue
			}
			if loadStatus(r.mem, base+blockStatus)&unix.TP_STATUS_USER == 0 {
				break
			}
			r.left, r.off = int(le.Uint32(block[12:])), int(le.Uint32(block[16:]))
			continue
		}
		h := block[r.off:]
		f := frame{
			status: le.Uint32(h[20:]),
			wire:   int(le.Uint32(h[16:])),
			tci:    uint16(le.Uint32(h[32:])), tpid: le.Uint16(h[36:]),
		}
		mac, snap := int(le.Uint16(h[24:])), int(le.Uint32(h[12:]))
		f.data = h[mac : mac+snap]
		switch q.take(b, n, &f, h[tpacket3Hdr+llPkttype]) {
		case lent:
			n++
		case noBuffer:
			return n
		case skipped:
		}
		r.off += int(le.Uint32(h))
		r.left--
	}
	return n
}

// frame is a received frame in the ring.
type frame struct {
	data      []byte
	wire      int // its length when it was received
	status    uint32
	tci, tpid uint16
}

type taken uint8

const (
	lent     taken = iota
	skipped        // not for us, or lost and counted
	noBuffer       // stays in the ring
)

// take copies f into a buffer and lends it as b's frame n.
func (q *queue) take(b *dataplane.Batch, n int, f *frame, pkttype byte) taken {
	copied := f.status&unix.TP_STATUS_COPY != 0
	if pkttype == unix.PACKET_OUTGOING && !q.outgoing || pkttype == unix.PACKET_OTHERHOST && !q.promisc {
		if copied {
			_, _ = recvFrame(q.rx.fd, nil)
		}
		return skipped
	}
	var meta dataplane.Meta
	tag := 0
	if f.status&unix.TP_STATUS_VLAN_VALID != 0 {
		if f.tpid == unix.ETH_P_8021Q || f.status&unix.TP_STATUS_VLAN_TPID_VALID == 0 {
			meta.VLAN, meta.Flags = f.tci, dataplane.MetaVLAN
		} else {
			tag = vlanTag // 802.1ad: Meta cannot say so, put it back
		}
	}
	var buf []byte
	var h uint64
	var ok bool
	if f.wire+tag <= q.pool.size {
		if buf, h, ok = q.pool.get(); !ok {
			return noBuffer
		}
	} else if buf, h, ok = q.pool.getJumbo(); !ok {
		// The application keeps them all. Small frames must get past.
		if copied {
			_, _ = recvFrame(q.rx.fd, nil)
		}
		q.noJumbo++
		return skipped
	}
	var size int
	if copied {
		if size = q.fetch(buf, f.wire); size == 0 {
			size = copy(buf, f.data)
		}
		if tag != 0 {
			size = min(size+tag, len(buf))
			copy(buf[12+tag:size], buf[12:])
		}
	} else if tag != 0 {
		size = copy(buf, f.data[:12]) + tag + copy(buf[12+tag:], f.data[12:])
	} else {
		size = copy(buf, f.data)
	}
	if tag != 0 {
		binary.BigEndian.PutUint16(buf[12:], f.tpid)
		binary.BigEndian.PutUint16(buf[14:], f.tci)
	}
	if size < f.wire+tag {
		meta.Flags |= dataplane.MetaTruncated
	} else if f.status&(unix.TP_STATUS_CSUMNOTREADY|unix.TP_STATUS_CSUM_VALID) != 0 && headerSumGood(buf[:size]) {
		meta.Flags |= dataplane.MetaCsumGood
	}
	b.Data[n], b.Meta[n], b.Verdict[n], b.Handle[n] = buf[:size], meta, dataplane.Drop, h
	q.st.RxFrames++
	q.st.RxBytes += uint64(size)
	return lent
}

// fetch takes the whole of a frame that did not fit its slot off the socket's
// queue. It returns 0 if that is not there.
func (q *queue) fetch(buf []byte, wire int) int {
	n, errno := recvFrame(q.rx.fd, buf)
	if errno != 0 && errno != unix.EAGAIN { // a pending socket error came first
		n, errno = recvFrame(q.rx.fd, buf)
	}
	if errno != 0 || n != wire {
		return 0
	}
	return min(n, len(buf))
}

// headerSumGood verifies the checksum of an IPv4 header: the kernel's word is
// about TCP alone. True for IPv6, which has none, false for anything else.
func headerSumGood(f []byte) bool {
	if len(f) < etherHdr+20 {
		return false
	}
	switch binary.BigEndian.Uint16(f[12:]) {
	case unix.ETH_P_IPV6:
		return true
	case unix.ETH_P_IP:
	default:
		return false
	}
	ip := f[etherHdr:]
	n := int(ip[0]&15) * 4
	if n < 20 || n > len(ip) {
		return false
	}
	var sum uint64
	for ip = ip[:n]; len(ip) >= 4; ip = ip[4:] {
		sum += uint64(binary.NativeEndian.Uint32(ip)) // sums commute with byte order (RFC 1071)
	}
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return sum == 0xffff
}
