package hugepages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// CreateFile makes a file in a hugetlbfs whose name tells the owner, so that
// whoever comes after a crash can remove it (Sweep). name says what it is for. The
// caller closes it and removes it.
func CreateFile(dir, name string) (*os.File, error) {
	root, err := systemRoot()
	if err != nil {
		return nil, err
	}
	me, err := selfFS(root)
	if err != nil {
		return nil, err
	}
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return nil, fmt.Errorf("hugepages: file %q: want a name without a slash", name)
	}
	f, err := os.OpenFile(filepath.Join(dir, me.fileName(name)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hugepages: file in %s: %w", dir, err)
	}
	return f, nil
}

// Sweep removes the files in dir, a hugetlbfs, that processes of fastsyn left
// there when they died, and returns their names. Whatever else is there stays.
func Sweep(dir string) ([]string, error) {
	root, err := systemRoot()
	if err != nil {
		return nil, err
	}
	return sweep(root, dir)
}

func sweep(root fs.FS, dir string) (removed []string, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("hugepages: sweep: %w", err)
	}
	for _, f := range files {
		o, ours := ownerOf(f.Name())
		if !ours || !f.Type().IsRegular() {
			continue
		}
		if l := lifeFS(root, o); l != Dead && l != Gone {
			continue
		}
		name := filepath.Join(dir, f.Name())
		if e := os.Remove(name); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("hugepages: sweep: %w", e))
			continue
		}
		removed = append(removed, name)
	}
	return removed, err
}

// makeMount has a hugetlbfs for r on dir, and notes it in r unless there was one
// already. On failure r.Mount, if set, tells what dropMount has to undo.
func (k *Keeper) makeMount(r *Reservation, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("hugepages: mount: %w", err)
	}
	before, err := k.mountOn(dir)
	if err != nil {
		return err
	}
	if before != nil {
		if before.Bytes != r.PageBytes {
			return fmt.Errorf("hugepages: mount on %s: a hugetlbfs of %s pages is there: name another directory", dir, BytesText(before.Bytes))
		}
		return nil
	}
	m := MadeMount{Path: dir}
	files, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.MadeDir = true
	case err != nil:
		return fmt.Errorf("hugepages: mount: %w", err)
	case len(files) > 0:
		return fmt.Errorf("hugepages: mount on %s: the directory is not empty, a mount would hide what is in it: name another one", dir)
	}
	r.Mount = &m
	if err := writeRecord(k.dir, r); err != nil { // first, lest a crash leaves a mount that nobody knows
		return err
	}
	if m.MadeDir {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("hugepages: mount: %w", err)
		}
	}
	if err := k.mount(dir, r.PageBytes); err != nil {
		fix := ""
		if errors.Is(err, fs.ErrPermission) {
			fix = ": mounting needs root (CAP_SYS_ADMIN): sudo, or docker run --privileged"
		}
		return fmt.Errorf("hugepages: mount hugetlbfs on %s: %w%s", dir, err, fix)
	}
	after, err := k.mountOn(dir)
	if err != nil || after == nil {
		return errors.Join(err, fmt.Errorf("hugepages: mount on %s: it does not show in /proc/self/mountinfo", dir), k.unmount(dir))
	}
	m.Device = after.Device
	return nil
}

func (k *Keeper) mountOn(dir string) (*Mount, error) {
	mounts, err := MountsFS(k.root)
	if err != nil {
		return nil, err
	}
	for i := range mounts {
		if mounts[i].Path == dir {
			return &mounts[i], nil
		}
	}
	return nil, nil
}

// dropMount unmounts what makeMount mounted, if it is still that. A device that was
// not noted any more, because of a crash right after mounting, counts as ours:
// there was no hugetlbfs before.
func (k *Keeper) dropMount(m *MadeMount) error {
	now, err := k.mountOn(m.Path)
	if err != nil {
		return err
	}
	if now != nil && (m.Device == "" || now.Device == m.Device) {
		if _, err := sweep(k.root, m.Path); err != nil {
			return err
		}
		if err := k.unmount(m.Path); err != nil {
			return fmt.Errorf("hugepages: unmount %s: %w: end the programs that use it (fuser -vm %s), then release again", m.Path, err, m.Path)
		}
		now = nil
	}
	if now == nil && m.MadeDir {
		// Only if it is empty: what somebody put there since stays.
		if err := os.Remove(m.Path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("hugepages: unmount: %w", err)
		}
	}
	return nil
}
