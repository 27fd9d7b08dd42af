package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite docs/cli")

const referenceDir = "../../docs/cli"

// docs/cli is what the commands say of themselves.
func TestCommandReference(t *testing.T) {
	pages := map[string]string{}
	root := newRoot()
	var index bytes.Buffer
	index.WriteString(referenceHead + "# Commands\n\n| command | |\n|---|---|\n")
	each(root, func(c *cobra.Command) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".md"
		fmt.Fprintf(&index, "| [`%s`](%s) | %s |\n", c.CommandPath(), name, c.Short)
		pages[name] = page(c)
	})
	pages["README.md"] = index.String()
	if *update {
		require.NoError(t, os.RemoveAll(referenceDir))
		require.NoError(t, os.MkdirAll(referenceDir, 0o755))
		for name, text := range pages {
			require.NoError(t, os.WriteFile(filepath.Join(referenceDir, name), []byte(text), 0o644))
		}
	}
	files, err := os.ReadDir(referenceDir)
	require.NoError(t, err)
	for _, f := range files {
		have, err := os.ReadFile(filepath.Join(referenceDir, f.Name()))
		require.NoError(t, err)
		require.Equal(t, pages[f.Name()], string(have), "docs/cli/%s is stale: go test ./cmd/fastsyn -run TestCommandReference -update", f.Name())
		delete(pages, f.Name())
	}
	require.Empty(t, pages, "docs/cli lacks pages: go test ./cmd/fastsyn -run TestCommandReference -update")
}

const referenceHead = "<!-- Written by TestCommandReference from the commands themselves. Do not edit: go test ./cmd/fastsyn -run TestCommandReference -update -->\n\n"

// each calls f for c and all commands below it that help lists.
func each(c *cobra.Command, f func(*cobra.Command)) {
	c.InitDefaultHelpFlag()
	f(c)
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			each(sub, f)
		}
	}
}

// page is the reference of a command: its help text, whose parts are told apart by their headings.
func page(c *cobra.Command) string {
	var usage, b bytes.Buffer
	fmt.Fprintf(&b, "%s# %s\n\n%s.\n\n", referenceHead, c.CommandPath(), strings.TrimSuffix(c.Short, "."))
	if c.HasParent() {
		fmt.Fprintf(&b, "Part of [`%s`](%s.md); all commands are in the [index](README.md).\n\n", c.Parent().CommandPath(), strings.ReplaceAll(c.Parent().CommandPath(), " ", "-"))
	}
	fmt.Fprintf(&b, "```text\n%s\n```\n", strings.TrimSpace(c.Long))
	c.SetOut(&usage)
	c.SetErr(&usage)
	_ = c.Usage()
	open := false
	for line := range strings.Lines(usage.String()) {
		line = strings.TrimRight(line, " \n")
		switch {
		case strings.HasSuffix(line, ":") && !strings.HasPrefix(line, " "):
			if open {
				b.WriteString("```\n")
			}
			fmt.Fprintf(&b, "\n## %s\n\n```text\n", strings.TrimSuffix(line, ":"))
			open = true
		case line == "" && (!open || bytes.HasSuffix(b.Bytes(), []byte("text\n"))):
		default:
			b.WriteString(line + "\n")
		}
	}
	if open {
		b.WriteString("```\n")
	}
	return strings.ReplaceAll(b.String(), "\n\n```\n", "\n```\n")
}
