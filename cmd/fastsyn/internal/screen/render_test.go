package screen

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

var update = flag.Bool("update", false, "rewrite testdata")

// hist is a histogram of values around those given.
func hist(name string, ns ...int64) bench.Distribution {
	var q bench.Quick
	for _, v := range ns {
		q.Record(v)
	}
	return bench.Distribution{Name: name, Hist: q.Distribution(name).Hist}
}

func loaded(id int, halfOpen, established, cookies uint64) worker.Stats {
	s := worker.Stats{Worker: id}
	s.Engine.HalfOpen, s.Engine.EstablishedNow, s.Engine.Cookies = halfOpen, established, cookies
	return s
}

func states() map[string]*State {
	bench2 := &State{
		Progress: bench.Progress{
			Elapsed: 12 * time.Second, PerS: 3_912_345, Done: 46_912_345, Failed: 17, InFlight: 512, Interval: time.Second,
			Now: bench.Snapshot{
				Scenario: "handshake", What: "handshakes", Port: "loop:?queues=2", Phase: bench.PhaseSending, Concurrency: 512, TargetRate: 4e6,
				Ends: []bench.End{
					{Name: "client", Workers: []worker.Stats{loaded(0, 0, 3, 0), loaded(1, 0, 2, 0)}},
					{Name: "server", Workers: []worker.Stats{loaded(0, 200, 40, 0), loaded(1, 56, 2, 0)}},
				},
			},
			PerWorker: []bench.Pace{{PerS: 2_000_345}, {PerS: 1_912_000}},
			Load:      [][]float64{{0.98, 0.5}, {1, 0}},
			Window:    []bench.Distribution{hist("latency", 42_000, 42_000, 43_000, 78_000, 4_300_000), hist("response", 50_000, 9_000_000), hist("first_byte")},
			Drops:     map[string]uint64{"rx_missed": 1234, "arp_ignored": 2, "bad_checksum": 1234},
			Limiter:   "both processors, the server's first: client worker busy 98 %, server worker busy 100 %, and longer bursts wait for the server (64 frames to 31).",
		},
		History: []float64{0, 1e6, 2e6, 3e6, 4e6, 3.9e6, 3.9e6},
	}
	serve := &State{
		Progress: bench.Progress{
			Elapsed: 3725 * time.Second, PerS: 48.5, Done: 1_203, Failed: 3, InFlight: 7, Interval: 1001 * time.Millisecond,
			Now: bench.Snapshot{
				Scenario: "serve", What: "handshakes", Port: "afpacket:veth0", Phase: bench.PhaseSending,
				Ends: []bench.End{{Name: "server", Workers: []worker.Stats{loaded(0, 7, 120, 900)}}},
			},
			PerWorker: []bench.Pace{{PerS: 48.5}},
			Load:      [][]float64{{0.07}},
			Window:    []bench.Distribution{hist("handshake_rtt", 152_000, 152_000, 3_200_000)},
			Limiter:   "nothing here: the busiest worker has work 7 % of the time.",
		},
		History: []float64{48.5},
		Notes:   []string{"proxy: dial tcp 127.0.0.1:8443: connection refused; the client is reset, and this and the next such flows are counted"},
	}
	serve.Now.Ends[0].Workers[0].Engine.UnderPressure = 1
	many := &State{Progress: bench.Progress{Now: bench.Snapshot{
		Scenario: "echo", What: "frames", Port: "dpdk:net_memif0,role=client", Peer: "02:00:00:00:00:01",
		Ends: []bench.End{{Name: "client", Workers: make([]worker.Stats, 12)}},
	}, Load: [][]float64{make([]float64, 12)}}}
	return map[string]*State{"bench": bench2, "serve": serve, "many": many}
}

// The view at three widths, with block characters and without, is what testdata has.
func TestRender(t *testing.T) {
	for name, s := range states() {
		for _, width := range []int{40, 80, 120} {
			for _, unicode := range []bool{true, false} {
				file := fmt.Sprintf("%s-%d", name, width)
				if !unicode {
					file += "-ascii"
				}
				t.Run(file, func(t *testing.T) {
					lines := Render(s, Style{Width: width, Height: 40, Unicode: unicode})
					text := strings.Join(lines, "\n") + "\n"
					path := filepath.Join("testdata", file+".txt")
					if *update {
						require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
					}
					want, err := os.ReadFile(path)
					require.NoError(t, err)
					require.Equal(t, string(want), text, "go test ./cmd/fastsyn/internal/screen -update")
				})
			}
		}
	}
}

// No window is too small, no line too wide, nothing moves the cursor, and colours end where they begin.
func TestRenderFits(t *testing.T) {
	for name, s := range states() {
		s.Now.Port += "\x1b[2J\r\n"
		for width := 0; width < 140; width += 1 + width/20 {
			for _, height := range []int{1, 3, 30} {
				for _, color := range []bool{true, false} {
					lines := Render(s, Style{Width: width, Height: height, Color: color, Unicode: true})
					require.LessOrEqual(t, len(lines), height)
					for _, l := range lines {
						require.LessOrEqual(t, columns(l), max(width, minWidth), "%s at %d: %q", name, width, l)
						bare := strings.NewReplacer(string(bold), "", string(dim), "", reset, "").Replace(l)
						require.NotContains(t, bare, "\x1b")
						require.NotContains(t, bare, "\r")
						if !color {
							require.Equal(t, bare, l)
						}
						require.Equal(t, strings.Count(l, string(bold))+strings.Count(l, string(dim)), strings.Count(l, reset))
					}
				}
			}
		}
	}
}

// What is drawn of nothing is little, and no division by zero.
func TestRenderEmpty(t *testing.T) {
	lines := Render(&State{}, Style{Width: 60, Height: 20, Unicode: true})
	require.NotEmpty(t, lines)
	require.Contains(t, strings.Join(lines, "\n"), "done 0")
}
