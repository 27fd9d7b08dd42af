package sysfs

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func TestParseList(t *testing.T) {
	got, err := ParseList("0-2,7\n")
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 7}, got)
	got, err = ParseList("")
	require.NoError(t, err)
	require.Empty(t, got)
	for _, s := range []string{"x", "2-1", "-3", "1-", "0-99999999"} {
		_, err := ParseList(s)
		require.Error(t, err, s)
	}
}

func TestTree(t *testing.T) {
	tree := Tree{fstest.MapFS{
		"a/n":    {Data: []byte(" 12\n")},
		"a/t":    {Data: []byte("text\n")},
		"a/link": {Data: []byte("../b/target"), Mode: fs.ModeSymlink | 0o777},
	}}
	require.Equal(t, "text", tree.Text("a/t"))
	n, ok := tree.Number("a/n")
	require.True(t, ok)
	require.EqualValues(t, 12, n)
	_, ok = tree.Number("a/t")
	require.False(t, ok)
	require.Equal(t, []string{"link", "n", "t"}, tree.Names("a"))
	require.Equal(t, "target", tree.Link("a/link"))
	require.True(t, tree.Exists("a"))

	require.Empty(t, tree.Text("c"))
	require.Empty(t, tree.Names("c"))
	require.Empty(t, tree.Link("a/t"))
	require.False(t, tree.Exists("c"))
}
