package guest

import (
	"fmt"
	"path"
	"strings"
)

// Driver says who drives the guest's NIC.
type Driver uint8

// The drivers.
const (
	// VirtioNet: the kernel's virtio_net; interface eth0, without an address.
	VirtioNet Driver = iota
	// UIO: uio_pci_generic, so that a program can (uio-howto).
	UIO
	// VFIO: vfio-pci behind an emulated IOMMU.
	VFIO
)

// PCI is the address of the guest's NIC.
const PCI = "0000:00:02.0"

// modules of the kernel, and the driver that the NIC is given to.
func (d Driver) modules() (modules []string, bind string) {
	switch d {
	case UIO:
		return []string{"uio_pci_generic"}, "uio_pci_generic"
	case VFIO:
		return []string{"vfio_iommu_type1", "vfio-pci"}, "vfio-pci"
	default:
		return []string{"virtio_pci", "virtio_net"}, ""
	}
}

// consoles of the guest: the kernel's messages and ours stay apart.
const (
	kernelTTY = "ttyS0"
	agentTTY  = "ttyS1"
)

// initScript is the guest's first program. It prepares what DPDK expects, binds
// the NIC, then becomes the agent. The guest ends with it, or after its time.
func initScript(c *Config, modules []string, bind string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ DIR=/run/agent LD_LIBRARY_PATH=%s
mkdir -p /proc /sys /dev /run/agent /tmp /var/run
chmod 755 / # DPDK loads nothing from below a directory that all may write to
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec 3<>/dev/%s || exit 1
stty -F /dev/%s raw -echo
fail() { echo "error: $*" >&3; sleep 1; exit 1; }
(sleep %d; poweroff -f) 3>&- </dev/null &
`, quote(c.Image.LibraryPath()), agentTTY, agentTTY, int(c.Limit.Seconds()))
	if c.HugePages > 0 {
		fmt.Fprintf(&b, `mkdir -p /dev/hugepages
mount -t hugetlbfs hugetlbfs /dev/hugepages || fail "mounting hugetlbfs"
echo %d >/proc/sys/vm/nr_hugepages
[ "$(cat /proc/sys/vm/nr_hugepages)" = %d ] || fail "only $(cat /proc/sys/vm/nr_hugepages) of %d huge pages: give the guest more memory"
`, c.HugePages, c.HugePages, c.HugePages)
	}
	for _, m := range modules {
		fmt.Fprintf(&b, "insmod /modules/%s || fail %s\n", path.Base(m), quote("insmod "+path.Base(m)))
	}
	if bind != "" {
		fmt.Fprintf(&b, `nic=/sys/bus/pci/devices/%s
[ -d $nic ] || fail "there is no PCI device %s: $(ls /sys/bus/pci/devices | tr '\n' ' ')"
echo %s >$nic/driver_override
echo %s >/sys/bus/pci/drivers_probe
[ "$(basename "$(readlink $nic/driver)")" = %s ] || fail "the NIC did not bind to %s"
`, PCI, PCI, bind, PCI, bind, bind)
	}
	b.WriteString("ip link set lo up\necho ready >&3\nexec sh /agent <&3 >&3 2>/dev/" + kernelTTY + " 3>&-\n")
	return b.String()
}
