//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench/http1"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// childEnv has the test binary be a net/http server instead: its value is the address and the
// length of the body.
const childEnv = "FASTSYN_BENCH_SERVER"

func TestMain(m *testing.M) {
	if s := os.Getenv(childEnv); s != "" {
		if err := childServer(strings.Fields(s)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childServer serves until it is interrupted.
func childServer(args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	body := http1.FixedText(size)
	ln, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	length := strconv.Itoa(size)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(body)
	})}
	fmt.Println("listening")
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// webPair is a client and a server, one core each, on the two ends of a veth pair.
type webPair struct {
	name   string
	server string // fastsyn, net/http or iperf3; empty: both ends in memory
	client string // fastsyn, wrk or iperf3
	body   int
	vs     int     // row that it is measured against, this one if none
	want   float64 // times that; 0: nothing is asked
	bulk   bool    // bytes a second by one flow
}

const bulkBody = 256 << 20

var webPairs = []webPair{
	{name: "bench http, both ends in memory, two cores", client: "fastsyn", body: 1024},
	{name: "net/http on the kernel <- bench http", server: "net/http", client: "fastsyn", body: 1024, vs: 1},
	{name: "fastsyn serve on AF_PACKET <- bench http", server: "fastsyn", client: "fastsyn", body: 1024, vs: 1, want: 2},
	{name: "net/http on the kernel <- wrk on the kernel", server: "net/http", client: "wrk", body: 1024, vs: 3},
	{name: "fastsyn serve on AF_PACKET <- wrk on the kernel", server: "fastsyn", client: "wrk", body: 1024, vs: 3, want: 2},
	{name: "bulk: bench http, both ends in memory", client: "fastsyn", body: bulkBody, bulk: true, vs: 5},
	{name: "bulk: iperf3, kernel <- kernel", server: "iperf3", client: "iperf3", bulk: true, vs: 6},
	{name: "bulk: net/http on the kernel -> bench http", server: "net/http", client: "fastsyn", body: bulkBody, bulk: true, vs: 6},
	{name: "bulk: fastsyn serve on AF_PACKET -> bench http", server: "fastsyn", client: "fastsyn", body: bulkBody, bulk: true, vs: 6},
}

// BenchmarkHTTPYardstick measures HTTP transactions and the throughput of one flow beside
// those of the kernel, in rounds in which every pair has its turn. It is run by make
// bench-http, wants root and two CPUs that do nothing else, and takes half a minute a round.
func BenchmarkHTTPYardstick(b *testing.B) {
	dptest.Need(b, "netns", "ip", "wrk", "iperf3")
	cpus := worker.AllowedCPUs()
	if len(cpus) < 2 {
		b.Fatal("needs two CPUs, one for each side")
	}
	y := &webYard{b: b, server: cpus[1], client: cpus[0], binary: *yardBinary, dir: b.TempDir(), lab: dptest.NewLab(b)}
	y.build()
	y.load = loadAverage()
	results := make([]outcome, len(webPairs))
	for round := range *yardRounds {
		for i := range webPairs {
			rate, why := y.run(&webPairs[i])
			if why != "" {
				why = "; " + why
			}
			why = y.cores + why
			results[i].rates = append(results[i].rates, rate)
			results[i].why = append(results[i].why, why)
			b.Logf("round %d: %14s  %s  %s", round+1, webRate(&webPairs[i], rate), webPairs[i].name, why)
		}
	}
	table := y.table(results)
	fmt.Println(table)
	if *yardOut != "" {
		require.NoError(b, os.WriteFile(*yardOut, []byte(table), 0o644))
	}
	b.ReportMetric(0, "ns/op")
	for i, p := range webPairs {
		if p.want > 0 {
			b.ReportMetric(results[i].median()/results[p.vs].median(), p.client+"-times")
		}
	}
}

type webYard struct {
	b              *testing.B
	lab            *dptest.Lab
	server, client int // CPUs
	binary, dir    string
	load           string
	cores          string // how busy they were in the last run
}

// core is the time of a CPU, in ticks (proc_stat(5)).
type core struct{ busy, all uint64 }

func coreTime(tb testing.TB, cpu int) (c core) {
	tb.Helper()
	b, err := os.ReadFile("/proc/stat")
	require.NoError(tb, err)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] != "cpu"+strconv.Itoa(cpu) {
			continue
		}
		for i, s := range f[1:9] { // up to steal; guests are in user
			n, err := strconv.ParseUint(s, 10, 64)
			require.NoError(tb, err)
			c.all += n
			if i != 3 && i != 4 { // idle, iowait
				c.busy += n
			}
		}
	}
	return c
}

// watch takes note of how busy the cores are until the returned function is called.
func (y *webYard) watch() (done func()) {
	cpus := [2]int{y.server, y.client}
	var before [2]core
	for i, cpu := range cpus {
		before[i] = coreTime(y.b, cpu)
	}
	return func() {
		var share [2]float64
		for i, cpu := range cpus {
			now := coreTime(y.b, cpu)
			share[i] = 100 * float64(now.busy-before[i].busy) / float64(max(1, now.all-before[i].all))
		}
		y.cores = fmt.Sprintf("server's core %.0f %% busy, client's %.0f %%", share[0], share[1])
	}
}

// Addresses on the link beside those of the lab, which are for bench and net/http.
const (
	webServer = "10.71.0.3" // fastsyn's
	webWrk    = "10.71.0.4" // the kernel's, on the side of clients
)

func (y *webYard) build() {
	if y.binary == "" {
		y.binary = filepath.Join(y.dir, "fastsyn")
		cmd := exec.Command("go", "build", "-pgo", "../cmd/fastsyn/fastsyn.pgo", "-o", y.binary, "../cmd/fastsyn")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		require.NoError(y.b, err, string(out))
	}
	lab := y.lab
	lab.Exec(y.b, lab.NS, "ip", "addr", "add", webWrk+"/24", "dev", lab.If)
	// What a side receives is worked on by the core of that side, not by the core that sent it.
	for ns, path := range map[string]string{
		lab.NS:     fmt.Sprintf("echo %x > /sys/class/net/%s/queues/rx-0/rps_cpus", 1<<y.client, lab.If),
		lab.PeerNS: fmt.Sprintf("echo %x > /sys/class/net/%s/queues/rx-0/rps_cpus", 1<<y.server, lab.PeerIf),
	} {
		lab.Exec(y.b, ns, "sh", "-c", path)
	}
	for _, s := range []string{"net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1"} {
		lab.Exec(y.b, lab.NS, "sysctl", "-q", "-w", s)
	}
	for _, s := range []string{"net.core.somaxconn=4096", "net.ipv4.tcp_max_syn_backlog=4096"} {
		lab.Exec(y.b, lab.PeerNS, "sysctl", "-q", "-w", s)
	}
}

// on starts a program on a CPU in a namespace.
func (y *webYard) on(ns string, cpu int, args ...string) *dptest.Process {
	return y.lab.Start(y.b, ns, append([]string{"taskset", "-c", strconv.Itoa(cpu)}, args...)...)
}

// run runs a pair and returns the rate, and what limited it as far as that is known.
func (y *webYard) run(p *webPair) (rate float64, why string) {
	to := y.lab.PeerAddr4.Addr().String()
	switch p.server {
	case "":
		return y.bench(p, "", "taskset", "-c", fmt.Sprintf("%d,%d", y.client, y.server))
	case "iperf3":
		s := y.on(y.lab.PeerNS, y.server, "iperf3", "-s", "-1", "--forceflush")
		s.WaitFor(y.b, "Server listening", patienceHTTP)
		done := y.watch()
		out := y.lab.Exec(y.b, y.lab.NS, "taskset", "-c", strconv.Itoa(y.client), "iperf3", "-c", to, "-R", "-J", "-t", strconv.Itoa(max(1, int(yardTime.Seconds()))))
		done()
		require.NoError(y.b, s.Wait(), s.Output())
		var r struct {
			End struct {
				Received struct {
					BitsPerSecond float64 `json:"bits_per_second"`
				} `json:"sum_received"`
			} `json:"end"`
		}
		require.NoError(y.b, json.Unmarshal([]byte(out), &r), out)
		return r.End.Received.BitsPerSecond / 8, ""
	}
	self, err := os.Executable()
	require.NoError(y.b, err)
	serve := []string{"env", fmt.Sprintf("%s=%s %d", childEnv, net.JoinHostPort(to, "80"), p.body), self}
	if p.server == "fastsyn" {
		to = webServer
		// Room for the tuples of a client in TIME-WAIT.
		serve = []string{
			y.binary, "serve", "--port", "afpacket:" + y.lab.PeerIf, "--addr", to + "/24", "--listen", ":80", "--dad", "0",
			"--app", "http", "--http-body", strconv.Itoa(p.body), "--max-flows", "262144",
		}
	}
	s := y.on(y.lab.PeerNS, y.server, serve...)
	s.WaitFor(y.b, "listening", patienceHTTP)
	if p.client == "wrk" {
		rate, why = y.wrk(to)
	} else {
		rate, why = y.bench(p, to, "ip", "netns", "exec", y.lab.NS, "taskset", "-c", strconv.Itoa(y.client))
	}
	require.NoError(y.b, s.Signal(syscall.SIGINT))
	require.NoError(y.b, s.Wait(), s.Output())
	return rate, why
}

const patienceHTTP = 30 * time.Second

// bench runs our client by way of prefix, against to or a server of its own.
func (y *webYard) bench(p *webPair, to string, prefix ...string) (float64, string) {
	file := filepath.Join(y.dir, "report.json")
	args := append(slices.Clone(prefix), y.binary, "bench", "--scenario", "http", "--http-body", strconv.Itoa(p.body),
		"--duration", yardTime.String(), "--quiet", "--json", file)
	if p.bulk {
		args = append(args, "--concurrency", "1")
	}
	if to != "" {
		args = append(args, "--port", "afpacket:"+y.lab.If, "--addr", y.lab.Addr4.String(), "--connect", net.JoinHostPort(to, "80"), "--dad", "0")
	}
	done := y.watch()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	done()
	require.NoError(y.b, err, string(out))
	raw, err := os.ReadFile(file)
	require.NoError(y.b, err)
	var r Report
	require.NoError(y.b, json.Unmarshal(raw, &r))
	require.True(y.b, r.Valid, r.InvalidReason)
	require.Equal(y.b, r.HTTP.Attempted, r.HTTP.Complete+r.HTTP.Pending, "%+v", r.HTTP)
	if p.bulk {
		return r.Rate.ContentBytesPerS, r.Limiter
	}
	return r.Rate.TransactionsPerS, r.Limiter
}

var wrkRate = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)

// wrk runs wrk, which sees responses and knows of no FIN.
func (y *webYard) wrk(to string) (float64, string) {
	done := y.watch()
	out := y.lab.Exec(y.b, y.lab.NS, "taskset", "-c", strconv.Itoa(y.client), "wrk", "-t1", "-c256", "-d", strconv.Itoa(max(1, int(yardTime.Seconds())))+"s",
		"-H", "Connection: close", "http://"+to+"/")
	done()
	m := wrkRate.FindStringSubmatch(out)
	require.NotNil(y.b, m, out)
	rate, err := strconv.ParseFloat(m[1], 64)
	require.NoError(y.b, err)
	why := ""
	for line := range strings.Lines(out) {
		if strings.Contains(line, "Socket errors") || strings.Contains(line, "Non-2xx") {
			why = strings.TrimSpace(line)
		}
	}
	return rate, why
}

func webRate(p *webPair, rate float64) string {
	if p.bulk {
		return bytesText(rate) + "/s"
	}
	return number(rate)
}

// table is what goes to bench/results.
func (y *webYard) table(results []outcome) string {
	var w bytes.Buffer
	h := thisHost(worker.AllowedCPUs())
	fmt.Fprintf(&w, "# HTTP: connections a second (open, GET, 200 with 1024 bytes, FIN close), and the throughput of one flow, beside the kernel\n")
	fmt.Fprintf(&w, "# make bench-http: %d rounds of %v for each pair, interleaved; veth pair, MTU 1500, no offloads; one core a side, which RPS gives what its side receives;\n",
		*yardRounds, *yardTime)
	fmt.Fprintf(&w, "# 256 connections in flight, bulk: one, of %s each. fastsyn: serve --app http; net/http: GOMAXPROCS 1, Content-Length set by the handler\n", bytesText(bulkBody))
	fmt.Fprintf(&w, "# cpu     %s, %d CPUs: server on %d, client on %d; load average before the first round %s\n", h.CPU, h.Cores, y.server, y.client, y.load)
	fmt.Fprintf(&w, "# kernel  %s    %s    fastsyn %s\n#\n", h.Kernel, h.Go, h.Commit)
	fmt.Fprintf(&w, "# %-48s %12s %12s %12s %9s  %s\n", "a second", "median", "least", "most", "x kernel", "wanted")
	for i, p := range webPairs {
		o := &results[i]
		times, wanted := "-", "-"
		if p.vs != i && p.vs > 0 {
			x := o.median() / results[p.vs].median()
			times = fmt.Sprintf("%.2f", x)
			if p.want > 0 {
				wanted = fmt.Sprintf("%gx: MISSED", p.want)
				if x >= p.want {
					wanted = fmt.Sprintf("%gx: reached", p.want)
				}
			}
		}
		fmt.Fprintf(&w, "%-50s %12s %12s %12s %9s  %s\n", p.name, webRate(&p, o.median()), webRate(&p, slices.Min(o.rates)), webRate(&p, slices.Max(o.rates)), times, wanted)
	}
	fmt.Fprintf(&w, "#\n# what limited, by the run nearest to the median: what the cores did (bench polls, so its core is always busy), and what bench says of itself\n")
	for i, p := range webPairs {
		if why := results[i].limiter(); why != "" {
			fmt.Fprintf(&w, "# %s\n#     %s\n", p.name, why)
		}
	}
	return w.String()
}
