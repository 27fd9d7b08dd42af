package hugepages

import (
	"errors"
	"math"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// flow is the kind of record that lives in an arena.
type flow struct {
	hi, lo uint64
	port   [2]uint16
	flags  uint8
	_      [35]byte
	next   uint32
	count  atomic.Uint32
}

type line [CacheLine]byte

func TestSliceCarves(t *testing.T) {
	a := mustAlloc(t, 4096, Options{})
	odd, err := Slice[[3]uint8](a, 5) // 15 bytes
	require.NoError(t, err)
	require.Len(t, odd, 5)
	require.Equal(t, 5, cap(odd))
	require.Equal(t, 4096-64, a.Left())

	flows, err := Slice[flow](a, 60)
	require.NoError(t, err)
	rest, err := Slice[line](a, 3)
	require.NoError(t, err)
	require.Zero(t, a.Left())

	// Separate, in order, aligned, and all of it in the arena.
	flows[0].hi, flows[59].next = math.MaxUint64, math.MaxUint32
	flows[59].count.Store(7)
	rest[0][0] = 9
	b := a.Bytes()
	require.Equal(t, make([]byte, 64), b[:64])
	require.Equal(t, byte(0xff), b[64])
	require.Equal(t, byte(9), b[64+60*64])
	require.Zero(t, offset(rest[0][:], CacheLine))
	require.Zero(t, rest[2][63])

	_, err = Slice[byte](a, 1)
	require.ErrorContains(t, err, "1 of uint8 take 1 bytes, the arena of 4096 bytes has 0 left")
}

func TestSliceFillsRaggedEnd(t *testing.T) {
	a := mustAlloc(t, 100, Options{})
	_, err := Slice[byte](a, 64)
	require.NoError(t, err)
	_, err = Slice[byte](a, 37)
	require.ErrorContains(t, err, "36 left")
	s, err := Slice[byte](a, 36)
	require.NoError(t, err)
	s[35] = 1
	require.Zero(t, a.Left())
}

func TestSizeForAddsUp(t *testing.T) {
	one, err := SizeFor[[3]uint8](5)
	require.NoError(t, err)
	two, err := SizeFor[flow](1000)
	require.NoError(t, err)
	require.Equal(t, 64, one)
	require.Equal(t, 64000, two)
	a := mustAlloc(t, one+two, Options{})
	_, err = Slice[[3]uint8](a, 5)
	require.NoError(t, err)
	_, err = Slice[flow](a, 1000)
	require.NoError(t, err)
	require.Zero(t, a.Left())
}

// The collector does not look into an arena, so nothing it would follow may be there.
func TestSliceRefusesPointers(t *testing.T) {
	a := mustAlloc(t, 4096, Options{})
	refuse := func(err error, where string) {
		t.Helper()
		require.ErrorContains(t, err, "hugepages: ")
		require.ErrorContains(t, err, where)
		require.ErrorContains(t, err, "use indices")
	}
	_, err := Slice[*int](a, 1)
	refuse(err, "*int (*int)")
	_, err = Slice[string](a, 1)
	refuse(err, "string")
	_, err = Slice[[]byte](a, 1)
	refuse(err, "[]uint8")
	_, err = Slice[map[int]int](a, 1)
	refuse(err, "map[int]int")
	_, err = Slice[chan int](a, 1)
	refuse(err, "chan int")
	_, err = Slice[func()](a, 1)
	refuse(err, "func()")
	_, err = Slice[any](a, 1)
	refuse(err, "interface {}")
	_, err = Slice[atomic.Pointer[flow]](a, 1)
	refuse(err, "atomic.Pointer")
	type inner struct {
		n    int
		name string
	}
	type outer struct {
		a [4]byte
		b [2]struct{ c inner }
	}
	_, err = Slice[outer](a, 1)
	refuse(err, "hugepages.outer.b[0].c.name (string)")
	_, err = SizeFor[outer](1)
	refuse(err, "hugepages.outer.b[0].c.name (string)")
	require.Equal(t, 4096, a.Left(), "a refusal takes nothing")
}

func TestSliceRefusesCounts(t *testing.T) {
	a := mustAlloc(t, 4096, Options{})
	for _, n := range []int{0, -1, math.MinInt} {
		_, err := Slice[flow](a, n)
		require.ErrorContains(t, err, "want at least 1")
	}
	for _, n := range []int{65, math.MaxInt / 64, math.MaxInt / 32, math.MaxInt} {
		_, err := Slice[flow](a, n)
		require.ErrorContains(t, err, "hugepages: ", "%d", n)
	}
	_, err := Slice[flow](a, math.MaxInt)
	require.ErrorContains(t, err, "more than can be addressed")
	_, err = Slice[struct{}](a, 1)
	require.ErrorContains(t, err, "has no size")
	_, err = Slice[[0]int](a, 1)
	require.ErrorContains(t, err, "has no size")
	require.Equal(t, 4096, a.Left())
}

// An arena is neither scanned nor moved nor counted by the collector.
func TestArenaIsOutsideTheHeap(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("arenas are on the heap here")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	a := mustAlloc(t, 64<<20, Options{})
	s, err := Slice[uint64](a, 8<<20)
	require.NoError(t, err)
	s[0], s[len(s)-1] = 1, 2
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapSys)-int64(before.HeapSys), int64(32<<20))
	require.Equal(t, uint64(3), s[0]+s[len(s)-1])
}

// A bare slice, without its Arena, keeps working: nothing frees behind our back.
func TestArenaHasNoFinalizer(t *testing.T) {
	s := func() []uint64 {
		a, err := Alloc(PageBytes, Options{})
		require.NoError(t, err)
		s, err := Slice[uint64](a, PageBytes/8)
		require.NoError(t, err)
		return s
	}()
	runtime.GC()
	runtime.GC()
	s[len(s)-1] = 5
	require.Equal(t, uint64(5), s[len(s)-1])
}

func TestPopulate(t *testing.T) {
	for _, opts := range []Options{{}, {NoTHP: true}} {
		a := mustAlloc(t, 3*PageBytes, opts)
		head, err := Slice[line](a, 7)
		require.NoError(t, err)
		s, err := Slice[flow](a, PageBytes/64+11)
		require.NoError(t, err)
		rest, err := Slice[line](a, 2*PageBytes/64-18)
		require.NoError(t, err)
		require.Zero(t, a.Left())
		s[0].hi, s[len(s)-1].next = 5, 6
		head[6][63], rest[0][0] = 7, 8
		require.NoError(t, Populate(s))
		require.Equal(t, [4]uint64{5, 6, 7, 8}, [4]uint64{s[0].hi, uint64(s[len(s)-1].next), uint64(head[6][63]), uint64(rest[0][0])})
		for i := 1; i < len(s)-1; i++ {
			require.Zero(t, s[i].hi|s[i].lo|uint64(s[i].next))
		}
		n, err := Resident(s)
		if runtime.GOOS != "linux" {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			continue
		}
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, len(s)*64-2*os.Getpagesize())
		require.LessOrEqual(t, n, len(s)*64)
		if n, err = Resident(rest); opts.NoTHP {
			require.NoError(t, err)
			require.Less(t, n, 2*os.Getpagesize(), "its neighbour is not touched")
		}
		require.NoError(t, Populate(rest[:1]), "less than a page")
	}
	require.NoError(t, Populate[flow](nil))
	n, err := Resident[flow](nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// On kernels before 5.14 pages are touched one by one.
func TestTouchPages(t *testing.T) {
	for _, n := range []int{4, 64, 4096, 4100, 3 * 4096} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		touchPages(b, 4096)
		for i := range b {
			require.Equal(t, byte(i), b[i])
		}
	}
}
