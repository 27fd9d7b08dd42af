package wire

// Reason says why a frame is not usable; OK means it is. Each value has one
// counter, named by String.
type Reason uint8

// The reasons, in the order in which Parse can meet them.
const (
	OK                         Reason = iota
	ReasonShortEthernet               // fewer than 14 bytes, or cut inside the 802.1Q tag
	ReasonGroupSourceMAC              // source MAC has the group bit set
	ReasonQinQ                        // 802.1ad tag, or a second 802.1Q tag (NET-005)
	ReasonUnknownEtherType            // neither ARP, IPv4 nor IPv6
	ReasonShortARP                    // fewer than 28 bytes of ARP
	ReasonBadARP                      // not Ethernet/IPv4 ARP
	ReasonShortIPv4                   // fewer than 20 bytes of IPv4
	ReasonShortIPv6                   // fewer than 40 bytes of IPv6
	ReasonBadVersion                  // version nibble contradicts the EtherType (VAL-004)
	ReasonBadIHL                      // IHL below 5, or past the total length (VAL-004)
	ReasonBadIPLength                 // IPv4 total length past the frame (VAL-004)
	ReasonBadIPChecksum               // IPv4 header checksum (VAL-004)
	ReasonBadIPOption                 // malformed IPv4 option list
	ReasonSourceRoute                 // IPv4 LSRR or SSRR (VAL-018), IPv6 routing header (NET-010)
	ReasonFragment                    // IPv4 fragment, non-atomic IPv6 fragment (VAL-006)
	ReasonBadIPv6Length               // IPv6 payload length past the frame (VAL-004)
	ReasonIPv6ExtHeader               // extension headers: unknown, malformed, too many or too long (NET-010)
	ReasonMartianSource               // source address no host may send from (VAL-015)
	ReasonMartianDestination          // destination no host can own: 0/8, 127/8, ::, ::1, v4-mapped
	ReasonMulticastDestination        // group, broadcast or class E destination address (VAL-016)
	ReasonGroupMAC                    // TCP or ICMP sent to a group MAC (VAL-016)
	ReasonLAND                        // source address equals destination address (VAL-014)
	ReasonUnknownProtocol             // L4 is neither TCP nor the ICMP of this IP version
	ReasonShortTCP                    // fewer than 20 bytes of TCP
	ReasonBadDataOffset               // data offset below 5 or past the segment (VAL-007)
	ReasonBadTCPChecksum              // TCP checksum (VAL-001)
	ReasonShortICMP                   // fewer than 8 bytes of ICMP
	ReasonBadICMPChecksum             // ICMP or ICMPv6 checksum
	NumReasons                        // number of values, for counter arrays
)

var reasonNames = [NumReasons]string{
	OK:                         "ok",
	ReasonShortEthernet:        "short_ethernet",
	ReasonGroupSourceMAC:       "group_source_mac",
	ReasonQinQ:                 "qinq",
	ReasonUnknownEtherType:     "unknown_ethertype",
	ReasonShortARP:             "short_arp",
	ReasonBadARP:               "bad_arp",
	ReasonShortIPv4:            "short_ipv4",
	ReasonShortIPv6:            "short_ipv6",
	ReasonBadVersion:           "bad_version",
	ReasonBadIHL:               "bad_ihl",
	ReasonBadIPLength:          "bad_ip_length",
	ReasonBadIPChecksum:        "bad_ip_checksum",
	ReasonBadIPOption:          "bad_ip_option",
	ReasonSourceRoute:          "source_route",
	ReasonFragment:             "fragment",
	ReasonBadIPv6Length:        "bad_ipv6_length",
	ReasonIPv6ExtHeader:        "ipv6_ext_header",
	ReasonMartianSource:        "martian_source",
	ReasonMartianDestination:   "martian_destination",
	ReasonMulticastDestination: "multicast_destination",
	ReasonGroupMAC:             "group_mac",
	ReasonLAND:                 "land",
	ReasonUnknownProtocol:      "unknown_protocol",
	ReasonShortTCP:             "short_tcp",
	ReasonBadDataOffset:        "bad_data_offset",
	ReasonBadTCPChecksum:       "bad_tcp_checksum",
	ReasonShortICMP:            "short_icmp",
	ReasonBadICMPChecksum:      "bad_icmp_checksum",
}

// String returns the counter name in snake_case; "reason_unknown" above NumReasons.
func (r Reason) String() string {
	if r < NumReasons {
		return reasonNames[r]
	}
	return "reason_unknown"
}
