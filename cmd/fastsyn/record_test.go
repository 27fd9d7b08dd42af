package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBenchLines(t *testing.T) {
	dir := t.TempDir()
	nd, cs := filepath.Join(dir, "r.ndjson"), filepath.Join(dir, "r.csv")
	code, out, errs := fastsynCmd(t, "bench", "--count", "2000", "--quiet", "--json", "-", "--ndjson", nd, "--csv", cs, "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, errs)
	var rep struct {
		RunID     string `json:"run_id"`
		Intervals []any  `json:"intervals"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &rep))
	require.Len(t, rep.RunID, 32)
	f, err := os.Open(nd)
	require.NoError(t, err)
	defer f.Close()
	done, ends := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct {
			Schema string `json:"schema"`
			RunID  string `json:"run_id"`
			Done   int    `json:"done"`
			End    bool   `json:"end"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
		require.Equal(t, "fastsyn.interval/v1", line.Schema)
		require.Equal(t, rep.RunID, line.RunID)
		require.Zero(t, ends, "nothing behind the end")
		done += line.Done
		if line.End {
			ends++
		}
	}
	require.Equal(t, 1, ends)
	require.Equal(t, 2000, done)
	b, err := os.ReadFile(cs)
	require.NoError(t, err)
	table, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(table), 1)
	require.Equal(t, rep.RunID, table[1][0])

	// Standard output is for one of them, and then not for people.
	code, out, errs = fastsynCmd(t, "bench", "--count", "10", "--quiet", "--csv", "-", "--polling", "adaptive", "--pin", "off")
	require.Zero(t, code, errs)
	table, err = csv.NewReader(strings.NewReader(out)).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "run_id", table[0][0])
}

// What cannot be written is told before anything is sent.
func TestBenchLinesRefused(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "no", "such")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--ndjson", nowhere}, exitFailure, "--ndjson: open " + nowhere},
		{[]string{"--csv", nowhere}, exitFailure, "--csv: open " + nowhere},
		{[]string{"--csv", "-", "--json", "-"}, exitUsage, "--json - and --csv -: both on standard output"},
		{[]string{"--csv", "-", "--ndjson", "-"}, exitUsage, "--ndjson - and --csv -: both on standard output"},
	} {
		// It would go on for an hour.
		code, _, errs := fastsynCmd(t, append([]string{"bench", "--duration", "1h", "--quiet"}, tc.args...)...)
		require.Equal(t, tc.code, code, errs)
		require.Contains(t, errs, tc.want)
	}
}
