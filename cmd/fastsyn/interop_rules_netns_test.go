//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/wire"
)

// find returns the groups of re in s.
func find(t *testing.T, re, s string) []string {
	t.Helper()
	m := regexp.MustCompile(re).FindStringSubmatch(s)
	require.NotNil(t, m, "%s in\n%s", re, s)
	return m[1:]
}

// What an application is told of a flow is what the kernel at the other end
// says of it (ss), and what was on the wire (tcpdump).
func TestInterop_HND_003_FactsOfAFlow(t *testing.T) {
	interop(t, "ss", "tcpdump")
	for _, tc := range []struct {
		name, policy string
		sysctls      []string
	}{
		{"all options", "never", nil},
		{"by cookie", "always", nil},
		{"no options", "never", []string{"net.ipv4.tcp_timestamps=0", "net.ipv4.tcp_sack=0", "net.ipv4.tcp_window_scaling=0"}},
		{"small segments", "never", []string{"net.ipv4.tcp_window_scaling=1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lab := dptest.NewLab(t)
			for _, s := range tc.sysctls {
				lab.Exec(t, lab.PeerNS, "sysctl", "-q", s)
			}
			if tc.name == "small segments" {
				lab.Exec(t, lab.PeerNS, "ip", "route", "change", "10.71.0.0/24", "dev", lab.PeerIf, "advmss", "700")
			}
			dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-nn", "-S", "-l", "tcp")
			dump.WaitFor(t, "listening on", patience)
			s := serve(t, lab, "", "--app", "echo-once", "--print", "--cookies", tc.policy)
			echo(t, lab, addr(lab.Addr4, 80), func(local netip.AddrPort) {
				s.WaitFor(t, "established ", patience)
				line := find(t, `(established .*)`, s.Output())[0]
				ss := lab.Exec(t, lab.PeerNS, "ss", "-tinoH", "sport", "=", ":"+strconv.Itoa(int(local.Port())))
				what := line + "\n" + ss
				require.Contains(t, line, local.String(), what)
				require.Contains(t, line, addr(lab.Addr4, 80), what)

				has := func(re string) bool { return regexp.MustCompile(re).MatchString(ss) }
				require.Equal(t, has(`\bts\b`), strings.Contains(line, " ts"), what)
				require.Equal(t, has(`\bsack\b`), strings.Contains(line, " sack"), what)
				require.Equal(t, tc.policy == "always", strings.Contains(line, " by cookie"), what)
				if has(`\bwscale:`) { // the kernel's sending shift is our receiving one
					kernel, ours := find(t, `wscale:(\d+),(\d+)`, ss), find(t, ` wscale (\d+),(\d+)`, line)
					require.Equal(t, []string{kernel[1], kernel[0]}, ours, what)
				} else {
					require.NotContains(t, line, "wscale", what)
				}
				dump.WaitFor(t, "[.]", patience) // the ACK that opened the flow
				out := dump.Output()
				syn := find(t, `Flags \[S\], seq (\d+),.*\bmss (\d+)`, out)
				synAck := find(t, `Flags \[S\.\], seq (\d+), ack (\d+)`, out)
				require.Equal(t, []string{syn[1]}, find(t, ` mss (\d+)`, line), "what we may send: %s", what)
				require.Equal(t, []string{syn[0], synAck[0]}, find(t, ` irs (\d+) iss (\d+)`, line), "%s\n%s", what, out)
				require.Equal(t, tc.name == "small segments", syn[1] == "700", out)
			})
			s.stop(t)
		})
	}
}

// A server that was started anew knows nothing of the flows before: the kernel
// hears of it when it sends.
func TestInterop_RST_015_ServerForgets(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	s := serve(t, lab, "")
	lab.InPeerNS(t, func() {
		for _, to := range []netip.Prefix{lab.Addr4, lab.Addr6} {
			c, err := net.DialTimeout("tcp", addr(to, 80), patience)
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
			s.stop(t)
			s = serve(t, lab, "")
			_, err = c.Write([]byte("still there?"))
			require.NoError(t, err)
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		}
	})
	r := s.stop(t)
	require.Equal(t, 0, num(t, r, "handshakes", "accepted"))
}

// timeWaits is how many flows the peer's kernel has in TIME-WAIT.
func timeWaits(t *testing.T, lab *dptest.Lab) int {
	return strings.Count(lab.Exec(t, lab.PeerNS, "ss", "-tanH", "state", "time-wait"), "\n")
}

// A generator that aborts leaves no TIME-WAIT at either end: the ports of one
// address are enough for a second run at once.
func TestInterop_TWT_013_AbortsLeaveNoTimeWait(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	const n = 40_000
	for range 2 {
		r := bench(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--close", "rst", "--count", strconv.Itoa(n), "--concurrency", "256", "--duration", "5m")
		all(t, r, "established", n)
		require.Zero(t, timeWaits(t, lab))
	}
}

// closeFirst is a kernel listener that closes what it accepts, and so gets the TIME-WAIT.
func closeFirst(t *testing.T, lab *dptest.Lab, at string) {
	t.Helper()
	kernelListener(t, lab, &net.ListenConfig{}, at, func(net.Conn) {})
}

// repeater opens one tuple over and over.
type repeater struct {
	tuple wire.Tuple
	left  int
	app   uint16
	begun bool
	open  bool
	ended chan fastsyn.CloseReason
	fails chan error
}

func (r *repeater) Poll(w *fastsyn.Worker, _ int64) int64 {
	if !r.begun {
		r.begun = true
		r.app, _ = w.AddApp(fastsyn.Callbacks{Bare: true, Closed: func(_ *fastsyn.Flow, why fastsyn.CloseReason) {
			r.open = false
			r.ended <- why
		}})
	}
	if !r.open && r.left > 0 {
		r.left--
		if _, err := w.Connect(&r.tuple, r.app); err != nil {
			r.fails <- err
			return 1<<63 - 1
		}
		r.open = true
	}
	return 1<<63 - 1
}

// One tuple again and again, though the kernel at the other end keeps each of its
// flows in TIME-WAIT: our sequence numbers and timestamps grow, so it lets the next one in.
func TestInterop_TWT_012_OneTupleAgain(t *testing.T) {
	interop(t, "ss")
	lab := dptest.NewLab(t)
	closeFirst(t, lab, ":80")
	const n = 50
	r := &repeater{
		tuple: wire.Tuple{
			Remote: wire.AddrFrom(lab.PeerAddr4.Addr()), RemotePort: 80,
			Local: wire.AddrFrom(lab.Addr4.Addr()), LocalPort: 40000,
		},
		left: n, ended: make(chan fastsyn.CloseReason, n), fails: make(chan error, 1),
	}
	var ep *fastsyn.Endpoint
	lab.InNS(t, func() {
		var err error
		ep, err = fastsyn.Open(fastsyn.Config{
			Port: fmt.Sprintf("afpacket:%s", lab.If), Addrs: []string{lab.Addr4.String()}, DAD: -1,
			Source: func(int) fastsyn.Source { return r },
		})
		require.NoError(t, err)
	})
	defer func() { require.NoError(t, ep.Close()) }()
	begin := time.Now()
	for i := range n {
		select {
		case why := <-r.ended:
			require.Equal(t, "done", why.String(), "flow %d", i)
		case err := <-r.fails:
			t.Fatal(err)
		case <-time.After(patience):
			t.Fatalf("flow %d does not end", i)
		}
	}
	took := time.Since(begin)
	require.Less(t, took, n/2*time.Second, "two a second, and TIME-WAIT is a minute")
	require.Eventually(t, func() bool { return timeWaits(t, lab) == 1 }, patience, 20*time.Millisecond, "one tuple")
	ep.Stop()
	c := ep.Stats()[0].Engine
	require.EqualValues(t, n, c.Connected)
	// A SYN that the kernel takes for an old one is answered by an ACK, which we reset.
	// One that is lost on a busy machine is only sent again.
	require.Zero(t, c.ResetsSent, "every SYN is good enough: %+v", c)
}
