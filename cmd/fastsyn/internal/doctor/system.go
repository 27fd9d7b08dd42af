package doctor

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/hugepages"
)

// memory reports the huge page set-up.
func (x *examination) memory() error {
	s, err := hugepages.InspectFS(x.Root)
	if err != nil {
		return err
	}
	for _, p := range s.Pools {
		if p.Total > 0 {
			x.ok("hugepages", "%v", p.PageSize)
		}
	}
	if s.THP.Mode == "always" || s.THP.Mode == "madvise" {
		x.ok("thp", "%s", s.THP.Mode)
	}
	for _, m := range s.Mounts {
		if m.Usable {
			x.ok("hugetlbfs", "%s, pages of %s", m.Path, hugepages.BytesText(m.Bytes))
		}
	}
	for _, p := range s.Problems {
		severity := Note
		if p.Level == hugepages.Warn {
			severity = Warn
		}
		x.add("hugepages", severity, p.What, p.Cost, p.Fix)
	}
	return nil
}

// Capability numbers of linux/capability.h.
const (
	capNetAdmin = 12
	capNetRaw   = 13
	capIPCLock  = 14
	capSysAdmin = 21
)

// privileges looks at the effective capabilities of this process.
func (x *examination) privileges() error {
	s := x.status("CapEff")
	caps, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return fmt.Errorf("/proc/self/status: CapEff %q: %w", s, err)
	}
	x.caps = caps
	const setcap = "sudo setcap cap_net_raw,cap_net_admin+ep $(command -v fastsyn)"
	for _, c := range []struct {
		bit         int
		name        string
		severity    Severity
		cost, grant string
	}{
		{capNetRaw, "CAP_NET_RAW", Warn, "ports afpacket:... cannot be opened", setcap + ", or run as root; docker run --cap-add NET_RAW"},
		{capNetAdmin, "CAP_NET_ADMIN", Note, "offloads=off is refused, socket buffers are bounded by net.core.*mem_max", setcap},
		{capIPCLock, "CAP_IPC_LOCK", Note, "locked memory is bounded by ulimit -l", "ulimit -l unlimited, or run as root; docker run --cap-add IPC_LOCK"},
		{capSysAdmin, "CAP_SYS_ADMIN", Note, "hugetlbfs cannot be mounted, DPDK cannot read physical addresses", "run that step as root (sudo)"},
	} {
		if caps>>c.bit&1 != 0 {
			x.ok(c.name, "effective")
		} else {
			x.add(c.name, c.severity, "missing", c.cost, c.grant)
		}
	}
	return nil
}

// kernel looks at the version and at settings that matter to packet sockets.
func (x *examination) kernel() error {
	release := x.Text("proc/sys/kernel/osrelease")
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("/proc/sys/kernel/osrelease %q: %w", release, err)
	}
	older := func(a, b int) bool { return major < a || major == a && minor < b }
	switch {
	case older(4, 20):
		x.add("version", Bad, release, "afpacket needs Linux 4.20 (PACKET_IGNORE_OUTGOING)", "update the kernel")
	case older(5, 14):
		x.add("version", Note, release, "huge pages of a chosen NUMA node need Linux 5.14", "update the kernel")
	case older(6, 18):
		x.add("version", Note, release, "with ring=v3, blocks are handed over by ticks: up to 8 ms late", "use ring=v2, the default, or Linux 6.18")
	default:
		x.ok("version", "%s", release)
	}
	x.buffers()
	if n, there := x.Number("proc/sys/net/core/bpf_jit_enable"); there && n == 0 {
		x.add("bpf jit", Warn, "off", "the program that spreads frames over queues=N is interpreted", "sudo sysctl net.core.bpf_jit_enable=1")
	} else if there {
		x.ok("bpf jit", "on")
	}
	if n, there := x.Number("proc/sys/net/ipv4/ip_forward"); there && n == 1 {
		x.add("forwarding", Note, "net.ipv4.ip_forward=1", "the kernel sends frames for our addresses on as well: duplicates, ICMP errors",
			"sudo sysctl net.ipv4.ip_forward=0, or keep fastsyn on an interface that is not routed")
	}
	x.softnet()
	return nil
}

// The buffers that the AF_PACKET driver asks for.
const (
	wantReceive = 8 << 20
	wantSend    = 4 << 20
)

func (x *examination) buffers() {
	r, okR := x.Number("proc/sys/net/core/rmem_max")
	w, okW := x.Number("proc/sys/net/core/wmem_max")
	if !okR || !okW {
		return // another network namespace than the first does not show them
	}
	found := fmt.Sprintf("rmem_max %s, wmem_max %s", hugepages.BytesText(uint64(r)), hugepages.BytesText(uint64(w)))
	if (r < wantReceive || w < wantSend) && x.caps>>capNetAdmin&1 == 0 {
		x.add("buffers", Warn, found, "without CAP_NET_ADMIN packet sockets get no more: bursts are cut",
			fmt.Sprintf("sudo sysctl net.core.rmem_max=%d net.core.wmem_max=%d", wantReceive, wantSend))
		return
	}
	x.ok("buffers", "%s", found)
}

// softnet sums up what the kernel dropped before any socket saw it: column two
// of /proc/net/softnet_stat, and in column three how often its time was up.
func (x *examination) softnet() {
	var dropped, squeezed uint64
	for line := range strings.Lines(x.Text("proc/net/softnet_stat")) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		d, _ := strconv.ParseUint(f[1], 16, 32)
		s, _ := strconv.ParseUint(f[2], 16, 32)
		dropped, squeezed = dropped+d, squeezed+s
	}
	backlog, there := x.Number("proc/sys/net/core/netdev_max_backlog")
	switch {
	case !there:
	case dropped > 0:
		x.add("backlog", Warn, fmt.Sprintf("%d frames dropped since boot, netdev_max_backlog %d", dropped, backlog),
			"SYNs are lost before fastsyn sees them (veth, loopback and RPS pass here)", "sudo sysctl net.core.netdev_max_backlog=16384")
	case squeezed > 1000:
		x.add("backlog", Note, fmt.Sprintf("receiving ran out of its time slice %d times", squeezed), "frames wait for the next one",
			"sudo sysctl net.core.netdev_budget=1200 net.core.netdev_budget_usecs=8000")
	default:
		x.ok("backlog", "no frame dropped, netdev_max_backlog %d", backlog)
	}
}
