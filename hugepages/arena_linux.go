package hugepages

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// system is the real thing. All blocks are private anonymous mappings, mmap(2).
var system = host{hugetlb: mapHugetlb, thp: mapTHP, plain: mapPlain}

const protRW = unix.PROT_READ | unix.PROT_WRITE

func mapHugetlb(size int, opts *Options) (mapping, error) {
	// MAP_POPULATE because mmap only reserves pages, and a reservation does not cover
	// everything: a cgroup limit or a memory policy still ends in SIGBUS at
	// the first touch. But mmap does not fail if populating does, so look.
	flags := unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_HUGETLB | unix.MAP_HUGE_2MB
	if !opts.ties() {
		flags |= unix.MAP_POPULATE
	}
	b, err := unix.Mmap(-1, 0, pages(size)*PageBytes, protRW, flags)
	if err != nil {
		return mapping{}, poolError(pages(size), opts, err)
	}
	m := mapping{mem: b, kind: KindHugetlb, free: func() error { return unix.Munmap(b) }}
	if opts.ties() {
		m.note = tie(b, opts)
		err = populate(b)
	} else {
		err = populated(b)
	}
	if err != nil {
		unmapErr := unix.Munmap(b) // first, for poolError to count without us
		return mapping{}, errors.Join(poolError(pages(size), opts, err), unmapErr)
	}
	return m, nil
}

// populate touches b, which is tied to a node by now, where the kernel can report
// failure: since Linux 5.14.
func populate(b []byte) error {
	if err := unix.Madvise(b, unix.MADV_POPULATE_WRITE); err != nil {
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("hugetlb pages of a chosen node need Linux 5.14: madvise(MADV_POPULATE_WRITE): %w", err)
		}
		return fmt.Errorf("madvise(MADV_POPULATE_WRITE): %w", err)
	}
	return populated(b)
}

// populateAnon faults in the pages of b, which need not begin on one.
func populateAnon(b []byte) error {
	page := unix.Getpagesize()
	from := offset(b, uintptr(page))
	if inner := (len(b) - from) &^ (page - 1); inner > 0 {
		err := unix.Madvise(b[from:from+inner], unix.MADV_POPULATE_WRITE)
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL is Linux before 5.14
			return fmt.Errorf("madvise(MADV_POPULATE_WRITE): %w", err)
		}
	}
	touchPages(b, page) // both ends, and all of it on an old kernel
	return nil
}

// residentBytes is Resident.
func residentBytes(b []byte) (int, error) {
	page := unix.Getpagesize()
	from := min(offset(b, uintptr(page)), len(b))
	b = b[from : from+(len(b)-from)&^(page-1)]
	if len(b) == 0 {
		return 0, nil
	}
	vec := make([]byte, len(b)/page)
	if err := mincore(b, vec); err != nil {
		return 0, fmt.Errorf("mincore: %w", err)
	}
	n := 0
	for _, v := range vec {
		n += int(v&1) * page
	}
	return n, nil
}

// tie binds b, of which nothing is touched yet, to the node that opts names. It
// returns why that could not be done, "" when it was.
func tie(b []byte, opts *Options) string {
	mode := unix.MPOL_PREFERRED
	if opts.Placement == Bind {
		mode = unix.MPOL_BIND
	}
	err := mbind(b, mode, opts.Node)
	if err == nil {
		return ""
	}
	why := ""
	switch {
	case errors.Is(err, unix.EINVAL):
		why = " (no such node, or it has no memory, or our cpuset does not have it)"
	case errors.Is(err, unix.EPERM):
		why = " (a seccomp filter, as in containers: add the capability SYS_NICE)"
	case errors.Is(err, unix.ENOSYS):
		why = " (a kernel without NUMA)"
	}
	return fmt.Sprintf("not tied to node %d: mbind: %v%s", opts.Node, err, why)
}

// finish ties and locks b as opts asks, and returns what could not be done.
func finish(b []byte, opts *Options) (note string) {
	if opts.ties() {
		note = tie(b, opts)
	}
	if opts.Lock {
		if err := mlockOnFault(b); err != nil {
			why := ""
			if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EPERM) {
				why = " (raise ulimit -l, LimitMEMLOCK= in systemd, or add CAP_IPC_LOCK)"
			}
			note = join(note, fmt.Sprintf("not locked: mlock2: %v%s", err, why))
		}
	}
	return note
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
func poolError(want int, opts *Options, err error) error {
	root, serr := systemRoot()
	var pools []Pool
	if serr == nil {
		pools, serr = PoolsFS(root)
	}
	if serr != nil {
		return fmt.Errorf("%w (%w)", err, serr)
	}
	p, serr := find(pools, PageBytes)
	if serr != nil {
		return fmt.Errorf("%w: %w", err, serr)
	}
	if n, ok := p.On(opts.Node); ok && opts.Placement == Bind {
		return fmt.Errorf("%w: node %d has %d of %d pages free; as root: fastsyn hugepages reserve --count %d --node %d",
			err, n.Node, n.Free, n.Total, max(1, want-int(n.Free)), n.Node)
	}
	return fmt.Errorf("%w: %d of %d pages free, %d of these reserved; as root: echo %d > /%s",
		err, p.Free, p.Total, p.Reserved, p.Total+uint64(max(0, want-int(p.Available()))), knob(PageBytes, AnyNode))
}

func mapTHP(size int, opts *Options) (mapping, error) {
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
	return mapping{mem: mem, kind: KindTHP, note: finish(mem, opts), free: func() error { return unix.Munmap(b) }}, nil
}

func mapPlain(size int, opts *Options) (mapping, error) {
	b, err := unix.Mmap(-1, 0, size, protRW, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return mapping{}, err
	}
	// Where the mode is "always" this would be huge all the same. EINVAL is a
	// kernel without THP, which is just as well.
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		return mapping{}, errors.Join(fmt.Errorf("madvise: %w", err), unix.Munmap(b))
	}
	return mapping{mem: b, kind: KindPlain, note: finish(b, opts), free: func() error { return unix.Munmap(b) }}, nil
}
