//go:build linux

package bench

import (
	"flag"
	"os"
	"slices"
	"strings"
	"time"
)

// What the benchmarks that run several programs in turn have in common.
var (
	yardRounds = flag.Int("yardstick.rounds", 5, "rounds of a yardstick benchmark; each runs every pair once")
	yardTime   = flag.Duration("yardstick.time", 3*time.Second, "measuring time of each pair")
	yardOut    = flag.String("yardstick.out", "", "also write the table to this file")
	yardBinary = flag.String("yardstick.binary", "", "fastsyn to run (default: built from this tree as make release does)")
)

// outcome is what the rounds of a pair gave.
type outcome struct {
	rates []float64
	why   []string // limiter, for each
}

func (o *outcome) median() float64 {
	s := slices.Sorted(slices.Values(o.rates))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// limiter is that of the run nearest to the median.
func (o *outcome) limiter() string {
	m, best := o.median(), 0
	for i, r := range o.rates {
		if max(r-m, m-r) < max(o.rates[best]-m, m-o.rates[best]) {
			best = i
		}
	}
	return o.why[best]
}

// loadAverage is what other processes leave of the machine (proc_loadavg(5)).
func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(b), " ")
	return one
}
