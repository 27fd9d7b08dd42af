package script

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/scripts.md has every word of the format, and its example is a script.
func TestFormatIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../../../docs/scripts.md")
	require.NoError(t, err)
	page := string(b)
	words := slices.Concat(slices.Collect(maps.Keys(specs)), slices.Collect(maps.Keys(actions)), slices.Collect(maps.Keys(icmpKinds)), addrWords,
		[]string{
			"-->", "<--", "wait", "title:", "proves:", "family:", "only:", "set:", anyKernelEnv,
			"timestamps off", "sack off", "wscale off", "cookies", "ecn on", "fastopen on", "challenge-limit on", "ack-delay on", "window 5000", "flows:", "mss", "mtu", "peer-iss",
		})
	for _, s := range specs {
		if len(s.words) > 0 && !slices.Equal(s.words, addrWords) {
			words = append(words, s.words...)
		}
	}
	for _, w := range words {
		require.True(t, strings.Contains(page, "`"+w+"`") || strings.Contains(page, "`"+w+" ") || strings.Contains(page, "`"+w+"="),
			"docs/scripts.md does not explain %q", w)
	}
	for _, r := range flagLetters {
		require.Contains(t, "SFRPAUECN", string(r.letter))
	}
	_, example, ok := strings.Cut(page, "```\n")
	require.True(t, ok)
	example, _, _ = strings.Cut(example, "```")
	require.Equal(t, source(t, "rst-exact.seg"), example)
}
