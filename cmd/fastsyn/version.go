package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	measure "github.com/fastsyn/fastsyn/bench"
	"github.com/fastsyn/fastsyn/dataplane"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print version, commit and the port drivers of this build",
		Example: `  fastsyn version`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			version := "(devel)"
			if info, ok := debug.ReadBuildInfo(); ok {
				version = cmp.Or(info.Main.Version, version)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "fastsyn %s, commit %s, %s %s/%s\ndrivers: %s; decorators: %s\nreport: %s\n",
				version, measure.BuildCommit(), runtime.Version(), runtime.GOOS, runtime.GOARCH,
				strings.Join(dataplane.Drivers(), ", "), strings.Join(dataplane.Decorators(), ", "), measure.Schema)
			return err
		},
	}
}
