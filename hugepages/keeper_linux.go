package hugepages

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func newKeeper() (*Keeper, error) {
	root, err := systemRoot()
	if err != nil {
		return nil, err
	}
	return &Keeper{root: root, write: writeKnob, mount: mountHugetlbfs, unmount: unmountHugetlbfs, lock: lockDir}, nil
}

// writeKnob writes a file of sysfs or procfs, which exists, in one write(2).
func writeKnob(name, value string) error {
	f, err := os.OpenFile("/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func mountHugetlbfs(dir string, page uint64) error {
	return unix.Mount("nodev", dir, "hugetlbfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,pagesize="+short(page))
}

func unmountHugetlbfs(dir string) error { return unix.Unmount(dir, unix.UMOUNT_NOFOLLOW) }

// lockDir waits until no other process works in dir. The lock ends with its process.
func lockDir(dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("hugepages: lock reservations: %w: run as root (sudo)", err)
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hugepages: lock %s: %w", f.Name(), err), f.Close())
	}
	return f.Close, nil
}
