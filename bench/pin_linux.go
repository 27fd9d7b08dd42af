package bench

import "golang.org/x/sys/unix"

// pin binds the calling thread to one CPU (sched_setaffinity(2)).
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}
