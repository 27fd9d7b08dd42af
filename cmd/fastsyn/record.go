package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	measure "github.com/fastsyn/fastsyn/bench"
)

// records are the lines that bench writes while it runs, and the files they are in.
type records struct {
	measure.IntervalWriters
	files []io.Closer
}

// takesStdout reports whether standard output is for programs, and the text for people is left out.
func (o *benchFlags) takesStdout() bool {
	return o.output.takesStdout() || o.ndjson == "-" || o.csv == "-"
}

// record opens what --ndjson and --csv name, before anything is sent, and has the run write there.
func (o *benchFlags) record(stdout io.Writer) (r records, err error) {
	o.cfg.RunID = measure.NewRunID()
	var out []string // on standard output
	if o.json == "-" {
		out = append(out, "--json")
	}
	if o.html == "-" {
		out = append(out, "--html")
	}
	for _, x := range []struct {
		flag, file string
		make       func(io.Writer, string) measure.IntervalWriter
	}{{"ndjson", o.ndjson, measure.NewNDJSON}, {"csv", o.csv, measure.NewCSV}} {
		w := stdout
		switch x.file {
		case "":
			continue
		case "-":
			if out = append(out, "--"+x.flag); len(out) > 1 {
				err = usagef("%s: both on standard output would be mixed; give a file to one of them", strings.Join(out, " - and ")+" -")
			}
		default:
			var f *os.File
			if f, err = os.Create(x.file); err != nil {
				err = fmt.Errorf("--%s: %w", x.flag, err)
			} else {
				w, r.files = f, append(r.files, f)
			}
		}
		if err != nil {
			return r, errors.Join(err, r.close(nil))
		}
		r.IntervalWriters = append(r.IntervalWriters, x.make(w, o.cfg.RunID))
	}
	if len(r.IntervalWriters) > 0 {
		o.cfg.OnInterval = r.Interval
	}
	return r, nil
}

// close ends the lines and the files. rep is nil if there is none.
func (r records) close(rep *measure.Report) error {
	err := r.Close(rep)
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
