package hugepages

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// mustAlloc returns an arena that is freed, and so checked for errors, at the end of the test.
func mustAlloc(tb testing.TB, size int, opts Options) *Arena {
	a, err := Alloc(size, opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, a.Free()) })
	return a
}

func TestAllocSizes(t *testing.T) {
	for _, size := range []int{1, 63, 64, 4096, 4097, PageBytes - 1, PageBytes, PageBytes + 1, 5*PageBytes + 12345} {
		for _, opts := range []Options{{}, {NoTHP: true}, {Hugetlb: Auto}} {
			a := mustAlloc(t, size, opts)
			b := a.Bytes()
			require.Len(t, b, size)
			require.Equal(t, size, cap(b), "the rest of the mapping is out of reach")
			require.Equal(t, size, a.Size())
			require.Equal(t, size, a.Left())
			require.Zero(t, offset(b, CacheLine))
			if k := a.Kind(); k == KindTHP || k == KindHugetlb {
				require.Zero(t, offset(b, PageBytes))
			}
			require.Equal(t, -1, bytes.IndexFunc(b, func(r rune) bool { return r != 0 }), "not zeroed")
			b[0], b[size-1] = 0xa5, 0xa5 // both ends are ours to write
		}
	}
}

func TestAllocRefuses(t *testing.T) {
	for _, size := range []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt - 2*PageBytes, math.MaxInt / 2, math.MaxInt / 4} {
		for _, opts := range []Options{{}, {NoTHP: true}, {Hugetlb: Auto}, {Hugetlb: Require}} {
			a, err := Alloc(size, opts)
			require.ErrorContains(t, err, "hugepages: ", "%d bytes", size)
			require.Nil(t, a)
		}
	}
	_, err := Alloc(1, Options{Hugetlb: Require + 1})
	require.ErrorContains(t, err, "want Never, Auto or Require")
	_, err = Alloc(1, Options{Placement: Bind + 1})
	require.ErrorContains(t, err, "want Local, Prefer or Bind")
	_, err = Alloc(1, Options{Node: -2})
	require.ErrorContains(t, err, "or -1 for none")
}

// What a step could not do besides giving memory is told with why it is not a better one.
func TestNotesOfStepsAreTold(t *testing.T) {
	fake, _ := fakeHost(KindHugetlb)
	thp := fake.thp
	fake.thp = func(size int, opts *Options) (mapping, error) {
		m, err := thp(size, opts)
		m.note = fmt.Sprintf("not tied to node %d", opts.Node)
		return m, err
	}
	a, err := allocFrom(fake, PageBytes, Options{Hugetlb: Auto, Placement: Bind, Node: 7})
	require.NoError(t, err)
	require.Equal(t, "2 MiB thp (no hugetlb: hugetlb said no; not tied to node 7)", a.String())
	a, err = allocFrom(fake, PageBytes, Options{Placement: Bind, Node: 7})
	require.NoError(t, err)
	require.Equal(t, "2 MiB thp (not tied to node 7)", a.String())
}

// fakeHost returns a host of which the named steps fail, and the list of steps it was asked for.
func fakeHost(failing ...Kind) (host, *[]Kind) {
	var asked []Kind
	step := func(k Kind) func(int, *Options) (mapping, error) {
		return func(size int, _ *Options) (mapping, error) {
			asked = append(asked, k)
			for _, f := range failing {
				if f == k {
					return mapping{}, errors.New(k.String() + " said no")
				}
			}
			return mapping{mem: make([]byte, size), kind: k, free: func() error { return nil }}, nil
		}
	}
	return host{hugetlb: step(KindHugetlb), thp: step(KindTHP), plain: step(KindPlain)}, &asked
}

func TestFallbacks(t *testing.T) {
	const h, th, p = KindHugetlb, KindTHP, KindPlain
	for _, c := range []struct {
		name    string
		size    int
		opts    Options
		failing []Kind
		asked   []Kind
		text    string // of the arena, or of the error if want is 0
		want    Kind
	}{
		{"default", PageBytes, Options{}, nil, []Kind{th}, "2 MiB thp", th},
		{"default without thp", PageBytes, Options{}, []Kind{th}, []Kind{th, p}, "2 MiB plain (no thp: thp said no)", p},
		{"small", 4096, Options{}, nil, []Kind{p}, "4 KiB plain", p},
		{"small, pool wanted", 4096, Options{Hugetlb: Auto}, nil, []Kind{h}, "4 KiB hugetlb", h},
		{"no thp", PageBytes, Options{NoTHP: true}, nil, []Kind{p}, "2 MiB plain (no thp: switched off by option)", p},
		{"auto", PageBytes, Options{Hugetlb: Auto}, nil, []Kind{h}, "2 MiB hugetlb", h},
		{"auto, pool empty", 3 << 20, Options{Hugetlb: Auto}, []Kind{h}, []Kind{h, th}, "3 MiB thp (no hugetlb: hugetlb said no)", th},
		{
			"auto, neither", PageBytes,
			Options{Hugetlb: Auto},
			[]Kind{h, th},
			[]Kind{h, th, p},
			"2 MiB plain (no hugetlb: hugetlb said no; no thp: thp said no)", p,
		},
		{"auto, nothing", PageBytes, Options{Hugetlb: Auto}, []Kind{h, th, p}, []Kind{h, th, p}, "plain said no", 0},
		{"require", PageBytes, Options{Hugetlb: Require, NoTHP: true}, nil, []Kind{h}, "2 MiB hugetlb", h},
		{
			"require, pool empty", PageBytes + 1,
			Options{Hugetlb: Require},
			[]Kind{h},
			[]Kind{h},
			"hugepages: hugetlb arena of 2 MiB (2 pages of 2 MiB): hugetlb said no", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, asked := fakeHost(c.failing...)
			a, err := allocFrom(fake, c.size, c.opts)
			require.Equal(t, c.asked, *asked)
			if c.want == 0 {
				require.ErrorContains(t, err, c.text)
				require.Nil(t, a)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, a.Kind())
			require.Equal(t, c.text, a.String())
			require.Len(t, a.Bytes(), c.size)
		})
	}
}

func TestFreeTwice(t *testing.T) {
	a, err := Alloc(3*PageBytes, Options{})
	require.NoError(t, err)
	kind, text := a.Kind(), a.String()
	require.NoError(t, a.Free())
	require.NoError(t, a.Free())
	require.Nil(t, a.Bytes())
	require.Zero(t, a.Left())
	require.Equal(t, kind, a.Kind(), "reports outlive the memory")
	require.Equal(t, text, a.String())
	_, err = Slice[uint64](a, 1)
	require.ErrorContains(t, err, "freed")

	var none *Arena
	require.NoError(t, none.Free())
}

// A failing Free says so and may be tried again.
func TestFreeError(t *testing.T) {
	fake, _ := fakeHost()
	a, err := allocFrom(fake, 64, Options{})
	require.NoError(t, err)
	fail := true
	a.m.free = func() error {
		if fail {
			return errors.New("not now")
		}
		return nil
	}
	require.EqualError(t, a.Free(), "hugepages: free arena of 64 B: not now")
	require.NotNil(t, a.Bytes())
	fail = false
	require.NoError(t, a.Free())
	require.Nil(t, a.Bytes())
}

func TestIndependentArenasConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for round := range 20 {
				a, err := Alloc(PageBytes+g*4096, Options{NoTHP: round%2 == 0})
				if err != nil {
					t.Error(err)
					return
				}
				s, err := Slice[uint32](a, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range s {
					s[i] = uint32(g)
				}
				runtime.Gosched()
				for i := range s {
					if s[i] != uint32(g) {
						t.Errorf("arena %d: element %d became %d", g, i, s[i])
						return
					}
				}
				if err := a.Free(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestKindString(t *testing.T) {
	require.Equal(t, "hugetlb thp plain heap Kind(0)",
		KindHugetlb.String()+" "+KindTHP.String()+" "+KindPlain.String()+" "+KindHeap.String()+" "+Kind(0).String())
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB",
		2 << 20: "2 MiB", 1 << 30: "1 GiB", 5 << 40: "5 TiB", math.MaxUint64: "16 EiB",
	} {
		require.Equal(t, want, BytesText(n))
	}
}
