package hugepages

import (
	"errors"
	"io/fs"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// pool writes the files of one page size, as Linux 6.x has them.
func pool(m fstest.MapFS, dir, nr, free, resv, surplus string) fstest.MapFS {
	for name, v := range map[string]string{
		"nr_hugepages": nr, "free_hugepages": free, "resv_hugepages": resv, "surplus_hugepages": surplus,
		"nr_overcommit_hugepages": "0\n", "nr_hugepages_mempolicy": nr,
	} {
		m["hugepages/"+dir+"/"+name] = &fstest.MapFile{Data: []byte(v)}
	}
	return m
}

func TestStatusFS(t *testing.T) {
	m := fstest.MapFS{}
	pool(m, "hugepages-1048576kB", "2\n", "1\n", "0\n", "0\n")
	pool(m, "hugepages-2048kB", "512\n", "300\n", "100\n", "12\n")
	pool(m, "hugepages-64kB", "0\n", "0\n", "0\n", "0\n")
	m["hugepages/README"] = &fstest.MapFile{Data: []byte("not a pool")}
	got, err := StatusFS(m)
	require.NoError(t, err)
	require.Equal(t, []PageSize{
		{Bytes: 64 << 10},
		{Bytes: 2 << 20, Total: 512, Free: 300, Reserved: 100, Surplus: 12},
		{Bytes: 1 << 30, Total: 2, Free: 1},
	}, got)
	require.Equal(t, uint64(200), got[1].Available())
	require.Equal(t, "2 MiB: 300 of 512 pages free, 100 reserved, 12 surplus", got[1].String())
	require.Equal(t, "1 GiB: 1 of 2 pages free", got[2].String())
	require.Zero(t, PageSize{Free: 1, Reserved: 2}.Available())
}

func TestStatusFSErrors(t *testing.T) {
	_, err := StatusFS(fstest.MapFS{})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "CONFIG_HUGETLBFS")

	m := pool(fstest.MapFS{}, "hugepages-2048kB", "1", "many", "0", "0")
	_, err = StatusFS(m)
	require.ErrorContains(t, err, "hugepages/hugepages-2048kB/free_hugepages")

	m = pool(fstest.MapFS{}, "hugepages-2048kB", "1", "1", "0", "0")
	delete(m, "hugepages/hugepages-2048kB/resv_hugepages")
	_, err = StatusFS(m)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "resv_hugepages")
}

func TestTHPModeFS(t *testing.T) {
	const general, sized = "transparent_hugepage/enabled", "transparent_hugepage/hugepages-2048kB/enabled"
	for _, c := range []struct {
		name           string
		general, sized string // "-": no such file
		want, err      string
	}{
		{"madvise", "always [madvise] never\n", "-", "madvise", ""},
		{"always", "[always] madvise never\n", "-", "always", ""},
		{"never", "always madvise [never]\n", "-", "never", ""},
		{"inherited", "always [madvise] never\n", "always [inherit] madvise never\n", "madvise", ""},
		{"own", "always madvise [never]\n", "always inherit [madvise] never\n", "madvise", ""},
		{"own never", "[always] madvise never\n", "always inherit madvise [never]\n", "never", ""},
		{"none", "-", "-", "", "CONFIG_TRANSPARENT_HUGEPAGE"},
		{"empty", "", "-", "", "want always, madvise or never"},
		{"no choice", "always madvise never", "-", "", `reads "always madvise never"`},
		{"unknown", "[sometimes]", "-", "", "[sometimes]"},
		{"unclosed", "[always", "-", "", "in brackets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := fstest.MapFS{}
			if c.general != "-" {
				m[general] = &fstest.MapFile{Data: []byte(c.general)}
			}
			if c.sized != "-" {
				m[sized] = &fstest.MapFile{Data: []byte(c.sized)}
			}
			got, err := THPModeFS(m)
			require.Equal(t, c.want, got)
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
		})
	}
}

func TestStatusOfThisMachine(t *testing.T) {
	sizes, err := Status()
	if err != nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		t.Skip(err)
	}
	require.Equal(t, "linux", runtime.GOOS)
	for _, s := range sizes {
		t.Log(s)
		require.NotZero(t, s.Bytes)
	}
	mode, err := THPMode()
	t.Log("thp:", mode, err)
}
