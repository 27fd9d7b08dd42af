package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/bench/compare"
)

type compareFlags struct {
	a, b       []string
	failIf     []string
	json       string
	confidence float64
}

// errFailIf ends a comparison that says itself which condition holds.
var errFailIf = errors.New("a condition of --fail-if holds")

func newCompare() *cobra.Command {
	var o compareFlags
	cmd := &cobra.Command{
		Use:   "compare A B",
		Short: "Tell two runs, or sets of runs, apart",
		Long: `Compare reports that bench --json wrote: rates, latencies and outcomes, each with a
confidence interval of the difference, so that noise is not taken for a change.

With one report per side the noise is what the seconds of a run differ by. Two
runs of the same program differ by more, so give several of each where it
matters: --a and --b take files, patterns and lists of them, again and again.

--fail-if METRIC COMPARISON THRESHOLD makes it a gate for CI. A threshold with a sign is
about the change from A to B and holds only if the change is beyond noise, or
with "anyway" after it; one without a sign is about B.

  p99>+10%       the 99th percentile grew by more than a tenth, beyond noise
  rate<-5%       the rate fell by more than a twentieth, beyond noise
  p50>+200us     the median grew by more than 200 µs, beyond noise
  failed>0       an attempt of B failed; failed>0.1%: more than one in a thousand
  failed>+0.1pp  the share of failures grew by more than 0.1 points of a percent
  p99>2ms        of B, whatever A has
  rate<-5% anyway

Metrics: rate, mean, max, p50, p90, p99, p99.9 and so on of the main latency (from
the intended time if there was a schedule), the same of any histogram
(phases.syn_ack.p99), cpu (per attempt), and shares of the attempts: failed, refused,
timed_out, unreachable, reset, pending, retransmitted, unanswered, lost.
docs/compare.md says how the intervals are made and what they do not know.

Exit codes: 0 no condition holds, 1 failure, 2 wrong usage, 3 a report whose sums
do not close, 4 a condition holds.`,
		Example: `  # Did the change make it slower?
  fastsyn compare before.json after.json

  # The same in CI, from five runs each.
  fastsyn compare --a 'main-*.json' --b 'pr-*.json' --fail-if 'p99>+10%' --fail-if 'rate<-5%' --fail-if 'failed>0'`,
		RunE: func(cmd *cobra.Command, args []string) error { return runCompare(cmd, &o, args) },
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.a, "a", nil, "reports of side A: a file, a pattern, or a list with commas; repeatable")
	f.StringArrayVar(&o.b, "b", nil, "reports of side B, likewise")
	f.StringArrayVar(&o.failIf, "fail-if", nil, "exit with 4 if this holds, such as 'p99>+10%'; repeatable")
	f.Float64Var(&o.confidence, "confidence", compare.DefaultConfidence, "of the intervals, from 0.5 to below 1")
	f.StringVar(&o.json, "json", "", "write the result as JSON to a file, or - for standard output (and no text)")
	return cmd
}

func runCompare(cmd *cobra.Command, o *compareFlags, args []string) error {
	switch {
	case len(o.a)+len(o.b) > 0 && len(args) > 0:
		return usagef("unexpected argument %q: with --a and --b all reports are given by them", args[0])
	case len(args) > 0 && len(args) != 2:
		return usagef("%d files: give two, A and B; several per side by --a and --b", len(args))
	case len(args) == 2:
		o.a, o.b = args[:1], args[1:]
	case len(o.a) == 0 || len(o.b) == 0:
		return usagef("two sides are needed: compare A B, or --a and --b with their reports")
	}
	if o.confidence < 0.5 || o.confidence >= 1 {
		return usagef("--confidence %v: want a share from 0.5 to below 1; 0.95 is usual", o.confidence)
	}
	var conditions []compare.Condition
	for _, s := range o.failIf {
		c, err := compare.ParseCondition(s)
		if err != nil {
			return err
		}
		conditions = append(conditions, c)
	}
	a, err := compareSide(cmd, "a", o.a)
	if err != nil {
		return err
	}
	b, err := compareSide(cmd, "b", o.b)
	if err != nil {
		return err
	}
	res, err := compare.Compare(a, b, conditions, o.confidence)
	if err != nil {
		return err
	}
	if o.json != "" {
		err = writeJSON(o.json, cmd.OutOrStdout(), res)
	}
	if o.json != "-" {
		err = errors.Join(err, res.WriteText(cmd.OutOrStdout()))
	}
	if err == nil && res.Failed {
		i := slices.IndexFunc(res.Conditions, func(v compare.Verdict) bool { return v.Failed })
		err = fmt.Errorf("%w: %s", errFailIf, res.Conditions[i].Condition)
	}
	return err
}

// compareSide reads the reports of one side. One whose sums do not close is not compared.
func compareSide(cmd *cobra.Command, flag string, given []string) (s compare.Side, err error) {
	for _, list := range given {
		for name := range strings.SplitSeq(list, ",") {
			found := []string{name}
			if strings.ContainsAny(name, "*?[") {
				if found, err = filepath.Glob(name); err != nil {
					return s, usagef("--%s %q: %v", flag, name, err)
				}
				if len(found) == 0 {
					return s, usagef("--%s %q: no such file", flag, name)
				}
			}
			s.Files = append(s.Files, found...)
		}
	}
	seen := map[string]bool{}
	for _, name := range s.Files {
		if seen[name] {
			return s, usagef("%q is given twice: a run counts once", name)
		}
		seen[name] = true
		r, err := measure.OpenReport(name, cmd.InOrStdin())
		if err != nil {
			return s, err
		}
		if !r.Valid {
			return s, fmt.Errorf("%w: %s: %s", errInvalid, name, r.InvalidReason)
		}
		s.Reports = append(s.Reports, r)
	}
	return s, nil
}
