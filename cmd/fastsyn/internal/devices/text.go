package devices

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/layout"
)

// NewPage returns an empty page for a terminal of 120 columns.
func NewPage() *layout.Page { return &layout.Page{Column: 16, Width: 120} }

// Write adds the report to a page.
func (r *Report) Write(p *layout.Page) {
	p.Section("interfaces of the kernel")
	var idle []string
	for i := range r.Interfaces {
		if n := &r.Interfaces[i]; n.idle() {
			idle = append(idle, n.Name)
		} else {
			n.write(p)
		}
	}
	switch {
	case len(r.Interfaces) == 0:
		p.Entry("none", "but lo")
	case len(idle) > 0:
		p.Entry("others", "without a device, and down: "+strings.Join(idle, ", "))
	}
	p.Section("network devices on the PCI bus")
	if len(r.PCI) == 0 {
		p.Entry("none", "")
	}
	for i := range r.PCI {
		r.PCI[i].write(p)
	}
}

// idle interfaces are named only: there may be many, and nobody uses them.
func (i *Interface) idle() bool { return !i.Physical && i.State == "down" && len(i.Addrs) == 0 }

func (i *Interface) write(p *layout.Page) {
	p.Entry(i.Name, i.Port)
	p.Field("driver", layout.Commas(i.Driver, layout.Prefixed("firmware ", i.Firmware), layout.Prefixed("PCI ", i.PCI), NUMA(i.NUMA)))
	p.Field("link", layout.Commas(i.State, Speed(i.LinkMbps), fmt.Sprintf("MTU %d", i.MTU), layout.Prefixed("MAC ", i.MAC)))
	q := fmt.Sprintf("%d receive, %d transmit", i.Queues.Rx, i.Queues.Tx)
	if i.Queues.Max > 0 {
		q += fmt.Sprintf("; %d are to be had", i.Queues.Max)
	}
	if i.Queues.RxDesc > 0 {
		q += fmt.Sprintf("; %d receive descriptors of %d", i.Queues.RxDesc, i.Queues.MaxRxDesc)
	}
	p.Field("queues", q)
	if i.Port != "" {
		p.Field("rss", i.RSS.text())
	}
	var on, off []string
	for _, o := range i.Offloads {
		switch {
		case o.On && o.Fixed:
			on = append(on, o.Name+" (fixed)")
		case o.On:
			on = append(on, o.Name)
		case !o.Fixed:
			off = append(off, o.Name)
		}
	}
	p.Field("offloads", layout.Commas(strings.Join(on, ", "), layout.Prefixed("off: ", strings.Join(off, ", "))))
	var addrs []string
	for _, a := range i.Addrs {
		addrs = append(addrs, a.String())
	}
	if i.DefaultRoute {
		addrs = append(addrs, "default route")
	}
	p.Field("addresses", strings.Join(addrs, ", "))
	for _, n := range i.Notes {
		p.Field("note", n)
	}
}

func (r *RSS) text() string {
	if r == nil {
		return "not told: afpacket spreads in software"
	}
	function, key := r.Function, "key not told"
	if function == "" {
		function = "unnamed function"
	}
	switch {
	case r.KeyReadable && r.Symmetric:
		key = fmt.Sprintf("symmetric key of %d bytes", r.KeySize)
	case r.KeyReadable:
		key = fmt.Sprintf("key of %d bytes", r.KeySize)
	case r.KeySize > 0:
		key = fmt.Sprintf("key of %d bytes, not told", r.KeySize)
	}
	by := layout.Prefixed("TCP by ", r.TCP4)
	if r.TCP6 != r.TCP4 {
		by = layout.Commas(layout.Prefixed("TCP over IPv4 by ", r.TCP4), layout.Prefixed("over IPv6 by ", r.TCP6))
	}
	return layout.Commas(function, fmt.Sprintf("table of %d over %s", r.RETASize, layout.Plural(r.RETAQueues, "queue", "queues")), key, by)
}

func (d *PCI) write(p *layout.Page) {
	p.Entry(d.Address, d.Port)
	vf := ""
	if d.PF != "" {
		vf = "virtual function of " + d.PF
	}
	group := "no IOMMU group"
	if d.Group >= 0 {
		group = fmt.Sprintf("IOMMU group %d", d.Group)
	}
	p.Field("device", layout.Commas(strings.TrimSpace(d.Vendor+":"+d.Device+" "+d.Name), vf, NUMA(d.NUMA), group))
	driver := d.Driver
	if driver == "" {
		driver = "none"
	}
	switch {
	case len(d.Interfaces) > 0:
		driver += ", interface " + strings.Join(d.Interfaces, ", ")
	case slices.Contains(userDrivers, d.Driver):
		driver += ", which hands it to user space"
	}
	p.Field("driver", driver)
	switch {
	case len(d.Steps) > 0:
		p.Field("for DPDK", fmt.Sprintf("not yet, %s:", layout.Plural(len(d.Steps), "step", "steps")))
	case d.Use == Shared:
		p.Field("for DPDK", "ready: it is driven beside the kernel, and stays bound")
	default:
		p.Field("for DPDK", "ready")
	}
	for i, s := range d.Steps {
		p.Item(fmt.Sprintf("%d. ", i+1), s.Why)
		p.Command(3, s.Command)
	}
	for _, w := range d.Warnings {
		p.Field("warning", w)
	}
}

// NUMA names a node.
func NUMA(node int) string {
	if node < 0 {
		return ""
	}
	return fmt.Sprintf("NUMA node %d", node)
}

// Speed is a link speed; "" if unknown.
func Speed(mbps int) string {
	switch {
	case mbps <= 0:
		return ""
	case mbps%1000 == 0:
		return fmt.Sprintf("%d Gbit/s", mbps/1000)
	}
	return fmt.Sprintf("%d Mbit/s", mbps)
}
