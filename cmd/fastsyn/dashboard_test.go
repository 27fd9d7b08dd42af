package main

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastsyn/fastsyn"
	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/metrics"
	"github.com/fastsyn/fastsyn/dataplane/loop"
)

// names adds the families that read has, and those of the process, to all: with the suffixes that
// a query may give to a histogram.
func names(t *testing.T, all map[string]bool, command string, read func(time.Duration) measure.Snapshot) {
	t.Helper()
	reg := metrics.Registry(metrics.NewCollector(command, read))
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		all[f.GetName()] = true
		if f.Metric[0].Histogram != nil {
			all[f.GetName()+"_bucket"], all[f.GetName()+"_count"], all[f.GetName()+"_sum"] = true, true, true
		}
	}
}

// servedNames are the families of a server with an HTTP application that was asked for nothing.
func servedNames(t *testing.T, all map[string]bool) {
	t.Helper()
	a, _, err := loop.Pair(loop.Config{})
	require.NoError(t, err)
	o := &serveFlags{app: "http", cookies: "pressure", polling: "adaptive"}
	require.NoError(t, o.flags())
	application, err := o.openApp(1, os.Stderr)
	require.NoError(t, err)
	s := &serveState{port: "loop:", app: application, rtt: newPerWorker[measure.Quick](1), begin: time.Now()}
	s.ep, err = fastsyn.Open(fastsyn.Config{
		Device: a, Addrs: []string{"198.18.0.1/16"}, DAD: -1,
		Listeners: []fastsyn.Listener{{Addr: ":80", Callbacks: o.callbacks(application, &printer{}, s)}},
	})
	require.NoError(t, err)
	names(t, all, "serve", func(time.Duration) measure.Snapshot { return s.snapshot() })
	require.NoError(t, s.ep.Close())
}

// Every metric that the dashboard asks for is one that bench or serve has, under the labels it
// groups by, and each of its panels asks for something.
func TestDashboard(t *testing.T) {
	all := map[string]bool{}
	for _, c := range []measure.Config{{Rate: 1e5}, {Scenario: measure.ScenarioHTTP}, {Scenario: measure.ScenarioSYNFlood}} {
		c.Count, c.Polling, c.Pin, c.Live = 200, "adaptive", "off", new(measure.Live)
		_, err := measure.Run(context.Background(), c, nil)
		require.NoError(t, err)
		names(t, all, "bench", c.Live.Read)
	}
	servedNames(t, all)
	all["fastsyn_device_counters_total"] = true // of devices that count, which no wire in memory does

	b, err := os.ReadFile("../../docs/grafana/fastsyn.json")
	require.NoError(t, err)
	var board struct {
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	require.NoError(t, json.Unmarshal(b, &board))
	require.Equal(t, "fastsyn", board.Title)
	metric := regexp.MustCompile(`\b(fastsyn|process|go)_[a-z0-9_]+`)
	asked, ids := 0, map[int]bool{}
	for _, p := range board.Panels {
		require.False(t, ids[p.ID], "panel %d is there once", p.ID)
		ids[p.ID] = true
		require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			found := metric.FindAllString(target.Expr, -1)
			require.NotEmpty(t, found, "%s: %s", p.Title, target.Expr)
			for _, name := range found {
				require.True(t, all[name], "%s: there is no %s", p.Title, name)
				asked++
			}
			require.Equal(t, strings.Count(target.Expr, "("), strings.Count(target.Expr, ")"), target.Expr)
		}
	}
	for _, v := range board.Templating.List {
		for _, name := range metric.FindAllString(v.Definition, -1) {
			require.True(t, all[name], "variable %s: there is no %s", v.Name, name)
		}
	}
	require.Greater(t, asked, 40)

	// And the page that lists them lists no others.
	page, err := os.ReadFile("../../docs/live.md")
	require.NoError(t, err)
	for _, name := range regexp.MustCompile("fastsyn_[a-z0-9_]*[a-z0-9]").FindAllString(string(page), -1) {
		known := all[name]
		for have := range all {
			known = known || strings.HasPrefix(have, name+"_") // a prefix, as in fastsyn_stream_
		}
		require.True(t, known, "docs/live.md: there is no %s", name)
	}
}
