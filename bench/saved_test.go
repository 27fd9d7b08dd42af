package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// saved is what a report says after it was written and read.
func saved(t testing.TB, r *Report) *Report {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	back, err := ReadReport(&b, "saved.json")
	require.NoError(t, err)
	return back
}

// survives checks that a report is what the schema says, and that nothing of what it says is lost in the file: the
// text is the same, the verdict too, and the limiter can be told from the evidence in it.
func survives(t testing.TB, r *Report) {
	t.Helper()
	conforms(t, r)
	back := saved(t, r)
	var before, after bytes.Buffer
	require.NoError(t, r.WriteText(&before))
	require.NoError(t, back.WriteText(&after))
	require.Equal(t, before.String(), after.String())
	require.Equal(t, r.Limiter, limiter(back))
}

func TestReadReportErrors(t *testing.T) {
	var good bytes.Buffer
	require.NoError(t, sample().WriteJSON(&good))
	edit := func(old, with string) string {
		require.Contains(t, good.String(), old)
		return strings.Replace(good.String(), old, with, 1)
	}
	for name, tc := range map[string]struct{ text, at, reason, fix string }{
		"empty":        {" \n", "", "the file is empty", "bench --json"},
		"text":         {"scenario   handshake\n", "1:1", "not JSON: invalid character 's'", "bench --json"},
		"cut":          {good.String()[:good.Len()/2], "", "it ends too early", "bench --json"},
		"comma":        {edit(`"valid": true,`, `"valid": true,,`), "3:17", "not JSON: invalid character ','", "bench --json"},
		"two":          {good.String() + good.String(), "", "more than one JSON value", "a file of its own"},
		"no schema":    {"{}", "", `no field "schema"`, "bench --json"},
		"list":         {"[1]", "1:1", "the report: a JSON array where an object is wanted", "bench --json"},
		"reflect":      {edit(Schema, ReflectSchema), "schema", `"fastsyn.reflect/v1" is something else`, "bench --json"},
		"newer":        {edit(Schema, "fastsyn.report/v2"), "schema", "another version", "as new as the report"},
		"type":         {edit(`"workers": 1,`, `"workers": "one",`), "", "workers: a JSON string where an integer is wanted", "correct the field"},
		"negative":     {edit(`"refused": 1,`, `"refused": -1,`), "", "handshakes.refused: a JSON number -1 where an integer from 0 is wanted", "correct the field"},
		"scenario":     {edit(`"scenario": "handshake"`, `"scenario": "handshaek"`), "scenario", `unknown scenario "handshaek"`, `did you mean "handshake"?`},
		"no scenario":  {edit(`"scenario": "handshake"`, `"scenario": "zzzzzzzzzz"`), "scenario", "unknown scenario", "as new as the report"},
		"schema: type": {edit(`"`+Schema+`"`, "1"), "2:13", "schema: a JSON number where a string is wanted", "bench --json"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadReport(strings.NewReader(tc.text), "x.json")
			var e *FileError
			require.ErrorAs(t, err, &e)
			require.Contains(t, e.Reason, tc.reason)
			require.Contains(t, e.Fix, tc.fix)
			require.True(t, strings.HasPrefix(err.Error(), "x.json:"), err)
			if tc.at != "" {
				require.Equal(t, tc.at, e.At)
			}
		})
	}
	_, err := OpenReport(filepath.Join(t.TempDir(), "none.json"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = OpenReport("-", strings.NewReader(""))
	require.ErrorContains(t, err, "standard input: the file is empty")
	_, err = OpenReport("-", failing{})
	require.ErrorIs(t, err, errPipe)
}

var errPipe = errors.New("broken pipe")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errPipe }

// What a newer version adds to a report of this schema is passed over.
func TestReadReportOfANewerVersion(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, sample().WriteJSON(&b))
	var m map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &m))
	m["colour"] = "red"
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	r, err := ReadReport(bytes.NewReader(raw), "x")
	require.NoError(t, err)
	require.True(t, r.Valid)
}

// A report is judged by its own numbers, whatever it says of itself.
func TestRecheck(t *testing.T) {
	require.True(t, saved(t, sample()).Valid)

	r := sample()
	r.equation("one and one", 1, 2)
	r.judge()
	back := saved(t, r)
	require.False(t, back.Valid)
	require.Equal(t, "one and one: 1 is not 2", back.InvalidReason)

	r.Valid, r.InvalidReason = true, "" // a forger who forgets the equations
	require.False(t, saved(t, r).Valid)

	r = sample()
	r.Equations[0].Left++
	require.False(t, saved(t, r).Valid, "it holds, it says")

	r = sample()
	r.Handshakes.Established++
	back = saved(t, r)
	require.False(t, back.Valid)
	require.Contains(t, back.InvalidReason, "(the fields of the file)")

	r = sample()
	r.Equations = append(r.Equations, Equation{Name: "client worker 0: segments in = sum of outcomes"})
	r.judge()
	require.False(t, saved(t, r).Valid, "a sum that a worker found wrong has no numbers")

	r = sample()
	r.Valid, r.InvalidReason = false, "for a reason of its own"
	require.Equal(t, "for a reason of its own", saved(t, r).InvalidReason)
	r.InvalidReason = ""
	require.False(t, saved(t, r).Valid)

	r = sample()
	r.Path = []Stage{{Name: "wire", In: 5, Out: 3, Lost: map[string]uint64{"impair_tx_lost": 1}, Seen: true}}
	require.Equal(t, "path, wire: in + added = out + lost (the fields of the file): 5 is not 4", saved(t, r).InvalidReason)
}
