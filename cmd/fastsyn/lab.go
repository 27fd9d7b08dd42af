package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/lab"
)

type labFlags struct {
	opt   lab.Options
	list  bool
	ascii bool
	json  string
}

func newLab() *cobra.Command {
	o := &labFlags{}
	cmd := &cobra.Command{
		Use:   "lab [SCENARIO...]",
		Short: "Play the scenarios of the TCP handshake against the kernel, and check them",
		Long: `Play the scenarios of a textbook's chapter on the TCP handshake, for real: two network
namespaces, a veth pair between them, fastsyn in one and the Linux kernel in the other.
For each it prints a ladder diagram and a trace of what happened, and checks that against
both ends: frames, counters, states. Without names it plays all, which takes some 40 s.

It needs root for the namespaces, or a machine that lets users make user namespaces, and ip
and ss (iproute2). Nothing outside of the namespaces is touched; they are removed at the
end, also on SIGINT, and those of a run that was killed by the next run.

Exit codes: 0 all that was played is as it should be, 1 it is not, or the lab could not
be made, 2 wrong usage.`,
		Example: `  # Which there are.
  fastsyn lab --list

  # Both ends send a SYN at the same time.
  sudo fastsyn lab simultaneous-open

  # What a handshake costs at 200 ms, with and without Fast Open.
  sudo fastsyn lab latency fast-open --rtt 200ms

  # All of them, captures for Wireshark, results for a program.
  sudo fastsyn lab --pcap captures --json lab.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.list, "list", false, "list the scenarios and play none")
	f.DurationVar(&o.opt.RTT, "rtt", lab.DefaultRTT, "round trip time of latency and fast-open")
	f.DurationVar(&o.opt.InitialRTO, "initial-rto", lab.DefaultRTO, "first timeout of fastsyn's segments in lost-ack and timeout, doubled each time; less for the impatient")
	f.StringVar(&o.opt.Pcap, "pcap", "", "directory for captures, one for each connection, as fastsyn's end saw them")
	f.StringVar(&o.json, "json", "", "write the results as JSON to a file, or - for standard output (and no text)")
	f.BoolVar(&o.ascii, "ascii", false, "draw with ASCII characters alone")
	return cmd
}

// errExit ends this process as another has ended in its place, which has said why.
type errExit int

func (e errExit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// errLab says that scenarios did not show what they should.
type errLab struct{ failed []string }

func (e *errLab) Error() string { return "not as it should be: " + strings.Join(e.failed, ", ") }

func (o *labFlags) run(cmd *cobra.Command, names []string) error {
	known := lab.Names()
	if o.list {
		if len(names) > 0 {
			return usagef("--list lists all scenarios: leave %q out, or --list", names[0])
		}
		for _, s := range lab.Scenarios() {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%-18s %s\n", s.Name, s.Title)
		}
		return nil
	}
	if err := o.opt.Validate(); err != nil {
		return &usageError{err}
	}
	for _, n := range names {
		if err := labName(n, known); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		names = known
	}
	again, code, err := lab.Prepare(cmd.Context())
	switch {
	case err != nil:
		return err
	case again && code != exitOK:
		return errExit(code)
	case again:
		return nil
	}
	return o.play(cmd, names)
}

// labName checks the name of a scenario.
func labName(name string, known []string) error {
	for _, k := range known {
		if name == k {
			return nil
		}
	}
	return usagef("unknown scenario %q%s (fastsyn lab --list lists them)", name, didYouMean(name, "", known))
}

func (o *labFlags) play(cmd *cobra.Command, names []string) error {
	out := cmd.OutOrStdout()
	style := lab.Style{Color: isTerminal(out), ASCII: o.ascii}
	begin := time.Now()
	r := lab.Report{Schema: lab.Schema, OK: true, Kernel: lab.Kernel(), RTTMS: float64(o.opt.RTT) / float64(time.Millisecond), Scenarios: []lab.Result{}}
	bad := &errLab{}
	for _, n := range names {
		res := lab.Play(cmd.Context(), n, o.opt)
		if cmd.Context().Err() != nil {
			return fmt.Errorf("interrupted while playing %s; the lab is removed", n)
		}
		r.Scenarios = append(r.Scenarios, res)
		if !res.OK {
			r.OK = false
			bad.failed = append(bad.failed, n)
		}
		if o.json != "-" {
			if err := res.WriteText(out, style); err != nil {
				return err
			}
			_, _ = fmt.Fprintln(out)
		}
	}
	if o.json != "" {
		if err := o.write(out, &r); err != nil {
			return err
		}
	}
	if len(bad.failed) > 0 {
		return bad
	}
	if o.json != "-" {
		what := fmt.Sprintf("%d scenarios, all as they should be", len(names))
		if len(names) == 1 {
			what = "as it should be"
		}
		_, _ = fmt.Fprintf(out, "%s, in %.1f s against Linux %s\n", what, time.Since(begin).Seconds(), r.Kernel)
	}
	return nil
}

func (o *labFlags) write(out io.Writer, r *lab.Report) (err error) {
	if o.json != "-" {
		f, e := os.Create(o.json)
		if e != nil {
			return fmt.Errorf("--json: %w", e)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}
