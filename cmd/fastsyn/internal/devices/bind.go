package devices

import (
	"fmt"
	"slices"
	"strings"
)

const (
	vfioDriver = "sys/bus/pci/drivers/" + bindDriver
	// unsafeMode says whether vfio does without an IOMMU.
	unsafeMode = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
)

func (d *PCI) step(why, command string, args ...any) {
	d.Steps = append(d.Steps, Step{why, fmt.Sprintf(command, args...)})
}

func (d *PCI) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

// bind says how to hand over a device that is bound to the kernel, or to nothing.
func (l *look) bind(d *PCI, interfaces []Interface) {
	for _, c := range carried(d, interfaces) {
		d.warn("%s: handed over, it is gone from the kernel, and so may be your way to this machine", c)
	}
	l.iommu(d)
	if !l.Exists(vfioDriver) {
		if l.lacksModule() {
			d.step("this kernel has no vfio-pci, which drives devices for user space", "boot a kernel of the distribution, such as linux-image-amd64 of Debian")
		} else {
			d.step("vfio-pci is not loaded", "sudo modprobe vfio-pci")
		}
	}
	for _, other := range l.companions(d) {
		d.step(fmt.Sprintf("%s is in IOMMU group %d too: all of a group or none of it", other, d.Group), "%s", l.bindCommand(other))
	}
	why := "it is bound to " + d.Driver
	if d.Driver == "" {
		why = "it is bound to no driver"
	}
	d.step(why, "%s", l.bindCommand(d.Address))
}

// carried says what the kernel uses the interfaces of a device for.
func carried(d *PCI, interfaces []Interface) (out []string) {
	for i := range interfaces {
		n := &interfaces[i]
		if !slices.Contains(d.Interfaces, n.Name) {
			continue
		}
		var what []string
		for _, a := range n.Addrs {
			if routed(a) {
				what = append(what, a.String())
			}
		}
		if n.DefaultRoute {
			what = append(what, "the default route")
		}
		if n.Master != "" {
			what = append(what, "frames of "+n.Master)
		}
		if len(what) > 0 {
			out = append(out, n.Name+" carries "+strings.Join(what, ", "))
		}
	}
	return out
}

// ready looks at a device that is handed over.
func (l *look) ready(d *PCI) {
	if d.Driver != bindDriver {
		d.warn("%s does not keep a second process from opening it, and whoever opens it resets it: see who uses it", d.Driver)
		return
	}
	if others := l.companions(d); len(others) > 0 {
		d.Use = Kernel
		for _, other := range others {
			d.step(fmt.Sprintf("%s is in IOMMU group %d too: all of a group or none of it", other, d.Group), "%s", l.bindCommand(other))
		}
	}
}

// Exclusive reports whether a device is DPDK's, and nobody else can be using it
// while we open it: a group of vfio opens once.
func (d *PCI) Exclusive() bool { return d.Use == Ready && d.Driver == bindDriver }

// shared looks at a device that DPDK drives beside its kernel driver.
func (l *look) shared(d *PCI, driver string, interfaces []Interface) {
	d.Use = Shared
	for _, c := range carried(d, interfaces) {
		d.warn("%s: while DPDK has it, the kernel receives nothing there, and so it may be with your way to this machine", c)
	}
	if d.Driver != driver {
		d.Use = Kernel
		d.step("DPDK drives it beside "+driver+", to which it is not bound", "sudo modprobe %s && %s", driver, l.bindCommandTo(d.Address, driver))
	}
	if !l.Exists(pciDevices + "/" + d.Address + "/infiniband") {
		d.Use = Kernel
		d.step("its verbs device is missing", "sudo modprobe -a %s", modulesOf[driver])
	}
}

// iommu says how vfio gets along with or without an IOMMU.
func (l *look) iommu(d *PCI) {
	if d.Group >= 0 || l.Text(unsafeMode) == "Y" {
		return
	}
	why := "no IOMMU: boot with intel_iommu=on iommu=pt (AMD: iommu=pt), or in a virtual machine that has none:"
	if l.Exists(unsafeMode) {
		d.step(why, "echo Y | sudo tee /%s", unsafeMode)
	} else {
		d.step(why, "sudo modprobe vfio enable_unsafe_noiommu_mode=1")
	}
}

// companions are the other devices of an IOMMU group that keep vfio from it:
// bound to a driver, and no bridge, which may stay with the kernel.
func (l *look) companions(d *PCI) (out []string) {
	if d.Group < 0 {
		return nil
	}
	for _, other := range l.Names(fmt.Sprintf("sys/kernel/iommu_groups/%d/devices", d.Group)) {
		driver := l.Link(pciDevices + "/" + other + "/driver")
		bridge := strings.HasPrefix(l.Text(pciDevices+"/"+other+"/class"), "0x06")
		if other != d.Address && pciAddress.MatchString(other) && driver != "" && driver != bindDriver && !bridge {
			out = append(out, other)
		}
	}
	return out
}

// lacksModule reports whether the list of this kernel's modules is there and
// vfio-pci is not in it.
func (l *look) lacksModule() bool {
	dir := "lib/modules/" + l.Text("proc/sys/kernel/osrelease") + "/"
	list := l.Text(dir + "modules.dep")
	return list != "" && !strings.Contains(list+l.Text(dir+"modules.builtin"), "/vfio-pci.ko")
}

func (l *look) bindCommand(addr string) string { return l.bindCommandTo(addr, bindDriver) }

// bindCommandTo uses DPDK's tool if it is installed, else the files it uses.
func (l *look) bindCommandTo(addr, driver string) string {
	for _, dir := range []string{"usr/bin", "usr/local/bin", "usr/sbin", "usr/local/sbin"} {
		if l.Exists(dir + "/dpdk-devbind.py") {
			return fmt.Sprintf("sudo dpdk-devbind.py --bind=%s %s", driver, addr)
		}
	}
	dev := "/" + pciDevices + "/" + addr
	unbind := ""
	if l.Link(pciDevices+"/"+addr+"/driver") != "" {
		unbind = fmt.Sprintf("echo %s > %s/driver/unbind; ", addr, dev)
	}
	return fmt.Sprintf("sudo sh -c 'echo %s > %s/driver_override; %secho %s > /sys/bus/pci/drivers_probe'", driver, dev, unbind, addr)
}
