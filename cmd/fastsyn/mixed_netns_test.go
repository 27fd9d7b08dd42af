//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Clients under a flood of the same queue, against a kernel with a backlog of 64: with its SYN cookies all of them
// are served, without them few. Its own counters say why.
func TestKernel_MixedListener(t *testing.T) {
	interop(t)
	for _, cookies := range []bool{true, false} {
		t.Run("syncookies="+strconv.FormatBool(cookies), func(t *testing.T) {
			lab := dptest.NewLab(t)
			lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_syncookies="+map[bool]string{true: "1", false: "0"}[cookies],
				"net.ipv4.tcp_max_syn_backlog=64", "net.core.somaxconn=64")
			lab.Exec(t, lab.PeerNS, "ip", "route", "add", "198.19.0.0/16", "via", lab.Addr4.Addr().String())
			kernelListener(t, lab, &net.ListenConfig{}, ":80", func(c net.Conn) { _ = c.Close() })
			const n = 2000
			r := bench(t, lab, "", "--scenario", "mixed", "--connect", addr(lab.PeerAddr4, 80), "--pool", "198.19.0.0/16", "--flood-rate", "20000",
				"--rate", "1000", "--count", strconv.Itoa(n), "--duration", "5m", "--concurrency", "4096", "--syn-retries", "3", "--initial-rto", "500ms", "--drain", "30s")
			calm, flooded := num(t, r, "mixed", "calm", "done"), num(t, r, "mixed", "flooded", "done")
			require.Equal(t, n, num(t, r, "mixed", "calm", "attempted")+num(t, r, "mixed", "flooded", "attempted"))
			require.Equal(t, calm, num(t, r, "mixed", "calm", "attempted"))
			require.Greater(t, num(t, r, "syn_flood", "sent"), 1000)
			require.Zero(t, num(t, r, "syn_flood", "bad"))
			sent, full := tcpExt(t, lab, "SyncookiesSent"), tcpExt(t, lab, "ListenDrops")
			t.Logf("%d of %d in the second half; the kernel sent %d cookies and dropped %d SYNs; %s", flooded, n-calm, sent, full, r["limiter"])
			if cookies {
				require.Equal(t, n-calm, flooded)
				require.NotZero(t, sent)
				require.NotZero(t, tcpExt(t, lab, "SyncookiesRecv"))
				require.Equal(t, num(t, r, "mixed", "flooded", "established"), num(t, r, "mixed", "flooded", "options", "timestamps"))
				return
			}
			require.Less(t, flooded, (n-calm)/2)
			require.Zero(t, sent)
			require.NotZero(t, full)
			require.Contains(t, r["limiter"], "the peer, or a device on the way: good clients kept")
		})
	}
}

// Visits to a kernel listener with Fast Open that echoes, over a path with delay: it counts the cookies and the texts
// on SYNs as we do, and answers a repeat visit a handshake sooner.
func TestKernel_FastOpenVisits(t *testing.T) {
	interop(t, "tcpdump", "tshark")
	for _, six := range []bool{false, true} {
		t.Run("ipv6="+strconv.FormatBool(six), func(t *testing.T) {
			lab := dptest.NewLab(t)
			stop := sniff(t, lab)
			lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_fastopen=3")
			lc := &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
				var e error
				return errors.Join(c.Control(func(fd uintptr) { e = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 1024) }), e)
			}}
			kernelListener(t, lab, lc, ":80", func(c net.Conn) {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
			to := lab.PeerAddr4
			if six {
				to = lab.PeerAddr6
			}
			const n = 90
			r := bench(t, lab, "impair(delay=10ms):"+portOf(t, lab, 1), "--scenario", "fastopen", "--connect", addr(to, 80), "--count", strconv.Itoa(n),
				"--concurrency", "5", "--duration", "5m", "--initial-rto", "30s")
			all(t, r, "established", n)
			for _, kind := range []string{"first", "repeat", "ordinary"} {
				require.Equal(t, n/3, num(t, r, "visits", kind, "replied"), kind)
			}
			require.Equal(t, n/3, num(t, r, "visits", "cookies_given"))
			require.Equal(t, n/3, num(t, r, "visits", "text_taken"))
			require.Equal(t, n/3, tcpExt(t, lab, "TCPFastOpenCookieReqd"))
			require.Equal(t, n/3, tcpExt(t, lab, "TCPFastOpenPassive"))
			require.Regexp(t, `saved \S+ of \S+ to the first byte`, r["limiter"])
			saved := r["visits"].(map[string]any)["saved_rtts"].(float64)
			t.Logf("saved %.2f round trips", saved)
			require.Greater(t, saved, 0.3)
			tshark := stop()
			ours := "eth.src == " + lab.MAC.String() + " && tcp.flags.syn == 1"
			require.Len(t, strings.Split(tshark(ours+" && tcp.len > 0", "frame.number"), "\n"), n/3)
			require.Len(t, strings.Split(tshark(ours+" && tcp.options.tfo.request", "frame.number"), "\n"), n/3)
			require.Len(t, strings.Split(tshark(ours+" && !tcp.options.tfo", "frame.number"), "\n"), n/3)
		})
	}
}

// A kernel that answers every SYN by a cookie keeps options in the stamps, and without those none but the MSS, to the next
// size that it knows; one that keeps SYNs keeps them all.
func TestKernel_CookieServer(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	const n = 300
	for _, c := range []struct {
		cookies, stamps bool
		kept            int
	}{{true, true, n}, {true, false, 0}, {false, false, n}} {
		lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_syncookies="+map[bool]string{true: "2", false: "0"}[c.cookies])
		before := tcpExt(t, lab, "SyncookiesRecv")
		args := []string{"--scenario", "cookie-server", "--connect", addr(lab.PeerAddr4, 80), "--count", strconv.Itoa(n), "--duration", "5m", "--concurrency", "20"}
		if !c.stamps {
			args = append(args, "--no-timestamps")
		}
		r := bench(t, lab, "", args...)
		all(t, r, "established", n)
		require.Equal(t, map[bool]int{true: n}[c.cookies], tcpExt(t, lab, "SyncookiesRecv")-before)
		require.Equal(t, n, num(t, r, "cookie_server", "client", "flows"))
		require.Equal(t, c.kept, num(t, r, "cookie_server", "client", "wscale"))
		require.Equal(t, c.kept, num(t, r, "cookie_server", "client", "sack"))
		require.Equal(t, map[bool]int{true: n}[c.stamps], num(t, r, "cookie_server", "client", "timestamps"))
	}
}
