package hugepages

import (
	"fmt"
	"io/fs"
	"strings"
	"testing/fstest"
)

// machine is a made-up root directory: two NUMA nodes, pools of 2 MiB and 1 GiB,
// a hugetlbfs, cgroup v2 with a limit, a process 100 of an ordinary user.
type machine struct{ fstest.MapFS }

func newMachine() machine {
	m := machine{fstest.MapFS{}}
	m.pool(2<<20, [4]uint64{512, 300, 100, 12}, [3]uint64{256, 200, 12}, [3]uint64{256, 100, 0})
	m.pool(1<<30, [4]uint64{2, 1, 0, 0}, [3]uint64{2, 1, 0}, [3]uint64{0, 0, 0})
	m.set("sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "64\n")
	m.set("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
	m.set("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n")
	m.set("sys/devices/system/node/online", "0-1\n")
	m.set("proc/meminfo", "MemTotal:       32765432 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\nAnonHugePages:      8192 kB\n")
	m.set("proc/buddyinfo", "Node 0, zone      DMA      1      1      1      0      2      1      1      0      1      1      3\n"+
		"Node 0, zone   Normal   1000    900    800    700     60     50     40     30     20      4      2\n"+
		"Node 1, zone   Normal      0      0      0      0      0      0      0      0      0      1      1\n")
	m.set("proc/self/limits", "Limit                     Soft Limit           Hard Limit           Units     \n"+
		"Max locked memory         8388608              8388608              bytes     \n")
	m.set("proc/self/status", "Name:\tfastsyn\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t4 27 \nCapEff:\t0000000000000000\n")
	m.set("proc/self/cgroup", "0::/user.slice/lab\n")
	m.set("proc/self/mountinfo", `22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
24 23 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
40 27 0:40 / /dev/hugepages rw,relatime shared:3 - hugetlbfs hugetlbfs rw,pagesize=2M
41 27 0:41 / /mnt/huge\0401G rw,relatime - hugetlbfs none rw,uid=1000,gid=27,mode=700,pagesize=1024M,size=2147483648
`)
	m.set("sys/fs/cgroup/user.slice/lab/hugetlb.2MB.max", "max\n")
	m.set("sys/fs/cgroup/user.slice/lab/hugetlb.2MB.rsvd.max", "20971520\n")
	m.set("sys/fs/cgroup/user.slice/lab/hugetlb.2MB.rsvd.current", "4194304\n")
	m.set("sys/fs/cgroup/user.slice/hugetlb.2MB.max", "1073741824\n")
	m.set("sys/fs/cgroup/user.slice/hugetlb.2MB.current", "0\n")
	m.set("proc/sys/kernel/random/boot_id", "0a1b2c3d-aaaa-bbbb-cccc-000000000001\n")
	m.process(100, 5000)
	m.set("proc/self/stat", stat(100, 5000))
	m.MapFS["proc/self/ns/pid"] = &fstest.MapFile{Data: []byte("pid:[4026531836]"), Mode: fs.ModeSymlink | 0o777}
	return m
}

// asRoot lets the process be root.
func (m machine) asRoot() machine {
	m.set("proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\nCapEff:\t000001ffffffffff\n")
	return m
}

func (m machine) set(name, text string) { m.MapFS[name] = &fstest.MapFile{Data: []byte(text)} }

// pool sets nr, free, resv, surplus of the machine, and nr, free, surplus of each node.
func (m machine) pool(page uint64, all [4]uint64, nodes ...[3]uint64) {
	dir := poolDir + "/" + sizeDir(page) + "/"
	for i, f := range []string{"nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"} {
		m.set(dir+f, fmt.Sprintln(all[i]))
	}
	m.set(dir+"nr_overcommit_hugepages", "0\n")
	for n, v := range nodes {
		for i, f := range []string{"nr_hugepages", "free_hugepages", "surplus_hugepages"} {
			m.set(fmt.Sprintf("%s/node%d/hugepages/%s/%s", nodeDir, n, sizeDir(page), f), fmt.Sprintln(v[i]))
		}
	}
}

func stat(pid int, start uint64) string {
	return fmt.Sprintf("%d (a )(b) S 1%s %d 0 0\n", pid, strings.Repeat(" 0", 17), start)
}

func (m machine) process(pid int, start uint64) {
	m.set(fmt.Sprintf("proc/%d/stat", pid), stat(pid, start))
}
