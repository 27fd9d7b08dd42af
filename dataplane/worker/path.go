package worker

import (
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

const maxPaths = 4096 // distinct (MAC, VLAN) pairs that peers are remembered behind

// macBits is a MAC address as the low 48 bits of a little-endian word: headers
// are then moved in words, which a CPU forwards from its store buffer, and not
// in pieces, which it does not.
type macBits uint64

const macMask = 1<<48 - 1

func bitsOf(mac [6]byte) macBits {
	return macBits(binary.LittleEndian.Uint32(mac[:])) | macBits(binary.LittleEndian.Uint16(mac[4:]))<<32
}

// srcOf and dstOf read the addresses of a frame of at least 14 bytes.
func srcOf(frame []byte) macBits { return macBits(binary.LittleEndian.Uint64(frame[6:14]) & macMask) }

func dstOf(frame []byte) macBits { return macBits(binary.LittleEndian.Uint64(frame[0:8]) & macMask) }

// path is where the frames of a peer come from: its own or its router's MAC.
type path struct {
	mac  macBits
	vlan uint16 // TCI
}

// put writes the Ethernet header of a frame to p from src, and returns its
// length. b has room for 18 bytes.
func (p path) put(b []byte, src macBits, v4 bool) int {
	et := uint64(wire.EtherTypeIPv6>>8 | wire.EtherTypeIPv6&0xff<<8)
	if v4 {
		et = wire.EtherTypeIPv4>>8 | wire.EtherTypeIPv4&0xff<<8
	}
	_ = b[17]
	binary.LittleEndian.PutUint64(b, uint64(p.mac)|uint64(src)<<48)
	if p.vlan == 0 {
		binary.LittleEndian.PutUint64(b[6:], uint64(src)|et<<48)
		return wire.EthernetLen
	}
	binary.LittleEndian.PutUint64(b[6:], uint64(src)|0x0081<<48)
	binary.BigEndian.PutUint16(b[14:], p.vlan)
	binary.LittleEndian.PutUint16(b[16:], uint16(et))
	return wire.EthernetLen + wire.VLANLen
}

// paths gives small handles to the (MAC, VLAN) pairs seen, so that a record can
// answer later, from a timer, without a neighbour lookup (NET-003). When it is
// full, handle 0 sends such answers through the neighbour table.
type paths struct {
	all  []path // handle - 1
	hash [2 * maxPaths]uint16
	last uint16
}

func (p *paths) handle(want path) uint16 {
	if p.last != 0 && p.all[p.last-1] == want {
		return p.last
	}
	h := uint32((uint64(want.mac)<<12 ^ uint64(want.vlan)) * 0x9e3779b97f4a7c15 >> 32)
	for i := range uint32(8) {
		slot := &p.hash[(h+i)%(2*maxPaths)]
		if *slot == 0 {
			if len(p.all) == maxPaths {
				return 0
			}
			p.all = append(p.all, want)
			*slot = uint16(len(p.all))
			p.last = *slot
			return *slot
		}
		if p.all[*slot-1] == want {
			p.last = *slot
			return *slot
		}
	}
	return 0
}

func (p *paths) get(h uint16) (path, bool) {
	if h == 0 || int(h) > len(p.all) {
		return path{}, false
	}
	return p.all[h-1], true
}
