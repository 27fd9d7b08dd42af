package hugepages

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// mapped returns how many bytes of b lie in mappings of this process, and the
// VmFlags of the first of them.
func mapped(t *testing.T, at uintptr, n int) (bytes int, flags string) {
	f, err := os.Open("/proc/self/smaps")
	require.NoError(t, err)
	defer f.Close()
	sc, inside := bufio.NewScanner(f), false
	for sc.Scan() {
		var lo, hi uintptr
		if k, _ := fmt.Sscanf(sc.Text(), "%x-%x ", &lo, &hi); k == 2 {
			lo, hi = max(lo, at), min(hi, at+uintptr(n))
			if inside = lo < hi; inside {
				bytes += int(hi - lo)
			}
		} else if v, ok := strings.CutPrefix(sc.Text(), "VmFlags:"); ok && inside && flags == "" {
			flags = v
		}
	}
	require.NoError(t, sc.Err())
	return bytes, flags
}

func lines(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Count(string(b), "\n")
}

func TestKindsOnLinux(t *testing.T) {
	a := mustAlloc(t, 4*PageBytes, Options{NoTHP: true})
	require.Equal(t, KindPlain, a.Kind())
	n, flags := mapped(t, address(a), a.Size())
	require.Equal(t, a.Size(), n)
	if _, err := THPMode(); err == nil {
		require.Contains(t, strings.Fields(flags), "nh")
	}

	a = mustAlloc(t, 4*PageBytes+1, Options{})
	if mode, err := THPMode(); err != nil || mode == "never" {
		require.Equal(t, KindPlain, a.Kind())
		require.Contains(t, a.String(), "no thp: ")
		return
	}
	require.Equal(t, KindTHP, a.Kind())
	n, flags = mapped(t, address(a), 5*PageBytes)
	require.Equal(t, 5*PageBytes, n, "the last huge page is whole")
	require.Contains(t, strings.Fields(flags), "hg")
}

// A large reservation costs nothing until used: 8 GiB, of which two pages are touched.
func TestArenaIsLazilyTouched(t *testing.T) {
	const size = 8 << 30
	a, err := Alloc(size, Options{})
	if errors.Is(err, unix.ENOMEM) {
		t.Skip("not enough memory to promise 8 GiB: ", err)
	}
	require.NoError(t, err)
	defer a.Free()
	b := a.Bytes()
	b[0], b[size-1] = 1, 1
	vec := make([]byte, PageBytes/unix.Getpagesize())
	resident := 0
	for off := 0; off < size; off += PageBytes {
		require.NoError(t, mincore(b[off:off+PageBytes], vec))
		if slices.ContainsFunc(vec, func(v byte) bool { return v&1 != 0 }) {
			resident++
		}
	}
	require.Equal(t, 2, resident)
}

func TestAllocAbsurdIsENOMEM(t *testing.T) {
	_, err := Alloc(1<<62, Options{})
	require.ErrorIs(t, err, unix.ENOMEM)
	require.ErrorContains(t, err, "4 EiB")
	require.ErrorContains(t, err, "ask for less")
}

// vmSize returns the mapped address space in bytes, proc_pid_statm(5).
func vmSize(t *testing.T) int {
	b, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var n int
	_, err = fmt.Sscan(string(b), &n)
	require.NoError(t, err)
	return n * unix.Getpagesize()
}

// Freed arenas leave no mapping, nor do failed ones. Adjoining mappings merge
// into one line of maps, so the size counts as well as the lines.
func TestNoMappingLeaks(t *testing.T) {
	round := func() (mapped int) {
		for _, size := range []int{1, 4096, PageBytes, 8*PageBytes + 5} {
			for _, opts := range []Options{{}, {NoTHP: true}, {Hugetlb: Auto}} {
				a, err := Alloc(size, opts)
				require.NoError(t, err)
				a.Bytes()[0] = 1
				require.NoError(t, a.Free())
				mapped += size
			}
		}
		_, err := Alloc(1<<62, Options{Hugetlb: Auto})
		require.Error(t, err)
		return mapped
	}
	round()
	beforeLines, beforeSize := lines(t), vmSize(t)
	const rounds = 50
	total := 0
	for range rounds {
		total += round()
	}
	// The runtime maps things of its own, much less than one arena per round.
	require.Less(t, lines(t)-beforeLines, rounds/2)
	require.Less(t, vmSize(t)-beforeSize, total/12)
}

// needPages sees to it that the pool has n pages to give: it adds them for the
// time of the test if it may, else skips, or fails if CI promised them.
func needPages(t *testing.T, n uint64) {
	if !testing.Short() && available(t) < n && os.Geteuid() == 0 {
		reserved(t, int(n))
	}
	dptest.Need(t, "hugepages")
	require.GreaterOrEqual(t, available(t), n, "free 2 MiB pages; as root: echo %d > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", n)
}

func available(t *testing.T) uint64 {
	sizes, err := Status()
	require.NoError(t, err)
	for _, s := range sizes {
		if s.Bytes == PageBytes {
			return s.Available()
		}
	}
	return 0
}

func TestHugetlbCommitsAndReturnsPages(t *testing.T) {
	needPages(t, 3)
	before := available(t)
	a, err := Alloc(2*PageBytes+1, Options{Hugetlb: Require})
	require.NoError(t, err)
	defer a.Free()
	require.Equal(t, KindHugetlb, a.Kind())
	require.Equal(t, "4 MiB hugetlb", a.String())
	require.Equal(t, before-3, available(t), "committed at Alloc")
	require.Zero(t, offset(a.Bytes(), PageBytes))
	_, flags := mapped(t, address(a), a.Size())
	require.Contains(t, strings.Fields(flags), "ht")
	b := a.Bytes()
	for _, v := range b {
		if v != 0 {
			t.Fatal("not zeroed")
		}
	}
	b[len(b)-1] = 1
	require.NoError(t, a.Free())
	require.NoError(t, a.Free())
	require.Equal(t, before, available(t))
}

// mmap may succeed with pages missing; Alloc has to notice before anyone touches them.
func TestPopulatedFindsMissingPages(t *testing.T) {
	a := mustAlloc(t, 3*PageBytes, Options{NoTHP: true})
	b := a.Bytes()
	err := populated(b)
	require.ErrorIs(t, err, unix.ENOMEM)
	require.ErrorContains(t, err, "only 0 of 3 pages")
	b[0], b[PageBytes] = 1, 1
	require.ErrorContains(t, populated(b), "only 2 of 3 pages")
	b[2*PageBytes] = 1
	require.NoError(t, populated(b))
}

// Far more pages than there are: an error with numbers and the remedy, or the next best kind.
func TestHugetlbPoolTooSmall(t *testing.T) {
	sizes, err := Status()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	var pool PageSize
	for _, s := range sizes {
		if s.Bytes == PageBytes {
			pool = s
		}
	}
	// Far more than surplus pages (nr_overcommit_hugepages) could make up for.
	size := int(pool.Total+1<<20) * PageBytes
	_, err = Alloc(size, Options{Hugetlb: Require})
	require.ErrorIs(t, err, unix.ENOMEM)
	require.ErrorContains(t, err, "pages free")
	require.ErrorContains(t, err, "nr_hugepages")

	if pool.Available() == 0 && pool.Total == 0 {
		a := mustAlloc(t, PageBytes, Options{Hugetlb: Auto})
		if a.Kind() != KindHugetlb { // overcommit pages may have helped
			require.Contains(t, a.String(), "no hugetlb: cannot allocate memory: 0 of 0 pages free")
		}
	}
	require.Equal(t, pool.Available(), available(t), "nothing stays reserved")
}

func BenchmarkAlloc(b *testing.B) {
	for _, size := range []int{PageBytes, 1 << 30} {
		b.Run("bytes="+fmt.Sprint(size), func(b *testing.B) {
			for b.Loop() {
				a, err := Alloc(size, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := a.Free(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What the kind is worth: random reads over 256 MiB, each address depending on the read before.
func BenchmarkRandomRead(b *testing.B) {
	const bits = 22 // lines of 64 bytes
	for _, opts := range []Options{{}, {NoTHP: true}} {
		a := mustAlloc(b, 64<<bits, opts)
		s, err := Slice[[8]uint64](a, 1<<bits)
		require.NoError(b, err)
		for i := range s {
			s[i][1] = 1 // s[i][0] stays 0, which only we know
		}
		b.Run("kind="+a.Kind().String(), func(b *testing.B) {
			x := uint64(1)
			for b.Loop() {
				x = (x+s[x>>(64-bits)][0])*6364136223846793005 + 1442695040888963407
			}
			sink = x
		})
		require.NoError(b, a.Free())
	}
}

var sink uint64
