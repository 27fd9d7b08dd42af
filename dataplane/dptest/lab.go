package dptest

import "github.com/fastsyn/fastsyn/dataplane/netlab"

// LabOption changes what NewLab makes.
type LabOption func(*netlab.Config)

// LabQueues sets the number of receive and of transmit queues of both ends, 1
// by default.
func LabQueues(n int) LabOption { return func(c *netlab.Config) { c.Queues = n } }

// LabMTU sets the MTU of both ends, 1500 by default.
func LabMTU(n int) LabOption { return func(c *netlab.Config) { c.MTU = n } }

// LabOffloads leaves checksum and segmentation offloads of both ends as the
// kernel has them; see netlab.Config.
func LabOffloads(on bool) LabOption { return func(c *netlab.Config) { c.Offloads = on } }

// LabSysctl sets a sysctl in the peer's namespace, such as
// "net.ipv4.tcp_syncookies" to "2".
func LabSysctl(key, value string) LabOption {
	return func(c *netlab.Config) { c.Sysctls = append(c.Sysctls, [2]string{key, value}) }
}

func newConfig(opts []LabOption) (c netlab.Config) {
	for _, o := range opts {
		o(&c)
	}
	return c
}

// Lab is a netlab.Lab of a test.
type Lab struct{ *netlab.Lab }
