// Package page writes a report as one HTML page that needs nothing else: no network, no
// fonts, no scripts but a few lines for readouts under the pointer, which its
// Content-Security-Policy names by their hash. Every plot is drawn here, as SVG, with the
// figures behind it in a table.
//
// A report is untrusted: what it holds goes through html/template and is bounded in size.
package page

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/fastsyn/fastsyn/bench"
)

//go:embed page.html plot.html page.css page.js
var files embed.FS

var (
	style  = mustRead("page.css")
	script = mustRead("page.js")
	page   = template.Must(template.New("page.html").ParseFS(files, "page.html", "plot.html"))
	policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hash(style), hash(script))
)

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded
	}
	return string(b)
}

// hash is the source expression of an inline element, as CSP level 2 has it.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// view is what the template shows.
type view struct {
	Policy string
	Style  template.CSS
	Script template.JS

	Title    string
	Headline headline
	Summary  []pair
	Search   *search
	Time     *overTime
	Latency  *latency
	Phases   *phases
	Losses   *losses
	Workers  []balance
	Samples  *samples
	Sums     *sums
	Command  string
	Groups   []group // environment and configuration
	Counters []group
	Schema   string
}

// pair is a name and a text.
type pair struct{ Name, Text string }

// group is a table of names and values under a heading.
type group struct {
	Title string
	Pairs []pair
	More  int // left out
}

// Write writes r as a page. The same report makes the same bytes.
func Write(w io.Writer, r *bench.Report) error {
	summary := r.Summary()
	v := view{
		Policy: policy, Style: template.CSS(style), Script: template.JS(script),
		Headline: newHeadline(r, &summary),
		Search:   newSearch(r.Search),
		Time:     newOverTime(r, cmp.Or(summary.Noun, "attempts")),
		Latency:  newLatency(r),
		Phases:   newPhases(r),
		Losses:   newLosses(r),
		Workers:  newBalances(r),
		Samples:  newSamples(r.Samples),
		Sums:     newSums(r.Equations),
		Command:  command(r.Config),
		Groups:   newGroups(r),
		Counters: newCounters(r),
		Schema:   clip(r.Schema),
	}
	v.Title = strings.TrimSpace(v.Headline.Scenario + " " + v.Headline.Big + " " + v.Headline.Unit)
	for _, l := range append(summary.Setup, summary.Lines...) {
		v.Summary = append(v.Summary, pair{clip(l.Name), clip(l.Text)})
	}
	b := bufio.NewWriter(w)
	if err := page.Execute(b, &v); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return b.Flush()
}
