package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
	"github.com/fastsyn/fastsyn/hugepages"
)

func TestHugepagesHelp(t *testing.T) {
	for _, c := range newHugepages().Commands() {
		code, out, _ := fastsynCmd(t, "hugepages", c.Name(), "--help")
		require.Zero(t, code)
		require.Contains(t, out, "Examples:")
		require.Contains(t, out, "fastsyn hugepages "+c.Name())
	}
}

func TestHugepagesWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"hugepages relase":                       `did you mean "release"?`,
		"hugepages reserve":                      "such as --count 512",
		"hugepages reserve --count 1 --size 3M":  "power of two",
		"hugepages reserve --count 1 --size x":   "such as 2M or 1G",
		"hugepages reserve --count 1 --node -2":  "-1 for any",
		"hugepages reserve --cuont 1":            `did you mean "--count"?`,
		"hugepages reserve --count 1 --size=":    "--size is empty",
		"hugepages release --count -1":           "0 for all",
		"hugepages release --node -2":            "-1 for all",
		"hugepages release --stale --count 2":    "leave out --size",
		"hugepages release --size 0":             "power of two",
		"hugepages status now":                   `unexpected argument "now"`,
		"hugepages reserve --count lots":         `invalid argument "lots"`,
		"hugepages release --stale --size 2M x ": "unexpected argument",
	} {
		code, _, err := fastsynCmd(t, strings.Fields(args)...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, err, want, args)
	}
}

func TestHugepagesElsewhere(t *testing.T) {
	if runtime.GOOS == "linux" {
		t.Skip("supported here")
	}
	for _, args := range []string{"status", "reserve --count 1", "release"} {
		code, _, err := fastsynCmd(t, append([]string{"hugepages"}, strings.Fields(args)...)...)
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "needs Linux")
	}
}

func TestHugepagesStatus(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	code, out, err := fastsynCmd(t, "hugepages", "status", "--json")
	require.Zero(t, code, err)
	m := decode(t, out)
	require.Equal(t, hugepagesSchema, m["schema"])
	require.Contains(t, m, "pools")
	require.Contains(t, m, "problems")
	file := filepath.Join(t.TempDir(), "s.json")
	code, out, _ = fastsynCmd(t, "hugepages", "--json="+file)
	require.Zero(t, code)
	require.Contains(t, out, "transparent  ")
	require.FileExists(t, file)
}

func TestWriteHugepages(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, writeHugepages(&b, &hugepages.State{
		Pools: []hugepages.Pool{{
			PageSize:   hugepages.PageSize{Bytes: 2 << 20, Total: 512, Free: 300, Reserved: 100, Surplus: 12},
			Overcommit: 64, Nodes: []hugepages.NodePool{{Node: 0, Total: 256, Free: 200, Surplus: 12}, {Node: 1, Total: 256, Free: 100}},
		}},
		THP:    hugepages.THP{Mode: "madvise", InUse: 8 << 20},
		Mounts: []hugepages.Mount{{Path: "/dev/hugepages", Bytes: 2 << 20}, {Path: "/h", Bytes: 1 << 30, Usable: true}},
		Limits: hugepages.Limits{MemlockUnlimited: true, Cgroup: []hugepages.CgroupLimit{
			{Group: "/sys/fs/cgroup/lab", File: "hugetlb.2MB.max", Bytes: 2 << 20, Max: 64 << 20, Current: 2 << 20},
		}},
		Reservations: []hugepages.Reservation{{
			ID: "r100-0a0b0c0d", PageBytes: 2 << 20, Shares: []hugepages.NodeShare{{Node: 1, Pages: 8}},
			Life: hugepages.Kept, Since: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		}},
		Problems: []hugepages.Problem{{Level: hugepages.Warn, What: "it is small", Cost: "speed", Fix: "make it larger"}},
	}))
	require.Equal(t, `   pool  node  pages  free  promised  surplus  on demand
  2 MiB   all    512   300       100       12         64
            0    256   200                 12
            1    256   100                  0

transparent  madvise, defrag unknown, 8 MiB in use
memlock      unlimited
cgroup       /sys/fs/cgroup/lab: 2 MiB of 64 MiB in use (hugetlb.2MB.max)
hugetlbfs    /dev/hugepages: pages of 2 MiB, not writable for this user
hugetlbfs    /h: pages of 1 GiB, writable
reserved     8 pages of 2 MiB on node 1: kept, since 2026-11-22 10:00:00Z (r100-0a0b0c0d)

warn: it is small
  costs: speed
  fix:   make it larger
`, b.String())
}

func TestReleaseReportText(t *testing.T) {
	var b bytes.Buffer
	r := releaseReport{Released: []hugepages.Released{
		{ID: "r1", PageBytes: 2 << 20, Pages: 3, Lost: 1, Busy: 2, Unmounted: "/h"}, {ID: "r2", Gone: true},
	}, Files: []string{"/h/fastsyn-x"}}
	require.NoError(t, r.writeText(&b))
	require.Equal(t, `r1: released 3 pages of 2 MiB, 1 were taken out of the pool by somebody else, 2 are in use, unmounted /h
r2: made before the last boot, nothing to give back
removed /h/fastsyn-x
`, b.String())
}

// The real thing, with few pages, given back at once.
func TestHugepagesReserveAndRelease(t *testing.T) {
	dptest.Need(t, "root", "netns") // where namespaces may be made, mounts may be
	size := func() string {
		b, err := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
		if err != nil {
			t.Skip(err)
		}
		return strings.TrimSpace(string(b))
	}
	before, dir := size(), t.TempDir()
	state, mount := filepath.Join(dir, "state"), filepath.Join(dir, "huge")
	t.Cleanup(func() { _, _, _ = fastsynCmd(t, "hugepages", "release", "--state-dir", state) })
	code, out, err := fastsynCmd(t, "hugepages", "reserve", "--count", "3", "--mount", mount, "--state-dir", state)
	if strings.Contains(err, "fragmented") || strings.Contains(err, "memory is left") {
		t.Skip(err)
	}
	require.Zero(t, code, err)
	require.Contains(t, out, "reserved 3 pages of 2 MiB")
	require.Contains(t, out, "mounted hugetlbfs on "+mount)
	code, out, err = fastsynCmd(t, "hugepages", "release", "--state-dir", state, "--stale")
	require.Zero(t, code, err)
	require.Contains(t, out, "nothing to release")
	code, out, err = fastsynCmd(t, "hugepages", "release", "--state-dir", state, "--count", "1", "--json")
	require.Zero(t, code, err)
	require.EqualValues(t, 1, decode(t, out)["released"].([]any)[0].(map[string]any)["pages"])

	a, e := hugepages.Alloc(1, hugepages.Options{Hugetlb: hugepages.Require})
	require.NoError(t, e)
	code, _, err = fastsynCmd(t, "hugepages", "release", "--state-dir", state, "--size", "2M", "--node", "-1")
	require.NoError(t, a.Free())
	if before == "0" {
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "1 pages are in use and stay reserved")
	}
	code, out, err = fastsynCmd(t, "hugepages", "release", "--state-dir", state)
	require.Zero(t, code, err)
	require.Contains(t, out+"unmounted", "unmounted")
	require.NoDirExists(t, mount)
	require.Equal(t, before, size())
}

// Without rights the error says what to do.
func TestHugepagesDenied(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() == 0 {
		t.Skip("needs Linux and an ordinary user")
	}
	code, _, err := fastsynCmd(t, "hugepages", "reserve", "--count", "1", "--state-dir", t.TempDir())
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "sudo")
}
