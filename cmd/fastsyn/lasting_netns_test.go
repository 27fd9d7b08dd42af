//go:build linux

package main

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// established is what `ss -s` of the peer says.
func established(t *testing.T, lab *dptest.Lab) int {
	t.Helper()
	out := lab.Exec(t, lab.PeerNS, "ss", "-s")
	m := regexp.MustCompile(`estab (\d+)`).FindStringSubmatch(out)
	require.NotNil(t, m, out)
	n, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	return n
}

// kernelCounter is a counter of the peer's kernel since its namespace began, as nstat(8) has it.
func kernelCounter(t *testing.T, lab *dptest.Lab, name string) int {
	t.Helper()
	out := lab.Exec(t, lab.PeerNS, "nstat", "-a", "-s", "-z", name)
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("nstat has no %s: %s", name, out)
	return 0
}

// unaccepted listens in the peer's namespace with room for n connections, which stay in the accept queue:
// the kernel has them established, and they cost no file.
func unaccepted(t *testing.T, lab *dptest.Lab, n int) {
	t.Helper()
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.core.somaxconn="+strconv.Itoa(n+1), "net.ipv4.tcp_max_syn_backlog="+strconv.Itoa(n+1))
	lab.InPeerNS(t, func() {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		t.Cleanup(func() { _ = syscall.Close(fd) })
		require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
		require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: 80}))
		require.NoError(t, syscall.Listen(fd, n))
	})
}

// More connections than an address has ports, from a pool that the kernel routes here: while they are held
// its ss counts as many, each answers a probe, and in the end they are reset.
func TestConcurrencyAgainstTheKernel(t *testing.T) {
	interop(t)
	const n = 70_000
	lab := dptest.NewLab(t)
	unaccepted(t, lab, n)
	lab.Exec(t, lab.PeerNS, "ip", "route", "add", "198.18.0.0/28", "via", lab.Addr4.Addr().String())
	seen := make(chan int, 1)
	go func() { // until all are there, or the run has ended
		most := 0
		for end := time.Now().Add(patience); most < n && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			out, err := lab.Try(lab.PeerNS, "ss", "-s")
			if m := regexp.MustCompile(`estab (\d+)`).FindStringSubmatch(out); err == nil && m != nil {
				k, _ := strconv.Atoi(m[1])
				most = max(most, k)
			}
		}
		seen <- most
	}()
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--pool", "198.18.0.0/28", "--scenario", "concurrency",
		"--concurrency", strconv.Itoa(n), "--hold", "5s")
	all(t, r, "established", n)
	require.Equal(t, n, num(t, r, "held", "peak"))
	require.Equal(t, n, num(t, r, "held", "probed"))
	require.Equal(t, n, num(t, r, "held", "alive"))
	require.Equal(t, n, num(t, r, "held", "closed"))
	require.Equal(t, n, <-seen, "estab of ss -s")
	require.Equal(t, n, kernelCounter(t, lab, "TcpPassiveOpens"))
	// Resets are not repeated, so a machine that had no time for them may have lost some.
	resets := kernelCounter(t, lab, "TcpEstabResets")
	require.Equal(t, n, resets+established(t, lab))
	require.Greater(t, resets, n/2)
}

// Connections whose server dies during the hold are lost, as its kernel resets them.
func TestConcurrencyLostByTheKernel(t *testing.T) {
	interop(t)
	const n = 500
	lab := dptest.NewLab(t)
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.core.somaxconn=1000")
	// Accepts all, and then ends with text unread in none of them: FIN for each.
	server := lab.Start(t, lab.PeerNS, "python3", "-c", `
import socket
s = socket.create_server(("", 80), backlog=1000)
print("ready", flush=True)
kept = [s.accept()[0] for _ in range(`+strconv.Itoa(n)+`)]
`)
	server.WaitFor(t, "ready", patience)
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--scenario", "concurrency", "--concurrency", strconv.Itoa(n), "--hold", "5s")
	require.Equal(t, n, num(t, r, "handshakes", "established"))
	require.Equal(t, n, num(t, r, "held", "lost", "closed"))
	require.Zero(t, num(t, r, "held", "closed"))
	require.Contains(t, r["limiter"], "500 of 500 connections were lost")
}

// A peer that falls silent behind its firewall is found out by the probes: nothing else would tell.
func TestConcurrencySilentKernel(t *testing.T) {
	interop(t, "conntrack")
	const n = 300
	lab := dptest.NewLab(t)
	unaccepted(t, lab, n)
	// The SYN and the last ACK pass, the probe is the third packet of its connection.
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.netfilter.nf_conntrack_acct=1")
	lab.Exec(t, lab.PeerNS, "nft", "add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in ct original packets > 2 counter drop")
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--scenario", "concurrency", "--concurrency", strconv.Itoa(n), "--hold", "0s", "--initial-rto", "100ms")
	require.Equal(t, n, num(t, r, "held", "peak"))
	require.Equal(t, n, num(t, r, "held", "lost", "silent"))
	require.Zero(t, num(t, r, "held", "alive"))
	require.Equal(t, 4*n, num(t, r, "client", "engine", "probes"))
	out := lab.Exec(t, lab.PeerNS, "nft", "list", "ruleset")
	require.Contains(t, out, "packets "+strconv.Itoa(4*n)+" ")
}

// The population follows from rate and lifetime, and the kernel's books agree with ours.
func TestChurnAgainstTheKernel(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--scenario", "churn", "--concurrency", "200", "--lifetime", "200ms",
		"--count", "3000", "--close", "fin", "--drain", "60s")
	all(t, r, "established", 3000)
	require.Equal(t, 3000, num(t, r, "churn", "lived"))
	require.Equal(t, 3000, num(t, r, "flows", "done"))
	require.Equal(t, 3000, kernelCounter(t, lab, "TcpPassiveOpens"))
	require.Zero(t, kernelCounter(t, lab, "TcpEstabResets"))
}

// A closed port: the kernel resets each SYN, once.
func TestRefusedByTheKernel(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	for _, to := range []string{addr(lab.PeerAddr4, 81), addr(lab.PeerAddr6, 81)} {
		before := kernelCounter(t, lab, "TcpOutRsts")
		r := bench(t, lab, "", "--connect", to, "--scenario", "refused", "--count", "2000", "--drain", "60s")
		all(t, r, "refused", 2000)
		require.Equal(t, 2000, num(t, r, "latency_ns", "count"))
		require.Equal(t, 2000+num(t, r, "retransmissions", "syn"), kernelCounter(t, lab, "TcpOutRsts")-before+num(t, r, "client", "port", "tx_full"))
	}
}

// A firewall that drops: it has seen every copy, and this end tells when they went.
func TestTimeoutBehindAFirewall(t *testing.T) {
	interop(t)
	const n = 200
	lab := dptest.NewLab(t)
	lab.Exec(t, lab.PeerNS, "nft", "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in tcp dport 80 counter drop")
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--scenario", "timeout", "--count", strconv.Itoa(n), "--syn-retries", "2", "--initial-rto", "500ms")
	all(t, r, "timed_out", n)
	require.Equal(t, n, num(t, r, "timeout", "on_schedule"))
	require.Equal(t, 2*n, num(t, r, "retransmissions", "syn"))
	out := lab.Exec(t, lab.PeerNS, "nft", "list", "ruleset")
	require.Contains(t, out, "packets "+strconv.Itoa(3*n)+" ", "SYNs")
	steps := r["timeout"].(map[string]any)["repeats"].([]any)
	require.Len(t, steps, 3)
	for k, due := range []float64{0.5e9, 1.5e9, 3.5e9} {
		s := steps[k].(map[string]any)
		require.Equal(t, due, s["due_ns"])
		require.Zero(t, s["early"])
		require.EqualValues(t, n, s["at_ns"].(map[string]any)["count"])
		require.GreaterOrEqual(t, s["at_ns"].(map[string]any)["p50"].(float64), due*0.998)
	}
}
