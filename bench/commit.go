package bench

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

const unknownCommit = "unknown"

// BuildCommit is the commit this program was built from, "unknown" if nothing
// says. `go run` puts none into the program; then it is that of the checkout of
// this module around the working directory, marked so.
func BuildCommit() string {
	if Commit != "" {
		return Commit
	}
	rev, dirty := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				rev = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = "+dirty"
			}
		}
	}
	if rev != "" {
		return rev + dirty
	}
	if dir, err := os.Getwd(); err == nil {
		if rev := checkoutCommit(dir); rev != "" {
			return rev + " (checkout)"
		}
	}
	return unknownCommit
}

// checkoutCommit reads HEAD of the git checkout of this module that dir lies in,
// "" if there is none (gitrepository-layout(5)).
func checkoutCommit(dir string) string {
	for {
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			if !strings.HasPrefix(string(mod), "module github.com/fastsyn/fastsyn\n") {
				return ""
			}
			break
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
	git := filepath.Join(dir, ".git")
	text := func(name string) string {
		b, _ := os.ReadFile(name)
		return strings.TrimSpace(string(b))
	}
	shared := git
	if to, linked := strings.CutPrefix(text(git), "gitdir: "); linked { // a linked working tree
		if git = filepath.FromSlash(to); !filepath.IsAbs(git) {
			git = filepath.Join(dir, git)
		}
		shared = git
		if common := text(filepath.Join(git, "commondir")); common != "" {
			if shared = filepath.FromSlash(common); !filepath.IsAbs(shared) {
				shared = filepath.Join(git, shared)
			}
		}
	}
	read := func(name string) string { return text(filepath.Join(shared, filepath.FromSlash(name))) }
	head := text(filepath.Join(git, "HEAD"))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return head
	}
	if !filepath.IsLocal(filepath.FromSlash(ref)) {
		return ""
	}
	if rev := read(ref); rev != "" {
		return rev
	}
	for line := range strings.Lines(read("packed-refs")) {
		if rev, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return rev
		}
	}
	return ""
}
