//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/lab"
	"github.com/fastsyn/fastsyn/dataplane/dptest"
)

func TestLabUsage(t *testing.T) {
	code, out, err := fastsynCmd(t, "lab", "--list")
	require.Zero(t, code, err)
	doc, e := os.ReadFile("../../docs/lab.md")
	require.NoError(t, e)
	for _, s := range lab.Scenarios() {
		require.Contains(t, string(doc), "`"+s.Name+"`")
		require.Contains(t, out, s.Name+" ")
		require.Contains(t, out, s.Title)
	}
	require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), len(lab.Scenarios()))
	for args, want := range map[string]string{
		"lab refusd":              `did you mean "refused"?`,
		"lab open nonsense":       `unknown scenario "nonsense"`,
		"lab --list open":         "--list lists all",
		"lab --rtt 2s":            "--rtt 2s: want 2ms to 500ms",
		"lab --rtt 0s":            "--rtt 0s",
		"lab --initial-rto 10ms":  "--initial-rto 10ms: want 50ms to 3s",
		"lab --initial-rt 100ms":  `did you mean "--initial-rto"?`,
		"lab simultaneous --list": "--list lists all",
	} {
		code, out, err := fastsynCmd(t, strings.Fields(args)...)
		require.Equal(t, exitUsage, code, args)
		require.Contains(t, err, want)
		require.Empty(t, out)
	}
}

// labNamespaces are those of labs of a process.
func labNamespaces(t *testing.T, pid int) []string {
	t.Helper()
	names, err := filepath.Glob("/run/netns/fs-" + strconv.Itoa(pid) + "-*")
	require.NoError(t, err)
	return names
}

// The command as a person runs it: text, captures, and the report for programs.
func TestLab(t *testing.T) {
	interop(t, "ss")
	dir := t.TempDir()
	report := filepath.Join(dir, "lab.json")
	cmd := exec.Command(command(t), "lab", "refused", "syn-cookies", "--json", report, "--pcap", filepath.Join(dir, "captures"), "--ascii")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "refused: ok")
	require.Contains(t, string(out), "2 scenarios, all as they should be")
	require.NotContains(t, string(out), "\x1b[", "no colours: this is no terminal")
	for _, c := range out {
		require.Less(t, c, byte(0x80), "ASCII alone")
	}
	require.Empty(t, labNamespaces(t, cmd.Process.Pid))

	b, err := os.ReadFile(report)
	require.NoError(t, err)
	var r lab.Report
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&r))
	require.Equal(t, lab.Schema, r.Schema)
	require.True(t, r.OK)
	require.NotEmpty(t, r.Kernel)
	require.Len(t, r.Scenarios, 2)
	refused := r.Scenarios[0]
	require.Equal(t, "refused", refused.Name)
	require.Len(t, refused.Panels, 2)
	require.Len(t, refused.Panels[0].Segments, 2)
	require.Equal(t, "RST-ACK", refused.Panels[0].Segments[1].Flags)
	require.Equal(t, refused.Panels[0].Segments[0].Seq+1, refused.Panels[0].Segments[1].Ack)
	for _, q := range append(refused.Panels, r.Scenarios[1].Panels...) {
		require.FileExists(t, q.Pcap)
		traced := exec.Command(command(t), "trace", "--read", q.Pcap)
		out, err := traced.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.GreaterOrEqual(t, strings.Count(string(out), "\n"), len(q.Segments))
	}
	out, err = exec.Command(command(t), "lab", "open", "--json", "-").Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &r), "nothing but JSON")
}

// A lab is removed when it is interrupted; that of a run which was killed, by the next.
func TestLabIsRemoved(t *testing.T) {
	interop(t, "ss")
	begin := func() (*dptest.Process, int) {
		pid := filepath.Join(t.TempDir(), "pid")
		p := dptest.Start(t, "sh", "-c", `echo $$ > "$0"; exec "$@"`, pid, command(t), "lab", "timeout", "open")
		var n int
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(pid)
			return err == nil && json.Unmarshal(b, &n) == nil && len(labNamespaces(t, n)) == 4
		}, patience, patience/1000, "two labs, with two namespaces each")
		return p, n
	}
	p, pid := begin()
	require.NoError(t, p.Signal(syscall.SIGINT))
	require.Error(t, p.Wait())
	require.Contains(t, p.Output(), "interrupted while playing timeout")
	require.NotContains(t, p.Output(), "open: ok")
	require.Empty(t, labNamespaces(t, pid))

	p, pid = begin()
	require.NoError(t, p.Signal(syscall.SIGKILL))
	require.Error(t, p.Wait())
	require.NotEmpty(t, labNamespaces(t, pid))
	out, err := exec.Command(command(t), "lab", "open").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Empty(t, labNamespaces(t, pid))
}

// An ordinary user has a lab where user namespaces are allowed, and is told what to do where not.
func TestLabAsUser(t *testing.T) {
	interop(t, "ss")
	// Where that user may read it.
	bin := filepath.Join(t.TempDir(), "fastsyn")
	b, err := os.ReadFile(command(t))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(bin, b, 0o755))
	for dir := filepath.Dir(bin); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	const nobody = 65534
	user := func(args ...string) ([]byte, error) {
		cmd := exec.Command(bin, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd.CombinedOutput()
	}
	out, err := user("lab", "--list")
	require.NoError(t, err, "%s", out)
	out, err = user("lab", "open", "ecn")
	if err != nil {
		require.Contains(t, string(out), "sudo fastsyn lab")
		t.Skipf("users make no user namespaces here: %s", out)
	}
	require.Contains(t, string(out), "2 scenarios, all as they should be")
}
