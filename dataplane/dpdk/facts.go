//go:build dpdk && cgo && linux

package dpdk

/*
#include "ethdev.h"
#include <rte_ethdev.h>
*/
import "C"

import (
	"fmt"
	"math/bits"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unsafe"
)

// Devices attaches the devices named by targets, and returns the facts of these, or
// without targets of all that DPDK has probed, in DPDK's order. What it attached it gives back. Starts the EAL.
func Devices(cfg EALConfig, targets ...string) (list []Device, err error) {
	if err := startEAL(cfg, 0); err != nil {
		return nil, err
	}
	if len(targets) == 0 {
		onMain(func() {
			for id := C.fs_next(0); id >= 0; id = C.fs_next(id + 1) {
				var d Device
				if d, err = describe(C.uint16_t(id)); err != nil {
					return
				}
				list = append(list, d)
			}
		})
		return list, err
	}
	for _, t := range targets {
		id, err := probe(t)
		if err != nil {
			return nil, err
		}
		onMain(func() {
			var d Device
			if d, err = describe(id); err == nil {
				list = append(list, d)
			}
			giveBack(id)
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

func describe(id C.uint16_t) (Device, error) {
	f, err := facts(id)
	if err != nil {
		return Device{}, err
	}
	return Device{
		Port: int(id), Name: deviceName(f), Driver: C.GoString(f.driver), Bus: C.GoString(f.bus), MAC: hardwareAddr(f).String(), NUMA: int(f.numa),
		LinkUp: f.link_up != 0, LinkMbps: uint32(f.link_mbps), MTU: int(f.mtu), MinMTU: int(f.min_mtu), MaxMTU: int(f.max_mtu),
		MaxQueues: min(int(f.max_rx_queues), int(f.max_tx_queues)),
		RxDesc:    DescLimits{int(f.rx_desc_min), int(f.rx_desc_max), int(f.rx_desc_align)},
		TxDesc:    DescLimits{int(f.tx_desc_min), int(f.tx_desc_max), int(f.tx_desc_align)},
		RSSTypes:  rssNames(uint64(f.rss_types)), RETASize: int(f.reta_size), KeySize: int(f.key_size),
		RxOffloads: offloadNames(uint64(f.rx_offloads), func(b C.uint64_t) *C.char { return C.fs_rx_offload(b) }),
		TxOffloads: offloadNames(uint64(f.tx_offloads), func(b C.uint64_t) *C.char { return C.fs_tx_offload(b) }),
	}, nil
}

// giveBack ends a device that was not started. On the main thread.
func giveBack(id C.uint16_t) {
	f, err := facts(id)
	C.fs_close(id)
	if err == nil {
		C.fs_detach(f.device)
	}
}

// ethFacts are what the driver of a device says.
type ethFacts = C.struct_fs_facts

func facts(id C.uint16_t) (*ethFacts, error) {
	f := new(ethFacts)
	if ret := C.fs_facts(id, f); ret < 0 {
		return nil, fmt.Errorf("dpdk: port %d: reading the device: %w", id, syscall.Errno(-ret))
	}
	return f, nil
}

func deviceName(f *ethFacts) string { return C.GoString(&f.name[0]) }

func hardwareAddr(f *ethFacts) net.HardwareAddr {
	return net.HardwareAddr(C.GoBytes(unsafe.Pointer(&f.mac[0]), 6))
}

// rssTypes are the ways to hash that concern TCP, and those usual beside them.
var rssTypes = []struct {
	bit  uint64
	name string
}{
	{C.RTE_ETH_RSS_IPV4, "ipv4"},
	{C.RTE_ETH_RSS_FRAG_IPV4, "ipv4-frag"},
	{C.RTE_ETH_RSS_NONFRAG_IPV4_TCP, "ipv4-tcp"},
	{C.RTE_ETH_RSS_NONFRAG_IPV4_UDP, "ipv4-udp"},
	{C.RTE_ETH_RSS_NONFRAG_IPV4_OTHER, "ipv4-other"},
	{C.RTE_ETH_RSS_IPV6, "ipv6"},
	{C.RTE_ETH_RSS_FRAG_IPV6, "ipv6-frag"},
	{C.RTE_ETH_RSS_NONFRAG_IPV6_TCP, "ipv6-tcp"},
	{C.RTE_ETH_RSS_NONFRAG_IPV6_UDP, "ipv6-udp"},
	{C.RTE_ETH_RSS_NONFRAG_IPV6_OTHER, "ipv6-other"},
	{C.RTE_ETH_RSS_IPV6_EX, "ipv6-ex"},
	{C.RTE_ETH_RSS_IPV6_TCP_EX, "ipv6-tcp-ex"},
}

func rssNames(types uint64) []string {
	names := []string{}
	for _, t := range rssTypes {
		if types&t.bit != 0 {
			names = append(names, t.name)
		}
	}
	return names
}

func offloadNames(set uint64, name func(C.uint64_t) *C.char) []string {
	names := []string{}
	for ; set != 0; set &= set - 1 {
		names = append(names, C.GoString(name(C.uint64_t(1)<<bits.TrailingZeros64(set))))
	}
	return names
}

var pciAddress = regexp.MustCompile(`^(?:[0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]`)

// probe attaches a device and returns its port number.
func probe(device string) (id C.uint16_t, err error) {
	if pci := pciAddress.FindString(device); pci != "" {
		if err := checkPCI(pci); err != nil {
			return 0, err
		}
	}
	onMain(func() {
		args := C.CString(device)
		defer C.free(unsafe.Pointer(args))
		takeLog()
		ret := C.fs_probe(args, &id)
		// A bus without hot plug, such as Azure's VMBus, has its devices from the start.
		if ret < 0 && C.fs_match(args, &id) == 0 && !owned(id) {
			ret = 0
		}
		if ret < 0 {
			err = refused(device+": attaching the device", int(ret), takeLog())
		}
	})
	return id, err
}

// userDrivers are the kernel modules through which DPDK reaches a PCI device.
// Mellanox and Microsoft devices stay with the kernel's own driver.
var userDrivers = map[string]bool{"vfio-pci": true, "uio_pci_generic": true, "igb_uio": true, "mlx5_core": true, "mlx4_core": true, "mana": true}

// checkPCI says what keeps a PCI device from being attached, as far as sysfs tells.
func checkPCI(address string) error {
	if len(address) < 12 {
		address = "0000:" + address
	}
	dir := "/sys/bus/pci/devices/" + address
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("dpdk: %s: there is no such PCI device: fastsyn devices lists those there are: %w", address, syscall.ENODEV)
	}
	link, err := os.Readlink(dir + "/driver")
	driver := "no driver"
	if err == nil {
		driver = link[strings.LastIndexByte(link, '/')+1:]
	}
	if !userDrivers[driver] {
		return fmt.Errorf("dpdk: %s: the device is not bound to a driver for user space (it has %s): sudo dpdk-devbind.py --bind=vfio-pci %s, which takes it from the kernel (docs/dpdk.md): %w",
			address, driver, address, syscall.EBUSY)
	}
	return nil
}
