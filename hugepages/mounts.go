package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Mount is a mounted hugetlbfs, of which files with huge pages can be had, as
// DPDK and QEMU do. Arenas need none.
type Mount struct {
	Path   string      `json:"path"`
	Bytes  uint64      `json:"page_bytes"`
	Limit  uint64      `json:"limit_bytes"` // mount option size=; 0 for none
	Mode   fs.FileMode `json:"-"`           // permissions of its root directory
	UID    int         `json:"uid"`
	GID    int         `json:"gid"`
	RO     bool        `json:"read_only"`
	Device string      `json:"device"`   // major:minor, different for each mount
	Usable bool        `json:"writable"` // files can be made in it by this process
}

// MountsFS lists the hugetlbfs mounts that this process sees, from a copy of
// the root directory.
func MountsFS(root fs.FS) ([]Mount, error) {
	all, err := mountInfo(root)
	if err != nil {
		return nil, err
	}
	me, err := rightsFS(root)
	if err != nil {
		return nil, err
	}
	var out []Mount
	for _, m := range all {
		if m.fstype != "hugetlbfs" {
			continue
		}
		h := Mount{Path: m.point, Device: m.device, Mode: 0o755, RO: m.has("ro")}
		// hugetlbfs shows its options unless they are the defaults.
		h.Bytes, _ = ParseBytes(m.option("pagesize"))
		h.Limit, _ = ParseBytes(m.option("size"))
		h.UID, _ = strconv.Atoi(m.option("uid"))
		h.GID, _ = strconv.Atoi(m.option("gid"))
		if n, err := strconv.ParseUint(m.option("mode"), 8, 12); err == nil {
			h.Mode = fs.FileMode(n) & fs.ModePerm
		}
		if st, err := fs.Stat(root, strings.TrimPrefix(m.point, "/")); err == nil && st.IsDir() {
			h.Mode = st.Mode().Perm() // somebody may have changed it since
		}
		h.Usable = !h.RO && me.mayWrite(h.Mode, h.UID, h.GID)
		out = append(out, h)
	}
	return out, nil
}

// mounted is one line of proc_pid_mountinfo(5).
type mounted struct {
	device, root, point, fstype string
	options                     []string // of the mount and of the file system
}

func (m *mounted) has(option string) bool {
	for _, o := range m.options {
		if o == option {
			return true
		}
	}
	return false
}

// option returns the value of name=value, "" if it is not set.
func (m *mounted) option(name string) string {
	for _, o := range m.options {
		if v, ok := strings.CutPrefix(o, name+"="); ok {
			return v
		}
	}
	return ""
}

// mountInfo reads the mounts of this process; a later one hides an earlier one
// at the same place, and so comes alone.
func mountInfo(root fs.FS) ([]mounted, error) {
	b, err := fs.ReadFile(root, "proc/self/mountinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hugepages: no /proc/self/mountinfo: mount proc on /proc: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("hugepages: mounts: %w", err)
	}
	var out []mounted
	for line := range strings.Lines(string(b)) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		m := mounted{device: f[2], root: unescape(f[3]), point: unescape(f[4]), fstype: g[0], options: strings.Split(f[5], ",")}
		if len(g) > 2 {
			m.options = append(m.options, strings.Split(g[2], ",")...)
		}
		for i := range out {
			if out[i].point == m.point {
				out = append(out[:i], out[i+1:]...)
				break
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// unescape undoes the octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ParseBytes reads a size such as "2M", "2 MiB", "1G", "512kB" or "4096". Units are
// powers of 1024, as everywhere in the kernel's names of page sizes.
func ParseBytes(s string) (uint64, error) {
	digits := strings.TrimSpace(s)
	end := 0
	for end < len(digits) && digits[end] >= '0' && digits[end] <= '9' {
		end++
	}
	n, err := strconv.ParseUint(digits[:end], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("hugepages: size %q: want a number with a unit, such as 2M or 1G", s)
	}
	unit := strings.ToUpper(strings.TrimSpace(digits[end:]))
	unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	shift := strings.Index("KMGTP", unit)
	switch {
	case unit == "":
		shift = 0
	case shift < 0 || len(unit) != 1:
		return 0, fmt.Errorf("hugepages: size %q: unit %q is not known, want k, M, G, T or P", s, digits[end:])
	default:
		shift = 10 * (shift + 1)
	}
	if n != 0 && n > (1<<64-1)>>shift {
		return 0, fmt.Errorf("hugepages: size %q: more than 64 bits", s)
	}
	return n << shift, nil
}
