package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlace(t *testing.T) {
	auto := Config{Pin: "auto", Polling: "auto"}
	for name, tc := range map[string]struct {
		cfg     Config
		wants   [][]int
		free    []int
		workers int
		want    placement
	}{
		"two ends": {auto, [][]int{nil, nil}, []int{0, 1, 2, 3}, 2, placement{[2][]int{{0, 1}, {2, 3}}, true, true}},
		"one end":  {auto, [][]int{nil}, []int{0, 1, 2, 3}, 2, placement{[2][]int{{0, 1}}, true, true}},
		"too few":  {auto, [][]int{nil, nil}, []int{0, 1, 2}, 2, placement{}},
		"unknown":  {auto, [][]int{nil}, nil, 1, placement{}},
		"pin=off":  {Config{Pin: "off", Polling: "auto"}, [][]int{{1}}, []int{0, 1}, 1, placement{busy: true}},
		"busy":     {Config{Pin: "auto", Polling: "busy"}, [][]int{nil, nil}, []int{0}, 1, placement{busy: true}},
		"adaptive": {Config{Pin: "auto", Polling: "adaptive"}, [][]int{nil}, []int{0}, 1, placement{[2][]int{{0}}, true, false}},

		"the port's choice":         {auto, [][]int{{7, 6, 5}}, []int{0}, 2, placement{[2][]int{{7, 6}}, true, true}},
		"the client's port's":       {auto, [][]int{{1}, nil}, []int{0, 1}, 1, placement{[2][]int{{1}, {0}}, true, true}},
		"the server's port's":       {auto, [][]int{nil, {0}}, []int{0, 1}, 1, placement{[2][]int{{1}, {0}}, true, true}},
		"both want the same":        {auto, [][]int{{1}, {1}}, []int{0, 1}, 1, placement{[2][]int{{1}, {0}}, true, true}},
		"and nothing else is free":  {auto, [][]int{{1}, {1}}, []int{1}, 1, placement{}},
		"fewer than workers":        {auto, [][]int{{7}}, []int{0, 1}, 2, placement{[2][]int{{0, 1}}, true, true}},
		"beyond what we may use":    {auto, [][]int{{8, 9}, {10, 11}}, []int{0}, 2, placement{[2][]int{{8, 9}, {10, 11}}, true, true}},
		"the other end needs a CPU": {auto, [][]int{{1}, nil}, []int{1}, 1, placement{}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, place(&tc.cfg, tc.wants, tc.free, tc.workers))
		})
	}
}
