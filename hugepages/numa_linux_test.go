package hugepages

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// nodesHere skips where mbind is not to be had.
func nodesHere(t *testing.T) []int {
	t.Helper()
	nodes, err := nodesFS(os.DirFS("/"))
	require.NoError(t, err)
	if len(nodes) == 0 {
		t.Skip("a kernel without NUMA")
	}
	a := mustAlloc(t, 4096, Options{})
	if err := mbind(a.Bytes(), unix.MPOL_PREFERRED, nodes[0]); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		t.Skip("mbind: ", err)
	}
	return nodes
}

func TestPlacement(t *testing.T) {
	for _, node := range nodesHere(t) {
		for _, place := range []Placement{Prefer, Bind} {
			for _, size := range []int{4096, 3 * PageBytes} {
				a := mustAlloc(t, size, Options{Placement: place, Node: node})
				require.NotContains(t, a.String(), "not tied")
				b := a.Bytes()
				b[0], b[size-1] = 1, 1
				got, err := nodeOf(b)
				require.NoError(t, err)
				require.Equal(t, node, got)
				mode, nodes, err := policyOf(b[(size-1)&^4095:])
				require.NoError(t, err)
				require.EqualValues(t, map[Placement]int32{Prefer: unix.MPOL_PREFERRED, Bind: unix.MPOL_BIND}[place], mode)
				require.EqualValues(t, uint64(1)<<node, nodes)
			}
		}
	}
}

func TestPlacementOfHugetlbPages(t *testing.T) {
	needPages(t, 2)
	nodes := nodesHere(t)
	for _, place := range []Placement{Prefer, Bind} {
		a, err := Alloc(2*PageBytes, Options{Hugetlb: Require, Placement: place, Node: nodes[0]})
		if errors.Is(err, unix.EINVAL) {
			t.Skip(err) // before Linux 5.14
		}
		require.NoError(t, err)
		require.Equal(t, "4 MiB hugetlb", a.String())
		got, err := nodeOf(a.Bytes()[PageBytes:])
		require.NoError(t, err)
		require.Equal(t, nodes[0], got)
		require.NoError(t, a.Free())
	}
}

// A node that does not exist is no reason to have no memory.
func TestPlacementFallsBack(t *testing.T) {
	nodesHere(t)
	for _, size := range []int{4096, PageBytes} {
		for _, node := range []int{1023, 1024, 1 << 30} {
			a := mustAlloc(t, size, Options{Placement: Prefer, Node: node})
			require.Contains(t, a.String(), fmt.Sprintf("not tied to node %d: mbind: invalid argument (no such node", node))
			a.Bytes()[0] = 1
		}
	}
	for _, o := range []Options{{Node: 1023}, {Placement: Bind, Node: -1}} {
		a := mustAlloc(t, 4096, o)
		require.Equal(t, "4 KiB plain", a.String())
		mode, _, err := policyOf(a.Bytes())
		require.NoError(t, err)
		require.EqualValues(t, unix.MPOL_DEFAULT, mode)
	}
}

func TestPoolErrorNamesTheNode(t *testing.T) {
	nodes := nodesHere(t)
	err := poolError(3, &Options{Placement: Bind, Node: nodes[0]}, unix.ENOMEM)
	if pools, e := PoolsFS(os.DirFS("/")); e != nil || len(pools) == 0 {
		t.Skip("no pools")
	}
	require.ErrorContains(t, err, fmt.Sprintf("node %d has", nodes[0]))
	require.ErrorContains(t, err, fmt.Sprintf("--node %d", nodes[0]))
}

func TestLock(t *testing.T) {
	a := mustAlloc(t, 64<<10, Options{Lock: true})
	if strings.Contains(a.String(), "not locked") {
		require.Contains(t, a.String(), "ulimit -l")
		t.Skip(a)
	}
	_, flags := mapped(t, address(a), a.Size())
	require.Contains(t, strings.Fields(flags), "lo")
	vec := make([]byte, a.Size()/unix.Getpagesize())
	require.NoError(t, mincore(a.Bytes(), vec))
	require.Zero(t, vec[0]&1, "locked on touch, not at once")
}

// With a limit of nothing and no CAP_IPC_LOCK.
func TestLockRefused(t *testing.T) {
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_MEMLOCK, &old))
	if os.Geteuid() == 0 {
		t.Skip("root locks what it likes")
	}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Max: old.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_MEMLOCK, &old)) }()
	a := mustAlloc(t, 4096, Options{Lock: true})
	require.Contains(t, a.String(), "not locked: mlock2")
	require.Contains(t, a.String(), "CAP_IPC_LOCK")
}
