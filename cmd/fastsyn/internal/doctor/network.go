package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/internal/ethtool"
)

// maxInterfaces bounds the report of a machine with containers by the hundred.
const maxInterfaces = 8

func (x *examination) network() error {
	names := x.Names("sys/class/net")
	if x.Iface != "" {
		if !slices.Contains(names, x.Iface) {
			return fmt.Errorf("--iface %s: no such interface; there are %s", x.Iface, strings.Join(names, ", "))
		}
		return x.iface(x.Iface)
	}
	var shown []string
	for _, physical := range []bool{true, false} { // devices first
		for _, n := range names {
			if n == "lo" || x.Exists("sys/class/net/"+n+"/device") != physical || !x.Exists("sys/class/net/"+n+"/ifindex") {
				continue
			}
			if physical || x.Text("sys/class/net/"+n+"/operstate") == "up" {
				shown = append(shown, n)
			}
		}
	}
	if len(shown) == 0 {
		x.add("interfaces", Note, "none but lo", "loop: is the only port here", "ip link add veth0 type veth peer name veth1, to try afpacket")
		return nil
	}
	var failed error
	for _, n := range shown[:min(len(shown), maxInterfaces)] {
		failed = errors.Join(failed, x.iface(n))
	}
	if more := len(shown) - maxInterfaces; more > 0 {
		x.add("interfaces", Note, fmt.Sprintf("%d more", more), "nothing", "fastsyn doctor --iface NAME shows one of them")
	}
	return failed
}

// iface looks at one interface.
func (x *examination) iface(name string) error {
	dir := "sys/class/net/" + name + "/"
	dev, err := x.Device(name)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s: %w", name, err)
	}
	driver := x.Link(dir + "device/driver")
	if driver == "" {
		driver = dev.Driver
	}
	found := []string{}
	if driver != "" {
		found = append(found, driver)
	}
	if speed, ok := x.Number(dir + "speed"); ok && speed > 0 {
		found = append(found, fmt.Sprintf("%d Mbit/s", speed))
	}
	if mtu := x.Text(dir + "mtu"); mtu != "" {
		found = append(found, "MTU "+mtu)
	}
	if state := x.Text(dir + "operstate"); state == "down" || state == "lowerlayerdown" {
		severity := Note // a socket without a cable is no fault
		if name == x.Iface {
			severity = Warn
		}
		x.add(name, severity, strings.Join(append(found, "down"), ", "), "nothing is sent or received", "sudo ip link set "+name+" up")
	} else {
		x.ok(name, "%s", strings.Join(found, ", "))
	}
	x.queues(name, dev)
	x.rss(name, dev)
	if dev.MaxRingRX > dev.RingRX && dev.RingRX < 1024 {
		x.add(name+" ring", Note, fmt.Sprintf("%d receive descriptors of %d", dev.RingRX, dev.MaxRingRX), "bursts of SYNs longer than that are lost in the NIC",
			fmt.Sprintf("sudo ethtool -G %s rx %d", name, min(dev.MaxRingRX, 4096)))
	}
	if on := merging(&dev); len(on) > 0 {
		x.add(name+" offloads", Note, strings.Join(on, ", "), "segments arrive merged and without checksums, so traces show what the wire did not carry",
			"open the port with offloads=off: afpacket:"+name+"?offloads=off")
	}
	if node, ok := x.Number(dir + "device/numa_node"); ok && node >= 0 && x.nodes > 1 {
		x.add(name+" numa", Note, fmt.Sprintf("on node %d", node), "workers elsewhere read each frame across the interconnect",
			fmt.Sprintf("pin workers to CPUs %s", x.Text(fmt.Sprintf("sys/devices/system/node/node%d/cpulist", node))))
	}
	var lost int64
	for _, c := range []string{"rx_missed_errors", "rx_fifo_errors", "rx_dropped"} {
		if n, ok := x.Number(dir + "statistics/" + c); ok {
			lost += n
		}
	}
	if lost > 0 {
		x.add(name+" drops", Note, fmt.Sprintf("%d frames lost on receive since it came up", lost), "a run that loses frames measures retransmission timeouts",
			"watch it during a run: ip -s -s link show "+name)
	}
	return nil
}

// merging returns the active offloads that change what a packet socket sees.
func merging(dev *ethtool.Device) (on []string) {
	for _, f := range []struct{ feature, label string }{
		{"rx-gro", "GRO"},
		{"rx-gro-hw", "GRO in hardware"},
		{"tx-generic-segmentation", "GSO"},
		{"rx-lro", "LRO"},
		{"tx-tcp-segmentation", "TSO"},
	} {
		if dev.Active(f.feature) {
			on = append(on, f.label)
		}
	}
	return on
}

// queues looks at how many CPUs the kernel can receive on.
func (x *examination) queues(name string, dev ethtool.Device) {
	rx, tx := 0, 0
	for _, q := range x.Names("sys/class/net/" + name + "/queues") {
		switch {
		case strings.HasPrefix(q, "rx-"):
			rx++
		case strings.HasPrefix(q, "tx-"):
			tx++
		}
	}
	inUse := rx
	if dev.RX > 0 {
		inUse = int(dev.RX)
	}
	if dev.Combined > 0 {
		inUse = int(dev.Combined)
	}
	found := fmt.Sprintf("%d receive, %d transmit", inUse, tx)
	switch {
	case dev.MaxCombined > dev.Combined && inUse < len(x.cpus):
		n := min(int(dev.MaxCombined), len(x.cpus))
		x.add(name+" queues", Warn, fmt.Sprintf("%s; %d are to be had", found, dev.MaxCombined), "the kernel receives on fewer CPUs than it could",
			fmt.Sprintf("sudo ethtool -L %s combined %d", name, n))
	case inUse == 1 && len(x.cpus) > 1:
		x.add(name+" queues", Note, found, "the kernel's half of receiving happens on one CPU",
			"afpacket with queues=N spreads in software; to spread the kernel's half, RPS: /sys/class/net/"+name+"/queues/rx-0/rps_cpus")
	default:
		x.ok(name+" queues", "%s", found)
	}
}

// rss looks at whether the device hashes as rss.Predict expects.
func (x *examination) rss(name string, dev ethtool.Device) {
	const whole = "src dst sport dport"
	if !dev.RSS {
		if dev.RX > 1 || dev.Combined > 1 {
			x.add(name+" rss", Note, "the device does not tell its hash", "which queue a reply arrives on cannot be predicted",
				"afpacket does it in software; for DPDK, probe with fastsyn rss")
		}
		return
	}
	found := fmt.Sprintf("%s, %d entries, key of %d bytes, TCP by %s", dev.Function, dev.RETA, dev.Key, dev.TCP4)
	if dev.Symmetric {
		found += ", symmetric key"
	}
	switch {
	case dev.Function != "" && dev.Function != "toeplitz":
		x.add(name+" rss", Note, found, "fastsyn predicts Toeplitz only", fmt.Sprintf("sudo ethtool -X %s hfunc toeplitz", name))
	case dev.TCP4 != "" && dev.TCP4 != whole || dev.TCP6 != "" && dev.TCP6 != whole:
		if dev.TCP6 != dev.TCP4 {
			found += ", over IPv6 by " + dev.TCP6
		}
		x.add(name+" rss", Warn, found, "all connections between two hosts land on one queue",
			fmt.Sprintf("sudo ethtool -N %[1]s rx-flow-hash tcp4 sdfn; sudo ethtool -N %[1]s rx-flow-hash tcp6 sdfn", name))
	default:
		x.ok(name+" rss", "%s", found)
	}
}
