package fastsyn_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/dataplane/worker"
)

// Workers run where the configuration says, else where the port wants them, else anywhere.
func TestCPUs(t *testing.T) {
	all := worker.AllowedCPUs()
	require.NotEmpty(t, all)
	first, last := all[0], all[len(all)-1]
	for name, tc := range map[string]struct {
		port, cfg, want []int // want: CPU of each worker, -1 for any
	}{
		"nobody says":      {nil, nil, []int{-1, -1}},
		"the port says":    {[]int{last, first}, nil, []int{last, first}},
		"for one":          {[]int{last}, nil, []int{last, -1}},
		"the config wins":  {[]int{last, first}, []int{first, last}, []int{first, last}},
		"also for fewer":   {[]int{last, first}, []int{first}, []int{first, -1}},
		"and with nothing": {[]int{last, first}, []int{}, []int{-1, -1}},
	} {
		t.Run(name, func(t *testing.T) {
			port := dptest.NewPort(t, dptest.PortConfig{Queues: 2, CPUs: tc.port})
			ep, err := fastsyn.Open(fastsyn.Config{Device: port, Addrs: []string{"192.0.2.1/24"}, DAD: -1, CPUs: tc.cfg})
			require.NoError(t, err)
			for i, w := range ep.Workers() {
				var set unix.CPUSet
				var err error
				require.NoError(t, w.Do(func() { err = unix.SchedGetaffinity(0, &set) }))
				require.NoError(t, err)
				if want := tc.want[i]; want < 0 {
					require.Equal(t, len(all), set.Count(), "worker %d", i)
				} else {
					require.Equal(t, 1, set.Count(), "worker %d", i)
					require.True(t, set.IsSet(want), "worker %d", i)
				}
			}
			require.NoError(t, ep.Close())
		})
	}
}
