package wire

// PutTCPOffload is PutTCP for a device that completes checksums. That of the
// IPv4 header is 0, that of TCP is PseudoSum of the packet: the device adds up the
// segment, this field included, and complements (VirtIO 1.2 §5.1.6.2; CHECKSUM_PARTIAL
// in Linux, include/linux/skbuff.h; rte_ipv4_phdr_cksum and rte_ipv6_phdr_cksum in DPDK).
//
// It repeats PutTCPExtra on purpose: one function for both cost the software
// path half a nanosecond.
func PutTCPOffload(b []byte, s *Segment, payload []byte) int {
	return PutTCPOffloadExtra(b, s, nil, payload)
}

// PutTCPOffloadExtra is PutTCPOffload with extra option bytes, see PutTCPExtra.
func PutTCPOffloadExtra(b []byte, s *Segment, extra, payload []byte) int {
	syn := s.Flags&FlagSYN != 0
	hl := TCPLen + OptionsLen(&s.Opt, syn) + len(extra)
	l3 := IPLen(s)
	l4 := hl + len(payload)
	n := l3 + l4
	if n > len(b) || hl > TCPLen+MaxOptionsLen || len(extra)&3 != 0 || l4 > maxIPv4-(IPv6Len-l3) {
		return 0
	}
	b = b[:n]
	if len(payload) > 0 {
		copy(b[l3+hl:], payload)
	}
	var sum uint64
	if l3 == IPv4Len {
		_ = b[19]
		src, dst := s.Local.V4(), s.Remote.V4()
		sum = uint64(src) + uint64(dst)
		be.PutUint32(b, 0x4500_0000|uint32(s.TOS)<<16|uint32(n))
		be.PutUint32(b[4:], 0x4000)
		be.PutUint32(b[8:], DefaultTTL<<24|ProtoTCP<<16)
		be.PutUint32(b[12:], src)
		be.PutUint32(b[16:], dst)
	} else {
		sum = putIPv6(b, s.Local, s.Remote, s.TOS, ProtoTCP, l4, DefaultTTL)
	}
	t := b[l3:]
	_ = t[19]
	be.PutUint32(t, uint32(s.LocalPort)<<16|uint32(s.RemotePort))
	be.PutUint32(t[4:], uint32(s.Seq))
	be.PutUint32(t[8:], uint32(s.Ack))
	be.PutUint32(t[12:], uint32(hl)<<26|uint32(s.Flags&0x1ff)<<16|uint32(s.Win))
	be.PutUint32(t[16:], uint32(fold64(sum+ProtoTCP+uint64(l4)))<<16)
	if hl > TCPLen {
		k, _ := putOptions(t[TCPLen:hl], &s.Opt, syn)
		copy(t[TCPLen+k:hl], extra)
	}
	return n
}
