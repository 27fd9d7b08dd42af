package hugepages

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits bound what this process can have.
type Limits struct {
	// Memlock is RLIMIT_MEMLOCK, getrlimit(2), in bytes. It bounds mlock, memory
	// registered with devices (AF_XDP, RDMA, VFIO) and, without CAP_IPC_LOCK,
	// SHM_HUGETLB. The hugetlb mappings of arenas do not count against it.
	Memlock          uint64 `json:"memlock_bytes"`
	MemlockUnlimited bool   `json:"memlock_unlimited"`
	// Cgroup lists the hugetlb limits that are set, from our cgroup upwards.
	Cgroup []CgroupLimit `json:"cgroup"`
}

// CgroupLimit is a limit of the hugetlb controller for one page size, see
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/hugetlb.rst of the kernel.
type CgroupLimit struct {
	Group   string `json:"group"`      // directory of the cgroup
	File    string `json:"file"`       // the file in it, which raises the limit
	Bytes   uint64 `json:"page_bytes"` // of one page
	Max     uint64 `json:"max_bytes"`
	Current uint64 `json:"current_bytes"`
	// Promise: the limit is for reserving (mmap fails), not for touching (SIGBUS).
	Promise bool `json:"promise"`
}

// Left returns the pages that the limit still allows.
func (c CgroupLimit) Left() uint64 {
	if c.Current >= c.Max || c.Bytes == 0 {
		return 0
	}
	return (c.Max - c.Current) / c.Bytes
}

// LimitsFS reads them for this process from a copy of the root directory.
func LimitsFS(root fs.FS) (Limits, error) {
	var l Limits
	b, err := fs.ReadFile(root, "proc/self/limits")
	if err != nil {
		return Limits{}, fmt.Errorf("hugepages: limits: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Max locked memory"); ok {
			f := strings.Fields(v)
			if len(f) == 0 {
				return Limits{}, fmt.Errorf("hugepages: limits: %q: no value", strings.TrimSpace(line))
			}
			if l.MemlockUnlimited = f[0] == "unlimited"; !l.MemlockUnlimited {
				if l.Memlock, err = strconv.ParseUint(f[0], 10, 64); err != nil {
					return Limits{}, fmt.Errorf("hugepages: limits: %w", err)
				}
			}
		}
	}
	l.Cgroup, err = cgroupLimits(root)
	return l, err
}

// cgroupLimits walks from our cgroups to the roots of their hierarchies.
func cgroupLimits(root fs.FS) ([]CgroupLimit, error) {
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without cgroups
	}
	if err != nil {
		return nil, fmt.Errorf("hugepages: cgroup: %w", err)
	}
	mounts, err := mountInfo(root)
	if err != nil {
		return nil, err
	}
	var out []CgroupLimit
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path, cgroups(7)
		if len(f) != 3 || (f[1] != "" && !slices.Contains(strings.Split(f[1], ","), "hugetlb")) {
			continue
		}
		v2 := f[1] == ""
		for i := range mounts {
			m := &mounts[i]
			if v2 && m.fstype != "cgroup2" || !v2 && (m.fstype != "cgroup" || !m.has("hugetlb")) {
				continue
			}
			// A mount may show a part of the hierarchy only, as in containers.
			rel, ok := strings.CutPrefix(f[2], strings.TrimSuffix(m.root, "/"))
			if !ok {
				rel = ""
			}
			rel = strings.TrimPrefix(path.Clean("/"+rel), "/")
			for {
				out = append(out, groupLimits(root, path.Join(m.point, rel), v2)...)
				if rel == "" {
					break
				}
				if rel = path.Dir(rel); rel == "." {
					rel = ""
				}
			}
			break
		}
	}
	return out, nil
}

// groupLimits reads the limits that are set in one cgroup.
func groupLimits(root fs.FS, dir string, v2 bool) []CgroupLimit {
	limit, usage := ".limit_in_bytes", ".usage_in_bytes"
	if v2 {
		limit, usage = ".max", ".current"
	}
	in := strings.TrimPrefix(dir, "/")
	files, err := fs.ReadDir(root, cmp.Or(in, "."))
	if err != nil {
		return nil // not visible from here, as outside of a cgroup namespace
	}
	var out []CgroupLimit
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), limit)
		size, isHugetlb := strings.CutPrefix(name, "hugetlb.")
		if !ok || !isHugetlb {
			continue
		}
		size, promise := strings.CutSuffix(size, ".rsvd")
		page, err := ParseBytes(size)
		if err != nil {
			continue
		}
		c := CgroupLimit{Group: dir, File: f.Name(), Bytes: page, Promise: promise}
		if c.Max, err = readUint(root, path.Join(in, f.Name())); err != nil || c.Max >= 1<<62 {
			continue // "max", or the largest number there is
		}
		if c.Current, err = readUint(root, path.Join(in, name+usage)); err != nil {
			c.Current = 0
		}
		out = append(out, c)
	}
	return out
}

// rights are what this process may do, by proc_pid_status(5).
type rights struct {
	uid    int // effective
	groups []int
	caps   uint64 // effective, capabilities(7)
}

// Capability numbers of linux/capability.h.
const (
	capDACOverride = 1
	capIPCLock     = 14
)

func (r rights) has(capability int) bool { return r.caps>>capability&1 != 0 }

func (r rights) mayWrite(mode fs.FileMode, uid, gid int) bool {
	switch {
	case r.has(capDACOverride):
		return true
	case r.uid == uid:
		return mode&0o200 != 0
	case slices.Contains(r.groups, gid):
		return mode&0o020 != 0
	default:
		return mode&0o002 != 0
	}
}

func rightsFS(root fs.FS) (rights, error) {
	b, err := fs.ReadFile(root, "proc/self/status")
	if err != nil {
		return rights{}, fmt.Errorf("hugepages: rights of this process: %w", err)
	}
	r := rights{uid: -1}
	for line := range strings.Lines(string(b)) {
		k, v, _ := strings.Cut(line, ":")
		f := strings.Fields(v)
		switch {
		case k == "Uid" && len(f) > 1: // real, effective, saved, file system
			if r.uid, err = strconv.Atoi(f[1]); err != nil {
				return rights{}, fmt.Errorf("hugepages: rights of this process: %w", err)
			}
		case k == "Gid" && len(f) > 1, k == "Groups":
			if k == "Gid" {
				f = f[1:2]
			}
			for _, s := range f {
				if n, err := strconv.Atoi(s); err == nil {
					r.groups = append(r.groups, n)
				}
			}
		case k == "CapEff" && len(f) > 0:
			if r.caps, err = strconv.ParseUint(f[0], 16, 64); err != nil {
				return rights{}, fmt.Errorf("hugepages: rights of this process: %w", err)
			}
		}
	}
	return r, nil
}
