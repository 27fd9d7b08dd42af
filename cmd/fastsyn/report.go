package main

import (
	"slices"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/docs/schema"
)

type reportFlags struct {
	output
	csv    string
	schema bool
}

func newReport() *cobra.Command {
	var o reportFlags
	cmd := &cobra.Command{
		Use:   "report FILE...",
		Short: "Show saved reports of bench, or merge those of its shards",
		Long: `Show a report that bench --json wrote, as bench shows it; - is standard input.

The sums are checked again: a report that was invalid stays so, and one whose
numbers were changed becomes so (exit code 3).

Several files are merged into one report. They must be shards of one run:
generators with the same scenario and settings that ran at the same time, each
with source addresses (--addr, --pool) of its own. Counts and rates add up, and
percentiles are those of the merged histograms. To tell runs apart, use compare.
` + exitHelp,
		Example: `  # Look at it again.
  fastsyn report run.json

  # As a page to look at, or to print.
  fastsyn report run.json --html run.html

  # Three generators, one run.
  fastsyn report gen1.json gen2.json gen3.json --json run.json

  # From another machine.
  ssh gen1 fastsyn bench --quiet --json - | fastsyn report -

  # What is in a report, for programs (JSON Schema, draft 2020-12).
  fastsyn report --schema`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && !o.schema:
				return usagef("no file: name a report that fastsyn bench --json wrote, or - for standard input")
			case len(args) > 0 && o.schema:
				return usagef("--schema is the same for all reports: leave %q out", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runReport(cmd, &o, args) },
	}
	o.output.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.csv, "csv", "", "write its intervals as CSV to a file, or - for standard output (and no text)")
	f.BoolVar(&o.schema, "schema", false, "print the JSON Schema of reports")
	return cmd
}

func runReport(cmd *cobra.Command, o *reportFlags, files []string) (err error) {
	out := cmd.OutOrStdout()
	if o.schema {
		_, err := out.Write(schema.Report)
		return err
	}
	if err := o.output.check(); err != nil {
		return err
	}
	r, err := openReports(cmd, files)
	if err != nil {
		return err
	}
	if o.csv == "-" && o.output.takesStdout() {
		return usagef("--csv - and another report on standard output would be mixed; give a file to one of them")
	}
	if o.csv != "" {
		if err := writeTo("csv", o.csv, out, r.WriteCSV); err != nil {
			return err
		}
	}
	return o.output.write(out, r, o.csv != "-" && !o.output.takesStdout())
}

// openReports reads files and merges them.
func openReports(cmd *cobra.Command, files []string) (*measure.Report, error) {
	var all []*measure.Report
	for i, name := range files {
		switch again := slices.Contains(files[:i], name); {
		case again && name == "-":
			return nil, usagef("standard input (-) can be read once only")
		case again:
			return nil, usagef("%q is given twice: a shard counts once", name)
		}
		r, err := measure.OpenReport(name, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return measure.Merge(all, files)
}
