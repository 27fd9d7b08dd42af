package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// kernel imitates the hugetlb pools of set_max_huge_pages() in mm/hugetlb.c: all
// its counters are per node, growing turns surplus pages into persistent ones
// first, shrinking leaves what is in use as surplus.
type kernel struct {
	machine
	page    uint64
	nodes   []node
	resv    uint64
	perCall uint64 // pages that one write adds before a signal interrupts it; 0 for no bound
	deny    error
	writes  []string
}

type node struct{ total, free, surplus, room uint64 }

func (k *kernel) publish() {
	var all [4]uint64
	var each [][3]uint64
	for _, n := range k.nodes {
		all[0], all[1], all[3] = all[0]+n.total, all[1]+n.free, all[3]+n.surplus
		each = append(each, [3]uint64{n.total, n.free, n.surplus})
	}
	all[2] = k.resv
	k.pool(k.page, all, each...)
}

func (k *kernel) write(name, value string) error {
	if k.deny != nil {
		return k.deny
	}
	k.writes = append(k.writes, name+"="+value)
	want, err := strconv.ParseUint(value, 10, 64)
	if err != nil || !strings.HasSuffix(name, "nr_hugepages") {
		return err
	}
	nodes := k.nodes
	if i := 0; strings.HasPrefix(name, nodeDir) {
		if _, err := fmt.Sscanf(name[len(nodeDir):], "/node%d/", &i); err != nil {
			return err
		}
		nodes = k.nodes[i : i+1]
	}
	size := func() (n uint64) {
		for _, x := range nodes {
			n += x.total - x.surplus
		}
		return n
	}
	for i := range nodes {
		for nodes[i].surplus > 0 && size() < want {
			nodes[i].surplus--
		}
	}
	added, stuck := uint64(0), 0
	for i := 0; size() < want && stuck < len(nodes) && (k.perCall == 0 || added < k.perCall); i = (i + 1) % len(nodes) {
		if n := &nodes[i]; n.room > 0 {
			n.room, n.total, n.free, added, stuck = n.room-1, n.total+1, n.free+1, added+1, 0
		} else {
			stuck++
		}
	}
	for i, stuck := 0, 0; size() > want && stuck < len(nodes); i = (i + 1) % len(nodes) {
		switch n := &nodes[i]; {
		case n.free > k.resv:
			n.room, n.total, n.free, stuck = n.room+1, n.total-1, n.free-1, 0
		case n.surplus < n.total:
			n.surplus++
		default:
			stuck++
		}
	}
	k.publish()
	return nil
}

// newKernel is a machine whose nodes have room for so many more pages, and a keeper for it.
func newKernel(t *testing.T, nodes ...node) (*kernel, *Keeper) {
	k := &kernel{machine: newMachine().asRoot(), page: 2 << 20, nodes: nodes}
	k.set("proc/self/mountinfo", "23 27 0:22 / /sys rw - sysfs sysfs rw\n")
	for name := range k.MapFS {
		if strings.HasPrefix(name, nodeDir) {
			delete(k.MapFS, name)
		}
	}
	k.publish()
	return k, k.keeper(filepath.Join(t.TempDir(), "state"))
}

func (k *kernel) keeper(dir string) *Keeper {
	return &Keeper{
		root: k.machine, dir: dir, base: 4096, write: k.write,
		mount: func(dir string, page uint64) error {
			k.set("proc/self/mountinfo", fmt.Sprintf("50 27 0:50 / %s rw - hugetlbfs nodev rw,mode=700,pagesize=%s\n", dir, short(page)))
			return nil
		},
		unmount: func(string) error { k.set("proc/self/mountinfo", ""); return nil },
		lock:    func(string) (func() error, error) { return func() error { return nil }, nil },
	}
}

// process lets the machine be that of another process.
func (k *kernel) become(pid int, start uint64) {
	k.set("proc/self/stat", stat(pid, start))
	k.machine.process(pid, start)
}

func (k *kernel) kill(pid int) { delete(k.MapFS, fmt.Sprintf("proc/%d/stat", pid)) }

func (k *kernel) sizes() (out []uint64) {
	for _, n := range k.nodes {
		out = append(out, n.total-n.surplus)
	}
	return out
}

func reserve(t *testing.T, k *Keeper, count, node int) *Reservation {
	t.Helper()
	r, err := k.Reserve(2<<20, count, node, ReserveOptions{})
	require.NoError(t, err)
	return r
}

func release(t *testing.T, k *Keeper, r *Reservation) Released {
	t.Helper()
	out, err := k.Release(r, 0)
	require.NoError(t, err)
	return out
}

func TestReserveAndRelease(t *testing.T) {
	kn, k := newKernel(t, node{total: 10, free: 4, room: 100}, node{total: 2, free: 2, room: 100})
	r := reserve(t, k, 20, AnyNode)
	require.EqualValues(t, 20, r.Pages())
	require.Empty(t, r.Short)
	require.Equal(t, []uint64{20, 12}, kn.sizes())
	require.Equal(t, "20 pages of 2 MiB on node 0,1", r.String())

	one := reserve(t, k, 5, 1)
	require.Equal(t, []uint64{20, 17}, kn.sizes())
	list, err := k.List()
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, Running, list[0].Life)

	require.Equal(t, Released{ID: r.ID, PageBytes: 2 << 20, Pages: 20}, release(t, k, r))
	require.Equal(t, []uint64{10, 7}, kn.sizes(), "each node gets back what it gave")
	release(t, k, one)
	require.Equal(t, []uint64{10, 2}, kn.sizes())
	list, err = k.List()
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = k.Release(r, 0)
	require.ErrorContains(t, err, "released already")
}

func TestReleaseInParts(t *testing.T) {
	kn, k := newKernel(t, node{room: 100})
	r := reserve(t, k, 10, 0)
	out, err := k.Release(r, 3)
	require.NoError(t, err)
	require.EqualValues(t, 3, out.Pages)
	require.Equal(t, []uint64{7}, kn.sizes())
	require.EqualValues(t, 7, release(t, k, r).Pages)
}

func TestReserveWithoutNUMA(t *testing.T) {
	kn, k := newKernel(t)
	kn.nodes = []node{{total: 3, free: 3, room: 5}}
	// Publishing writes node files; take them away after each write.
	k.write = func(name, value string) error {
		err := kn.write(name, value)
		for name := range kn.MapFS {
			if strings.HasPrefix(name, nodeDir) {
				delete(kn.MapFS, name)
			}
		}
		return err
	}
	require.NoError(t, k.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "3"))
	r := reserve(t, k, 4, AnyNode)
	require.Equal(t, []uint64{7}, kn.sizes())
	require.Equal(t, "4 pages of 2 MiB", r.String())
	release(t, k, r)
	require.Equal(t, []uint64{3}, kn.sizes())
	_, err := k.Reserve(2<<20, 1, 0, ReserveOptions{})
	require.ErrorContains(t, err, "there are none (a kernel without NUMA)")
}

// The kernel stops adding pages when a signal is pending, which in a Go program is often.
func TestReserveGoesOnAfterSignals(t *testing.T) {
	kn, k := newKernel(t, node{room: 1000}, node{room: 1000})
	kn.perCall = 7
	r := reserve(t, k, 100, AnyNode)
	require.EqualValues(t, 100, r.Pages())
	require.Empty(t, r.Short)
	require.Len(t, kn.writes, 15)
}

func TestReserveShort(t *testing.T) {
	kn, k := newKernel(t, node{total: 2, free: 2, room: 3}, node{room: 0})
	r := reserve(t, k, 100, AnyNode)
	require.EqualValues(t, 3, r.Pages())
	require.Contains(t, r.Short, "the kernel gave 3 of 100 pages: memory is fragmented (8 GiB left, but only 18 free blocks of 2 MiB)")
	require.Contains(t, r.Short, "echo 1 > /proc/sys/vm/compact_memory")
	require.Contains(t, r.Short, "hugepagesz=2M hugepages=100")
	release(t, k, r)
	require.Equal(t, []uint64{2, 0}, kn.sizes())

	kn.set("proc/meminfo", "MemAvailable:    4096 kB\n")
	_, err := k.Reserve(2<<20, 2, AnyNode, ReserveOptions{})
	require.EqualError(t, err, "hugepages: reserve 2 pages of 2 MiB (4 MiB): only 4 MiB of memory is left: ask for at most 1, or free memory")
	require.Equal(t, []uint64{2, 0}, kn.sizes())
	kn.set("proc/meminfo", "MemAvailable:    8388608 kB\n")

	// Nothing at all is an error and leaves no trace.
	kn.set("sys/devices/system/node/node1/meminfo", "Node 1 MemFree:  8192 kB\nNode 1 Active(file):  8192 kB\n")
	_, err = k.Reserve(2<<20, 4, 1, ReserveOptions{})
	require.ErrorContains(t, err, "reserve 4 pages of 2 MiB on node 1: the kernel gave 0 of 4 pages: memory is fragmented (16 MiB left, but only 3 free blocks")
	list, err := k.List()
	require.NoError(t, err)
	require.Empty(t, list)

	kn.page = 1 << 30
	kn.publish()
	kn.set("proc/meminfo", "MemAvailable:    41943040 kB\n")
	_, err = k.Reserve(1<<30, 4, AnyNode, ReserveOptions{Compact: true})
	require.NoError(t, err)
	require.Contains(t, kn.writes, "proc/sys/vm/compact_memory=1")
	r, err = k.Reserve(1<<30, 4, AnyNode, ReserveOptions{})
	require.Nil(t, r)
	require.ErrorContains(t, err, "too fragmented for pages of 1 GiB while the system runs: boot with hugepagesz=1G hugepages=4")
}

// Growing a pool that has surplus pages makes those persistent first.
func TestReserveWithSurplus(t *testing.T) {
	kn, k := newKernel(t, node{total: 6, free: 0, surplus: 4, room: 10})
	r := reserve(t, k, 6, AnyNode)
	require.EqualValues(t, 6, r.Pages())
	require.Equal(t, []uint64{8}, kn.sizes())
	require.Equal(t, node{total: 8, free: 2, room: 8}, kn.nodes[0])
	out := release(t, k, r)
	require.EqualValues(t, 2, out.Pages)
	require.EqualValues(t, 4, out.Busy, "in use by somebody: they stay, and stay remembered")
	require.Equal(t, []uint64{6}, kn.sizes())
	kn.nodes[0].free = 6
	kn.publish()
	require.EqualValues(t, 4, release(t, k, r).Pages)
	require.Equal(t, []uint64{2}, kn.sizes())
}

func TestReleaseLeavesPromisedPages(t *testing.T) {
	kn, k := newKernel(t, node{room: 10})
	r := reserve(t, k, 8, AnyNode)
	kn.resv = 5
	kn.publish()
	out := release(t, k, r)
	require.EqualValues(t, 3, out.Pages)
	require.EqualValues(t, 5, out.Busy)
}

// Whatever others do to the pool meanwhile, their pages stay.
func TestReleaseNeverTakesFromOthers(t *testing.T) {
	for _, c := range []struct {
		name  string
		admin uint64 // sets the pool of 10 + 5 + 5 pages to this
		left  uint64 // when both are released
		lost  uint64
	}{
		{"no change", 20, 10, 0},
		{"grown", 30, 20, 0},
		{"shrunk into ours", 12, 10, 8},
		{"shrunk to theirs", 10, 10, 10},
		{"shrunk below", 4, 4, 10},
		{"emptied", 0, 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			kn, k := newKernel(t, node{total: 10, free: 10, room: 50})
			a, b := reserve(t, k, 5, AnyNode), reserve(t, k, 5, 0)
			require.EqualValues(t, 10, b.Shares[0].Others)
			require.NoError(t, kn.write(knob(2<<20, AnyNode), fmt.Sprint(c.admin)))
			lost := release(t, k, a).Lost + release(t, k, b).Lost
			require.Equal(t, []uint64{c.left}, kn.sizes())
			require.Equal(t, c.lost, lost)
		})
	}
}

func TestReleaseStale(t *testing.T) {
	kn, k := newKernel(t, node{room: 100})
	mine := reserve(t, k, 1, AnyNode)
	kn.become(200, 7000)
	theirs := reserve(t, k, 2, AnyNode)
	kept, err := k.Reserve(2<<20, 4, AnyNode, ReserveOptions{Keep: true})
	require.NoError(t, err)
	kn.become(300, 8000)

	out, files, err := k.ReleaseStale()
	require.NoError(t, err)
	require.Empty(t, out)
	require.Empty(t, files)
	kn.kill(200)
	out, _, err = k.ReleaseStale()
	require.NoError(t, err)
	require.Equal(t, []Released{{ID: theirs.ID, PageBytes: 2 << 20, Pages: 2}}, out)
	require.Equal(t, []uint64{5}, kn.sizes())

	// After a reboot the pools are as the boot left them.
	kn.set("proc/sys/kernel/random/boot_id", "another\n")
	out, _, err = k.ReleaseStale()
	require.NoError(t, err)
	require.ElementsMatch(t, []Released{{ID: mine.ID, PageBytes: 2 << 20, Gone: true}, {ID: kept.ID, PageBytes: 2 << 20, Gone: true}}, out)
	require.Equal(t, []uint64{5}, kn.sizes())
}

// A process that dies between writing its plan and noting what came.
func TestCrashWhileReserving(t *testing.T) {
	kn, k := newKernel(t, node{total: 3, free: 3, room: 100}, node{room: 100})
	real := k.write
	k.write = func(name, value string) error {
		require.NoError(t, real(name, value))
		panic("killed")
	}
	require.PanicsWithValue(t, "killed", func() { _, _ = k.Reserve(2<<20, 8, AnyNode, ReserveOptions{}) })
	require.Equal(t, []uint64{7, 4}, kn.sizes())
	k.write = real
	kn.kill(100)
	kn.become(200, 7000)
	other := reserve(t, k, 2, 1)
	out, _, err := k.ReleaseStale()
	require.NoError(t, err)
	require.Len(t, out, 1)
	require.EqualValues(t, 8, out[0].Pages)
	release(t, k, other)
	require.Equal(t, []uint64{3, 0}, kn.sizes())

	// Dead before anything changed.
	k.write = func(string, string) error { panic("killed") }
	require.PanicsWithValue(t, "killed", func() { _, _ = k.Reserve(2<<20, 8, AnyNode, ReserveOptions{}) })
	kn.kill(200)
	kn.become(300, 7001)
	k.write = real
	out, _, err = k.ReleaseStale()
	require.NoError(t, err)
	require.Zero(t, out[0].Pages)
	require.Equal(t, []uint64{3, 0}, kn.sizes())
}

func TestReserveRefuses(t *testing.T) {
	kn, k := newKernel(t, node{room: 100}, node{room: 100})
	for _, c := range []struct {
		page        uint64
		count, node int
		want        string
	}{
		{2 << 20, 0, AnyNode, "want at least 1"},
		{3 << 20, 1, AnyNode, "no pool of 3 MiB pages"},
		{2 << 20, 1 << 60, AnyNode, "more memory than can be addressed"},
		{2 << 20, 1, 2, "no such node; there are 0, 1"},
		{2 << 20, 1, -2, "no such node"},
	} {
		_, err := k.Reserve(c.page, c.count, c.node, ReserveOptions{})
		require.ErrorContains(t, err, c.want)
	}
	for err, want := range map[error]string{
		fs.ErrPermission: "only root may change it: sudo sh -c 'echo 1 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages'",
		syscall.EROFS:    "run the container with --privileged",
		syscall.EINVAL:   "hugepages=COUNT on the kernel command line",
	} {
		kn.deny = err
		_, got := k.Reserve(2<<20, 1, AnyNode, ReserveOptions{})
		require.ErrorIs(t, got, err)
		require.ErrorContains(t, got, want)
	}
	kn.deny = fs.ErrPermission
	_, err := k.Reserve(2<<20, 1, AnyNode, ReserveOptions{Compact: true})
	require.ErrorContains(t, err, "compact memory")
	list, err := k.List()
	require.NoError(t, err)
	require.Empty(t, list, "a refusal leaves no trace")

	kn.deny = nil
	r := reserve(t, k, 3, AnyNode)
	kn.deny = fs.ErrPermission
	_, err = k.Release(r, 0)
	require.ErrorContains(t, err, "release 2 pages of 2 MiB")
	list, err = k.List()
	require.NoError(t, err)
	require.EqualValues(t, 3, list[0].Pages(), "and a failed release can be repeated")
}

func TestReserveMounts(t *testing.T) {
	kn, k := newKernel(t, node{room: 100})
	dir := filepath.Join(t.TempDir(), "huge")
	opts := ReserveOptions{Mount: dir}
	r, err := k.Reserve(2<<20, 1, AnyNode, opts)
	require.NoError(t, err)
	require.Equal(t, &MadeMount{Path: dir, Device: "0:50", MadeDir: true}, r.Mount)
	again, err := k.Reserve(2<<20, 1, AnyNode, opts)
	require.NoError(t, err)
	require.Nil(t, again.Mount, "not ours")
	require.Empty(t, release(t, k, again).Unmounted)
	k.unmount = func(string) error { return syscall.EBUSY }
	_, err = k.Release(r, 0)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.ErrorContains(t, err, "fuser -vm "+dir)
	require.Equal(t, []uint64{1}, kn.sizes())
	k.unmount = func(string) error { kn.set("proc/self/mountinfo", ""); return nil }
	require.Equal(t, dir, release(t, k, r).Unmounted)
	require.NoDirExists(t, dir)
	require.Equal(t, []uint64{0}, kn.sizes())

	// Somebody else's mount in the same place stays.
	r, err = k.Reserve(2<<20, 1, AnyNode, opts)
	require.NoError(t, err)
	kn.set("proc/self/mountinfo", "51 27 0:51 / "+dir+" rw - hugetlbfs nodev rw,pagesize=2M\n")
	k.unmount = func(string) error { t.Error("unmounted"); return nil }
	release(t, k, r)
	k.unmount = func(string) error { return syscall.EINVAL } // nothing is mounted

	kn.set("proc/self/mountinfo", "51 27 0:51 / "+dir+" rw - hugetlbfs nodev rw,pagesize=1024M\n")
	_, err = k.Reserve(2<<20, 1, AnyNode, opts)
	require.ErrorContains(t, err, "a hugetlbfs of 1 GiB pages is there")

	// A mount that fails takes the pages back.
	kn.set("proc/self/mountinfo", "")
	require.NoError(t, os.Remove(dir))
	k.mount = func(string, uint64) error { return fs.ErrPermission }
	_, err = k.Reserve(2<<20, 1, AnyNode, opts)
	require.ErrorContains(t, err, "mounting needs root")
	require.NoDirExists(t, dir)
	require.Equal(t, []uint64{0}, kn.sizes())
	k.mount = func(string, uint64) error { return nil }
	_, err = k.Reserve(2<<20, 1, AnyNode, ReserveOptions{Mount: t.TempDir()})
	require.ErrorContains(t, err, "does not show")
	full := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	_, err = k.Reserve(2<<20, 1, AnyNode, ReserveOptions{Mount: full})
	require.ErrorContains(t, err, "not empty")
	list, err := k.List()
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestSweepRemovesOnlyFilesOfTheDead(t *testing.T) {
	m, dir := newMachine(), t.TempDir()
	me, err := selfFS(m)
	require.NoError(t, err)
	dead, old, foreign := me, me, me
	dead.PID, old.BootID, foreign.PIDNS = 77, "earlier", "1"
	for _, name := range []string{me.fileName("a"), dead.fileName("b"), old.fileName("c"), foreign.fileName("d"), "rtemap_0", "fastsyn-notes"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, dead.fileName("directory")), 0o700))
	removed, err := sweep(m, dir)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{filepath.Join(dir, dead.fileName("b")), filepath.Join(dir, old.fileName("c"))}, removed)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 5)
	_, err = sweep(m, filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestKeeperElsewhere(t *testing.T) {
	k, err := NewKeeper("")
	if err != nil {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = CreateFile(t.TempDir(), "x")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = Sweep(t.TempDir())
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	require.Equal(t, StateDir, k.dir)
	f, err := CreateFile(t.TempDir(), "x")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	removed, err := Sweep(filepath.Dir(f.Name()))
	require.NoError(t, err)
	require.Empty(t, removed, "we live")
	_, err = CreateFile(t.TempDir(), "../x")
	require.ErrorContains(t, err, "without a slash")
}
