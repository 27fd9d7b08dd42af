package dpdk

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// noDevice is an allow-list entry that matches nothing we would open: DPDK
// probes every PCI device that is bound to a user-space driver unless told
// of one to allow. Function 0 of slot 0 is the host bridge.
const noDevice = "0000:00:00.0"

// defaultNoHuge is how much ordinary memory stands in for huge pages: it is
// reserved as addresses and used as touched.
const defaultNoHuge = 512 << 20

// args returns the arguments of rte_eal_init without the program name. cpus are
// those this process may run on.
func (c *EALConfig) args(cpus []int) []string {
	// One lcore for DPDK itself, beside the CPUs of the workers. These register
	// their own threads.
	home := slices.DeleteFunc(slices.Clone(cpus), func(cpu int) bool { return slices.Contains(c.LCores, cpu) })
	if len(home) == 0 {
		home = cpus
	}
	a := []string{"--lcores=0@(" + join(home) + ")", "--no-telemetry"}
	switch {
	case c.FilePrefix != "":
		a = append(a, "--file-prefix="+c.FilePrefix)
	case c.NoHuge: // which --in-memory does not go with
		a = append(a, "--no-shconf", "--file-prefix="+ownPrefix())
	default:
		a = append(a, "--in-memory")
	}
	mem := c.Memory
	if c.NoHuge {
		a = append(a, "--no-huge")
		if mem == 0 && c.SocketMem == nil {
			mem = defaultNoHuge
		}
	}
	if mem != 0 {
		a = append(a, "-m", strconv.FormatInt((mem+1<<20-1)>>20, 10))
	}
	if c.SocketMem != nil {
		var s []string
		for _, n := range c.SocketMem {
			s = append(s, strconv.FormatInt((n+1<<20-1)>>20, 10))
		}
		a = append(a, "--socket-mem="+strings.Join(s, ","))
	}
	if c.HugeDir != "" {
		a = append(a, "--huge-dir="+c.HugeDir)
	}
	if c.IOVA != "" {
		a = append(a, "--iova-mode="+c.IOVA)
	}
	if c.SingleFile {
		a = append(a, "--single-file-segments")
	}
	for _, d := range append([]string{noDevice}, c.Allow...) {
		a = append(a, "--allow="+d)
	}
	for _, d := range c.VDevs {
		a = append(a, "--vdev="+d)
	}
	return append(a, c.Args...)
}

// ownPrefix names a run that nobody else is to find.
func ownPrefix() string { return "fastsyn-" + strconv.Itoa(os.Getpid()) }

func join(cpus []int) string {
	var s []string
	for _, c := range cpus {
		s = append(s, strconv.Itoa(c))
	}
	return strings.Join(s, ",")
}

// agree says which setting of a later port contradicts how the EAL was started.
// What the later port leaves out is as it is.
func (c *EALConfig) agree(later *EALConfig) error {
	for _, s := range []struct {
		key       string
		have, ask string
	}{
		{"lcores", join(c.LCores), join(later.LCores)},
		{"memory", number(c.Memory), number(later.Memory)},
		{"socket-mem", fmt.Sprint(c.SocketMem), fmt.Sprint(later.SocketMem)},
		{"no-huge", yes(c.NoHuge), yes(later.NoHuge)},
		{"huge-dir", c.HugeDir, later.HugeDir},
		{"file-prefix", c.FilePrefix, later.FilePrefix},
		{"vdev", strings.Join(c.VDevs, ";"), strings.Join(later.VDevs, ";")},
		{"allow", strings.Join(c.Allow, ","), strings.Join(later.Allow, ",")},
		{"iova", c.IOVA, later.IOVA},
		{"single-file", yes(c.SingleFile), yes(later.SingleFile)},
		{"eal", strings.Join(c.Args, " "), strings.Join(later.Args, " ")},
	} {
		if s.ask != "" && s.ask != "[]" && s.ask != s.have {
			have := s.have
			if have == "" || have == "[]" {
				have = "nothing"
			}
			return fmt.Errorf("dpdk: %s=%s, but DPDK was started for an earlier port with %s=%s and starts once in a process; give both ports the same, or leave it out at the later one",
				s.key, s.ask, s.key, have)
		}
	}
	return nil
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func yes(b bool) string {
	if b {
		return "on"
	}
	return ""
}
