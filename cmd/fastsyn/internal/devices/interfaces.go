package devices

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/internal/ethtool"
)

// Interface is a network interface of the kernel.
type Interface struct {
	Name     string `json:"name"`
	Port     string `json:"port"` // port string; "" if fastsyn cannot use it
	Driver   string `json:"driver"`
	Firmware string `json:"firmware,omitempty"`
	PCI      string `json:"pci,omitempty"` // address of its device
	Physical bool   `json:"physical"`      // has a device
	MAC      string `json:"mac"`
	MTU      int    `json:"mtu"`
	State    string `json:"state"`            // up, down, lowerlayerdown, unknown, ... (operstate of the kernel)
	LinkMbps int    `json:"link_mbps"`        // 0: unknown
	NUMA     int    `json:"numa"`             // node, -1: any
	Master   string `json:"master,omitempty"` // bridge, bond or synthetic device that it is part of

	Addrs        []netip.Prefix `json:"addrs"`
	DefaultRoute bool           `json:"default_route"`

	Queues   Queues    `json:"queues"`
	RSS      *RSS      `json:"rss"` // nil: the device does not tell
	Offloads []Offload `json:"offloads"`
	Notes    []string  `json:"notes"`
}

// Queues are those of the kernel's driver.
type Queues struct {
	Rx  int `json:"rx"` // in use
	Tx  int `json:"tx"`
	Max int `json:"max"` // receive queues to be had; 0: not told

	RxDesc    int `json:"rx_desc"` // descriptors of a receive queue; 0: not told
	MaxRxDesc int `json:"max_rx_desc"`
}

// RSS is how a device spreads frames over queues.
type RSS struct {
	Function    string `json:"function"`    // "": not told
	RETASize    int    `json:"reta_size"`   // entries
	RETAQueues  int    `json:"reta_queues"` // different queues in them
	KeySize     int    `json:"key_size"`
	KeyReadable bool   `json:"key_readable"`
	Symmetric   bool   `json:"key_symmetric"`
	TCP4        string `json:"tcp4"` // what is hashed, such as "src dst sport dport"; "": not told
	TCP6        string `json:"tcp6"`
}

// Offload is something the device, or the kernel for it, does to frames.
type Offload struct {
	Name  string `json:"name"`
	On    bool   `json:"on"`
	Fixed bool   `json:"fixed"` // cannot be switched
}

// offloads are the kernel's features by our names; one that is active will do.
var offloads = []struct {
	name     string
	features []string
}{
	{"rx checksum", []string{"rx-checksum"}},
	{"tx checksum", []string{"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"}},
	{"TSO", []string{"tx-tcp-segmentation"}},
	{"GSO", []string{"tx-generic-segmentation"}},
	{"GRO", []string{"rx-gro"}},
	{"GRO in hardware", []string{"rx-gro-hw"}},
	{"LRO", []string{"rx-lro"}},
	{"RSS hash", []string{"rx-hashing"}},
	{"VLAN strip", []string{"rx-vlan-hw-parse"}},
}

// Hardware types of linux/if_arp.h that the driver takes.
const arphrdEther = 1

// rank orders interfaces: devices first, then others that are up.
func (i *Interface) rank() int {
	switch {
	case i.Physical:
		return 0
	case i.State != "down":
		return 1
	}
	return 2
}

// iface looks at one interface; false if it is gone.
func (l *look) iface(name string) (Interface, bool) {
	dir := "sys/class/net/" + name + "/"
	dev, err := l.Device(name)
	addrs, err2 := l.Addrs(name)
	for _, err := range []error{err, err2} {
		if err == nil {
			continue
		}
		if !l.Exists("sys/class/net/" + name) {
			return Interface{}, false // it went meanwhile
		}
		l.errs = append(l.errs, fmt.Errorf("%s: %w", name, err))
	}
	i := Interface{
		Name: name, Driver: l.Link(dir + "device/driver"), Firmware: dev.Firmware, Physical: l.Exists(dir + "device"),
		MAC: l.Text(dir + "address"), MTU: l.int(dir+"mtu", 0), State: l.Text(dir + "operstate"),
		LinkMbps: max(0, l.int(dir+"speed", 0)), NUMA: l.int(dir+"device/numa_node", -1), Master: l.Link(dir + "master"),
		Addrs: append([]netip.Prefix{}, addrs...), DefaultRoute: l.defaults[name],
		Queues: l.queues(dir, &dev), RSS: rssOf(&dev), Offloads: []Offload{}, Notes: []string{},
	}
	if i.Driver == "" {
		i.Driver = dev.Driver
	}
	if dev.Firmware == "N/A" {
		i.Firmware = ""
	}
	for _, o := range offloads {
		if f, there := feature(&dev, o.features); there {
			i.Offloads = append(i.Offloads, Offload{o.name, f.Active, f.Fixed})
		}
	}
	if typ := l.int(dir+"type", arphrdEther); typ != arphrdEther {
		i.Notes = append(i.Notes, fmt.Sprintf("not an Ethernet device (hardware type %d): fastsyn cannot use it", typ))
		return i, true
	}
	i.Port = fmt.Sprintf("afpacket:%s?queues=%d", name, l.portQueues(i.Queues.Rx))
	l.notes(&i)
	return i, true
}

// notes says what to know before using the port string.
func (l *look) notes(i *Interface) {
	note := func(format string, args ...any) { i.Notes = append(i.Notes, fmt.Sprintf(format, args...)) }
	if l.int("sys/class/net/"+i.Name+"/flags", 0)&1 == 0 { // IFF_UP
		note("down: sudo ip link set %s up", i.Name)
	}
	switch {
	case i.Master != "":
		note("part of %s, which takes its frames: use %s, or take it out", i.Master, i.Master)
	case slices.ContainsFunc(i.Addrs, routed):
		note("the kernel answers for its addresses: give fastsyn others (--addr), or the kernel resets its flows")
	}
	if i.Driver == "hv_netvsc" {
		note("a synthetic device of Hyper-V: frames pass through its VF if there is one (docs/dpdk.md, Azure)")
	}
}

// routed reports whether others reach an address through a router, as they do not a link-local one.
func routed(p netip.Prefix) bool { return !p.Addr().IsLinkLocalUnicast() }

// queues counts queues by what the driver tells, else by what the kernel made.
func (l *look) queues(dir string, dev *ethtool.Device) Queues {
	var q Queues
	for _, n := range l.Names(dir + "queues") {
		switch {
		case strings.HasPrefix(n, "rx-"):
			q.Rx++
		case strings.HasPrefix(n, "tx-"):
			q.Tx++
		}
	}
	if n := max(dev.Combined, dev.RX); n > 0 {
		q.Rx = int(n)
	}
	if dev.Combined > 0 {
		q.Tx = int(dev.Combined)
	}
	q.Max = int(max(dev.MaxCombined, dev.MaxRX))
	q.RxDesc, q.MaxRxDesc = int(dev.RingRX), int(dev.MaxRingRX)
	return q
}

// portQueues is the number of queues to ask for, of n that a device has.
func (l *look) portQueues(n int) int { return max(1, min(n, l.CPUs, maxQueues)) }

func rssOf(dev *ethtool.Device) *RSS {
	if !dev.RSS {
		return nil
	}
	return &RSS{
		Function: dev.Function, RETASize: int(dev.RETA), RETAQueues: int(dev.RETAQueues),
		KeySize: int(dev.Key), KeyReadable: dev.KeyTold, Symmetric: dev.Symmetric, TCP4: dev.TCP4, TCP6: dev.TCP6,
	}
}

// feature returns the first that is active, else the first that could be.
func feature(dev *ethtool.Device, names []string) (f ethtool.Feature, there bool) {
	for _, n := range names {
		g, ok := dev.Features[n]
		switch {
		case !ok:
			continue
		case g.Active:
			return g, true
		case !there || f.Fixed:
			f, there = g, true
		}
	}
	return f, there
}

// int returns the number in a file, in any base of Go, or what it is without.
func (l *look) int(name string, without int) int {
	n, err := strconv.ParseInt(l.Text(name), 0, 32)
	if err != nil {
		return without
	}
	return int(n)
}

// defaultRoutes returns the interfaces of default routes, from
// /proc/net/route and /proc/net/ipv6_route.
func (l *look) defaultRoutes() map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(l.Text("proc/net/route")) {
		f := strings.Fields(line) // Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		if len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			out[f[0]] = true
		}
	}
	const rejected = 0x0200 // RTF_REJECT
	for line := range strings.Lines(l.Text("proc/net/ipv6_route")) {
		f := strings.Fields(line) // destination, prefix length, source, prefix length, next hop, metric, refcnt, use, flags, device
		if len(f) < 10 || f[1] != "00" || strings.Trim(f[0], "0") != "" {
			continue
		}
		if flags, err := strconv.ParseUint(f[8], 16, 32); err == nil && flags&rejected == 0 {
			out[f[9]] = true
		}
	}
	return out
}
