package bench

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane"
)

// tube is a driver that is not loop, some of whose targets are wires.
type tube struct{ dataplane.Port }

func (t tube) Info() dataplane.Info {
	i := t.Port.Info()
	i.Driver = "tube"
	return i
}

func (tube) Counters() map[string]uint64 { return map[string]uint64{"tube_bends": 3, "tube_leaks": 0} }

func init() {
	dataplane.Register("tube", dataplane.Driver{
		Open: func(target string, p *dataplane.Params) (dataplane.Port, error) {
			queues := p.String("queues", "1")
			if err := p.Err(); err != nil {
				return nil, err
			}
			inner, err := dataplane.Open("loop:tube-" + target + "?ring=4096&frames=8192&queues=" + queues)
			if err != nil {
				return nil, err
			}
			return tube{inner}, nil
		},
		Example: "tube:wire=a",
		Wire:    func(target string) bool { return strings.HasPrefix(target, "wire=") },
	})
}

// Whether both ends are ours is for the driver to say, not for its name.
func TestWireOfAnyDriver(t *testing.T) {
	require.NoError(t, Config{Port: "tube:wire=a"}.Validate())
	require.ErrorContains(t, Config{Port: "tube:a"}.Validate(), "there is a peer behind this port")
	for _, scenario := range []string{ScenarioHandshake, ScenarioSYNFlood} {
		for _, port := range []string{"tube:wire=a", "tube:wire=b?queues=2", "impair(dup=1%,seed=3):tube:wire=c"} {
			t.Run(scenario+"/"+port, func(t *testing.T) {
				r := measure(t, Config{Port: port, Scenario: scenario, Count: 2000})
				require.NotNil(t, r.Server)
				want := map[string]uint64{"tube_bends": 3}
				require.Equal(t, want, r.Client.Device, "the device is asked through decorators")
				require.Equal(t, want, r.Server.Device)
				found := false
				for _, e := range r.Equations {
					found = found || e.Name == "frames sent by both ends = received by both + not received" && e.Left > 0
				}
				require.True(t, found)
			})
		}
	}
}
