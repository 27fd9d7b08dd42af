// Package devices lists the network devices of a machine with what decides how
// fastsyn can use them, and the port string for each: interfaces of the kernel,
// and network devices on the PCI bus with what keeps DPDK from having them.
//
// It looks and changes nothing. Everything is read from a file system that holds
// a root directory, so a test can make up a machine; only what a device tells by
// ioctl, and its addresses, come through functions.
package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"github.com/fastsyn/fastsyn/internal/ethtool"
	"github.com/fastsyn/fastsyn/internal/sysfs"
)

// maxQueues is what a port takes at most.
const maxQueues = 64

// Machine is what is looked at.
type Machine struct {
	Root fs.FS // of a Linux system
	CPUs int   // that workers may use: no port string asks for more queues
	// Device asks a network device, as ethtool.Ask does.
	Device func(name string) (ethtool.Device, error)
	// Addrs returns the addresses of an interface.
	Addrs func(name string) ([]netip.Prefix, error)
}

// Report is what Look returns.
type Report struct {
	Interfaces []Interface `json:"interfaces"` // but for lo; those of a device first
	PCI        []PCI       `json:"pci"`        // by address
	Errors     []string    `json:"errors"`     // what could not be read
}

// Local returns the machine that this process runs on.
func Local() (Machine, error) {
	if runtime.GOOS != "linux" {
		return Machine{}, fmt.Errorf("devices: the list is read from /sys of Linux: %w here", errors.ErrUnsupported)
	}
	return Machine{Root: os.DirFS("/"), CPUs: runtime.NumCPU(), Device: ethtool.Ask, Addrs: addrs}, nil
}

// addrs returns the addresses that the kernel has on an interface.
func addrs(name string) ([]netip.Prefix, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	list, err := i.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Prefix
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p)
		}
	}
	return out, nil
}

// look is one run over a machine.
type look struct {
	Machine
	sysfs.Tree
	defaults map[string]bool // interfaces that carry a default route
	errs     []error
}

// Look lists the devices of a machine. What cannot be read does not hide the
// rest; err says what it was.
func Look(m Machine) (*Report, error) {
	l := &look{Machine: m, Tree: sysfs.Tree{FS: m.Root}}
	l.defaults = l.defaultRoutes()
	r := &Report{Interfaces: []Interface{}, PCI: []PCI{}, Errors: []string{}}
	if !l.Exists("sys/class/net") {
		l.errs = append(l.errs, errors.New("/sys/class/net: not there; mount -t sysfs sysfs /sys"))
	}
	for _, name := range l.Names("sys/class/net") {
		if name == "lo" || !l.Exists("sys/class/net/"+name+"/ifindex") {
			continue // also bonding_masters, a file
		}
		if i, ok := l.iface(name); ok {
			r.Interfaces = append(r.Interfaces, i)
		}
	}
	slices.SortStableFunc(r.Interfaces, func(a, b Interface) int { return a.rank() - b.rank() })
	r.PCI = append(r.PCI, l.pci(r.Interfaces)...)
	for i := range r.PCI {
		for _, name := range r.PCI[i].Interfaces {
			for j := range r.Interfaces {
				if r.Interfaces[j].Name == name {
					r.Interfaces[j].PCI = r.PCI[i].Address
				}
			}
		}
	}
	for _, err := range l.errs {
		r.Errors = append(r.Errors, err.Error())
	}
	return r, errors.Join(l.errs...)
}
