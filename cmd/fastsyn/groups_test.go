package main

import (
	"bytes"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The help of the commands with many flags has each of them once, below a heading.
func TestHelpListsEveryFlagOnce(t *testing.T) {
	line := regexp.MustCompile(`(?m)^ {2}(?:-\w, | {4})--([a-z0-9-]+)[ [].*$`)
	for _, name := range []string{"serve", "bench"} {
		t.Run(name, func(t *testing.T) {
			root := newRoot()
			var out bytes.Buffer
			root.SetOut(&out)
			root.SetArgs([]string{name, "--help"})
			require.NoError(t, root.Execute())
			begin := regexp.MustCompile(`\n[A-Z][^\n]*:\n {6}--`).FindStringIndex(out.String())
			require.NotNil(t, begin, out.String())
			names := func(s string) (names []string) {
				for _, m := range line.FindAllStringSubmatch(s, -1) {
					names = append(names, m[1])
				}
				slices.Sort(names)
				return names
			}
			cmd, _, err := root.Find([]string{name})
			require.NoError(t, err)
			all := names(cmd.Flags().FlagUsages())
			require.Greater(t, len(all), 30)
			require.Equal(t, all, names(out.String()[begin[0]:]))
		})
	}
}
