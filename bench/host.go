package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/internal/ethtool"
	"github.com/fastsyn/fastsyn/internal/sysfs"
)

// Host says where a run took place.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"` // that the process may use
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"` // "unknown" if the build does not say; "+dirty" with uncommitted changes
	// What moves figures without being asked. Empty: unknown.
	Governor    string            `json:"governor"`    // of the CPUs used, cpufreq
	Isolated    string            `json:"isolated"`    // isolcpus and nohz_full, as a list of CPUs
	Virtual     string            `json:"virtual"`     // hypervisor
	Mitigations map[string]string `json:"mitigations"` // /sys/devices/system/cpu/vulnerabilities
	NIC         NIC               `json:"nic"`         // of the client's port
}

// NIC is the device of a port.
type NIC struct {
	Driver   string            `json:"driver"`    // of the port
	Device   string            `json:"device"`    // what the driver drives, by its own name
	Kernel   string            `json:"kernel"`    // kernel driver of an interface
	SpeedMbS int64             `json:"speed_mbs"` // Mbit/s; 0: unknown
	MTU      int               `json:"mtu"`
	Queues   int               `json:"queues"`
	Offloads map[string]string `json:"offloads"`
}

// Commit is set by the linker (-X) in builds without version control information.
var Commit string

// thisHost describes the machine, for a run on cpus.
func thisHost(cpus []int) Host {
	h := Host{CPU: cpuModel(), Cores: len(cpus), Kernel: kernel(), Go: runtime.Version(), Commit: BuildCommit()}
	if h.Cores == 0 {
		h.Cores = runtime.NumCPU()
	}
	h.look(sysfs.Tree{FS: os.DirFS("/")}, cpus)
	return h
}

// look reads what /proc and /sys tell about the CPUs. On systems without them it is nothing.
func (h *Host) look(x sysfs.Tree, cpus []int) {
	const dir = "sys/devices/system/cpu/"
	var governors, isolated []string
	for _, c := range cpus {
		if g := x.Text(fmt.Sprintf("%scpu%d/cpufreq/scaling_governor", dir, c)); g != "" && !slices.Contains(governors, g) {
			governors = append(governors, g)
		}
	}
	h.Governor = strings.Join(governors, ", ")
	for _, name := range []string{"isolated", "nohz_full"} {
		if s := x.Text(dir + name); s != "" && s != "(null)" {
			isolated = append(isolated, strings.Replace(name, "isolated", "isolcpus", 1)+" "+s)
		}
	}
	h.Isolated = strings.Join(isolated, ", ")
	h.Virtual = hypervisor(x)
	h.Mitigations = map[string]string{}
	for _, name := range x.Names(dir + "vulnerabilities") {
		if s := x.Text(dir + "vulnerabilities/" + name); s != "" {
			h.Mitigations[name] = s
		}
	}
}

// hypervisor names what the machine is a guest of: the type that Xen tells, else the machine that DMI does, if
// the CPU says that there is a hypervisor.
func hypervisor(x sysfs.Tree) string {
	if s := x.Text("sys/hypervisor/type"); s != "" {
		return s
	}
	for line := range strings.Lines(x.Text("proc/cpuinfo")) {
		key, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(key) == "flags" && slices.Contains(strings.Fields(value), "hypervisor") {
			const dmi = "sys/class/dmi/id/"
			return cmp.Or(strings.TrimSpace(x.Text(dmi+"sys_vendor")+" "+x.Text(dmi+"product_name")), "a hypervisor without a name")
		}
	}
	return ""
}

// shownFeatures are the offloads of an interface that change what a run measures, by the kernel's names.
var shownFeatures = []string{
	"rx-checksum", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-checksum-ip-generic", "tx-scatter-gather", "tx-tcp-segmentation",
	"tx-tcp6-segmentation", "tx-generic-segmentation", "rx-gro", "rx-gro-hw", "rx-lro", "rx-hashing",
}

// nicOf describes the device of a port.
func nicOf(port dataplane.Port) NIC {
	i := unwrap(port).Info()
	n := NIC{Driver: i.Driver, Device: i.Name, MTU: i.MTU, Queues: i.Queues, Offloads: map[string]string{}}
	onOff := func(on bool) string {
		if on {
			return "on"
		}
		return "off"
	}
	if !i.Kernel { // what the driver does for us
		c := port.Queue(0).Caps()
		n.Offloads["rx-checksum"], n.Offloads["tx-checksum"], n.Offloads["rx-hashing"] = onOff(c.RxCsum), onOff(c.TxCsum), onOff(c.RxHash)
		return n
	}
	d, err := ethtool.Ask(i.Name)
	if err != nil {
		return n
	}
	n.Kernel, n.SpeedMbS = d.Driver, d.Speed
	for _, name := range shownFeatures {
		if f, known := d.Features[name]; known {
			n.Offloads[name] = onOff(f.Active)
		}
	}
	return n
}

// text is what is known of the machine, in lines.
func (h *Host) text(b *bytes.Buffer) {
	line(b, "host", "%s, %s, %s, %s, commit %s", h.CPU, plural(h.Cores, "CPU"), h.Kernel, h.Go, cmp.Or(h.Commit, "unknown"))
	var more []string
	for _, x := range []struct{ what, value string }{{"governor ", h.Governor}, {"CPUs of ", h.Isolated}, {"guest of ", h.Virtual}} {
		if x.value != "" {
			more = append(more, x.what+x.value)
		}
	}
	var active, vulnerable int
	for _, s := range h.Mitigations {
		switch {
		case strings.HasPrefix(s, "Mitigation"):
			active++
		case strings.HasPrefix(s, "Vulnerable"):
			vulnerable++
		}
	}
	if len(h.Mitigations) > 0 {
		more = append(more, fmt.Sprintf("%s on, %d left vulnerable", plural(active, "mitigation"), vulnerable))
	}
	if len(more) > 0 {
		line(b, "", "%s", strings.Join(more, "; "))
	}
	if n := &h.NIC; n.Kernel != "" {
		text := fmt.Sprintf("%s: %s, MTU %d, %s", n.Device, n.Kernel, n.MTU, plural(n.Queues, "queue"))
		if n.SpeedMbS > 0 {
			text += fmt.Sprintf(", %s Mbit/s", count(uint64(n.SpeedMbS)))
		}
		var on []string
		for _, name := range slices.Sorted(maps.Keys(n.Offloads)) {
			if n.Offloads[name] == "on" {
				on = append(on, name)
			}
		}
		line(b, "nic", "%s; offloads: %s", text, cmp.Or(strings.Join(on, ", "), "none"))
	}
}
