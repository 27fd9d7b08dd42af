package netlab

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
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

// Config says what a lab is like. The zero value is one queue, an MTU of 1500, and no offloads.
type Config struct {
	Queues int // receive and transmit queues of both ends; 0: 1
	MTU    int // of both ends; 0: 1500
	// Offloads leaves checksum and segmentation offloads of both ends as the kernel has
	// them. Without it they are off, so that frames carry whole checksums and are no
	// longer than the MTU (NET-014).
	Offloads bool
	// Sysctls are set in the peer's namespace, after its interface exists: "net.ipv4.tcp_syncookies", "2".
	Sysctls [][2]string
}

func (c Config) withDefaults() (Config, error) {
	c.Queues, c.MTU = cmp.Or(c.Queues, 1), cmp.Or(c.MTU, 1500)
	if c.Queues < 1 || c.Queues > 64 {
		return c, fmt.Errorf("netlab: lab with %d queues: want 1 to 64", c.Queues)
	}
	if c.MTU < 1280 || c.MTU > 65535 {
		return c, fmt.Errorf("netlab: lab with MTU %d: want 1280 (the least for IPv6) to 65535", c.MTU)
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

	made []string // namespaces to remove
}

// LookTool returns the path of a program by its file name, also looking where
// PATH of ordinary users does not.
func LookTool(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if p, err := exec.LookPath(dir + name); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("program %s: %w", name, exec.ErrNotFound)
}
