package devices

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/internal/ethtool"
)

var update = flag.Bool("update", false, "write the golden files")

// readTree makes up a root directory. A line is "FILE = text", with the text as
// it is or quoted as in Go, "LINK -> target", or a comment.
func readTree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".tree")
	require.NoError(t, err)
	tree := fstest.MapFS{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if file, to, ok := strings.Cut(line, " -> "); ok {
			tree[file] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
			continue
		}
		file, text, ok := strings.Cut(line, " = ")
		require.True(t, ok, line)
		if strings.HasPrefix(text, `"`) {
			text, err = strconv.Unquote(text)
			require.NoError(t, err, line)
		}
		tree[file] = &fstest.MapFile{Data: []byte(text + "\n")}
	}
	return tree
}

func on(names ...string) map[string]ethtool.Feature {
	m := map[string]ethtool.Feature{"rx-lro": {}, "rx-gro-hw": {Fixed: true}}
	for _, n := range names {
		name, fixed := strings.CutSuffix(n, "!")
		m[name] = ethtool.Feature{Active: true, Fixed: fixed}
	}
	return m
}

const whole = "src dst sport dport"

// machines are those of testdata, with what their devices tell and their addresses.
var machines = map[string]struct {
	devices map[string]ethtool.Device
	addrs   map[string]string
}{
	"cloud": {
		map[string]ethtool.Device{
			"eth0": {
				Driver: "virtio_net", Firmware: "N/A", RX: 2, Combined: 2, MaxCombined: 8, RingRX: 256, MaxRingRX: 256,
				Features: on("rx-checksum!", "tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-generic-segmentation", "rx-gro"),
			},
		},
		map[string]string{"eth0": "10.128.0.7/32 fe80::5054:ff:fe12:3456/64", "docker0": "172.17.0.1/16"},
	},
	"server": {
		map[string]ethtool.Device{
			"enp59s0f0": {
				Driver: "ice", Firmware: "4.40 0x8001c967 1.3534.0", RX: 16, Combined: 16, MaxCombined: 64, RingRX: 2048, MaxRingRX: 8160,
				RSS: true, RETA: 512, RETAQueues: 16, Key: 52, KeyTold: true, Function: "toeplitz", TCP4: whole, TCP6: whole,
				Features: on("rx-checksum", "tx-checksum-ipv4", "tx-checksum-ipv6", "tx-tcp-segmentation", "rx-gro", "rx-hashing", "rx-vlan-hw-parse"),
			},
			"enp59s0f1": {Driver: "ice", Combined: 16, MaxCombined: 64},
			"enp94s0f0np0": {
				Driver: "mlx5_core", RX: 8, Combined: 8, MaxCombined: 63, RingRX: 1024, MaxRingRX: 8192,
				RSS: true, RETA: 128, RETAQueues: 8, Key: 40, KeyTold: true, Symmetric: true, Function: "toeplitz", TCP4: whole, TCP6: "src dst",
				Features: map[string]ethtool.Feature{"tx-checksum-ip-generic": {Fixed: true}, "tx-checksum-ipv4": {}, "tx-checksum-ipv6": {Active: true}, "rx-checksum": {}},
			},
			"enp94s0f1np1": {Driver: "mlx5_core", RX: 8, Combined: 8, MaxCombined: 63, RSS: true, RETA: 128, RETAQueues: 1, Key: 40, Function: "xor"},
			"enp216s0f0":   {Driver: "ixgbe", RX: 4, Combined: 4, MaxCombined: 63, RSS: true, RETA: 128, RETAQueues: 4},
		},
		map[string]string{"enp59s0f0": "192.0.2.10/24 2001:db8::10/64", "br0": "10.1.0.1/24"},
	},
	"nopci": {
		map[string]ethtool.Device{"eth0": {Driver: "veth", MaxRX: 4}, "tun0": {Driver: "tun"}},
		map[string]string{"eth0": "172.17.0.2/16", "tun0": "10.8.0.2/24"},
	},
	"azure": {
		map[string]ethtool.Device{
			"eth0":       {Driver: "hv_netvsc", RX: 4, Combined: 4, MaxCombined: 8, RSS: true, RETA: 128, RETAQueues: 4, Key: 40, KeyTold: true, Function: "toeplitz", TCP4: whole, TCP6: whole},
			"eth1":       {Driver: "hv_netvsc", RX: 4, Combined: 4, MaxCombined: 8},
			"enP30832s1": {Driver: "mana", RX: 4, Combined: 4, MaxCombined: 16},
			"enP1s2":     {Driver: "mlx5_core", RX: 4, Combined: 4, MaxCombined: 4},
		},
		map[string]string{"eth0": "10.0.0.4/24", "eth1": "10.0.1.4/24"},
	},
}

func machine(t *testing.T, name string) Machine {
	t.Helper()
	m := machines[name]
	return Machine{
		Root: readTree(t, name), CPUs: 12,
		Device: func(iface string) (ethtool.Device, error) { return m.devices[iface], nil },
		Addrs: func(iface string) (out []netip.Prefix, err error) {
			for a := range strings.FieldsSeq(m.addrs[iface]) {
				out = append(out, netip.MustParsePrefix(a))
			}
			return out, nil
		},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := "testdata/" + name
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "go test -update writes it anew")
}

func TestGolden(t *testing.T) {
	for name := range machines {
		t.Run(name, func(t *testing.T) {
			r, err := Look(machine(t, name))
			require.NoError(t, err)
			page := NewPage()
			r.Write(page)
			for line := range strings.Lines(page.String()) {
				line = strings.TrimSuffix(line, "\n")
				require.Equal(t, strings.TrimRight(line, " "), line)
				if !strings.Contains(line, " sudo ") {
					require.LessOrEqual(t, len([]rune(line)), page.Width, line)
				}
			}
			golden(t, name+".golden", []byte(page.String()))
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetIndent("", "  ")
			require.NoError(t, e.Encode(r))
			golden(t, name+".json", b.Bytes())
		})
	}
}

// device is the device at an address.
func device(t *testing.T, r *Report, addr string) PCI {
	t.Helper()
	for _, d := range r.PCI {
		if d.Address == addr {
			return d
		}
	}
	require.Fail(t, "no device", addr)
	return PCI{}
}

func edited(t *testing.T, name string, edit func(tree fstest.MapFS)) *Report {
	t.Helper()
	m := machine(t, name)
	edit(m.Root.(fstest.MapFS))
	r, err := Look(m)
	require.NoError(t, err)
	return r
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func link(to string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
}

func commands(d PCI) string {
	var out []string
	for _, s := range d.Steps {
		out = append(out, s.Command)
	}
	return strings.Join(out, "\n")
}

// What keeps DPDK from a device, one thing after the other.
func TestSteps(t *testing.T) {
	const addr, dir = "0000:00:03.0", "sys/bus/pci/devices/0000:00:03.0/"
	for _, c := range []struct {
		name string
		edit func(tree fstest.MapFS)
		use  Use
		want string
	}{
		{
			"as it is", func(fstest.MapFS) {}, Kernel,
			"sudo modprobe vfio enable_unsafe_noiommu_mode=1\nsudo modprobe vfio-pci\n" +
				"sudo sh -c 'echo vfio-pci > /sys/bus/pci/devices/0000:00:03.0/driver_override; echo 0000:00:03.0 > /sys/bus/pci/devices/0000:00:03.0/driver/unbind; echo 0000:00:03.0 > /sys/bus/pci/drivers_probe'",
		},
		{
			"vfio loaded, tool installed", func(tree fstest.MapFS) {
				tree["sys/bus/pci/drivers/vfio-pci/new_id"] = file("")
				tree["usr/local/bin/dpdk-devbind.py"] = file("")
				tree["sys/module/vfio/parameters/enable_unsafe_noiommu_mode"] = file("N")
			}, Kernel,
			"echo Y | sudo tee /sys/module/vfio/parameters/enable_unsafe_noiommu_mode\nsudo dpdk-devbind.py --bind=vfio-pci 0000:00:03.0",
		},
		{
			"no IOMMU needed, bound to nothing", func(tree fstest.MapFS) {
				tree["sys/bus/pci/drivers/vfio-pci/new_id"] = file("")
				tree["sys/module/vfio/parameters/enable_unsafe_noiommu_mode"] = file("Y\n")
				delete(tree, dir+"driver")
			}, Free,
			"sudo sh -c 'echo vfio-pci > /sys/bus/pci/devices/0000:00:03.0/driver_override; echo 0000:00:03.0 > /sys/bus/pci/drivers_probe'",
		},
		{
			"a kernel without vfio", func(tree fstest.MapFS) {
				tree["proc/sys/kernel/osrelease"] = file("6.1.0\n")
				tree["lib/modules/6.1.0/modules.dep"] = file("kernel/drivers/net/dummy.ko:\n")
				tree[dir+"iommu_group"] = link("../../../../kernel/iommu_groups/7")
				tree["usr/bin/dpdk-devbind.py"] = file("")
			}, Kernel,
			"boot a kernel of the distribution, such as linux-image-amd64 of Debian\nsudo dpdk-devbind.py --bind=vfio-pci 0000:00:03.0",
		},
		{
			"vfio as a module", func(tree fstest.MapFS) {
				tree["proc/sys/kernel/osrelease"] = file("6.1.0\n")
				tree["lib/modules/6.1.0/modules.dep"] = file("kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n")
				tree[dir+"iommu_group"] = link("../../../../kernel/iommu_groups/7")
				tree["usr/bin/dpdk-devbind.py"] = file("")
			}, Kernel,
			"sudo modprobe vfio-pci\nsudo dpdk-devbind.py --bind=vfio-pci 0000:00:03.0",
		},
		{"ready", func(tree fstest.MapFS) { tree[dir+"driver"] = link("../../drivers/vfio-pci") }, Ready, ""},
		{"uio", func(tree fstest.MapFS) { tree[dir+"driver"] = link("../../drivers/igb_uio") }, Ready, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := device(t, edited(t, "cloud", c.edit), addr)
			require.Equal(t, c.want, commands(d))
			require.Equal(t, c.use, d.Use)
			require.Equal(t, c.name == "ready", d.Exclusive())
		})
	}
}

// Beside a kernel driver, and not with vfio.
func TestShared(t *testing.T) {
	const addr, dir = "0000:5e:00.0", "sys/bus/pci/devices/0000:5e:00.0/"
	d := device(t, edited(t, "server", func(fstest.MapFS) {}), addr)
	require.Equal(t, Shared, d.Use)
	require.Empty(t, d.Steps)
	d = device(t, edited(t, "server", func(tree fstest.MapFS) { tree[dir+"driver"] = link("../../drivers/vfio-pci") }), addr)
	require.Equal(t, Kernel, d.Use)
	require.Equal(t, "sudo modprobe mlx5_core && sudo dpdk-devbind.py --bind=mlx5_core 0000:5e:00.0", commands(d))
	d = device(t, edited(t, "server", func(tree fstest.MapFS) {
		tree[dir+"device"] = file("0x1007")
		tree[dir+"driver"] = link("../../drivers/mlx4_core")
		delete(tree, dir+"infiniband/mlx5_0/node_type")
	}), addr)
	require.Equal(t, "sudo modprobe -a ib_uverbs mlx4_ib", commands(d))
}

// An IOMMU group is handed over whole: its bridges may stay, other devices may not.
func TestGroup(t *testing.T) {
	r := edited(t, "server", func(fstest.MapFS) {})
	require.Equal(t, "sudo dpdk-devbind.py --bind=vfio-pci 0000:d8:00.0", commands(device(t, r, "0000:d8:00.0")))
	half := device(t, r, "0000:d8:00.1")
	require.False(t, half.Exclusive())
	require.Equal(t, "sudo dpdk-devbind.py --bind=vfio-pci 0000:d8:00.0", commands(half))
	whole := device(t, r, "0000:af:00.0")
	require.True(t, whole.Exclusive())
}

// What cannot be read is said, and hides nothing else.
func TestErrors(t *testing.T) {
	m := machine(t, "server")
	ask := m.Device
	m.Device = func(name string) (ethtool.Device, error) {
		if name == "br0" {
			return ethtool.Device{}, errors.New("no such device")
		}
		return ask(name)
	}
	r, err := Look(m)
	require.EqualError(t, err, "br0: no such device")
	require.Equal(t, []string{"br0: no such device"}, r.Errors)
	require.Len(t, r.Interfaces, 6)

	// An interface that goes while it is looked at is none.
	tree := m.Root.(fstest.MapFS)
	m.Device = func(name string) (ethtool.Device, error) {
		if name != "br0" {
			return ask(name)
		}
		for f := range tree {
			if strings.HasPrefix(f, "sys/class/net/br0/") {
				delete(tree, f)
			}
		}
		return ethtool.Device{}, errors.New("no such device")
	}
	r, err = Look(m)
	require.NoError(t, err)
	require.Len(t, r.Interfaces, 5)

	m.Root = fstest.MapFS{}
	r, err = Look(m)
	require.ErrorContains(t, err, "/sys/class/net: not there")
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"interfaces": [], "pci": [], "errors": ["/sys/class/net: not there; mount -t sysfs sysfs /sys"]}`, string(b))
}

// docs/devices.md names every field.
func TestDocumentNamesEveryField(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/devices.md")
	require.NoError(t, err)
	var check func(v any)
	check = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				require.Regexp(t, "[`.]"+key+"[`.\\[]", string(doc))
				check(value)
			}
		case []any:
			for _, e := range v {
				check(e)
			}
		}
	}
	for name := range machines {
		b, err := os.ReadFile("testdata/" + name + ".json")
		require.NoError(t, err)
		var v any
		require.NoError(t, json.Unmarshal(b, &v))
		check(v)
	}
}

func TestThisMachine(t *testing.T) {
	m, err := Local()
	if err != nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	_, err = Look(m)
	require.NoError(t, err)
}
