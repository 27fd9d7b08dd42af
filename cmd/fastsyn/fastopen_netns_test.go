//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// tcpExt returns a counter of TcpExt in the peer's namespace, as nstat would.
func tcpExt(t *testing.T, lab *dptest.Lab, name string) int {
	t.Helper()
	var names []string
	for line := range strings.SplitSeq(lab.Exec(t, lab.PeerNS, "cat", "/proc/net/netstat"), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == name {
				n, err := strconv.Atoi(f[i])
				require.NoError(t, err)
				return n
			}
		}
	}
	require.Fail(t, "no counter", name)
	return 0
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// fastEcho has the peer's kernel open with text, by sendto with MSG_FASTOPEN or by
// TCP_FASTOPEN_CONNECT, and reads the echo and the FIN.
func fastEcho(t *testing.T, lab *dptest.Lab, to netip.AddrPort, connect bool, text string) {
	t.Helper()
	lab.InPeerNS(t, func() {
		domain := unix.AF_INET
		if to.Addr().Is6() {
			domain = unix.AF_INET6
		}
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		wait := unix.NsecToTimeval(int64(patience))
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait))
		require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait))
		if connect {
			require.NoError(t, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1))
			require.NoError(t, unix.Connect(fd, sockaddr(to)))
			_, err = unix.Write(fd, []byte(text))
		} else {
			err = unix.Sendto(fd, []byte(text), unix.MSG_FASTOPEN, sockaddr(to))
		}
		require.NoError(t, err)
		f := os.NewFile(uintptr(fd), "tcp")
		defer f.Close()
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	})
}

// fastListener is a kernel listener with Fast Open in the peer's namespace, which
// counts the text it reads.
func fastListener(t *testing.T, lab *dptest.Lab, at string, got *atomic.Int64) {
	t.Helper()
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_fastopen=3")
	lc := &net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var e error
		return errors.Join(c.Control(func(fd uintptr) {
			e = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 1024)
		}), e)
	}}
	kernelListener(t, lab, lc, at, func(c net.Conn) {
		n, _ := io.Copy(io.Discard, c)
		got.Add(n)
	})
}

// sniff records what passes the peer's interface until the returned function is
// called, which then returns what tshark prints for a filter.
func sniff(t *testing.T, lab *dptest.Lab) (stop func() func(filter string, fields ...string) string) {
	t.Helper()
	pcap := filepath.Join(t.TempDir(), "peer.pcap")
	// Each slot of its ring is as long as a frame may be: of 2 KiB, for frames without offloads, there are
	// enough in 64 MiB for whatever it has no time for.
	dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-U", "--immediate-mode", "-s", "2048", "-B", "65536", "-Z", "root", "-w", pcap, "tcp or udp port 9")
	dump.WaitFor(t, "listening on", patience)
	return func() func(string, ...string) string {
		// A frame of our own at the end says that all before it are written.
		const mark = "the end of the capture"
		nobody := lab.PeerAddr4.Addr().Next()
		lab.Exec(t, lab.PeerNS, "ip", "neigh", "replace", nobody.String(), "lladdr", "02:00:00:00:00:99", "dev", lab.PeerIf)
		require.Eventually(t, func() bool {
			lab.InPeerNS(t, func() {
				c, err := net.Dial("udp", netip.AddrPortFrom(nobody, 9).String())
				require.NoError(t, err)
				_, _ = c.Write([]byte(mark))
				_ = c.Close()
			})
			b, err := os.ReadFile(pcap)
			require.NoError(t, err)
			return bytes.Contains(b, []byte(mark))
		}, patience, 10*time.Millisecond)
		require.NoError(t, dump.Signal(syscall.SIGINT))
		_ = dump.Wait()
		return func(filter string, fields ...string) string {
			args := []string{"-r", pcap, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", filter}
			if len(fields) > 0 {
				args = append(args, "-T", "fields")
			}
			for _, f := range fields {
				args = append(args, "-e", f)
			}
			out, err := exec.Command("tshark", args...).Output()
			require.NoError(t, err)
			return strings.TrimSpace(string(out))
		}
	}
}

const nothingWrong = `(_ws.malformed || _ws.expert.severity == "Error" || tcp.checksum.status == 0 || ip.checksum.status == 0)`

// A kernel client asks for a cookie, and from then on sends its text with the SYN.
func TestInterop_TFO_001_003_KernelClient(t *testing.T) {
	interop(t, "tcpdump", "tshark")
	lab := dptest.NewLab(t)
	stop := sniff(t, lab)
	s := serve(t, lab, "", "--app", "echo-once", "--fastopen", "--print")
	const rounds = 5
	for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
		for i := range rounds {
			fastEcho(t, lab, netip.AddrPortFrom(to.Addr(), 80), i%2 == 1, fmt.Sprintf("text %d to %v", i, to))
		}
	}
	require.Equal(t, 2*(rounds-1), tcpExt(t, lab, "TCPFastOpenActive"), "one asks, the others have their text acknowledged with the SYN")
	require.Zero(t, tcpExt(t, lab, "TCPFastOpenActiveFail"))
	r := s.stop(t)
	require.Equal(t, 2*rounds, num(t, r, "handshakes", "accepted"))
	require.Equal(t, 2, num(t, r, "counters", "fast_open_requests"))
	require.Equal(t, 2*(rounds-1), num(t, r, "counters", "fast_open_accepted"))
	require.Equal(t, 2*(rounds-1), num(t, r, "counters", "fast_open_confirmed"))
	require.Zero(t, num(t, r, "counters", "fast_open_failed"))
	require.Equal(t, 2*(rounds-1), strings.Count(s.Output(), " fast open"))
	require.Regexp(t, `fast open +8 accepted = 8 confirmed \+ 0 failed \+ 0 pending; 2 cookies on request`, s.Output())
	tshark := stop()
	ours := "eth.src == " + lab.MAC.String() + " && "
	require.Empty(t, tshark(ours+nothingWrong))
	require.Len(t, strings.Split(tshark("tcp.flags.syn == 1 && tcp.flags.ack == 0 && tcp.len > 0", "frame.number"), "\n"), 2*(rounds-1))
	require.Len(t, strings.Split(tshark(ours+"tcp.flags.syn == 1 && tcp.options.tfo.cookie", "tcp.options.tfo.cookie"), "\n"), 2, "cookies go out when asked for")
	require.Len(t, strings.Split(tshark(ours+"tcp.flags.syn == 1 && tcp.ack > 1", "frame.number"), "\n"), 2*(rounds-1), "SYN-ACKs acknowledge the text")
}

// Keys of Linux hosts, and their rotation: a cookie outlives the server that gave it.
func TestInterop_TFO_007_LinuxKeys(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	const a, b = "a0bf63f7-ed803d81-cd641d30-cebc4a90", "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4"
	file := filepath.Join(t.TempDir(), "keys")
	round := func(keys string, times int) map[string]any {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(keys+"\n"), 0o600))
		s := serve(t, lab, "", "--app", "echo-once", "--fastopen=16", "--fastopen-key-file", file)
		for i := range times {
			fastEcho(t, lab, netip.AddrPortFrom(lab.Addr4.Addr(), 80), false, fmt.Sprint("text ", i))
		}
		return s.stop(t)
	}
	// The kernel's own key of that name, so that its cookies are of this key too.
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_fastopen_key="+a)
	r := round(a, 2)
	require.Equal(t, 1, num(t, r, "counters", "fast_open_requests"))
	require.Equal(t, 1, num(t, r, "counters", "fast_open_accepted"))
	r = round(b+","+a, 2)
	require.Equal(t, 2, num(t, r, "counters", "fast_open_accepted"), "the key before is good, and the new cookie is given")
	r = round(b, 1)
	require.Equal(t, 1, num(t, r, "counters", "fast_open_accepted"), "the client has the new cookie")
	r = round(a, 2)
	require.Equal(t, 1, num(t, r, "counters", "fast_open_bad_cookies"), "refused, answered by the right one, and the text comes later")
	require.Equal(t, 1, num(t, r, "counters", "fast_open_accepted"))
	require.Zero(t, tcpExt(t, lab, "TCPFastOpenActiveFail")-1)
}

// Our client against a kernel listener.
func TestInterop_TFO_014_KernelListener(t *testing.T) {
	interop(t, "tcpdump", "tshark")
	for _, six := range []bool{false, true} {
		t.Run(map[bool]string{false: "v4", true: "v6"}[six], func(t *testing.T) {
			lab := dptest.NewLab(t)
			stop := sniff(t, lab)
			var got atomic.Int64
			fastListener(t, lab, ":80", &got)
			to := lab.PeerAddr4
			if six {
				to = lab.PeerAddr6
			}
			const n = 500
			r := bench(t, lab, "", "--connect", addr(to, 80), "--fastopen", "--close", "fin", "--count", strconv.Itoa(n), "--concurrency", "1", "--duration", "5m")
			all(t, r, "established", n)
			require.Equal(t, 1, num(t, r, "client", "engine", "fast_open_asked"))
			require.Equal(t, 1, num(t, r, "client", "engine", "fast_open_learned"))
			require.Equal(t, n-1, num(t, r, "client", "engine", "fast_open_taken"))
			require.Equal(t, n-1, tcpExt(t, lab, "TCPFastOpenPassive"))
			require.Equal(t, 1, tcpExt(t, lab, "TCPFastOpenCookieReqd"))
			require.Zero(t, tcpExt(t, lab, "TCPFastOpenPassiveFail"))
			require.Eventually(t, func() bool { return got.Load() >= n*64 }, patience, time.Millisecond, "every text arrives")
			require.EqualValues(t, n*64, got.Load(), "and once")
			tshark := stop()
			require.Len(t, strings.Split(tshark("eth.src == "+lab.MAC.String()+" && tcp.flags.syn == 1 && tcp.len == 64 && tcp.options.tfo.cookie && tcp.checksum.status == 1", "frame.number"), "\n"), n-1)
			require.Empty(t, tshark("eth.src == "+lab.MAC.String()+" && "+nothingWrong))
		})
	}
}

// A firewall drops SYNs with text: the plain SYN gets through, the text follows.
func TestInterop_TFO_016_SYNsWithTextAreDropped(t *testing.T) {
	interop(t, "iptables")
	lab := dptest.NewLab(t)
	var got atomic.Int64
	fastListener(t, lab, ":80", &got)
	all(t, bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--fastopen", "--close", "fin", "--count", "1"), "established", 1)
	// In raw, as the filter table would only see it after conntrack.
	lab.Exec(t, lab.PeerNS, "iptables", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--syn", "-m", "length", "--length", "100:", "-j", "DROP")
	const n = 20
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--fastopen", "--close", "fin", "--count", strconv.Itoa(n+1), "--concurrency", "1",
		"--initial-rto", "50ms", "--duration", "5m")
	all(t, r, "established", n+1)
	require.Equal(t, n, num(t, r, "client", "engine", "fast_open_sent"))
	require.Equal(t, n, num(t, r, "client", "engine", "fast_open_declined"))
	require.Equal(t, n, num(t, r, "retransmissions", "syn"))
	require.Eventually(t, func() bool { return got.Load() >= (n+2)*64 }, patience, time.Millisecond)
	require.EqualValues(t, (n+2)*64, got.Load())
}
