package dpdk

import "strings"

// A cause is something DPDK says, and what it means to the one who reads it.
type cause struct {
	says string // part of the log, lower case
	why  string
	fix  string
}

// causes, most telling first. The texts are those of DPDK 22.11 to 24.11; what
// is not among them is shown as DPDK said it.
var causes = []cause{
	{
		"is another primary process running", "another run uses this file-prefix",
		"end that run, give this one a file-prefix of its own, or leave file-prefix out",
	},
	{
		"option --no-huge cannot be specified", "no-huge contradicts another setting",
		"leave out huge-dir and single-file with no-huge=on",
	},
	{
		"cannot use iova as 'pa'", "physical addresses cannot be read",
		"run as root (CAP_SYS_ADMIN, CAP_IPC_LOCK), or say iova=va, which a NIC needs an IOMMU for",
	},
	{
		"unable to create path", "its run-time directory cannot be made",
		"as an ordinary user set XDG_RUNTIME_DIR to a directory of yours, or leave file-prefix out",
	},
	{
		"error creating", "its run-time directory cannot be made",
		"as an ordinary user set XDG_RUNTIME_DIR to a directory of yours, or leave file-prefix out",
	},
	{
		"no free 2048 kb hugepages", "no huge page is free",
		"reserve some: sudo fastsyn hugepages reserve --count 64; or say no-huge=on, for tests",
	},
	{
		"cannot get hugepage information", "no huge page can be had",
		"reserve some: sudo fastsyn hugepages reserve --count 64; or say no-huge=on, for tests",
	},
	{
		"not enough memory available", "fewer huge pages are free than asked for",
		"ask for less (memory=, socket-mem=), reserve more: sudo fastsyn hugepages reserve --count 256; or say no-huge=on",
	},
	{
		"couldn't find suitable virtual area", "the address space is limited",
		"raise ulimit -v; it must cover what memory= asks for several times over",
	},
	{
		"container is not enabled", "vfio refuses",
		"the user must own /dev/vfio/GROUP, and all devices of the IOMMU group must be bound to vfio-pci",
	},
	{
		"vfio group is not viable", "another device of the same IOMMU group still belongs to the kernel",
		"bind all devices of the group to vfio-pci: dpdk-devbind.py --status shows them",
	},
	{
		"failed to open vfio group", "the device is in use, or /dev/vfio/GROUP is not ours",
		"end the other program, or chown the group file to this user",
	},
	{
		"cannot set up dma remapping", "memory cannot be locked for the IOMMU",
		"ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit file",
	},
	{
		"permission denied", "permission is missing",
		"run as root, or give the program what docs/dpdk.md lists under running without root",
	},
	{
		"operation not permitted", "permission is missing",
		"run as root, or give the program what docs/dpdk.md lists under running without root",
	},
	{
		"larger than combined queue count", "the interface has fewer combined queues",
		"ethtool -L IFACE combined N, where its driver has such (veth has not), or queue_count=1",
	},
	{
		"libbpf", "the XDP program or socket was refused",
		"run as root; if the log names XSK_BIND or an XDP flag, the driver of the interface lacks zero copy: force_copy=1",
	},
	{
		"failed to parse device", "no driver of this DPDK takes this name",
		"virtual devices are named after their driver and a number: net_memif0, net_af_packet0, net_tap0; a driver is a library in DPDK's directory of them (dpdk/pmds-*)",
	},
	{
		"no such device", "there is no such device",
		"fastsyn devices lists what there is",
	},
}

// explain makes a sentence of what DPDK logged when something failed.
func explain(log string) string {
	low := strings.ToLower(log)
	for _, c := range causes {
		if strings.Contains(low, c.says) {
			return c.why + "; " + c.fix + said(log)
		}
	}
	if s := said(log); s != "" {
		return strings.TrimPrefix(s, " ")
	}
	return "(DPDK gives no reason)"
}

// said quotes the lines of log that tell something.
func said(log string) string {
	var keep []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		low := strings.ToLower(line)
		if line == "" || strings.Contains(low, "detected cpu lcores") || strings.Contains(low, "detected numa nodes") ||
			strings.Contains(low, "detected shared linkage") || strings.Contains(low, "selected iova mode") ||
			strings.Contains(low, "multi-process socket") || strings.Contains(low, "vfio support initialized") ||
			strings.Contains(low, "register mp action callback") || strings.Contains(low, "attach device on primary process") ||
			strings.Contains(low, "tsc using rdtsc") || strings.Contains(low, "no legacy callbacks") {
			continue
		}
		keep = append(keep, line)
	}
	const most = 4
	if len(keep) > most {
		keep = keep[len(keep)-most:]
	}
	if len(keep) == 0 {
		return ""
	}
	return ` (DPDK says "` + strings.Join(keep, "; ") + `")`
}
