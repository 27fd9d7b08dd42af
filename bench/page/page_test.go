package page

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/fastsyn/fastsyn/bench"
)

var update = flag.Bool("update", false, "rewrite golden files")

func render(t testing.TB, r *bench.Report) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, r))
	return b.String()
}

func parse(t testing.TB, page string) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	return n
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// text is all text below n.
func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func elements(root *html.Node, name string) (out []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			out = append(out, n)
		}
	}
	return out
}

// outline is what a page is made of: headings, what is read aloud of the drawings, tables and their sizes.
func outline(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "section":
			fmt.Fprintf(&b, "\nsection %s\n", attr(n, "id"))
		case "h1", "h2", "h3", "h4", "summary", "caption":
			fmt.Fprintf(&b, "%s %s\n", n.Data, text(n))
		case "title":
			if n.Parent.Data == "svg" && attr(n, "id") != "" {
				fmt.Fprintf(&b, "drawing %s", text(n))
				for _, part := range []string{"path", "circle", "line"} {
					if k := len(elements(n.Parent, part)); k > 0 {
						fmt.Fprintf(&b, ", %d %s", k, part)
					}
				}
				b.WriteByte('\n')
			}
		case "desc", "dt", "dd", "pre":
			fmt.Fprintf(&b, "  %s\n", text(n))
		case "ul":
			if attr(n, "class") == "legend" {
				fmt.Fprintf(&b, "  legend: %s\n", text(n))
			}
		case "tr":
			if n.Parent.Data == "thead" {
				fmt.Fprintf(&b, "table of %d rows: %s\n", len(elements(n.Parent.Parent, "tr"))-1, text(n))
			}
		}
	}
	return b.String()
}

func TestOutline(t *testing.T) {
	r := fixture()
	r.Search = trials()
	page := render(t, r)
	require.Equal(t, page, render(t, r), "the same report makes the same bytes")
	have := outline(parse(t, page))
	const golden = "testdata/outline.golden"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(have), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), have, "go test ./bench/page -run Outline -update rewrites it")
}

// A page says all that the text report says of a scenario, whichever it is, and of an empty
// report as well.
func TestEveryScenario(t *testing.T) {
	for _, s := range append(bench.Scenarios(), bench.ScenarioHelp{Name: "of another version"}) {
		t.Run(s.Name, func(t *testing.T) {
			empty := parse(t, render(t, &bench.Report{Scenario: s.Name}))
			require.Contains(t, text(empty), "INVALID")
			for _, s := range elements(empty, "section") {
				require.Contains(t, []string{"summary", "run"}, attr(s, "id"), "nothing to tell")
			}

			r := fixture()
			r.Scenario = s.Name
			r.SYNFlood = bench.SYNFlood{Sent: 1000, Answered: 900, Reset: 20, Unanswered: 80}
			r.Echo = bench.Echo{Sent: 1000, Returned: 990, Lost: 10}
			r.HTTP = bench.HTTP{Attempted: 10, Complete: 8, Short: 2, Total: r.Latency, FirstByte: r.Latency, Requests: 1}
			all := text(parse(t, render(t, r)))
			summary := r.Summary()
			for _, l := range append(summary.Setup, summary.Lines...) {
				require.Contains(t, all, strings.Join(strings.Fields(l.Text), " "))
			}
			if s.Name != "of another version" {
				require.NotEmpty(t, summary.Lines)
				require.NotEmpty(t, summary.Noun)
			}
		})
	}
}

// An invalid report says so at the top, with the sum that does not close, which is also the first in the table.
func TestInvalid(t *testing.T) {
	r := fixture()
	r.Equations = append(r.Equations, bench.Equation{Name: "apples = pears", Left: 7, Right: 9})
	r.Valid, r.InvalidReason = false, "apples = pears: 7 is not 9"
	root := parse(t, render(t, r))
	head := text(elements(root, "header")[0])
	require.Contains(t, head, "INVALID apples = pears: 7 is not 9")
	require.NotContains(t, head, "all 4 sums close")
	for _, s := range elements(root, "section") {
		if attr(s, "id") == "sums" {
			require.Contains(t, text(elements(s, "tr")[1]), "WRONG apples = pears 7 ≠ 9 −2")
		}
	}
}

// When nothing has a latency there is no plot of it, and the page says why.
func TestNothingDone(t *testing.T) {
	r := &bench.Report{Scenario: bench.ScenarioHandshake, Handshakes: bench.Handshakes{Attempted: 10, Refused: 10}}
	r.Population = bench.Population{Count: 10, Censored: 10, P50: bench.Quantile{NS: 5000, AtLeast: true}}
	root := parse(t, render(t, r))
	require.Contains(t, text(root), "100 % of the attempts failed")
	require.Contains(t, text(root), "≥ 5µs")
	require.NotContains(t, outline(root), "Latency by percentile")
}

// hostile fills every string, and every key of a map, that a report holds.
func hostile(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		hostile(v.Elem(), s)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				hostile(v.Field(i), s)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			hostile(v.Index(i), s)
		}
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		switch elem.Kind() {
		case reflect.Interface:
			elem.Set(reflect.ValueOf(s))
		case reflect.String:
			elem.SetString(s)
		default:
			elem.SetUint(7)
		}
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf(s), elem)
	default:
	}
}

// inert fails if a page has anything that runs, loads or leads somewhere, but for its own script.
func inert(t testing.TB, root *html.Node) {
	t.Helper()
	for n := range root.Descendants() {
		if n.Type == html.CommentNode {
			t.Fatalf("a comment: %q", n.Data)
		}
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script":
			require.Equal(t, script, n.FirstChild.Data)
		case "style":
			require.Equal(t, style, n.FirstChild.Data)
		case "link", "img", "image", "iframe", "object", "embed", "base", "form", "input", "foreignObject", "use", "animate", "set", "audio", "video":
			t.Fatalf("element %s", n.Data)
		}
		for _, a := range n.Attr {
			key := strings.ToLower(a.Key)
			require.False(t, strings.HasPrefix(key, "on") || key == "style" || key == "src" || key == "srcdoc", "attribute %s of %s", a.Key, n.Data)
			if key == "href" {
				require.Regexp(t, `^#[a-z]+$`, a.Val)
			}
			if strings.Contains(a.Val, "url(") {
				require.Regexp(t, `^url\(#[a-z-]+\)$`, a.Val)
			}
			if n.Namespace == "svg" {
				require.NotRegexp(t, `NaN|Inf`, a.Val, "%s of %s", a.Key, n.Data)
			}
		}
	}
	require.Len(t, elements(root, "script"), 1)
	require.Len(t, elements(root, "style"), 1)
}

func TestHostileStrings(t *testing.T) {
	for _, s := range []string{
		`</title></style></script><script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`,
		`' onmouseover='alert(1)`,
		"javascript:alert(1)",
		"{{.}}<!-- --><![CDATA[",
		"a\u202eb\x00c\u2028d\xff",
		"url(http://example.com/)",
	} {
		r := fixture()
		r.Search = trials()
		hostile(reflect.ValueOf(r).Elem(), s)
		page := render(t, r)
		root := parse(t, page)
		inert(t, root)
		require.Contains(t, text(root), strings.Join(strings.Fields(clip(s)), " "), "it is shown")
		for _, hidden := range []string{"\u202e", "\x00", "\u2028", "\xff"} {
			require.NotContains(t, page, hidden)
		}
	}
}

// Numbers that no run has, but a file may.
func TestHostileNumbers(t *testing.T) {
	for _, n := range []float64{-1, 1e300, -1e300, 5e-324} {
		for _, i := range []int64{-1 << 63, -1, 1<<63 - 1} {
			r := fixture()
			r.Search = trials()
			r.Histograms = nil
			numbers(reflect.ValueOf(r).Elem(), n, i)
			inert(t, parse(t, render(t, r)))
		}
	}
}

func numbers(v reflect.Value, f float64, i int64) {
	switch v.Kind() {
	case reflect.Float64:
		v.SetFloat(f)
	case reflect.Int64, reflect.Int:
		v.SetInt(i)
	case reflect.Uint64:
		v.SetUint(uint64(i))
	case reflect.Pointer:
		if !v.IsNil() {
			numbers(v.Elem(), f, i)
		}
	case reflect.Struct:
		for k := range v.NumField() {
			if v.Type().Field(k).IsExported() {
				numbers(v.Field(k), f, i)
			}
		}
	case reflect.Slice:
		for k := range v.Len() {
			numbers(v.Index(k), f, i)
		}
	default:
	}
}

// However large a report is, its page is not.
func TestBounded(t *testing.T) {
	r := fixture()
	r.Search = trials()
	long := strings.Repeat("<&\"'>", 1<<18)
	hostile(reflect.ValueOf(r).Elem(), long)
	many := func(n int, of func(i int)) {
		for i := range n {
			of(i)
		}
	}
	one := r.Intervals[0]
	for row := range 250 {
		one.Heat = append(one.Heat, bench.HeatCell{NS: int64(rowTop(row)), N: uint64(row)})
	}
	r.Intervals = nil
	many(20_000, func(i int) {
		one.AtS, one.LengthS = float64(i+1), 1
		r.Intervals = append(r.Intervals, one)
	})
	many(5000, func(i int) {
		name := fmt.Sprintf("%d%s", i, long[:500])
		r.Drops[name], r.Client.Counters[name], r.Config[name] = 1, 2, long
		r.Equations = append(r.Equations, r.Equations[0])
		r.Samples = append(r.Samples, r.Samples[0])
		r.Samples[0].Segments = append(r.Samples[0].Segments, r.Samples[0].Segments[0])
		r.Path = append(r.Path, r.Path[0])
		r.Search.Trials = append(r.Search.Trials, r.Search.Trials[0])
		r.Client.PerWorker = append(r.Client.PerWorker, r.Client.PerWorker[0])
	})
	page := render(t, r)
	require.Less(t, len(page), 12<<20, "every text as long as it may be, and escaped")

	// A day of a run that went well, with all its intervals.
	r = fixture()
	one = r.Intervals[3]
	r.Intervals = nil
	many(86_400, func(i int) {
		one.AtS = float64(i + 1)
		r.Intervals = append(r.Intervals, one)
	})
	require.Less(t, len(render(t, r)), 512<<10)
}

// The policy names the style and the script by the hash that a browser computes of them.
func TestPolicy(t *testing.T) {
	root := parse(t, render(t, fixture()))
	var policy string
	for _, m := range elements(root, "meta") {
		if attr(m, "http-equiv") == "Content-Security-Policy" {
			policy = attr(m, "content")
		}
	}
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "style-src '"+hash(elements(root, "style")[0].FirstChild.Data)+"'")
	require.Contains(t, policy, "script-src '"+hash(elements(root, "script")[0].FirstChild.Data)+"'")
	require.NotContains(t, policy, "unsafe")
}

// Every drawing that is not said to be an ornament has a name and a description.
func TestDrawingsAreNamed(t *testing.T) {
	r := fixture()
	r.Search = trials()
	root := parse(t, render(t, r))
	ids := map[string]bool{}
	for n := range root.Descendants() {
		if id := attr(n, "id"); n.Type == html.ElementNode && id != "" {
			require.False(t, ids[id], "id %s is there twice", id)
			ids[id] = true
		}
	}
	named := 0
	for _, svg := range elements(root, "svg") {
		inner, hidden := false, attr(svg, "aria-hidden") == "true"
		for p := svg.Parent; p != nil; p = p.Parent {
			inner = inner || p.Data == "svg"
			hidden = hidden || attr(p, "aria-hidden") == "true"
		}
		if inner || hidden {
			continue
		}
		named++
		require.Equal(t, "img", attr(svg, "role"))
		for _, id := range strings.Fields(attr(svg, "aria-labelledby")) {
			require.True(t, ids[id], id)
		}
		require.NotEmpty(t, text(elements(svg, "desc")[0]))
	}
	require.Greater(t, named, 8)
}

// The command is the same in the eyes of a shell as the settings are.
func TestCommand(t *testing.T) {
	config := map[string]any{
		"scenario": "handshake", "port": "impair(loss=1%,delay=2ms):loop:", "addr": []any{"10.0.0.3/24", "fd00::3/64"}, "rate": 20000.0, "seed": 2825917113527431.0,
		"ipv6": true, "pin": false, "http-path": `/it's "x" $HOME`, "drain": "-1s", "workers": 2, "pool": []string{"10.1.0.0/16"}, "load": "ramp:1k..50k/30s",
	}
	line := command(config)
	require.True(t, strings.HasPrefix(line, "fastsyn bench --scenario handshake --port 'impair("), line)
	out, err := exec.Command("sh", "-c", `fastsyn() { shift; printf '%s\n' "$@"; }; `+line).Output()
	require.NoError(t, err)
	require.Equal(t, []string{
		"--scenario", "handshake", "--port", "impair(loss=1%,delay=2ms):loop:", "--addr", "10.0.0.3/24", "--addr", "fd00::3/64", "--drain=-1s", "--http-path", `/it's "x" $HOME`,
		"--ipv6", "--load", "ramp:1k..50k/30s", "--pin=false", "--pool", "10.1.0.0/16", "--rate", "20000", "--seed", "2825917113527431", "--workers", "2",
	}, strings.Split(strings.TrimSpace(string(out)), "\n"))
	require.Empty(t, command(nil))
	require.Empty(t, command(map[string]any{"port": strings.Repeat("x", 5000)}), "a command that is cut is another one")
	require.Empty(t, command(map[string]any{"port": "loop:\u202e"}))
}

func TestFormats(t *testing.T) {
	for _, tc := range []struct{ have, want string }{
		{share(0, 10), "0 %"},
		{share(10, 10), "100 %"},
		{share(1, 1_000_000_000), "< 0.001 %"},
		{share(999_999, 1_000_000), "99.9999 %"},
		{share(1, 3), "33.3 %"},
		{share(1, 0), "–"},
		{share(9_999_999_999, 10_000_000_000), "> 99.999999 %"},
		{tickDuration(1), "1ns"},
		{tickDuration(2e5), "200µs"},
		{tickDuration(1e9), "1s"},
		{tickDuration(1e11), "100s"},
		{short(0), "0"},
		{short(2500), "2.5k"},
		{short(4e6), "4M"},
		{number(-3), "−3"},
		{signed(-1234), "−1,234"},
		{duration(-1500), "−1.5µs"},
		{clock(188_000), "188µs"},
		{clock(1_000_502_000), "1.000502s"},
		{quantileName(0.5), "p50"},
		{quantileName(0.9999), "p99.99"},
		{flagNames("S."), "SYN-ACK"},
		{flagNames("."), "ACK"},
		{flagNames("<b>"), "<b>"},
		{flagNames(""), "none"},
		{number(1e300), "1e+300"},
		{strings.Join(values(map[string]any{"a": 1}), ""), `{"a":1}`},
		{strings.Join(values(time.Second), ""), "1s"},
	} {
		require.Equal(t, tc.want, tc.have)
	}
}

func FuzzWrite(f *testing.F) {
	r := fixture()
	r.Intervals, r.Search = r.Intervals[:2], trials()
	seed, err := json.Marshal(r)
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"histograms":{"latency":"HISTFAAAAA"},"intervals":[{"at_s":1e308,"length_s":1e-308,"heat":[{"ns":-5,"n":3}]}],"latency_ns":{"count":1}}`))
	f.Add([]byte(`{"path":[{"in":1,"out":18446744073709551615,"lost":{"a":18446744073709551615}}],"samples":[{"segments":[{"at_ns":-9e18},{"at_ns":9223372036854775807}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &bench.Report{}
		if json.Unmarshal(b, r) != nil {
			return
		}
		page := render(t, r)
		inert(t, parse(t, page))
		require.False(t, slices.Contains([]byte(page), 0))
	})
}
