package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/devices"
)

// devicesSchema is the form of what devices --json prints. Fields are only added within a version.
const devicesSchema = "fastsyn.devices/v1"

// deviceList is what devices prints.
type deviceList struct {
	Schema string `json:"schema"`
	*devices.Report
	DPDK dpdkList `json:"dpdk"`
}

func newDevices() *cobra.Command {
	var ports []string
	var noProbe bool
	var file string
	cmd := &cobra.Command{
		Use:   "devices",
		Short: "List network devices, and the port string for each",
		Long: `List the interfaces of the kernel, the network devices on the PCI bus with what keeps
DPDK from using them, and, in builds with DPDK, what DPDK says of those it has: queues,
RSS, offloads, and the string for --port. The first two are read from /sys and change
nothing. DPDK takes a device and resets it to look at it: it looks at devices bound to
vfio-pci, of which nobody else can be using one, and at those named by --port.
` + exitHelp,
		Example: `  fastsyn devices

  # Leave hardware alone.
  fastsyn devices --no-probe

  # What DPDK says of a device, bound to uio for example, or virtual.
  sudo fastsyn devices --port dpdk:0000:00:04.0
  fastsyn devices --port 'dpdk:net_null0?no-huge=on'

  fastsyn devices --json | jq -r '.interfaces[].port'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if noProbe && len(ports) > 0 {
				return usagef("--no-probe and --port %s: the one leaves devices alone, the other has them probed", ports[0])
			}
			named, err := probePorts(ports)
			if err != nil {
				return err
			}
			m, err := devices.Local()
			if err != nil {
				return err
			}
			l := deviceList{Schema: devicesSchema}
			var failed error
			l.Report, failed = devices.Look(m)
			l.DPDK = newDPDKList()
			if !noProbe && l.DPDK.Version != "" {
				l.DPDK, err = probe(targets(named, l.PCI))
				failed = errors.Join(failed, err)
			}
			err = printResult(cmd, file, l, l.writeText)
			return errors.Join(err, failed)
		},
	}
	jsonOrFile(cmd, &file)
	cmd.Flags().StringArrayVar(&ports, "port", nil, "also have DPDK look at this device, as in dpdk:DEVICE?...; can be repeated")
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "do not start DPDK: leave hardware alone")
	return cmd
}

func (l deviceList) writeText(w io.Writer) error {
	p := devices.NewPage()
	l.Report.Write(p)
	l.DPDK.write(p)
	_, err := io.WriteString(w, p.String())
	return err
}
