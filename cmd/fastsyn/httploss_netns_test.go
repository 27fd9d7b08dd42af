//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// behind makes another namespace, of which the peer of lab is the router: what is forwarded
// can be dropped by its firewall as on a network, whereas a host is told of what its own firewall
// drops. It returns the name. The lab has to be made to forward.
func behind(t *testing.T, lab *dptest.Lab) string {
	t.Helper()
	ns := lab.PeerNS + "-behind"
	ip := func(args ...string) {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		require.NoError(t, err, "ip %v: %s", args, out)
	}
	ip("netns", "add", ns)
	t.Cleanup(func() { ip("netns", "del", ns) })
	ip("-n", lab.PeerNS, "link", "add", "r0", "type", "veth", "peer", "name", "c0", "netns", ns)
	for _, end := range []struct{ ns, dev, v4, v6 string }{{lab.PeerNS, "r0", "10.72.0.1/24", "fd72::1/64"}, {ns, "c0", "10.72.0.2/24", "fd72::2/64"}} {
		// One frame is one segment, to be dropped by itself.
		lab.Exec(t, end.ns, "ethtool", "-K", end.dev, "tso", "off", "gso", "off", "gro", "off", "tx", "off")
		ip("-n", end.ns, "addr", "add", end.v4, "dev", end.dev)
		ip("-n", end.ns, "addr", "add", end.v6, "dev", end.dev, "nodad")
		ip("-n", end.ns, "link", "set", end.dev, "up")
	}
	ip("-n", ns, "route", "add", "default", "via", "10.72.0.1")
	ip("-n", ns, "route", "add", "default", "via", "fd72::1")
	return ns
}

// Over a bad wire curl gets and puts what it would over a good one, once and in order: frames are
// lost, doubled and put out of order on our side of it, or lost at random in a router.
func TestHTTP_DAT_014_Loss(t *testing.T) {
	interop(t, "curl", "iptables", "ethtool")
	million := large() / 100
	for _, tc := range []struct {
		name, wire, router string
		down, up           int // less where much is lost: there TCP mostly waits
	}{
		{"loss 1%", "impair(loss=1%,dup=1%,reorder=2%,dir=both,seed=11):", "", 100 * million, 100 * million},
		{"loss 5%", "impair(loss=5%,dup=2%,reorder=5%,dir=both,seed=12):", "", 20 * million, 20 * million},
		{"loss 20%", "impair(loss=20%,dup=5%,reorder=10%,dir=both,seed=13):", "", 60_000, 60_000},
		{"loss 1% in a router", "", "0.01", 40 * million, 40 * million},
		{"loss 5% in a router", "", "0.05", 4 * million, 4 * million},
		{"loss 20% in a router", "", "0.2", 60_000, 60_000},
	} {
		t.Run("DAT-014 "+tc.name, func(t *testing.T) {
			var options []dptest.LabOption
			if tc.router != "" {
				options = append(options, dptest.LabSysctl("net.ipv4.ip_forward", "1"), dptest.LabSysctl("net.ipv6.conf.all.forwarding", "1"))
			}
			lab := dptest.NewLab(t, options...)
			client := lab.PeerNS
			cfg := fastsyn.Config{}
			if tc.router != "" {
				client = behind(t, lab)
				cfg.Gateways = []string{lab.PeerAddr4.Addr().String(), lab.PeerAddr6.Addr().String()}
				for _, ipt := range []string{"iptables", "ip6tables"} {
					lab.Exec(t, lab.PeerNS, ipt, "-A", "FORWARD", "-p", "tcp", "-m", "statistic", "--mode", "random", "--probability", tc.router, "-j", "DROP")
				}
			}
			for _, a := range []string{lab.Addr4.Addr().String(), lab.Addr6.Addr().String()} { // ARP and NDP do not repeat often enough
				lab.Exec(t, lab.PeerNS, "ip", "neigh", "replace", a, "lladdr", lab.MAC.String(), "dev", lab.PeerIf)
			}
			// fetch runs curl against site, and returns the counters and how long it took.
			fetch := func(site *http1.Site, content func(p []byte), curl ...string) (worker.Stats, http1.Counters, time.Duration) {
				app := newHTTPApp(site, 1, http1.Limits{})
				app.servers[0].Content = content
				ep, stop := inProcess(t, lab, tc.wire, cfg, app.callbacks())
				begin := time.Now()
				out := lab.Exec(t, client, append([]string{"curl", "-gsS", "-m", "55", "-w", "%{http_code}"}, curl...)...)
				took := time.Since(begin)
				require.Equal(t, "200", out)
				stop()
				s, c := ep.Stats()[0], app.counters()
				require.Empty(t, s.Check())
				require.NoError(t, c.Check(0))
				require.EqualValues(t, 1, c.Responses)
				return s, c, took
			}
			down, up := randomText(tc.down), randomText(tc.up)
			dir := t.TempDir()
			file, got := filepath.Join(dir, "up"), filepath.Join(dir, "down")
			require.NoError(t, os.WriteFile(file, up, 0o600))

			s, _, took := fetch(http1.Fixed("text/plain", down), nil, "-o", got, "http://"+lab.Addr4.Addr().String()+"/")
			b, err := os.ReadFile(got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(down, b), "%d bytes", len(b))
			require.NotZero(t, s.Streams.Resent)
			t.Logf("down in %v: %d segments, %d resent, %d timeouts, %d tail probes, %d recoveries", took,
				s.Streams.TextOut, s.Streams.Resent, s.Streams.Timeouts, s.Streams.TailProbes, s.Streams.Recoveries)

			sum := sha256.New()
			s, c, took := fetch(http1.Fixed("text/plain", []byte("ok")), func(p []byte) { sum.Write(p) },
				"-o", os.DevNull, "-T", file, "http://["+lab.Addr6.Addr().String()+"]/")
			want := sha256.Sum256(up)
			require.Equal(t, want[:], sum.Sum(nil))
			require.Zero(t, s.Streams.NoRoom)
			require.NotZero(t, s.Streams.Ahead, "text came out of order")
			require.EqualValues(t, tc.up, c.Content)
			t.Logf("up in %v: %d in order, %d filled, %d ahead, %d duplicate", took, s.Streams.InOrder, s.Streams.Filled, s.Streams.Ahead, s.Streams.Duplicate)
			if tc.router != "" {
				for _, ipt := range []string{"iptables", "ip6tables"} {
					require.Regexp(t, `(?m)^\s+[1-9]\d*\s+\d+\s+DROP`, lab.Exec(t, lab.PeerNS, ipt, "-L", "FORWARD", "-v", "-x", "-n"))
				}
			}
		})
	}
}
