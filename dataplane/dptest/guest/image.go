package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Types of a cpio entry's mode (stat(2) S_IFMT).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// Image is the file tree that a guest starts with. The zero Image is empty.
type Image struct {
	entries map[string]entry // by absolute path
	libDirs map[string]bool  // where shared libraries went
}

type entry struct {
	mode uint32
	data []byte // of a link: its target
}

// File adds a file with its permission bits. A later one replaces it.
func (m *Image) File(name string, perm uint32, data []byte) {
	m.put(name, entry{modeFile | perm, data})
}

// Link adds a symbolic link.
func (m *Image) Link(name, target string) { m.put(name, entry{modeLink | 0o777, []byte(target)}) }

// Dir adds a directory; those above any entry come by themselves.
func (m *Image) Dir(name string) { m.put(name, entry{mode: modeDir | 0o755}) }

func (m *Image) put(name string, e entry) {
	if m.entries == nil {
		m.entries = map[string]entry{}
	}
	m.entries[path.Clean("/"+name)] = e
	for dir := path.Dir(path.Clean("/" + name)); dir != "/"; dir = path.Dir(dir) {
		if _, ok := m.entries[dir]; !ok {
			m.entries[dir] = entry{mode: modeDir | 0o755}
		}
	}
}

// HostFile adds a file under the name that it has on this machine. Where that
// name leads over links, the file goes to where they end and a link to the name:
// a library reached under two names must stay one file, or it is loaded twice.
func (m *Image) HostFile(name string) error {
	name, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	end, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	if err := m.copyFile(end, end); err != nil {
		return err
	}
	if end != name {
		m.Link(name, end)
	}
	return nil
}

// copyFile adds the content of the host's file from as name.
func (m *Image) copyFile(name, from string) error {
	if e, ok := m.entries[name]; ok && e.mode&modeFile != 0 {
		return nil
	}
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", from)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	m.File(name, uint32(st.Mode().Perm()), b)
	return nil
}

// Program adds the host's program from under a name in the guest, and the shared
// libraries that it needs under the names they have here.
func (m *Image) Program(name, from string) error {
	if err := m.copyFile(path.Clean("/"+name), from); err != nil {
		return fmt.Errorf("guest: program %s: %w", name, err)
	}
	return m.libraries(from)
}

// Library adds a shared library that a program loads by itself (dlopen(3)), and
// those that it needs, under the names they have here.
func (m *Image) Library(name string) error {
	if err := m.HostFile(name); err != nil {
		return fmt.Errorf("guest: library: %w", err)
	}
	return m.libraries(name)
}

// Drivers adds drivers of DPDK by the names of their libraries, such as
// "net_virtio", to a program that Image has already: DPDK looks for them in
// a directory beside its own libraries.
func (m *Image) Drivers(names ...string) error {
	var dirs []string
	for name := range m.entries {
		if strings.HasPrefix(path.Base(name), "librte_eal.so.") {
			found, err := filepath.Glob(filepath.Join(filepath.Dir(name), "dpdk", "pmds-*"))
			if err != nil {
				return err
			}
			dirs = append(dirs, found...)
		}
	}
	if len(dirs) == 0 {
		return errors.New("guest: no program of the image is linked to librte_eal, or there is no directory dpdk/pmds-* beside that: add the program first; it must be linked to shared libraries")
	}
	for _, n := range names {
		// One name is enough: with two of them the guest loads one file twice, which
		// does no harm, but takes time.
		found, err := filepath.Glob(filepath.Join(dirs[0], "librte_"+n+".so"))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("guest: driver %s: no librte_%s.so in %s", n, n, dirs[0])
		}
		if err := m.Library(found[0]); err != nil {
			return err
		}
	}
	return nil
}

// LibraryPath is where the shared libraries are, as LD_LIBRARY_PATH has it.
func (m *Image) LibraryPath() string {
	return strings.Join(slices.Sorted(maps.Keys(m.libDirs)), ":")
}

// clone returns a copy to which entries can be added.
func (m *Image) clone() *Image {
	return &Image{entries: maps.Clone(m.entries), libDirs: maps.Clone(m.libDirs)}
}

// WriteTo writes a cpio archive in the format "newc", as the kernel takes it
// (Documentation/driver-api/early-userspace/buffer-format.rst): not compressed,
// because an emulated processor takes longer to unpack it than the host to hand it over.
func (m *Image) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	ino := 0
	add := func(name string, e entry) {
		ino++
		nlink := 1
		if e.mode&modeDir != 0 {
			nlink = 2
		}
		// Magic, ino, mode, uid, gid, nlink, mtime, size, device and node numbers, length of the name, checksum (unused).
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			ino, e.mode, 0, 0, nlink, 0, len(e.data), 0, 0, 0, 0, len(name)+1, 0, name)
		pad(&b)
		b.Write(e.data)
		pad(&b)
	}
	// Sorted: a directory comes before what is in it.
	for _, name := range slices.Sorted(maps.Keys(m.entries)) {
		add(strings.TrimPrefix(name, "/"), m.entries[name])
	}
	ino = -1
	add("TRAILER!!!", entry{})
	return b.WriteTo(w)
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}
