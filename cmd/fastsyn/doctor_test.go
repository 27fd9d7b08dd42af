package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDoctor(t *testing.T) {
	if runtime.GOOS != "linux" {
		code, _, err := fastsynCmd(t, "doctor")
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "of Linux")
		return
	}
	code, out, err := fastsynCmd(t, "doctor")
	require.Zero(t, code, err)
	require.Contains(t, out, "CAP_NET_RAW")
	require.NotContains(t, out, "\x1b[")
	code, out, err = fastsynCmd(t, "doctor", "--json")
	require.Zero(t, code, err)
	m := decode(t, out)
	require.Equal(t, "fastsyn.doctor/v1", m["schema"])
	bad := m["count"].(map[string]any)["bad"].(float64)
	code, _, err = fastsynCmd(t, "doctor", "--strict")
	if bad > 0 {
		require.Equal(t, exitFailure, code)
		require.Contains(t, err, "--strict")
	} else {
		require.Zero(t, code)
	}

	file := filepath.Join(t.TempDir(), "d.json")
	code, out, _ = fastsynCmd(t, "doctor", "--json="+file, "--iface", "lo")
	require.Zero(t, code)
	require.Contains(t, out, "\n  ok    lo ")
	require.FileExists(t, file)

	code, out, err = fastsynCmd(t, "doctor", "--iface", "nonexistent0")
	require.Equal(t, exitFailure, code)
	require.Contains(t, err, "no such interface")
	require.Contains(t, out, "failed: network")
}

func TestIsTerminal(t *testing.T) {
	require.False(t, isTerminal(&bytes.Buffer{}))
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	require.NoError(t, err)
	defer f.Close()
	require.False(t, isTerminal(f))
}
