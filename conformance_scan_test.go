package fastsyn_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// decl is a top-level declaration of a test file: the rules that it names, and
// the identifiers it mentions, of which some are declarations of the same package.
type decl struct {
	rules []string
	uses  map[string]bool
	test  bool
}

// ownFiles name rules that are examples.
var ownFiles = []string{"conformance_test.go", "conformance_scan_test.go"}

// namedRules returns which tests name each rule: ID -> "package.TestName".
//
// A test names a rule in its own name, or one at the beginning of the name of a
// subtest: a string that is an argument of Run, or an element of a composite
// literal, which is what the names in a table are. Tables and helpers may be
// declared outside the test. A segment script names rules in its line "proves:".
// Comments and messages name nothing: they can go
// stale without anybody noticing.
func namedRules(t *testing.T, root string) map[string][]string {
	t.Helper()
	named, packages := map[string][]string{}, map[string]map[string]decl{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name == root {
				return nil
			}
			if base == "testdata" {
				return scanScripts(name, named)
			}
			if base[0] == '.' || base[0] == '_' {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") || slices.Contains(ownFiles, filepath.Base(name)) {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		dir = filepath.ToSlash(dir)
		if packages[dir] == nil {
			packages[dir] = map[string]decl{}
		}
		scanFile(f, packages[dir])
		return nil
	})
	require.NoError(t, err)

	for dir, decls := range packages {
		for name, d := range decls {
			if !d.test {
				continue
			}
			rules := map[string]bool{}
			gather(decls, name, rules, map[string]bool{})
			for id := range rules {
				named[id] = append(named[id], strings.TrimPrefix(dir+".", "..")+name)
			}
		}
	}
	for _, tests := range named {
		slices.Sort(tests)
	}
	return named
}

// scanScripts adds the rules that the segment scripts in a directory prove, and
// has the walk skip it.
func scanScripts(dir string, named map[string][]string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if ids, ok := strings.CutPrefix(line, "proves:"); ok {
				for _, id := range strings.Fields(ids) {
					named[id] = append(named[id], "script "+strings.TrimSuffix(filepath.Base(name), ".seg"))
				}
			}
		}
	}
	return fs.SkipDir
}

// gather collects the rules of a declaration and of what it uses.
func gather(decls map[string]decl, name string, rules, seen map[string]bool) {
	d, ok := decls[name]
	if !ok || seen[name] {
		return
	}
	seen[name] = true
	for _, id := range d.rules {
		rules[id] = true
	}
	for used := range d.uses {
		gather(decls, used, rules, seen)
	}
}

var testName = regexp.MustCompile(`^(Test|Fuzz)([A-Z_].*)$`)

// scanFile adds the top-level declarations of a test file to decls.
func scanFile(f *ast.File, decls map[string]decl) {
	for _, top := range f.Decls {
		switch top := top.(type) {
		case *ast.FuncDecl:
			if top.Recv != nil {
				continue
			}
			d, name := scanNode(top), top.Name.Name
			if m := testName.FindStringSubmatch(name); m != nil {
				d.test = true
				d.rules = append(d.rules, rulesInName(m[2])...)
			}
			add(decls, name, d)
		case *ast.GenDecl:
			for _, spec := range top.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range v.Names {
						add(decls, name.Name, scanNode(v))
					}
				}
			}
		}
	}
}

// add adds d to the declaration of that name, of which another build may have its own.
func add(decls map[string]decl, name string, d decl) {
	if old, ok := decls[name]; ok {
		d.rules = append(d.rules, old.rules...)
		d.test = d.test || old.test
		maps.Copy(d.uses, old.uses)
	}
	decls[name] = d
}

// scanNode collects the rules that the subtests and tables in n name, and the
// identifiers it mentions.
func scanNode(n ast.Node) decl {
	d := decl{uses: map[string]bool{}}
	name := func(x ast.Expr) { d.rules = append(d.rules, rulesInTitle(x)...) }
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			d.uses[n.Name] = true
		case *ast.CallExpr:
			if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Run" && len(n.Args) == 2 {
				name(n.Args[0])
			}
		case *ast.CompositeLit:
			if list, ok := n.Type.(*ast.ArrayType); ok {
				if elem, ok := list.Elt.(*ast.Ident); ok && elem.Name == "string" {
					break // a list of rules, say, and no table
				}
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					name(kv.Key)
					name(kv.Value)
				} else {
					name(e)
				}
			}
		}
		return true
	})
	return d
}

// rulesInTitle returns the rules at the beginning of a string: a literal, a sum
// that starts with one, or the format of a call.
func rulesInTitle(x ast.Expr) []string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(x.Value); x.Kind == token.STRING && err == nil {
			ids, _ := rulesIn(s)
			return ids
		}
	case *ast.BinaryExpr:
		return rulesInTitle(x.X)
	case *ast.CallExpr:
		if len(x.Args) > 0 {
			return rulesInTitle(x.Args[0])
		}
	}
	return nil
}

var (
	// The first rule of a string, and one that follows it: "LSN-009", "LSN_009_010",
	// "ACT_003to006", "LSN_016_HND_002", "TSP-001, TSP-003", "NET-006/007".
	firstRule = regexp.MustCompile(`^([A-Z]{3})[-_](\d{3})(?:to(\d{3}))?`)
	nextRule  = regexp.MustCompile(`^(?:_|/|, )(?:([A-Z]{3})[-_])?(\d{3})(?:to(\d{3}))?`)
	ruleStart = regexp.MustCompile(`(?:^|_)[A-Z]{3}_\d{3}`)
)

// rulesIn returns the rules that s begins with, and what follows them.
func rulesIn(s string) (ids []string, rest string) {
	section, pattern := "", firstRule
	for {
		m := pattern.FindStringSubmatch(s)
		if m == nil {
			return ids, s
		}
		after := s[len(m[0]):]
		if after != "" && (after[0] >= '0' && after[0] <= '9' || after[0] >= 'A' && after[0] <= 'z' && after[0] != '_') {
			return ids, s // a number of something else
		}
		if m[1] != "" {
			section = m[1]
		}
		first, _ := strconv.Atoi(m[2])
		last := first
		if m[3] != "" {
			last, _ = strconv.Atoi(m[3])
		}
		for n := first; n <= last; n++ {
			ids = append(ids, fmt.Sprintf("%s-%03d", section, n))
		}
		s, pattern = after, nextRule
	}
}

// rulesInName returns the rules in the name of a test, after "Test", wherever a
// word of it begins.
func rulesInName(s string) (ids []string) {
	for at := ruleStart.FindStringIndex(s); at != nil; at = ruleStart.FindStringIndex(s) {
		found, rest := rulesIn(strings.TrimPrefix(s[at[0]:], "_"))
		if len(found) == 0 {
			rest = s[at[1]:]
		}
		ids, s = append(ids, found...), rest
	}
	return ids
}

func TestConformanceScanNotices(t *testing.T) {
	for s, want := range map[string][]string{
		"LSN_009_NewSYN":           {"LSN-009"},
		"ACT_003to006":             {"ACT-003", "ACT-004", "ACT-005", "ACT-006"},
		"ACT_003to005_Odd":         {"ACT-003", "ACT-004", "ACT-005"},
		"VAL_008_009_010_OddFlags": {"VAL-008", "VAL-009", "VAL-010"},
		"LSN_016_HND_002_Text":     {"LSN-016", "HND-002"},
		"VAL_006_100Fragments":     {"VAL-006"},
		"VAL-006 100 fragments":    {"VAL-006"},
		"TSP-001, TSP-003 own":     {"TSP-001", "TSP-003"},
		"NET-006/007 x":            {"NET-006", "NET-007"},
		"NET-006":                  {"NET-006"},
		"a VAL-006":                nil,
		"AES-128":                  {"AES-128"}, // no section of ours: ruled out where rules are compared
		"FIPS-197":                 nil,
		"opens":                    nil,
	} {
		got, _ := rulesIn(s)
		require.Equal(t, want, got, s)
	}
	for s, want := range map[string][]string{
		"_LSN_009_NewSYN":               {"LSN-009"},
		"Open_LSN_009_010_x_ACT_001":    {"LSN-009", "LSN-010", "ACT-001"},
		"Linux_TFO_002_6Bytes_CKI_0011": {"TFO-002"},
		"LSNX_009_SimultaneousOpen":     nil,
	} {
		require.Equal(t, want, rulesInName(s), s)
	}

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x_test.go"), []byte(`package x
// TestLSN_001 in a comment.
var table = []struct{ name string }{{"LSN-002 a"}, {name: "LSN-003 b"}}
var list = []string{"LSN-013"}
func each(t *testing.T) { _ = list; t.Run("LSN-004 "+x, nil) }
func TestLSN_005_A(t *testing.T) { each(t); for range table {} ; require.True(t, ok, "LSN-006") }
func TestB(t *testing.T) { t.Run(fmt.Sprintf("LSN-007 %d", 1), nil) }
func BenchmarkLSN_008(b *testing.B) {}
func FuzzLSN_009(f *testing.F) {}`), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "testdata"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "testdata", "a-b.seg"), []byte("title: LSN-010\nproves: LSN-011 LSN-012\n"), 0o600))
	got := namedRules(t, dir)
	require.Equal(t, []string{"LSN-002", "LSN-003", "LSN-004", "LSN-005", "LSN-007", "LSN-009", "LSN-011", "LSN-012"}, slices.Sorted(maps.Keys(got)))
	require.Equal(t, []string{"script a-b"}, got["LSN-011"])
	require.Equal(t, []string{"TestLSN_005_A"}, got["LSN-003"])
}
