package hugepages

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestPoolsFS(t *testing.T) {
	got, err := PoolsFS(newMachine())
	require.NoError(t, err)
	require.Equal(t, []Pool{
		{
			PageSize:   PageSize{Bytes: 2 << 20, Total: 512, Free: 300, Reserved: 100, Surplus: 12},
			Overcommit: 64,
			Nodes:      []NodePool{{Node: 0, Total: 256, Free: 200, Surplus: 12}, {Node: 1, Total: 256, Free: 100}},
		},
		{
			PageSize: PageSize{Bytes: 1 << 30, Total: 2, Free: 1},
			Nodes:    []NodePool{{Node: 0, Total: 2, Free: 1}, {Node: 1}},
		},
	}, got)
	n, ok := got[0].On(1)
	require.True(t, ok)
	require.EqualValues(t, 100, n.Free)
	_, ok = got[0].On(2)
	require.False(t, ok)
	_, err = find(got, 1<<20)
	require.ErrorContains(t, err, "no pool of 1 MiB pages (it has: 2 MiB, 1 GiB)")
}

func TestPoolsFSWithoutNUMA(t *testing.T) {
	m := newMachine()
	for name := range m.MapFS {
		if len(name) > len(nodeDir) && name[:len(nodeDir)] == nodeDir {
			delete(m.MapFS, name)
		}
	}
	got, err := PoolsFS(m)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Empty(t, got[0].Nodes)
}

func TestPoolsFSErrors(t *testing.T) {
	_, err := PoolsFS(fstest.MapFS{})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	m := newMachine()
	m.set("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "some")
	_, err = PoolsFS(m)
	require.ErrorContains(t, err, "node1/hugepages/hugepages-2048kB/free_hugepages")
}

func TestTHPFS(t *testing.T) {
	got, err := THPFS(newMachine())
	require.NoError(t, err)
	require.Equal(t, THP{Mode: "madvise", Defrag: "madvise", InUse: 8 << 20}, got)
}

func TestMountsFS(t *testing.T) {
	m := newMachine()
	got, err := MountsFS(m)
	require.NoError(t, err)
	require.Equal(t, []Mount{
		{Path: "/dev/hugepages", Bytes: 2 << 20, Mode: 0o755, Device: "0:40"},
		{Path: "/mnt/huge 1G", Bytes: 1 << 30, Limit: 2 << 30, Mode: 0o700, UID: 1000, GID: 27, Device: "0:41", Usable: true},
	}, got)

	m.asRoot()
	got, err = MountsFS(m)
	require.NoError(t, err)
	require.True(t, got[0].Usable)

	// What chmod did since it was mounted counts; what is mounted on top hides it.
	m = newMachine()
	m.MapFS["dev/hugepages"] = &fstest.MapFile{Mode: fs.ModeDir | 0o1777}
	got, err = MountsFS(m)
	require.NoError(t, err)
	require.True(t, got[0].Usable)
	m.set("proc/self/mountinfo", "40 27 0:40 / /h rw - hugetlbfs n rw,pagesize=2M\n41 27 0:41 / /h ro - tmpfs n rw\nbroken\n")
	got, err = MountsFS(m)
	require.NoError(t, err)
	require.Empty(t, got)

	delete(m.MapFS, "proc/self/mountinfo")
	_, err = MountsFS(m)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestLimitsFS(t *testing.T) {
	m := newMachine()
	got, err := LimitsFS(m)
	require.NoError(t, err)
	require.Equal(t, Limits{Memlock: 8 << 20, Cgroup: []CgroupLimit{
		{Group: "/sys/fs/cgroup/user.slice/lab", File: "hugetlb.2MB.rsvd.max", Bytes: 2 << 20, Max: 20 << 20, Current: 4 << 20, Promise: true},
		{Group: "/sys/fs/cgroup/user.slice", File: "hugetlb.2MB.max", Bytes: 2 << 20, Max: 1 << 30},
	}}, got)
	require.EqualValues(t, 8, got.Cgroup[0].Left())
	require.Zero(t, CgroupLimit{Max: 1, Current: 2, Bytes: 1}.Left())

	m.set("proc/self/limits", "Max locked memory         unlimited            unlimited            bytes\n")
	m.set("proc/self/cgroup", "9:name=systemd:/\n5:hugetlb,pids:/docker/ab\n")
	m.set("proc/self/mountinfo", "30 27 0:30 /docker/ab /sys/fs/cgroup/hugetlb ro - cgroup cgroup rw,hugetlb,pids\n")
	m.set("sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes", "4194304\n")
	m.set("sys/fs/cgroup/hugetlb/hugetlb.2MB.usage_in_bytes", "2097152\n")
	m.set("sys/fs/cgroup/hugetlb/hugetlb.1GB.limit_in_bytes", "9223372036854771712\n")
	got, err = LimitsFS(m)
	require.NoError(t, err)
	require.True(t, got.MemlockUnlimited)
	require.Equal(t, []CgroupLimit{
		{Group: "/sys/fs/cgroup/hugetlb", File: "hugetlb.2MB.limit_in_bytes", Bytes: 2 << 20, Max: 4 << 20, Current: 2 << 20},
	}, got.Cgroup)

	m.set("proc/self/limits", "Max locked memory  lots  lots  bytes\n")
	_, err = LimitsFS(m)
	require.ErrorContains(t, err, "lots")
	m.set("proc/self/limits", "Max locked memory\n")
	_, err = LimitsFS(m)
	require.ErrorContains(t, err, "no value")
}

func TestRightsFS(t *testing.T) {
	r, err := rightsFS(newMachine())
	require.NoError(t, err)
	require.Equal(t, rights{uid: 1000, groups: []int{1000, 4, 27}}, r)
	require.True(t, r.mayWrite(0o200, 1000, 0))
	require.False(t, r.mayWrite(0o077, 1000, 0), "the owner's bits decide for the owner")
	require.True(t, r.mayWrite(0o020, 0, 27))
	require.False(t, r.mayWrite(0o702, 0, 27))
	require.True(t, r.mayWrite(0o002, 0, 0))
	r, err = rightsFS(newMachine().asRoot())
	require.NoError(t, err)
	require.True(t, r.mayWrite(0, 1, 1))
	require.True(t, r.has(capIPCLock))
}

func problems(t *testing.T, m machine) (out []string) {
	t.Helper()
	s, err := InspectFS(m)
	require.NoError(t, err)
	for _, p := range s.Problems {
		require.NotEmpty(t, p.What)
		require.NotEmpty(t, p.Cost, p.What)
		require.NotEmpty(t, p.Fix, p.What)
		require.Contains(t, p.String(), p.Fix)
		out = append(out, string(p.Level)+" "+p.What)
	}
	return out
}

func TestProblems(t *testing.T) {
	require.Equal(t, []string{
		"warn 1 GiB pages are on NUMA node 0 only, none on 1",
		"warn cgroup /sys/fs/cgroup/user.slice/lab allows 8 more pages of 2 MiB, the pool has 200",
		"note /dev/hugepages (2 MiB pages) is not writable for this user",
		"note RLIMIT_MEMLOCK is 8 MiB",
		"note this user is not root",
	}, problems(t, newMachine()))

	m := newMachine().asRoot()
	m.pool(2<<20, [4]uint64{8, 3, 3, 0}, [3]uint64{4, 1, 0}, [3]uint64{4, 2, 0})
	m.pool(1<<30, [4]uint64{})
	for _, f := range []string{"node0", "node1"} {
		delete(m.MapFS, nodeDir+"/"+f+"/hugepages/hugepages-1048576kB/nr_hugepages")
	}
	m.set("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")
	m.set("proc/self/mountinfo", "23 27 0:22 / /sys ro - sysfs sysfs rw\n")
	require.Equal(t, []string{
		"warn all 8 pages of 2 MiB are in use or promised",
		"warn transparent huge pages are switched off",
		"note no hugetlbfs is mounted",
		"note /sys is mounted read-only",
	}, problems(t, m))

	m.pool(2<<20, [4]uint64{}, [3]uint64{}, [3]uint64{})
	m.set("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
	m.set("sys/kernel/mm/transparent_hugepage/defrag", "always madvise [never]\n")
	m.set("proc/self/mountinfo", "23 27 0:22 / /h rw - hugetlbfs h rw,pagesize=2M\n")
	require.Equal(t, []string{
		"note no 2 MiB pages are reserved",
		"note transparent huge pages are never defragmented for",
	}, problems(t, m))

	for name := range m.MapFS {
		if len(name) > len("sys/kernel/mm") && name[:len("sys/kernel/mm")] == "sys/kernel/mm" {
			delete(m.MapFS, name)
		}
	}
	require.Equal(t, []string{
		"warn the kernel has no hugetlb pools",
		"note the kernel has no transparent huge pages",
	}, problems(t, m))
}

func TestProblemDeadReservation(t *testing.T) {
	m := newMachine().asRoot()
	m.set("run/fastsyn/hugepages/r77-1.json", `{"schema":"fastsyn.hugepages.reservation/v1","page_bytes":2097152,"asked_pages":8,
"shares":[{"node":0,"pages":8}],"owner":{"boot_id":"0a1b2c3d-aaaa-bbbb-cccc-000000000001","pid_ns":"4026531836","pid":77,"start":9}}`)
	m.set("run/fastsyn/hugepages/r78-1.json", `{`)
	m.set("run/fastsyn/hugepages/r79-1.json", `{"schema":"other/v9"}`)
	m.set("run/fastsyn/hugepages/lock", ``)
	got := problems(t, m)
	require.Contains(t, got, "warn process 77 died and left 8 pages of 2 MiB reserved")
	s, err := InspectFS(m)
	require.NoError(t, err)
	require.Len(t, s.Reservations, 1)
	require.Equal(t, "r77-1", s.Reservations[0].ID)
	require.Equal(t, "8 pages of 2 MiB on node 0", s.Reservations[0].String())
	require.Contains(t, strings.Join(got, "\n"), "r78-1.json")
	require.Contains(t, strings.Join(got, "\n"), `"other/v9"`)
}

func TestLifeFS(t *testing.T) {
	m := newMachine()
	me, err := selfFS(m)
	require.NoError(t, err)
	require.Equal(t, Owner{BootID: "0a1b2c3d-aaaa-bbbb-cccc-000000000001", PIDNS: "4026531836", PID: 100, Start: 5000}, me)
	m.process(200, 7000)
	for _, c := range []struct {
		name string
		edit func(*Owner)
		want Life
	}{
		{"this process", func(*Owner) {}, Running},
		{"another", func(o *Owner) { o.PID, o.Start = 200, 7000 }, Running},
		{"number used again", func(o *Owner) { o.PID, o.Start = 200, 6999 }, Dead},
		{"ended", func(o *Owner) { o.PID = 300 }, Dead},
		{"kept", func(o *Owner) { o.PID, o.Kept = 300, true }, Kept},
		{"earlier boot", func(o *Owner) { o.BootID, o.Kept = "x", true }, Gone},
		{"other namespace", func(o *Owner) { o.PIDNS = "1" }, Foreign},
	} {
		o := me
		c.edit(&o)
		require.Equal(t, c.want, lifeFS(m, o), c.name)
	}
	m.set("proc/100/stat", "100 (x) S 1")
	require.Equal(t, Running, lifeFS(m, me), "unreadable is not dead")
	require.Equal(t, Foreign, lifeFS(fstest.MapFS{}, me))
}

func TestFileNamesTellTheirOwner(t *testing.T) {
	o := Owner{BootID: "0a1b2c3d-aaaa-bbbb-cccc-000000000001", PIDNS: "4026531836", PID: 100, Start: 5000}
	got, ok := ownerOf(o.fileName("table-0.1"))
	require.True(t, ok)
	require.Equal(t, o, got)
	for _, name := range []string{"", "rtemap_0", "fastsyn-", "fastsyn-table", "fastsyn-b.1.2.3", "fastsyn-b.1.0.3-x", "fastsyn-b.1.-2.3-x", "fastsyn-b.1.x.3-x", "fastsyn-.1.2.3-x", "fastsyn-b.1.2.x-y"} {
		_, ok := ownerOf(name)
		require.False(t, ok, name)
	}
}

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]uint64{
		"2M": 2 << 20, "2 MiB": 2 << 20, "2mb": 2 << 20, "1G": 1 << 30, "1024M": 1 << 30, "64kB": 64 << 10, "4096": 4096, "0": 0, "4B": 4, "16P": 16 << 50, "0T": 0,
	} {
		got, err := ParseBytes(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "M", "2X", "-1", "2MM", "99999999999P", "1 KM"} {
		_, err := ParseBytes(s)
		require.ErrorContains(t, err, "hugepages: size", s)
	}
	for n, want := range map[uint64]string{2 << 20: "2M", 1 << 30: "1G", 64 << 10: "64K", 3: "3", 0: "0", 1025: "1025", 1 << 60: "1E", math.MaxUint64: "18446744073709551615"} {
		require.Equal(t, want, short(n))
	}
}

func FuzzParsers(f *testing.F) {
	m := newMachine()
	f.Add(string(m.MapFS["proc/self/mountinfo"].Data), "2M", "fastsyn-b.1.2.3-x")
	f.Add("1 2 0:1 / /a\\04 rw - hugetlbfs", "1 GiB", "fastsyn-....-")
	f.Fuzz(func(t *testing.T, mounts, size, name string) {
		m := newMachine()
		m.set("proc/self/mountinfo", mounts)
		m.set("proc/self/cgroup", mounts)
		m.set("proc/self/status", mounts)
		m.set("proc/self/limits", mounts)
		m.set("proc/100/stat", mounts)
		_, _ = InspectFS(m)
		if n, err := ParseBytes(size); err == nil {
			again, err := ParseBytes(short(n))
			if n < 1<<60 && (err != nil || again != n) {
				t.Fatalf("%q: %d, then %d, %v", size, n, again, err)
			}
		}
		if o, ok := ownerOf(name); ok {
			if again, ok := ownerOf(o.fileName("x")); !ok || again != o {
				t.Fatalf("%q: %+v, then %+v", name, o, again)
			}
		}
	})
}

func TestInspectThisMachine(t *testing.T) {
	s, err := Inspect()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	require.NoError(t, err)
	for _, p := range s.Problems {
		t.Log(p)
	}
}
