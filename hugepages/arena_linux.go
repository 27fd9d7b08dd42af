package hugepages

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// system is the real thing. All blocks are private anonymous mappings, mmap(2).
var system = host{hugetlb: mapHugetlb, thp: mapTHP, plain: mapPlain}

const protRW = unix.PROT_READ | unix.PROT_WRITE

func mapHugetlb(size int) (mapping, error) {
	// MAP_POPULATE because mmap only reserves pages, and a reservation does not cover
	// everything: a cgroup limit or a memory policy still ends in SIGBUS at
	// the first touch. But mmap does not fail if populating does, so look.
	b, err := unix.Mmap(-1, 0, pages(size)*PageBytes, protRW,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB|unix.MAP_HUGE_2MB|unix.MAP_POPULATE)
	if err != nil {
		return mapping{}, poolError(pages(size), err)
	}
	if err := populated(b); err != nil {
		unmapErr := unix.Munmap(b) // first, for poolError to count without us
		return mapping{}, errors.Join(poolError(pages(size), err), unmapErr)
	}
	return mapping{mem: b, kind: KindHugetlb, free: func() error { return unix.Munmap(b) }}, nil
}

// populated returns an error unless each huge page of b is there, mincore(2).
func populated(b []byte) error {
	base := unix.Getpagesize()
	vec := make([]byte, PageBytes/base)
	for off := 0; off < len(b); off += PageBytes {
		if err := mincore(b[off:off+PageBytes], vec); err != nil {
			return fmt.Errorf("mincore: %w", err)
		}
		if vec[0]&1 == 0 {
			return fmt.Errorf("only %d of %d pages could be populated (cgroup hugetlb limit, or memory policy): %w",
				off/PageBytes, len(b)/PageBytes, unix.ENOMEM)
		}
	}
	return nil
}

// poolError adds what the pool holds and the command that enlarges it.
func poolError(want int, err error) error {
	const dir = "/sys/kernel/mm/hugepages/hugepages-2048kB"
	sizes, serr := Status()
	if serr != nil {
		return fmt.Errorf("%w (%w)", err, serr)
	}
	for _, s := range sizes {
		if s.Bytes == PageBytes {
			return fmt.Errorf("%w: %d of %d pages free, %d of these reserved; as root: echo %d > %s/nr_hugepages",
				err, s.Free, s.Total, s.Reserved, s.Total+uint64(max(0, want-int(s.Available()))), dir)
		}
	}
	return fmt.Errorf("%w: the kernel has no 2 MiB pool (%s is missing)", err, dir)
}

func mapTHP(size int) (mapping, error) {
	mode, err := THPMode()
	if err != nil {
		return mapping{}, err
	}
	if mode == "never" {
		return mapping{}, errors.New("mode is never; as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
	}
	// Whole huge pages only, and one page more to be able to align: address space, not memory.
	n := pages(size) * PageBytes
	b, err := unix.Mmap(-1, 0, n+PageBytes, protRW, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return mapping{}, err
	}
	off := offset(b, PageBytes)
	mem := b[off : off+n]
	if err := unix.Madvise(mem, unix.MADV_HUGEPAGE); err != nil {
		return mapping{}, errors.Join(fmt.Errorf("madvise: %w", err), unix.Munmap(b))
	}
	return mapping{mem: mem, kind: KindTHP, free: func() error { return unix.Munmap(b) }}, nil
}

func mapPlain(size int) (mapping, error) {
	b, err := unix.Mmap(-1, 0, size, protRW, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return mapping{}, err
	}
	// Where the mode is "always" this would be huge all the same. EINVAL is a
	// kernel without THP, which is just as well.
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		return mapping{}, errors.Join(fmt.Errorf("madvise: %w", err), unix.Munmap(b))
	}
	return mapping{mem: b, kind: KindPlain, free: func() error { return unix.Munmap(b) }}, nil
}
