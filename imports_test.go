package fastsyn_test

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/fastsyn/fastsyn"

// mayImport is the picture of DESIGN section 2 as a table: for each package of
// this module, the packages of this module that it imports directly. "." is the
// root package. Entries that end in "/..." stand for everything below.
//
// Please do not let this table grow. A new package needs a line here, and a new
// arrow needs a reason good enough for docs/adr: whoever reads handshake today
// needs to know nothing about devices, and that is worth more than a shortcut.
// The depguard rules in .golangci.yml say the same for editors.
var mayImport = map[string][]string{
	// Leaves: the standard library and golang.org/x/sys.
	"cookie":         {},
	"hugepages":      {},
	"rss":            {},
	"dataplane/wire": {},

	// Moves frames, knows no TCP, not even how to read a frame.
	"dataplane": {},

	// Says which queue a frame belongs to, knows no device.
	"dataplane/steer": {"dataplane/wire", "rss"},

	"dataplane/loop":     {"dataplane", "dataplane/steer", "dataplane/wire", "hugepages", "rss"},
	"dataplane/afpacket": {"dataplane", "dataplane/steer", "dataplane/wire", "hugepages", "rss"},
	"dataplane/dpdk":     {"dataplane", "dataplane/steer", "dataplane/wire", "hugepages", "rss"},
	"dataplane/impair":   {"dataplane", "dataplane/wire", "hugepages", "rss"},
	"dataplane/trace":    {"dataplane/wire"},
	"dataplane/dptest":   {"dataplane", "dataplane/netlab", "dataplane/wire"},

	// Namespaces for tests and for the lab.
	"dataplane/netlab": {},

	// Virtual machines for tests.
	"dataplane/dptest/guest": {"dataplane/dptest"},

	"dataplane/rssprobe": {"dataplane", "dataplane/wire", "rss"},

	"handshake": {"cookie", "dataplane/wire", "hugepages"},

	// The data phase, as pure as the handshake.
	"dataplane/flow": {"dataplane/wire", "handshake", "hugepages"},

	// The one package that knows both frames and TCP.
	"dataplane/worker": {"cookie", "dataplane", "dataplane/flow", "dataplane/wire", "handshake", "hugepages", "rss"},

	// HTTP/1.1 without I/O.
	"bench/http1": {},

	// Reads reports and tells them apart.
	"bench/compare": {"bench"},

	// A report as a page.
	"bench/page": {"bench"},

	".":           {"cookie", "dataplane/...", "handshake", "hugepages", "rss"},
	"bench":       {".", "bench/http1", "cookie", "dataplane/...", "handshake", "hugepages", "internal/ethtool", "internal/sysfs", "rss"},
	"cmd/fastsyn": {".", "bench", "bench/compare", "bench/http1", "bench/page", "cmd/fastsyn/internal/devices", "cmd/fastsyn/internal/doctor", "cmd/fastsyn/internal/lab", "cmd/fastsyn/internal/layout", "cmd/fastsyn/internal/metrics", "cmd/fastsyn/internal/screen", "cookie", "dataplane/...", "docs/schema", "handshake", "hugepages", "rss"},

	// What programs are told of reports.
	"docs/schema": {},

	// Look at the machine, know nothing of packets.
	"internal/ethtool":             {},
	"cmd/fastsyn/internal/layout":  {},
	"internal/sysfs":               {},
	"cmd/fastsyn/internal/devices": {"internal/ethtool", "cmd/fastsyn/internal/layout", "internal/sysfs"},
	"cmd/fastsyn/internal/doctor":  {"internal/ethtool", "cmd/fastsyn/internal/layout", "internal/sysfs", "hugepages"},

	// Show a run or a server while it goes on: to Prometheus, on a terminal.
	"cmd/fastsyn/internal/metrics": {"bench", "dataplane/worker"},
	"cmd/fastsyn/internal/screen":  {"bench", "handshake"},

	// Plays the scenarios of the handshake, with both ends, and draws them.
	"cmd/fastsyn/internal/lab":    {".", "cmd/fastsyn/internal/ladder", "dataplane", "dataplane/netlab", "dataplane/trace", "dataplane/wire", "handshake"},
	"cmd/fastsyn/internal/ladder": {"dataplane/wire"},

	// Plays segment scripts against a worker on the loop wire, as its tests do against the kernel.
	"cmd/fastsyn/internal/script": {"cookie", "dataplane", "dataplane/flow", "dataplane/loop", "dataplane/wire", "dataplane/worker", "handshake"},
}

// mayUse lists modules from outside that a package imports besides
// golang.org/x/sys, which all may. Tests are free.
var mayUse = map[string][]string{
	"bench":                        {"github.com/HdrHistogram/hdrhistogram-go"},
	"bench/compare":                {"github.com/HdrHistogram/hdrhistogram-go"},
	"cmd/fastsyn":                  {"github.com/spf13/cobra", "github.com/spf13/pflag", "go.yaml.in/yaml/v3", "github.com/gopacket/gopacket", "github.com/pires/go-proxyproto"}, // pcapgo: trace reads captures
	"cmd/fastsyn/internal/metrics": {"github.com/prometheus/client_golang", "github.com/prometheus/client_model"},
	"cmd/fastsyn/internal/screen":  {"golang.org/x/term"},
	"cmd/fastsyn/internal/lab":     {"github.com/gopacket/gopacket"}, // pcapgo: --pcap
	"dataplane/dptest":             {"github.com/gopacket/gopacket", "github.com/stretchr/testify"},
	"dataplane/impair":             {"github.com/gopacket/gopacket"}, // pcapgo: capture files
}

// testOnly are packages that only test files import, and each other.
var testOnly = []string{"dataplane/dptest", "dataplane/dptest/guest"}

// cgoPackage is the only package that may contain cgo.
const cgoPackage = "dataplane/dpdk"

// sansIO are the packages in which time, keys and frames come in from outside,
// so that one engine runs under a device, a virtual clock and a fuzzer.
var sansIO = []string{"dataplane/flow", "handshake"}

// impure is what a package in sansIO does not import, and why.
var impure = map[string]string{
	"crypto/rand":  "keys come in from outside",
	"math/rand":    "seeds come in from outside",
	"math/rand/v2": "seeds come in from outside",
	"net":          "frames come in from outside",
	"os":           "it does no I/O",
	"sync":         "one goroutine owns an engine",
	"sync/atomic":  "one goroutine owns an engine",
	"syscall":      "it does no I/O",
}

// pureTime is what a package in sansIO uses of package time: units, no clock.
var pureTime = []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "ParseDuration"}

// goFile is a non-test Go file of this module.
type goFile struct {
	name    string // path from the module root, with slashes
	pkg     string // directory from the module root, "." for the root
	imports []string
}

// moduleFiles returns the non-test Go files of this module, whatever their build
// constraints: an arrow that only exists on darwin or behind a tag counts. It
// leaves out what the go command leaves out, and programs marked "ignore".
func moduleFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") || base[0] == '.' || base[0] == '_' {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if ignored(f) {
			return nil
		}
		g := goFile{name: filepath.ToSlash(name), pkg: filepath.ToSlash(filepath.Dir(name))}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			g.imports = append(g.imports, p)
		}
		files = append(files, g)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

// ignored reports whether f carries the constraint "ignore", by which a program
// that is run by hand lives in the directory of a package it is no part of.
func ignored(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Pos() > f.Package {
				return false
			}
			if x, err := constraint.Parse(c.Text); err == nil {
				if tag, ok := x.(*constraint.TagExpr); ok && tag.Tag == "ignore" {
					return true
				}
			}
		}
	}
	return false
}

// covers reports whether an entry of list is p, or stands for it with "/...".
func covers(list []string, p string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		prefix, below := strings.CutSuffix(entry, "/...")
		return p == prefix || below && strings.HasPrefix(p, prefix+"/")
	})
}

// belongs reports whether the import path p belongs to a module in modules.
func belongs(modules []string, p string) bool {
	return slices.ContainsFunc(modules, func(m string) bool { return p == m || strings.HasPrefix(p, m+"/") })
}

// internal returns the directory of import path p if it belongs to this module.
func internal(p string) (string, bool) {
	if p == modulePath {
		return ".", true
	}
	return strings.CutPrefix(p, modulePath+"/")
}

// isStd reports whether p is a path of the standard library, whose first
// element has no dot.
func isStd(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

func TestImportsFollowTheDesign(t *testing.T) {
	for _, f := range moduleFiles(t) {
		allowed, known := mayImport[f.pkg]
		if !known && f.pkg != cgoPackage {
			t.Errorf("%s: package %q has no line in mayImport (imports_test.go). Add one, and a rule to .golangci.yml, "+
				"with the few arrows it needs. Please do not let the table grow: could the code live in a package that exists?", f.name, f.pkg)
			continue
		}
		for _, p := range f.imports {
			dir, own := internal(p)
			switch {
			case p == "C":
				if f.pkg != cgoPackage {
					t.Errorf("%s: imports \"C\": cgo lives in %s alone; everything else builds with CGO_ENABLED=0", f.name, cgoPackage)
				}
			case own && slices.Contains(testOnly, dir) && !slices.Contains(testOnly, f.pkg):
				t.Errorf("%s: imports %s outside a test", f.name, dir)
			case own && !covers(allowed, dir):
				t.Errorf("%s: %s must not import %s; it may import %v. See DESIGN section 2: "+
					"pass the value in, or move the code to the package that knows both", f.name, f.pkg, dir, allowed)
			case !own && !isStd(p) && !belongs([]string{"golang.org/x/sys"}, p) && !belongs(mayUse[f.pkg], p):
				t.Errorf("%s: %s must not import %s: a library from outside needs a record in docs/adr and a line in mayUse (imports_test.go)",
					f.name, f.pkg, p)
			}
		}
	}
}

// A package in sansIO has no clock, socket, goroutine, lock or random source.
func TestSansIOPackagesArePure(t *testing.T) {
	for _, f := range moduleFiles(t) {
		if !slices.Contains(sansIO, f.pkg) {
			continue
		}
		for _, p := range f.imports {
			if why, bad := impure[p]; bad {
				t.Errorf("%s: imports %s: %s is sans-I/O, %s", f.name, p, f.pkg, why)
			}
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, f.name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, problem := range clocksAndGoroutines(file) {
			t.Errorf("%s: %s", fset.Position(problem.pos), problem.text)
		}
	}
}

type problem struct {
	pos  token.Pos
	text string
}

// clocksAndGoroutines finds uses of package time beyond its units, and go statements.
func clocksAndGoroutines(file *ast.File) (found []problem) {
	timeName := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"time"` {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	if timeName == "." {
		found = append(found, problem{file.Package, "dot import of time"})
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, problem{n.Pos(), "starts a goroutine"})
		case *ast.SelectorExpr:
			id, ok := n.X.(*ast.Ident)
			if ok && timeName != "" && id.Name == timeName && !slices.Contains(pureTime, n.Sel.Name) {
				found = append(found, problem{n.Pos(), "uses time." + n.Sel.Name + ": the caller passes now; only " +
					strings.Join(pureTime, ", ") + " are fine here"})
			}
		}
		return true
	})
	return found
}

// The tables themselves: no typing errors, and no line that allows a cycle.
func TestImportTableIsSound(t *testing.T) {
	for _, pkg := range slices.Sorted(maps.Keys(mayImport)) {
		require.Equal(t, path.Clean(pkg), pkg)
		for _, entry := range mayImport[pkg] {
			prefix, below := strings.CutSuffix(entry, "/...")
			_, known := mayImport[prefix]
			require.True(t, known, "%s may import %s, which has no line of its own", pkg, entry)
			for other, allowed := range mayImport {
				if other == prefix || below && strings.HasPrefix(other, prefix+"/") {
					require.False(t, covers(allowed, pkg), "%s and %s may import each other", pkg, other)
				}
			}
		}
	}
	for pkg := range mayUse {
		require.Contains(t, mayImport, pkg)
	}
}

// The checks above must notice what they are for.
func TestImportChecksNotice(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", `package x
import clk "time"
const ok = 3 * clk.Second
func f(d clk.Duration) { go f(d); _ = clk.Now() }`, parser.SkipObjectResolution)
	require.NoError(t, err)
	require.Len(t, clocksAndGoroutines(file), 2)

	require.True(t, covers([]string{"dataplane/..."}, "dataplane"))
	require.True(t, covers([]string{"dataplane/..."}, "dataplane/wire"))
	require.False(t, covers([]string{"dataplane/..."}, "dataplanes"))
	require.False(t, covers([]string{"dataplane"}, "dataplane/wire"))
	require.True(t, belongs([]string{"golang.org/x/sys"}, "golang.org/x/sys/unix"))
	require.False(t, belongs([]string{"golang.org/x/sys"}, "golang.org/x/system"))

	dir, own := internal(modulePath + "/rss")
	require.True(t, own)
	require.Equal(t, "rss", dir)
	_, own = internal(modulePath + "-adapters/dpdk")
	require.False(t, own)
	require.True(t, isStd("crypto/rand"))
	require.False(t, isStd("golang.org/x/sys/unix"))

	for src, want := range map[string]bool{
		"//go:build ignore\n\npackage main\n":             true,
		"//go:build linux\n\npackage x\n":                 false,
		"// Package x.\npackage x\n\n//go:build ignore\n": false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, parser.ImportsOnly|parser.ParseComments)
		require.NoError(t, err)
		require.Equal(t, want, ignored(f), src)
	}
}
