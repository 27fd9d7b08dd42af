package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/devices"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

func TestDevices(t *testing.T) {
	if runtime.GOOS != "linux" {
		code, _, err := fastsynCmd(t, "devices")
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "of Linux")
		return
	}
	code, out, err := fastsynCmd(t, "devices", "--no-probe")
	require.Zero(t, code, err)
	require.Contains(t, out, "interfaces of the kernel\n")
	require.Contains(t, out, "network devices on the PCI bus\n")
	require.Contains(t, out, "\nDPDK")

	code, out, err = fastsynCmd(t, "devices", "--no-probe", "--json")
	require.Zero(t, code, err)
	m := decode(t, out)
	require.Equal(t, "fastsyn.devices/v1", m["schema"])
	for _, list := range []string{"interfaces", "pci", "errors"} {
		require.IsType(t, []any{}, m[list], list)
	}
	d := m["dpdk"].(map[string]any)
	require.Equal(t, dpdk.Version(), d["version"])
	require.Equal(t, false, d["probed"])
	require.Equal(t, []any{}, d["devices"])

	file := filepath.Join(t.TempDir(), "d.json")
	code, out, err = fastsynCmd(t, "devices", "--no-probe", "--json="+file)
	require.Zero(t, code, err)
	require.Contains(t, out, "interfaces of the kernel")
	require.FileExists(t, file)
}

// Without DPDK, asking for it says how to get it.
func TestDevicesWithoutDPDK(t *testing.T) {
	if dpdk.Available() == nil {
		return
	}
	require.ErrorIs(t, dpdk.Available(), errors.ErrUnsupported)
	code, out, err := fastsynCmd(t, "devices", "--port", "dpdk:net_null0")
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "go build -tags dpdk")
	require.Empty(t, out)
}

// DPDK is not asked about devices that somebody else may be using, nor twice about one.
func TestDevicesToProbe(t *testing.T) {
	pci := []devices.PCI{
		{Address: "0000:01:00.0", Port: "dpdk:0000:01:00.0", Driver: "vfio-pci", Use: devices.Ready},
		{Address: "0000:02:00.0", Driver: "uio_pci_generic", Use: devices.Ready},
		{Address: "0000:03:00.0", Driver: "ice", Use: devices.Kernel},
		{Address: "0000:04:00.0", Driver: "vfio-pci", Use: devices.Kernel}, // another of its group is not
		{Address: "0000:05:00.0", Driver: "mlx5_core", Use: devices.Shared},
		{Address: "0000:06:00.0", Driver: "vfio-pci", Use: devices.Ready},
		{Address: "0000:07:00.0", Driver: "vfio-pci", Use: devices.Ready},
	}
	first := probePort{"dpdk:0000:06:00.0?no-huge=on", dpdk.Config{Device: "0000:06:00.0", EAL: dpdk.EALConfig{NoHuge: true}}}
	second := probePort{"dpdk:07:00.0,x=1", dpdk.Config{Device: "07:00.0,x=1"}}
	require.Equal(t, []probePort{
		first, second, {"dpdk:0000:01:00.0", dpdk.Config{Device: "0000:01:00.0", EAL: dpdk.EALConfig{NoHuge: true}}},
	}, targets([]probePort{first, second}, pci))
	require.Empty(t, targets(nil, pci[1:5]))
}

// Every port string of docs/dpdk.md is one.
func TestPortStringsOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dpdk.md")
	require.NoError(t, err)
	found := regexp.MustCompile("dpdk:[a-z0-9][^`' \n]*").FindAllString(string(doc), -1)
	require.Greater(t, len(found), 20)
	for _, port := range found {
		sp, err := dataplane.ParseSpec(port)
		require.NoError(t, err, port)
		_, err = dpdk.ParseParams(sp.Target, dataplane.NewParams(sp.Driver, port, sp.Params))
		require.NoError(t, err, port)
	}
}

// Whatever the driver makes of DPDK's messages is explained in docs/dpdk.md.
func TestDocumentExplainsEveryCause(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dpdk.md")
	require.NoError(t, err)
	source, err := os.ReadFile("../../dataplane/dpdk/explain.go")
	require.NoError(t, err)
	causes := regexp.MustCompile(`(?m)^\t\t"[^"]+", "([^"]+)",$`).FindAllSubmatch(source, -1)
	require.Greater(t, len(causes), 10)
	for _, c := range causes {
		require.Contains(t, string(doc), string(c[1]))
	}
}
