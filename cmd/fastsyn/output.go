package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	htmlpage "github.com/fastsyn/fastsyn/bench/page"
)

// output says where a report goes, besides the text.
type output struct{ json, html string }

func (o *output) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.json, "json", "", "write the report as JSON to a file, or - for standard output (and no text)")
	f.StringVar(&o.html, "html", "", "write the report as one HTML page with plots to a file, or - for standard output (and no text)")
}

func (o *output) check() error {
	if o.json == "-" && o.html == "-" {
		return usagef("--json - --html -: both would go to standard output; give one of them a file")
	}
	return nil
}

// takesStdout reports whether standard output is for programs, and the text for people is left out.
func (o *output) takesStdout() bool { return o.json == "-" || o.html == "-" }

// write writes r wherever it should go, and as text for people if that is wanted. A report that is not valid is an error, after that.
func (o *output) write(stdout io.Writer, r *measure.Report, text bool) (err error) {
	if o.json != "" {
		err = writeJSON(o.json, stdout, r)
	}
	if o.html != "" {
		err = errors.Join(err, writeTo("html", o.html, stdout, func(w io.Writer) error { return htmlpage.Write(w, r) }))
	}
	if text {
		err = errors.Join(err, r.WriteText(stdout))
	}
	if err == nil && !r.Valid {
		err = fmt.Errorf("%w: %s", errInvalid, r.InvalidReason)
	}
	return err
}
