package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/devices"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/layout"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

// dpdkList is what DPDK tells of its devices.
type dpdkList struct {
	Version string       `json:"version"` // such as "DPDK 22.11.11"; "" in a build without
	Probed  bool         `json:"probed"`  // DPDK was started
	Devices []dpdkDevice `json:"devices"`
	Errors  []string     `json:"errors"`
}

type dpdkDevice struct {
	Port  string      `json:"port"`
	Facts dpdk.Device `json:"facts"`
}

// probePort is a port to be probed: its string, and what that says.
type probePort struct {
	text string
	cfg  dpdk.Config
}

func newDPDKList() dpdkList {
	return dpdkList{Version: dpdk.Version(), Devices: []dpdkDevice{}, Errors: []string{}}
}

// probePorts reads the ports of --port.
func probePorts(ports []string) (out []probePort, err error) {
	for _, s := range ports {
		sp, err := dataplane.ParseSpec(s)
		if err != nil {
			return nil, &usageError{err}
		}
		if sp.Driver != "dpdk" {
			return nil, usagef("--port %s: only devices of DPDK are probed, as in dpdk:0000:3b:00.0; what the kernel tells is listed anyway", s)
		}
		if err := dpdk.Available(); err != nil {
			return nil, fmt.Errorf("--port %s: %w", s, err)
		}
		cfg, err := dpdk.ParseParams(sp.Target, dataplane.NewParams(sp.Driver, dataplane.Example(sp.Driver), sp.Params))
		if err != nil {
			return nil, err
		}
		out = append(out, probePort{s, cfg})
	}
	return out, nil
}

// targets are the named ports, and the devices that DPDK can have to itself.
// These take the EAL parameters of the first named port, because DPDK starts once.
func targets(named []probePort, pci []devices.PCI) []probePort {
	ports := slices.Clone(named)
	for i := range pci {
		if d := &pci[i]; d.Exclusive() && !isNamed(named, d.Address) {
			p := probePort{text: d.Port, cfg: dpdk.Config{Device: d.Address}}
			if len(named) > 0 {
				p.cfg.EAL = named[0].cfg.EAL
			}
			ports = append(ports, p)
		}
	}
	return ports
}

// probe has DPDK look at ports. What fails hides nothing else.
func probe(ports []probePort) (l dpdkList, failed error) {
	l = newDPDKList()
	for _, p := range ports {
		l.Probed = true
		found, err := dpdk.Devices(p.cfg.EAL, p.cfg.Device)
		if err != nil {
			if !strings.Contains(err.Error(), p.cfg.Device) {
				err = fmt.Errorf("%s: %w", p.text, err)
			}
			l.Errors = append(l.Errors, err.Error())
			failed = errors.Join(failed, err)
		}
		for _, d := range found {
			l.Devices = append(l.Devices, dpdkDevice{p.text, d})
		}
	}
	return l, failed
}

func isNamed(named []probePort, addr string) bool {
	for _, p := range named {
		if name, _, _ := strings.Cut(p.cfg.Device, ","); name == addr || "0000:"+name == addr {
			return true
		}
	}
	return false
}

func (l *dpdkList) write(p *layout.Page) {
	if l.Version == "" {
		p.Section("DPDK: this program was built without (docs/dpdk.md)")
		return
	}
	p.Section(l.Version)
	if len(l.Devices)+len(l.Errors) == 0 {
		p.Entry("none", "probed")
	}
	for i := range l.Devices {
		l.Devices[i].write(p)
	}
	for _, e := range l.Errors {
		p.Entry("failed", e)
	}
}

func (e *dpdkDevice) write(p *layout.Page) {
	d := &e.Facts
	p.Entry(d.Name, e.Port)
	p.Field("driver", layout.Commas(d.Driver+" on the "+d.Bus+" bus", devices.NUMA(d.NUMA)))
	state := "down, as it may be until the port is opened"
	if d.LinkUp {
		state = "up"
	}
	p.Field("link", layout.Commas(state, devices.Speed(int(d.LinkMbps)), fmt.Sprintf("MTU %d (%d to %d)", d.MTU, d.MinMTU, d.MaxMTU), "MAC "+d.MAC))
	p.Field("queues", fmt.Sprintf("%d at most; descriptors of each: receive %s, transmit %s", d.MaxQueues, descriptors(d.RxDesc), descriptors(d.TxDesc)))
	if d.RETASize == 0 {
		p.Field("rss", "none: with queues=N frames are moved to the queue of their flow in software")
	} else {
		key := "length of the key not told"
		if d.KeySize > 0 {
			key = fmt.Sprintf("key of %d bytes", d.KeySize)
		}
		p.Field("rss", fmt.Sprintf("table of %d, %s; hashes %s", d.RETASize, key, orNone(d.RSSTypes)))
	}
	p.Field("rx offloads", orNone(d.RxOffloads))
	p.Field("tx offloads", orNone(d.TxOffloads))
}

func orNone(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }

func descriptors(l dpdk.DescLimits) string {
	return fmt.Sprintf("%d to %d", l.Min, l.Max) + layout.Prefixed(" in steps of ", steps(l.Align))
}

func steps(n int) string {
	if n <= 1 {
		return ""
	}
	return strconv.Itoa(n)
}
