package devices

import "strings"

// Where distributions keep the list of PCI IDs (pci.ids(5), https://pci-ids.ucw.cz).
var pciIDs = []string{"usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids", "usr/share/pci.ids"}

// nameThem looks up vendors and devices. A line with a vendor begins with its
// four digits, the lines of its devices follow, each behind a tab.
func (l *look) nameThem(list []PCI) {
	text := ""
	for _, f := range pciIDs {
		if text = l.Text(f); text != "" {
			break
		}
	}
	vendor, vendorName := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" || line[0] == '#' || strings.HasPrefix(line, "\t\t"):
		case line[0] == 'C' && strings.HasPrefix(line, "C "): // classes, to the end
			return
		case line[0] == '\t':
			device, name, _ := strings.Cut(line[1:], "  ")
			for i := range list {
				if list[i].Vendor == vendor && list[i].Device == device {
					list[i].Name = vendorName + ", " + name
				}
			}
		default:
			vendor, vendorName, _ = strings.Cut(line, "  ")
			for i := range list {
				if list[i].Vendor == vendor {
					list[i].Name = vendorName
				}
			}
		}
	}
}
