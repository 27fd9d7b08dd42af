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

// PageSize is one hugetlb pool, in pages. See
// Documentation/admin-guide/mm/hugetlbpage.rst of the kernel.
type PageSize struct {
	Bytes    uint64 `json:"page_bytes"`     // of one page
	Total    uint64 `json:"total_pages"`    // nr_hugepages, including surplus
	Free     uint64 `json:"free_pages"`     // not in use
	Reserved uint64 `json:"reserved_pages"` // of the free ones, promised to mappings that have not touched them
	Surplus  uint64 `json:"surplus_pages"`  // beyond the configured size, within nr_overcommit_hugepages
}

// Available returns the pages that a new mapping can have.
func (p PageSize) Available() uint64 {
	if p.Reserved > p.Free {
		return 0 // the files are not read at one instant
	}
	return p.Free - p.Reserved
}

// String describes the pool, as in "2 MiB: 3 of 8 pages free".
func (p PageSize) String() string {
	s := fmt.Sprintf("%s: %d of %d pages free", BytesText(p.Bytes), p.Free, p.Total)
	if p.Reserved > 0 {
		s += fmt.Sprintf(", %d reserved", p.Reserved)
	}
	if p.Surplus > 0 {
		s += fmt.Sprintf(", %d surplus", p.Surplus)
	}
	return s
}

// Status returns the hugetlb pools of this machine, smallest pages first. Wraps
// errors.ErrUnsupported where there is none: another system, or a kernel
// without CONFIG_HUGETLBFS.
func Status() ([]PageSize, error) {
	fsys, err := sysMM()
	if err != nil {
		return nil, err
	}
	return StatusFS(fsys)
}

// StatusFS is Status on a copy of /sys/kernel/mm.
func StatusFS(fsys fs.FS) ([]PageSize, error) {
	dirs, err := fs.ReadDir(fsys, "hugepages")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hugepages: no /sys/kernel/mm/hugepages: kernel without CONFIG_HUGETLBFS, or sysfs not mounted: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("hugepages: pools: %w", err)
	}
	var out []PageSize
	for _, d := range dirs {
		var n uint64
		if _, err := fmt.Sscanf(d.Name(), "hugepages-%dkB", &n); err != nil {
			continue // not a pool
		}
		p := PageSize{Bytes: n << 10}
		for _, f := range []struct {
			name string
			to   *uint64
		}{
			{"nr_hugepages", &p.Total},
			{"free_hugepages", &p.Free},
			{"resv_hugepages", &p.Reserved},
			{"surplus_hugepages", &p.Surplus},
		} {
			if *f.to, err = readUint(fsys, path.Join("hugepages", d.Name(), f.name)); err != nil {
				return nil, err
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b PageSize) int { return cmp.Compare(a.Bytes, b.Bytes) })
	return out, nil
}

func readUint(fsys fs.FS, name string) (uint64, error) {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return 0, fmt.Errorf("hugepages: pool: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("hugepages: pool: %s: %w", name, err)
	}
	return n, nil
}

// THPMode returns how transparent huge pages of 2 MiB are handed out: "always",
// "madvise" or "never". Wraps errors.ErrUnsupported on another system or a
// kernel without them.
func THPMode() (string, error) {
	fsys, err := sysMM()
	if err != nil {
		return "", err
	}
	return THPModeFS(fsys)
}

// THPModeFS is THPMode on a copy of /sys/kernel/mm. Since Linux 6.8 each page size
// has a switch of its own, whose value "inherit" refers to the general one.
func THPModeFS(fsys fs.FS) (string, error) {
	for _, name := range []string{
		"transparent_hugepage/hugepages-2048kB/enabled",
		"transparent_hugepage/enabled",
	} {
		b, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("hugepages: thp mode: %w", err)
		}
		// The choices, the current one in brackets: "always [madvise] never".
		_, s, _ := strings.Cut(string(b), "[")
		mode, _, ok := strings.Cut(s, "]")
		switch {
		case ok && mode == "inherit":
			continue
		case ok && (mode == "always" || mode == "madvise" || mode == "never"):
			return mode, nil
		default:
			return "", fmt.Errorf("hugepages: thp mode: %s reads %q: want always, madvise or never in brackets", name, strings.TrimSpace(string(b)))
		}
	}
	return "", fmt.Errorf("hugepages: no /sys/kernel/mm/transparent_hugepage: kernel without CONFIG_TRANSPARENT_HUGEPAGE, or sysfs not mounted: %w", errors.ErrUnsupported)
}
