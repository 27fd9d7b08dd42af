//go:build linux && dpdk

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// These tests run the command over devices of DPDK that need no hardware, in
// ordinary memory. The interop tests run over net_af_packet and net_af_xdp besides
// (make test-dpdk), those of nic_test.go over NICs in a virtual machine.

// dpdkRun runs the command with DPDK to its end and returns its output.
func dpdkRun(t *testing.T, args ...string) (string, error) {
	t.Helper()
	bin, err := dpdkBinary()
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), bin, args...).CombinedOutput()
	return string(out), err
}

// dpdkBench runs a bench whose report must be valid, and returns the report.
func dpdkBench(t *testing.T, args ...string) map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := dpdkRun(t, append([]string{"bench", "--quiet", "--pin", "off", "--polling", "adaptive", "--json", file}, args...)...)
	require.NoError(t, err, "%s", out)
	return readReport(t, file)
}

// dpdkStart starts the command in the background.
func dpdkStart(t *testing.T, ready string, args ...string) *dptest.Process {
	t.Helper()
	bin, err := dpdkBinary()
	require.NoError(t, err)
	p := dptest.Start(t, append([]string{bin}, args...)...)
	if ready != "" {
		p.WaitFor(t, ready, patience)
	}
	return p
}

// The whole engine over rings in one process.
func TestDPDK_Ring(t *testing.T) {
	if testing.Short() {
		t.Skip("runs in the main run, not with -short")
	}
	for _, port := range []string{"dpdk:net_ring?no-huge=on", "dpdk:net_ring?no-huge=on&queues=2", "impair(loss=1%,seed=3):dpdk:net_ring?no-huge=on"} {
		for _, extra := range [][]string{{"--close", "rst"}, {"--close", "fin"}, {"--ipv6", "--close", "fin", "--cookies", "always"}} {
			t.Run(port+" "+strings.Join(extra, " "), func(t *testing.T) {
				const n = 20_000
				r := dpdkBench(t, append([]string{"--port", port, "--count", strconv.Itoa(n), "--initial-rto", "50ms", "--drain", "60s"}, extra...)...)
				all(t, r, "established", n)
			})
		}
	}
	r := dpdkBench(t, "--port", "dpdk:net_ring?no-huge=on&queues=2", "--scenario", "syn-flood", "--count", "50000")
	require.Equal(t, 50_000, num(t, r, "syn_flood", "answered"))
}

// shortDir is a directory whose name DPDK can read: neither long nor with an equals sign.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fs-dpdk-") //nolint:usetesting // t.TempDir has the test's name in it, equals signs and all
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// memifPair are the port strings of two processes that share memory.
func memifPair(t *testing.T) (server, client string) {
	t.Helper()
	socket := filepath.Join(shortDir(t), "m.sock")
	s := func(role string) string {
		return fmt.Sprintf("dpdk:net_memif0,role=%s,socket=%s,socket-abstract=no?no-huge=on", role, socket)
	}
	return s("server"), s("client")
}

func memifServe(t *testing.T, port string, args ...string) (p *dptest.Process, report string) {
	t.Helper()
	report = filepath.Join(t.TempDir(), "serve.json")
	return dpdkStart(t, "listening on", append([]string{
		"serve", "--port", port, "--addr", "10.73.0.2/16", "--listen", ":80", "--polling", "adaptive", "--pin", "off", "--json", report,
	}, args...)...), report
}

// The whole engine in two processes.
func TestDPDK_Memif(t *testing.T) {
	if testing.Short() {
		t.Skip("runs in the main run, not with -short")
	}
	for _, policy := range []string{"never", "always", "pressure"} {
		t.Run("cookies="+policy, func(t *testing.T) {
			server, client := memifPair(t)
			s, report := memifServe(t, server, "--cookies", policy)
			const n = 20_000
			to := []string{"--port", client, "--addr", "10.73.0.1/16", "--connect", "10.73.0.2:80", "--initial-rto", "100ms", "--drain", "60s"}
			for _, close := range []string{"rst", "fin"} {
				r := dpdkBench(t, append(to, "--close", close, "--count", strconv.Itoa(n))...)
				all(t, r, "established", n)
			}
			refused := append(to, "--count", "500")
			refused[5] = "10.73.0.2:81"
			all(t, dpdkBench(t, refused...), "refused", 500)
			r := dpdkBench(t, append(to, "--scenario", "syn-flood", "--pool", "10.73.128.0/17", "--count", "20000")...)
			require.Positive(t, num(t, r, "syn_flood", "answered"))
			require.NoError(t, s.Signal(syscall.SIGINT))
			require.NoError(t, s.Wait(), "clean exit on SIGINT:\n%s", s.Output())
			require.GreaterOrEqual(t, num(t, readReport(t, report), "handshakes", "accepted"), 2*n-2*256, "but for what was on the way when a client ended")
		})
	}
}

// The server is killed while a client opens connections, and another takes its
// place: the client goes on, and its sums close.
func TestDPDK_MemifPeerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs in the main run, not with -short")
	}
	server, client := memifPair(t)
	first, _ := memifServe(t, server)
	report := filepath.Join(t.TempDir(), "bench.json")
	b := dpdkStart(t, "", "bench", "--port", client, "--addr", "10.73.0.1/16", "--connect", "10.73.0.2:80", "--rate", "5000", "--concurrency", "5000",
		"--count", "30000", "--initial-rto", "100ms", "--syn-retries", "12", "--drain", "120s", "--pin", "off", "--polling", "adaptive", "--json", report)
	b.WaitFor(t, "1.0s", patience) // the first progress line: connections are being opened
	first.Stop()                   // SIGKILL
	second, served := memifServe(t, server)
	require.NoError(t, b.Wait(), "%s", b.Output())
	r := readReport(t, report)
	all(t, r, "established", 30_000)
	require.NoError(t, second.Signal(syscall.SIGINT))
	require.NoError(t, second.Wait())
	require.Positive(t, num(t, readReport(t, served), "handshakes", "accepted"))
}

// A capture goes in, our answers come out as one.
func TestDPDK_Pcap(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pcap"), filepath.Join(dir, "out.pcap")
	f, err := os.Create(in)
	require.NoError(t, err)
	w := pcapgo.NewWriter(f)
	require.NoError(t, w.WriteFileHeader(65535, layers.LinkTypeEthernet))
	// net_pcap's own address.
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, DstMAC: net.HardwareAddr{2, 0x70, 0x63, 0x61, 0x70, 0}, EthernetType: layers.EthernetTypeIPv4}
	write := func(payload int, tcp *layers.TCP) {
		ip := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IP{10, 74, 0, 9}, DstIP: net.IP{10, 74, 0, 1}, Flags: layers.IPv4DontFragment}
		require.NoError(t, tcp.SetNetworkLayerForChecksum(ip))
		b := gopacket.NewSerializeBuffer()
		require.NoError(t, gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(make([]byte, payload))))
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()))
	}
	for port := range 100 {
		write(0, &layers.TCP{SrcPort: layers.TCPPort(1000 + port), DstPort: 80, Seq: uint32(port), SYN: true, Window: 1000})
	}
	write(8000, &layers.TCP{SrcPort: 999, DstPort: 80, Seq: 1, ACK: true, Window: 1000}) // longer than a buffer
	require.NoError(t, f.Close())
	report := filepath.Join(dir, "serve.json")
	text, err := dpdkRun(t, "serve", "--port", "dpdk:net_pcap0,rx_pcap="+in+",tx_pcap="+out+"?no-huge=on", "--addr", "10.74.0.1/24", "--listen", ":80", "--dad", "0",
		"--cookies", "always", "--polling", "adaptive", "--duration", "1s", "--json", report)
	require.NoError(t, err, "%s", text)
	r := readReport(t, report)
	require.Equal(t, 100, num(t, r, "handshakes", "cookies_sent"))
	require.Equal(t, 1, num(t, r, "device", "rx_copied"), "the long frame arrived whole: %v", r["device"])
	require.Equal(t, 101, num(t, r, "frames", "rx"))

	o, err := os.Open(out)
	require.NoError(t, err)
	defer o.Close()
	rd, err := pcapgo.NewReader(o)
	require.NoError(t, err)
	answered, reset := 0, 0
	for {
		data, _, err := rd.ReadPacketData()
		if err != nil {
			break
		}
		p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
		tcp, ok := p.TransportLayer().(*layers.TCP)
		if !ok {
			continue
		}
		switch {
		case tcp.SYN && tcp.ACK:
			require.Equal(t, uint32(tcp.DstPort-1000)+1, tcp.Ack)
			answered++
		case tcp.RST:
			reset++
		}
	}
	require.Equal(t, 100, answered)
	require.Equal(t, 1, reset, "the segment out of nowhere")
}

// Two runs of one name, one after the other dead, and what else goes wrong before
// anything is sent. Each error says what and how to mend it.
func TestDPDK_Errors(t *testing.T) {
	if testing.Short() {
		t.Skip("runs in the main run, not with -short")
	}
	serve := func(port string) []string {
		return []string{"serve", "--port", port, "--addr", "10.75.0.1/24", "--listen", ":80", "--polling", "adaptive", "--quiet"}
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	prefix := fmt.Sprintf("fs-test-%d", os.Getpid())
	named := "dpdk:net_null0?no-huge=on&file-prefix=" + prefix
	first := dpdkStart(t, "listening on", serve(named)...)
	out, err := dpdkRun(t, serve(named)...)
	require.Error(t, err)
	require.Contains(t, out, "another run uses this file-prefix")
	first.Stop() // SIGKILL
	second := dpdkStart(t, "listening on", serve(named)...)
	require.NoError(t, second.Signal(syscall.SIGINT))
	require.NoError(t, second.Wait(), "after a predecessor that was killed:\n%s", second.Output())
	left, err := filepath.Glob("/var/run/dpdk/" + prefix)
	require.NoError(t, err)
	require.Empty(t, left, "nothing stays behind")

	for port, want := range map[string]string{
		"dpdk:net_af_packet0,iface=lo?queues=2&no-huge=on": "2 queues, but the device has 1 (1 receive, 1 transmit): use queues=1",
		"dpdk:net_null0?memory=4000G":                      "no hugepages: 3.906 TiB are needed",
		"dpdk:net_null0?no-huge=on&mbufs=4000000":          "no memory for 4000000 frames",
		"dpdk:net_null0?no-huge=on&queues=2&rss=on&eal=-d": "starting DPDK",
		"dpdk:nonsense?no-huge=on":                         "no driver of this DPDK takes this name",
		"dpdk:0000:00:1f.7?no-huge=on":                     "there is no such PCI device",
		"dpdk:net_null0?no-hug=on":                         `did you mean "no-huge"?`,
	} {
		out, err := dpdkRun(t, serve(port)...)
		require.Error(t, err, port)
		require.Contains(t, out, want, port)
	}
}

// A tap device: the kernel of the same namespace is the peer, and the device takes
// over checksums where it may. Both ways every frame is right.
func TestDPDK_TapOffloads(t *testing.T) {
	interop(t, "tcpdump", "tshark", "python3")
	for _, mode := range []string{"auto", "off"} {
		t.Run("csum="+mode, func(t *testing.T) {
			lab := dptest.NewLab(t)
			bin, err := dpdkBinary()
			require.NoError(t, err)
			report := filepath.Join(t.TempDir(), "serve.json")
			s := lab.Start(t, lab.NS, bin, "serve", "--port", "dpdk:net_tap0,iface=fstap0?no-huge=on&tx-csum="+mode+"&rx-csum="+mode,
				"--addr", "10.76.0.1/24", "--addr", "fd76::1/64", "--listen", ":80", "--app", "echo-once", "--polling", "adaptive", "--json", report)
			s.WaitFor(t, "listening on", patience)
			pcap := filepath.Join(t.TempDir(), "tap.pcap")
			for _, args := range [][]string{
				{"sysctl", "-q", "net.ipv6.conf.fstap0.disable_ipv6=0", "net.ipv6.conf.fstap0.accept_dad=0"},
				{"ip", "addr", "add", "10.76.0.9/24", "dev", "fstap0"},
				{"ip", "addr", "add", "fd76::9/64", "dev", "fstap0", "nodad"},
				{"ip", "link", "set", "fstap0", "up"},
			} {
				lab.Exec(t, lab.NS, args...)
			}
			dump := lab.Start(t, lab.NS, "tcpdump", "-i", "fstap0", "-U", "-s", "0", "-Z", "root", "-w", pcap, "tcp")
			dump.WaitFor(t, "listening on", patience)
			for _, to := range []string{"10.76.0.1", "fd76::1"} {
				for range 10 {
					out := lab.Exec(t, lab.NS, "python3", "-c", `
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 20)
s.sendall(b"x" * 1000)
n = 0
while True:
    b = s.recv(5000)
    if not b: break
    n += len(b)
print(n)
`, to)
					require.Equal(t, "1000", strings.TrimSpace(out))
				}
			}
			require.NoError(t, dump.Signal(syscall.SIGINT))
			_ = dump.Wait()
			require.NoError(t, s.Signal(syscall.SIGINT))
			require.NoError(t, s.Wait(), "%s", s.Output())
			require.Equal(t, 20, num(t, readReport(t, report), "handshakes", "accepted"))
			tshark := func(filter string) string {
				out, err := exec.Command("tshark", "-r", pcap, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y", "tcp.srcport == 80 && ("+filter+")").Output()
				require.NoError(t, err)
				return string(out)
			}
			require.NotEmpty(t, tshark("tcp.checksum.status == 1"))
			require.Empty(t, tshark("tcp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed"))
		})
	}
}

// A vhost back end and its virtio front end, in two processes.
func TestDPDK_Vhost(t *testing.T) {
	if testing.Short() {
		t.Skip("runs in the main run, not with -short")
	}
	socket := filepath.Join(shortDir(t), "v.sock")
	s, report := memifServe(t, "dpdk:net_vhost0,iface="+socket+"?no-huge=on&memory=128M")
	const n = 5000
	r := dpdkBench(t, "--port", "dpdk:net_virtio_user0,path="+socket+",mac=02:00:00:00:00:77?no-huge=on&memory=128M", "--addr", "10.73.0.1/16", "--connect", "10.73.0.2:80",
		"--count", strconv.Itoa(n), "--initial-rto", "100ms", "--syn-retries", "12", "--drain", "60s")
	all(t, r, "established", n)
	require.NoError(t, s.Signal(syscall.SIGINT))
	require.NoError(t, s.Wait(), "%s", s.Output())
	// What was in the front end's ring when it ended is lost: at most what was in flight.
	require.GreaterOrEqual(t, num(t, readReport(t, report), "handshakes", "accepted"), n-256)
}
