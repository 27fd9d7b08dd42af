package fastsyn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrKernelAddress is wrapped by what Open returns when the kernel has an address of ours.
var ErrKernelAddress = errors.New("the kernel has this address too, and would reset our connections")

// checkKernel refuses addresses that the kernel of this network namespace has,
// on whatever interface: it takes what is sent to them wherever that comes in (NET-013).
func (c *Config) checkKernel() error {
	own, err := parsePrefixes("address", c.Addrs)
	if err != nil {
		return err
	}
	for i, p := range own {
		own[i] = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
	}
	pools, err := parsePrefixes("pool", c.Pools)
	if err != nil {
		return err
	}
	own = append(own, pools...)
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("fastsyn: addresses of the kernel: %w", err)
	}
	for _, ifi := range all {
		addrs, err := ifi.Addrs()
		if err != nil {
			return fmt.Errorf("fastsyn: addresses of %s: %w", ifi.Name, err)
		}
		for _, a := range addrs {
			has, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue // of no family that we speak
			}
			for _, p := range own {
				if p.Contains(has.Addr()) {
					return fmt.Errorf("fastsyn: address %v: %w; take it from there (ip addr del %v dev %s) or choose one that no host has",
						has.Addr(), ErrKernelAddress, has, ifi.Name)
				}
			}
		}
	}
	return nil
}
