package doctor

import (
	"fmt"
	"io/fs"
	"strings"
)

// userDrivers are the kernel modules that hand a device to DPDK.
var userDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio"}

// dpdk looks for an installation, and for devices that are handed over.
func (x *examination) dpdk() error {
	version := ""
	for _, pattern := range []string{"usr/lib/*/pkgconfig/libdpdk.pc", "usr/lib*/pkgconfig/libdpdk.pc", "usr/local/lib/*/pkgconfig/libdpdk.pc", "usr/local/lib*/pkgconfig/libdpdk.pc"} {
		files, err := fs.Glob(x.Root, pattern)
		if err != nil {
			return err
		}
		for _, f := range files {
			for line := range strings.Lines(x.text(f)) {
				if v, ok := strings.CutPrefix(line, "Version:"); ok && version == "" {
					version = strings.TrimSpace(v)
				}
			}
		}
	}
	testpmd := ""
	for _, dir := range []string{"usr/bin", "usr/local/bin", "usr/sbin"} {
		if f := dir + "/dpdk-testpmd"; testpmd == "" && x.exists(f) {
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
		return nil
	}
	var loaded, bound []string
	for _, d := range userDrivers {
		dir := "sys/bus/pci/drivers/" + d
		if !x.exists(dir) {
			continue
		}
		loaded = append(loaded, d)
		for _, n := range x.names(dir) {
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
			"sudo dpdk-devbind.py --bind=vfio-pci 0000:BB:DD.F, which takes it from the kernel")
	}
	if groups := len(x.names("sys/kernel/iommu_groups")); groups > 0 {
		x.ok("iommu", "%s", plural(groups, "group", "groups"))
	} else if noiommu := x.text("sys/module/vfio/parameters/enable_unsafe_noiommu_mode"); noiommu != "Y" {
		x.add("iommu", Note, "off", "vfio-pci refuses devices", fmt.Sprintf("boot with intel_iommu=on iommu=pt (AMD: iommu=pt), or in a lab: %s",
			"echo Y | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"))
	}
	return nil
}
