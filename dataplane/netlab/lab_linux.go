package netlab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var labCount atomic.Uint32

// New makes a lab. Namespaces of processes that died without cleaning up are removed
// first; what goes wrong in that is not the lab's affair (RemoveStale tells). It wants root,
// or CAP_SYS_ADMIN and CAP_NET_ADMIN and a /run/netns that it may mount below.
func New(c Config) (*Lab, error) { return newLab(c, (*Lab).buildPair) }

// NewTap makes the peer's half of a lab, whose interface is a tap: the other
// end of it is for a process in the peer's namespace to open, such as an emulator
// with a NIC for a guest, to which MAC and the addresses of fastsyn belong. NS and If
// are empty. Which offloads the interface has is for that process to say.
func NewTap(c Config) (*Lab, error) { return newLab(c, (*Lab).buildTap) }

func newLab(c Config, build func(*Lab, Config) error) (*Lab, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	_ = RemoveStale()
	base := fmt.Sprintf("%s%d-%d", nsPrefix, os.Getpid(), labCount.Add(1))
	l := &Lab{
		NS: base + "-a", PeerNS: base + "-b",
		If: labIf, PeerIf: labPeerIf, MAC: labMAC, PeerMAC: labPeerMAC,
		Addr4: labAddr4, PeerAddr4: labPeerAddr4, Addr6: labAddr6, PeerAddr6: labPeerAddr6,
		MTU: c.MTU, Queues: c.Queues,
	}
	l.made = []string{l.NS, l.PeerNS}
	if err := build(l, c); err != nil {
		return nil, errors.Join(fmt.Errorf("netlab: making the lab: %w", err), l.Close())
	}
	return l, nil
}

// Close ends the processes in the namespaces and removes these.
func (l *Lab) Close() error {
	var errs []error
	for _, ns := range l.made {
		if err := removeNS(ns); err != nil {
			errs = append(errs, fmt.Errorf("netlab: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Sysctl sets one in a namespace of the lab.
func (l *Lab) Sysctl(ns, key, value string) error { return setSysctl(ns, key, value) }

func (l *Lab) buildPair(c Config) error {
	q, mtu := strconv.Itoa(c.Queues), strconv.Itoa(c.MTU)
	if err := ips([][]string{
		{"netns", "add", l.NS},
		{"netns", "add", l.PeerNS},
		{
			"-n", l.NS, "link", "add", l.If, "address", l.MAC.String(), "mtu", mtu, "numtxqueues", q, "numrxqueues", q,
			"type", "veth", "peer", "name", l.PeerIf, "netns", l.PeerNS, "address", l.PeerMAC.String(), "mtu", mtu,
			"numtxqueues", q, "numrxqueues", q,
		},
	}); err != nil {
		return err
	}
	// No IPv6 on fastsyn's side, so that the kernel sends nothing of its own there.
	if err := setSysctl(l.NS, "net.ipv6.conf."+l.If+".disable_ipv6", "1"); err != nil {
		return err
	}
	if !c.Offloads {
		for ns, dev := range map[string]string{l.NS: l.If, l.PeerNS: l.PeerIf} {
			var err error
			if e := Do(ns, func() { err = offloadsOff(dev) }); e != nil || err != nil {
				return errors.Join(e, err)
			}
		}
	}
	if err := ips([][]string{
		{"-n", l.NS, "link", "set", "lo", "up"},
		{"-n", l.NS, "link", "set", l.If, "up"},
	}); err != nil {
		return err
	}
	return l.peerUp(c)
}

func (l *Lab) buildTap(c Config) error {
	l.NS, l.If = "", ""
	tap := []string{"-n", l.PeerNS, "tuntap", "add", "dev", l.PeerIf, "mode", "tap"}
	if c.Queues > 1 {
		tap = append(tap, "multi_queue")
	}
	if err := ips([][]string{
		{"netns", "add", l.PeerNS},
		tap,
		{"-n", l.PeerNS, "link", "set", l.PeerIf, "address", l.PeerMAC.String(), "mtu", strconv.Itoa(c.MTU)},
	}); err != nil {
		return err
	}
	return l.peerUp(c)
}

// peerUp gives the peer its addresses, with no DAD and no router search before them.
func (l *Lab) peerUp(c Config) error {
	for _, key := range []string{"accept_dad", "router_solicitations"} {
		if err := setSysctl(l.PeerNS, "net.ipv6.conf."+l.PeerIf+"."+key, "0"); err != nil {
			return err
		}
	}
	if err := ips([][]string{
		{"-n", l.PeerNS, "link", "set", "lo", "up"},
		{"-n", l.PeerNS, "addr", "add", l.PeerAddr4.String(), "dev", l.PeerIf},
		{"-n", l.PeerNS, "addr", "add", l.PeerAddr6.String(), "dev", l.PeerIf, "nodad"},
		{"-n", l.PeerNS, "link", "set", l.PeerIf, "up"},
	}); err != nil {
		return err
	}
	for _, s := range c.Sysctls {
		if err := setSysctl(l.PeerNS, s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}
