// Package sysfs reads /proc and /sys of Linux below a root that can be made up.
package sysfs

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Tree is the root directory of a Linux system, such as os.DirFS("/"). Names have
// no leading slash. What is not there reads as nothing, as most of it depends on the machine.
type Tree struct{ fs.FS }

// Text returns a file without surrounding space, "" if it cannot be read.
func (t Tree) Text(name string) string {
	b, err := fs.ReadFile(t.FS, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Number returns the decimal number in a file, false if there is none.
func (t Tree) Number(name string) (int64, bool) {
	n, err := strconv.ParseInt(t.Text(name), 10, 64)
	return n, err == nil
}

// Names lists a directory, nothing if it is not there.
func (t Tree) Names(dir string) []string {
	entries, err := fs.ReadDir(t.FS, dir)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Exists reports whether a file or directory is there.
func (t Tree) Exists(name string) bool {
	_, err := fs.Stat(t.FS, name)
	return err == nil
}

// Link returns the last element of what a symbolic link points to, "" if it is none.
func (t Tree) Link(name string) string {
	to, err := fs.ReadLink(t.FS, name)
	if err != nil {
		return ""
	}
	return path.Base(to)
}

// ParseList reads a list of CPUs or nodes such as "0-2,7", cpuset(7).
func ParseList(s string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(to)
		}
		if err != nil || a < 0 || b < a || b > 1<<16 {
			return nil, fmt.Errorf("list %q: want numbers and ranges such as 0-2,7", s)
		}
		for i := a; i <= b; i++ {
			out = append(out, i)
		}
	}
	return out, nil
}
