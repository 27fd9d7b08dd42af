//go:build linux

package main

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// pathOf is a stage of the path in a report.
func pathOf(t *testing.T, r map[string]any, name string) map[string]any {
	t.Helper()
	for _, s := range r["path"].([]any) {
		if s := s.(map[string]any); s["name"] == name {
			return s
		}
	}
	require.Fail(t, "no stage "+name)
	return nil
}

// A kernel whose SYN and accept queues are short drops SYNs, and while nobody accepts the ACKs and FINs of those it has answered:
// the report names the queue, and says which handshakes took a timeout.
func TestLimiter_PeersQueue(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	lab.Exec(t, lab.PeerNS, "sysctl", "-w", "net.ipv4.tcp_syncookies=0")
	const n, backlog = 200, 64
	var ln net.Listener
	lab.InPeerNS(t, func() {
		var err error
		ln, err = net.Listen("tcp4", ":80")
		require.NoError(t, err)
		raw, err := ln.(*net.TCPListener).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }))
		require.NoError(t, err)
	})
	// Nobody accepts until the kernel has dropped something.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && dropped(lab) == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 1)) // FIN
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = ln.Close()
		<-done
	})
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", strconv.Itoa(n), "--concurrency", strconv.Itoa(n),
		"--initial-rto", "300ms", "--syn-retries", "12", "--close", "fin", "--drain", "100s")
	all(t, r, "established", n)
	require.Positive(t, num(t, r, "retransmissions", "syn"))
	require.Positive(t, dropped(lab))
	require.Regexp(t, `SYNs of 200 attempts were repeated; of \d+ handshakes established then`, r["limiter"])
	require.Regexp(t, "it is the peer's SYN or accept queue that was full, not the wire|or the peer's full accept queue ignores what follows", r["limiter"])
	peer := pathOf(t, r, "peer")
	require.Equal(t, false, peer["seen"])
	require.Equal(t, r["retransmissions"].(map[string]any)["syn"], peer["lost"].(map[string]any)["syns_repeated"])
	for _, name := range []string{"sent", "ring", "parse"} {
		require.Empty(t, pathOf(t, r, name)["lost"], name)
	}
}

// dropped is how many SYNs the kernel of the peer has dropped, by its own counters; 0 if they cannot be read. Any goroutine.
func dropped(lab *dptest.Lab) (n int) {
	out, err := lab.Try(lab.PeerNS, "cat", "/proc/net/netstat")
	if err != nil {
		return 0
	}
	var names []string
	for line := range strings.SplitSeq(out, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[0] != "TcpExt:":
		case names == nil:
			names = f
		default:
			for i := range min(len(f), len(names)) {
				if names[i] == "ListenDrops" || names[i] == "TCPReqQFullDrop" {
					k, _ := strconv.Atoi(f[i])
					n += k
				}
			}
		}
	}
	return n
}

// A firewall that drops any segment is told from a queue that drops SYNs, and what the interface counts agrees with us.
func TestLimiter_LossyWire(t *testing.T) {
	interop(t, "iptables")
	lab := dptest.NewLab(t)
	for _, chain := range []string{"INPUT", "OUTPUT"} {
		lab.Exec(t, lab.PeerNS, "iptables", "-A", chain, "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP")
	}
	acceptLoop(t, lab, ":80")
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", "1000", "--concurrency", "500", "--close", "fin",
		"--initial-rto", "100ms", "--syn-retries", "12", "--drain", "100s")
	require.Equal(t, 1000, num(t, r, "handshakes", "established"))
	require.Contains(t, r["limiter"], "Other segments were repeated too")
	require.Contains(t, r["limiter"], "a device on the way loses frames")
	lost(t, lab)
	if r["host"].(map[string]any)["nic"].(map[string]any)["driver"] != "afpacket" {
		return
	}
	// All frames of the link came from or went to our socket, but for those that the kernels say to each other.
	balances := r["reconciled"].([]any)
	require.Len(t, balances, 2)
	for _, b := range balances {
		b := b.(map[string]any)
		require.GreaterOrEqual(t, b["difference"], 0.0, b)
		require.Less(t, b["difference"], 100.0, b)
		require.Positive(t, b["ours"], b)
	}
	nic := r["host"].(map[string]any)["nic"].(map[string]any)
	require.Equal(t, "veth", nic["kernel"])
	require.Equal(t, 10_000.0, nic["speed_mbs"])
	require.NotEmpty(t, nic["offloads"])
}
