//go:build dpdk && cgo && linux

package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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

	"github.com/fastsyn/fastsyn/dataplane/dpdk"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

var (
	yardCopy = flag.Bool("yardstick.copy", false, "memif without zero-copy: frames are copied on both sides")
	yardPGO  = flag.String("yardstick.pgo", "", "write the merged CPU profile of all fastsyn processes to this file (make pgo)")
)

// pair is two programs on the two ends of a memif, one core each, and what it must reach.
type pair struct {
	name   string
	want   float64 // share of the yardstick, or rate; 0: nothing is asked
	rate   bool    // want is a rate per second
	server []string
	client []string
	read   func(report *Report) float64 // nil: the client is flowgen, which says itself
}

// The pairs, the yardstick first.
var pairs = []pair{
	{name: "testpmd macswap <- testpmd flowgen (the yardstick), frames", server: []string{"testpmd", "macswap"}},
	{name: "fastsyn reflect <- testpmd flowgen, frames", want: 0.9, server: []string{"reflect"}},
	{
		name: "fastsyn reflect <- bench echo, frames", want: 0.9, server: []string{"reflect"},
		client: []string{"--scenario", "echo", "--peer-mac", "02:00:00:00:00:01"},
		read:   func(r *Report) float64 { return r.Rate.ReturnedPerS },
	},
	{
		name: "fastsyn serve --cookies always <- bench syn-flood, SYN-ACKs", want: 0.5,
		server: []string{"serve", "--addr", "198.18.0.1/15", "--listen", ":80", "--cookies", "always"},
		client: []string{"--scenario", "syn-flood", "--addr", "198.19.255.1/15", "--pool", "198.19.0.0/17", "--connect", "198.18.0.1:80"},
		read:   func(r *Report) float64 { return r.Rate.AnsweredPerS },
	},
	{
		name: "fastsyn serve <- bench handshake, open and RST", want: 4e6, rate: true,
		server: []string{"serve", "--addr", "198.18.0.1/15", "--listen", ":80"},
		client: []string{"--scenario", "handshake", "--addr", "198.19.255.1/15", "--pool", "198.19.0.0/24", "--connect", "198.18.0.1:80"},
		read:   func(r *Report) float64 { return r.Rate.HandshakesPerS },
	},
	{
		name: "fastsyn serve --app http <- bench http, transactions of 64 B", want: 2.5e6, rate: true,
		server: []string{"serve", "--addr", "198.18.0.1/15", "--listen", ":80", "--app", "http", "--http-body", "64", "--time-wait", "0"},
		client: []string{"--scenario", "http", "--addr", "198.19.255.1/15", "--pool", "198.19.0.0/24", "--connect", "198.18.0.1:80"},
		read:   func(r *Report) float64 { return r.Rate.TransactionsPerS },
	},
}

// BenchmarkMemifYardstick measures what fastsyn makes of a memif pair against
// what DPDK's own testpmd makes of the same: two processes, one core a side, rounds
// in which every pair has its turn, medians. It takes about a minute a round, wants
// two CPUs that do nothing else, and is run by make bench-dpdk.
func BenchmarkMemifYardstick(b *testing.B) {
	dptest.Need(b, "testpmd", "hugepages")
	cpus := worker.AllowedCPUs()
	if len(cpus) < 2 {
		b.Fatal("needs two CPUs, one for each side")
	}
	y := &yard{b: b, server: cpus[1], client: cpus[0], binary: *yardBinary, dir: b.TempDir()}
	y.build()
	y.load = loadAverage()
	results := make([]outcome, len(pairs))
	for round := range *yardRounds {
		for i := range pairs {
			rate, why := y.run(&pairs[i])
			results[i].rates = append(results[i].rates, rate)
			results[i].why = append(results[i].why, why)
			b.Logf("round %d: %12s/s  %s  %s", round+1, number(rate), pairs[i].name, why)
		}
	}
	table := y.table(results)
	fmt.Println(table)
	if *yardPGO != "" {
		y.mergeProfiles(*yardPGO)
	}
	if *yardOut != "" {
		require.NoError(b, os.WriteFile(*yardOut, []byte(table), 0o644))
	}
	b.ReportMetric(0, "ns/op")
	for i := range pairs[1:] {
		b.ReportMetric(results[i+1].median()/results[0].median(), "yardsticks-"+strconv.Itoa(i+1))
	}
}

// yard runs pairs.
type yard struct {
	b              *testing.B
	server, client int // CPUs
	binary         string
	testpmd        string
	dir            string
	load           string // before the first round
	profiles       []string
	runs           int
}

func (y *yard) build() {
	var err error
	if y.testpmd, err = exec.LookPath("dpdk-testpmd"); err != nil {
		y.testpmd, err = exec.LookPath("testpmd")
	}
	require.NoError(y.b, err)
	if y.binary != "" {
		return
	}
	y.binary = filepath.Join(y.dir, "fastsyn")
	cmd := exec.Command("go", "build", "-tags", "dpdk", "-pgo", "../cmd/fastsyn/fastsyn.pgo", "-o", y.binary, "../cmd/fastsyn")
	out, err := cmd.CombinedOutput()
	require.NoError(y.b, err, string(out))
}

// run runs a pair and returns the client's rate, and what it says limited it. The
// answering side is memif's client, which owns the memory of the rings: with
// zero-copy it works on frames where its peer has written them.
func (y *yard) run(p *pair) (rate float64, why string) {
	y.runs++
	socket := filepath.Join(y.dir, strconv.Itoa(y.runs)+".sock")
	var flowgen *process
	if p.client == nil {
		// Before the other side: a testpmd that finds nobody to connect to gives up.
		flowgen = y.startTestpmd("server", "flowgen", y.client, socket, "--stats-period=1")
		flowgen.waitFor(rxRate)
	}
	var server *process
	if p.server[0] == "testpmd" {
		server = y.startTestpmd(y.owner(), p.server[1], y.server, socket, "-i", "--auto-start")
		server.waitFor(regexp.MustCompile(`testpmd> *$`))
	} else {
		args := append(slices.Clone(p.server), "--port", y.port(y.owner(), y.server, socket), "--quiet")
		server = y.start(y.binary, append(args, y.profile()...)...)
		server.waitFor(regexp.MustCompile(`(?m)^(listening|reflecting) on .*$`))
	}
	if p.client == nil {
		rate = y.flowgen(flowgen)
	} else {
		rate, why = y.bench(p, socket)
	}
	// The flowgen last: a peer that goes away first can take testpmd with it, and
	// what becomes of the flowgen does not matter any more.
	if p.server[0] == "testpmd" {
		server.say("quit")
	} else {
		server.interrupt()
	}
	server.wait(true)
	if flowgen != nil {
		_ = flowgen.cmd.Process.Signal(syscall.SIGINT)
		flowgen.wait(false)
	}
	return rate, why
}

// owner is the memif role of the answering side.
func (y *yard) owner() string {
	if *yardCopy {
		return "client"
	}
	return "client,zero-copy=yes"
}

func (y *yard) port(role string, cpu int, socket string) string {
	return fmt.Sprintf("dpdk:net_memif0,role=%s,socket=%s,socket-abstract=no?lcores=%d&memory=256M&single-file=on", role, socket, cpu)
}

// profile is the flag that has a process of ours write a profile.
func (y *yard) profile() []string {
	if *yardPGO == "" {
		return nil
	}
	y.profiles = append(y.profiles, filepath.Join(y.dir, strconv.Itoa(len(y.profiles))+".prof"))
	return []string{"--cpuprofile", y.profiles[len(y.profiles)-1]}
}

func (y *yard) mergeProfiles(to string) {
	cmd := exec.Command("go", append([]string{"tool", "pprof", "-proto", "-output", to}, y.profiles...)...)
	out, err := cmd.CombinedOutput()
	require.NoError(y.b, err, string(out))
}

// startTestpmd starts testpmd with a forwarding core of its own; how says how it is controlled.
func (y *yard) startTestpmd(role, mode string, cpu int, socket string, how ...string) *process {
	args := []string{
		"--lcores", fmt.Sprintf("0@%d-%d,1@%d", min(y.server, y.client), max(y.server, y.client), cpu),
		"--no-pci", "--in-memory", "--no-telemetry", "--single-file-segments", "-m", "256",
		"--vdev", fmt.Sprintf("net_memif0,role=%s,socket=%s,socket-abstract=no", role, socket),
		"--", "--forward-mode=" + mode, "--nb-cores=1", "--burst=64", "--txd=1024", "--rxd=1024",
	}
	return y.start(y.testpmd, append(args, how...)...)
}

var rxRate = regexp.MustCompile(`Rx-pps:\s+(\d+)`)

// flowgen reads what comes back to a flowgen, which says it every second, and returns
// the mean. The first two seconds are left out: it connects in them.
func (y *yard) flowgen(c *process) float64 {
	for range 2 {
		c.waitFor(rxRate)
	}
	sum, n := 0.0, max(1, int(yardTime.Seconds()))
	for range n {
		pps, err := strconv.ParseFloat(c.waitFor(rxRate)[1], 64)
		require.NoError(y.b, err)
		sum += pps
	}
	return sum / float64(n)
}

// bench runs our client, whose report must be valid.
func (y *yard) bench(p *pair, socket string) (float64, string) {
	file := socket + ".json"
	args := append([]string{"bench"}, p.client...)
	args = append(args, y.profile()...)
	c := y.start(y.binary, append(args, "--port", y.port("server", y.client, socket), "--duration", yardTime.String(), "--quiet", "--json", file)...)
	c.wait(true)
	raw, err := os.ReadFile(file)
	require.NoError(y.b, err)
	var r Report
	require.NoError(y.b, json.Unmarshal(raw, &r))
	require.True(y.b, r.Valid, r.InvalidReason)
	return p.read(&r), r.Limiter
}

// table is what goes to bench/results.
func (y *yard) table(results []outcome) string {
	var w bytes.Buffer
	h := thisHost(worker.AllowedCPUs())
	fmt.Fprintf(&w, "# memif pair, two processes, one core a side: fastsyn against dpdk-testpmd over the same driver\n")
	fmt.Fprintf(&w, "# make bench-dpdk: %d rounds of %v for each pair, interleaved; frames of 64 bytes with FCS, bursts of 64, rings of 1024, %s\n",
		*yardRounds, *yardTime, y.memory())
	fmt.Fprintf(&w, "# cpu     %s, %d CPUs: server on %d, client on %d; load average before the first round %s\n", h.CPU, h.Cores, y.server, y.client, y.load)
	fmt.Fprintf(&w, "# kernel  %s    %s    %s    fastsyn %s\n#\n", h.Kernel, h.Go, dpdk.Version(), h.Commit)
	fmt.Fprintf(&w, "# %-60s %12s %12s %12s %12s  %s\n", "a second", "median", "least", "most", "x yardstick", "wanted")
	yardstick := results[0].median()
	for i, p := range pairs {
		o := &results[i]
		fmt.Fprintf(&w, "%-62s %12s %12s %12s %12.2f  %s\n", p.name, number(o.median()), number(slices.Min(o.rates)), number(slices.Max(o.rates)),
			o.median()/yardstick, pairVerdict(&p, o.median(), yardstick))
	}
	fmt.Fprintf(&w, "#\n# what limited, by the report nearest to the median\n")
	for i, p := range pairs {
		if why := results[i].limiter(); why != "" {
			fmt.Fprintf(&w, "# %s\n#     %s\n", p.name, why)
		}
	}
	return w.String()
}

func (y *yard) memory() string {
	if *yardCopy {
		return "frames copied on both sides"
	}
	return "the answering side owns the memory (zero-copy)"
}

func pairVerdict(p *pair, median, yardstick float64) string {
	got, text := median/yardstick, fmt.Sprintf("%.1fx", p.want)
	if p.rate {
		got, text = median, number(p.want)
	}
	switch {
	case p.want == 0:
		return "-"
	case got >= p.want:
		return text + ": reached"
	}
	return text + ": MISSED"
}

// process is a program that was started, and what it says.
type process struct {
	b    *testing.B
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
	at  int // read up to here
}

const patience = time.Minute

func (y *yard) start(name string, args ...string) *process {
	p := &process{b: y.b, cmd: exec.Command(name, args...), done: make(chan struct{})}
	var err error
	p.in, err = p.cmd.StdinPipe()
	require.NoError(y.b, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(y.b, err)
	p.cmd.Stderr = p.cmd.Stdout
	require.NoError(y.b, p.cmd.Start())
	go func() {
		defer close(p.done)
		r := bufio.NewReader(out)
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			p.mu.Lock()
			p.out.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	y.b.Cleanup(func() {
		if p.cmd.ProcessState == nil { // this one, and no other
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// waitFor waits until what was said since the last match matches, and returns the match.
func (p *process) waitFor(re *regexp.Regexp) []string {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		s := p.text()
		if m := re.FindStringSubmatchIndex(s[p.at:]); m != nil {
			out := re.FindStringSubmatch(s[p.at:])
			p.at += m[1]
			return out
		}
		select {
		case <-p.done:
			p.b.Fatalf("%s ended: %s", p.cmd, p.text())
		default:
		}
	}
	p.b.Fatalf("%s did not say %v within %v: %s", p.cmd, re, patience, p.text())
	return nil
}

func (p *process) say(line string) {
	_, err := io.WriteString(p.in, line+"\n")
	require.NoError(p.b, err)
}

func (p *process) interrupt() { require.NoError(p.b, p.cmd.Process.Signal(syscall.SIGINT)) }

// wait waits for the end; strictly, that must be a good one.
func (p *process) wait(strict bool) {
	select {
	case <-p.done:
	case <-time.After(patience + *yardTime):
		_ = p.cmd.Process.Kill()
		p.b.Errorf("%s did not end: %s", p.cmd, p.text())
	}
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if strict && err != nil || err != nil && !errors.As(err, &exit) {
		p.b.Fatalf("%s: %v: %s", p.cmd, err, strings.TrimSpace(p.text()))
	}
}
