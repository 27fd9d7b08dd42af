package hugepages

import (
	"fmt"
	"math"
	"sync"
)

// PageBytes is the huge page size used: 2 MiB, the PMD size of amd64 and of
// arm64 with 4 KiB base pages.
const PageBytes = 2 << 20

// CacheLine is the alignment of what Slice carves.
const CacheLine = 64

// Kind says what pages an arena stands on.
type Kind uint8

// The kinds, best first. The zero value is invalid.
const (
	// KindHugetlb: pages of the hugetlb pool, all committed at Alloc.
	KindHugetlb Kind = iota + 1
	// KindTHP: aligned and advised for transparent huge pages. The kernel uses
	// them as far as it finds contiguous memory when a page is first touched.
	KindTHP
	// KindPlain: base pages.
	KindPlain
	// KindHeap: Go heap, the only kind on systems other than Linux.
	KindHeap
)

// String returns "hugetlb", "thp", "plain" or "heap".
func (k Kind) String() string {
	switch k {
	case KindHugetlb:
		return "hugetlb"
	case KindTHP:
		return "thp"
	case KindPlain:
		return "plain"
	case KindHeap:
		return "heap"
	default:
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
}

// Policy says whether to draw on the hugetlb pool.
type Policy uint8

// The policies.
const (
	// Never leaves the pool alone. The default, because hugetlb pages are
	// committed at once and are scarce: an administrator set them aside.
	Never Policy = iota
	// Auto takes pool pages when there are enough of them, else goes on as Never does.
	Auto
	// Require fails when the pool cannot give them.
	Require
)

// Placement says how an arena is tied to a NUMA node, mbind(2).
type Placement uint8

// The placements.
const (
	// Local ties it to none: each page goes to the node of the thread that touches it
	// first. The default, and right for a worker that is pinned and fills its own table.
	Local Placement = iota
	// Prefer takes pages of Options.Node while it has some, then of others (MPOL_PREFERRED).
	Prefer
	// Bind takes pages of Options.Node only (MPOL_BIND): when it has none left, hugetlb
	// fails at Alloc, but for other kinds the kernel kills a process of its choice.
	Bind
)

// Options tune Alloc. The zero value suits tables that fill up gradually.
type Options struct {
	Hugetlb Policy
	// NoTHP keeps the arena on base pages, to measure what huge pages are worth.
	// It does not exclude hugetlb.
	NoTHP bool
	// Placement and Node tie the arena to a NUMA node, -1 for none. Where that
	// cannot be done (no such node, a seccomp filter) the arena is Local, and String says why.
	Placement Placement
	Node      int
	// Lock keeps pages from being swapped once they are touched, mlock2(2) with
	// MLOCK_ONFAULT. It counts against RLIMIT_MEMLOCK; if refused, String says so.
	// Hugetlb pages are never swapped anyway.
	Lock bool
}

// ties reports whether o asks for a node.
func (o *Options) ties() bool { return o.Placement != Local && o.Node != -1 }

// Arena is a block of zeroed memory. Its owner calls Free after the last use
// of everything obtained from it; there is no finalizer, and using such memory after
// Free faults. GOMEMLIMIT and the collector's pacing do not see it. The methods may be
// called from any goroutine; the memory itself is synchronised by those who share it.
type Arena struct {
	mu   sync.Mutex
	mem  []byte // nil when freed
	used int    // carved by Slice
	m    mapping
	size int
	note string // why it is not of a better kind or not where it was wanted; "" when all is as wanted
}

// mapping is a block as obtained from the system.
type mapping struct {
	mem  []byte // zeroed, at least as long as asked, aligned to CacheLine
	kind Kind
	note string // what was asked for besides and could not be done
	free func() error
}

// host is where blocks come from, a field each so that tests can fail them.
type host struct {
	hugetlb, thp, plain func(size int, opts *Options) (mapping, error)
}

// Alloc reserves size bytes of zeroed memory: from the hugetlb pool if
// opts.Hugetlb says so, else advised for transparent huge pages, else on base
// pages; on the Go heap outside Linux. Arenas below 2 MiB get base pages
// unless hugetlb is asked for.
//
// Except for hugetlb, memory costs nothing until touched; it is then placed on
// the NUMA node of the toucher, unless opts.Placement says otherwise. Hugetlb pages are
// all taken, zeroed and placed (near the calling thread) before Alloc returns, so that a pool too small, a cgroup
// limit or a node without pages is an error here and not a SIGBUS later.
func Alloc(size int, opts Options) (*Arena, error) {
	return allocFrom(system, size, opts)
}

func allocFrom(h host, size int, opts Options) (*Arena, error) {
	if size < 1 {
		return nil, fmt.Errorf("hugepages: arena of %d bytes: want at least 1", size)
	}
	if size > math.MaxInt-2*PageBytes {
		return nil, fmt.Errorf("hugepages: arena of %d bytes: more than can be addressed", size)
	}
	if opts.Hugetlb > Require {
		return nil, fmt.Errorf("hugepages: hugetlb policy %d: want Never, Auto or Require", opts.Hugetlb)
	}
	if opts.Placement > Bind {
		return nil, fmt.Errorf("hugepages: placement %d: want Local, Prefer or Bind", opts.Placement)
	}
	if opts.Node < -1 {
		return nil, fmt.Errorf("hugepages: arena on NUMA node %d: want a node, or -1 for none", opts.Node)
	}
	note := ""
	if opts.Hugetlb != Never {
		m, err := h.hugetlb(size, &opts)
		if err == nil {
			return newArena(m, size, ""), nil
		}
		if opts.Hugetlb == Require {
			return nil, fmt.Errorf("hugepages: hugetlb arena of %s (%d pages of 2 MiB): %w", BytesText(uint64(size)), pages(size), err)
		}
		note = "no hugetlb: " + err.Error()
	}
	switch {
	case opts.NoTHP:
		note = join(note, "no thp: switched off by option")
	case size < PageBytes:
		// Nothing to gain; the first touch would take a whole huge page.
	default:
		m, err := h.thp(size, &opts)
		if err == nil {
			return newArena(m, size, note), nil
		}
		note = join(note, "no thp: "+err.Error())
	}
	m, err := h.plain(size, &opts)
	if err != nil {
		return nil, fmt.Errorf("hugepages: arena of %s: %w: ask for less, or check memory, swap and vm.overcommit_memory", BytesText(uint64(size)), err)
	}
	return newArena(m, size, note), nil
}

func newArena(m mapping, size int, note string) *Arena {
	return &Arena{mem: m.mem[:size:size], m: m, size: size, note: join(note, m.note)}
}

// Bytes returns the whole arena, of the size asked for, including what Slice
// carved from it; nil after Free. It starts on a cache line at least, and on a
// huge page boundary if the kind is hugetlb or thp.
func (a *Arena) Bytes() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mem
}

// Size returns the bytes asked for at Alloc.
func (a *Arena) Size() int { return a.size }

// Left returns the bytes that Slice has not carved yet; 0 after Free.
func (a *Arena) Left() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.mem) - a.used
}

// Kind says what the arena stands on.
func (a *Arena) Kind() Kind { return a.m.kind }

// String describes the arena for reports: size, kind, and why it is not of a
// better kind or not where it was wanted, as in "64 MiB thp (no hugetlb: ...)".
func (a *Arena) String() string {
	s := BytesText(uint64(a.size)) + " " + a.m.kind.String()
	if a.note != "" {
		s += " (" + a.note + ")"
	}
	return s
}

// Free returns the memory. Everything obtained from the arena is invalid from
// here on. Calling it again, or on a nil Arena, does nothing and returns nil.
func (a *Arena) Free() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mem == nil {
		return nil
	}
	if err := a.m.free(); err != nil {
		return fmt.Errorf("hugepages: free arena of %s: %w", BytesText(uint64(a.size)), err)
	}
	a.mem, a.m.mem, a.used = nil, nil, 0
	return nil
}

// pages returns the 2 MiB pages that hold size bytes.
func pages(size int) int { return (size + PageBytes - 1) / PageBytes }

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// BytesText writes a size in the largest binary unit that leaves it whole enough to read.
func BytesText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.4g %s", f, units[u])
}
