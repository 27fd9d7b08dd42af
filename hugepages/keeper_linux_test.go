package hugepages

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// reserved adds n pages of 2 MiB to the pool of this machine for the time of
// the test. It skips where there are no rights or no memory for that.
func reserved(t *testing.T, n int) *Keeper {
	t.Helper()
	dptest.Need(t, "root")
	k, err := NewKeeper(t.TempDir())
	require.NoError(t, err)
	r, err := k.Reserve(PageBytes, n, AnyNode, ReserveOptions{})
	if err != nil || r.Pages() < uint64(n) {
		if err == nil {
			_, err = k.Release(r, 0)
			require.NoError(t, err)
		}
		t.Skip("this machine has no pages to give: ", err)
	}
	t.Cleanup(func() {
		if _, err := k.Release(r, 0); err != nil && !strings.Contains(err.Error(), "released already") {
			t.Error(err)
		}
	})
	return k
}

func poolSize(t *testing.T) uint64 {
	t.Helper()
	pools, err := PoolsFS(os.DirFS("/"))
	require.NoError(t, err)
	p, err := find(pools, PageBytes)
	require.NoError(t, err)
	return persistent(p.Total, p.Surplus)
}

func TestReserveOnThisMachine(t *testing.T) {
	dptest.Need(t, "root")
	before := poolSize(t)
	k := reserved(t, 4)
	require.Equal(t, before+4, poolSize(t))
	a := mustAlloc(t, 3*PageBytes, Options{Hugetlb: Require})
	list, err := k.List()
	require.NoError(t, err)
	require.Equal(t, Running, list[0].Life)

	out, err := k.Release(&list[0], 0)
	require.NoError(t, err)
	if before == 0 {
		require.EqualValues(t, 1, out.Pages)
		require.EqualValues(t, 3, out.Busy, "our arena has them")
	}
	require.NoError(t, a.Free())
	if out.Busy > 0 {
		_, err = k.Release(&list[0], 0)
		require.NoError(t, err)
	}
	require.Equal(t, before, poolSize(t))
}

// A real hugetlbfs, with a file that a real dead process left in it.
func TestMountOnThisMachine(t *testing.T) {
	dptest.Need(t, "root", "netns") // may mount, where it may make namespaces
	k := reserved(t, 2)
	dir := filepath.Join(t.TempDir(), "huge")
	before := poolSize(t)
	r, err := k.Reserve(PageBytes, 1, AnyNode, ReserveOptions{Mount: dir})
	require.NoError(t, err)
	mounts, err := MountsFS(os.DirFS("/"))
	require.NoError(t, err)
	found := false
	for _, m := range mounts {
		if m.Path == dir {
			found = true
			require.EqualValues(t, PageBytes, m.Bytes)
			require.True(t, m.Usable)
			require.Equal(t, os.FileMode(0o700), m.Mode)
		}
	}
	require.True(t, found)

	mine, err := CreateFile(dir, "mine")
	require.NoError(t, err)
	require.NoError(t, mine.Truncate(PageBytes))
	require.NoError(t, mine.Close())
	child := exec.Command(os.Args[0], "-test.run=^TestChildLeavesFile$", "-test.v")
	child.Env = append(os.Environ(), "FASTSYN_TEST_HUGE="+dir)
	out, err := child.CombinedOutput()
	require.NoError(t, err, string(out))

	removed, err := Sweep(dir)
	require.NoError(t, err)
	require.Len(t, removed, 1)
	require.Contains(t, removed[0], "-left")
	require.FileExists(t, mine.Name())
	require.NoError(t, os.Remove(mine.Name()))
	released, err := k.Release(r, 0)
	require.NoError(t, err)
	require.Equal(t, dir, released.Unmounted)
	require.NoDirExists(t, dir)
	require.Equal(t, before, poolSize(t))
}

// A real process that dies with pages reserved: the next one finds and returns them.
func TestCrashOnThisMachine(t *testing.T) {
	k := reserved(t, 1) // so that there are pages to be had
	before := poolSize(t)
	child := exec.Command(os.Args[0], "-test.run=^TestChildReserves$", "-test.v")
	child.Env = append(os.Environ(), "FASTSYN_TEST_STATE="+k.dir)
	out, err := child.CombinedOutput()
	require.Error(t, err, "it kills itself")
	require.Contains(t, string(out), "reserved 2 pages")
	require.Equal(t, before+2, poolSize(t))

	s, err := k.List()
	require.NoError(t, err)
	require.Len(t, s, 2)
	require.Equal(t, []Life{Running, Dead}, []Life{s[0].Life, s[1].Life})
	released, _, err := k.ReleaseStale()
	require.NoError(t, err)
	require.Len(t, released, 1)
	require.EqualValues(t, 2, released[0].Pages)
	require.Equal(t, before, poolSize(t))
}

// TestChildReserves is the process that dies in the test above.
func TestChildReserves(t *testing.T) {
	dir := os.Getenv("FASTSYN_TEST_STATE")
	if dir == "" {
		t.Skip("runs as a child of TestCrashOnThisMachine")
	}
	k, err := NewKeeper(dir)
	require.NoError(t, err)
	r, err := k.Reserve(PageBytes, 2, AnyNode, ReserveOptions{})
	require.NoError(t, err)
	fmt.Println("reserved", r.Pages(), "pages")
	require.NoError(t, unix.Kill(os.Getpid(), unix.SIGKILL))
	select {}
}

// TestChildLeavesFile is the other process of the test above.
func TestChildLeavesFile(t *testing.T) {
	dir := os.Getenv("FASTSYN_TEST_HUGE")
	if dir == "" {
		t.Skip("runs as a child of TestMountOnThisMachine")
	}
	f, err := CreateFile(dir, "left")
	require.NoError(t, err)
	require.NoError(t, f.Truncate(PageBytes))
	require.NoError(t, f.Close())
}
