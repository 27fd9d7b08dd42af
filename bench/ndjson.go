package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// IntervalSchema names the lines of NewNDJSON; docs/report.md describes them.
const IntervalSchema = "fastsyn.interval/v1"

// intervalLine is an interval of a run as a line.
type intervalLine struct {
	Schema  string `json:"schema"`
	RunID   string `json:"run_id"`
	Time    string `json:"time"`    // when it ended, RFC 3339 in UTC
	Skipped uint64 `json:"skipped"` // lines before it that the reader had no time for
	End     bool   `json:"end"`     // this is the line of the report
	*Interval
	// Report is that of the run, in the last line only, without what is long: intervals, histograms, samples.
	Report *Report `json:"report,omitempty"`
}

type ndjson struct {
	*lines
	run string
}

// NewNDJSON writes a JSON object for each interval to w, and at the end one with the report; run is the
// Config.RunID of the run.
func NewNDJSON(w io.Writer, run string) IntervalWriter { return &ndjson{newLines(w), run} }

func (n *ndjson) line(v *Interval, r *Report) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	at := time.Now().UTC().Format(time.RFC3339Nano)
	// Numbers, strings, lists and maps of those: it cannot fail.
	_ = e.Encode(intervalLine{IntervalSchema, n.run, at, n.skipped, r != nil, v, r})
	return b.Bytes()
}

func (n *ndjson) Interval(v *Interval) { n.put(n.line(v, nil)) }

func (n *ndjson) Close(r *Report) error {
	var last []byte
	if r != nil {
		short := *r
		short.Intervals, short.Histograms, short.Samples = []Interval{}, map[string]string{}, []Sample{}
		last = n.line(nil, &short)
	}
	if err := n.close(last, linePatience); err != nil {
		return fmt.Errorf("--ndjson: %w", err)
	}
	return nil
}
