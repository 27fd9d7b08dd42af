package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheckoutCommit(t *testing.T) {
	const rev, packed = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	ours := "module github.com/fastsyn/fastsyn\n\ngo 1.26\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"detached": {map[string]string{"go.mod": ours, ".git/HEAD": rev + "\n"}, rev},
		"branch":   {map[string]string{"go.mod": ours, ".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": rev + "\n"}, rev},
		"packed":   {map[string]string{"go.mod": ours, ".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": "# pack-refs\n" + rev + " refs/heads/other\n" + packed + " refs/heads/main\n"}, packed},
		"linked": {map[string]string{
			"go.mod": ours, ".git": "gitdir: ../main/.git/worktrees/w\n", "../main/.git/worktrees/w/HEAD": "ref: refs/heads/topic\n",
			"../main/.git/worktrees/w/commondir": "../..\n", "../main/.git/refs/heads/topic": rev + "\n",
		}, rev},
		"no commit": {map[string]string{"go.mod": ours, ".git/HEAD": "ref: refs/heads/main\n"}, ""},
		"no git":    {map[string]string{"go.mod": ours}, ""},
		"escaping":  {map[string]string{"go.mod": ours, ".git/HEAD": "ref: ../../secret\n", "../secret": "hush\n"}, ""},
		"another":   {map[string]string{"go.mod": "module example.com/other\n", ".git/HEAD": rev + "\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "checkout")
			for name, text := range tc.files {
				write(t, dir, name, text)
			}
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "cmd", "fastsyn"), 0o755))
			require.Equal(t, tc.want, checkoutCommit(filepath.Join(dir, "cmd", "fastsyn")))
		})
	}
}
