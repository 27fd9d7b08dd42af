package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A report is the same page whether bench writes it or report does later, from the file.
func TestHTML(t *testing.T) {
	dir := t.TempDir()
	first, second, saved := filepath.Join(dir, "1.html"), filepath.Join(dir, "2.html"), filepath.Join(dir, "run.json")
	code, out, errs := fastsynCmd(t, "bench", "--count", "100", "--quiet", "--html", first, "--json", saved)
	require.Zero(t, code, errs)
	require.Contains(t, out, "VALID")
	code, _, errs = fastsynCmd(t, "report", saved, "--html", second)
	require.Zero(t, code, errs)
	a, err := os.ReadFile(first)
	require.NoError(t, err)
	b, err := os.ReadFile(second)
	require.NoError(t, err)
	require.Equal(t, string(a), string(b))
	require.Contains(t, string(a), "<!DOCTYPE html>")

	code, out, errs = fastsynCmd(t, "report", saved, "--html", "-")
	require.Zero(t, code, errs)
	require.Equal(t, string(a), out, "the page and nothing else")

	code, _, errs = fastsynCmd(t, "bench", "--count", "1", "--json", "-", "--html", "-")
	require.Equal(t, 2, code)
	require.Contains(t, errs, "both would go to standard output")
	code, _, errs = fastsynCmd(t, "report", saved, "--html", filepath.Join(dir, "no", "such.html"))
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--html: open ")
}
