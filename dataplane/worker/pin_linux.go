package worker

import (
	"fmt"

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
