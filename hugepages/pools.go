package hugepages

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Pool is one hugetlb pool: the sum over the machine, and each NUMA node.
type Pool struct {
	PageSize
	Overcommit uint64     `json:"overcommit_pages"` // nr_overcommit_hugepages: surplus pages made on demand, at most
	Nodes      []NodePool `json:"nodes"`            // by node number; empty when the kernel shows no nodes
}

// NodePool is the part of a pool on one NUMA node, in pages. Promises
// (PageSize.Reserved) are not made per node.
type NodePool struct {
	Node    int    `json:"node"`
	Total   uint64 `json:"total_pages"` // including surplus
	Free    uint64 `json:"free_pages"`
	Surplus uint64 `json:"surplus_pages"`
}

// persistent returns the pages that nr_hugepages sets: the others are surplus and
// go when they are freed.
func persistent(total, surplus uint64) uint64 {
	if surplus > total {
		return 0 // the files are not read at one instant
	}
	return total - surplus
}

// On returns the part on a node, false if there is none.
func (p *Pool) On(node int) (NodePool, bool) {
	for _, n := range p.Nodes {
		if n.Node == node {
			return n, true
		}
	}
	return NodePool{}, false
}

const (
	poolDir = "sys/kernel/mm/hugepages"
	nodeDir = "sys/devices/system/node"
)

// sizeDir is how sysfs names the pool of one page size.
func sizeDir(page uint64) string { return fmt.Sprintf("hugepages-%dkB", page>>10) }

// PoolsFS returns the hugetlb pools, smallest pages first, from a copy of the
// root directory of a Linux system. Wraps errors.ErrUnsupported as Status does.
func PoolsFS(root fs.FS) ([]Pool, error) {
	mm, err := fs.Sub(root, path.Dir(poolDir))
	if err != nil {
		return nil, fmt.Errorf("hugepages: pools: %w", err)
	}
	sizes, err := StatusFS(mm)
	if err != nil {
		return nil, err
	}
	nodes, err := nodesFS(root)
	if err != nil {
		return nil, err
	}
	var out []Pool
	for _, s := range sizes {
		p := Pool{PageSize: s}
		over := path.Join(poolDir, sizeDir(s.Bytes), "nr_overcommit_hugepages")
		// Absent for pages that the kernel cannot make on demand.
		if p.Overcommit, err = readUint(root, over); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, node := range nodes {
			n, err := nodePool(root, s.Bytes, node)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a node without memory
			}
			if err != nil {
				return nil, err
			}
			p.Nodes = append(p.Nodes, n)
		}
		out = append(out, p)
	}
	return out, nil
}

func nodePool(root fs.FS, page uint64, node int) (NodePool, error) {
	n := NodePool{Node: node}
	dir := path.Join(nodeDir, fmt.Sprintf("node%d/hugepages", node), sizeDir(page))
	for _, f := range []struct {
		name string
		to   *uint64
	}{
		{"nr_hugepages", &n.Total},
		{"free_hugepages", &n.Free},
		{"surplus_hugepages", &n.Surplus},
	} {
		var err error
		if *f.to, err = readUint(root, path.Join(dir, f.name)); err != nil {
			return NodePool{}, err
		}
	}
	return n, nil
}

// nodesFS lists the NUMA nodes, none for a kernel without CONFIG_NUMA.
func nodesFS(root fs.FS) ([]int, error) {
	dirs, err := fs.ReadDir(root, nodeDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("hugepages: NUMA nodes: %w", err)
	}
	var out []int
	for _, d := range dirs {
		var n int
		if k, err := fmt.Sscanf(d.Name(), "node%d", &n); k == 1 && err == nil && fmt.Sprintf("node%d", n) == d.Name() {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, cmp.Compare[int])
	return out, nil
}

// find returns the pool of a page size, or an error that lists those there are.
func find(pools []Pool, page uint64) (*Pool, error) {
	var known []string
	for i := range pools {
		if pools[i].Bytes == page {
			return &pools[i], nil
		}
		known = append(known, BytesText(pools[i].Bytes))
	}
	return nil, fmt.Errorf("hugepages: the kernel has no pool of %s pages (it has: %s)", BytesText(page), strings.Join(known, ", "))
}

// THP is how transparent huge pages are handed out, see
// Documentation/admin-guide/mm/transhuge.rst of the kernel.
type THP struct {
	Mode   string `json:"mode"`         // always, madvise or never; "" when the kernel has none
	Defrag string `json:"defrag"`       // what a fault does when no huge page is free: always, defer, defer+madvise, madvise or never
	InUse  uint64 `json:"in_use_bytes"` // on the whole machine, AnonHugePages of /proc/meminfo
}

// THPFS reads them from a copy of the root directory.
func THPFS(root fs.FS) (THP, error) {
	mm, err := fs.Sub(root, path.Dir(poolDir))
	if err != nil {
		return THP{}, fmt.Errorf("hugepages: thp: %w", err)
	}
	var t THP
	if t.Mode, err = THPModeFS(mm); err != nil {
		return THP{}, err
	}
	if b, err := fs.ReadFile(mm, "transparent_hugepage/defrag"); err == nil {
		_, s, _ := strings.Cut(string(b), "[")
		t.Defrag, _, _ = strings.Cut(s, "]")
	}
	t.InUse = memInfo(root, "AnonHugePages")
	return t, nil
}

// memInfo returns a line of /proc/meminfo in bytes, 0 if it is not there.
func memInfo(root fs.FS, key string) uint64 {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(line, ":")
		if !ok || k != key {
			continue
		}
		var n uint64
		if _, err := fmt.Sscanf(v, "%d kB", &n); err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
