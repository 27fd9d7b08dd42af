package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// State is the huge page set-up of a machine, as this process sees it.
type State struct {
	Pools        []Pool        `json:"pools"` // smallest pages first
	THP          THP           `json:"thp"`
	Mounts       []Mount       `json:"mounts"`
	Limits       Limits        `json:"limits"`
	Reservations []Reservation `json:"reservations"` // made by fastsyn, see Keeper
	Problems     []Problem     `json:"problems"`     // most costly first
}

// Level is how much a Problem matters.
type Level string

// The levels.
const (
	Warn Level = "warn" // costs performance, or something fails
	Note Level = "note" // matters to some uses only
)

// Problem is one thing that keeps huge pages from being had.
type Problem struct {
	Level Level  `json:"level"`
	What  string `json:"what"` // as found
	Cost  string `json:"cost"` // in one clause
	Fix   string `json:"fix"`  // a command, or what to ask for
}

func (p Problem) String() string { return p.What + ": " + p.Cost + "; " + p.Fix }

// Inspect reads the set-up of this machine. Wraps errors.ErrUnsupported on
// other systems than Linux.
func Inspect() (*State, error) {
	root, err := systemRoot()
	if err != nil {
		return nil, err
	}
	return InspectFS(root)
}

// InspectFS is Inspect on a copy of the root directory. Whatever this kernel does not
// have (pools, transparent huge pages, cgroups) is a Problem and no error.
func InspectFS(root fs.FS) (*State, error) {
	s := &State{Pools: []Pool{}, Mounts: []Mount{}, Reservations: []Reservation{}, Problems: []Problem{}}
	me, err := rightsFS(root)
	if err != nil {
		return nil, err
	}
	pools, err := PoolsFS(root)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.add(Warn, "the kernel has no hugetlb pools", "tables rest on transparent huge pages, DPDK needs --no-huge",
			"use a kernel with CONFIG_HUGETLBFS, and mount sysfs on /sys")
	case err != nil:
		return nil, err
	default:
		s.Pools = append(s.Pools, pools...)
	}
	if s.THP, err = THPFS(root); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	mounts, err := MountsFS(root)
	if err != nil {
		return nil, err
	}
	s.Mounts = append(s.Mounts, mounts...)
	if s.Limits, err = LimitsFS(root); err != nil {
		return nil, err
	}
	records, err := recordsFS(root, strings.TrimPrefix(StateDir, "/"))
	if err != nil {
		s.add(Warn, err.Error(), "what it added is not given back", "see "+StateDir)
	}
	for i := range records {
		records[i].Life = lifeFS(root, records[i].Owner)
		s.Reservations = append(s.Reservations, records[i])
	}
	s.judge(root, me)
	return s, nil
}

func (s *State) add(l Level, what, cost, fix string) {
	p := Problem{Level: l, What: what, Cost: cost, Fix: fix}
	at := len(s.Problems)
	for l == Warn && at > 0 && s.Problems[at-1].Level == Note {
		at--
	}
	s.Problems = append(s.Problems[:at], append([]Problem{p}, s.Problems[at:]...)...)
}

// judge finds the problems.
func (s *State) judge(root fs.FS, me rights) {
	s.judgePools()
	s.judgeTHP()
	for _, m := range s.Mounts {
		if !m.Usable {
			s.add(Note, fmt.Sprintf("%s (%s pages) is not writable for this user", m.Path, BytesText(m.Bytes)),
				"DPDK cannot make files there", fmt.Sprintf("as root: mount -o remount,rw,uid=%d,mode=0700 %s", me.uid, m.Path))
		}
	}
	if len(s.Mounts) == 0 && len(s.Pools) > 0 {
		s.add(Note, "no hugetlbfs is mounted", "arenas need none, DPDK without --in-memory does",
			"sudo fastsyn hugepages reserve --count 512 --mount /dev/hugepages")
	}
	if l := s.Limits; !l.MemlockUnlimited && l.Memlock < 64<<20 && !me.has(capIPCLock) {
		s.add(Note, fmt.Sprintf("RLIMIT_MEMLOCK is %s", BytesText(l.Memlock)),
			"locked arenas, AF_XDP rings and VFIO devices get no more", "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit")
	}
	if readOnlySys(root) {
		s.add(Note, "/sys is mounted read-only", "pages cannot be reserved from inside this container",
			"reserve on the host, or run the container with --privileged")
	} else if len(s.Pools) > 0 && me.uid != 0 && !me.has(capDACOverride) {
		s.add(Note, "this user is not root", "pages can be used, not reserved", "sudo fastsyn hugepages reserve --count 512")
	}
	for _, r := range s.Reservations {
		if r.Life == Dead {
			s.add(Warn, fmt.Sprintf("process %d died and left %d pages of %s reserved", r.Owner.PID, r.Pages(), BytesText(r.PageBytes)),
				"that memory is lost to everybody else", "sudo fastsyn hugepages release --stale")
		}
	}
}

func (s *State) judgePools() {
	for i := range s.Pools {
		p := &s.Pools[i]
		if p.Bytes == PageBytes {
			switch {
			case p.Total == 0 && p.Overcommit == 0:
				s.add(Note, "no 2 MiB pages are reserved", "arenas rest on transparent huge pages, DPDK does not start",
					"sudo fastsyn hugepages reserve --count 512")
			case p.Total > 0 && p.Available() == 0:
				s.add(Warn, fmt.Sprintf("all %d pages of 2 MiB are in use or promised", p.Total), "new arenas fall back to transparent huge pages",
					"sudo fastsyn hugepages reserve --count 512, or end who uses them: grep HugetlbPages /proc/[0-9]*/status | grep -v ' 0 kB'")
			}
		}
		var none, some []string
		for _, n := range p.Nodes {
			if n.Total == 0 {
				none = append(none, fmt.Sprint(n.Node))
			} else {
				some = append(some, fmt.Sprint(n.Node))
			}
		}
		if len(none) > 0 && len(some) > 0 {
			s.add(Warn, fmt.Sprintf("%s pages are on NUMA node %s only, none on %s", BytesText(p.Bytes), strings.Join(some, ","), strings.Join(none, ",")),
				"workers elsewhere read their tables across the interconnect",
				fmt.Sprintf("sudo fastsyn hugepages reserve --size %s --count 512 --node %s", short(p.Bytes), none[0]))
		}
	}
	for _, c := range s.Limits.Cgroup {
		p, err := find(s.Pools, c.Bytes)
		if err != nil || p.Available() == 0 || c.Left() >= p.Available() {
			continue
		}
		s.add(Warn, fmt.Sprintf("cgroup %s allows %d more pages of %s, the pool has %d", c.Group, c.Left(), BytesText(c.Bytes), p.Available()),
			"arenas beyond that fall back", fmt.Sprintf("as root: echo max > %s/%s", c.Group, c.File))
	}
}

func (s *State) judgeTHP() {
	switch t := s.THP; {
	case t.Mode == "":
		s.add(Note, "the kernel has no transparent huge pages", "tables outside the hugetlb pool rest on base pages",
			"use a kernel with CONFIG_TRANSPARENT_HUGEPAGE")
	case t.Mode == "never":
		s.add(Warn, "transparent huge pages are switched off", "tables outside the hugetlb pool rest on base pages: more TLB misses per lookup",
			"as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
	case t.Defrag == "never":
		s.add(Note, "transparent huge pages are never defragmented for", "on a fragmented machine arenas fill with base pages",
			"as root: echo madvise > /sys/kernel/mm/transparent_hugepage/defrag")
	}
}

// readOnlySys reports whether nr_hugepages cannot be written by anybody here.
func readOnlySys(root fs.FS) bool {
	mounts, err := mountInfo(root)
	if err != nil {
		return false
	}
	for i := range mounts {
		if m := &mounts[i]; m.fstype == "sysfs" && m.point == "/sys" {
			return m.has("ro")
		}
	}
	return false
}

// short writes a page size as the kernel's command line takes it: 2M, 1G, 64K.
func short(n uint64) string {
	units := []string{"", "K", "M", "G", "T", "P", "E"}
	u := 0
	for n >= 1024 && n%1024 == 0 {
		n, u = n/1024, u+1
	}
	return fmt.Sprint(n) + units[u]
}
