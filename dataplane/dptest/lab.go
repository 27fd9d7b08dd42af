package dptest

import (
	"fmt"
	"net"
	"net/netip"
)

// Names and addresses that are the same in every lab, for each has namespaces
// of its own.
const (
	labIf     = "fs0"
	labPeerIf = "peer0"
)

var (
	labMAC       = net.HardwareAddr{0x02, 0x66, 0x73, 0xab, 0, 1}
	labPeerMAC   = net.HardwareAddr{0x02, 0x66, 0x73, 0xab, 0, 2}
	labAddr4     = netip.MustParsePrefix("10.71.0.1/24")
	labPeerAddr4 = netip.MustParsePrefix("10.71.0.2/24")
	labAddr6     = netip.MustParsePrefix("fd71::1/64")
	labPeerAddr6 = netip.MustParsePrefix("fd71::2/64")
)

// LabOption changes what NewLab makes.
type LabOption func(*labConfig)

type labConfig struct {
	queues   int
	mtu      int
	offloads bool
	sysctls  [][2]string
}

// LabQueues sets the number of receive and of transmit queues of both ends, 1
// by default.
func LabQueues(n int) LabOption { return func(c *labConfig) { c.queues = n } }

// LabMTU sets the MTU of both ends, 1500 by default.
func LabMTU(n int) LabOption { return func(c *labConfig) { c.mtu = n } }

// LabOffloads leaves checksum and segmentation offloads of both ends as the
// kernel has them. By default they are off, so that frames carry whole
// checksums and are no longer than the MTU (NET-014).
func LabOffloads(on bool) LabOption { return func(c *labConfig) { c.offloads = on } }

// LabSysctl sets a sysctl in the peer's namespace, such as
// "net.ipv4.tcp_syncookies" to "2". It is set after the interface exists.
func LabSysctl(key, value string) LabOption {
	return func(c *labConfig) { c.sysctls = append(c.sysctls, [2]string{key, value}) }
}

func newLabConfig(opts []LabOption) (labConfig, error) {
	c := labConfig{queues: 1, mtu: 1500}
	for _, o := range opts {
		o(&c)
	}
	if c.queues < 1 || c.queues > 64 {
		return c, fmt.Errorf("dptest: lab with %d queues: want 1 to 64", c.queues)
	}
	if c.mtu < 1280 || c.mtu > 65535 {
		return c, fmt.Errorf("dptest: lab with MTU %d: want 1280 (the least for IPv6) to 65535", c.mtu)
	}
	return c, nil
}

// Lab is two network namespaces joined by a veth pair: one for the fastsyn
// side, whose interface has no address, so that the kernel there neither
// answers nor resets anything (NET-013), and one for a peer that is the kernel
// with its addresses. Nothing outside the two namespaces is touched.
type Lab struct {
	NS, PeerNS string           // namespace names, as in ip netns
	If, PeerIf string           // interface names inside them
	MAC        net.HardwareAddr // of If
	PeerMAC    net.HardwareAddr
	// Addr4 and Addr6 are for fastsyn to use; no kernel has them.
	Addr4, Addr6 netip.Prefix
	// PeerAddr4 and PeerAddr6 are configured on PeerIf.
	PeerAddr4, PeerAddr6 netip.Prefix
	MTU, Queues          int
}
