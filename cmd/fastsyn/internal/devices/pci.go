package devices

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// PCI is a network device on the PCI bus.
type PCI struct {
	Address string `json:"address"` // 0000:3b:00.0
	Port    string `json:"port"`    // port string, once the steps are done
	Vendor  string `json:"vendor"`  // four hexadecimal digits each
	Device  string `json:"device"`
	Name    string `json:"name,omitempty"` // of both, where the list of PCI IDs is installed
	Driver  string `json:"driver"`         // bound to it; "": none
	Use     Use    `json:"use"`
	NUMA    int    `json:"numa"`             // node, -1: any
	Group   int    `json:"iommu_group"`      // -1: none
	PF      string `json:"pf,omitempty"`     // address of the function that this virtual function is of
	Queues  int    `json:"queues,omitempty"` // pairs to be had, as its kernel driver tells; 0: not told

	Interfaces []string `json:"interfaces"` // of the kernel, on this device
	Warnings   []string `json:"warnings"`
	Steps      []Step   `json:"steps"` // to have DPDK use it, in order; empty when it can
}

// Use is what a device is to DPDK.
type Use string

// The uses.
const (
	Ready  Use = "ready"  // bound to a driver that hands it to user space
	Shared Use = "shared" // DPDK drives it beside its kernel driver
	Kernel Use = "kernel" // bound to a driver of the kernel
	Free   Use = "free"   // bound to nothing
)

// Step is something to do before DPDK can use a device.
type Step struct {
	Why     string `json:"why"`
	Command string `json:"command"`
}

// Drivers of the kernel that hand a device to user space, the first being the one to use.
var userDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio"}

const bindDriver = "vfio-pci"

// sharedDriver returns the kernel driver beside which DPDK drives a device, "" if
// it wants the device for itself. DPDK guides nics/mlx4, mlx5 and mana.
func sharedDriver(vendor, device string) string {
	switch {
	case vendor == "15b3" && device >= "1002" && device <= "1010":
		return "mlx4_core"
	case vendor == "15b3":
		return "mlx5_core"
	case vendor == "1414":
		return "mana"
	}
	return ""
}

// modulesOf are the kernel modules that DPDK talks to beside a shared driver.
var modulesOf = map[string]string{
	"mlx4_core": "ib_uverbs mlx4_ib",
	"mlx5_core": "ib_uverbs mlx5_ib",
	"mana":      "ib_uverbs mana_ib",
}

var pciAddress = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)

const pciDevices = "sys/bus/pci/devices"

// pci lists the network devices on the bus; interfaces are those of the kernel.
func (l *look) pci(interfaces []Interface) (out []PCI) {
	for _, addr := range l.Names(pciDevices) {
		class, isHex := strings.CutPrefix(l.Text(pciDevices+"/"+addr+"/class"), "0x")
		if isHex && strings.HasPrefix(class, "02") { // network controllers
			out = append(out, l.device(addr, interfaces))
		}
	}
	if len(out) > 0 {
		l.nameThem(out)
	}
	return out
}

func (l *look) device(addr string, interfaces []Interface) PCI {
	dir := pciDevices + "/" + addr
	hex := func(file string) string { return strings.TrimPrefix(l.Text(dir+"/"+file), "0x") }
	d := PCI{
		Address: addr, Vendor: hex("vendor"), Device: hex("device"), Driver: l.Link(dir + "/driver"),
		NUMA: l.int(dir+"/numa_node", -1), Group: -1, PF: l.Link(dir + "/physfn"),
		Interfaces: l.Names(dir + "/net"), Warnings: []string{}, Steps: []Step{},
	}
	for _, n := range l.Names(dir) {
		if strings.HasPrefix(n, "virtio") { // interfaces belong to the device on the virtio bus
			d.Interfaces = append(d.Interfaces, l.Names(dir+"/"+n+"/net")...)
		}
	}
	if d.Interfaces == nil {
		d.Interfaces = []string{}
	}
	if _, err := fmt.Sscan(l.Link(dir+"/iommu_group"), &d.Group); err != nil {
		d.Group = -1
	}
	d.Port = "dpdk:" + addr
	for i := range interfaces {
		if n := &interfaces[i]; slices.Contains(d.Interfaces, n.Name) {
			d.Queues = max(d.Queues, n.Queues.Max, n.Queues.Rx)
		}
	}
	if d.Queues > 0 {
		d.Port = fmt.Sprintf("dpdk:%s?queues=%d", addr, l.portQueues(d.Queues))
	}
	shared := sharedDriver(d.Vendor, d.Device)
	switch {
	case shared != "":
		l.shared(&d, shared, interfaces)
	case slices.Contains(userDrivers, d.Driver):
		d.Use = Ready
		l.ready(&d)
	default:
		d.Use = Kernel
		if d.Driver == "" {
			d.Use = Free
		}
		l.bind(&d, interfaces)
	}
	return d
}
