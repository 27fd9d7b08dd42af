package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// Kernel is a kernel to boot and modules for it, in a directory that .ci/deps fills.
type Kernel struct {
	Image   string // the file to boot
	Modules string // directory of NAME.ko files, not compressed
}

// FindKernel returns the kernel in the cache.
func FindKernel() (*Kernel, error) {
	dir, err := dptest.GuestKernel()
	if err != nil {
		return nil, err
	}
	return &Kernel{Image: filepath.Join(dir, "vmlinuz"), Modules: filepath.Join(dir, "modules")}, nil
}

// Order returns the files of modules and of what they depend on, in the order in
// which the kernel takes them.
func (k *Kernel) Order(modules ...string) (files []string, err error) {
	var visit func(name string, above []string) error
	visit = func(name string, above []string) error {
		if slices.Contains(above, name) {
			return fmt.Errorf("guest: module %s depends on itself: %v", name, above)
		}
		file, err := k.module(name)
		if err != nil || slices.Contains(files, file) {
			return err
		}
		deps, err := moduleDepends(file)
		if err != nil {
			return fmt.Errorf("guest: module %s: %w", name, err)
		}
		for _, d := range deps {
			if err := visit(d, append(above, name)); err != nil {
				return err
			}
		}
		files = append(files, file)
		return nil
	}
	for _, m := range modules {
		if err := visit(m, nil); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// module finds the file of a module, in whose name a dash and an underscore are the same.
func (k *Kernel) module(name string) (string, error) {
	plain := func(s string) string { return strings.ReplaceAll(s, "-", "_") }
	entries, err := os.ReadDir(k.Modules)
	if err != nil {
		return "", fmt.Errorf("guest: modules of the kernel: %w", err)
	}
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), ".ko"); ok && plain(stem) == plain(name) {
			return filepath.Join(k.Modules, e.Name()), nil
		}
	}
	return "", fmt.Errorf("guest: no module %s in %s: .ci/deps keeps those that it lists; add it there, remove the directory and run it again", name, k.Modules)
}

// moduleDepends reads what modinfo(8) shows as "depends".
func moduleDepends(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("%s has no section .modinfo", file)
	}
	b, err := s.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(b, []byte{0}) {
		if v, ok := strings.CutPrefix(string(field), "depends="); ok && v != "" {
			return strings.Split(v, ","), nil
		}
	}
	return nil, nil
}
