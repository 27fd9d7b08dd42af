package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	measure "github.com/fastsyn/fastsyn/bench"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// Each mistake in a file is named with its line, and with what was likely meant.
func TestSettingsMistakes(t *testing.T) {
	for _, tc := range []struct{ cmd, text, want string }{
		{"bench", "scenario: http\n\nconncurrency: 5\n", `f.yaml:3: unknown key "conncurrency"; did you mean "concurrency"?`},
		{"serve", "listen: ':80'\nadrs: 10.0.0.2/24\n", `f.yaml:2: unknown key "adrs"; did you mean "addr"?`},
		{"bench", "config: other.yaml\n", `f.yaml:1: unknown key "config"`},
		{"bench", "scenario: htpp\n", `f.yaml:1: scenario htpp: unknown value; did you mean "http"?`},
		{"bench", "scenario: http\nrate: fast\n", `f.yaml:2: rate "fast": invalid syntax`},
		{"bench", "duration: 5\n", `f.yaml:1: duration "5": time: missing unit in duration "5"`},
		{"bench", "duration: 5s\nduration: 6s\n", "f.yaml:2: duration: given twice, first in line 1; leave one out"},
		{"bench", "duration:\n", "f.yaml:1: duration: has no value; give one, or leave the key out"},
		{"bench", "count: [1, 2]\n", "f.yaml:1: count: want one value, not a list"},
		{"bench", "port:\n  driver: loop\n", "f.yaml:2: port: want a value or a list of values, not more structure"},
		{"bench", "- scenario: http\n", `f.yaml:1: want lines such as "scenario: http"`},
		{"bench", "scenario http\n", `f.yaml:1: want lines such as "scenario: http"`},
		{"bench", "scenario: http\n---\nscenario: echo\n", "a second document: want one set of settings in a file"},
		{"bench", "scenario: \"http\nrate: 1\n", "not YAML: "},
		{"bench", "", "f.yaml: empty"},
		{"bench", "rate: 5\n\trate: 6\n", "f.yaml:2: not YAML: "},
		{"bench", "http-body: 1X\n", `f.yaml:1: http-body "1X": "1X": want a number of bytes`},
		{"bench", "concurrency: -5\n", "f.yaml:1: concurrency -5: want 1 to "},
		{"bench", "connect: 10.0.0.9:80\nport: afpacket:veth0\n", "f.yaml: --addr: an address for this end is missing"},
		{"serve", "port: afpacket:veth0\naddr: 10.0.0.2/24\n", "f.yaml: --listen is missing"},
		{"serve", "port: afpacket:veth0\naddr: 10.0.0.2/24\nlisten: [':80']\ncookies: allways\n", `f.yaml:4: cookies "allways": unknown value; did you mean "always"?`},
	} {
		file := write(t, "f.yaml", tc.text)
		for _, args := range [][]string{{tc.cmd, "check", file}, {tc.cmd, "--config", file}} {
			code, out, err := fastsynCmd(t, args...)
			require.Equal(t, exitUsage, code, "%s: %s", args, err)
			require.Empty(t, out)
			require.Contains(t, err, tc.want, "%v %q", args, tc.text)
		}
	}
	code, _, err := fastsynCmd(t, "bench", "check")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "name the files to check")
	code, _, err = fastsynCmd(t, "bench", "check", "/nonexistent.yaml")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "/nonexistent.yaml: no such file")
	code, _, err = fastsynCmd(t, "bench", "chekc", "x")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, `did you mean "bench check"?`)
}

func TestSettingsCheckSeveral(t *testing.T) {
	good, bad := write(t, "good.yaml", "scenario: http\naddr: &a [10.0.0.3/24, 'fd00::3/64']\nport: afpacket:veth0\nconnect: 10.0.0.9:80\n"), write(t, "bad.yaml", "x: 1\n")
	code, out, err := fastsynCmd(t, "bench", "check", bad, good)
	require.Equal(t, exitUsage, code)
	require.Equal(t, good+": ok\n", out)
	require.Contains(t, err, "bad.yaml:1: unknown key")
}

// What the command line says wins over the file, and the file over the defaults.
func TestSettingsOrder(t *testing.T) {
	file := write(t, "f.yaml", "scenario: http\ncount: 100\nhttp-body: 0\nhttp-requests: 2\nquiet: true\njson: '-'\nseed: 7\n")
	code, out, err := fastsynCmd(t, "bench", "--config", file, "--count", "50")
	require.Zero(t, code, err)
	var r measure.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.EqualValues(t, 50, r.Handshakes.Attempted)
	require.Equal(t, []any{2, 0, uint64(7)}, []any{r.HTTP.Requests, r.HTTP.Body, r.Seed})

	// The report's settings make the same run again.
	again := write(t, "r.json", out)
	code, out, err = fastsynCmd(t, "bench", "--replay", again, "--json", "-", "--quiet")
	require.Zero(t, code, err)
	var r2 measure.Report
	require.NoError(t, json.Unmarshal([]byte(out), &r2))
	require.Equal(t, r.Config, r2.Config)
	require.Equal(t, r.HTTP.Complete, r2.HTTP.Complete)
}

// Every setting survives the way from a report over the flags into a configuration.
func TestEverySettingRoundTrips(t *testing.T) {
	flags := newBench().Flags()
	typ := reflect.TypeFor[measure.Config]()
	for i := range typ.NumField() {
		field := typ.Field(i)
		if !field.IsExported() || slices.Contains([]string{"Live", "OnInterval", "RunID"}, field.Name) { // for programs
			continue
		}
		tag := field.Tag.Get("flag")
		require.NotEmpty(t, tag, "%s: every setting has a flag", field.Name)
		for name := range strings.SplitSeq(tag, ",") {
			require.NotNil(t, flags.Lookup(name), name)
		}
		for _, v := range examples(field.Type) {
			want := measure.Config{}
			reflect.ValueOf(&want).Elem().Field(i).Set(reflect.ValueOf(v).Convert(field.Type))
			b, err := json.Marshal(map[string]any{"schema": measure.Schema, "config": want.Settings()})
			require.NoError(t, err)
			o := new(benchFlags)
			cmd := newBenchOf(o)
			s, err := reportSettings(write(t, "r.json", string(b)), cmd)
			require.NoError(t, err, field.Name)
			require.NoError(t, s.apply(cmd), field.Name)
			_ = o.prepare(cmd) // which may refuse the combination, once everything is set
			require.Equal(t, reflect.ValueOf(want).Field(i).Interface(), reflect.ValueOf(o.cfg).Field(i).Interface(), "%s of %s", field.Name, b)
		}
	}
}

// examples are values of typ that are not its zero.
func examples(typ reflect.Type) []any {
	switch typ {
	case reflect.TypeFor[time.Duration]():
		return []any{1500 * time.Millisecond}
	case reflect.TypeFor[[]string]():
		return []any{[]string{"10.0.0.3/24", "10.0.0.4/24"}}
	}
	switch typ.Kind() {
	case reflect.String:
		return []any{"x"}
	case reflect.Bool:
		return []any{true}
	case reflect.Float64:
		return []any{1234.5}
	case reflect.Int:
		return []any{3}
	case reflect.Uint64:
		return []any{uint64(1<<53 + 1)}
	}
	panic(typ)
}

// Negative settings mean none, which has a flag of its own or is 0.
func TestNegativeSettingsRoundTrip(t *testing.T) {
	want := measure.Config{Drain: -1, SYNRetries: -1, HTTPBody: -1, DAD: -1, Scenario: "http"}
	b, err := json.Marshal(map[string]any{"schema": measure.Schema, "config": want.Settings()})
	require.NoError(t, err)
	o := new(benchFlags)
	cmd := newBenchOf(o)
	s, err := reportSettings(write(t, "r.json", string(b)), cmd)
	require.NoError(t, err)
	require.NoError(t, s.apply(cmd))
	require.NoError(t, o.prepare(cmd))
	require.Equal(t, []any{want.Drain, want.SYNRetries, want.HTTPBody, want.DAD}, []any{o.cfg.Drain, o.cfg.SYNRetries, o.cfg.HTTPBody, o.cfg.DAD})
}

func TestReplayMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{":                              "r.json: not a report: unexpected EOF",
		`{"schema":"fastsyn.serve/v1"}`:  `r.json: schema "fastsyn.serve/v1": want fastsyn.report/v1`,
		`{"schema":"fastsyn.report/v1"}`: "r.json: has no config",
		`{"schema":"fastsyn.report/v1","config":{"ratte":1}}`:    `r.json: unknown key "ratte"; did you mean "rate"?`,
		`{"schema":"fastsyn.report/v1","config":{"rate":-5}}`:    "r.json: rate -5: want opens per second",
		`{"schema":"fastsyn.report/v1","config":{"rate":{}}}`:    "r.json: config: rate: want a value",
		`{"schema":"fastsyn.report/v1","config":{"rate":[1,2]}}`: "r.json: rate: want one value",
	} {
		code, _, err := fastsynCmd(t, "bench", "--replay", write(t, "r.json", text))
		require.Equal(t, exitUsage, code, err)
		require.Contains(t, err, want)
	}
	code, _, err := fastsynCmd(t, "bench", "--replay", "x", "--config", "y")
	require.Equal(t, exitUsage, code)
	require.Contains(t, err, "give one of them")
}

// No text makes the reader panic or set a flag that does not exist.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{"scenario: http\n", "a: &x [1]\nb: *x\n", "addr: [a, b]\n", "? {a: b}\n: c\n", "rate: !!float 5\n", "<<: {rate: 5}\n", "a: &a [*a]\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings("f", []byte(text))
		if err != nil {
			require.Contains(t, err.Error(), "f:")
			return
		}
		o := new(benchFlags)
		cmd := newBenchOf(o)
		if s.apply(cmd) == nil {
			for _, k := range s.keys {
				require.NotNil(t, cmd.Flags().Lookup(k.key))
			}
		}
	})
}

// A file for serve with what its help shows is one that serve takes.
func TestServeConfig(t *testing.T) {
	file := write(t, "s.yaml", `# An accept front end.
port: afpacket:nonexistent0
addr: [10.0.0.2/24, "fd00::2/64"]
listen: [":80", ":443"]
app: echo
cookies: pressure
rcv-window: 64K
fastopen: 100
`)
	code, out, err := fastsynCmd(t, "serve", "check", file)
	require.Zero(t, code, err)
	require.Equal(t, file+": ok\n", out)
	code, _, err = fastsynCmd(t, "serve", "--config", file)
	require.Equal(t, exitFailure, code) // it got as far as the device
	require.Contains(t, err, "nonexistent0")
}

// From standard input, as from a file.
func TestSettingsFromStdin(t *testing.T) {
	var out, errs strings.Builder
	code := run(context.Background(), []string{"bench", "check", "-"}, strings.NewReader("rate: 5\nratte: 6\n"), &out, &errs)
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs.String(), `-:2: unknown key "ratte"`)
	require.True(t, slices.Contains(onlyFlags, "config"))
}
