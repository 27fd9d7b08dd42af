package loop

import "encoding/binary"

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	protoTCP  = 6
)

// steer returns the receive queue of frame d, and the hash with its valid bit
// as they stand in a ring word. d has at least minFrame bytes. Like a NIC it
// looks no deeper than it must: one 802.1Q tag, no IPv6 extension headers, and
// what is not a whole TCP tuple goes to queue 0 without a hash.
func (w *wire) steer(d []byte) (to uint32, extra uint64) {
	et, p := binary.BigEndian.Uint16(d[12:]), d[14:]
	if et == etherVLAN && len(p) >= 4 {
		et, p = binary.BigEndian.Uint16(p[2:]), p[4:]
	}
	var h uint32
	switch {
	case et == etherIPv4 && len(p) >= 20 && p[9] == protoTCP:
		ihl := int(p[0]&15) * 4
		fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0 // MF or an offset
		if p[0]>>4 != 4 || ihl < 20 || len(p) < ihl+4 || fragment {
			return 0, 0
		}
		l4 := p[ihl:]
		h = w.hash.Hash4(binary.BigEndian.Uint32(p[12:]), binary.BigEndian.Uint32(p[16:]),
			binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:]))
	case et == etherIPv6 && len(p) >= 44 && p[0]>>4 == 6 && p[6] == protoTCP:
		h = w.hash.Hash6(binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint64(p[16:]),
			binary.BigEndian.Uint64(p[24:]), binary.BigEndian.Uint64(p[32:]),
			binary.BigEndian.Uint16(p[40:]), binary.BigEndian.Uint16(p[42:]))
	default:
		return 0, 0
	}
	return uint32(w.reta.Queue(h)), uint64(h)<<hashPos | hashBit
}
