package bench

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gate is a writer that takes nothing until it is opened. It tells of the first line it is given.
type gate struct {
	came sync.Once
	here chan struct{}
	open chan struct{}
	bytes.Buffer
}

func newGate() *gate { return &gate{here: make(chan struct{}), open: make(chan struct{})} }

func (g *gate) Write(b []byte) (int, error) {
	g.came.Do(func() { close(g.here) })
	<-g.open
	return g.Buffer.Write(b)
}

// A reader who takes nothing keeps nobody waiting. What was left out is told.
func TestLinesSlowReader(t *testing.T) {
	const n = 3 * lineQueue
	const left = n - lineQueue - 1
	begin := func() (*gate, *ndjson) {
		g := newGate()
		w := NewNDJSON(g, "r").(*ndjson)
		w.Interval(&Interval{})
		<-g.here
		for i := range n - 1 {
			w.Interval(&Interval{Done: uint64(i)})
		}
		require.EqualValues(t, left, w.skipped)
		return g, w
	}
	_, w := begin()
	require.ErrorIs(t, w.close(nil, time.Millisecond), errSlow)

	g, w := begin()
	close(g.open)
	require.NoError(t, w.Close(&Report{Valid: true, Intervals: make([]Interval, 9)}))
	rows := strings.Split(strings.TrimSpace(g.String()), "\n")
	require.EqualValues(t, n-left+1, len(rows))
	var last struct {
		Schema  string
		End     bool
		Skipped uint64
		Done    *uint64
		Report  *Report
	}
	require.NoError(t, json.Unmarshal([]byte(rows[len(rows)-1]), &last))
	require.Equal(t, IntervalSchema, last.Schema)
	require.True(t, last.End)
	require.EqualValues(t, left, last.Skipped)
	require.True(t, last.Report.Valid)
	require.Empty(t, last.Report.Intervals)
	require.Nil(t, last.Done)
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestLinesWriteError(t *testing.T) {
	all := IntervalWriters{NewNDJSON(full{}, "r"), NewCSV(full{}, "r")}
	all.Interval(&Interval{})
	err := all.Close(nil)
	require.ErrorIs(t, err, errFull)
	require.ErrorContains(t, err, "--ndjson: ")
	require.ErrorContains(t, err, "--csv: ")
}

// Both forms have the intervals of the report, and its totals.
func TestLinesOfARun(t *testing.T) {
	var js, cs bytes.Buffer
	w := IntervalWriters{NewNDJSON(&js, "abc"), NewCSV(&cs, "abc")}
	var seen []Interval
	r, err := Run(context.Background(), Config{
		Count: 5000, Rate: 1e6, Polling: "adaptive", Pin: "off", RunID: "abc",
		OnInterval: func(v *Interval) {
			seen = append(seen, *v)
			w.Interval(v)
		},
	}, nil)
	require.NoError(t, err)
	require.NoError(t, w.Close(r))
	require.Equal(t, "abc", r.RunID)

	rows := strings.Split(strings.TrimSpace(js.String()), "\n")
	require.Len(t, rows, len(seen)+1)
	for i, row := range rows[:len(seen)] {
		var line intervalLine
		require.NoError(t, json.Unmarshal([]byte(row), &line))
		require.Equal(t, seen[i], *line.Interval)
		require.Equal(t, "abc", line.RunID)
		_, err := time.Parse(time.RFC3339Nano, line.Time)
		require.NoError(t, err)
		require.False(t, line.End)
		require.Nil(t, line.Report)
	}
	require.Contains(t, rows[len(seen)], `"established":5000`)

	require.Equal(t, strings.Count(cs.String(), "\n"), strings.Count(cs.String(), "\r\n"), "RFC 4180")
	table, err := csv.NewReader(&cs).ReadAll()
	require.NoError(t, err)
	require.Len(t, table, len(seen)+1)
	for i, v := range seen {
		get := func(name string) float64 {
			for k, column := range table[0] {
				if column == name {
					f, err := strconv.ParseFloat(table[i+1][k], 64)
					require.NoError(t, err)
					return f
				}
			}
			t.Fatal("no column", name)
			return 0
		}
		require.EqualValues(t, v.Done, get("done"))
		require.EqualValues(t, v.Intended, get("intended"))
		require.EqualValues(t, v.Latency.P99, get("latency_p99_ns"))
		require.EqualValues(t, v.Response.Count, get("response_count"))
		require.Equal(t, v.LengthS, get("length_s"))
		require.Equal(t, "abc", table[i+1][0])
		require.Equal(t, strconv.FormatBool(v.Draining), table[i+1][5])
	}
	// Each column is documented.
	doc, err := os.ReadFile("../docs/report.md")
	require.NoError(t, err)
	for _, name := range table[0] {
		require.Contains(t, string(doc), "`"+name+"`")
	}
}
