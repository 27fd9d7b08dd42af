package bench

import (
	"encoding/binary"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// Why a reflector does not answer a frame. The answer to a frame for a group
// would come from that group, which no sender can be (IEEE 802-2014 §8.2.2); the
// same rule keeps two reflectors from answering each other's group traffic.
type reflectDrop uint8

const (
	groupSource reflectDrop = iota
	groupDestination
	reflectTruncated // longer than the buffer
	reflectShort     // no whole Ethernet header
	numReflectDrops
)

var reflectDropNames = [numReflectDrops]string{"group_source", "group_destination", "truncated", "short_ethernet"}

// groupBit is the group bit of a MAC address in the low bytes of a little-endian word.
const groupBit = 1

const macBits = 1<<48 - 1

// reflector answers every frame of a queue with itself, Ethernet addresses
// swapped, in the buffer it came in: what is left of a driver's rate when
// nothing is done with the frames. It keeps no state per frame and knows no protocol.
type reflector struct {
	q     dataplane.Queue
	b     *dataplane.Batch
	sent  uint64 // reflected: handed to the device
	full  uint64 // not taken by the transmit ring
	drops [numReflectDrops]uint64
}

func newReflector(q dataplane.Queue) *reflector {
	return &reflector{q: q, b: dataplane.NewBatch()}
}

// turn implements station.
func (r *reflector) turn(int64) (received int, worked bool, next int64) {
	n := r.q.Rx(r.b)
	if n == 0 {
		return 0, false, never
	}
	asked := r.swap()
	sent := r.q.Settle(r.b)
	r.sent += uint64(sent)
	r.full += uint64(asked - sent)
	return n, true, never
}

// swap makes replies of the frames in r.b and returns how many.
func (r *reflector) swap() (replies int) {
	n := r.b.N
	data, meta, verdict := r.b.Data[:n], r.b.Meta[:n], r.b.Verdict[:n]
	for i := range data {
		d := data[i]
		if len(d) < wire.EthernetLen {
			r.drops[reflectShort]++
			continue
		}
		// The 14 bytes of the header as two words that overlap in two bytes.
		lo, hi := binary.LittleEndian.Uint64(d[:8]), binary.LittleEndian.Uint64(d[6:14])
		if (lo|hi)&groupBit != 0 || meta[i].Flags&(dataplane.MetaTruncated|dataplane.MetaVLAN) != 0 {
			if d = r.special(d, lo, hi, &meta[i]); d == nil {
				continue
			}
			data[i], hi = d, binary.LittleEndian.Uint64(d[6:14])
		}
		binary.LittleEndian.PutUint64(d[:8], hi&macBits|lo<<48)
		binary.LittleEndian.PutUint64(d[6:14], lo&macBits|hi&^macBits)
		verdict[i] = dataplane.Reply
		replies++
	}
	return replies
}

// special counts a frame that is not reflected and returns nil, or puts back
// the tag that the device has stripped and returns the longer frame.
func (r *reflector) special(d []byte, lo, hi uint64, m *dataplane.Meta) []byte {
	why := numReflectDrops
	switch {
	case hi&groupBit != 0:
		why = groupSource
	case lo&groupBit != 0:
		why = groupDestination
	case m.Flags&dataplane.MetaTruncated != 0, cap(d) < len(d)+wire.VLANLen:
		why = reflectTruncated
	}
	if why != numReflectDrops {
		r.drops[why]++
		return nil
	}
	n := len(d)
	d = d[:n+wire.VLANLen]
	copy(d[2*6+wire.VLANLen:], d[2*6:n])
	binary.BigEndian.PutUint16(d[12:], wire.EtherTypeVLAN)
	binary.BigEndian.PutUint16(d[14:], m.VLAN)
	return d
}

// stats implements station. What was not reflected is a drop; the port counts what found no room.
func (r *reflector) stats(s *worker.Stats) {
	for i, n := range r.drops {
		if n > 0 {
			s.RxDrops[reflectDropNames[i]] = n
			s.Segments -= n
		}
	}
}
