package script

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/kernel-differences.md from testdata")

const suffix = ".seg"

// load reads all scripts of testdata, in the order of their names.
func load(tb testing.TB) []*Script {
	tb.Helper()
	files, err := filepath.Glob("testdata/*" + suffix)
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	slices.Sort(files)
	all := make([]*Script, 0, len(files))
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(tb, err)
		s, err := Parse(filepath.Base(f), string(b))
		require.NoError(tb, err)
		all = append(all, s)
	}
	return all
}

// play runs f for every script in both families that is for side. The rules of a
// script are on its line "proves:", from which docs/conformance.md is made.
func play(t *testing.T, side Side, f func(t *testing.T, s *Script, fam Family)) {
	t.Helper()
	for _, s := range load(t) {
		t.Run(strings.TrimSuffix(s.File, suffix), func(t *testing.T) {
			if s.Only&side == 0 {
				t.Skipf("not for %v: %s", side, s.OnlyWhy)
			}
			for _, fam := range s.Families {
				t.Run(fam.String(), func(t *testing.T) {
					t.Parallel()
					f(t, s, fam)
				})
			}
		})
	}
}

func TestScriptsOnBareFlows(t *testing.T) { onFastsyn(t, Bare) }

func TestScriptsOnStreams(t *testing.T) { onFastsyn(t, Stream) }

func onFastsyn(t *testing.T, side Side) {
	play(t, side, func(t *testing.T, s *Script, fam Family) {
		e, err := NewEndpoint(s.Settings, side, fam, DefaultLink)
		require.NoError(t, err)
		if err := Run(s, fam, e, DefaultLink); err != nil {
			t.Error(err)
		}
		require.NoError(t, e.Free())
	})
}

// golden compares a generated file with what it should be, or writes it.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(name, want, 0o644))
		return
	}
	got, err := os.ReadFile(name)
	require.NoError(t, err)
	if bytes.Equal(want, got) {
		return
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(string(got), "\n")
	i := 0
	for i < min(len(w), len(g))-1 && w[i] == g[i] {
		i++
	}
	t.Errorf("%s is stale from line %d on; go test ./cmd/fastsyn/internal/script -run %s -update writes it\nwant %s\nhas  %s",
		name, i+1, t.Name(), w[i], g[i])
}

// No script proves a thing twice under two names, and none is so long that
// nobody reads it.
func TestScriptsAreTidy(t *testing.T) {
	titles := map[string]string{}
	for _, s := range load(t) {
		require.Empty(t, titles[s.Title], "%s has the title of another script", s.File)
		titles[s.Title] = s.File
		require.LessOrEqual(t, len(s.Steps), 60, s.File)
		section := strings.ToUpper(s.File[:3])
		require.True(t, slices.ContainsFunc(s.Proves, func(id string) bool { return strings.HasPrefix(id, section) }),
			"%s begins with the section of no rule it proves", s.File)
	}
}

// source returns the text of a script of testdata.
func source(tb testing.TB, file string) string {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	require.NoError(tb, err)
	return string(b)
}
