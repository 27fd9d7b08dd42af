//go:build dpdk && cgo && linux

package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/devices"
	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

// What DPDK says of its devices. Each run has a process of its own, because DPDK
// starts once in a process.
func TestDevicesProbed(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "fastsyn")
	out, err := exec.Command("go", "build", "-tags", "dpdk", "-o", bin, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	list := func(t *testing.T, args ...string) (l dpdkList, text, stderr string, code int) {
		var failed *exec.ExitError
		out, err := exec.Command(bin, append([]string{"devices", "--json"}, args...)...).Output()
		if errors.As(err, &failed) {
			code, stderr = failed.ExitCode(), string(failed.Stderr)
		} else {
			require.NoError(t, err)
		}
		if len(out) > 0 {
			var r struct {
				DPDK dpdkList `json:"dpdk"`
			}
			require.NoError(t, json.Unmarshal(out, &r), "%s", out)
			l = r.DPDK
		}
		page := devices.NewPage()
		l.write(page)
		return l, page.String(), stderr, code
	}

	t.Run("two devices", func(t *testing.T) {
		l, text, stderr, code := list(t, "--port", "dpdk:net_null0?no-huge=on&memory=128M", "--port", "dpdk:net_ring7")
		require.Zero(t, code, stderr)
		require.Equal(t, dpdk.Version(), l.Version)
		require.True(t, l.Probed)
		require.Empty(t, l.Errors)
		require.Len(t, l.Devices, 2)
		null, ring := l.Devices[0], l.Devices[1]
		require.Equal(t, "dpdk:net_null0?no-huge=on&memory=128M", null.Port)
		require.Equal(t, "net_null", null.Facts.Driver)
		require.Positive(t, null.Facts.MaxQueues)
		require.Contains(t, null.Facts.RSSTypes, "ipv4-tcp")
		require.Equal(t, "net_ring", ring.Facts.Driver)
		require.Zero(t, ring.Facts.RETASize)
		require.Contains(t, text, "\nnet_null0       dpdk:net_null0?no-huge=on&memory=128M\n  driver        net_null on the vdev bus")
		require.Contains(t, text, "rss           none")
	})
	t.Run("what fails hides nothing", func(t *testing.T) {
		l, text, stderr, code := list(t, "--port", "dpdk:net_null0?no-huge=on", "--port", "dpdk:0000:ff:1f.7", "--port", "dpdk:net_null1?memory=99M", "--port", "dpdk:net_null2")
		require.Equal(t, exitFailure, code)
		require.Len(t, l.Devices, 2)
		require.Len(t, l.Errors, 2)
		require.Contains(t, l.Errors[0], "dpdk: 0000:ff:1f.7: there is no such PCI device")
		require.Contains(t, l.Errors[1], "memory=")
		require.Contains(t, stderr, l.Errors[0])
		require.Contains(t, text, "failed          ")
	})
	t.Run("nothing to probe", func(t *testing.T) {
		l, text, stderr, code := list(t, "--no-probe")
		require.Zero(t, code, stderr)
		require.False(t, l.Probed)
		require.Contains(t, text, "none            probed")
	})
	t.Run("parameters", func(t *testing.T) {
		_, _, stderr, code := list(t, "--port", "dpdk:net_null0?quues=2")
		require.Equal(t, exitFailure, code)
		require.Contains(t, stderr, `did you mean "queues"`)
	})
}
