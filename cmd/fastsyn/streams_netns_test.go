//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// exchange opens a connection from the peer's kernel to an echo, sends n bytes and reads them back
// at the same time, closes its half and waits for the other end: every byte arrives, in order,
// once.
func exchange(t *testing.T, lab *dptest.Lab, to string, n int, during func(local netip.AddrPort)) {
	t.Helper()
	var c net.Conn
	lab.InPeerNS(t, func() {
		var err error
		c, err = net.DialTimeout("tcp", to, patience)
		require.NoError(t, err)
	})
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(3*patience)))
	if during != nil {
		during(netip.MustParseAddrPort(c.LocalAddr().String()))
	}
	sent := randomText(n)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		if err == nil {
			err = c.(*net.TCPConn).CloseWrite()
		}
		failed <- err
	}()
	got, err := io.ReadAll(c)
	require.NoError(t, err, "after %d of %d bytes", len(got), n)
	require.NoError(t, <-failed)
	require.Len(t, got, n)
	if !bytes.Equal(sent, got) {
		t.Fatalf("SHA-256 of what came back is %x, want %x", sha256.Sum256(got), sha256.Sum256(sent))
	}
}

const megabyte = 1_000_000

// A megabyte each way with every combination of options that a kernel can be set to.
func TestInterop_DAT_014_Options(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo")
	flows := 0
	for mask := range 8 {
		ts, sack, ws := mask&1 != 0, mask&2 != 0, mask&4 != 0
		lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_timestamps="+onOff(ts),
			"net.ipv4.tcp_sack="+onOff(sack), "net.ipv4.tcp_window_scaling="+onOff(ws))
		for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
			flows++
			exchange(t, lab, addr(to, 80), megabyte, func(local netip.AddrPort) {
				out := " " + lab.Exec(t, lab.PeerNS, "ss", "-tinoH", "sport", "=", ":"+strconv.Itoa(int(local.Port())))
				for _, o := range []struct {
					word string
					on   bool
				}{{" ts ", ts}, {" sack ", sack}, {" wscale:", ws}} {
					require.Equal(t, o.on, strings.Contains(out, o.word), "%s in %s", o.word, out)
				}
			})
		}
	}
	r := s.stop(t)
	require.Equal(t, flows, num(t, r, "handshakes", "accepted"))
}

// The same over links of other sizes, with a peer that asks for small segments.
func TestInterop_DAT_014_Links(t *testing.T) {
	interop(t)
	for _, mtu := range []int{1280, 9000} {
		t.Run(fmt.Sprintf("DAT-014 MTU %d", mtu), func(t *testing.T) {
			if mtu > 3000 {
				notOver(t, "XDP on a veth takes no frames longer than a page", "net_af_xdp")
			}
			lab := dptest.NewLab(t, dptest.LabMTU(mtu))
			s := serve(t, lab, "", "--app", "echo")
			for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
				exchange(t, lab, addr(to, 80), megabyte, nil)
			}
			s.stop(t)
		})
	}
	t.Run("DAT-014 MSS 536", func(t *testing.T) {
		lab := dptest.NewLab(t)
		s := serve(t, lab, "", "--app", "echo")
		lab.Exec(t, lab.PeerNS, "ip", "route", "replace", "10.71.0.0/24", "dev", lab.PeerIf, "advmss", "536")
		exchange(t, lab, addr(lab.Addr4, 80), megabyte, nil)
		s.stop(t)
	})
}

// A path that loses, repeats and reorders what goes either way.
func TestInterop_DAT_014_BadPath(t *testing.T) {
	interop(t)
	for _, tc := range []struct {
		path  string
		bytes int
	}{
		{"loss=0%,dup=5%,reorder=20%", megabyte},
		{"loss=1%,dup=1%,reorder=5%", megabyte},
		{"loss=5%,dup=1%,reorder=5%", megabyte},
		{"loss=20%,dup=2%,reorder=5%", megabyte / 20},
	} {
		for mask := range 4 {
			ts, sack := mask&1 != 0, mask&2 != 0
			t.Run(fmt.Sprintf("DAT-014 %s ts=%v sack=%v", tc.path, ts, sack), func(t *testing.T) {
				t.Parallel()
				lab := dptest.NewLab(t, dptest.LabSysctl("net.ipv4.tcp_timestamps", onOff(ts)), dptest.LabSysctl("net.ipv4.tcp_sack", onOff(sack)))
				s := serve(t, lab, "impair("+tc.path+",dir=both,seed=7):"+portOf(t, lab, 1), "--app", "echo")
				to := lab.Addr4
				if ts {
					to = lab.Addr6
				}
				n := tc.bytes
				if !sack { // the kernel waits for many timeouts then
					n /= 3
				}
				exchange(t, lab, addr(to, 80), n, nil)
				s.stop(t)
			})
		}
	}
}

// The same by the peer's own firewall, in front of its TCP: each of its rules drops one packet in
// so many.
func TestInterop_DAT_014_Firewall(t *testing.T) {
	interop(t, "iptables")
	for _, percent := range []string{"0.01", "0.05", "0.20"} {
		t.Run("DAT-014 loss "+percent, func(t *testing.T) {
			t.Parallel()
			lab := dptest.NewLab(t)
			s := serve(t, lab, "", "--app", "echo")
			for _, chain := range []string{"INPUT", "OUTPUT"} {
				lab.Exec(t, lab.PeerNS, "iptables", "-A", chain, "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", percent, "-j", "DROP")
			}
			n := megabyte
			if percent == "0.20" {
				n /= 10
			}
			exchange(t, lab, addr(lab.Addr4, 80), n, nil)
			s.stop(t)
			require.Regexp(t, `\s[1-9]\d*\s+\d+\s+DROP`, lab.Exec(t, lab.PeerNS, "iptables", "-L", "INPUT", "-v", "-x", "-n"))
		})
	}
}

// nf_conntrack, strict, follows the windows of both sides: no segment of ours is INVALID to it, none is
// dropped, and tshark's experts find nothing wrong.
func TestInterop_WND_005_DAT_004_ConntrackAndTshark(t *testing.T) {
	interop(t, "iptables", "tcpdump", "tshark")
	lab := dptest.NewLab(t)
	for _, ipt := range []string{"iptables", "ip6tables"} {
		for _, chain := range []string{"INPUT", "OUTPUT"} {
			lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
			lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
		}
	}
	require.Equal(t, "0", strings.TrimSpace(lab.Exec(t, lab.PeerNS, "sysctl", "-n", "net.netfilter.nf_conntrack_tcp_be_liberal")))
	pcap := filepath.Join(t.TempDir(), "peer.pcap")
	dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-B", "65536", "-s", "0", "-Z", "root", "-w", pcap, "tcp")
	dump.WaitFor(t, "listening on", patience)
	s := serve(t, lab, "", "--app", "echo")
	for mask := range 4 {
		lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_timestamps="+onOff(mask&1 != 0), "net.ipv4.tcp_window_scaling="+onOff(mask&2 != 0))
		for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
			exchange(t, lab, addr(to, 80), megabyte, nil)
		}
	}
	r := s.stop(t)
	require.NoError(t, dump.Signal(syscall.SIGINT))
	_ = dump.Wait()
	require.Contains(t, dump.Output(), "0 packets dropped by kernel")
	noneInvalid(t, lab, "ESTABLISHED")
	tshark := func(filter string) string { return ours(t, lab, pcap, filter) }
	require.NotEmpty(t, tshark("tcp.len > 0 && tcp.checksum.status == 1"), "checksums were looked at")
	require.Empty(t, tshark(`_ws.malformed || _ws.expert.severity == "Error" || tcp.checksum.status == 0 || ip.checksum.status == 0`))
	if num(t, r, "streams", "resent") != 0 {
		return // a thread has paused so long that a tail was probed
	}
	// Nothing is lost here, so nothing is sent again.
	require.Empty(t, tshark("tcp.analysis.retransmission || tcp.analysis.fast_retransmission || tcp.analysis.out_of_order || tcp.analysis.lost_segment"))
}
