//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// What a report says is held against a peer whose behaviour is known, and against what the
// kernel of that peer has counted. A machine that stops for a second fails none of these: where time is compared,
// the longest response time of the report is the error allowed, and shares have the error of chance.

// truth runs bench and returns its report, whose sums close.
func truth(t *testing.T, lab *dptest.Lab, decorators string, args ...string) *measure.Report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bench.json")
	p := lab.Start(t, lab.NS, append([]string{
		command(t), "bench", "--port", decorators + portOf(t, lab, 1), "--addr", lab.Addr4.String(),
		"--json", file, "--quiet", "--pin", "off", "--dad", "200ms",
	}, args...)...)
	require.NoError(t, p.Wait(), "%s", p.Output())
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	r := new(measure.Report)
	require.NoError(t, json.Unmarshal(b, r))
	require.True(t, r.Valid, r.InvalidReason)
	return r
}

// snmp returns a counter of the peer's kernel as nstat names it, such as TcpPassiveOpens: since boot of the namespace.
func snmp(t *testing.T, lab *dptest.Lab, name string) uint64 {
	t.Helper()
	for _, line := range strings.Split(lab.Exec(t, lab.PeerNS, "nstat", "-asz", name), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, err := strconv.ParseUint(f[1], 10, 64)
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("nstat knows no %s", name)
	return 0
}

// rules has nft count, and do things to, the segments that come to the peer.
func rules(t *testing.T, lab *dptest.Lab, list ...string) {
	t.Helper()
	text := "table inet truth {\n chain in {\n type filter hook input priority 0;\n" + strings.Join(list, "\n") + "\n }\n}\n"
	file := filepath.Join(t.TempDir(), "truth.nft")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	lab.Exec(t, lab.PeerNS, "nft", "-f", file)
}

// counted returns the packets of the rule with that comment.
func counted(t *testing.T, lab *dptest.Lab, comment string) uint64 {
	t.Helper()
	for _, line := range strings.Split(lab.Exec(t, lab.PeerNS, "nft", "list", "table", "inet", "truth"), "\n") {
		if !strings.Contains(line, `comment "`+comment+`"`) {
			continue
		}
		_, after, _ := strings.Cut(line, "counter packets ")
		n, err := strconv.ParseUint(strings.Fields(after)[0], 10, 64)
		require.NoError(t, err, line)
		return n
	}
	t.Fatalf("no rule with the comment %q", comment)
	return 0
}

const countSYNs = `tcp flags & (syn|ack) == syn counter comment "syns"`

// sixSigma is what a share of n may be off by chance.
func sixSigma(share float64, n uint64) float64 { return 6 * math.Sqrt(share*(1-share)/float64(n)) }

// dumpSYNs has tcpdump capture the SYNs that come to the peer. stop returns when they came.
func dumpSYNs(t *testing.T, lab *dptest.Lab) (stop func(n int) []time.Time) {
	t.Helper()
	pcap := filepath.Join(t.TempDir(), "syns.pcap")
	dump := lab.Start(t, lab.PeerNS, "tcpdump", "-i", lab.PeerIf, "-Q", "in", "-U", "-s", "96", "-B", "16384", "-Z", "root", "-w", pcap,
		"tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn")
	dump.WaitFor(t, "listening on", patience)
	read := func() (at []time.Time) {
		f, err := os.Open(pcap)
		require.NoError(t, err)
		defer func() { _ = f.Close() }()
		r, err := pcapgo.NewReader(f)
		require.NoError(t, err)
		for {
			_, ci, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // the last one is being written
				return at
			}
			require.NoError(t, err)
			at = append(at, ci.Timestamp)
		}
	}
	return func(n int) []time.Time {
		require.Eventually(t, func() bool { return len(read()) >= n }, patience, 50*time.Millisecond, "tcpdump has not seen %d SYNs", n)
		require.NoError(t, dump.Signal(syscall.SIGINT))
		_ = dump.Wait()
		return read()
	}
}

// Each SYN comes to the peer when the schedule says, by the peer's clock, within the longest response time
// of the run; and the numbers in each tenth of a second are those of the schedule, within what that lets slip over its ends.
func TestTruth_Schedules(t *testing.T) {
	interop(t, "tcpdump", "nft")
	for _, tc := range []struct {
		load string
		n    int
		due  func(s float64) float64 // N(t): SYNs due after so many seconds
	}{
		{"2k/2s", 4000, func(s float64) float64 { return 2000 * s }},
		{"ramp:0..4k/2s", 4000, func(s float64) float64 { return 1000 * s * s }},
		{"step:500+500/500ms*4", 2500, func(s float64) float64 {
			k := math.Floor(s / 0.5)
			return 250*k*(k+1)/2 + (s-k*0.5)*500*(k+1)
		}},
		{"spike:500^5k@800ms/400ms", 2800, func(s float64) float64 {
			return 500*s + 4500*min(max(s-0.8, 0), 0.4)
		}},
		{"sine:0..4k/2s", 4000, func(s float64) float64 { return 2000*s - 2000/math.Pi*math.Sin(math.Pi*s) }},
	} {
		t.Run(tc.load, func(t *testing.T) {
			lab := dptest.NewLab(t)
			acceptLoop(t, lab, ":80")
			rules(t, lab, countSYNs)
			stop := dumpSYNs(t, lab)
			r := truth(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--load", tc.load, "--concurrency", "8192", "--initial-rto", "1m", "--drain", "30s")
			require.EqualValues(t, tc.n, r.Intended)
			require.Equal(t, r.Intended, r.Handshakes.Established+r.Handshakes.Unsent)
			sent := r.Handshakes.Attempted
			require.Equal(t, sent, counted(t, lab, "syns"), "SYNs that the peer counts")
			at := stop(int(sent))
			require.Len(t, at, int(sent))

			// Both ends read clocks that may be corrected meanwhile.
			off := time.Duration(r.Response.Max) + 2*time.Millisecond
			worst := time.Duration(0)
			bins := map[int]int{}
			for k := range at {
				took := at[k].Sub(at[0])
				bins[int(took.Seconds()*10)]++
				// SYN k was wanted after the first k were: N(took) is k, give or take.
				early, late := tc.due(max(0, (took-off).Seconds())), tc.due((took + off).Seconds())
				require.LessOrEqual(t, early, float64(k)+1.1, "SYN %d came after %v, later than %v too late", k, took, off)
				require.GreaterOrEqual(t, late, float64(k)-0.1, "SYN %d came after %v, more than %v too early", k, took, off)
				for worst < off && (tc.due(max(0, (took-worst).Seconds())) > float64(k)+1.1 || tc.due((took+worst).Seconds()) < float64(k)-0.1) {
					worst += 50 * time.Microsecond
				}
			}
			high := 0.0
			for i := range 20 {
				from, to := float64(i)/10, float64(i+1)/10
				want := tc.due(to) - tc.due(from)
				x := off.Seconds()
				more := tc.due(to+x) - tc.due(to) + tc.due(from) - tc.due(max(0, from-x))
				less := tc.due(to) - tc.due(max(0, to-x)) + tc.due(from+x) - tc.due(from)
				slip := max(more, less) + 2
				require.InDelta(t, want, bins[i], slip, "SYNs from %v s to %v s", from, to)
				high = max(high, math.Abs(float64(bins[i])-want))
			}
			t.Logf("no SYN more than %v from its time (allowed: %v); tenths of a second differ by at most %.0f SYNs", worst, off, high)
		})
	}
}

// The peer drops or refuses a tenth of the SYNs by chance. The report says as many as the peer's rule
// has counted, which is a tenth within six standard deviations.
func TestTruth_LossAndRefusal(t *testing.T) {
	interop(t, "nft")
	const n = 4000 // which fit in the listener's queue, should nobody accept for a while
	for _, tc := range []struct {
		name, rule string
		of         func(h *measure.Handshakes) uint64
	}{
		// The answer to a SYN is waited for as long as the run: a machine that stops loses none.
		{"loss", `drop`, func(h *measure.Handshakes) uint64 { return h.TimedOut + h.Pending }},
		{"refusal", `reject with tcp reset`, func(h *measure.Handshakes) uint64 { return h.Refused }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			lab := dptest.NewLab(t)
			acceptLoop(t, lab, ":80")
			rules(t, lab, countSYNs, `tcp flags & (syn|ack) == syn numgen random mod 100 < 10 counter `+tc.rule+` comment "lost"`)
			r := truth(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--load", "2k/2s", "--concurrency", "4000",
				"--syn-retries", "0", "--initial-rto", "1m", "--drain", "5s")
			require.EqualValues(t, n, r.Intended)
			h := &r.Handshakes
			require.Equal(t, h.Attempted, counted(t, lab, "syns"))
			lost := counted(t, lab, "lost")
			require.Equal(t, lost, tc.of(h))
			require.Equal(t, h.Attempted-lost, h.Established)
			require.InDelta(t, 0.1, float64(lost)/float64(h.Attempted), sixSigma(0.1, h.Attempted))
		})
	}
	// Our own decorator, seen by the peer: what it loses on the way out never comes there.
	t.Run("impair", func(t *testing.T) {
		lab := dptest.NewLab(t)
		acceptLoop(t, lab, ":80")
		rules(t, lab, countSYNs)
		r := truth(t, lab, "impair(loss=10%,seed=7,dir=tx):", "--connect", addr(lab.PeerAddr4, 80), "--load", "2k/2s", "--concurrency", "4000",
			"--syn-retries", "0", "--initial-rto", "1m", "--drain", "5s")
		h := &r.Handshakes
		came := counted(t, lab, "syns")
		require.Equal(t, h.Attempted-came, h.TimedOut+h.Pending)
		require.InDelta(t, 0.1, float64(h.TimedOut+h.Pending)/float64(h.Attempted), sixSigma(0.1, h.Attempted))
		require.Equal(t, came, h.Established)
	})
}

// A delay on the way is what the median is made of.
func TestTruth_Delay(t *testing.T) {
	interop(t)
	lab := dptest.NewLab(t)
	acceptLoop(t, lab, ":80")
	r := truth(t, lab, "impair(delay=20ms,seed=7,dir=tx):", "--connect", addr(lab.PeerAddr4, 80), "--load", "200/4s", "--initial-rto", "1m", "--drain", "30s")
	require.EqualValues(t, 800, r.Handshakes.Established)
	// The clock is read before a burst is taken, so that a stop just then hides itself: of the median no error is left.
	require.InDelta(t, 22*time.Millisecond, time.Duration(r.Latency.P50), float64(3*time.Millisecond))
}

// A server that stops for half a second, and a client that keeps four connections at most: by the schedule, what was
// to begin in that half second waits for its end, which is a tenth of all. Counted from the time they were sent it is
// four, and no percentile shows it.
func TestTruth_PausedServer(t *testing.T) {
	interop(t, "nginx", "nc")
	for _, tc := range []struct {
		scenario string
		to       string
		start    func(t *testing.T, lab *dptest.Lab) *dptest.Process
		service  func(r *measure.Report) measure.Latency // from the time of the SYN
	}{
		{
			"http", "10.71.0.2:80",
			func(t *testing.T, lab *dptest.Lab) *dptest.Process { return nginx(t, lab) },
			func(r *measure.Report) measure.Latency { return r.HTTP.Total },
		},
		{
			"handshake", "10.71.0.77:80",
			func(t *testing.T, lab *dptest.Lab) *dptest.Process {
				p := lab.Start(t, lab.PeerNS, command(t), "serve", "--port", "afpacket:"+lab.PeerIf, "--addr", "10.71.0.77/24", "--listen", ":80", "--dad", "200ms")
				p.WaitFor(t, "listening on", patience)
				return p
			},
			func(r *measure.Report) measure.Latency { return r.Latency },
		},
	} {
		t.Run(tc.scenario, func(t *testing.T) {
			lab := dptest.NewLab(t)
			const rate, seconds = 500, 5
			paused := pauseServer(t, lab, tc.start(t, lab), 1000)
			r := truth(t, lab, "", "--scenario", tc.scenario, "--connect", tc.to,
				"--load", fmt.Sprintf("%d/%ds", rate, seconds), "--concurrency", "4", "--drain", "30s")
			p := <-paused
			service := tc.service(r)
			require.Equal(t, r.Response.Count, service.Count)

			// What was wanted u before the end of the pause waits for u: rate times (pause - x) wait for x or longer.
			theory := func(quantile float64) time.Duration {
				return p - time.Duration((1-quantile)*float64(service.Count)/rate*1e9)
			}
			p99, p999 := time.Duration(r.Response.P99), time.Duration(r.Response.P999)
			t.Logf("paused for %v; response p99 %v (theory %v), p99.9 %v (theory %v), max %v; from the SYN: p99 %v, p99.9 %v, max %v", p,
				p99, theory(0.99), p999, theory(0.999), time.Duration(r.Response.Max),
				time.Duration(service.P99), time.Duration(service.P999), time.Duration(service.Max))
			require.Greater(t, theory(0.99), 400*time.Millisecond)
			// Nothing can be shorter, but for ten milliseconds in which a signal comes late; longer only by what the
			// machine itself stops.
			require.GreaterOrEqual(t, p99, theory(0.99)-10*time.Millisecond)
			require.GreaterOrEqual(t, p999, theory(0.999)-10*time.Millisecond)
			require.GreaterOrEqual(t, time.Duration(service.Max), p-100*time.Millisecond)
			require.Less(t, time.Duration(service.P99), p/4, "that is four of %d", service.Count)
		})
	}
}

// pauseServer stops a server for half a second once so many frames have come to the peer, and tells how long it was stopped at least.
func pauseServer(t *testing.T, lab *dptest.Lab, server *dptest.Process, frames int) <-chan time.Duration {
	t.Helper()
	received := func() int {
		out, _ := lab.Try(lab.PeerNS, "cat", "/sys/class/net/"+lab.PeerIf+"/statistics/rx_packets")
		n, _ := strconv.Atoi(strings.TrimSpace(out))
		return n
	}
	until := received() + frames
	paused := make(chan time.Duration, 1)
	go func() {
		for end := time.Now().Add(patience); time.Now().Before(end) && received() < until; {
			time.Sleep(10 * time.Millisecond)
		}
		_ = server.Signal(syscall.SIGSTOP)
		began := time.Now()
		time.Sleep(500 * time.Millisecond)
		over := time.Now()
		_ = server.Signal(syscall.SIGCONT)
		paused <- over.Sub(began)
	}()
	return paused
}

// The peer's kernel counts what we report: connections accepted, connections reset, SYNs that found the queue
// of the listener full.
func TestTruth_CountersOfThePeer(t *testing.T) {
	interop(t, "nft")
	const n = 4000
	for _, close := range []string{"rst", "fin"} {
		t.Run(close, func(t *testing.T) {
			lab := dptest.NewLab(t)
			acceptLoop(t, lab, ":80")
			rules(t, lab, countSYNs)
			r := truth(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--close", close, "--load", "ramp:1k..3k/2s", "--concurrency", "8192", "--drain", "30s")
			h := &r.Handshakes
			require.EqualValues(t, n, r.Intended)
			require.Equal(t, h.Attempted, h.Established)
			require.Equal(t, h.Attempted+r.Retransmissions.SYN, counted(t, lab, "syns"))
			require.Equal(t, h.Established, snmp(t, lab, "TcpPassiveOpens"))
			require.Equal(t, r.Flows.Aborted, snmp(t, lab, "TcpEstabResets"))
			if close == "fin" {
				require.Equal(t, h.Established, r.Flows.Done)
			}
			require.Zero(t, snmp(t, lab, "TcpExtListenDrops"))
		})
	}
	t.Run("full queue", func(t *testing.T) {
		lab := dptest.NewLab(t)
		rules(t, lab, countSYNs)
		lab.InPeerNS(t, func() {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			t.Cleanup(func() { _ = syscall.Close(fd) })
			require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: 80}))
			require.NoError(t, syscall.Listen(fd, 7)) // and nobody accepts
		})
		r := truth(t, lab, "", "--connect", addr(lab.PeerAddr4, 80), "--count", "50", "--concurrency", "1", "--syn-retries", "2", "--initial-rto", "20ms", "--drain", "30s")
		h := &r.Handshakes
		// One more than the backlog fits in; everything else, repetitions too, is dropped.
		require.EqualValues(t, 8, h.Established)
		require.EqualValues(t, 42, h.TimedOut)
		syns := counted(t, lab, "syns")
		require.Equal(t, h.Attempted+r.Retransmissions.SYN, syns)
		require.Equal(t, h.Established, snmp(t, lab, "TcpPassiveOpens"))
		require.Equal(t, syns-h.Established, snmp(t, lab, "TcpExtListenDrops"))
		require.Equal(t, syns-h.Established, snmp(t, lab, "TcpExtListenOverflows"))
	})
}
