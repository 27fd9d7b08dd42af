package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Owner names a process so that no other process can be taken for it: process
// numbers are used again, on another boot or in another namespace even at once.
type Owner struct {
	BootID string `json:"boot_id"` // /proc/sys/kernel/random/boot_id
	PIDNS  string `json:"pid_ns"`  // number of the PID namespace, "" if unknown
	PID    int    `json:"pid"`
	Start  uint64 `json:"start"` // clock ticks after boot, field 22 of proc_pid_stat(5)
	// Kept: not bound to the process; whoever made it releases it by hand.
	Kept bool `json:"kept"`
}

// Life is what has become of an Owner.
type Life string

// The lives.
const (
	Running Life = "running"
	Kept    Life = "kept"    // reserved by hand until released by hand
	Dead    Life = "dead"    // ended without releasing
	Gone    Life = "gone"    // made before the last boot: there is nothing left to release
	Foreign Life = "foreign" // of another PID namespace, which cannot be seen from here
)

// lifeFS finds out from a copy of the root directory.
func lifeFS(root fs.FS, o Owner) Life {
	me, err := selfFS(root)
	switch {
	case err != nil:
		return Foreign // nothing is known, so nothing is touched
	case o.BootID != me.BootID:
		return Gone
	case o.Kept:
		return Kept
	case o.PIDNS != me.PIDNS:
		return Foreign
	}
	start, err := startTime(root, strconv.Itoa(o.PID))
	if errors.Is(err, fs.ErrNotExist) || err == nil && start != o.Start {
		return Dead
	}
	return Running
}

// selfFS names this process.
func selfFS(root fs.FS) (Owner, error) {
	var o Owner
	b, err := fs.ReadFile(root, "proc/sys/kernel/random/boot_id")
	if err != nil {
		return o, fmt.Errorf("hugepages: this process: %w", err)
	}
	o.BootID = strings.TrimSpace(string(b))
	if link, err := fs.ReadLink(root, "proc/self/ns/pid"); err == nil { // pid:[4026531836]
		o.PIDNS = strings.TrimSuffix(strings.TrimPrefix(link, "pid:["), "]")
	}
	stat, err := fs.ReadFile(root, "proc/self/stat")
	if err != nil {
		return o, fmt.Errorf("hugepages: this process: %w", err)
	}
	if _, err := fmt.Sscan(string(stat), &o.PID); err != nil {
		return o, fmt.Errorf("hugepages: this process: /proc/self/stat: %w", err)
	}
	o.Start, err = startTime(root, "self")
	return o, err
}

func startTime(root fs.FS, pid string) (uint64, error) {
	b, err := fs.ReadFile(root, "proc/"+pid+"/stat")
	if err != nil {
		return 0, fmt.Errorf("hugepages: process %s: %w", pid, err)
	}
	// The second field is a name in parentheses that may contain anything.
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	const startField = 22 - 3
	if len(f) <= startField {
		return 0, fmt.Errorf("hugepages: process %s: stat has %d fields behind the name: want more than %d", pid, len(f), startField)
	}
	n, err := strconv.ParseUint(f[startField], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("hugepages: process %s: start time: %w", pid, err)
	}
	return n, nil
}

// filePrefix begins the names of our files in a hugetlbfs.
const filePrefix = "fastsyn-"

// fileName returns a name from which the owner can be read back.
func (o Owner) fileName(name string) string {
	return fmt.Sprintf("%s%s.%s.%d.%d-%s", filePrefix, o.BootID, o.PIDNS, o.PID, o.Start, name)
}

// ownerOf reads the owner back, false if the file is not one of ours.
func ownerOf(file string) (Owner, bool) {
	s, ok := strings.CutPrefix(file, filePrefix)
	if !ok {
		return Owner{}, false
	}
	f := strings.SplitN(s, ".", 4)
	if len(f) != 4 {
		return Owner{}, false
	}
	start, _, ok := strings.Cut(f[3], "-")
	if !ok || f[0] == "" {
		return Owner{}, false
	}
	o := Owner{BootID: f[0], PIDNS: f[1]}
	var err error
	if o.PID, err = strconv.Atoi(f[2]); err != nil || o.PID < 1 {
		return Owner{}, false
	}
	if o.Start, err = strconv.ParseUint(start, 10, 64); err != nil {
		return Owner{}, false
	}
	return o, true
}
