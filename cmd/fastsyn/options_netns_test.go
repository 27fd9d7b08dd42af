//go:build linux

package main

import (
	"context"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// dropSYNACKs has the peer's kernel drop SYN-ACKs in a chain, for both families.
func dropSYNACKs(t *testing.T, lab *dptest.Lab, chain string) {
	t.Helper()
	for _, ipt := range []string{"iptables", "ip6tables"} {
		lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN,ACK", "-j", "DROP")
	}
}

// capture runs tcpdump at the peer's interface, in front of its firewall.
func capture(t *testing.T, lab *dptest.Lab, filter string) *dptest.Process {
	t.Helper()
	dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-n", "-l", "--immediate-mode", "-Z", "root", filter)
	dump.WaitFor(t, "listening on", patience)
	return dump
}

// copies returns the TSval of each captured segment that matches re, in order: the
// sender's clock in milliseconds, which does not know how busy this machine is.
func copies(t *testing.T, dump *dptest.Process, re string) (at []uint32) {
	t.Helper()
	for _, m := range regexp.MustCompile(re+`.*TS val (\d+) `).FindAllStringSubmatch(dump.Output(), -1) {
		ts, err := strconv.ParseUint(m[1], 10, 32)
		require.NoError(t, err)
		at = append(at, uint32(ts))
	}
	return at
}

// requireBackoff requires that copies come no sooner than 1, 2, 4, … seconds after
// one another. That they come no later is for tests with a virtual clock.
func requireBackoff(t *testing.T, at []uint32) {
	t.Helper()
	for i, wait := 1, uint32(1000); i < len(at); i, wait = i+1, 2*wait {
		gap := at[i] - at[i-1]
		require.GreaterOrEqual(t, gap, wait, "copy %d: %v", i, at)
	}
}

// The default schedule against a kernel that opens and whose firewall drops our
// SYN-ACKs, and against one that answers and whose SYN-ACKs are dropped.
func TestInterop_RTX_001_002_SYNACKsDropped(t *testing.T) {
	interop(t, "iptables", "tcpdump")
	t.Run("RTX-001 serve", func(t *testing.T) {
		lab := dptest.NewLab(t)
		s := serve(t, lab, "")
		dropSYNACKs(t, lab, "INPUT")
		dump := capture(t, lab, "tcp")
		for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
			lab.InPeerNS(t, func() {
				// It gives up before it repeats its SYN: what is seen is our timer alone.
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				_, err := new(net.Dialer).DialContext(ctx, "tcp", addr(to, 80))
				require.Error(t, err)
			})
		}
		ours := map[string]string{"v4": `IP 10\.71\.0\.1\.80 > .*Flags \[S\.\]`, "v6": `IP6 fd71::1\.80 > .*Flags \[S\.\]`}
		for family, re := range ours {
			require.Eventually(t, func() bool { return len(copies(t, dump, re)) >= 3 }, patience, 20*time.Millisecond, "%s: %s", family, dump.Output())
			require.Len(t, copies(t, dump, `IP6? (?:10\.71\.0\.2|fd71::2)\.\d+ > .*Flags \[S\]`), 2, "one SYN of each family")
			requireBackoff(t, copies(t, dump, re))
		}
		r := s.stop(t)
		require.Zero(t, num(t, r, "handshakes", "accepted"))
		require.GreaterOrEqual(t, num(t, r, "counters", "syn_ack_retransmissions"), 4)
	})
	t.Run("RTX-002 bench", func(t *testing.T) {
		lab := dptest.NewLab(t)
		acceptLoop(t, lab, ":80")
		dropSYNACKs(t, lab, "OUTPUT")
		dump := capture(t, lab, "tcp")
		p := lab.Start(t, lab.NS, command(t), "bench", "--port", portOf(t, lab, 1), "--addr", lab.Addr4.String(), "--quiet",
			"--pin", "off", "--polling", "adaptive", "--connect", addr(lab.PeerAddr4, 80), "--count", "1")
		const syn = `IP 10\.71\.0\.1\.\d+ > 10\.71\.0\.2\.80: Flags \[S\]`
		require.Eventually(t, func() bool { return len(copies(t, dump, syn)) >= 3 }, patience, 20*time.Millisecond, "%s", dump.Output())
		requireBackoff(t, copies(t, dump, syn))
		require.NoError(t, p.Signal(syscall.SIGKILL)) // the rest of its 127 s is for the virtual clock
		_ = p.Wait()
		// The kernel got them: it is its answers that are gone.
		require.Regexp(t, `\s[1-9]\d*\s+\d+\s+DROP`, lab.Exec(t, lab.PeerNS, "iptables", "-L", "OUTPUT", "-v", "-x", "-n"))
	})
}

// A kernel with tcp_ecn=1 gets ECN from us, one with the default gives it to us, and
// neither when it is off.
func TestInterop_ECN_003_004(t *testing.T) {
	interop(t, "ss", "tcpdump")
	for _, policy := range []string{"never", "always"} {
		for _, mode := range []string{"passive", "off"} {
			t.Run("ECN-003 serve/cookies="+policy+"/ecn="+mode, func(t *testing.T) {
				lab := dptest.NewLab(t, dptest.LabSysctl("net.ipv4.tcp_ecn", "1"))
				s := serve(t, lab, "", "--app", "echo-once", "--cookies", policy, "--ecn", mode, "--print")
				for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
					echo(t, lab, addr(to, 80), func(local netip.AddrPort) {
						out := lab.Exec(t, lab.PeerNS, "ss", "-tinoH", "sport", "=", ":"+strconv.Itoa(int(local.Port())))
						require.Equal(t, mode == "passive", regexp.MustCompile(`\becn\b`).MatchString(out), out)
						require.NotContains(t, out, "accecn", "a SYN-ACK with ECE alone is the classic kind")
					})
				}
				require.Equal(t, 2, num(t, s.stop(t), "handshakes", "accepted"))
				require.Equal(t, mode == "passive", regexp.MustCompile(`(?m)^established .* ecn\b`).MatchString(s.Output()), s.Output())
			})
		}
	}
	t.Run("ECN-004 bench", func(t *testing.T) {
		lab := dptest.NewLab(t)
		acceptLoop(t, lab, ":80")
		for _, to := range []netip.Prefix{lab.PeerAddr4, lab.PeerAddr6} {
			dump := capture(t, lab, "tcp")
			all(t, bench(t, lab, "", "--connect", addr(to, 80), "--count", "3", "--concurrency", "1", "--ecn", "on"), "established", 3)
			all(t, bench(t, lab, "", "--connect", addr(to, 80), "--count", "3", "--concurrency", "1"), "established", 3)
			const ask, answer = `Flags \[SEW\]`, `Flags \[S\.E\]`
			require.Eventually(t, func() bool { return len(copies(t, dump, `Flags \[S\.`)) == 6 }, patience, 20*time.Millisecond, "%s", dump.Output())
			require.Len(t, copies(t, dump, ask), 3, dump.Output())
			require.Len(t, copies(t, dump, answer), 3, dump.Output())
			require.NoError(t, dump.Signal(syscall.SIGINT))
			_ = dump.Wait()
		}
	})
}

// ICMP errors of a kernel's firewall about our SYNs.
func TestInterop_ACT_013_ICMP(t *testing.T) {
	interop(t, "iptables")
	for _, tc := range []struct {
		name, ipt, with string
		args            []string
		unreachable     int
	}{
		{"port unreachable", "iptables", "icmp-port-unreachable", nil, 20},
		{"port unreachable v6", "ip6tables", "icmp6-port-unreachable", nil, 20},
		{"prohibited", "iptables", "icmp-admin-prohibited", nil, 0},
		{"host unreachable", "iptables", "icmp-host-unreachable", nil, 0},
		{"no route v6", "ip6tables", "icmp6-no-route", nil, 0},
		{"prohibited, fail fast", "iptables", "icmp-admin-prohibited", []string{"--fail-fast"}, 20},
		{"host unreachable, fail fast", "iptables", "icmp-host-unreachable", []string{"--fail-fast"}, 20},
		{"no route v6, fail fast", "ip6tables", "icmp6-no-route", []string{"--fail-fast"}, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lab := dptest.NewLab(t, dptest.LabSysctl("net.ipv4.icmp_ratelimit", "0"), dptest.LabSysctl("net.ipv6.icmp.ratelimit", "0"))
			acceptLoop(t, lab, ":80")
			lab.Exec(t, lab.PeerNS, tc.ipt, "-A", "INPUT", "-p", "tcp", "-j", "REJECT", "--reject-with", tc.with)
			to := lab.PeerAddr4
			if tc.ipt == "ip6tables" {
				to = lab.PeerAddr6
			}
			// Soft errors are told when the attempt ends, which it does after 300 ms.
			r := bench(t, lab, "", append([]string{"--connect", addr(to, 80), "--count", "20", "--retry", "100ms,200ms", "--drain", "30s"}, tc.args...)...)
			require.Equal(t, 20, num(t, r, "handshakes", "unreachable"), "%v", r["handshakes"])
			retrans := num(t, r, "retransmissions", "syn")
			if tc.unreachable > 0 {
				require.Zero(t, retrans, "ended at once")
			} else {
				require.Equal(t, 20, retrans, "and tried again all the same")
			}
		})
	}
}
