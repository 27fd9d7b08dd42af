package bench

import "slices"

// placement says where the workers of both ends run, and how they wait.
type placement struct {
	on     [2][]int // of the client's and the server's workers; empty: not pinned
	pinned bool     // all of them
	busy   bool
}

// place decides for workers at each end of a run, of which there are one or two. wants
// has the CPUs that the port of each end asks for (dataplane.Info.CPUs), free
// those that this process may use. An explicit --pin or --polling comes first,
// then the ports' wishes, then what is free. Two ends that want the same CPUs, as those
// of one process with DPDK do, cannot both have them.
func place(c *Config, wants [][]int, free []int, workers int) (p placement) {
	enough := true
	for end, want := range wants {
		if len(want) >= workers && !slices.ContainsFunc(want[:workers], func(cpu int) bool { return slices.Contains(p.on[0], cpu) }) {
			p.on[end] = want[:workers]
			free = without(free, p.on[end])
		}
	}
	for end := range wants {
		switch {
		case len(p.on[end]) > 0:
		case len(free) >= workers:
			p.on[end], free = free[:workers], free[workers:]
		default:
			enough = false
		}
	}
	p.busy = c.Polling == "busy" || c.Polling == "auto" && enough
	p.pinned = c.Pin == "auto" && enough
	if !p.pinned {
		p.on = [2][]int{}
	}
	return p
}

func without(list, these []int) []int {
	return slices.DeleteFunc(slices.Clone(list), func(cpu int) bool { return slices.Contains(these, cpu) })
}
