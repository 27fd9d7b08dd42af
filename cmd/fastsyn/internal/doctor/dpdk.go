package doctor

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/layout"
	"github.com/fastsyn/fastsyn/hugepages"
)

// userDrivers are the kernel modules that hand a device to DPDK.
var userDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio"}

// dpdk looks at this program, for an installation to build with, for memory, and
// for devices that are handed over.
func (x *examination) dpdk() error {
	if x.DPDK != "" {
		x.ok("this fastsyn", "built with %s", x.DPDK)
	} else {
		x.add("this fastsyn", Note, "built without DPDK", "ports dpdk:... cannot be opened", "CGO_ENABLED=1 go build -tags dpdk ./cmd/fastsyn (docs/dpdk.md)")
	}
	installed, err := x.library()
	if err != nil || !installed && x.DPDK == "" {
		return err
	}
	x.pages()
	x.handedOver()
	return nil
}

// library looks for the library and its headers.
func (x *examination) library() (installed bool, err error) {
	version := ""
	for _, pattern := range []string{"usr/lib/*/pkgconfig/libdpdk.pc", "usr/lib*/pkgconfig/libdpdk.pc", "usr/local/lib/*/pkgconfig/libdpdk.pc", "usr/local/lib*/pkgconfig/libdpdk.pc"} {
		files, err := fs.Glob(x.Root, pattern)
		if err != nil {
			return false, err
		}
		for _, f := range files {
			for line := range strings.Lines(x.Text(f)) {
				if v, ok := strings.CutPrefix(line, "Version:"); ok && version == "" {
					version = strings.TrimSpace(v)
				}
			}
		}
	}
	testpmd := ""
	for _, dir := range []string{"usr/bin", "usr/local/bin", "usr/sbin"} {
		if f := dir + "/dpdk-testpmd"; testpmd == "" && x.Exists(f) {
			testpmd = "/" + f
		}
	}
	switch {
	case version != "":
		x.ok("library", "libdpdk %s", version)
	case testpmd != "":
		x.add("library", Note, testpmd+" is there, the development files are not", "programs with DPDK cannot be built here", "sudo apt install libdpdk-dev")
	default:
		x.add("library", Note, "not installed", "kernel drivers only: a copy per frame and a system call per burst", "sudo apt install dpdk libdpdk-dev")
	}
	return version != "" || testpmd != "", nil
}

// What a port of the defaults takes with one queue, and with each further one.
const (
	portBytes  = 28 << 20
	queueBytes = 20 << 20
)

// pages looks for huge pages that DPDK can have; the memory section has them by size.
func (x *examination) pages() {
	s, err := hugepages.InspectFS(x.Root)
	if err != nil {
		return // which that section says
	}
	var free uint64
	for _, p := range s.Pools {
		free += p.Bytes * p.Available()
	}
	found := fmt.Sprintf("%s free; a port takes %s, and %s for each further queue", hugepages.BytesText(free), hugepages.BytesText(portBytes), hugepages.BytesText(queueBytes))
	if free < portBytes {
		x.add("memory", Note, found, "DPDK starts with no-huge=on only: more TLB misses, and few NICs can be used", "sudo fastsyn hugepages reserve --count 256")
	} else {
		x.ok("memory", "%s", found)
	}
}

// handedOver looks for devices that DPDK may have, and what keeps it from having them.
func (x *examination) handedOver() {
	var loaded, bound []string
	for _, d := range userDrivers {
		dir := "sys/bus/pci/drivers/" + d
		if !x.Exists(dir) {
			continue
		}
		loaded = append(loaded, d)
		for _, n := range x.Names(dir) {
			if strings.Count(n, ":") == 2 { // 0000:3b:00.0
				bound = append(bound, n+" ("+d+")")
			}
		}
	}
	if len(loaded) == 0 {
		x.add("modules", Note, "neither vfio-pci nor uio is loaded", "no NIC can be handed to DPDK", "sudo modprobe vfio-pci")
	} else {
		x.ok("modules", "%s", strings.Join(loaded, ", "))
	}
	if len(bound) > 0 {
		x.ok("devices", "%s", strings.Join(bound, ", "))
	} else {
		x.add("devices", Note, "none is bound to a driver for user space", "DPDK has virtual ports only",
			"fastsyn devices, which names the steps for each device")
	}
	if groups := len(x.Names("sys/kernel/iommu_groups")); groups > 0 {
		x.ok("iommu", "%s", layout.Plural(groups, "group", "groups"))
	} else if noiommu := x.Text("sys/module/vfio/parameters/enable_unsafe_noiommu_mode"); noiommu != "Y" {
		x.add("iommu", Note, "off", "vfio-pci refuses devices", fmt.Sprintf("boot with intel_iommu=on iommu=pt (AMD: iommu=pt), or in a lab: %s",
			"echo Y | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"))
	}
}
