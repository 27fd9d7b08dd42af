package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/fastsyn/fastsyn/cmd/fastsyn/internal/doctor"
	"github.com/fastsyn/fastsyn/dataplane/dpdk"
)

func newDoctor() *cobra.Command {
	var iface, file string
	var strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what costs performance on this machine, and how to change it",
		Long: `Look at CPU features, isolation, frequency scaling, mitigations, virtualisation,
huge pages, capabilities, kernel settings, network devices and DPDK. Each finding
says what it costs and the command that changes it. Nothing is changed.

  ok    as it should be
  note  matters to some uses, or good to know
  warn  costs performance
  bad   something does not work

The exit code is 0 whatever was found, unless a check itself failed; with --strict
it is 1 if something is bad.
` + exitHelp,
		Example: `  fastsyn doctor
  fastsyn doctor --iface eth1
  fastsyn doctor --json | jq '.findings[] | select(.severity == "warn")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := doctor.Local()
			if err != nil {
				return err
			}
			m.Iface, m.DPDK = iface, dpdk.Version()
			r, failed := doctor.Examine(m)
			err = printResult(cmd, file, r, func(w io.Writer) error { return r.WriteText(w, isTerminal(w)) })
			if err == nil && failed == nil && strict && r.Count[doctor.Bad] > 0 {
				err = fmt.Errorf("%d findings are bad (--strict)", r.Count[doctor.Bad])
			}
			return errors.Join(err, failed)
		},
	}
	jsonOrFile(cmd, &file)
	cmd.Flags().StringVar(&iface, "iface", "", "look at one network interface only (default: devices, and others that are up)")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 if something is bad")
	return cmd
}

// isTerminal reports whether w shows colours, by https://no-color.org and the type of the file.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
