package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/docs/schema"
)

// run runs the command line and returns what main would.
func runCLI(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	root := newRoot()
	var out, errs bytes.Buffer
	root.SetArgs(args)
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	cmd, err := root.ExecuteContextC(t.Context())
	return report(&errs, cmd, err), out.String(), errs.String()
}

// savedRun writes the report of a short run and returns the file and the text that bench printed.
func savedRun(t *testing.T, args ...string) (file, text string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "run.json")
	code, text, stderr := runCLI(t, "", append([]string{"bench", "--count", "2000", "--quiet", "--polling", "adaptive", "--pin", "off", "--json", file}, args...)...)
	require.Equal(t, exitOK, code, stderr)
	return file, text
}

func TestReportCommand(t *testing.T) {
	for _, scenario := range []string{"handshake", "http", "syn-flood", "echo"} {
		file, text := savedRun(t, "--scenario", scenario)
		code, out, stderr := runCLI(t, "", "report", file)
		require.Equal(t, exitOK, code, stderr)
		require.Equal(t, text, out, "as bench showed it")
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		code, out, _ = runCLI(t, string(raw), "report", "-", "--json", "-")
		require.Equal(t, exitOK, code)
		require.Equal(t, string(raw), out)
		code, out, _ = runCLI(t, string(raw), "report", "-", "--csv", "-")
		require.Equal(t, exitOK, code)
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		require.NoError(t, err)
		r, err := measure.OpenReport(file, nil)
		require.NoError(t, err)
		require.Len(t, rows, 1+len(r.Intervals))
		require.Equal(t, "run_id", rows[0][0])
		done := 0
		for _, row := range rows[1:] {
			require.Equal(t, r.RunID, row[0])
			n, err := strconv.Atoi(row[slices.Index(rows[0], "done")])
			require.NoError(t, err)
			done += n
		}
		require.Positive(t, done)
	}
	code, out, _ := runCLI(t, "", "report", "--schema")
	require.Equal(t, exitOK, code)
	require.Equal(t, string(schema.Report), out)
	require.True(t, json.Valid([]byte(out)))
}

func TestReportCommandMerges(t *testing.T) {
	a, _ := savedRun(t)
	b, _ := savedRun(t)
	sum := filepath.Join(t.TempDir(), "sum.json")
	code, out, stderr := runCLI(t, "", "report", a, b, "--json", sum)
	require.Equal(t, exitOK, code, stderr)
	require.Contains(t, out, "4,000 attempted = 4,000 established")
	r, err := measure.OpenReport(sum, nil)
	require.NoError(t, err)
	require.True(t, r.Valid)
	require.Equal(t, int64(4000), r.Latency.Count)
	require.Equal(t, uint64(4000), r.Population.Count)

	http, _ := savedRun(t, "--scenario", "http")
	code, _, stderr = runCLI(t, "", "report", a, http)
	require.Equal(t, exitFailure, code)
	require.Contains(t, stderr, "run.json:scenario: http, but ")
	code, _, stderr = runCLI(t, "", "report", a, a)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "is given twice")
}

func TestReportCommandErrors(t *testing.T) {
	file, _ := savedRun(t)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"no file":      {"", []string{"report"}, exitUsage, "no file"},
		"both":         {"", []string{"report", "--schema", file}, exitUsage, "leave"},
		"stdin twice":  {string(raw), []string{"report", "-", "-"}, exitUsage, "once only"},
		"missing":      {"", []string{"report", file + "x"}, exitFailure, "no such file"},
		"not JSON":     {"hello", []string{"report", "-"}, exitFailure, "standard input:1:1: not JSON"},
		"tampered":     {strings.Replace(string(raw), `"established": 2000`, `"established": 1999`, 1), []string{"report", "-"}, exitInvalid, "the report is invalid"},
		"newer":        {strings.Replace(string(raw), "report/v1", "report/v9", 1), []string{"report", "-"}, exitFailure, "as new as the report"},
		"unwritable":   {string(raw), []string{"report", "-", "--json", filepath.Join(t.TempDir(), "no", "x")}, exitFailure, "--json"},
		"both there":   {string(raw), []string{"report", "-", "--json", "-", "--csv", "-"}, exitUsage, "would be mixed"},
		"unknown flag": {"", []string{"report", "--jsno", "x"}, exitUsage, `did you mean "--json"?`},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runCLI(t, tc.stdin, tc.args...)
			require.Equal(t, tc.code, code, stderr)
			require.Contains(t, stderr, tc.want)
		})
	}
}

func TestCompareCommand(t *testing.T) {
	a, _ := savedRun(t)
	b, _ := savedRun(t)
	dir := t.TempDir()
	for i, f := range []string{a, b} {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, []string{"x1.json", "x2.json"}[i]), raw, 0o600))
	}
	invalid := filepath.Join(dir, "bad.json")
	raw, err := os.ReadFile(a)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(invalid, bytes.Replace(raw, []byte(`"established": 2000`), []byte(`"established": 1999`), 1), 0o600))
	for name, tc := range map[string]struct {
		args      []string
		code      int
		out, errs string
	}{
		"plain":      {[]string{a, b}, exitOK, "metric", ""},
		"holds not":  {[]string{a, b, "--fail-if", "failed>0", "--fail-if", "p50>100s"}, exitOK, "ok    failed>0: B has 0", ""},
		"holds":      {[]string{a, b, "--fail-if", "rate>1"}, exitFailIf, "FAIL  rate>1: B has ", "a condition of --fail-if holds: rate>1"},
		"patterns":   {[]string{"--a", filepath.Join(dir, "x?.json"), "--b", a + "," + b}, exitOK, "what the 2 + 2 runs differ by", ""},
		"json":       {[]string{a, b, "--json", "-"}, exitOK, `"schema": "fastsyn.compare/v1"`, ""},
		"confidence": {[]string{a, b, "--confidence", "0.9"}, exitOK, "90 % interval", ""},
		"condition":  {[]string{a, b, "--fail-if", "rite<5"}, exitUsage, "", `did you mean "rate"?`},
		"form":       {[]string{a, b, "--fail-if", "rate"}, exitUsage, "", "for example p99>+10%"},
		"one":        {[]string{a}, exitUsage, "", "1 files: give two"},
		"none":       {nil, exitUsage, "", "two sides are needed"},
		"half":       {[]string{"--a", a}, exitUsage, "", "two sides are needed"},
		"both ways":  {[]string{"--a", a, "--b", b, a}, exitUsage, "", "unexpected argument"},
		"no match":   {[]string{"--a", filepath.Join(dir, "y*.json"), "--b", b}, exitUsage, "", "no such file"},
		"pattern":    {[]string{"--a", "[", "--b", b}, exitUsage, "", "syntax error in pattern"},
		"twice":      {[]string{"--a", a + "," + a, "--b", b}, exitUsage, "", "is given twice"},
		"too sure":   {[]string{a, b, "--confidence", "1"}, exitUsage, "", "0.95 is usual"},
		"invalid":    {[]string{a, invalid}, exitInvalid, "", "bad.json: attempted = established"},
		"missing":    {[]string{a, "none.json"}, exitFailure, "", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, stderr := runCLI(t, "", append([]string{"compare"}, tc.args...)...)
			require.Equal(t, tc.code, code, stderr)
			require.Contains(t, out, tc.out)
			require.Contains(t, stderr, tc.errs)
		})
	}
}
