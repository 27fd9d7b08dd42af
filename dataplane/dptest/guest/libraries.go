package guest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// libraries adds what the dynamic linker would load for a program or library.
func (m *Image) libraries(file string) error {
	libs, err := dependencies(file)
	if err != nil {
		return fmt.Errorf("guest: libraries of %s: %w", file, err)
	}
	for _, l := range libs {
		if err := m.HostFile(l); err != nil {
			return fmt.Errorf("guest: libraries of %s: %w", file, err)
		}
		if m.libDirs == nil {
			m.libDirs = map[string]bool{}
		}
		m.libDirs[filepath.Dir(l)] = true
	}
	return nil
}

// dependencies asks the dynamic linker itself (ldd(1)), which alone knows all
// of its search path, and returns absolute names. A static program has none.
func dependencies(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	needed, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	if len(needed) == 0 {
		return nil, nil
	}
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return nil, fmt.Errorf("ldd: %w", err)
	}
	libs, err := parseLdd(string(out))
	if err != nil {
		return nil, err
	}
	if interp := interpreter(f); interp != "" {
		libs = append(libs, interp)
	}
	return append(libs, unwinder(libs)...), nil
}

// unwinder is the library that the C library loads by itself when a thread is
// cancelled (pthread_cancel(3)), as DPDK does when it ends; it aborts without.
func unwinder(libs []string) []string {
	for _, l := range libs {
		if filepath.Base(l) != "libc.so.6" {
			continue
		}
		if u := filepath.Join(filepath.Dir(l), "libgcc_s.so.1"); exists(u) {
			return []string{u}
		}
	}
	return nil
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// parseLdd reads lines such as "libm.so.6 => /lib/libm.so.6 (0x00007f...)"; what
// the kernel provides and the dynamic linker have no arrow.
func parseLdd(out string) (libs []string, err error) {
	for line := range strings.Lines(out) {
		name, rest, arrow := strings.Cut(strings.TrimSpace(line), " => ")
		if !arrow {
			continue
		}
		if rest == "not found" {
			return nil, fmt.Errorf("%s is not found on this machine", name)
		}
		lib, _, _ := strings.Cut(rest, " (0x")
		if !filepath.IsAbs(lib) {
			return nil, fmt.Errorf("ldd says %q", strings.TrimSpace(line))
		}
		libs = append(libs, lib)
	}
	return libs, nil
}

// interpreter is the dynamic linker that a program names; "" in a library.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				return ""
			}
			return string(bytes.TrimRight(b, "\x00"))
		}
	}
	return ""
}
