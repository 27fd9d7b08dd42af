//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// The SYNs of profiles as tshark dissects them beyond a veth pair, where a kernel accepts every
// one; and linux is what this kernel sends, but for the scale, which it chooses by its memory.
func TestKernel_ClientProfiles(t *testing.T) {
	interop(t, "tcpdump", "tshark")
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	const n = 25
	options := map[string]string{ // of tcp.options, with T for the eight bytes of the stamps
		"linux":   "020405b4" + "0402" + "080aT" + "01" + "030307",
		"windows": "020405b4" + "01" + "030308" + "01" + "01" + "0402",
		"macos":   "020405b4" + "01" + "030306" + "01" + "01" + "080aT" + "0402" + "0000",
		"minimal": "02040218",
		"custom":  "01" + "030300" + "0204044c" + "0402" + "0000",
	}
	ip := map[string]string{ // TTL, DF, window
		"linux": "64 True 64240", "windows": "128 True 64240", "macos": "64 True 65535", "minimal": "255 False 2144", "custom": "33 True 8000",
	}
	dissect := func(tshark func(string, ...string) string, src string) (rows [][4]string) {
		t.Helper()
		for line := range strings.SplitSeq(tshark("tcp.flags.syn == 1 && tcp.flags.ack == 0 && ip.src == "+src,
			"ip.ttl", "ip.flags.df", "tcp.window_size_value", "ip.id", "tcp.options", "tcp.options.timestamp.tsval", "tcp.options.timestamp.tsecr"), "\n") {
			f := append(strings.Split(line, "\t"), "", "")
			list := f[4]
			if i := strings.Index(list, "080a"); i >= 0 {
				list = list[:i+4] + "T" + list[i+20:]
			}
			df := map[string]string{"1": "True", "0": "False"}[f[1]]
			if df == "" {
				df = f[1]
			}
			rows = append(rows, [4]string{fmt.Sprintf("%s %s %s", f[0], df, f[2]), f[3], list, f[6]})
		}
		return rows
	}
	for _, scenario := range []string{"handshake", "syn-flood"} {
		for name, want := range options {
			t.Run(scenario+"/"+name, func(t *testing.T) {
				stop := sniff(t, lab)
				args := []string{"--scenario", scenario, "--connect", addr(lab.PeerAddr4, 80), "--profile", name, "--count", fmt.Sprint(n), "--duration", "5m"}
				if name == "custom" {
					args = append(args, "--syn-options", "nop,wscale=0,mss=1100,sackok,eol+1", "--ttl", "33", "--syn-window", "8000")
				}
				r := bench(t, lab, "", args...)
				if scenario == "handshake" {
					all(t, r, "established", n)
				} else {
					require.Equal(t, n, num(t, r, "syn_flood", "sent"))
				}
				tshark := stop()
				rows := dissect(tshark, lab.Addr4.Addr().String())
				require.GreaterOrEqual(t, len(rows), n)
				for _, row := range rows {
					require.Equal(t, ip[name], row[0])
					require.NotEqual(t, "0x0000", row[1], "identification")
					require.Equal(t, want, row[2])
					require.Contains(t, []string{"", "0"}, row[3], "TSecr")
				}
				require.Empty(t, tshark("eth.src == "+lab.MAC.String()+" && "+nothingWrong))
			})
		}
	}
	t.Run("this kernel", func(t *testing.T) {
		s := serve(t, lab, "", "--app", "echo-once")
		stop := sniff(t, lab)
		echo(t, lab, addr(lab.Addr4, 80), func(netip.AddrPort) {})
		rows := dissect(stop(), lab.PeerAddr4.Addr().String())
		s.stop(t)
		require.NotEmpty(t, rows)
		require.Equal(t, ip["linux"], rows[0][0])
		require.NotEqual(t, "0x0000", rows[0][1])
		require.Equal(t, options["linux"][:len(options["linux"])-1], rows[0][2][:len(rows[0][2])-1])
	})
}
