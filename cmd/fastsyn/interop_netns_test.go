//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// These tests run the command in a network namespace against a kernel in
// another: everything that talks here, but for fastsyn, was written by others.

const patience = 30 * time.Second

// built is where commands were built, removed at the end.
var built []string

// binary builds the command once.
var binary = sync.OnceValues(func() (string, error) { return build("CGO_ENABLED=0") })

// driverEnv names the driver that fastsyn's side uses in these tests: afpacket, the
// default, or a virtual device of DPDK over the same interface, net_af_packet or net_af_xdp.
const driverEnv = "FASTSYN_INTEROP_DRIVER"

// portOf returns the port string for lab's interface.
func portOf(t *testing.T, lab *dptest.Lab, queues int) string {
	t.Helper()
	switch d := os.Getenv(driverEnv); d {
	case "", "afpacket":
		return fmt.Sprintf("afpacket:%s?queues=%d", lab.If, queues)
	case "net_af_packet":
		return fmt.Sprintf("dpdk:net_af_packet0,iface=%s,qpairs=%d?queues=%d&no-huge=on", lab.If, queues, queues)
	case "net_af_xdp":
		return fmt.Sprintf("dpdk:net_af_xdp0,iface=%s,queue_count=%d?queues=%d&no-huge=on", lab.If, queues, queues)
	default:
		t.Fatalf("%s=%s: want afpacket, net_af_packet or net_af_xdp", driverEnv, d)
		return ""
	}
}

// notOver leaves a test out for drivers that it cannot be about, whatever the machine has.
func notOver(t *testing.T, why string, drivers ...string) {
	t.Helper()
	if d := os.Getenv(driverEnv); slices.Contains(drivers, d) {
		t.Skipf("%s=%s: %s", driverEnv, d, why)
	}
}

// dpdkBinary builds it with DPDK, once.
var dpdkBinary = sync.OnceValues(func() (string, error) {
	return build("CGO_ENABLED=1", "-tags", "dpdk", "-ldflags", "-s -w")
})

// build builds the command in a directory of its own, with a setting of the
// environment and arguments for go build.
func build(env string, args ...string) (string, error) {
	dir, err := os.MkdirTemp("", "fastsyn-interop-")
	if err != nil {
		return "", err
	}
	built = append(built, dir)
	bin := filepath.Join(dir, "fastsyn")
	cmd := exec.Command("go", append(append([]string{"build", "-o", bin}, args...), ".")...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

func TestMain(m *testing.M) {
	if crowd := os.Getenv(crowdEnv); crowd != "" {
		os.Exit(runCrowd(crowd))
	}
	code := m.Run()
	for _, dir := range built {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

func command(t *testing.T) string {
	t.Helper()
	make1 := binary
	if strings.HasPrefix(os.Getenv(driverEnv), "net_") {
		make1 = dpdkBinary
	}
	bin, err := make1()
	require.NoError(t, err)
	return bin
}

func interop(t *testing.T, needs ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("namespace tests run in the main run, not with -short")
	}
	dptest.Need(t, append([]string{"netns"}, needs...)...)
}

// server is a running `fastsyn serve`.
type server struct {
	*dptest.Process
	report string // file of its final counters
}

func serve(t *testing.T, lab *dptest.Lab, port string, args ...string) *server {
	t.Helper()
	s := &server{report: filepath.Join(t.TempDir(), "serve.json")}
	if port == "" {
		port = portOf(t, lab, 1)
	}
	cmd := append([]string{
		command(t), "serve", "--port", port, "--addr", lab.Addr4.String(), "--addr", lab.Addr6.String(),
		"--listen", ":80", "--json", s.report, "--dad", "200ms",
	}, args...)
	s.Process = lab.Start(t, lab.NS, cmd...)
	s.WaitFor(t, "listening on", patience)
	return s
}

// stop ends the server as a person does and returns its counters.
func (s *server) stop(t *testing.T) map[string]any {
	t.Helper()
	require.NoError(t, s.Signal(syscall.SIGINT))
	require.NoError(t, s.Wait(), "clean exit on SIGINT:\n%s", s.Output())
	return readReport(t, s.report)
}

func readReport(t *testing.T, file string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var r map[string]any
	require.NoError(t, json.Unmarshal(b, &r), "%s", b)
	require.Equal(t, true, r["valid"], "%s", b)
	return r
}

func addr(p netip.Prefix, port int) string {
	return netip.AddrPortFrom(p.Addr(), uint16(port)).String()
}

// echo opens a connection from the peer's kernel, runs during while it is
// open, then sends a request and reads the echo and the FIN.
func echo(t *testing.T, lab *dptest.Lab, to string, during func(local netip.AddrPort)) {
	t.Helper()
	lab.InPeerNS(t, func() {
		c, err := net.DialTimeout("tcp", to, patience)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
		if during != nil {
			during(netip.MustParseAddrPort(c.LocalAddr().String()))
		}
		_, err = c.Write([]byte("three-way"))
		require.NoError(t, err)
		got, err := io.ReadAll(c)
		require.NoError(t, err)
		require.Equal(t, "three-way", string(got))
	})
}

func onOff(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// The options the kernel negotiated, as ss says, for every combination of
// switches on its side, in all cookie policies and both families.
func TestInterop_LSN_004_OPT_012_ServeOptions(t *testing.T) {
	interop(t, "ss")
	for _, policy := range []string{"never", "always", "pressure"} {
		t.Run("cookies="+policy, func(t *testing.T) {
			lab := dptest.NewLab(t)
			s := serve(t, lab, "", "--app", "echo-once", "--cookies", policy)
			flows := 0
			for mask := range 8 {
				ts, sack, ws := mask&1 != 0, mask&2 != 0, mask&4 != 0
				lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.ipv4.tcp_timestamps="+onOff(ts),
					"net.ipv4.tcp_sack="+onOff(sack), "net.ipv4.tcp_window_scaling="+onOff(ws))
				for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
					flows++
					echo(t, lab, addr(to, 80), func(local netip.AddrPort) {
						out := lab.Exec(t, lab.PeerNS, "ss", "-tinoH", "sport", "=", ":"+strconv.Itoa(int(local.Port())))
						has := func(re string) bool { return regexp.MustCompile(re).MatchString(out) }
						what := fmt.Sprintf("ts=%v sack=%v ws=%v to %v:\n%s", ts, sack, ws, to, out)
						require.Contains(t, out, "ESTAB", what)
						require.Equal(t, ts, has(`\bts\b`), what)
						require.Equal(t, sack, has(`\bsack\b`), what)
						require.Equal(t, ws, has(`\bwscale:3,\d+\b`), what)
						mss := 1460
						if to.Addr().Is6() {
							mss = 1440
						}
						if ts {
							mss -= 12
						}
						require.True(t, has(fmt.Sprintf(`\bmss:%d\b`, mss)), what)
					})
				}
			}
			r := s.stop(t)
			require.Equal(t, flows, num(t, r, "handshakes", "accepted"))
			cookies := num(t, r, "counters", "cookies_ok")
			if policy == "always" {
				require.Equal(t, flows, cookies)
			} else {
				require.Zero(t, cookies)
			}
		})
	}
}

// The clients people have: curl, nc, python.
func TestInterop_ServeClients(t *testing.T) {
	interop(t, "curl", "nc", "python3")
	for _, policy := range []string{"never", "always", "pressure"} {
		t.Run("cookies="+policy, func(t *testing.T) {
			lab := dptest.NewLab(t)
			s := serve(t, lab, "", "--app", "echo-once", "--cookies", policy, "--print")
			for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
				host := to.Addr().String()
				if to.Addr().Is6() {
					host = "[" + host + "]"
				}
				// The echo of a request is no HTTP response, so curl takes it as HTTP/0.9.
				out := lab.Exec(t, lab.PeerNS, "curl", "-gsS", "--http0.9", "-m", "20", "http://"+host+"/path")
				require.Contains(t, out, "GET /path HTTP/1.1")
				out = lab.Exec(t, lab.PeerNS, "sh", "-c", "echo over nc | nc -N -w 20 "+to.Addr().String()+" 80")
				require.Equal(t, "over nc\n", out)
				out = lab.Exec(t, lab.PeerNS, "python3", "-c", `
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 20)
s.sendall(b"over python")
while True:
    b = s.recv(100)
    if not b: break
    sys.stdout.write(b.decode())
`, to.Addr().String())
				require.Equal(t, "over python", out)
			}
			r := s.stop(t)
			require.Equal(t, 6, num(t, r, "handshakes", "accepted"))
			require.Contains(t, s.Output(), "mss 1460")
		})
	}
}

// bench runs `fastsyn bench` from the fastsyn side and returns its report.
func bench(t *testing.T, lab *dptest.Lab, port string, args ...string) map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bench.json")
	if port == "" {
		port = portOf(t, lab, 1)
	}
	cmd := append([]string{
		command(t), "bench", "--port", port, "--addr", lab.Addr4.String(), "--addr", lab.Addr6.String(),
		"--json", file, "--quiet", "--pin", "off", "--dad", "200ms",
	}, args...)
	p := lab.Start(t, lab.NS, cmd...)
	require.NoError(t, p.Wait(), "%s", p.Output())
	return readReport(t, file)
}

// all requires that every attempt of a report ended as what says.
func all(t *testing.T, r map[string]any, what string, n int) {
	t.Helper()
	for _, k := range []string{"established", "refused", "timed_out", "reset", "pending"} {
		want := 0
		if k == what {
			want = n
		}
		require.Equal(t, want, num(t, r, "handshakes", k), "%s of %v", k, r["handshakes"])
	}
	require.Equal(t, n, num(t, r, "handshakes", "attempted"))
}

// acceptLoop is a plain kernel listener in the peer's namespace.
func acceptLoop(t *testing.T, lab *dptest.Lab, at string) {
	t.Helper()
	kernelListener(t, lab, &net.ListenConfig{}, at, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
}

// kernelListener accepts in the peer's namespace until the test ends. Each connection
// is given to serve on a goroutine of its own, and closed after it.
func kernelListener(t *testing.T, lab *dptest.Lab, lc *net.ListenConfig, at string, serve func(net.Conn)) {
	t.Helper()
	var ln net.Listener
	lab.InPeerNS(t, func() {
		var err error
		ln, err = lc.Listen(context.Background(), "tcp", at)
		require.NoError(t, err)
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go func() {
					serve(c)
					_ = c.Close()
				}()
			}
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
}

// nginx serves on port 80 of the peer: "ok" for every path, or what directives say.
func nginx(t *testing.T, lab *dptest.Lab, directives ...string) *dptest.Process {
	t.Helper()
	if directives == nil {
		directives = []string{`return 200 "ok\n";`}
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, []byte(`
daemon off; master_process off; pid `+dir+`/pid; error_log `+dir+`/error.log crit;
worker_rlimit_nofile 65536;
events { worker_connections 16384; multi_accept on; }
http {
  access_log off;
  client_body_temp_path `+dir+`; proxy_temp_path `+dir+`; fastcgi_temp_path `+dir+`; uwsgi_temp_path `+dir+`; scgi_temp_path `+dir+`;
  server { listen 80 backlog=4096; listen [::]:80 backlog=4096; `+strings.Join(directives, " ")+` }
}
`), 0o644))
	lab.Exec(t, lab.PeerNS, "sysctl", "-q", "net.core.somaxconn=4096")
	p := lab.Start(t, lab.PeerNS, "nginx", "-p", dir, "-c", conf)
	require.Eventually(t, func() bool {
		_, err := lab.Try(lab.PeerNS, "nc", "-z", "-w", "1", lab.PeerAddr4.Addr().String(), "80")
		return err == nil
	}, patience, 20*time.Millisecond, "nginx did not come up")
	return p
}

// A hundred thousand connections against servers people run, none unexplained.
func TestInterop_BenchNginx(t *testing.T) {
	interop(t, "nginx", "nc")
	lab := dptest.NewLab(t)
	nginx(t, lab)
	for _, tc := range []struct{ name, to, close string }{
		{"v4-rst", addr(lab.PeerAddr4, 80), "rst"},
		{"v4-fin", addr(lab.PeerAddr4, 80), "fin"},
		{"v6-fin", addr(lab.PeerAddr6, 80), "fin"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 100_000
			if tc.name == "v6-fin" {
				n = 20_000
			}
			r := bench(t, lab, "", "--connect", tc.to, "--close", tc.close, "--count", strconv.Itoa(n), "--concurrency", "256", "--duration", "5m")
			all(t, r, "established", n)
		})
	}
}

func TestInterop_ACT_001_002_BenchKernelListener(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	const n = 100_000
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--close", "fin", "--count", strconv.Itoa(n), "--concurrency", "256", "--duration", "5m")
	all(t, r, "established", n)
}

// HTTP transactions with nginx, which closes after one request and keeps the connection for more.
func TestInterop_BenchHTTPNginx(t *testing.T) {
	interop(t, "nginx", "nc")
	lab := dptest.NewLab(t)
	nginx(t, lab)
	for _, tc := range []struct {
		name, to              string
		n, requests, pipeline int
	}{
		{"v4", addr(lab.PeerAddr4, 80), 20_000, 1, 1},
		{"v6", addr(lab.PeerAddr6, 80), 5_000, 1, 1},
		{"v4-keep-alive", addr(lab.PeerAddr4, 80), 1_000, 10, 1},
		{"v4-pipelined", addr(lab.PeerAddr4, 80), 500, 60, 8},
		{"v6-pipelined", addr(lab.PeerAddr6, 80), 500, 25, 25},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := bench(t, lab, "", "--scenario", "http", "--connect", tc.to, "--http-requests", strconv.Itoa(tc.requests),
				"--http-pipeline", strconv.Itoa(tc.pipeline), "--http-body", "3",
				"--count", strconv.Itoa(tc.n), "--concurrency", "256", "--duration", "5m")
			all(t, r, "established", tc.n)
			require.Equal(t, tc.n, num(t, r, "http", "complete"))
			require.Equal(t, tc.n, num(t, r, "flows", "done"))
			require.Equal(t, tc.n*tc.requests, num(t, r, "http", "responses"))
			require.Equal(t, 3*tc.n*tc.requests, num(t, r, "http", "content_bytes"))
			require.Equal(t, tc.n*(tc.requests-1), num(t, r, "http", "reuse", "handshakes_avoided"))
		})
	}
}

// Two queues: a flow's segments come back to the worker that opened it.
func TestInterop_RSS_006_010_BenchTwoQueues(t *testing.T) {
	notOver(t, "it wants combined queues, and those of veth are separate ones", "net_af_xdp")
	interop(t)
	lab := dptest.NewLab(t, dptest.LabQueues(2))
	acceptLoop(t, lab, ":80")
	const n = 10_000
	r := bench(t, lab, portOf(t, lab, 2), "--connect", addr(lab.PeerAddr4, 80), "--count", strconv.Itoa(n), "--concurrency", "128", "--duration", "5m")
	all(t, r, "established", n)
	r = bench(t, lab, portOf(t, lab, 2), "--connect", addr(lab.PeerAddr6, 80), "--count", strconv.Itoa(n), "--concurrency", "128", "--duration", "5m")
	all(t, r, "established", n)
}

func TestInterop_ACT_004_Refused(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	for _, to := range []netip.Prefix{lab.PeerAddr4, lab.PeerAddr6} {
		r := bench(t, lab, "", "--connect", addr(to, 81), "--count", "1000", "--concurrency", "64")
		all(t, r, "refused", 1000)
	}
}

// A black hole ends in timed out, after the documented number of retries.
func TestInterop_RTX_002_TimedOut(t *testing.T) {
	interop(t, "iptables")
	lab := dptest.NewLab(t)
	lab.Exec(t, lab.PeerNS, "iptables", "-A", "INPUT", "-p", "tcp", "-j", "DROP")
	r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", "50", "--concurrency", "50",
		"--initial-rto", "20ms", "--syn-retries", "3", "--drain", "30s")
	all(t, r, "timed_out", 50)
	out := lab.Exec(t, lab.PeerNS, "iptables", "-L", "INPUT", "-v", "-x", "-n")
	require.Regexp(t, `\s200\s+\d+\s+DROP`, out, "50 attempts, each one SYN and three retries")
}

// Ten percent lost each way: every handshake still completes.
func TestKernel_Loss(t *testing.T) {
	interop(t, "iptables")
	lossy := func(t *testing.T) *dptest.Lab {
		lab := dptest.NewLab(t)
		for _, chain := range []string{"INPUT", "OUTPUT"} {
			for _, ipt := range []string{"iptables", "ip6tables"} {
				lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", "0.1", "-j", "DROP")
			}
		}
		return lab
	}
	for _, policy := range []string{"never", "always", "pressure"} {
		t.Run("serve/cookies="+policy, func(t *testing.T) {
			lab := lossy(t)
			s := serve(t, lab, "", "--app", "echo-once", "--cookies", policy)
			const n = 100
			conns := make(chan net.Conn, n)
			errs := make(chan error, n)
			lab.InPeerNS(t, func() {
				// Sockets are made here, in the namespace; connecting goes on in the background.
				for i := range n {
					to := &net.TCPAddr{IP: lab.Addr4.Addr().AsSlice(), Port: 80}
					if i%2 == 1 {
						to.IP = lab.Addr6.Addr().AsSlice()
					}
					dialBackground(t, to, conns, errs)
				}
			})
			for range n {
				select {
				case err := <-errs:
					require.NoError(t, err)
				case c := <-conns:
					_ = c.Close()
				}
			}
			s.stop(t)
			lost(t, lab)
		})
	}
	t.Run("bench", func(t *testing.T) {
		lab := lossy(t)
		acceptLoop(t, lab, ":80")
		const n = 2000
		r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", strconv.Itoa(n), "--concurrency", "500",
			"--initial-rto", "100ms", "--syn-retries", "12", "--drain", "60s")
		all(t, r, "established", n)
		require.Positive(t, num(t, r, "retransmissions", "syn"))
		lost(t, lab)
	})
}

// lost requires that the peer's firewall did drop segments, both ways.
func lost(t *testing.T, lab *dptest.Lab) {
	t.Helper()
	out := lab.Exec(t, lab.PeerNS, "iptables", "-L", "-v", "-x", "-n")
	hits := regexp.MustCompile(`(?m)^\s+([1-9]\d*)\s+\d+\s+DROP`).FindAllString(out, -1)
	require.Len(t, hits, 2, out)
}

// dialBackground connects a socket of the calling thread's namespace without
// blocking it, sends a request and reads the echo.
func dialBackground(t *testing.T, to *net.TCPAddr, conns chan<- net.Conn, errs chan<- error) {
	t.Helper()
	domain := syscall.AF_INET
	var sa syscall.Sockaddr
	if ip4 := to.IP.To4(); ip4 != nil {
		sa = &syscall.SockaddrInet4{Port: to.Port, Addr: [4]byte(ip4)}
	} else {
		domain = syscall.AF_INET6
		sa = &syscall.SockaddrInet6{Port: to.Port, Addr: [16]byte(to.IP)}
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	go func() {
		if err := syscall.Connect(fd, sa); err != nil {
			_ = syscall.Close(fd)
			errs <- fmt.Errorf("connect to %v: %w", to, err)
			return
		}
		f := os.NewFile(uintptr(fd), "tcp")
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			errs <- err
			return
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err = c.Write([]byte("x")); err == nil {
			var got []byte
			if got, err = io.ReadAll(c); err == nil && string(got) != "x" {
				err = fmt.Errorf("echo from %v: %q", to, got)
			}
		}
		if err != nil {
			errs <- fmt.Errorf("talking to %v: %w", to, err)
			return
		}
		conns <- c
	}()
}

// nf_conntrack, strict, in the peer's namespace calls nothing of ours invalid,
// and tshark finds nothing malformed and no bad checksum.
func TestInterop_ConntrackAndTshark(t *testing.T) {
	interop(t, "iptables", "tcpdump", "tshark", "nginx", "nc")
	lab := dptest.NewLab(t)
	for _, ipt := range []string{"iptables", "ip6tables"} {
		for _, chain := range []string{"INPUT", "OUTPUT"} {
			lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID", "-j", "ACCEPT")
			lab.Exec(t, lab.PeerNS, ipt, "-A", chain, "-p", "tcp", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT")
		}
	}
	require.Equal(t, "0", strings.TrimSpace(lab.Exec(t, lab.PeerNS, "sysctl", "-n", "net.netfilter.nf_conntrack_tcp_be_liberal")))
	pcap := filepath.Join(t.TempDir(), "peer.pcap")
	dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-U", "-s", "0", "-Z", "root", "-w", pcap, "tcp or arp or icmp or icmp6")
	dump.WaitFor(t, "listening on", patience)

	for _, policy := range []string{"never", "always"} {
		s := serve(t, lab, "", "--app", "echo-once", "--cookies", policy)
		for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
			for range 5 {
				echo(t, lab, addr(to, 80), nil)
			}
			_, err := lab.Try(lab.PeerNS, "nc", "-z", "-w", "5", to.Addr().String(), "81")
			require.Error(t, err, "a closed port refuses")
		}
		s.stop(t)
	}
	nginx(t, lab)
	for _, close := range []string{"rst", "fin"} {
		for _, to := range []netip.Prefix{lab.PeerAddr4, lab.PeerAddr6} {
			all(t, bench(t, lab, "", "--connect", addr(to, 80), "--close", close, "--count", "500", "--concurrency", "32"), "established", 500)
		}
	}
	all(t, bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 82), "--count", "50"), "refused", 50)

	require.NoError(t, dump.Signal(syscall.SIGINT))
	_ = dump.Wait()
	noneInvalid(t, lab, "NEW")
	// Our frames only: once in 65536 the kernel writes a TCP checksum of 0 as 0xffff, which tshark calls wrong.
	tshark := func(filter string) string { return ours(t, lab, pcap, filter) }
	require.NotEmpty(t, tshark("tcp.flags.syn == 1 && tcp.flags.ack == 1 && tcp.checksum.status == 1"), "checksums were looked at")
	require.Empty(t, tshark(`_ws.malformed || _ws.expert.severity == "Error" || tcp.checksum.status == 0 || ip.checksum.status == 0 || icmpv6.checksum.status == 0 || icmp.checksum.status == 0`))
}

// noneInvalid requires that the rules of the peer's namespace have seen segments in a state, and
// none that conntrack calls invalid.
func noneInvalid(t *testing.T, lab *dptest.Lab, state string) {
	t.Helper()
	for _, ipt := range []string{"iptables", "ip6tables"} {
		out := lab.Exec(t, lab.PeerNS, ipt, "-L", "-v", "-x", "-n")
		seen := 0
		for _, line := range strings.Split(out, "\n") {
			f := strings.Fields(line)
			switch {
			case strings.Contains(line, "ctstate INVALID"):
				require.Equal(t, "0", f[0], out)
				seen++
			case strings.Contains(line, "ctstate "+state):
				require.NotEqual(t, "0", f[0], "conntrack was looking: %s", out)
				seen++
			}
		}
		require.Equal(t, 4, seen, out)
	}
}

// ours returns tshark's lines for our frames in a capture that match a filter.
func ours(t *testing.T, lab *dptest.Lab, pcap, filter string) string {
	t.Helper()
	out, err := exec.Command("tshark", "-r", pcap, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
		"-d", "tcp.port==80,data", // random text is not malformed HTTP
		"-Y", "eth.src == "+lab.MAC.String()+" && ("+filter+")").Output()
	require.NoError(t, err)
	return string(out)
}

// Peers that leave checksums and segmentation to a NIC that is not there.
func TestInterop_NET_014_Offloads(t *testing.T) {
	notOver(t, "DPDK's drivers do not see what the kernel left to a NIC", "net_af_packet", "net_af_xdp")
	interop(t, "python3")
	for _, mode := range []string{"keep", "off"} {
		t.Run(mode, func(t *testing.T) {
			lab := dptest.NewLab(t, dptest.LabOffloads(true))
			s := serve(t, lab, "afpacket:"+lab.If+"?offloads="+mode, "--app", "discard")
			lab.Exec(t, lab.PeerNS, "python3", "-c", `
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 20)
s.settimeout(20)
s.sendall(b"x" * (5 << 20))
s.shutdown(socket.SHUT_WR)
assert s.recv(1) == b""
`, lab.Addr4.Addr().String())
			r := s.stop(t)
			require.Equal(t, 5<<20, num(t, r, "application", "bytes"))
			acceptLoop(t, lab, ":81")
			all(t, bench(t, lab, "afpacket:"+lab.If+"?offloads="+mode, "--connect", addr(lab.PeerAddr4, 81), "--count", "1000", "--close", "fin"), "established", 1000)
		})
	}
}

// The interface goes down and comes back, then vanishes.
func TestInterop_InterfaceFaults(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	s := serve(t, lab, "", "--app", "echo-once")
	echo(t, lab, addr(lab.Addr4, 80), nil)
	lab.Exec(t, lab.NS, "ip", "link", "set", lab.If, "down")
	lab.Exec(t, lab.NS, "ip", "link", "set", lab.If, "up")
	echo(t, lab, addr(lab.Addr4, 80), nil)
	lab.Exec(t, lab.NS, "ip", "link", "del", lab.If)
	require.Error(t, s.Wait(), "a vanished interface ends the server with an error")
	require.Contains(t, s.Output(), lab.If)
	require.Contains(t, s.Output(), "gone")
}

// What fastsyn trace says of a live handshake.
func TestInterop_Trace(t *testing.T) {
	notOver(t, "tracing needs to see both directions", "net_af_packet", "net_af_xdp")
	interop(t)
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	tr := lab.Start(t, lab.PeerNS, command(t), "trace", "--port", "afpacket:"+lab.PeerIf)
	tr.WaitFor(t, "tracing", patience)
	bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", "3", "--concurrency", "1")
	tr.WaitFor(t, "Flags [R.]", patience)
	require.NoError(t, tr.Signal(syscall.SIGINT))
	require.NoError(t, tr.Wait())
	require.Regexp(t, `IP 10\.71\.0\.2\.80 > 10\.71\.0\.1\.\d+: Flags \[S\.\], seq \d+, ack \d+, win \d+, options \[mss 1460,sackOK,TS val \d+ ecr \d+,nop,wscale \d+\], length 0`, tr.Output(), "what the kernel sends is seen too")
	require.Regexp(t, `IP 10\.71\.0\.1\.\d+ > 10\.71\.0\.2\.80: Flags \[S\], seq \d+, win \d+, options \[mss 1460,sackOK,TS val \d+ ecr 0,nop,wscale 3\], length 0`, tr.Output())
}
