package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane"
	"github.com/fastsyn/fastsyn/dataplane/loop"
	"github.com/fastsyn/fastsyn/dataplane/wire"
	"github.com/fastsyn/fastsyn/handshake"
)

// fastsynCmd runs the command in this process.
func fastsynCmd(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestHelpHasExamples(t *testing.T) {
	root := newRoot()
	code, out, _ := fastsynCmd(t)
	require.Zero(t, code)
	require.Contains(t, out, "Examples:")
	names := []string{}
	each(root, func(c *cobra.Command) {
		if !c.HasParent() {
			return
		}
		if c.Parent() == root {
			names = append(names, c.Name())
		}
		code, out, _ := fastsynCmd(t, append(strings.Fields(c.CommandPath())[1:], "--help")...)
		require.Zero(t, code, c.Name())
		require.Contains(t, out, "Examples:", c.Name())
		require.Contains(t, out, c.CommandPath(), c.Name())
		for _, flag := range flagNames(c) {
			require.Contains(t, out, "--"+flag)
		}
	})
	require.ElementsMatch(t, []string{"bench", "cookie", "devices", "doctor", "hugepages", "lab", "reflect", "rss", "serve", "trace", "version"}, names)
	for _, name := range []string{
		"port", "connect", "peer-mac", "addr", "gateway", "workers", "rate", "concurrency", "duration", "count", "seed", "scenario", "close",
		"cookies", "no-timestamps", "no-sack", "no-wscale", "retry", "ecn", "fail-fast", "json", "quiet", "pin", "polling", "cpuprofile", "i-own-this-network",
	} {
		require.NotNil(t, newBench().Flags().Lookup(name), name)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string
	}{
		{"bnech", `did you mean "bench"?`},
		{"frobnicate", "known: bench, cookie, devices, doctor, hugepages, lab, reflect, rss, serve, trace, version"},
		{"bench --duraton 5s", `did you mean "--duration"?`},
		{"bench --zzzzzzzzzz", "unknown flag --zzzzzzzzzz"},
		{"bench --duration", "needs an argument"},
		{"bench --duration soon", `invalid argument "soon"`},
		{"bench now", `unexpected argument "now"`},
		{"bench --scenario synflood", `did you mean "syn-flood"?`},
		{"bench --close fn", `did you mean "fin"?`},
		{"bench --rate -3", "0 for as fast as possible"},
		{"bench --rate 3 --load 1k", "--load 1k has rates of its own"},
		{"bench --load ramp:1k..2k", "stage 1: it has no time; write ramp:FROM..TO/TIME, such as ramp:1k..50k/30s"},
		{"bench --search p99<5", "write a time such as 5ms"},
		{"bench --ports 0-5", "from 1 to 65535"},
		{"bench --retry windows", "linux, linux-linear, bsd, textbook"},
		{"bench --retry bsd --syn-retries 7", "has 6 repetitions"},
		{"bench --retry bsd --initial-rto 2s", "has waits of its own"},
		{"bench --ecn yes", "passive, off, on"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --retry 1s,,2s", "--retry"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --retry bsd --syn-ack-retries 4", "has 3 repetitions"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --retry bsd --initial-rto 2s", "has waits of its own"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --ecn active", "one of: passive, on, off"},
		{"bench --port lop:", `did you mean "loop"?`},
		{"bench --port afpacket:veth0", "--connect IP:PORT"},
		{"bench --connect 10.0.0.9:80", "exists inside this process only"},
		{"bench --port afpacket:veth0 --connect 10.0.0.9:80", "--addr 10.0.0.3/24"},
		{"bench --port afpacket:veth0 --addr 10.0.0.3/24 --connect 8.8.8.8:53 --scenario syn-flood", "--i-own-this-network"},
		{"bench --drain -1s", "--no-drain"},
		{"bench --syn-retries -1", "0 to 30"},
		{"bench --port loop:?queues=2 --workers 3", "queues=2"},
		{"bench --scenario echo --port afpacket:veth0", "--peer-mac"},
		{"bench --scenario echo --peer-mac 02:00:00:00:00:01", "leave --peer-mac out for both ends in memory"},
		{"bench --scenario echo --port afpacket:veth0 --peer-mac 1", "one host"},
		{"serve", "--port is missing"},
		{"serve --port loop: --addr 10.0.0.2/24 --listen :80", "nobody is at its other end"},
		{"serve --port afpacket:veth0 --listen :80", "--addr is missing"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24", "--listen is missing"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen 80", ":PORT"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --app echo-one", `did you mean "echo-once"?`},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --app echo --proxy-protocol v2", "--proxy-protocol goes with --app proxy=HOST:PORT"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --http-root /", "--http-root goes with --app http"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --app http --http-root / --http-body 5", "--http-body: --http-root / says what is served"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --app http --http-body 2G", "--http-body"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --app proxy=x", "missing port"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --send-buffer 5", "--send-buffer"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --cookies alwys", `did you mean "always"?`},
		{"devices now", `unexpected argument "now"`},
		{"devices --port afpacket:veth0", "only devices of DPDK are probed"},
		{"devices --port dpdk", "lacks the colon"},
		{"devices --no-probe --port dpdk:net_null0", "the other has them probed"},
		{"trace", "--read FILE or --port PORT"},
		{"trace --read a --port b", "one of them"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --fastopen=65536", "--fastopen 65536: want 0 (off) to 65535"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --fastopen-key-file f", "no --fastopen"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --fastopen 1000", "--fastopen=1000"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --fastopen --cookies always", "use --cookies pressure or never"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --listener-half-open -1", "--listener-half-open -1: want"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --defer-accept 2h", "--defer-accept 2h0m0s: want at most 1h"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --callback-budget -1s", "--callback-budget -1s: want"},
		{"serve --port afpacket:veth0 --addr 10.0.0.2/24 --listen :80 --high-mark 5 --low-mark 10", "--low-mark 10 is above --high-mark 5"},
		{"bench --time-wait 5s", "add --close fin"},
		{"bench --scenario syn-flood --fastopen", "opens no connections"},
		{"bench --scenario http --fastopen", "last ACK"},
		{"bench --scenario http --close rst", "closed by FIN"},
		{"bench --scenario http --http-body -1", "want a number of bytes"},
		{"bench --scenario http --http-body 2G", "at most 1 GiB"},
		{"bench --http-body 7", "--scenario http"},
		{"trace --port loop:", "pcap=f.pcap"},
		{"trace --read a --count -1", "0 for no bound"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, out, err := fastsynCmd(t, strings.Fields(tc.args)...)
			require.Equal(t, exitUsage, code, err)
			require.Contains(t, err, tc.want)
			require.Contains(t, err, "--help")
			require.Empty(t, out)
		})
	}
}

func TestFailures(t *testing.T) {
	for args, want := range map[string]string{
		"trace --read /nonexistent.pcap":                                     "no such file",
		"serve --port afpacket:nonexistent0 --addr 10.0.0.2/24 --listen :80": "nonexistent0",
		"bench --port impair(loss=nix):loop:":                                "loss",
		"bench --cpuprofile /nonexistent/p":                                  "--cpuprofile",
	} {
		code, _, err := fastsynCmd(t, strings.Fields(args)...)
		require.Equal(t, exitFailure, code, err)
		require.Contains(t, err, want)
	}
}

func decode(t *testing.T, s string) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(s), &m), s)
	return m
}

// num digs a number out of nested JSON objects.
func num(t *testing.T, r map[string]any, path ...string) int {
	t.Helper()
	var v any = r
	for _, p := range path {
		m, ok := v.(map[string]any)
		require.True(t, ok, "%v in %v", path, r)
		v, ok = m[p]
		require.True(t, ok, "%v in %v", path, r)
	}
	f, ok := v.(float64)
	require.True(t, ok, "%v in %v", path, r)
	return int(f)
}

func TestBenchJSON(t *testing.T) {
	code, out, err := fastsynCmd(t, "bench", "--duration", "300ms", "--json", "-", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, err)
	r := decode(t, out)
	require.Equal(t, "fastsyn.report/v1", r["schema"])
	require.Equal(t, true, r["valid"])
	require.Positive(t, r["handshakes"].(map[string]any)["established"])
	require.NotContains(t, out, "VALID: all")

	code, out, err = fastsynCmd(t, "bench", "--scenario", "syn-flood", "--duration", "300ms", "--json", "-", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, err)
	r = decode(t, out)
	require.Equal(t, true, r["valid"])
	require.Positive(t, r["syn_flood"].(map[string]any)["answered"])

	code, out, err = fastsynCmd(t, "bench", "--scenario", "echo", "--duration", "300ms", "--json", "-", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, err)
	r = decode(t, out)
	require.Equal(t, true, r["valid"])
	require.Positive(t, r["echo"].(map[string]any)["returned"])
}

func TestBenchHTTP(t *testing.T) {
	for body, want := range map[string]int{"": 1024, "0": 0, "5K": 5120} {
		args := []string{"bench", "--scenario", "http", "--count", "500", "--json", "-", "--polling", "adaptive", "--pin", "off", "--http-requests", "2"}
		if body != "" {
			args = append(args, "--http-body", body)
		}
		code, out, err := fastsynCmd(t, args...)
		require.Zero(t, code, err)
		r := decode(t, out)
		require.Equal(t, true, r["valid"])
		require.Equal(t, want, num(t, r, "http", "body"))
		require.Equal(t, 500, num(t, r, "http", "complete"))
		require.Equal(t, 1000*want, num(t, r, "http", "content_bytes"))
	}
}

func TestBenchTextAndFiles(t *testing.T) {
	dir := t.TempDir()
	file, profile := filepath.Join(dir, "r.json"), filepath.Join(dir, "cpu.pprof")
	code, out, err := fastsynCmd(t, "bench", "--count", "1000", "--seed", "7", "--close", "fin", "--quiet", "--json", file, "--cpuprofile", profile, "--polling", "adaptive")
	require.Zero(t, code, err)
	require.Empty(t, err)
	require.Contains(t, out, "1,000 attempted = 1,000 established")
	require.Contains(t, out, "VALID: all sums close")
	b, e := os.ReadFile(file)
	require.NoError(t, e)
	require.EqualValues(t, 7, decode(t, string(b))["seed"])
	require.FileExists(t, profile)
}

// A search that finds nothing has failed, and says why.
func TestBenchSearchUnmet(t *testing.T) {
	code, out, err := fastsynCmd(t, "bench", "--search", "p50<1ns", "--search-range", "100..200", "--duration", "50ms", "--quiet", "--polling", "adaptive", "--pin", "off")
	require.Equal(t, 1, code)
	require.Contains(t, err, "search: p50<1ns is not met, not even at 100/s: p50<1ns is ")
	require.Contains(t, out, "missed           100/s")
}

func TestBenchLoad(t *testing.T) {
	code, out, err := fastsynCmd(t, "bench", "--load", "ramp:0..4k/100ms,hold:50ms", "--ports", "2000-2999", "--json", "-", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, err)
	r := decode(t, out)
	require.Equal(t, 400, num(t, r, "intended"))
	require.Equal(t, 400, num(t, r, "handshakes", "attempted")+num(t, r, "handshakes", "unsent"))
}

func TestBenchUnderLoss(t *testing.T) {
	code, out, err := fastsynCmd(t, "bench", "--port", "impair(loss=5%):loop:", "--count", "500", "--initial-rto", "5ms", "--syn-retries", "20",
		"--drain", "1m", "--json", "-", "--polling", "adaptive")
	require.Zero(t, code, err)
	h := decode(t, out)["handshakes"].(map[string]any)
	require.EqualValues(t, 500, h["established"])
	require.EqualValues(t, 500, h["attempted"])
}

func TestBenchProgress(t *testing.T) {
	code, _, err := fastsynCmd(t, "bench", "--duration", "1200ms", "--rate", "100", "--polling", "adaptive")
	require.Zero(t, code, err)
	require.Regexp(t, `\d\.\ds +[0-9.,]+/s  done [0-9,]+ +failed 0 +in flight \d+ +p50 \S+ +p99 `, err)
}

func TestVersion(t *testing.T) {
	code, out, _ := fastsynCmd(t, "version")
	require.Zero(t, code)
	require.Contains(t, out, "drivers: ")
	require.Contains(t, out, "loop")
	require.Contains(t, out, runtime.Version())
}

func TestSecretFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing here")
	}
	name := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(name, []byte("sixteen bytes or more\n"), 0o644))
	require.NoError(t, os.Chmod(name, 0o644))
	_, _, err := loadSecret(name)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(name, 0o600))
	s, _, err := loadSecret(name)
	require.NoError(t, err)
	require.True(t, s.IsSet())
	require.NoError(t, os.WriteFile(name, []byte("tooshortsecret"), 0o600))
	_, _, err = loadSecret(name)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "tooshortsecret")
}

// startServe serves on one end of a wire, which the command line refuses
// because nobody could reach it, and returns the other end and the outcome.
func startServe(t *testing.T, o *serveFlags) (dataplane.Port, func() (out string, err error)) {
	t.Helper()
	a, b, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	require.NoError(t, o.flags())
	o.cfg.Device, o.cfg.Port = a, "loop:test"
	o.cfg.Addrs = []string{"198.18.0.1/16"}
	o.listen, o.live.quiet = []string{":80"}, true
	require.NoError(t, o.live.check())
	cmd := newServe()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	ctx, cancel := context.WithCancel(context.Background())
	cmd.SetContext(ctx)
	done := make(chan error, 1)
	go func() { done <- o.serve(cmd) }()
	return b, func() (string, error) {
		cancel()
		err := <-done
		return out.String(), err
	}
}

func TestServe(t *testing.T) {
	for _, policy := range []string{"never", "always", "pressure"} {
		t.Run(policy, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "serve.json")
			other, stop := startServe(t, &serveFlags{app: "echo-once", cookies: policy, polling: "adaptive", print: true, json: file})
			got, why := make(chan string, 10), make(chan fastsyn.CloseReason, 10)
			ep, err := fastsyn.Open(fastsyn.Config{Device: other, Addrs: []string{"198.18.1.1/16"}, Source: func(int) fastsyn.Source {
				return &dialer{n: 5, got: got, why: why}
			}})
			require.NoError(t, err)
			for range 5 {
				select {
				case text := <-got:
					require.Equal(t, "hello", text)
				case <-time.After(time.Minute):
					t.Fatal("no echo within a minute")
				}
				select { // refused would mean that the server was there before its listener
				case reason := <-why:
					require.Equal(t, handshake.ReasonDone, reason)
				case <-time.After(time.Minute):
					t.Fatal("no end within a minute")
				}
			}
			ep.Stop()
			out, err := stop()
			require.NoError(t, err, out)
			require.NoError(t, ep.Close())
			require.Contains(t, out, "listening on :80 at 198.18.0.1/16")
			require.Equal(t, 5, strings.Count(out, "established 198.18.1.1:"), out)
			require.Contains(t, out, "mss 1460 wscale ")
			require.Contains(t, out, "VALID: all sums close")
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			r := decode(t, string(b))
			require.Equal(t, "fastsyn.serve/v1", r["schema"])
			require.Equal(t, true, r["valid"])
			h := r["handshakes"].(map[string]any)
			require.EqualValues(t, 5, h["accepted"])
			require.EqualValues(t, 25, r["streams"].(map[string]any)["bytes_in"])
			require.EqualValues(t, 25, r["streams"].(map[string]any)["bytes_out"])
			if policy == "always" {
				require.EqualValues(t, 5, h["cookies_ok"])
			}
		})
	}
}

// dialer opens n flows, says hello on each and passes on what comes back.
type dialer struct {
	n   int
	got chan string
	why chan fastsyn.CloseReason
	app uint16
	set bool
}

func (d *dialer) Poll(w *fastsyn.Worker, now int64) int64 {
	server := wire.Addr4(0xc6120001)
	if known, _, _ := w.Resolve(server); !known {
		return now + 1e6
	}
	if !d.set {
		d.set = true
		d.app, _ = w.AddApp(fastsyn.Callbacks{
			Bare:        true,
			Established: func(f *fastsyn.Flow) { f.Reply([]byte("hello"), false) },
			Data:        func(_ *fastsyn.Flow, p []byte) { d.got <- string(p) },
			Closed:      func(_ *fastsyn.Flow, why fastsyn.CloseReason) { d.why <- why },
			AutoClose:   true,
		})
	}
	for ; d.n > 0; d.n-- {
		t := wire.Tuple{Remote: server, RemotePort: 80, Local: wire.Addr4(0xc6120101), LocalPort: uint16(40000 + d.n)}
		if _, err := w.Connect(&t, d.app); err != nil {
			return now
		}
	}
	return 1 << 62
}

// A terminal that does not read costs lines, never the worker's time.
func TestPrinterDropsAndCounts(t *testing.T) {
	p := &printer{lines: make(chan fastsyn.Info, 2), done: make(chan struct{})}
	close(p.done)
	for range 5 {
		p.queue(&fastsyn.Info{})
	}
	require.EqualValues(t, 3, p.dropped.Load())
}

func TestDescribe(t *testing.T) {
	i := &fastsyn.Info{
		Tuple: wire.Tuple{Remote: wire.Addr4(0x0a000001), RemotePort: 4000, Local: wire.Addr4(0x0a000002), LocalPort: 80},
		MSS:   1460, WScale: true, SndShift: 7, RcvShift: 3, SACK: true, Timestamps: true, RTT: 52 * time.Microsecond, SndWnd: 64256, IRS: 1, ISS: 2, Cookie: true,
	}
	require.Equal(t, "established 10.0.0.1:4000 > 10.0.0.2:80 mss 1460 wscale 7,3 sack ts rtt 52µs win 64256 irs 1 iss 2 by cookie", describe(i))
}

// Both capture formats, read from a file and from standard input.
func TestTraceFile(t *testing.T) {
	dir := t.TempDir()
	frames := handshakeFrames()
	for name, write := range map[string]func(*testing.T, string, [][]byte){"pcap": writePcap, "pcapng": writePcapng} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "f."+name)
			write(t, file, frames)
			code, out, err := fastsynCmd(t, "trace", "--read", file)
			require.Zero(t, code, err)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			require.Len(t, lines, 3, out)
			require.Contains(t, lines[0], "IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [S], seq 1000,")
			require.Contains(t, lines[1], "Flags [S.], seq 5000, ack 1001,")
			require.Contains(t, lines[2], "Flags [.], ack 1,")

			code, out, err = fastsynCmd(t, "trace", "--read", file, "-S", "--count", "3")
			require.Zero(t, code, err)
			require.Contains(t, out, "ack 5001,")

			code, out, _ = fastsynCmd(t, "trace", "-r", file, "-c", "1")
			require.Zero(t, code)
			require.Equal(t, 1, strings.Count(out, "\n"))

			b, e := os.ReadFile(file)
			require.NoError(t, e)
			var stdout, stderr bytes.Buffer
			require.Zero(t, run(context.Background(), []string{"trace", "--read", "-"}, bytes.NewReader(b), &stdout, &stderr))
			require.Equal(t, 3, strings.Count(stdout.String(), "\n"))

			// Cut short: what is whole is printed, the rest is an error.
			require.NoError(t, os.WriteFile(file, b[:len(b)-7], 0o600))
			code, out, err = fastsynCmd(t, "trace", "--read", file)
			require.Equal(t, exitFailure, code)
			require.Equal(t, 2, strings.Count(out, "\n"))
			require.Contains(t, err, "frame 3")
		})
	}
	bad := filepath.Join(dir, "bad")
	require.NoError(t, os.WriteFile(bad, []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), 0o600))
	code, _, err := fastsynCmd(t, "trace", "--read", bad)
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "not a pcap or pcapng file")
}
