package bench

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

// column is one of the CSV form of intervals; docs/report.md has them all.
type column struct {
	name string
	of   func(v *Interval) string
}

// columns are those of an interval. Their names are those of the JSON form.
var columns = func() []column {
	f := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	u := func(n uint64) string { return strconv.FormatUint(n, 10) }
	i := func(n int64) string { return strconv.FormatInt(n, 10) }
	list := []column{
		{"at_s", func(v *Interval) string { return f(v.AtS) }},
		{"length_s", func(v *Interval) string { return f(v.LengthS) }},
		{"draining", func(v *Interval) string { return strconv.FormatBool(v.Draining) }},
		{"intended", func(v *Interval) string { return u(v.Intended) }},
		{"attempted", func(v *Interval) string { return u(v.Attempted) }},
		{"done", func(v *Interval) string { return u(v.Done) }},
		{"failed", func(v *Interval) string { return i(v.Failed) }},
		{"in_flight", func(v *Interval) string { return u(v.InFlight) }},
		{"retransmitted", func(v *Interval) string { return u(v.Retransmitted) }},
		{"per_s", func(v *Interval) string { return f(v.PerS) }},
		{"dropped", func(v *Interval) string { return u(total(v.Drops)) }},
	}
	for _, l := range []struct {
		name string
		of   func(v *Interval) *Latency
	}{{"latency", func(v *Interval) *Latency { return &v.Latency }}, {"response", func(v *Interval) *Latency { return &v.Response }}} {
		list = append(
			list,
			column{l.name + "_count", func(v *Interval) string { return i(l.of(v).Count) }},
			column{l.name + "_min_ns", func(v *Interval) string { return i(l.of(v).Min) }},
			column{l.name + "_mean_ns", func(v *Interval) string { return f(l.of(v).Mean) }},
			column{l.name + "_p50_ns", func(v *Interval) string { return i(l.of(v).P50) }},
			column{l.name + "_p90_ns", func(v *Interval) string { return i(l.of(v).P90) }},
			column{l.name + "_p99_ns", func(v *Interval) string { return i(l.of(v).P99) }},
			column{l.name + "_p999_ns", func(v *Interval) string { return i(l.of(v).P999) }},
			column{l.name + "_max_ns", func(v *Interval) string { return i(l.of(v).Max) }},
		)
	}
	return list
}()

func total(m map[string]uint64) (n uint64) {
	for _, x := range m {
		n += x
	}
	return n
}

type csvFile struct {
	*lines
	run string
}

// NewCSV writes a line for each interval to w, in the form of RFC 4180, after one with the names of the columns.
func NewCSV(w io.Writer, run string) IntervalWriter {
	c := &csvFile{newLines(w), run}
	c.put(record(csvHead()))
	return c
}

// csvHead names the columns.
func csvHead() []string {
	head := []string{"run_id", "time", "skipped"}
	for _, x := range columns {
		head = append(head, x.name)
	}
	return head
}

// record is a line.
func record(fields []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.UseCRLF = true
	_ = w.Write(fields) // to memory
	w.Flush()
	return b.Bytes()
}

func (c *csvFile) Interval(v *Interval) {
	fields := []string{c.run, time.Now().UTC().Format(time.RFC3339Nano), strconv.FormatUint(c.skipped, 10)}
	for _, x := range columns {
		fields = append(fields, x.of(v))
	}
	c.put(record(fields))
}

func (c *csvFile) Close(*Report) error {
	if err := c.close(nil, linePatience); err != nil {
		return fmt.Errorf("--csv: %w", err)
	}
	return nil
}

// WriteCSV writes the intervals of a report as NewCSV does while a run goes on, but for the times of day, which a report does not have.
func (r *Report) WriteCSV(w io.Writer) error {
	b := record(csvHead())
	for i := range r.Intervals {
		fields := []string{r.RunID, "", "0"}
		for _, x := range columns {
			fields = append(fields, x.of(&r.Intervals[i]))
		}
		b = append(b, record(fields)...)
	}
	_, err := w.Write(b)
	return err
}
