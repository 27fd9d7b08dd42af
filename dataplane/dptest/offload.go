package dptest

import (
	"encoding/binary"
	"errors"

	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// CompleteChecksums does to a frame with dataplane.MetaTxCsum what a device does: it
// writes the IPv4 header checksum and the TCP checksum, in place. The error says in what
// the frame is not as the device needs it.
func CompleteChecksums(frame []byte) error {
	e, ok := wire.ParseEthernet(frame)
	if !ok {
		return errors.New("too short for Ethernet")
	}
	var src, dst wire.Addr
	var segment []byte
	proto := uint8(0)
	if ip, ok := wire.ParseIPv4(e.Payload()); ok && e.EtherType() == wire.EtherTypeIPv4 {
		if ip.Checksum() != 0 {
			return errors.New("the IPv4 header checksum is not 0")
		}
		binary.BigEndian.PutUint16(ip[10:], wire.Checksum(ip[:ip.HeaderLen()], 0))
		src, dst, proto, segment = ip.Src(), ip.Dst(), ip.Proto(), ip.Payload()
	} else if ip, ok := wire.ParseIPv6(e.Payload()); ok && e.EtherType() == wire.EtherTypeIPv6 {
		src, dst, proto, segment = ip.Src(), ip.Dst(), ip.NextHeader(), ip.Payload()
	} else {
		return errors.New("no IP packet")
	}
	tcp, ok := wire.ParseTCP(segment)
	if proto != wire.ProtoTCP || !ok {
		return errors.New("no TCP segment")
	}
	if uint32(tcp.Checksum()) != wire.PseudoSum(src, dst, wire.ProtoTCP, uint32(len(tcp))) {
		return errors.New("the TCP checksum field does not hold the sum of the pseudo-header")
	}
	binary.BigEndian.PutUint16(tcp[16:], wire.Checksum(tcp, 0))
	return nil
}
