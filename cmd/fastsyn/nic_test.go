//go:build linux && amd64 && dpdk

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dpdk"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/dptest/guest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/rss"
)

// These tests run the command in a virtual machine whose NIC has several queues
// and real RSS, driven by DPDK's poll-mode drivers. The kernel of this machine, in a
// namespace, is at the other end of the NIC. What a queue got is judged twice: by the
// counters of the driver, and by counting flows whose source ports were chosen
// here, by a hash computed here, so that each queue gets a number of its own.

// virtio is QEMU's NIC with RSS, for a number of queues.
func virtio(queues int) string {
	return fmt.Sprintf("virtio-net-pci,disable-legacy=on,mq=on,rss=on,vectors=%d", 2*queues+2)
}

const vmxnet3 = "vmxnet3"

// nic is a machine with fastsyn on one side of a NIC and a kernel on the other.
type nic struct {
	*guest.Guest
	lab    *dptest.Lab
	queues int
	ports  uint16 // source ports that were used
	runs   int
}

func bootNIC(t *testing.T, queues int, device string, driver guest.Driver, with ...func(*guest.Image)) *nic {
	t.Helper()
	dptest.Need(t, append([]string{"dpdk"}, guest.Needs...)...)
	require.NoError(t, dpdk.Available())
	bin, err := dpdkBinary()
	require.NoError(t, err)
	var im guest.Image
	require.NoError(t, im.Program("/bin/fastsyn", bin))
	require.NoError(t, im.Drivers("net_virtio", "net_vmxnet3", "bus_pci", "bus_vdev", "mempool_ring"))
	for _, f := range with {
		f(&im)
	}
	taps := queues
	if device == vmxnet3 {
		taps = 1 // a second one stays silent for ever after a frame that came before the device was started
	}
	lab := dptest.NewTapLab(t, dptest.LabQueues(taps))
	g := guest.Boot(t, lab, guest.Config{
		Image: &im, NIC: device, Driver: driver, CPUs: queues + 1, HugePages: 48 + 24*queues, MemoryMiB: 512, Limit: 5 * time.Minute,
	})
	return &nic{Guest: g, lab: lab, queues: queues, ports: 20000}
}

// port is the port string with further parameters.
func (n *nic) port(params ...string) string {
	return fmt.Sprintf("'dpdk:%s?queues=%d%s'", guest.PCI, n.queues, strings.Join(append([]string{""}, params...), "&"))
}

func (n *nic) addrs() string {
	return "--addr " + n.lab.Addr4.String() + " --addr " + n.lab.Addr6.String()
}

// serve runs `fastsyn serve` in the guest while f runs, and returns its report.
func (n *nic) serve(t *testing.T, env, port string, f func()) map[string]any {
	t.Helper()
	n.runs++
	file := fmt.Sprintf("/tmp/serve%d.json", n.runs)
	j := n.Start(t, fmt.Sprintf("%sfastsyn serve --port %s %s --listen :80 --app echo-once --polling adaptive --quiet --json %s", env, port, n.addrs(), file))
	j.WaitFor(t, "listening on", patience)
	f()
	j.Signal(t, "INT")
	r := j.Wait(t)
	require.Zero(t, r.Code, "%v", r)
	return n.report(t, file)
}

// bench runs `fastsyn bench` in the guest to the listener of this machine's kernel.
func (n *nic) bench(t *testing.T, port string, to netip.Prefix, count int) map[string]any {
	t.Helper()
	n.runs++
	file := fmt.Sprintf("/tmp/bench%d.json", n.runs)
	r := n.Run(t, fmt.Sprintf("fastsyn bench --port %s %s --connect %s --count %d --concurrency %d --initial-rto 20s --duration 2m --polling adaptive --quiet --json %s",
		port, n.addrs(), addr(to, 80), count, 32*n.queues, file))
	require.Zero(t, r.Code, "%v", r)
	report := n.report(t, file)
	all(t, report, "established", count)
	// To a worker that knows nothing of it, the answer to a SYN is a reason for a RST.
	require.Zero(t, num(t, report, "retransmissions", "syn"), "%v", report["client"])
	require.Zero(t, num(t, report, "client", "engine", "segments_answered_reset"), "%v", report["client"])
	return report
}

func (n *nic) report(t *testing.T, file string) (r map[string]any) {
	t.Helper()
	b := n.ReadFile(t, file)
	require.NoError(t, json.Unmarshal(b, &r), "%s", b)
	require.Equal(t, true, r["valid"], "%s", b)
	return r
}

// counter is one of the device; those that are zero are left out of a report.
func counter(t *testing.T, r map[string]any, name string) int {
	t.Helper()
	if client, ok := r["client"].(map[string]any); ok {
		r = client
	}
	m, ok := r["device"].(map[string]any)
	require.True(t, ok, "no counters of the device in %v", r)
	if _, ok := m[name]; !ok {
		return 0
	}
	return num(t, m, name)
}

// spread says how the device hashes, as the tests assume it.
type spread struct {
	key  rss.Key
	reta rss.RETA
}

// inTurn is a table of 128 entries that repeats a pattern.
func inTurn(pattern ...uint16) rss.RETA {
	r := make(rss.RETA, 128)
	for i := range r {
		r[i] = pattern[i%len(pattern)]
	}
	return r
}

// queue predicts where a segment from this machine's kernel arrives.
func (s *spread) queue(from, to netip.AddrPort) int {
	h, src, dst := rss.New(s.key), wire.AddrFrom(from.Addr()), wire.AddrFrom(to.Addr())
	if src.Is4() {
		return int(s.reta.Queue(h.Hash4(src.V4(), dst.V4(), from.Port(), to.Port())))
	}
	return int(s.reta.Queue(h.Hash6(src.Hi, src.Lo, dst.Hi, dst.Lo, from.Port(), to.Port())))
}

// plan is how many flows each queue is to get over each IP version, such that a wrong
// prediction, which deals them out evenly, does not get it right by chance.
func plan(queues int) (p []int) {
	for q := range queues {
		p = append(p, 25+100*(q%2)+10*q)
	}
	return p
}

// dial opens flows from this machine's kernel to the guest, want[q] of them over
// each IP version whose segments s predicts for queue q. Each sends a request and reads the echo.
func (n *nic) dial(t *testing.T, s spread, want []int) (flows int) {
	t.Helper()
	for _, pair := range [][2]netip.Prefix{{n.lab.PeerAddr4, n.lab.Addr4}, {n.lab.PeerAddr6, n.lab.Addr6}} {
		to := netip.AddrPortFrom(pair[1].Addr(), 80)
		left := append([]int(nil), want...)
		total := 0
		for _, w := range want {
			total += w
		}
		for total > 0 {
			n.ports++
			from := netip.AddrPortFrom(pair[0].Addr(), n.ports)
			q := s.queue(from, to)
			if left[q] == 0 {
				continue
			}
			left[q]--
			total--
			flows++
			n.lab.InPeerNS(t, func() { echoFrom(t, from, to) })
		}
	}
	return flows
}

// echoFrom is one flow of a calling thread's namespace.
func echoFrom(t *testing.T, from, to netip.AddrPort) {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(from), Timeout: patience}
	c, err := d.Dial("tcp", to.String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	_, err = c.Write([]byte("three-way"))
	require.NoError(t, err)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "three-way", string(got))
}

// perQueue is how many flows the workers accepted.
func perQueue(t *testing.T, r map[string]any) (got []int) {
	t.Helper()
	list, ok := r["accepted_per_worker"].([]any)
	require.True(t, ok, "%v", r)
	for _, v := range list {
		got = append(got, int(v.(float64)))
	}
	return got
}

// twice is what a plan comes to over both IP versions.
func twice(want []int) (both []int) {
	for _, w := range want {
		both = append(both, 2*w)
	}
	return both
}

// affine requires that the device put every segment onto the queue that it belongs to.
func affine(t *testing.T, r map[string]any, segments int) {
	t.Helper()
	require.GreaterOrEqual(t, counter(t, r, "rss_checked"), segments, "%v", r)
	require.Zero(t, counter(t, r, "wrong_queue"), "%v", r)
	require.Zero(t, counter(t, r, "steered"), "%v", r)
}

// Two queues: every flow of either kind lives on one of them, the predicted one.
func TestNIC_TwoQueues(t *testing.T) {
	liar := liarLibrary(t)
	n := bootNIC(t, 2, virtio(2), guest.UIO, func(im *guest.Image) { require.NoError(t, im.Library(liar)) })
	acceptLoop(t, n.lab, ":80")
	want := plan(2)
	standard := spread{rss.SymmetricKey, inTurn(0, 1)}

	t.Run("accept", func(t *testing.T) {
		flows := 0
		r := n.serve(t, "", n.port("rss=on"), func() { flows = n.dial(t, standard, want) })
		require.Equal(t, twice(want), perQueue(t, r))
		affine(t, r, 3*flows) // SYN, ACK with the request, FIN
	})
	t.Run("connect", func(t *testing.T) {
		for _, to := range []netip.Prefix{n.lab.PeerAddr4, n.lab.PeerAddr6} {
			affine(t, n.bench(t, n.port("rss=on"), to, 500), 500)
		}
	})

	// Another key, which is not symmetric, and a table that is not the low bits
	// of the hash. The driver does not look (steer=off): the device alone decides.
	other := spread{rss.DefaultKey, inTurn(1, 0, 0, 1)}
	otherPort := n.port("rss=on", "rss-key=microsoft", "reta=1,0,0,1", "steer=off")
	t.Run("reta-and-key", func(t *testing.T) {
		r := n.serve(t, "", otherPort, func() { n.dial(t, other, want) })
		require.Equal(t, twice(want), perQueue(t, r))
		n.bench(t, otherPort, n.lab.PeerAddr4, 500)
		affine(t, n.bench(t, n.port("rss=on", "rss-key=microsoft", "reta=1,0,0,1"), n.lab.PeerAddr4, 500), 500)
	})

	// These tests notice: with the wrong key the predictions above are nothing.
	t.Run("wrong-key", func(t *testing.T) {
		r := n.serve(t, "", otherPort, func() { n.dial(t, standard, want) })
		got := perQueue(t, r)
		require.NotEqual(t, twice(want), got)
		require.InDelta(t, 0.5, float64(got[0])/float64(got[0]+got[1]), 0.2, "half and half: %v", got)
	})
	// And so does the driver, when the device has another key than it says.
	t.Run("device-lies", func(t *testing.T) {
		flows := 0
		r := n.serve(t, "env LD_PRELOAD="+liar+" ", n.port(), func() { flows = n.dial(t, standard, want) })
		require.Equal(t, twice(want), perQueue(t, r), "flows live where they belong all the same")
		wrong, checked := counter(t, r, "wrong_queue"), counter(t, r, "rss_checked")
		require.GreaterOrEqual(t, checked, 3*flows)
		require.InDelta(t, 0.5, float64(wrong)/float64(checked), 0.2, "half of %d: %d", checked, wrong)
		require.GreaterOrEqual(t, counter(t, r, "steered"), wrong)
	})
}

func TestNIC_FourQueues(t *testing.T) {
	n := bootNIC(t, 4, virtio(4), guest.UIO)
	acceptLoop(t, n.lab, ":80")
	want := plan(4)
	flows := 0
	r := n.serve(t, "", n.port("rss=on", "lcores=1-4"), func() { flows = n.dial(t, spread{rss.SymmetricKey, inTurn(0, 1, 2, 3)}, want) })
	require.Equal(t, twice(want), perQueue(t, r))
	affine(t, r, 3*flows)
	affine(t, n.bench(t, n.port("rss=on"), n.lab.PeerAddr4, 500), 500)
}

// A device without RSS: the driver says so, or does it itself.
func TestNIC_WithoutRSS(t *testing.T) {
	n := bootNIC(t, 2, "virtio-net-pci,disable-legacy=on,mq=on,rss=off,vectors=6", guest.UIO)
	acceptLoop(t, n.lab, ":80")
	r := n.Run(t, fmt.Sprintf("fastsyn serve --port %s %s --listen :80", n.port("rss=on"), n.addrs()))
	require.Equal(t, 1, r.Code, "%v", r)
	require.Contains(t, r.Err, "rss=on, but the device (net_virtio) cannot hash TCP")
	require.Contains(t, r.Err, "leave rss=on out")
	steered(t, n, 0)
}

// vmxnet3 takes key and table, reads them back, and puts everything onto queue 0.
func TestNIC_ClaimsRSS(t *testing.T) {
	n := bootNIC(t, 2, vmxnet3, guest.UIO)
	acceptLoop(t, n.lab, ":80")
	steered(t, n, 1)
}

// steered runs both kinds of flows on a device of two queues that does not
// spread them. lies is 1 if it pretends to.
func steered(t *testing.T, n *nic, lies int) {
	t.Helper()
	want, flows := plan(2), 0
	r := n.serve(t, "", n.port(), func() { flows = n.dial(t, spread{rss.SymmetricKey, inTurn(0, 1)}, want) })
	require.Equal(t, twice(want), perQueue(t, r), "flows live where they belong")
	require.GreaterOrEqual(t, counter(t, r, "rss_checked"), 3*flows)
	require.Positive(t, counter(t, r, "steered"))
	wrong := counter(t, r, "wrong_queue")
	if lies == 0 {
		require.Zero(t, wrong, "nothing was promised")
	} else {
		// All came to queue 0: wrong is what belongs to queue 1.
		require.GreaterOrEqual(t, wrong, 3*2*want[1])
	}
	r = n.bench(t, n.port(), n.lab.PeerAddr4, 500)
	require.Positive(t, counter(t, r, "steered"))
	require.Equal(t, lies != 0, counter(t, r, "wrong_queue") > 0)
}

func TestNIC_VFIO(t *testing.T) {
	n := bootNIC(t, 2, virtio(2), guest.VFIO)
	want, flows := plan(2), 0
	r := n.serve(t, "", n.port("rss=on", "iova=va"), func() { flows = n.dial(t, spread{rss.SymmetricKey, inTurn(0, 1)}, want) })
	require.Equal(t, twice(want), perQueue(t, r))
	affine(t, r, 3*flows)
}

// liarLibrary builds the library that makes a device lie about its key.
func liarLibrary(t *testing.T) string {
	t.Helper()
	dptest.Need(t, "dpdk") // before a compiler is missed
	lib := filepath.Join(t.TempDir(), "liar.so")
	flags, err := exec.Command("pkg-config", "--cflags", "libdpdk").Output()
	require.NoError(t, err)
	args := append(strings.Fields(string(flags)), "-shared", "-fPIC", "-O2", "-o", lib, filepath.Join("testdata", "liar.c"))
	out, err := exec.Command("gcc", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return lib
}
