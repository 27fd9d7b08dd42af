package bench

import (
	"net"
	"net/netip"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane"
)

func (c *Config) addressing() error {
	sp, err := dataplane.ParseSpec(c.Port)
	if err != nil {
		return flagError("port", c.Port, err.Error(), "for example loop: or afpacket:veth0")
	}
	if err := choice("port", sp.Driver, dataplane.Drivers()...); err != nil {
		return err
	}
	kind := c.kind()
	if kind.raw {
		return c.echoAddressing(sp)
	}
	if c.portRanges, err = parsePorts(c.Ports); err != nil {
		return err
	}
	if c.PeerMAC != "" {
		return flagError("peer-mac", c.PeerMAC, "Ethernet addresses are found by ARP and NDP", "leave it out, or use --scenario echo")
	}
	if c.FastOpen && kind.refusesText != "" {
		return flagError("fastopen", "", kind.refusesText, "leave it out, or use --scenario handshake")
	}
	if c.Connect == "" {
		if !dataplane.IsWire(sp) {
			return flagError("port", c.Port, "there is a peer behind this port, not a server of this process",
				"add --connect IP:PORT and --addr OWN-ADDRESS/LENGTH, or leave --port out to measure in memory")
		}
		if len(c.Addrs) > 0 {
			return flagError("addr", c.Addrs[0], "without --connect both ends of the wire are of this process and bring their own addresses", "add --connect, or leave it out")
		}
		if len(c.Pools) > 0 || len(c.Gateways) > 0 {
			return flagError("connect", "", "--pool and --gateway need a peer", "add --connect IP:PORT, or leave them out")
		}
		return nil
	}
	ap, err := netip.ParseAddrPort(c.Connect)
	if err != nil || ap.Port() == 0 {
		return flagError("connect", c.Connect, "want IP:PORT with a port from 1 to 65535", "for example 10.0.0.9:80 or [2001:db8::9]:443")
	}
	if a := ap.Addr(); a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || a.Is4In6() {
		return flagError("connect", c.Connect, "not a unicast address", "name the host to connect to")
	}
	if len(c.Addrs) == 0 {
		return flagError("addr", "", "an address for this end is missing; it must not be one of the kernel's, which would reset the flows",
			"give a free address with the prefix length of the link, such as --addr 10.0.0.3/24")
	}
	family := false
	for flag, list := range map[string][]string{"addr": c.Addrs, "pool": c.Pools} {
		for _, s := range list {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return flagError(flag, s, "want ADDRESS/LENGTH", "for example 10.0.0.3/24")
			}
			if flag == "pool" && p.Masked().Contains(ap.Addr()) {
				return flagError(flag, s, "the peer, "+ap.Addr().String()+", is in it: that address would be ours", "leave it out of the pool, by smaller prefixes")
			}
			family = family || p.Addr().Is4() == ap.Addr().Is4()
		}
	}
	if !family {
		return flagError("addr", strings.Join(c.Addrs, ","), "of another family than "+c.Connect, "add an address of the family of the peer")
	}
	for _, s := range c.Gateways {
		if _, err := netip.ParseAddr(s); err != nil {
			return flagError("gateway", s, "want an IP address", "for example 10.0.0.1")
		}
	}
	if kind.spoofs && !c.OwnNetwork && !ownRange(ap.Addr()) {
		return flagError("connect", c.Connect, "a SYN flood is aimed at private, loopback and benchmark addresses only",
			"if that network is yours to test, say so with --i-own-this-network")
	}
	return nil
}

// echoAddressing checks what tells an echo where to send.
func (c *Config) echoAddressing(sp dataplane.Spec) error {
	for _, e := range []struct {
		flag  string
		given []string
	}{{"connect", []string{c.Connect}}, {"addr", c.Addrs}, {"pool", c.Pools}, {"gateway", c.Gateways}, {"ports", []string{c.Ports}}} {
		if s := strings.Join(e.given, ","); s != "" {
			return flagError(e.flag, s, "an echo knows no IP addresses, only that of a reflector's port on the same link", "use --peer-mac")
		}
	}
	if c.IPv6 {
		return flagError("ipv6", "", "an echo has one kind of frame, the shortest", "leave it out")
	}
	if c.PeerMAC == "" {
		if !dataplane.IsWire(sp) {
			return flagError("peer-mac", "", "there is a peer behind this port, not a reflector of this process",
				"give the address that fastsyn reflect prints at the other end; on a link of two, such as a memif pair, any will do, such as 02:00:00:00:00:01")
		}
		return nil
	}
	mac, err := net.ParseMAC(c.PeerMAC)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || [6]byte(mac) == [6]byte{} {
		return flagError("peer-mac", c.PeerMAC, "want the Ethernet address of one host", "for example 02:00:00:00:00:01")
	}
	return nil
}

// ownRange reports whether a lies in a range that nobody else can own: private,
// loopback, link-local, documentation and benchmark prefixes (RFC 6890, RFC 2544, RFC 5180).
func ownRange(a netip.Addr) bool {
	if a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
		return true
	}
	for _, s := range [...]string{"198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:2::/48", "2001:db8::/32"} {
		if netip.MustParsePrefix(s).Contains(a) {
			return true
		}
	}
	return false
}
