package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"strconv"
	"strings"
	"syscall"
)

// denied explains why a pool could not be changed.
func (k *Keeper) denied(what, file, value string, err error) error {
	fix := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		fix = fmt.Sprintf("; only root may change it: sudo sh -c 'echo %s > /%s'", value, file)
	case errors.Is(err, syscall.EROFS):
		fix = "; /sys is read-only in this container: reserve on the host, or run the container with --privileged"
	case errors.Is(err, syscall.EINVAL):
		fix = "; this kernel cannot make pages of that size at run time: boot with hugepagesz=SIZE hugepages=COUNT on the kernel command line"
	}
	return fmt.Errorf("hugepages: %s: %w%s", what, err, fix)
}

// whyShort says why the kernel gave fewer pages than it was asked for.
func (k *Keeper) whyShort(r *Reservation, got uint64) string {
	s := fmt.Sprintf("the kernel gave %d of %d pages", got, r.Asked)
	boot := fmt.Sprintf("boot with hugepagesz=%s hugepages=%d", short(r.PageBytes), r.Asked)
	available := k.availableBytes(r.Node)
	blocks, known := k.freeBlocks(r.PageBytes, r.Node)
	if !known {
		return fmt.Sprintf("%s: memory is too fragmented for pages of %s while the system runs: %s", s, BytesText(r.PageBytes), boot)
	}
	return fmt.Sprintf("%s: memory is fragmented (%s left, but only %d free blocks of %s): as root: echo 1 > /proc/sys/vm/compact_memory, and reserve the rest; or %s",
		s, BytesText(available), blocks, BytesText(r.PageBytes), boot)
}

// affordable returns an error if the pages would leave the machine without memory:
// the kernel would give them, and then kill processes.
func (k *Keeper) affordable(page, count uint64, node int) error {
	available := k.availableBytes(node)
	if available == 0 {
		return nil // unknown
	}
	// A sixteenth is left, for those who are about to allocate something.
	if most := available / 16 * 15 / page; count > most {
		return fmt.Errorf("hugepages: reserve %d pages of %s (%s): only %s of memory is left: ask for at most %d, or free memory",
			count, BytesText(page), BytesText(count*page), BytesText(available), most)
	}
	return nil
}

// availableBytes is the memory that could be had, of a node what is free.
func (k *Keeper) availableBytes(node int) uint64 {
	if node == AnyNode {
		return memInfo(k.root, "MemAvailable")
	}
	b, err := fs.ReadFile(k.root, fmt.Sprintf("%s/node%d/meminfo", nodeDir, node))
	if err != nil {
		return memInfo(k.root, "MemAvailable")
	}
	var sum uint64
	for line := range strings.Lines(string(b)) { // Node 0 MemFree: 123 kB
		f := strings.Fields(line)
		if len(f) > 3 && (f[2] == "MemFree:" || f[2] == "Inactive(file):" || f[2] == "Active(file):" || f[2] == "SReclaimable:") {
			n, _ := strconv.ParseUint(f[3], 10, 64)
			sum += n << 10
		}
	}
	return sum
}

// freeBlocks counts the free blocks that can hold a page, from /proc/buddyinfo
// (proc_buddyinfo(5)); false when the page is larger than any block listed there.
func (k *Keeper) freeBlocks(page uint64, node int) (uint64, bool) {
	b, err := fs.ReadFile(k.root, "proc/buddyinfo")
	if err != nil || page < k.base {
		return 0, false
	}
	order := bits.Len64(page/k.base) - 1
	var sum uint64
	known := false
	for line := range strings.Lines(string(b)) {
		var n int
		var zone string
		if _, err := fmt.Sscanf(line, "Node %d, zone %s", &n, &zone); err != nil || node != AnyNode && n != node {
			continue
		}
		counts := strings.Fields(line)[4:]
		for o := order; o < len(counts); o++ {
			known = true
			c, _ := strconv.ParseUint(counts[o], 10, 64)
			sum += c << (o - order)
		}
	}
	return sum, known
}

// nodeList writes the node numbers, for errors.
func nodeList(nodes []NodePool) string {
	if len(nodes) == 0 {
		return "none (a kernel without NUMA)"
	}
	var s []string
	for _, n := range nodes {
		s = append(s, strconv.Itoa(n.Node))
	}
	return strings.Join(s, ", ")
}
