package afpacket

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane"
)

// txRing is the sending half of a queue. The kernel looks at slots in order and
// only inside our sendto, so until then a SEND_REQUEST can be taken back; after
// that, a slot is ours again once its status is AVAILABLE.
type txRing struct {
	fd      int
	mem     []byte
	size, n int // bytes of a slot, slots
	head    int // next slot to fill
	pending int // slots before head that the kernel has yet to take
}

func (t *txRing) at(i int) int {
	if i < 0 {
		i += t.n
	}
	return i * t.size
}

// put copies a frame into the next slot, putting the VLAN tag that the kernel
// stripped on receive back in. It reports false when the ring is full.
func (t *txRing) put(frame []byte, m *dataplane.Meta) bool {
	off := t.at(t.head)
	if loadStatus(t.mem, off) != unix.TP_STATUS_AVAILABLE {
		return false
	}
	slot := t.mem[off : off+t.size]
	n := len(frame)
	if m.Flags&dataplane.MetaVLAN != 0 && !tagged(frame) {
		copy(slot[txFrame:], frame[:12])
		binary.BigEndian.PutUint16(slot[txFrame+12:], unix.ETH_P_8021Q)
		binary.BigEndian.PutUint16(slot[txFrame+14:], m.VLAN)
		copy(slot[txFrame+16:], frame[12:])
		n += vlanTag
	} else {
		copy(slot[txFrame:], frame)
	}
	// virtio_net_hdr: no offloads asked for, the whole frame is header.
	clear(slot[txData:txFrame])
	binary.NativeEndian.PutUint16(slot[txData+2:], uint16(n))
	binary.NativeEndian.PutUint32(slot[4:], uint32(vnetHdr+n)) // tp_len
	storeStatus(t.mem, off, unix.TP_STATUS_SEND_REQUEST)
	t.head++
	if t.head == t.n {
		t.head = 0
	}
	t.pending++
	return true
}

func tagged(frame []byte) bool { return frame[12] == 0x81 && frame[13] == 0 }

// waiting returns how many slots before head the kernel has not taken.
func (t *txRing) waiting() (n int) {
	for n < t.n && loadStatus(t.mem, t.at(t.head-1-n)) == unix.TP_STATUS_SEND_REQUEST {
		n++
	}
	return n
}

// revoke takes back the last k slots, which the kernel has not taken.
func (t *txRing) revoke(k int) {
	for range k {
		if t.head == 0 {
			t.head = t.n
		}
		t.head--
		storeStatus(t.mem, t.at(t.head), unix.TP_STATUS_AVAILABLE)
	}
}

// skip removes the slot k before the last: the kernel found fault with it and
// would stop there for ever. Later frames move up, so order is kept.
func (t *txRing) skip(k int) {
	for ; k > 0; k-- {
		dst, src := t.at(t.head-1-k), t.at(t.head-k)
		copy(t.mem[dst+4:dst+t.size], t.mem[src+4:src+t.size])
		storeStatus(t.mem, dst, unix.TP_STATUS_SEND_REQUEST)
	}
	t.revoke(1)
}

// kick makes the kernel send what is in the ring. What it cannot take now
// (socket buffer or device ring full) stays for the next kick; what it refuses
// is counted in TxErrors.
func (q *queue) kick() {
	t := &q.tx
	for range t.n {
		errno := kickTx(t.fd)
		t.pending = t.waiting()
		switch errno {
		case 0, unix.EAGAIN, unix.EINTR, unix.ENOMEM:
			return
		case unix.ENOBUFS:
			// The device did not take a frame: its ring is full, or there is
			// no carrier, and then nothing will ever take it.
			if t.pending == 0 || q.port.running() {
				return
			}
			q.refuse()
			return
		case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
			q.refuse()
			q.checkGone()
			return
		}
		// A frame is malformed in the eyes of the kernel.
		if loadStatus(t.mem, t.at(t.head-1-t.pending)) != unix.TP_STATUS_WRONG_FORMAT {
			return
		}
		t.skip(t.pending)
		q.st.TxErrors++
		if t.pending == 0 {
			return
		}
	}
}

// refuse drops what the kernel has not taken and counts it.
func (q *queue) refuse() {
	q.tx.revoke(q.tx.pending)
	q.st.TxErrors += uint64(q.tx.pending)
	q.tx.pending = 0
}
