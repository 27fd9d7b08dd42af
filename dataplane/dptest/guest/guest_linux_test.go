package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

// The agent runs under any sh, so that the console is tested without a guest.
func TestConsole(t *testing.T) {
	cmd := exec.Command("sh", "-c", "echo noise; echo ready; "+agent)
	cmd.Env = append(os.Environ(), "DIR="+t.TempDir())
	w, err := cmd.StdinPipe()
	require.NoError(t, err)
	r, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := newConsole(w, r)
	require.NoError(t, c.greeted(time.Minute))

	big := strings.Repeat("1 out\n1 code 0\n", 10000)
	for _, tc := range []struct {
		script string
		want   Result
	}{
		{"echo hello; echo oops >&2; exit 3", Result{3, "hello\n", "oops\n"}},
		{"printf 'no newline'", Result{0, "no newline", ""}},
		{`printf 'a\000b\377\r\n'`, Result{0, "a\x00b\xff\r\n", ""}},
		{"true", Result{}},
		{"cat", Result{}}, // standard input is empty
		{"kill -9 $$", Result{137, "", ""}},
		{"i=0; while [ $i -lt 10000 ]; do echo 1 out; echo 1 code 0; i=$((i+1)); done", Result{0, big, ""}},
	} {
		got, err := c.run(tc.script, time.Minute)
		require.NoError(t, err, tc.script)
		got.Err = strings.TrimPrefix(got.Err, "Killed\n") // some shells say so
		require.Equal(t, tc.want, got, tc.script)
	}
	require.NoError(t, w.Close())
	_, err = c.run("true", time.Minute)
	require.ErrorIs(t, err, errEnded)
	c.drain()
	require.NoError(t, cmd.Wait())
}

// fakeConsole has a script of sh in place of the guest.
func fakeConsole(t *testing.T, script string) *console {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	w, err := cmd.StdinPipe()
	require.NoError(t, err)
	r, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := newConsole(w, r)
	t.Cleanup(func() { _ = w.Close(); c.drain(); _ = cmd.Wait() })
	return c
}

// What Boot tries once more, and what it does not.
func TestBootOutcome(t *testing.T) {
	kernel := filepath.Join(t.TempDir(), "console")
	require.NoError(t, os.WriteFile(kernel, []byte("booting"), 0o644))
	boot := func(script string) error {
		g := &Guest{con: fakeConsole(t, script), kernel: kernel, deadline: time.Now().Add(time.Minute)}
		return g.boot(time.Millisecond)
	}
	require.NoError(t, boot("echo ready; cat"))
	require.ErrorIs(t, boot("cat"), errSilent)
	require.ErrorIs(t, boot("true"), errEnded)
	require.EqualError(t, boot("echo error: no huge pages; cat"), "no huge pages")
}

func TestConsoleErrors(t *testing.T) {
	console := func(script string) *console { return fakeConsole(t, script) }
	require.EqualError(t, console("echo error: no such module").greeted(time.Minute), "no such module")
	require.ErrorIs(t, console("echo almost").greeted(time.Minute), errEnded)
	require.ErrorContains(t, console("cat").greeted(time.Millisecond), "no answer in time")
	_, err := console("read x; echo what").run("true", time.Minute)
	require.ErrorContains(t, err, "out of turn")
	_, err = console("read x; echo 1 out; echo '?'; echo 1 err; echo 1 code 0").run("true", time.Minute)
	require.ErrorContains(t, err, "damaged")
	_, err = console("read x; echo 1 code x").run("true", time.Minute)
	require.ErrorContains(t, err, "1 code x")
	_, err = console("cat >/dev/null").run("true", time.Millisecond)
	require.ErrorContains(t, err, "no answer in time")
}

func TestQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "it's", `a "b" $c \d` + "\n'"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(s)).Output()
		require.NoError(t, err)
		require.Equal(t, s, string(out))
	}
}

// What another program makes of the archive.
func TestImage(t *testing.T) {
	dptest.Need(t, "busybox")
	dir := t.TempDir()
	real := filepath.Join(dir, "lib.so.1.0")
	require.NoError(t, os.WriteFile(real, []byte("library"), 0o644))
	require.NoError(t, os.Symlink("lib.so.1.0", filepath.Join(dir, "lib.so.1")))
	require.NoError(t, os.Symlink(filepath.Join(dir, "lib.so.1"), filepath.Join(dir, "lib.so")))

	var m Image
	m.File("/init", 0o755, []byte("#!/bin/sh\n"))
	m.File("a/b/c", 0o600, []byte("odd"))
	m.Link("/bin/sh", "busybox")
	m.Dir("/empty")
	require.NoError(t, m.HostFile(filepath.Join(dir, "lib.so")))
	require.NoError(t, m.HostFile(real))
	require.Error(t, m.HostFile(filepath.Join(dir, "none")))
	require.ErrorContains(t, m.HostFile(dir), "not a regular file")

	file := filepath.Join(dir, "archive")
	require.NoError(t, writeImage(&m, file))
	out := t.TempDir()
	busybox, err := dptest.LookTool("busybox")
	require.NoError(t, err)
	cmd := exec.Command(busybox, "sh", "-c", "busybox cpio -idm <"+quote(file))
	cmd.Dir = out
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	got, err := os.ReadFile(filepath.Join(out, "a/b/c"))
	require.NoError(t, err)
	require.Equal(t, "odd", string(got))
	st, err := os.Stat(filepath.Join(out, "init"))
	require.NoError(t, err)
	require.EqualValues(t, 0o755, st.Mode().Perm())
	link, err := os.Readlink(filepath.Join(out, "bin/sh"))
	require.NoError(t, err)
	require.Equal(t, "busybox", link)
	st, err = os.Stat(filepath.Join(out, "empty"))
	require.NoError(t, err)
	require.True(t, st.IsDir())
	// A library under two names is one file.
	link, err = os.Readlink(filepath.Join(out, dir, "lib.so"))
	require.NoError(t, err)
	require.Equal(t, real, link)
	got, err = os.ReadFile(filepath.Join(out, real))
	require.NoError(t, err)
	require.Equal(t, "library", string(got))
}

func TestLibraries(t *testing.T) {
	libs, err := parseLdd("\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	require.NoError(t, err)
	require.Equal(t, []string{"/lib/libc.so.6"}, libs)
	_, err = parseLdd("\tlibnone.so.1 => not found\n")
	require.ErrorContains(t, err, "libnone.so.1 is not found")
	_, err = parseLdd("\tx => y (0x1)\n")
	require.Error(t, err)

	// A program of this machine brings its dynamic linker, a static one nothing.
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	libs, err = dependencies(sh)
	require.NoError(t, err)
	for _, l := range libs {
		require.FileExists(t, l)
	}
	var m Image
	require.ErrorContains(t, m.Drivers("net_null"), "librte_eal")
	require.Error(t, m.Program("/bin/x", filepath.Join(t.TempDir(), "none")))
	require.Error(t, m.Library(filepath.Join(t.TempDir(), "none")))
	script := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755))
	_, err = dependencies(script)
	require.Error(t, err, "not ELF")
}

func TestModuleOrder(t *testing.T) {
	dptest.Need(t, "guestkernel")
	k, err := FindKernel()
	require.NoError(t, err)
	require.FileExists(t, k.Image)
	for _, d := range []Driver{VirtioNet, UIO, VFIO} {
		modules, _ := d.modules()
		files, err := k.Order(modules...)
		require.NoError(t, err)
		at := map[string]int{}
		for i, f := range files {
			require.FileExists(t, f)
			at[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(f), ".ko"), "-", "_")] = i
		}
		for f := range at {
			file, err := k.module(f)
			require.NoError(t, err)
			deps, err := moduleDepends(file)
			require.NoError(t, err)
			for _, dep := range deps {
				require.Less(t, at[strings.ReplaceAll(dep, "-", "_")], at[f], "%s before %s", dep, f)
			}
		}
	}
	_, err = k.Order("no_such_module")
	require.ErrorContains(t, err, ".ci/deps")
}
