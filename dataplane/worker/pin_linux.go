package worker

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pin binds the calling thread to one CPU (sched_setaffinity(2)).
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("worker: pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// AllowedCPUs lists the CPUs the process may run on (sched_getaffinity(2)), nil
// if unknown. With more than 1024 CPUs it is unknown.
func AllowedCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(os.Getpid(), &set) != nil {
		return nil
	}
	var out []int
	for i, left := 0, set.Count(); left > 0; i++ {
		if set.IsSet(i) {
			out = append(out, i)
			left--
		}
	}
	return out
}
